// "Admission and limits", the rows about what one connection may send: at the limit, one beyond, and after a while.
#include "unit/limits_fixture.hpp"

namespace muster::test {
namespace {

/// 8 KB of awareness in the room, by one who may send 1 KB a second.
void fill_awareness(Sim& sim, const Client& member) {
  for (int i = 0; i < 4; ++i) {
    member.aware("r", R"({"x":)" + quoted(std::string(1900, 'x')) + "}", 1, "c" + std::to_string(i));
    sim.advance(10s);
  }
}

TEST_CASE("message size: max_message_bytes pass, one more closes 1009", "[limits]") {
  Options options = unlimited();
  options.max_message_bytes = 500;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.raw(ping_of(500));
  sim.run();
  CHECK(ann.is_open());
  ann.raw(ping_of(501));
  sim.run();
  CHECK(ann.close_code() == 1009);
}

TEST_CASE(
    "messages per connection: a burst of twice the rate, the next rate_limited with retry_after_ms, then the rate",
    "[limits]") {
  Options options = unlimited();
  options.message_rate = 10;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.say("ping", "{}", 21);
  sim.run();
  CHECK(ann.count("pong") == 20);
  REQUIRE(ann.error() == "rate_limited");
  const auto wait = ann.last("error")->number("retry_after_ms");
  CHECK(wait >= 100);
  CHECK(wait <= 101);
  sim.advance(99ms);
  ann.say("ping", "{}");
  sim.run();
  CHECK(ann.count("pong") == 20);
  sim.advance(2ms);
  ann.say("ping", "{}").say("ping", "{}");
  sim.run();
  CHECK(ann.count("pong") == 21);
  sim.advance(10s);  // no more than a burst comes back
  ann.say("ping", "{}", 30);
  sim.run();
  CHECK(ann.count("pong") == 41);
  CHECK(sim.manager().metrics().rate_limited == 1 + 1 + 1 + 10);
}

TEST_CASE("messages per connection: each connection has its own", "[limits]") {
  Options options = unlimited();
  options.message_rate = 1;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.say("ping", "{}", 5);
  bob.say("ping", "{}");
  sim.run();
  CHECK(ann.count("pong") == 2);
  CHECK(bob.count("pong") == 1);
}

TEST_CASE("messages per connection: rate_limited_max refusals in a row close 1008, a good one starts anew",
          "[limits]") {
  Options options = unlimited();
  options.message_rate = 1;
  options.rate_limited_max = 5;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.say("ping", "{}", 2 + 4);
  sim.advance(1100ms);
  ann.say("ping", "{}", 1 + 4);
  sim.run();
  CHECK(ann.is_open());
  CHECK(ann.count("error") == 8);
  ann.say("ping", "{}");
  sim.run();
  CHECK(ann.close_code() == 1008);
}

TEST_CASE("bytes per connection: a burst of twice the rate, the next rate_limited, and again once they have come in",
          "[limits]") {
  Options options = unlimited();
  options.byte_rate = 1000;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.raw(ping_of(1000)).raw(ping_of(1000));
  sim.run();
  CHECK(ann.count("error") == 0);
  ann.raw(ping_of(500));  // refused, but it came in
  sim.run();
  REQUIRE(ann.error() == "rate_limited");
  CHECK(ann.last("error")->number("retry_after_ms") == 1001);
  sim.advance(900ms);
  ann.raw(ping_of(500));
  sim.run();
  CHECK(ann.count("error") == 2);
  sim.advance(1101ms);
  ann.raw(ping_of(500));
  sim.run();
  CHECK(ann.count("error") == 2);
}

TEST_CASE("replies a client asks for are charged: a large one passes, the next command waits", "[limits]") {
  Options options = unlimited();
  options.byte_rate = 1000;
  options.rate_patience = 30s;
  options.room.awareness_interval = 0ms;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("r");
  sim.advance(10s);
  fill_awareness(sim, ann);
  bob.join("r");  // which costs its answer
  sim.run();
  CHECK(bob.count("room_joined") == 1);
  CHECK(bob.awareness("r").size() == 4);
  bob.say("awareness_query", R"({"room":"r"})");
  sim.advance(5s);
  CHECK(bob.count("awareness_state") == 1);
  sim.advance(5s);
  CHECK(bob.count("awareness_state") == 2);
  CHECK(bob.count("error") == 0);
}

TEST_CASE("replies a client asks for in a loop cost no more than its byte budget", "[limits]") {
  Options options = unlimited();
  options.byte_rate = 10'000;
  options.rate_limited_max = 0;
  options.rate_patience = GENERATE(0ms, 30'000ms);
  options.room.awareness_interval = 0ms;
  const std::string query = GENERATE("awareness_query", "presence_query");
  CheckedSim sim(options);
  std::vector<Client> others;
  for (int i = 0; i < 40; ++i) {
    others.push_back(sim.dial("member" + std::to_string(i)));
    others.back().join("r").aware("r", R"({"x":)" + quoted(std::string(500, 'x')) + "}", 1);
  }
  sim.advance(1s);
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.advance(10s);
  const auto before = sim.manager().metrics().bytes_out;
  const std::string question = R"({"type":")" + query + R"(","payload":{"room":"r"}})";
  for (int asked = 0; asked < 1000; ++asked) {
    ann.raw(question);
    sim.advance(10ms);
  }
  // In ten seconds: the burst, the rate, one answer beyond, and an error for each refusal.
  const auto errors = ann.count("error") * 200;
  const auto out = sim.manager().metrics().bytes_out - before;
  CHECK(out < 20'000 + 100'000 + 30'000 + errors);
  CHECK((options.rate_patience == 0ms) == (errors > 0));
}

TEST_CASE("replies a client asks for: commands that waited for the authorizer are charged before they run",
          "[limits]") {
  Options options = unlimited();
  options.byte_rate = 1000;
  options.rate_patience = 1h;
  options.room.awareness_interval = 0ms;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.advance(10s);
  fill_awareness(sim, ann);
  sim.authorizer->answer = Answer::later(100ms);
  for (int i = 0; i < 20; ++i) ann.say("awareness_query", R"({"room":"r"})");  // small enough to be let in
  sim.advance(1s);
  CHECK(ann.count("awareness_state") == 2);  // with that of the join
  sim.advance(20s);
  CHECK(ann.count("awareness_state") <= 2 + 20 / 8 + 1);
  sim.advance(200s);
  CHECK(ann.count("awareness_state") == 21);
  CHECK(ann.count("error") == 0);
}

TEST_CASE("frames per connection: a burst of twice the rate, fragments and pings too, one more closes 1008",
          "[limits]") {
  Options options = unlimited();
  options.frame_rate = 10;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  for (int i = 0; i < 10; ++i) {
    ann.pipe().receive({}, FrameKind::continuation);
    ann.pipe().receive("p", FrameKind::ping);
  }
  sim.run();
  CHECK(ann.is_open());
  sim.advance(100ms);
  ann.pong();
  sim.run();
  CHECK(ann.is_open());
  ann.pong();
  sim.run();
  CHECK(ann.close_code() == 1008);
}

TEST_CASE("rooms per connection: as many as the limit, the next too_many_rooms, and again after leaving one",
          "[limits]") {
  Options options = unlimited();
  options.rooms_per_connection = 3;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  for (int i = 0; i < 3; ++i) ann.join("r" + std::to_string(i));
  sim.run();
  CHECK(ann.count("room_joined") == 3);
  ann.join("r1");  // again is not one more
  sim.run();
  CHECK(ann.count("error") == 0);
  ann.join("more");
  sim.run();
  CHECK(ann.error() == "too_many_rooms");
  CHECK_FALSE(sim.manager().room({"", "more"})->size() > 0);
  ann.leave("r0").join("more");
  sim.run();
  CHECK(ann.members("more") == Texts{"ann"});
}

TEST_CASE("rooms created per connection: 2 a minute, the third rate_limited, allowed again after expiry", "[limits]") {
  Options options = unlimited();
  options.rooms_created_per_minute = 2;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  bob.join("there").join("too");
  ann.join("a");
  sim.advance(20s);
  ann.join("b").join("c");
  sim.run();
  REQUIRE(ann.error() == "rate_limited");
  CHECK(ann.last("error")->number("retry_after_ms") == 40'000);
  CHECK(sim.manager().room_count() == 4);
  ann.join("there").join("too").join("a");  // rooms that exist cost nothing
  sim.run();
  CHECK(ann.count("error") == 1);
  sim.advance(40s);
  ann.join("c").join("d");
  sim.run();
  CHECK(ann.members("c") == Texts{"ann"});
  CHECK(ann.count("error") == 2);
  CHECK(bob.count("error") == 0);
}

TEST_CASE("rooms created per connection: leaving and coming back counts, unless history kept the room", "[limits]") {
  Options options = unlimited();
  options.rooms_created_per_minute = 3;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const bool kept = GENERATE(false, true);
  for (int i = 0; i < 10; ++i) {
    ann.join("r");
    if (kept) ann.publish("r", "1");
    ann.leave("r");
  }
  sim.run();
  CHECK(ann.count("room_joined") == (kept ? 10 : 3));
  CHECK(sim.manager().metrics().rate_limited == (kept ? 0 : 7));
}

TEST_CASE("commands that wait: reading stops at the first, twice waiting_commands more close 1008", "[limits]") {
  Options options = unlimited();
  options.waiting_commands = 4;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  sim.authorizer->answer = Answer::never();
  ann.join("r");
  sim.run();
  ann.say("ping", "{}", 8);
  sim.run();
  CHECK(ann.close_code() == 0);
  sim.advance(5s);  // the deadline answers, and the rest goes on
  CHECK(ann.count("pong") == 8);
}

TEST_CASE("invalid messages in a row: one less than invalid_messages_max passes, the next closes 1008", "[limits]") {
  Options options = unlimited();
  options.invalid_messages_max = 3;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.raw("{").raw("{").say("ping", "{}").raw("{").raw("{");
  sim.run();
  CHECK(ann.is_open());
  CHECK(ann.count("error") == 4);
  ann.raw("{");
  sim.run();
  CHECK(ann.close_code() == 1008);
}

TEST_CASE("JSON nesting: json_nesting levels pass, one more is invalid_message", "[limits]") {
  Options options = unlimited();
  options.json_nesting = 8;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.join("r");
  const auto nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  ann.publish("r", nested(6));  // in the payload in the message
  sim.run();
  CHECK(ann.count("error") == 0);
  ann.publish("r", nested(7));
  sim.run();
  CHECK(ann.error() == "invalid_message");
}

TEST_CASE("a limit of 0 is no limit for what a connection sends", "[limits]") {
  Options options = unlimited();
  options.rooms_per_connection = options.rooms_created_per_minute = options.max_message_bytes = 0;
  options.invalid_messages_max = options.rate_limited_max = 0;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  for (int i = 0; i < 300; ++i) ann.join("r" + std::to_string(i)).raw("{");
  ann.raw(ping_of(200'000));
  sim.run();
  CHECK(ann.count("room_joined") == 300);
  CHECK(ann.count("error") == 300);
  CHECK(ann.is_open());
}

}  // namespace
}  // namespace muster::test
