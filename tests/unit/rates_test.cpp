// Rates of one connection: what is charged, as it comes in; who is slowed down, and who is refused in the end.
#include "unit/limits_fixture.hpp"

namespace muster::test {
namespace {

TEST_CASE(
    "bytes per connection: what comes in is charged as it comes in, on the wire or inflated, the larger of the two",
    "[limits]") {
  Options options = unlimited();
  options.byte_rate = 1000;
  options.rate_patience = 30s;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  auto& manager = sim.manager();
  const auto connection = ann.pipe().connection();
  const auto paused_for = [&] {
    auto waited = 0ms;
    for (; ann.pipe().is_reading_paused() && waited < 60s; waited += 100ms) sim.advance(100ms);
    return waited;
  };
  REQUIRE(paused_for() == 0ms);
  SECTION("a part of a message") {
    manager.arrived(*connection, 5000);
    CHECK(paused_for() == 3000ms + 100ms);
    SECTION("is not charged again with the whole") {
      manager.received(*connection, FrameKind::text, ping_of(5000), 0);
      CHECK(paused_for() == 0ms);
    }
    SECTION("and what it had not is") {
      manager.received(*connection, FrameKind::text, ping_of(6000), 6);
      CHECK(paused_for() == 1000ms);
    }
  }
  SECTION("a message that is more when inflated") {
    manager.received(*connection, FrameKind::text, ping_of(5000), 100);
    CHECK(paused_for() == 3000ms + 100ms);
  }
  SECTION("a message that is less when inflated") {
    manager.received(*connection, FrameKind::text, ping_of(100), 5000);
    CHECK(paused_for() == 3000ms + 100ms);
  }
  SECTION("a fragment's header, a ping, a pong") {
    for (const FrameKind kind : {FrameKind::continuation, FrameKind::ping, FrameKind::pong}) {
      sim.advance(10s);
      manager.received(*connection, kind, {}, 3000);
      CHECK(paused_for() == 1000ms + 100ms);
    }
  }
  CHECK(ann.count("error") == 0);
  CHECK(ann.is_open());
}

TEST_CASE("before authentication parts of a message count against pre_auth_bytes", "[limits]") {
  Options options = unlimited();
  options.pre_auth_bytes = 1000;
  CheckedSim sim(options);
  const auto ann = sim.dial("", Dial().silent());
  sim.run();
  const auto connection = ann.pipe().connection();
  REQUIRE(connection);
  sim.manager().arrived(*connection, 600);
  sim.run();
  CHECK(ann.is_open());
  SECTION("one more than it allows") { sim.manager().arrived(*connection, 401); }
  SECTION("as many as no count holds") { sim.manager().arrived(*connection, std::size_t{1} << 32U); }
  sim.run();
  CHECK(ann.close_code() == 1008);
}

TEST_CASE("a line that stood still does not make a flooder of who sends less than its rate", "[limits]") {
  Options options;
  options.message_rate = 100;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const int frozen = GENERATE(5, 20);  // seconds
  for (int second = 0; second < 3; ++second) {
    ann.say("ping", "{}", 60);
    sim.advance(1s);
  }
  for (int again = 0; again < 2; ++again) {
    const auto before = ann.count("pong");
    const int sent = 60 * frozen;
    ann.say("ping", "{}", sent);
    sim.advance(1ms);
    CHECK(ann.count("pong") <= before + 202);  // no faster than its burst
    for (int second = 0; second < 2 * frozen; ++second) {
      ann.say("ping", "{}", 60);
      sim.advance(1s);
    }
    CHECK(ann.is_open());
    CHECK(ann.count("error") == 0);
    CHECK(ann.count("pong") >= before + static_cast<std::size_t>(sent + 60 * 2 * frozen) - 101);
    for (int second = 0; second < 40; ++second) {
      ann.pong();
      sim.advance(1s);
    }
  }
}

TEST_CASE("who goes on beyond a rate is read from at that rate, refused after rate_patience, and may resume",
          "[limits]") {
  Options options = unlimited();
  options.rate_patience = 10s;
  const bool by_frames = GENERATE(false, true);
  (by_frames ? options.frame_rate : options.message_rate) = 10;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("r");
  bob.join("r");
  const auto flood = [&] {
    for (int i = 0; i < 20; ++i) ann.say("ping", "{}");
    sim.advance(1s);
  };
  for (int second = 0; second < 9; ++second) flood();
  CHECK(ann.is_open());
  CHECK(ann.count("error") == 0);
  CHECK(ann.count("pong") <= 20 + 9 * 10 + 2);
  CHECK(ann.count("pong") >= 20 + 9 * 10 - 2);
  for (int second = 0; second < 8 && ann.is_open(); ++second) flood();
  CHECK(ann.close_code() == 1008);
  CHECK(sim.manager().metrics().closed[static_cast<std::size_t>(CloseReason::rate_limited)] == 1);
  sim.run();
  CHECK(bob.members("r") == Texts{"ann", "bob"});  // its seat waits for it
}

TEST_CASE("who is read from slowly is not taken for dead", "[limits]") {
  Options options = unlimited();
  options.byte_rate = 100;
  options.rate_patience = 1h;
  options.heartbeat = 5s;
  options.pong_timeout = 2s;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.raw(ping_of(10'000));
  for (int second = 0; second < 95; ++second) {
    ann.pong();
    sim.advance(1s);
  }
  CHECK(ann.is_open());
  ann.pipe().vanish();
  sim.advance(60s);
  CHECK(sim.manager().connection_count() == 0);
}

}  // namespace
}  // namespace muster::test
