// What counts as unsent while a pipe is full: the rest of the batch, what the system holds, and what the peer takes of it.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

Options small_marks() {
  Options options;
  options.unsent_soft_bytes = 1000;
  options.unsent_hard_bytes = 20'000;
  options.heartbeat = 0s;
  options.message_rate = options.frame_rate = 0;
  return options;
}

std::size_t unsent(Sim& sim, const Client& client) {
  std::size_t bytes = 0;
  sim.manager().explain(client.id(),
                        [&bytes](std::optional<Explanation> told) { bytes = told.value().counters.unsent_bytes; });
  sim.run();
  return bytes;
}

/// A message that the pipe holds; its frame.
std::size_t fill(Sim& sim, const Client& client) {
  client.stall();
  (void)sim.manager().send(client.id(), json("1"));
  sim.run();
  return unsent(sim, client);
}

TEST_CASE("what the system holds is told, and counts once", "[slow]") {
  CheckedSim sim(small_marks());
  const auto ann = sim.connect("ann");
  CHECK(unsent(sim, ann) == 0);
  const std::size_t batch = fill(sim, ann);
  CHECK(batch > 0);
  ann.pipe().system_holds(700);
  CHECK(unsent(sim, ann) == batch + 700);
  ann.pipe().system_holds(100);
  CHECK(unsent(sim, ann) == batch + 100);
  (void)sim.manager().send(ann.id(), json("1"));
  sim.run();
  CHECK(unsent(sim, ann) == 2 * batch + 100);
  ann.resume();
  sim.run();
  CHECK(unsent(sim, ann) == 0);
}

TEST_CASE("what the system holds counts against the soft mark", "[slow]") {
  CheckedSim sim(small_marks());
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  const bool held = GENERATE(false, true);
  bob.pipe().system_holds(held ? 900 : 0);
  bob.stall();
  for (int i = 0; i < 3; ++i) {
    ann.publish("r", std::to_string(i));
    sim.run();
  }
  bool behind = false;
  sim.manager().explain(bob.id(), [&](std::optional<Explanation> told) { behind = told.value().behind; });
  sim.run();
  CHECK(behind == held);
  bob.resume();
  sim.run();
  CHECK(bob.messages("r") == Texts{"0", "1", "2"});
}

TEST_CASE("what the system holds counts against the hard mark, as it is then", "[slow]") {
  CheckedSim sim(small_marks());
  const auto ann = sim.connect("ann");
  ann.pipe().system_holds(19'900);
  ann.stall();
  (void)sim.manager().send(ann.id(), json("1"));
  sim.run();
  REQUIRE(ann.is_open());
  const bool taken = GENERATE(false, true);
  if (taken) ann.pipe().system_holds(0);
  (void)sim.manager().send(ann.id(), json(quoted(std::string(200, 'x'))));
  sim.run();
  CHECK(ann.close_code() == (taken ? 0 : 4008));
}

TEST_CASE("state does not queue behind a full pipe: the newest is told when there is room", "[slow]") {
  CheckedSim sim(small_marks());
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  bob.stall();
  for (int i = 0; i < 5; ++i) {  // all of them together are below the soft mark
    ann.publish_latest("r", std::to_string(i), "cursor");
    sim.run();
  }
  bob.resume();
  sim.run();
  CHECK(bob.messages("r") == Texts{"0", "4"});
  ann.publish("r", "5");
  sim.run();
  CHECK(bob.messages("r") == Texts{"0", "4", "5"});
}

TEST_CASE("messages that a room without history could not tell again queue behind state", "[slow]") {
  Options options = small_marks();
  options.room.history_messages = 0;
  CheckedSim sim(options);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  bob.stall();
  ann.publish_latest("r", "0", "cursor");
  sim.run();
  ann.publish_latest("r", "1", "cursor");
  sim.run();
  ann.publish("r", "2");
  sim.run();
  bob.resume();
  sim.run();
  CHECK(bob.messages("r") == Texts{"0", "1", "2"});
  CHECK(bob.view("r").stays.back().gaps.empty());
}

TEST_CASE("a peer that takes something within unsent_age is slow, one that takes nothing is closed", "[slow]") {
  Options options = small_marks();
  options.unsent_age = 10s;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.pipe().system_holds(5000);
  (void)fill(sim, ann);
  for (std::size_t held = 5000; held > 1000; held -= 1000) {
    sim.advance(8s);
    (void)unsent(sim, ann);  // looking is not taking
    ann.pipe().system_holds(held - 1000);
    CHECK(ann.close_code() == 0);
  }
  sim.advance(25s);
  CHECK(ann.close_code() == 4008);
}

TEST_CASE("a peer that takes what is sent is alive, however long a ping waits behind it", "[slow]") {
  Options options = small_marks();
  options.heartbeat = 5s;
  options.pong_timeout = 2s;
  options.unsent_age = 1h;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.pipe().system_holds(50'000);
  (void)fill(sim, ann);
  std::size_t held = 50'000;
  for (int second = 0; second < 30; ++second) {
    sim.advance(1s);
    ann.pipe().system_holds(held -= 1000);
  }
  CHECK(ann.is_open());
  const bool room = GENERATE(false, true);
  if (room) {  // the pipe has room at last, and only now the ping gets through
    ann.resume();
    sim.advance(1900ms);
    CHECK(ann.is_open());
    ann.pong();
    sim.advance(2s);
    CHECK(ann.is_open());
  }
  sim.advance(10s);
  CHECK_FALSE(ann.is_open());
  CHECK(sim.manager().metrics().closed[static_cast<std::size_t>(CloseReason::heartbeat_timeout)] == 1);
}

TEST_CASE("who takes all that is before it is not slow for what has to wait", "[slow]") {
  CheckedSim sim(small_marks());
  const auto ann = sim.connect("ann");
  ann.pipe().system_holds(0);
  ann.pipe().take_per_turn(20, 1s);
  const std::string text = quoted(std::string(200, 'x'));
  for (int i = 0; i < 3; ++i) {  // each takes longer than unsent_age
    (void)sim.manager().send(ann.id(), json(text));
    sim.run();
  }
  sim.advance(60s);
  CHECK(ann.close_code() == 0);
  CHECK(ann.count("direct") == 3);
}

TEST_CASE("a peer is not slow for a server that looks late", "[slow]") {
  Options options = small_marks();
  options.unsent_age = 8s;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.pipe().system_holds(0);
  ann.pipe().take_per_turn(20, 3s);
  (void)sim.manager().send(ann.id(), json(quoted(std::string(200, 'x'))));
  sim.run();
  ann.executor()->hold(true);
  sim.advance(7900ms);
  ann.executor()->hold(false);
  sim.advance(20s);
  CHECK(ann.close_code() == 0);
}

TEST_CASE("a peer that took nothing before it was known is slow afterwards", "[slow]") {
  CheckedSim sim(small_marks());
  const auto ann = sim.connect("ann", Dial().silent());
  ann.stall();
  ann.pipe().receive("x", FrameKind::ping);
  sim.run();
  REQUIRE(ann.pipe().is_pending());
  ann.authenticate("ann");
  sim.advance(25s);
  CHECK(ann.close_code() == 4008);
}

TEST_CASE("what was on its way when the pipe was full is no progress", "[slow]") {
  CheckedSim sim(small_marks());
  const auto ann = sim.connect("ann");
  ann.pipe().system_holds(5000);
  (void)fill(sim, ann);
  sim.advance(1s);
  ann.pipe().system_holds(4000);
  sim.advance(8900ms);
  CHECK(ann.close_code() == 0);
  sim.advance(200ms);
  CHECK(ann.close_code() == 4008);
}

}  // namespace
}  // namespace muster::test
