// A client that is slower than its room: fed from history, told of gaps, and let go in the end.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

/// Small marks, so that a few messages are many.
Options tight() {
  Options options;
  options.unsent_soft_bytes = 1000;
  options.unsent_hard_bytes = 20000;
  options.heartbeat = 0s;
  options.message_rate = options.frame_rate = 0;
  return options;
}

const std::string hundred_bytes = quoted(std::string(100, 'x'));

Texts numbers(std::size_t from, std::size_t to) {
  Texts texts;
  for (std::size_t i = from; i <= to; ++i) texts.push_back(std::to_string(i));
  return texts;
}

/// `slow` reads no more, and `other` publishes four times as much as fits below the soft mark.
void let_fall_behind(Sim& sim, const Client& slow, const Client& other) {
  slow.stall();
  for (int i = 0; i < 40; ++i) other.publish("r", hundred_bytes);
  sim.run();
}

std::optional<Explanation> explain(Sim& sim, const Client& client) {
  std::optional<Explanation> story;
  sim.manager().explain(client.id(), [&story](std::optional<Explanation> told) { story = std::move(told); });
  sim.run();
  return story;
}

TEST_CASE("a member that stalls loses nothing that history still holds", "[slow]") {
  CheckedSim sim(tight());
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  bob.stall();
  for (std::size_t i = 1; i <= 200; ++i) {
    ann.publish("r", std::to_string(i));
    if (i % 10 == 0) sim.run();
  }
  sim.run();
  CHECK(bob.messages("r").size() < 200);
  bob.resume();
  sim.run();
  CHECK(bob.messages("r") == numbers(1, 200));
  CHECK(bob.view("r").stays.back().gaps.empty());
  CHECK(bob.is_open());
}

TEST_CASE("a member that is behind costs its cursor, not copies", "[slow]") {
  CheckedSim sim(tight());
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  bob.stall();
  for (int i = 0; i < 500; ++i) {
    ann.publish("r", hundred_bytes);
    sim.run();
  }
  CHECK(bob.is_open());
  const auto story = explain(sim, bob);
  REQUIRE(story);
  CHECK(story->behind);
  CHECK(story->counters.unsent_bytes < 2000);
  bob.resume();
  sim.run();
}

TEST_CASE("what history no longer holds is named as a gap", "[slow]") {
  Options options = tight();
  options.room.history_messages = 10;
  CheckedSim sim(options);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  bob.stall();
  for (std::size_t i = 1; i <= 300; ++i) {
    ann.publish("r", std::to_string(i));
    sim.run();
  }
  bob.resume();
  sim.run();
  const auto& stay = bob.view("r").stays.back();
  REQUIRE(stay.gaps.size() == 1);
  const auto gap = stay.gaps[0];
  CHECK(gap.to == 290);
  CHECK(stay.messages.size() == 300 - (gap.to - gap.from + 1));
  CHECK(stay.known == 300);
  CHECK(sim.manager().metrics().gaps == 1);
}

TEST_CASE("without history a slow member gets one gap", "[slow]") {
  Options options = tight();
  options.room.history_messages = 0;
  CheckedSim sim(options);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  bob.stall();
  for (std::size_t i = 1; i <= 100; ++i) {
    ann.publish("r", std::to_string(i));
    sim.run();
  }
  bob.resume();
  sim.run();
  CHECK(bob.view("r").stays.back().gaps.size() == 1);
  CHECK(bob.view("r").stays.back().known == 100);
  ann.publish("r", "101");
  sim.run();
  CHECK(bob.messages("r").back() == "101");
}

TEST_CASE("a replay leaves out what the member was excluded from", "[slow]") {
  CheckedSim sim(tight());
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  bob.stall();
  for (std::size_t i = 1; i <= 100; ++i) {
    (i % 2 == 0 ? ann : bob).publish("r", std::to_string(i));
    sim.run();
  }
  bob.resume();
  sim.run();
  CHECK(bob.messages("r").size() == 50);
  for (const auto& text : bob.messages("r")) CHECK(std::stoi(text) % 2 == 0);
  CHECK(bob.view("r").stays.back().gaps.empty());
}

TEST_CASE("a pipe that takes a few bytes at a time gets everything, in order", "[slow]") {
  CheckedSim sim(tight());
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  for (std::size_t bytes : {std::size_t{1}, std::size_t{7}, std::size_t{64}, std::size_t{500}}) {
    bob.pipe().take_per_turn(bytes);
    const std::string room = "r" + std::to_string(bytes);
    ann.join(room);
    bob.join(room);
    sim.run();
    for (std::size_t i = 1; i <= 50; ++i) ann.publish(room, std::to_string(i));
    sim.run();
    CHECK(bob.messages(room) == numbers(1, 50));
  }
}

TEST_CASE("state is told newest per key when a member has caught up", "[slow]") {
  CheckedSim sim(tight());
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  const auto cat = sim.connect("cat");
  sim.advance(1s);
  let_fall_behind(sim, bob, ann);
  for (std::uint64_t i = 1; i <= 20; ++i) {
    ann.aware("r", R"({"at":)" + std::to_string(i) + "}", i, "cursor");
    ann.publish_latest("r", std::to_string(i), "typing");
    sim.advance(60ms);
  }
  cat.join("r");
  sim.advance(60ms);
  bob.resume();
  sim.advance(1s);
  CHECK(bob.awareness("r") == States{{"cursor", R"({"at":20})"}});
  CHECK(bob.messages("r").back() == "20");
  CHECK(bob.members("r") == Texts{"ann", "bob", "cat"});
}

TEST_CASE("who is behind and asks who is there is not told again what it missed until then", "[slow]") {
  CheckedSim sim(tight());
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  sim.advance(1s);
  let_fall_behind(sim, bob, ann);
  const auto cat = sim.member("cat", "r");
  sim.advance(60ms);
  cat.leave("r");
  sim.advance(60ms);
  bob.join("r");  // again: the answer has the list
  sim.run();
  bob.resume();
  sim.advance(1s);
  CHECK(bob.members("r") == Texts{"ann", "bob"});
  CHECK(bob.view("r").lefts.empty());
}

TEST_CASE("latest messages of one key conflate because the member is behind", "[slow]") {
  CheckedSim sim(tight());
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  sim.advance(1s);
  let_fall_behind(sim, bob, ann);
  REQUIRE(sim.manager().metrics().conflated == 0);
  for (int i = 1; i <= 30; ++i) {
    ann.publish_latest("r", std::to_string(i), i % 2 == 0 ? "even" : "odd");
    sim.run();  // each in a turn of its own: none is conflated on its way into the room
  }
  CHECK(sim.manager().metrics().conflated == 28);
  bob.resume();
  sim.run();
  Texts after = bob.messages("r");
  after.erase(after.begin(), after.begin() + 40);
  CHECK(after == Texts{"30", "29"});
}

TEST_CASE("who is behind is not remembered keys without end, but closed 4008", "[slow]") {
  Options options = tight();
  options.unsent_age = 1h;
  options.byte_rate = 0;
  const bool by_awareness = GENERATE(false, true);
  CheckedSim sim(options);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  sim.advance(1s);
  let_fall_behind(sim, bob, ann);
  int sent = 0;
  for (; sent < 1000 && bob.close_code() == 0; ++sent) {
    const std::string key = std::to_string(sent);
    if (by_awareness) {
      ann.aware("r", "{}", 1, key).aware("r", "null", 2, key);
      sim.advance(60ms);
    } else {
      ann.publish_latest("r", "1", key);
      sim.run();
    }
  }
  CHECK(bob.close_code() == 4008);
  CHECK(sent > 20);
  CHECK(sent < 400);
}

TEST_CASE("a null that a slow member missed is told once it has caught up", "[slow]") {
  CheckedSim sim(tight());
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  ann.aware("r", "{}", 1, "cursor");
  sim.advance(1s);
  REQUIRE(bob.awareness("r").size() == 1);
  let_fall_behind(sim, bob, ann);
  ann.hang_up();
  sim.advance(1s);
  bob.resume();
  sim.advance(1s);
  CHECK(bob.awareness("r").empty());
  CHECK(bob.view("r").nulls_told == 1);
  CHECK(bob.members("r") == Texts{"bob"});
}

TEST_CASE("direct messages beyond the hard mark close 4008, and what is queued is dropped", "[slow]") {
  CheckedSim sim(without_sessions(tight()));
  const auto bob = sim.connect("bob");
  bob.stall();
  for (int i = 0; i < 300 && sim.manager().contains(bob.id()); ++i) {
    (void)sim.manager().send(bob.id(), json(hundred_bytes));
    sim.run();
  }
  CHECK(bob.close_code() == 4008);
  CHECK_FALSE(sim.manager().contains(bob.id()));
  CHECK(sim.told("disconnected bob slow_consumer") == 1);
  CHECK(sim.manager().metrics().reserved == 1);  // the socket is still there
  sim.advance(5s);                               // until its close timeout
  CHECK(sim.is_empty());
}

TEST_CASE("an unsent byte older than unsent_age closes 4008", "[slow]") {
  CheckedSim sim(without_sessions(tight()));
  const auto bob = sim.connect("bob");
  bob.stall();
  (void)sim.manager().send(bob.id(), json("1"));
  sim.advance(9900ms);
  CHECK(sim.manager().contains(bob.id()));
  sim.advance(200ms);
  CHECK(bob.close_code() == 4008);
  sim.advance(5s);
  CHECK(sim.is_empty());
}

TEST_CASE("one that stalls does not hold up the others", "[slow]") {
  CheckedSim sim(tight());
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  const auto cat = sim.connect("cat");
  for (const auto* client : {&ann, &bob, &cat}) client->join("r");
  sim.run();
  bob.stall();
  for (std::size_t i = 1; i <= 100; ++i) {
    ann.publish("r", std::to_string(i));
    sim.run();
    REQUIRE(cat.messages("r").size() == i);
  }
}

TEST_CASE("control overtakes queued data", "[slow]") {
  Options options = tight();
  options.unsent_hard_bytes = 100000;
  options.unsent_age = 1min;
  options.heartbeat = 10s;
  CheckedSim sim(options);
  const auto bob = sim.connect("bob");
  bob.stall();
  for (int i = 0; i < 20; ++i) (void)sim.manager().send(bob.id(), json(hundred_bytes));
  sim.advance(10s);  // a ping is due
  bob.pong();
  bob.pipe().take_per_turn(500);
  bob.resume();
  // The batch in flight goes first, then the ping, then what was queued behind it.
  for (int i = 0; i < 1000 && bob.pings() == 0; ++i) sim.schedule.step();
  CHECK(bob.pings() == 1);
  sim.run();
  CHECK(bob.count("direct") == 20);
}

TEST_CASE("control is bounded: pings that nobody takes do not pile up, and of pongs only the newest waits", "[slow]") {
  Options options = tight();
  options.unsent_age = 1h;
  options.heartbeat = options.pong_timeout = 10s;
  CheckedSim sim(options);
  const auto bob = sim.connect("bob");
  sim.advance(1s);
  bob.stall();
  (void)sim.manager().send(bob.id(), json("1"));
  for (int i = 0; i < 500; ++i) {
    bob.pipe().receive(std::string(125, 'p'), FrameKind::ping);
    sim.advance(100ms);
  }
  const auto story = explain(sim, bob);
  REQUIRE(story);
  CHECK(story->counters.unsent_bytes < 400);  // the batch in flight, one ping, one pong
  const auto before = bob.pings();
  bob.resume();
  sim.run();
  CHECK(bob.pings() <= before + 2);
  CHECK(bob.pongs().size() <= 2);
}

TEST_CASE("chunks are bounded: a large awareness state reaches a slow newcomer in pieces, and all of it", "[slow]") {
  Options options = tight();
  options.awareness_per_connection = 0;
  options.room.awareness_entries = 0;
  options.byte_rate = 0;
  options.unsent_hard_bytes = 40'000;
  CheckedSim sim(options);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.connect("bob");
  const auto cat = sim.member("cat", "r");
  sim.advance(1s);
  const std::string state = R"({"x":)" + quoted(std::string(900, 'x')) + "}";
  for (int i = 0; i < 200; ++i) ann.aware("r", state, 1, "c" + std::to_string(i));  // 200 KB, in one batch
  bob.pipe().take_per_turn(3000);
  cat.pipe().take_per_turn(3000);
  sim.advance(1s);
  bob.join("r");
  sim.advance(1s);
  CHECK(bob.is_open());
  CHECK(bob.awareness("r").size() == 200);
  CHECK(cat.awareness("r").size() == 200);
  CHECK(cat.is_open());
}

TEST_CASE("a broken pipe found while writing goes through the disconnect flow", "[slow]") {
  CheckedSim sim(without_sessions(tight()));
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  bob.pipe().fail_write(1);
  ann.publish("r", "1");
  sim.advance(1s);
  CHECK_FALSE(sim.manager().contains(bob.id()));
  CHECK(sim.told("left bob r lost") == 1);
  CHECK(ann.members("r") == Texts{"ann"});
}

}  // namespace
}  // namespace muster::test
