// Coroutines as handlers and hooks: what they answer, where they go on, and what becomes of one that cannot. C++20.
#include "muster/coroutine.hpp"

#include <atomic>
#include <coroutine>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/checked_sim.hpp"
#include "support/thread_executor.hpp"

namespace muster::test {
namespace {

/// What coroutines wait for, answered when the test says so.
template <class T>
struct Later {
  auto next() {
    return awaitable<T>([this](Done<T> done) { asked.push_back(std::move(done)); });
  }
  std::vector<Done<T>> asked;
};

/// Counts those of its copies that are there.
struct Alive {
  explicit Alive(int& how_many) : count(&how_many) { ++*count; }
  Alive(const Alive& other) : count(other.count) { ++*count; }
  Alive& operator=(const Alive&) = delete;
  ~Alive() { --*count; }
  int* count;
};

/// The results and errors that were told, in order: "7 1" answers the command 7 with 1.
Texts answers(const Client& client) {
  Texts all;
  for (const auto& told : client.log()) {
    if (told.type() == "ack") all.push_back(told.reply_to() + " " + told.value("result"));
    if (told.type() == "error") all.push_back(told.reply_to() + " " + told.text("code"));
    if (told.type() == "progress") all.push_back(told.reply_to() + " so far " + told.value("done"));
  }
  return all;
}

const Error not_your_turn{errc::permission_denied, "Bob moves first", 2s, "not_your_turn", json(R"({"turn":"bob"})")};

TEST_CASE("a handler that is a coroutine answers with what it returns, or refuses with what it throws", "[coroutine]") {
  CheckedSim sim;
  Later<int> later;
  const bool waits = GENERATE(false, true);
  const HandlerOptions options{GENERATE(true, false), {}};
  IConnectionManager* const manager = &sim.manager();
  manager->on(
      "nothing",
      [&](Call) -> muster::Task {
        if (waits) (void)co_await later.next();
      },
      options);
  manager->on(
      "payload",
      [&](Call call) -> TaskOf<Payload> {
        int by = 0;
        if (waits) by = co_await later.next();
        const std::string user = call.identity().user;
        co_return json(R"({"result":[)" + std::to_string(by) + "," + std::string(call.payload().view()) + ",\"" + user +
                       "\"]}");
      },
      options);
  manager->on(
      "thrown",
      [&](Call) -> Task {
        if (waits) (void)co_await later.next();
        throw Error(not_your_turn);
      },
      options);
  manager->on(
      "returned",
      [&](Call) -> TaskOf<Result<Payload>> {
        if (waits) (void)co_await later.next();
        co_return not_your_turn;
      },
      options);
  manager->on(
      "only whether",
      [&](Call call) -> TaskOf<Result<void>> {
        if (waits) (void)co_await later.next();
        if (call.payload().view() == "{}") co_return not_your_turn;
        co_return{};
      },
      options);
  const auto ann = sim.connect("ann");
  const auto ask = [&](const std::string& command) {
    ann.raw(command);
    sim.run();
    REQUIRE(later.asked.size() == (waits ? 1 : 0));
    if (!waits) return;
    later.asked[0](7);
    later.asked.clear();
    sim.run();
  };
  ask(R"({"type":"nothing","id":1})");
  ask(R"({"type":"payload","id":2,"payload":{"to":"e4"}})");
  ask(R"({"type":"only whether","id":3,"payload":{"to":"e4"}})");
  CHECK(answers(ann) == Texts{"1 ", std::string("2 [") + (waits ? "7" : "0") + R"(,{"to":"e4"},"ann"])", "3 "});
  ask(R"({"type":"thrown","id":4,"payload":{}})");
  ask(R"({"type":"returned","id":5,"payload":{}})");
  ask(R"({"type":"only whether","id":6,"payload":{}})");
  REQUIRE(ann.count("error") == 3);
  for (const auto& told : ann.all("error")) {
    CHECK(told.text("code") == "not_your_turn");
    CHECK(told.number("retry_after_ms") == 2000);
    CHECK(told.value("details") == R"({"turn":"bob"})");
  }
  CHECK(ann.is_open());
  CHECK(manager->metrics().callback_failures == 0);
}

TEST_CASE("whatever else a coroutine throws is a failure, before it has waited and after", "[coroutine]") {
  CheckedSim sim;
  Later<void> later;
  const bool waits = GENERATE(false, true);
  const bool is_hook = GENERATE(false, true);
  const auto fail = [&]() -> Task {
    if (waits) co_await later.next();
    throw std::runtime_error("no board");
  };
  sim.manager().on("move", [&](Call) -> Task { co_await fail(); });
  sim.manager().on_joined([&](Call, RoomKey, Joining) -> Task { co_await fail(); });
  const auto ann = sim.connect("ann");
  if (is_hook) {
    ann.join("r");
  } else {
    ann.raw(R"({"type":"move","id":1})");
  }
  sim.run();
  if (waits) {
    REQUIRE(later.asked.size() == 1);
    CHECK(ann.is_open());
    later.asked[0]();
    sim.run();
  }
  CHECK(ann.close_code() == 1011);
  CHECK(sim.manager().metrics().callback_failures == 1);
}

TEST_CASE("a coroutine goes on on the executor of its connection, whoever answers and however often", "[coroutine]") {
  CheckedSim sim(Options{}, 2);
  Later<int> later;
  ManualExecutor& home = sim.schedule.executors[0]->loop();
  ManualExecutor& other = sim.schedule.executors[1]->loop();
  std::vector<bool> at_home;
  std::string got;
  const auto twice = [&]() -> TaskOf<std::string> {
    const int first = co_await later.next();
    at_home.push_back(home.is_running());
    const int second = co_await later.next();
    at_home.push_back(home.is_running());
    co_return std::to_string(first) + std::to_string(second);
  };
  sim.manager().on("move", [&](Call) -> Task {
    at_home.push_back(home.is_running());
    got += co_await twice();
    at_home.push_back(home.is_running());
    got += co_await twice();
  });
  const auto ann = sim.connect("ann");
  ann.raw(R"({"type":"move","id":1})");
  sim.run();
  for (int i = 1; i <= 4; ++i) {
    CHECK(later.asked.size() == static_cast<std::size_t>(i));
    if (i % 2 == 0) {
      later.asked.back()(i);
    } else {
      (void)other.post([done = later.asked.back(), i] { done(i); });
    }
    sim.run();
  }
  CHECK(got == "1234");
  CHECK(at_home == std::vector<bool>(6, true));
  CHECK(answers(ann) == Texts{"1 "});
}

TEST_CASE("what is answered inside the call goes on at once, and any number of times", "[coroutine]") {
  CheckedSim sim;
  const auto one = []() -> TaskOf<int> { co_return co_await awaitable<int>([](Done<int> done) { done(1); }); };
  std::size_t posts = 0;
  sim.manager().on("count", [&](Call) -> TaskOf<Payload> {
    const std::size_t before = sim.schedule.executors[0]->posts();
    int sum = 0;
    for (int i = 0; i < 1000; ++i) sum += co_await one();
    posts = sim.schedule.executors[0]->posts() - before;
    co_return json(R"({"result":)" + std::to_string(sum) + "}");
  });
  const auto ann = sim.connect("ann");
  ann.raw(R"({"type":"count","id":1})");
  sim.run();
  CHECK(answers(ann) == Texts{"1 1000"});
  CHECK(posts == 0);
}

TEST_CASE("progress comes before the answer, and nothing after it", "[coroutine]") {
  CheckedSim sim;
  Later<void> later;
  std::optional<Call> kept;
  sim.manager().on("render", [&](Call call) -> TaskOf<Payload> {
    kept = call;
    call.progress(json(R"({"done":1})"));
    co_await later.next();
    call.progress(json(R"({"done":2})"));
    co_return json(R"({"result":3})");
  });
  const auto ann = sim.connect("ann");
  ann.raw(R"({"type":"render","id":1})");
  sim.run();
  CHECK(answers(ann) == Texts{"1 so far 1"});
  later.asked[0]();
  sim.run();
  kept->progress(json(R"({"done":4})"));
  sim.run();
  CHECK(answers(ann) == Texts{"1 so far 1", "1 so far 2", "1 3"});
}

TEST_CASE("a coroutine goes on when its connection is gone, or its command's time is over", "[coroutine]") {
  CheckedSim sim(without_sessions());
  Later<void> later;
  bool went_on = false;
  bool was_there = true;
  sim.manager().on(
      "move",
      [&](Call call) -> Task {
        co_await later.next();
        went_on = true;
        was_there = call.manager().contains(call.connection());
        const auto joined = co_await async(call.manager()).join(call.connection(), "r");
        if (!was_there) CHECK(joined.error().code == errc::not_found);
        call.progress(json("1"));
      },
      HandlerOptions{true, 300ms});
  const auto ann = sim.connect("ann");
  ann.raw(R"({"type":"move","id":1})");
  sim.run();
  const bool hangs_up = GENERATE(true, false);
  if (hangs_up) ann.hang_up();
  sim.advance(1s);
  later.asked[0]();
  sim.run();
  CHECK(went_on);
  CHECK(was_there != hangs_up);
  CHECK(answers(ann) == (hangs_up ? Texts{} : Texts{"1 unavailable"}));
}

TEST_CASE("a coroutine that cannot go on is destroyed with its locals, once", "[coroutine]") {
  int alive = 0;
  int went_on = 0;
  Later<int> later;
  const auto inner = [&]() -> TaskOf<int> {
    const Alive local(alive);
    co_return co_await later.next();
  };
  {
    CheckedSim sim;
    sim.manager().on("move", [&](Call) -> Task {
      const Alive local(alive);
      (void)co_await inner();
      ++went_on;
    });
    const auto ann = sim.connect("ann");
    ann.raw(R"({"type":"move","id":1})");
    sim.run();
    REQUIRE(later.asked.size() == 1);
    REQUIRE(alive == 2);
    SECTION("its answer waits on an executor that stops") {
      later.asked[0](1);
      sim.schedule.executors[0]->loop().stop();
      CHECK(alive == 0);
    }
    SECTION("its executor has stopped") {
      sim.schedule.executors[0]->loop().stop();
      CHECK(alive == 2);
      later.asked[0](1);
      CHECK(alive == 0);
    }
    SECTION("its executor has stopped, and nobody answers") {
      sim.schedule.executors[0]->loop().stop();
      later.asked.clear();
      CHECK(alive == 0);
    }
    SECTION("its manager dies, and the executor lives on") {
      sim.kill_node(0);
      later.asked[0](1);
      sim.run();
      CHECK(alive == 0);
    }
    SECTION("all has ended before the answer comes") {}
    SECTION("all has ended, and no answer comes") {}
  }
  if (!later.asked.empty()) {
    SECTION("an answer") { later.asked[0](1); }
    later.asked.clear();
  }
  CHECK(alive == 0);
  CHECK(went_on == 0);
}

TEST_CASE("captures and arguments hold as long as a coroutine does", "[coroutine]") {
  Later<void> later;
  int alive = 0;
  std::string seen;
  {
    CheckedSim sim;
    // Move-only as well.
    auto prefix = std::make_unique<std::string>("a prefix that is too long for a short string: ");
    sim.manager().on("move", [&, local = Alive(alive), prefix = std::move(prefix)](const Call& call) -> Task {
      co_await later.next();
      seen += *prefix + std::string(call.payload().view());
    });
    sim.manager().on_room_opened([&, local = Alive(alive)](const RoomKey& room) -> Task {
      co_await later.next();
      seen += " " + room.name;
    });
    sim.manager().on_left([&, local = Alive(alive)](const Call& call, const RoomKey& room, const Leaving&) -> Task {
      co_await later.next();
      seen += " " + call.identity().user + " left " + room.name;
    });
    const auto ann = sim.member("ann", "room:whose-name-is-too-long-for-a-short-string");
    ann.raw(R"({"type":"move","id":1,"payload":{}})");
    sim.run();
    REQUIRE(later.asked.size() == 2);
    // Handlers are let go of when it is done.
    sim.manager().shutdown(nullptr);
    sim.advance(30s);
    CHECK(alive == 3);
    REQUIRE(later.asked.size() == 3);
    for (auto& done : later.asked) done();
    sim.run();
    CHECK(alive == 0);
  }
  CHECK(seen ==
        " room:whose-name-is-too-long-for-a-short-string"
        "a prefix that is too long for a short string: {}"
        " ann left room:whose-name-is-too-long-for-a-short-string");
}

TEST_CASE("where nobody answers any more, that is an error of the co_await", "[coroutine]") {
  CheckedSim sim;
  Later<Result<int>> results;
  Later<int> values;
  std::optional<Result<int>> result;
  sim.manager().on("result", [&](Call) -> Task { result.emplace(co_await results.next()); });
  sim.manager().on("value", [&](Call) -> Task { (void)co_await values.next(); });
  sim.manager().on("never asked",
                   [&](Call) -> Task { co_await awaitable<void>([](const auto&) { throw not_your_turn; }); });
  const auto ann = sim.connect("ann");
  ann.raw(R"({"type":"result","id":1})");
  sim.run();
  results.asked.clear();
  sim.run();
  REQUIRE(result);
  CHECK(result->error().code == errc::unavailable);
  ann.raw(R"({"type":"value","id":2})").raw(R"({"type":"never asked","id":3})");
  sim.run();
  values.asked.clear();
  sim.run();
  CHECK(answers(ann) == Texts{"1 ", "2 unavailable", "3 not_your_turn"});
}

TEST_CASE("a question that could not be asked is not answered, even if somebody keeps it", "[coroutine]") {
  CheckedSim sim;
  std::optional<Done<int>> kept;
  sim.manager().on("move", [&](Call) -> Task {
    (void)co_await awaitable<int>([&](Done<int> done) {
      kept = std::move(done);
      throw std::runtime_error("full");
    });
  });
  const auto ann = sim.connect("ann");
  ann.raw(R"({"type":"move","id":1})");
  sim.run();
  CHECK(ann.close_code() == 1011);
  (*kept)(1);
  sim.run();
  CHECK(sim.manager().metrics().callback_failures == 1);
}

TEST_CASE("all that takes a done can be awaited", "[coroutine]") {
  CheckedSim sim(without_sessions());
  Texts told;
  const auto say = [&told](const std::string& what, std::uint64_t count) {
    told.push_back(what + " " + std::to_string(count));
  };
  sim.manager().on(
      "all",
      [&](Call call) -> Task {
        const auto manager = async(call.manager());
        const ConnectionId id = call.connection();
        Result<void> seated = co_await manager.join(id, "a", JoinAs{true});
        say("join", seated ? 1 : 0);
        seated = co_await manager.move(id, "a", "b");
        say("move", seated ? 1 : 0);
        seated = co_await manager.leave(id, "b");
        say("leave", seated ? 1 : 0);
        Result<std::size_t> seats = co_await manager.join(UserKey{"", "ann"}, "c");
        say("join", seats.value());
        seats = co_await manager.move(UserKey{"", "ann"}, "c", "d");
        say("move", seats.value());
        Result<Published> published = co_await manager.publish(RoomKey{"", "d"}, json("1"));
        say("publish", published.value().reached);
        published = co_await manager.publish(RoomKey{"", "d"}, json("2"), Delivery::reliable(), id);
        say("publish", published.value().reached);
        seats = co_await manager.leave(UserKey{"", "ann"}, "d");
        say("leave", seats.value());
        const Result<Queued> queued = co_await manager.send_to_user({"", "bob"}, json("3"), Delivery::queued());
        say("send_to_user", queued.value().queue_id);
        const Result<Payload> answered = co_await manager.request(id, "confirm", json("4"), 1s);
        told.push_back("request " + std::string(to_string(answered.error().code)));
        const std::optional<Explanation> explanation = co_await manager.explain(id);
        say("explain " + explanation->info.user, explanation->counters.messages_in);
        const std::size_t findings = co_await manager.sweep_now();
        say("sweep_now", findings);
        const std::size_t closed = co_await manager.close_all(CloseReason::normal);
        say("close_all", closed);
        const Drained drained = co_await manager.drain(1s, 1s);
        say("drain", drained.closed);
        co_await manager.shutdown();
        told.emplace_back("shutdown");
      },
      HandlerOptions{false, {}});
  const auto ann = sim.connect("ann");
  ann.raw(R"({"type":"all","id":1})");
  sim.advance(30s);
  CHECK(told == Texts{"join 1", "move 1", "leave 1", "join 1", "move 1", "publish 1", "publish 0", "leave 1",
                      "send_to_user 1", "request unavailable", "explain ann 1", "sweep_now 0", "close_all 1", "drain 0",
                      "shutdown"});
}

TEST_CASE("hooks that are coroutines are told what others are", "[coroutine]") {
  CheckedSim sim(without_sessions());
  Later<void> later;
  Texts told;
  const auto say = [&](std::string what) -> Task {
    told.push_back(what + "...");
    co_await later.next();
    told.push_back(what);
  };
  sim.manager().on_connected([&](Call call) -> Task { co_await say("connected " + call.identity().user); });
  sim.manager().on_joined([&](Call, RoomKey room, Joining joining) -> Task {
    co_await say("joined " + room.name + (joining.returns ? " again" : ""));
  });
  sim.manager().on_left([&](Call, RoomKey room, Leaving leaving) -> Task {
    co_await say("left " + room.name + (leaving.reason ? " at the end" : ""));
  });
  sim.manager().on_disconnected([&](Call call, CloseReason reason) -> Task {
    CHECK(call.payload().empty());
    call.progress(json("1"));
    co_await say("disconnected " + call.identity().user + " " + std::string(to_string(reason)));
  });
  sim.manager().on_user_online([&](UserKey user) -> Task { co_await say("online " + user.user); });
  sim.manager().on_user_offline([&](UserKey user) -> Task { co_await say("offline " + user.user); });
  sim.manager().on_room_opened([&](RoomKey room) -> Task { co_await say("opened " + room.name); });
  sim.manager().on_room_emptied([&](RoomKey room) -> Task { co_await say("emptied " + room.name); });
  const auto ann = sim.member("ann", "r");
  ann.hang_up();
  sim.run();
  CHECK(told == Texts{"connected ann...", "online ann...", "opened r...", "joined r...", "left r at the end...",
                      "emptied r...", "disconnected ann normal...", "offline ann..."});
  told.clear();
  for (auto& done : later.asked) done();
  sim.run();
  CHECK(told.size() == 8);
  CHECK(sim.manager().metrics().callback_failures == 0);
}

/// Another library's way to wait.
struct Foreign {
  std::coroutine_handle<>& waiting;
  bool fails = false;
  struct Awaiter {
    Foreign& of;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> by) const noexcept { of.waiting = by; }
    int await_resume() const {
      if (of.fails) throw Error(not_your_turn);
      return 5;
    }
  };
  Awaiter operator co_await() { return Awaiter{*this}; }
};

TEST_CASE("a coroutine comes home from what another library resumes", "[coroutine]") {
  int alive = 0;
  std::coroutine_handle<> waiting;
  {
    CheckedSim sim;
    std::vector<bool> at_home;
    sim.manager().on("move", [&](Call call) -> TaskOf<Payload> {
      const Alive local(alive);
      const int got = co_await Foreign{waiting, call.payload().view() == "{}"};
      at_home.push_back(sim.schedule.executors[0]->loop().is_running());
      co_return json(R"({"result":)" + std::to_string(got) + "}");
    });
    const auto ann = sim.connect("ann");
    ann.raw(R"({"type":"move","id":1})");
    sim.run();
    waiting.resume();
    CHECK(at_home.empty());
    sim.run();
    CHECK(at_home == std::vector<bool>{true});
    CHECK(answers(ann) == Texts{"1 5"});
    ann.raw(R"({"type":"move","id":2,"payload":{}})");
    sim.run();
    waiting.resume();
    sim.run();
    CHECK(ann.last("error")->text("code") == "not_your_turn");
    ann.raw(R"({"type":"move","id":3})");
    sim.run();
    CHECK(alive == 1);
  }
  waiting.resume();
  CHECK(alive == 0);
}

/// The least that a coroutine of another library can be.
struct Bare {
  struct promise_type {
    Bare get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

TEST_CASE("another library's coroutine may await what a manager tells", "[coroutine]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  std::size_t reached = 0;
  const auto run = [&]() -> Bare {
    (void)co_await async(sim.manager()).join(ann.id(), "r");
    reached = (co_await async(sim.manager()).publish({"", "r"}, json("1"))).value().reached;
  };
  run();
  sim.run();
  CHECK(reached == 1);
}

TEST_CASE("a task that nobody awaits does nothing", "[coroutine]") {
  bool began = false;
  const auto begin = [&]() -> Task {
    began = true;
    co_return;
  };
  {
    Task task = begin();
    Task other = begin();
    other = std::move(task);
  }
  CHECK_FALSE(began);
}

TEST_CASE("coroutines wait for other threads while executors stop", "[coroutine]") {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> alive{0};
    std::atomic<int> went_on{0};
    struct Counted {
      std::atomic<int>& count;
      explicit Counted(std::atomic<int>& of) : count(of) { ++count; }
      ~Counted() { --count; }
    };
    {
      auto other = std::make_shared<ThreadExecutor>();
      auto home = std::make_shared<ThreadExecutor>();
      Components components;
      components.protocols = {std::make_shared<JsonProtocol>()};
      Schedule schedule(1, 1);
      auto manager = make_connection_manager({}, std::make_shared<ScriptedAuthenticator>(schedule),
                                             std::make_shared<ScriptedAuthorizer>(schedule), std::move(components));
      const auto ask = [&]() -> TaskOf<int> {
        co_return co_await awaitable<int>([&](Done<int> done) {
          if (!other->post([done] { done(1); })) throw Error{errc::unavailable, "", {}};
        });
      };
      manager->on(
          "move",
          [&](Call) -> Task {
            const Counted counted(alive);
            for (int i = 0; i < 50; ++i) went_on += co_await ask();
          },
          HandlerOptions{false, {}});
      OpenRequest request;
      request.token = "ann";
      request.token_source = TokenSource::authorization_header;
      const auto pipe = std::make_shared<MemoryTransport>(home);
      pipe->open(manager, std::move(request));
      for (int i = 0; i < 10; ++i) pipe->receive(R"({"type":"move","id":1})");
      while (went_on < 20 + round * 10) std::this_thread::yield();
      home->stop();
      other->stop();
      pipe->let_go();
    }
    CHECK(alive == 0);
    CHECK(went_on > 0);
  }
}

}  // namespace
}  // namespace muster::test
