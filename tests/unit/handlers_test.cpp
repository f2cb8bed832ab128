// Handlers that come and go while connections are there.
#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "muster/auth/allow_all.hpp"
#include "muster/auth/allow_anonymous.hpp"
#include "support/checked_sim.hpp"
#include "support/thread_executor.hpp"
#include "support/wait_for.hpp"

namespace muster::test {
namespace {

/// A handler that answers with this, and tells when it has been let go of.
class Answering {
 public:
  explicit Answering(std::string what) : what_(std::make_shared<const std::string>(std::move(what))) {}
  MessageHandler handler() {
    return [what = std::exchange(what_, nullptr)](Connection& connection, const Payload&) {
      connection.reply(json(quoted(*what)));
    };
  }
  [[nodiscard]] std::weak_ptr<const std::string> watch() const { return what_; }

 private:
  std::shared_ptr<const std::string> what_;
};

/// What each "ask" was answered, in order: the result, or the error's code.
Texts answers(const Client& client) {
  Texts all;
  for (const auto& told : client.log()) {
    if (told.type() == "ack") all.push_back(told.value("result"));
    if (told.type() == "error") all.push_back(told.text("code"));
  }
  return all;
}

TEST_CASE("handlers are added, replaced and taken away at any time, on every executor", "[handlers]") {
  CheckedSim sim({}, 3);
  const auto ann = sim.connect("ann", Dial().on(0));
  const auto bob = sim.connect("bob", Dial().on(1));
  const auto ask = [&] {
    for (const Client* client : {&ann, &bob}) client->say("ask", "{}");
    sim.run();
  };
  ask();
  CHECK_FALSE(sim.manager().off("ask"));
  sim.manager().on("ask", Answering("one").handler());
  ask();
  sim.manager().on("ask", [](Connection&, const Payload&, Responder respond) { respond(json(R"("two")")); });
  ask();
  const auto cid = sim.connect("cid", Dial().on(2));
  cid.say("ask", "{}");
  sim.run();
  CHECK(sim.manager().off("ask"));
  CHECK_FALSE(sim.manager().off("ask"));
  ask();
  for (const Client* client : {&ann, &bob}) {
    CHECK(answers(*client) == Texts{"unknown_message", R"("one")", R"("two")", "unknown_message"});
  }
  CHECK(answers(cid) == Texts{R"("two")"});
}

TEST_CASE("every command whose turn comes after a change is served so", "[handlers]") {
  CheckedSim sim({}, 2);
  const auto ann = sim.connect("ann", Dial().on(0));
  const auto bob = sim.connect("bob", Dial().on(1));
  sim.manager().on("change", [](Connection& connection, const Payload&) {
    connection.manager().on("ask", Answering("changed").handler());
  });
  ann.say("ask", "{}").say("change", "{}").say("ask", "{}");
  sim.run();
  CHECK(answers(ann) == Texts{"unknown_message", "", R"("changed")"});
  bob.say("ask", "{}");  // on its way, and not its turn yet
  (void)sim.manager().off("ask");
  ann.say("ask", "{}");
  sim.run();
  CHECK(answers(bob) == Texts{"unknown_message"});
  CHECK(answers(ann).back() == "unknown_message");
}

TEST_CASE("what a handler was given for is checked whenever it is given", "[handlers]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  CHECK_THROWS_AS(sim.manager().on("ask", MessageHandler()), std::invalid_argument);
  CHECK_THROWS_AS(sim.manager().on("", Answering("one").handler()), std::invalid_argument);
  CHECK_THROWS_AS(sim.manager().on("join", Answering("one").handler()), std::invalid_argument);
  CHECK_THROWS_AS(sim.manager().on_connected([](Connection&) {}), std::logic_error);
}

TEST_CASE("a handler that is being called is kept until it has returned", "[handlers]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const bool takes_away = GENERATE(true, false);
  auto what = std::make_shared<const std::string>(R"("the old one")");
  const std::weak_ptr<const std::string> held = what;
  bool was_held = false;
  sim.manager().on("ask", [&, takes_away, what = std::exchange(what, nullptr)](Connection& connection, const Payload&) {
    if (takes_away) {
      CHECK(connection.manager().off("ask"));
    } else {
      connection.manager().on("ask", Answering("the new one").handler());
    }
    was_held = !held.expired();
    connection.reply(json(*what));
  });
  ann.say("ask", "{}");
  sim.run();
  CHECK(was_held);
  CHECK(held.expired());
  ann.say("ask", "{}");
  sim.run();
  CHECK(answers(ann) == Texts{R"("the old one")", takes_away ? "unknown_message" : R"("the new one")"});
}

TEST_CASE("a command that waits for its permission is served by whoever serves it then", "[handlers]") {
  CheckedSim sim;
  sim.manager().on("ask", Answering("one").handler());
  const auto ann = sim.connect("ann");
  sim.authorizer->answer = Answer::later(50ms);
  ann.say("ask", "{}");
  sim.run();
  const bool stays = GENERATE(true, false);
  if (stays) sim.manager().on("ask", Answering("two").handler());
  if (!stays) (void)sim.manager().off("ask");
  sim.advance(1s);
  CHECK(answers(ann) == Texts{stays ? R"("two")" : "unknown_message"});
}

TEST_CASE("off says when no executor calls the handler any more, and it has been let go of", "[handlers]") {
  CheckedSim sim({}, 2);
  const auto ann = sim.connect("ann", Dial().on(0));
  const auto bob = sim.connect("bob", Dial().on(1));
  Answering one("one");
  const auto held = one.watch();
  sim.manager().on("ask", one.handler());
  sim.run();
  sim.schedule.executors[1]->hold(true);
  int done = 0;
  bool was_gone = false;
  CHECK(sim.manager().off("ask", [&] {
    ++done;
    was_gone = held.expired();
  }));
  sim.run();
  CHECK(done == 0);
  CHECK_FALSE(held.expired());
  sim.schedule.executors[1]->hold(false);
  sim.run();
  CHECK(done == 1);
  CHECK(was_gone);
  CHECK_FALSE(sim.manager().off("ask", [&] { ++done; }));
  sim.run();
  CHECK(done == 2);
}

TEST_CASE("before anybody connects, off lets a handler go at once", "[handlers]") {
  CheckedSim sim;
  Answering one("one");
  const auto held = one.watch();
  sim.manager().on("ask", one.handler());
  int done = 0;
  CHECK(sim.manager().off("ask", [&] { ++done; }));
  CHECK(done == 1);
  CHECK(held.expired());
}

TEST_CASE("handlers that were given late are let go of when shutdown is done, also by executors that have stopped",
          "[handlers]") {
  Answering one("one");
  Answering two("two");
  Answering three("three");
  const std::vector<std::weak_ptr<const std::string>> held{one.watch(), two.watch(), three.watch()};
  std::weak_ptr<IConnectionManager> manager;
  {
    CheckedSim sim({}, 2);
    const auto ann = sim.connect("ann", Dial().on(0));
    const auto bob = sim.connect("bob", Dial().on(1));
    manager = sim.shared_manager();
    sim.manager().on("one", [keeps = sim.shared_manager(), handler = one.handler()](
                                Connection& connection, const Payload& payload) { handler(connection, payload); });
    sim.run();
    sim.schedule.executors[1]->loop().stop();  // it will not hear of what follows
    sim.manager().on("two", two.handler());
    (void)sim.manager().off("one");
    bool down = false;
    sim.manager().shutdown([&down] { down = true; });
    sim.advance(30s);
    REQUIRE(down);
    CHECK(held[0].expired());
    CHECK(held[1].expired());
    sim.manager().on("three", three.handler());
    CHECK(held[2].expired());
    CHECK_FALSE(sim.manager().off("three"));
  }
  CHECK(manager.expired());
}

TEST_CASE("a handler that keeps what it is to answer goes with its manager, also without a shutdown", "[handlers]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  auto asked = std::make_shared<std::vector<Responder>>();
  const std::weak_ptr<std::vector<Responder>> held = asked;
  sim.manager().on(
      "ask",
      [asked = std::exchange(asked, nullptr)](Connection&, const Payload&, Responder respond) {
        asked->push_back(std::move(respond));
      },
      HandlerOptions{false, {}});
  ann.say("ask", "{}");
  sim.run();
  CHECK_FALSE(held.expired());
  sim.kill_node(0);
  CHECK(held.expired());
}

TEST_CASE("handlers change on one thread while others serve commands, and each is let go of", "[handlers][threads]") {
  Options options;
  options.message_rate = options.byte_rate = options.frame_rate = 0;
  Components components;
  components.protocols = {std::make_shared<JsonProtocol>()};
  const auto manager = make_connection_manager(options, std::make_shared<AllowAnonymous>(),
                                               std::make_shared<AllowAll>(), std::move(components));
  std::vector<std::shared_ptr<ThreadExecutor>> executors{std::make_shared<ThreadExecutor>(),
                                                         std::make_shared<ThreadExecutor>()};
  std::vector<std::shared_ptr<MemoryTransport>> pipes;
  std::atomic<int> opened{0};
  for (const auto& executor : executors) {
    pipes.push_back(std::make_shared<MemoryTransport>(executor));
    pipes.back()->open(manager, OpenRequest{}, [&](const Decision&) { ++opened; });
  }
  REQUIRE(wait_for([&] { return opened == 2; }));
  const auto alive = std::make_shared<int>(0);
  std::atomic<std::uint64_t> served{0};
  std::thread changes([&] {
    for (int i = 0; i < 3000; ++i) {
      if (i % 3 == 2) {
        (void)manager->off("ask");
      } else {
        manager->on("ask", [alive, &served](Connection&, const Payload&) { ++served; });
      }
    }
  });
  for (const auto& pipe : pipes) {
    for (int i = 0; i < 2000; ++i) pipe->receive(R"({"type":"ask"})");
  }
  std::atomic<int> through{0};
  manager->on("last", [&](Connection&, const Payload&) { ++through; });
  for (const auto& pipe : pipes) pipe->receive(R"({"type":"last"})");
  CHECK(wait_for([&] { return through == 2; }));
  changes.join();
  std::atomic<bool> gone{false};
  (void)manager->off("ask", [&] { gone = true; });
  CHECK(wait_for([&] { return gone.load(); }));
  CHECK(alive.use_count() == 1);
  std::atomic<bool> down{false};
  manager->shutdown([&down] { down = true; });
  CHECK(wait_for([&] { return down.load(); }));
  for (const auto& executor : executors) executor->stop();
}

}  // namespace
}  // namespace muster::test
