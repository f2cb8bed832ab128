// Hooks: in order, exactly once, after the tables changed; and what happens when an embedder's code misbehaves.
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("a life, as the hooks tell it", "[hooks]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.join("a").join("b").leave("a");
  sim.run();
  ann.hang_up();
  sim.run();
  CHECK(sim.story() == Texts{"connected ann", "online ann", "joined ann a", "joined ann b", "left ann a",
                             "left ann b normal", "disconnected ann normal", "offline ann"});
}

TEST_CASE("every on_left comes before on_disconnected, whatever the cause", "[hooks]") {
  CheckedSim sim(without_sessions());
  const auto ann = sim.connect("ann");
  ann.join("a").join("b").join("c");
  sim.run();
  sim.forget_story();
  CloseReason reason = CloseReason::normal;
  SECTION("the peer") { ann.hang_up(); }
  SECTION("lost") {
    ann.hang_up(CloseReason::lost);
    reason = CloseReason::lost;
  }
  SECTION("removed") {
    reason = CloseReason::policy;
    (void)sim.manager().remove(ann.id(), reason);
  }
  SECTION("kicked") {
    reason = CloseReason::kicked;
    (void)sim.manager().kick(ann.id(), "out", false);
  }
  SECTION("close_all") {
    reason = CloseReason::going_away;
    sim.manager().close_all(reason, "", nullptr);
  }
  SECTION("shutdown") {
    reason = CloseReason::going_away;
    sim.manager().shutdown(nullptr);
  }
  SECTION("the adapter found a fault") {
    reason = CloseReason::invalid_utf8;
    sim.manager().fail(*ann.pipe().connection(), reason, "");
  }
  sim.run();
  const std::string name(to_string(reason));
  REQUIRE(sim.story().size() == 5);
  for (std::size_t i = 0; i < 3; ++i) CHECK(sim.story()[i].rfind("left ann", 0) == 0);
  for (std::size_t i = 0; i < 3; ++i) CHECK(sim.story()[i].find(name) != std::string::npos);
  CHECK(sim.story()[3] == "disconnected ann " + name);
  CHECK(sim.story()[4] == "offline ann");
}

TEST_CASE("in a hook the tables are already as it says", "[hooks]") {
  CheckedSim sim;
  Texts wrong;
  sim.hook = [&](const std::string& line, Connection* connection) {
    auto& manager = sim.manager();
    const auto expect = [&](bool holds) {
      if (!holds) wrong.push_back(line);
    };
    if (line == "connected ann") expect(manager.contains(connection->id()));
    if (line == "online ann") expect(manager.is_online({"", "ann"}));
    if (line == "joined ann r") expect(manager.connections_in({"", "r"}).size() == 1);
    if (line == "left ann r normal") expect(manager.connections_in({"", "r"}).empty());
    if (line == "disconnected ann normal") expect(!manager.contains(connection->id()));
    if (line == "offline ann") expect(!manager.is_online({"", "ann"}));
  };
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.run();
  ann.hang_up();
  sim.run();
  CHECK(wrong.empty());
  CHECK(sim.story().size() == 6);
}

TEST_CASE("what a hook throws is contained: counted, and that connection closed 1011", "[hooks]") {
  const char* at =
      GENERATE("connected ann", "online ann", "joined ann r", "left ann r", "disconnected ann normal", "offline ann");
  CheckedSim sim(without_sessions());
  const auto bob = sim.connect("bob");
  bob.join("r");
  sim.run();
  sim.hook = [at](const std::string& line, Connection*) {
    if (line == at) throw std::runtime_error("a hook of the embedder fails");
  };
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.run();
  ann.leave("r");
  sim.run();
  ann.hang_up();
  sim.run();
  CHECK(sim.manager().metrics().callback_failures == 1);
  CHECK(sim.manager().connection_count() == 1);
  CHECK(bob.is_open());
  CHECK(sim.told("connected ann") == 1);
  CHECK(sim.told("offline ann") == 1);
  if (std::string(at) == "joined ann r") CHECK(ann.close_code() == 1011);
  sim.advance(1s);
  CHECK(bob.members("r") == Texts{"bob"});
}

TEST_CASE("hooks may do anything, themselves included", "[hooks]") {
  CheckedSim sim;
  const auto bob = sim.connect("bob");
  bob.join("r");
  sim.run();
  sim.hook = [&sim](const std::string& line, Connection* connection) {
    if (line == "connected ann") connection->send(json(R"("welcome")"));
    if (line == "joined ann r") {
      connection->publish("r", json(R"("hello")"));
      (void)sim.manager().remove(connection->id(), CloseReason::policy);
    }
    if (line == "left ann r policy") sim.manager().publish({"", "r"}, json(R"("bye")"));
    if (line == "disconnected ann policy") connection->send(json("1"));
  };
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.run();
  CHECK(bob.messages("r") == Texts{R"("hello")", R"("bye")"});
  CHECK(ann.count("direct") == 1);
  CHECK(ann.close_code() == 1008);
  CHECK(sim.manager().connection_count() == 1);
}

TEST_CASE("Connection::close takes effect after the current handler has returned", "[hooks]") {
  CheckedSim sim;
  ConnectionStatus after = ConnectionStatus::disconnected;
  sim.manager().on("quit", [&after](Connection& connection, const Payload&) {
    connection.close(CloseReason::normal, "as you wish");
    after = connection.status();
  });
  const auto ann = sim.connect("ann");
  ann.say("quit", "{}").say("ping", "{}");
  sim.run();
  CHECK(after == ConnectionStatus::connected);
  CHECK(ann.close_code() == 1000);
  CHECK(ann.close_text() == "as you wish");
  CHECK(sim.is_empty());
}

/// What each use of it says that is refused.
Texts refusals(Connection& kept) {
  const std::function<void()> uses[] = {[&kept] { (void)kept.rooms(); }, [&kept] { kept.send(json("1")); },
                                        [&kept] { kept.publish("r", json("1")); }, [&kept] { kept.reply(json("1")); },
                                        [&kept] { kept.close(CloseReason::policy); }};
  Texts said;
  for (const auto& use : uses) {
    try {
      use();
    } catch (const std::logic_error& error) {
      said.emplace_back(error.what());
    }
  }
  return said;
}

TEST_CASE("a connection that was kept beyond its call is found at its first use", "[hooks]") {
  CheckedSim sim;
  Connection* kept = nullptr;
  Texts said;
  const auto look = [&] { said = refusals(*kept); };
  sim.manager().on("keep", [&](Connection& connection, const Payload&) { kept = &connection; });
  sim.manager().on("thread", [&](Connection&, const Payload&) { std::thread(look).join(); });
  sim.manager().on("look", [&](Connection&, const Payload&) { look(); });
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.say("keep", "{}");
  sim.run();
  SECTION("on its own thread, later") { look(); }
  SECTION("on another thread, while a handler of it runs") { ann.say("thread", "{}"); }
  SECTION("in the call of another connection") { bob.say("look", "{}"); }
  sim.run();
  const std::string rule = " outside of the handler or hook that was given the reference: keep its id(), and use ";
  CHECK(said == Texts{"Connection::rooms" + rule + "IConnectionManager::find",
                      "Connection::send" + rule + "IConnectionManager::send",
                      "Connection::publish" + rule + "IConnectionManager::publish",
                      "Connection::reply" + rule + "IConnectionManager::send: the command has been answered",
                      "Connection::close" + rule + "IConnectionManager::remove"});
  CHECK(ann.is_open());
}

TEST_CASE("a connection that never authenticated has no hooks", "[hooks]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann", Dial().silent());
  ann.authenticate("bad");
  sim.run();
  sim.connect("bad");
  sim.connect("bob", Dial().silent()).hang_up();
  sim.run();
  CHECK(sim.story().empty());
}

}  // namespace
}  // namespace muster::test
