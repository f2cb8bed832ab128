// Endings: the five steps in order, removals, close_all and shutdown.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("remove runs the disconnect flow with its reason and text", "[ending]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.run();
  CHECK(sim.manager().remove(ann.id(), CloseReason::revoked, "no longer"));
  sim.run();
  CHECK(ann.close_code() == 4003);
  CHECK(ann.close_text() == "no longer");
  CHECK_FALSE(sim.manager().remove(ann.id()));
  CHECK(sim.is_empty());
}

TEST_CASE("every reason closes with its code and text", "[ending]") {
  CheckedSim sim;
  for (const auto& entry : close_reasons) {
    if (entry.reason == CloseReason::lost || entry.reason == CloseReason::heartbeat_timeout)
      continue;  // nobody is there
    const auto ann = sim.connect("ann");
    CHECK(sim.manager().remove(ann.id(), entry.reason));
    sim.run();
    CHECK(ann.close_code() == entry.code);
    CHECK(ann.close_text() == entry.text);
    CHECK(sim.manager().metrics().closed[static_cast<std::size_t>(entry.reason)] == 1);
  }
}

TEST_CASE("a close text is cut to what a close frame holds", "[ending]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  (void)sim.manager().remove(ann.id(), CloseReason::policy, std::string(500, 'x'));
  sim.run();
  CHECK(ann.close_text().size() <= 123);
}

TEST_CASE("a close text is cut between characters", "[ending]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  std::string text;
  for (int i = 0; i < 100; ++i) text += "\xc3\xa9";
  (void)sim.manager().remove(ann.id(), CloseReason::kicked, text);
  sim.run();
  CHECK(ann.close_text() == text.substr(0, 122));
}

TEST_CASE("kick tells the client first, with the advice", "[ending]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  CHECK(sim.manager().kick(ann.id(), "too loud", true));
  sim.run();
  REQUIRE(ann.last("kicked"));
  CHECK(ann.last("kicked")->text("reason") == "too loud");
  CHECK(ann.last("kicked")->value("reconnect") == "true");
  CHECK(ann.close_code() == 4004);
}

TEST_CASE("deciding to close discards queued data, and no data follows", "[ending]") {
  Options options;
  options.unsent_age = 1min;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.stall();
  for (int i = 0; i < 10; ++i) {
    (void)sim.manager().send(ann.id(), json(std::to_string(i)));
    sim.run();
  }
  (void)sim.manager().remove(ann.id());
  sim.run();
  const auto writes = ann.pipe().writes();
  ann.resume();
  sim.run();
  CHECK(ann.pipe().writes() == writes);
  CHECK(ann.count("direct") <= 1);
  CHECK(sim.is_empty());
}

TEST_CASE("a peer that does not answer the close frame is cut after close_timeout", "[ending]") {
  Options options;
  options.close_timeout = 2s;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.vanish();
  (void)sim.manager().remove(ann.id());
  sim.run();
  CHECK(sim.manager().connection_count() == 0);
  CHECK(sim.manager().metrics().reserved == 1);
  sim.advance(10s);
  CHECK(ann.pipe().is_gone());
  CHECK(sim.is_empty());
}

TEST_CASE("what arrives after the decision to close is ignored", "[ending]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  (void)sim.manager().remove(ann.id());
  ann.join("r").publish("r", "1");
  sim.run();
  CHECK(sim.manager().room_count() == 0);
  CHECK(sim.told("joined ann r") == 0);
}

TEST_CASE("close_all closes everyone, pending ones too, and tells how many once every socket is gone", "[ending]") {
  CheckedSim sim(without_sessions(), 3);
  std::vector<Client> clients;
  for (std::size_t i = 0; i < 9; ++i) clients.push_back(sim.connect("u" + std::to_string(i), Dial().on(i % 3)));
  clients.push_back(sim.connect("silent", Dial().silent()));
  for (std::size_t i = 0; i < 9; ++i) clients[i].join("r");
  sim.run();
  clients[4].vanish();
  std::optional<std::size_t> closed;
  sim.manager().close_all(CloseReason::going_away, "restart", [&closed](std::size_t count) { closed = count; });
  sim.run();
  CHECK_FALSE(closed);  // one socket is still there
  CHECK(sim.manager().connection_count() == 0);
  sim.advance(5s);
  REQUIRE(closed);
  CHECK(*closed == 10);
  for (const auto& client : clients) CHECK(client.close_code() == 1001);
  CHECK(clients[0].close_text() == "restart");
  CHECK(sim.is_empty());
  CHECK(sim.manager().is_ready());
  CHECK(sim.connect("late").is_open());
}

TEST_CASE("close_all of nobody is answered too", "[ending]") {
  CheckedSim sim;
  std::optional<std::size_t> closed;
  sim.manager().close_all(CloseReason::going_away, "", [&closed](std::size_t count) { closed = count; });
  sim.run();
  CHECK(closed == std::size_t{0});
}

TEST_CASE("shutdown takes no more connections, closes all 1001, and says when it is done", "[ending]") {
  CheckedSim sim({}, 2);
  sim.authenticator->script = [](const Credentials& credentials) {
    return credentials.token == "slow" ? Answer::later(1s) : Answer::now();
  };
  const auto ann = sim.connect("ann", Dial().on(0));
  const auto bob = sim.connect("bob", Dial().on(1));
  const auto slow = sim.connect("slow");
  bool done = false;
  sim.manager().shutdown([&done] { done = true; });
  CHECK_FALSE(sim.manager().is_ready());
  const auto late = sim.connect("late");
  REQUIRE(late.pipe().answer());
  CHECK_FALSE(late.pipe().answer()->accepted);
  CHECK(describe(late.pipe().answer()->reason).http_status == 503);
  sim.advance(10s);
  CHECK(done);
  CHECK(ann.close_code() == 1001);
  CHECK(bob.close_code() == 1001);
  CHECK(sim.manager().connection_count() == 0);
  CHECK(sim.is_empty());
}

TEST_CASE("the five steps come in order, each observable", "[ending]") {
  CheckedSim sim;
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  bob.join("r");
  ann.join("r").aware("r", "{}", 1, "a");
  sim.advance(1s);
  Texts steps;
  sim.hook = [&](const std::string& line, Connection* connection) {
    if (line == "left ann r policy") {
      // 1: no message is processed any more. 2: the room has let it go.
      CHECK(connection->status() == ConnectionStatus::disconnecting);
      CHECK(sim.manager().connections_in({"", "r"}).size() == 1);
      CHECK_FALSE(ann.pipe().closing());
      steps.push_back("left");
    }
    if (line == "disconnected ann policy") {
      // 3 and 4: its awareness is gone. 5: the close frame, the registry.
      CHECK(sim.manager().awareness().size() == 0);
      CHECK(ann.close_code() == 1008);
      CHECK_FALSE(sim.manager().contains(connection->id()));
      steps.push_back("disconnected");
    }
  };
  (void)sim.manager().remove(ann.id(), CloseReason::policy);
  sim.advance(1s);
  CHECK(steps == Texts{"left", "disconnected"});
  CHECK(bob.view("r").nulls_told == 1);
  CHECK(bob.members("r") == Texts{"bob"});
}

TEST_CASE("shutdown counts the sockets of an executor that has stopped as gone", "[ending]") {
  CheckedSim sim({}, 2);
  const auto ann = sim.connect("ann", Dial().on(0));
  const auto bob = sim.connect("bob", Dial().on(1));
  bob.vanish();
  bob.executor()->loop().stop();
  bool done = false;
  sim.manager().shutdown([&done] { done = true; });
  sim.run();
  CHECK(done);
  CHECK(ann.close_code() == 1001);
  CHECK(sim.is_empty());
}

}  // namespace
}  // namespace muster::test
