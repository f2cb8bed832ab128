// What embedders hand over: refused where it could never work, called in order, and let go of in the end.
#include <cstdint>
#include <set>
#include <stdexcept>
#include <vector>

#include "muster/auth/allow_all.hpp"
#include "muster/auth/allow_anonymous.hpp"
#include "support/checked_sim.hpp"
#include "support/recoded_protocol.hpp"

namespace muster::test {
namespace {

using Catch::Matchers::Contains;

/// What a room's hooks say, in order, for as long as it lives.
class Rooms {
 public:
  explicit Rooms(Sim& sim) {
    const auto tell = [heard = heard_](const std::string& line) {
      if (heard->over) return;
      heard->story.push_back(line);
      if (heard->then) heard->then(line);
    };
    sim.manager().on_room_opened([tell](const RoomKey& room) { tell("opened " + room.name); });
    sim.manager().on_room_emptied([tell](const RoomKey& room) { tell("emptied " + room.name); });
    sim.manager().on_joined([tell](Connection& who, const RoomKey& room, const Joining& joining) {
      tell(who.identity().user + (joining.returns ? " returns to " : " joins ") + room.name);
    });
    sim.manager().on_left([tell](Connection& who, const RoomKey& room, const Leaving& leaving) {
      tell(who.identity().user + (leaving.keeps_seat ? " may return to " : " leaves ") + room.name);
    });
  }
  ~Rooms() { heard_->over = true; }
  Rooms(const Rooms&) = delete;
  Rooms& operator=(const Rooms&) = delete;

  [[nodiscard]] Texts take() { return std::exchange(heard_->story, {}); }
  [[nodiscard]] std::ptrdiff_t count(const std::string& line) const {
    return std::count(heard_->story.begin(), heard_->story.end(), line);
  }
  void then(std::function<void(const std::string&)> what) { heard_->then = std::move(what); }

 private:
  struct Heard {
    Texts story;
    std::function<void(const std::string&)> then;
    bool over = false;
  };
  const std::shared_ptr<Heard> heard_ = std::make_shared<Heard>();
};

TEST_CASE("a room opens with its first member and empties with its last seat", "[extensions][rooms]") {
  CheckedSim sim;
  Rooms rooms(sim);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  CHECK(rooms.take() == Texts{"opened r", "ann joins r", "bob joins r"});
  ann.leave("r");
  sim.run();
  bob.leave("r");
  sim.run();
  CHECK(rooms.take() == Texts{"ann leaves r", "bob leaves r", "emptied r"});
  bob.join("r");  // it has history still, and is the same room
  sim.run();
  CHECK(rooms.take() == Texts{"opened r", "bob joins r"});
}

TEST_CASE("a kept seat keeps a room from emptying, until the grace ends or it is given up", "[extensions][rooms]") {
  CheckedSim sim;
  Rooms rooms(sim);
  const auto ann = sim.member("ann", "r");
  (void)rooms.take();
  ann.hang_up(CloseReason::lost);
  sim.run();
  CHECK(rooms.take() == Texts{"ann may return to r"});
  CHECK(sim.manager().room({"", "r"})->size() == 1);
  SECTION("it comes back") {
    const auto again = sim.resume_session(ann, {"r"});
    CHECK(rooms.take() == Texts{"ann returns to r"});
    again.hang_up();
    sim.run();
    CHECK(rooms.take() == Texts{"ann leaves r", "emptied r"});
  }
  SECTION("it comes back, but not to this room") {
    (void)sim.resume_session(ann, {});
    sim.run();
    CHECK(rooms.take() == Texts{"emptied r"});
  }
  SECTION("the grace ends") {
    sim.advance(11s);
    CHECK(rooms.take() == Texts{"emptied r"});
  }
  SECTION("the user is revoked") {
    (void)sim.manager().revoke(UserKey{"", "ann"});
    sim.run();
    CHECK(rooms.take() == Texts{"emptied r"});
  }
  SECTION("the server goes") {
    sim.manager().shutdown(nullptr);
    sim.run();
    CHECK(rooms.take() == Texts{"emptied r"});
  }
  CHECK(sim.manager().room({"", "r"})->size() == 0);
}

TEST_CASE("opened and emptied come in turns, whoever changes the room meanwhile", "[extensions][rooms]") {
  CheckedSim sim(without_sessions(), 2);
  Rooms rooms(sim);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.connect("bob", Dial().on(1));
  (void)rooms.take();
  bool came = false;
  rooms.then([&](const std::string& line) {
    if (line != "emptied r" || std::exchange(came, true)) return;
    bob.join("r");  // while the hook runs
    sim.schedule.executors[1]->loop().run_ready();
    CHECK(rooms.count("opened r") == 0);  // it is told when this has been
  });
  ann.leave("r");
  sim.run();
  const Texts story = rooms.take();
  REQUIRE(story.size() == 4);
  CHECK(story[0] == "ann leaves r");
  CHECK(story[1] == "emptied r");
  CHECK(std::count(story.begin(), story.end(), "opened r") == 1);
  CHECK(std::count(story.begin(), story.end(), "bob joins r") == 1);
  bob.leave("r");
  sim.run();
  CHECK(rooms.take() == Texts{"bob leaves r", "emptied r"});
}

std::shared_ptr<IConnectionManager> make_manager(std::vector<std::shared_ptr<const Protocol>> protocols) {
  Components components;
  components.protocols = std::move(protocols);
  return make_connection_manager({}, std::make_shared<AllowAnonymous>(), std::make_shared<AllowAll>(),
                                 std::move(components));
}

TEST_CASE("no ids follow from others, in one manager or in the next", "[extensions]") {
  const auto ids_of = [](IConnectionManager& manager, const std::shared_ptr<ManualExecutor>& executor,
                         const std::shared_ptr<IConnectionManager>& shared) {
    std::vector<std::shared_ptr<MemoryTransport>> pipes;
    for (int i = 0; i < 3; ++i) {
      pipes.push_back(std::make_shared<MemoryTransport>(executor));
      REQUIRE(pipes.back()->open(shared, {}));
      executor->run_ready();
    }
    std::vector<std::uint64_t> ids;
    for (const auto& pipe : pipes) ids.push_back(pipe->connection()->id().value());
    manager.shutdown(nullptr);
    executor->advance(1min);
    return ids;
  };
  const auto executor = std::make_shared<ManualExecutor>();
  std::set<std::uint64_t> seen;
  std::set<std::uint64_t> steps;  // from one id to the next, in whatever simple way
  for (int i = 0; i < 3; ++i) {
    const auto manager = make_manager({std::make_shared<JsonProtocol>()});
    const auto ids = ids_of(*manager, executor, manager);
    seen.insert(ids.begin(), ids.end());
    for (std::size_t at = 1; at < ids.size(); ++at) {
      steps.insert(ids[at] - ids[at - 1]);
      steps.insert(ids[at] ^ ids[at - 1]);
    }
  }
  CHECK(seen.size() == 9);
  CHECK(steps.size() == 12);
}

TEST_CASE("handlers and hooks are let go of when shutdown is done, with what they captured", "[extensions]") {
  const auto executor = std::make_shared<ManualExecutor>();
  auto manager = make_manager({std::make_shared<JsonProtocol>()});
  const std::weak_ptr<IConnectionManager> gone = manager;
  manager->on("echo", [manager](Connection& who, const Payload& what) { who.reply(what); });
  manager->on_connected([manager](Connection&) {});
  manager->on_room_emptied([manager](const RoomKey&) {});
  const auto pipe = std::make_shared<MemoryTransport>(executor);
  REQUIRE(pipe->open(manager, {}));
  executor->run_ready();
  bool done = false;
  manager->shutdown([&] { done = true; });
  executor->advance(1min);
  CHECK(done);
  manager.reset();
  CHECK(gone.expired());
}

TEST_CASE("a handler reaches the manager by its connection", "[extensions]") {
  CheckedSim sim;
  const IConnectionManager* reached = nullptr;
  sim.manager().on("who", [&](Connection& who, const Payload&) { reached = &who.manager(); });
  const auto ann = sim.connect("ann");
  ann.say("who", "{}");
  sim.run();
  CHECK(reached == &sim.manager());
}

TEST_CASE("handlers that could never be called, and empty ones, are refused", "[extensions]") {
  const auto manager = make_manager({std::make_shared<JsonProtocol>()});
  const MessageHandler handler = [](Connection&, const Payload&) {};
  CHECK_THROWS_AS(manager->on("", handler), std::invalid_argument);
  CHECK_THROWS_WITH(manager->on("join", handler), Contains("muster.v1.json serves that type itself"));
  CHECK_THROWS_WITH(manager->on("move", MessageHandler()), Contains("on(\"move\"): the function is empty"));
  CHECK_THROWS_AS(manager->on_connected(nullptr), std::invalid_argument);
  CHECK_THROWS_AS(manager->on_joined(nullptr), std::invalid_argument);
  CHECK_THROWS_AS(manager->on_left(nullptr), std::invalid_argument);
  CHECK_THROWS_AS(manager->on_disconnected(nullptr), std::invalid_argument);
  CHECK_THROWS_AS(manager->on_user_online(nullptr), std::invalid_argument);
  CHECK_THROWS_AS(manager->on_user_offline(nullptr), std::invalid_argument);
  CHECK_THROWS_AS(manager->on_room_opened(nullptr), std::invalid_argument);
  CHECK_THROWS_AS(manager->on_room_emptied(nullptr), std::invalid_argument);
  CHECK_NOTHROW(manager->on("move", handler));
  JsonProtocolOptions without_join;
  without_join.disabled_commands = {"join"};
  CHECK_NOTHROW(make_manager({std::make_shared<JsonProtocol>(without_join)})->on("join", handler));
}

TEST_CASE("two protocols of one name and path are refused, of one name at two paths not", "[extensions]") {
  CHECK_THROWS_WITH(make_manager({std::make_shared<JsonProtocol>(), std::make_shared<JsonProtocol>()}),
                    Contains("two protocols are called muster.v1.json at /ws"));
  JsonProtocolOptions elsewhere;
  elsewhere.path = "/game";
  CHECK_NOTHROW(make_manager({std::make_shared<JsonProtocol>(), std::make_shared<JsonProtocol>(elsewhere)}));
}

TEST_CASE("milliseconds::max() is never, in every option", "[extensions][options]") {
  Options options;
  detail::each_duration(options, [](const std::string&, std::chrono::milliseconds& value, const char*) {
    value = std::chrono::milliseconds::max();
  });
  options.room.awareness_interval = 50ms;
  options.connect_rate_per_ip = 5;
  CHECK(problems(options).empty());
  CheckedSim sim(options);
  const auto from = RemoteAddress::v4(10, 0, 0, 1);
  const auto bob = sim.member("bob", "r", Dial().from(from));
  const auto silent = sim.connect("silent", Dial().silent().from(from));
  const auto ann = sim.member("ann", "r", Dial().from(from));
  ann.aware("r", R"({"x":1})", 1);
  ann.publish("r", "1", R"(,"idempotency_key":"k")").publish("r", "1", R"(,"idempotency_key":"k")");
  sim.manager().send_to_user({"", "cat"}, json("1"), Delivery::queued(), nullptr);
  sim.advance(24h);
  CHECK(silent.is_open());  // it has for ever to authenticate
  CHECK(ann.is_open());
  CHECK(bob.messages("r") == Texts{"1"});
  CHECK(bob.awareness("r").size() == 1);
  ann.hang_up(CloseReason::lost);
  sim.advance(24h);
  CHECK(bob.members("r") == Texts{"ann", "bob"});
  const auto again = sim.resume_session(ann, {"r"}, Dial().from(from));
  CHECK(again.resumed("r") == "recovered");
  CHECK(sim.connect("cat").count("direct") == 1);
  for (int i = 0; i < 5; ++i) (void)sim.connect("more", Dial().from(from));
  CHECK_FALSE(sim.connect("more", Dial().from(from)).is_open());  // the window never ends
}

TEST_CASE("a kick, a revocation and a failure of a pending opening answer it", "[extensions][ending]") {
  CheckedSim sim;
  sim.authenticator->answer.kind = Answer::Kind::never;
  const auto ann = sim.dial("ann");
  sim.run();
  REQUIRE(sim.manager().pending_count() == 1);
  REQUIRE_FALSE(ann.pipe().answer());
  ConnectionId pending = sim.authenticator->last.connection;
  SECTION("kick") { CHECK(sim.manager().kick(pending, "out", false)); }
  SECTION("remove") { CHECK(sim.manager().remove(pending, CloseReason::policy)); }
  SECTION("revoke") { CHECK(sim.manager().revoke(pending) == 1); }
  SECTION("a failure, later") {
    sim.advance(1min);
    CHECK(ann.pipe().answer());
  }
  sim.run();
  REQUIRE(ann.pipe().answer());
  CHECK_FALSE(ann.pipe().answer()->accepted);
  CHECK(sim.manager().pending_count() == 0);
  CHECK(sim.manager().metrics().reserved == 0);
}

/// An executor that has something done when it is asked for the time the nth time.
class NosyExecutor final : public Executor {
 public:
  [[nodiscard]] bool post(Task task) override { return loop.post(std::move(task)); }
  [[nodiscard]] bool schedule(TimePoint when, Task task) override { return loop.schedule(when, std::move(task)); }
  [[nodiscard]] TimePoint now() const override {
    if (nth != 0 && --nth == 0) then();
    return loop.now();
  }
  [[nodiscard]] WallTime wall_now() const override { return loop.wall_now(); }
  ManualExecutor loop;
  mutable int nth = 0;
  std::function<void()> then;
};

TEST_CASE("a connection that opens on a new executor while the manager shuts down is refused", "[extensions][ending]") {
  const auto manager = make_manager({std::make_shared<JsonProtocol>()});
  const auto executor = std::make_shared<NosyExecutor>();
  const auto pipe = std::make_shared<MemoryTransport>(executor);
  bool done = false;
  REQUIRE(pipe->open(manager, {}));
  executor->nth = GENERATE(1, 2);  // before its place is reserved; before it is among the executors
  executor->then = [&] { manager->shutdown([&] { done = true; }); };
  executor->loop.run_ready();
  CHECK(done);
  REQUIRE(pipe->answer());
  CHECK_FALSE(pipe->answer()->accepted);
  CHECK(manager->connection_count() + manager->pending_count() == 0);
}

TEST_CASE("an opening is answered once, whatever answers it, and nothing late is an answer", "[extensions][ending]") {
  CheckedSim sim;
  const int how = GENERATE(range(0, 5));
  sim.authenticator->answer = how == 0 ? Answer::now() : Answer::never();
  const auto pipe = std::make_shared<MemoryTransport>(sim.schedule.executors[0]);
  OpenRequest request;
  request.token = "ann";
  request.token_source = TokenSource::authorization_header;
  int answers = 0;
  pipe->open(sim.shared_manager(), std::move(request), [&answers](const Decision&) { ++answers; });
  sim.run();
  CHECK(answers == (how == 0 ? 1 : 0));
  if (how == 1) (void)sim.manager().kick(sim.authenticator->last.connection, "out", false);
  if (how == 2) sim.manager().close_all(CloseReason::going_away, {}, nullptr);
  if (how == 3) sim.manager().shutdown(nullptr);
  sim.advance(how == 4 ? 5s : 1s);
  CHECK(answers == 1);
  sim.authenticator->withheld.release();
  sim.advance(10s);
  CHECK(answers == 1);
}

TEST_CASE("a pipe keeps its connection until it is gone, and a manager its executors until it goes", "[extensions]") {
  auto executor = std::make_shared<ManualExecutor>();
  const std::weak_ptr<Executor> kept = executor;
  auto manager = make_manager({std::make_shared<JsonProtocol>()});
  auto pipe = std::make_shared<MemoryTransport>(executor);
  REQUIRE(pipe->open(manager, {}));
  executor->run_ready();
  const std::weak_ptr<Connection> connection = pipe->connection();
  CHECK_FALSE(connection.expired());
  pipe->hang_up();
  executor->advance(10min);
  CHECK(pipe->connection() == nullptr);
  CHECK(connection.expired());
  pipe.reset();
  executor.reset();
  CHECK_FALSE(kept.expired());
  manager.reset();
  CHECK(kept.expired());
}

}  // namespace
}  // namespace muster::test
