// Awareness: what everyone is doing right now, whose it is, and when it goes.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

struct Pair {
  explicit Pair(Options options = {}) : sim(std::move(options)), ann(sim.connect("ann")), bob(sim.connect("bob")) {
    ann.join("r");
    bob.join("r");
    sim.advance(1s);
  }
  CheckedSim sim;
  Client ann;
  Client bob;
};

TEST_CASE("a state reaches the others within awareness_interval, the latest only, in one frame", "[awareness]") {
  Pair room;
  for (std::uint64_t i = 1; i <= 10; ++i) room.ann.aware("r", R"({"x":)" + std::to_string(i) + "}", i, "a");
  room.ann.aware("r", R"({"y":1})", 1, "b");
  room.sim.run();
  CHECK(room.bob.awareness("r").empty());
  const auto writes = room.bob.pipe().writes();
  room.sim.advance(50ms);
  CHECK(room.bob.awareness("r") == States{{"a", R"({"x":10})"}, {"b", R"({"y":1})"}});
  CHECK(room.bob.count("awareness_update") == 1);
  CHECK(room.bob.pipe().writes() == writes + 1);
}

TEST_CASE("a state is told to its owner as well", "[awareness]") {
  Pair room;
  room.ann.aware("r", R"({"x":1})", 1, "a");
  room.sim.advance(50ms);
  CHECK(room.ann.awareness("r") == States{{"a", R"({"x":1})"}});  // clients of y-websocket take silence for a loss
}

TEST_CASE("awareness_interval 0 sends at once", "[awareness]") {
  Options options;
  options.room.awareness_interval = 0ms;
  Pair room(options);
  room.ann.aware("r", R"({"x":1})", 1, "a");
  room.sim.run();
  CHECK(room.bob.awareness("r") == States{{"a", R"({"x":1})"}});
}

TEST_CASE("without a client id there is one entry for the connection", "[awareness]") {
  Pair room;
  room.ann.aware("r", R"({"x":1})", 1);
  room.ann.aware("r", R"({"x":2})", 2);
  room.sim.advance(50ms);
  CHECK(room.bob.awareness("r").size() == 1);
  CHECK(room.sim.manager().awareness().size() == 1);
}

TEST_CASE("a clock that is not newer is dropped silently", "[awareness]") {
  Pair room;
  room.ann.aware("r", R"({"x":5})", 5, "a");
  room.sim.advance(50ms);
  room.ann.raw(R"({"type":"awareness_update","payload":{"room":"r","state":{"x":4},"clock":4,"client":"a"}})");
  room.ann.raw(R"({"type":"awareness_update","payload":{"room":"r","state":{"x":6},"clock":5,"client":"a"}})");
  room.sim.advance(50ms);
  CHECK(room.bob.awareness("r") == States{{"a", R"({"x":5})"}});
  CHECK(room.bob.count("awareness_update") == 1);
  CHECK(room.ann.count("error") == 0);
}

TEST_CASE("another user's entry can neither be written nor removed", "[awareness]") {
  Pair room;
  room.ann.aware("r", R"({"x":1})", 1, "a");
  room.sim.run();
  room.bob.aware("r", R"({"x":2})", 2, "a");
  room.sim.run();
  CHECK(room.bob.error() == "not_owner");
  room.bob.aware("r", "null", 3, "a");
  room.sim.advance(50ms);
  CHECK(room.bob.count("error") == 2);
  CHECK(room.bob.awareness("r") == States{{"a", R"({"x":1})"}});
}

TEST_CASE("null removes, and is told once at a newer clock", "[awareness]") {
  Pair room;
  room.ann.aware("r", R"({"x":1})", 7, "a");
  room.sim.advance(50ms);
  room.ann.aware("r", "null", 8, "a");
  room.sim.advance(1s);
  CHECK(room.bob.awareness("r").empty());
  CHECK(room.bob.view("r").nulls_told == 1);
  CHECK(room.bob.view("r").nulls.at("a") == 8);
  CHECK(room.sim.manager().awareness().size() == 0);
}

TEST_CASE("every way out of a room tells null exactly once, at the existing clock + 1", "[awareness]") {
  Pair room(without_sessions());
  room.ann.aware("r", R"({"x":1})", 7, "a");
  room.sim.advance(50ms);
  SECTION("leave") { room.ann.leave("r"); }
  SECTION("logout") { room.ann.hang_up(CloseReason::normal); }
  SECTION("lost") { room.ann.hang_up(CloseReason::lost); }
  SECTION("removed") { (void)room.sim.manager().remove(room.ann.id()); }
  SECTION("kicked") { (void)room.sim.manager().kick(room.ann.id(), "out", false); }
  SECTION("a broken pipe") {
    room.ann.pipe().fail_write(1);
    (void)room.sim.manager().send(room.ann.id(), json("1"));
  }
  SECTION("protocol fault") { room.ann.binary("x"); }
  room.sim.advance(1s);
  CHECK(room.bob.awareness("r").empty());
  CHECK(room.bob.view("r").nulls_told == 1);
  CHECK(room.bob.view("r").nulls.at("a") == 8);
  CHECK(room.sim.manager().awareness().size() == 0);
}

TEST_CASE("a newcomer gets the whole current state after room_joined", "[awareness]") {
  Pair room;
  room.ann.aware("r", R"({"x":1})", 3, "a").aware("r", R"({"y":2})", 4, "b");
  room.sim.run();
  const auto cat = room.sim.connect("cat");
  cat.join("r");
  room.sim.run();
  CHECK(cat.types() == Texts{"connection_ack", "room_joined", "awareness_state"});
  CHECK(cat.awareness("r") == States{{"a", R"({"x":1})"}, {"b", R"({"y":2})"}});
  const auto told = cat.last("awareness_state");
  REQUIRE(told->list("states").size() == 2);
  CHECK(Told::text(*told->list("states")[0], "user") == "ann");
  CHECK(Told::number(*told->list("states")[0], "clock") == 3);
}

TEST_CASE("a large state comes in chunks", "[awareness]") {
  Options options;
  options.awareness_per_connection = 0;
  Pair room(options);
  const std::string big = R"({"x":")" + std::string(3000, 'x') + "\"}";
  for (int i = 0; i < 100; ++i) room.ann.aware("r", big, 1, "client" + std::to_string(i));
  room.sim.run();
  const auto cat = room.sim.connect("cat");
  cat.join("r");
  room.sim.run();
  CHECK(cat.awareness("r").size() == 100);
  const auto chunks = cat.all("awareness_state");
  REQUIRE(chunks.size() > 1);
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    CHECK(chunks[i].text("room") == "r");
    CHECK(chunks[i].has("more") == (i + 1 < chunks.size()));
  }
}

TEST_CASE("awareness_query answers with the current state", "[awareness]") {
  Pair room;
  room.ann.aware("r", R"({"x":1})", 1, "a");
  room.sim.run();
  room.bob.say("awareness_query", R"({"room":"r"})");
  room.sim.run();
  REQUIRE(room.bob.reply());
  CHECK(room.bob.reply()->type() == "awareness_state");
  CHECK(room.bob.reply()->list("states").size() == 1);
}

TEST_CASE("a newer connection of the same user takes a client id over, the old one is not_owner then", "[awareness]") {
  Pair room;
  room.ann.aware("r", R"({"x":1})", 9, "a");
  room.sim.advance(50ms);
  const auto again = room.sim.connect("ann");
  again.join("r").aware("r", R"({"x":2})", 1, "a");
  room.sim.advance(50ms);
  CHECK(room.bob.awareness("r") == States{{"a", R"({"x":2})"}});
  CHECK(room.bob.view("r").awareness.at("a").clock == 10);
  room.ann.aware("r", R"({"x":3})", 30, "a");
  room.sim.run();
  CHECK(room.ann.error() == "not_owner");
  room.ann.hang_up();
  room.sim.advance(1s);
  CHECK(room.bob.awareness("r") == States{{"a", R"({"x":2})"}});  // the old one's exit says nothing
  CHECK(room.bob.view("r").nulls_told == 0);
}

TEST_CASE("a stale update is answered to its sender alone, with the clock that stands", "[awareness]") {
  Pair room;
  room.ann.aware("r", R"({"x":1})", 9, "a");
  const auto again = room.sim.connect("ann");
  again.join("r").aware("r", R"({"x":2})", 1, "a");
  room.sim.advance(1s);
  CHECK(again.reply()->number("clock") == 10);  // it took the id over
  CHECK_FALSE(again.reply()->has("stale"));
  std::size_t asked = 0;
  room.sim.authorizer->decide = [&](const Access& access) {
    if (access.action == Action::awareness) ++asked;
    return Permission::allow();
  };
  const auto told = room.bob.log().size();
  again.aware("r", R"({"x":3})", 2, "a");
  room.sim.advance(1s);
  CHECK(again.reply()->value("stale") == "true");
  CHECK(again.reply()->number("clock") == 10);
  CHECK(asked == 0);
  CHECK(room.bob.log().size() == told);
  again.aware("r", R"({"x":3})", 11, "a");
  room.sim.advance(1s);
  CHECK(asked == 1);
  CHECK(again.reply()->value("clock").empty());
  CHECK(room.bob.awareness("r") == States{{"a", R"({"x":3})"}});
  room.bob.aware("r", "{}", 50, "a");
  room.sim.run();
  CHECK(room.bob.error() == "not_owner");
  CHECK(asked == 1);
}

TEST_CASE("who updates without an id, and with an old clock, is told what stands", "[awareness]") {
  Pair room;
  const std::string own = to_string(room.ann.id());
  room.ann.aware("r", R"({"x":1})", 9);
  room.sim.advance(1s);
  const auto updates = room.ann.count("awareness_update");
  const auto others = room.bob.log().size();
  room.ann.raw(R"({"type":"awareness_update","payload":{"room":"r","state":{"x":2},"clock":3}})");
  room.sim.advance(1s);
  REQUIRE(room.ann.count("awareness_update") == updates + 1);
  const auto told = room.ann.last("awareness_update");
  REQUIRE(told->list("states").size() == 1);
  CHECK(Told::text(*told->list("states")[0], "client") == own);
  CHECK(Told::number(*told->list("states")[0], "clock") == 9);
  CHECK(room.bob.log().size() == others);
}

TEST_CASE("a client that comes back after its entry went says what it says now, and others take it", "[awareness]") {
  Pair room;
  room.ann.aware("r", R"({"x":1})", 9, "a");
  room.sim.advance(1s);
  room.ann.hang_up();
  room.sim.advance(1s);
  CHECK(room.bob.view("r").nulls.at("a") == 10);
  const auto again = room.sim.connect("ann");
  again.join("r").aware("r", R"({"x":2})", 1, "a");  // it has forgotten how far its clock was
  room.sim.advance(1s);
  CHECK(again.reply()->number("clock") == 11);
  CHECK(room.bob.awareness("r") == States{{"a", R"({"x":2})"}});
  CHECK(room.bob.view("r").awareness.at("a").clock == 11);
}

TEST_CASE("of several chunks of a state only the last is the answer, and without more", "[awareness]") {
  Options options;
  options.awareness_per_connection = 0;
  options.unsent_soft_bytes = GENERATE(std::size_t{64} * 1024, std::size_t{20} * 1024);
  const bool all_at_once = options.unsent_soft_bytes > 60'000;
  options.unsent_age = 1h;
  Pair room(options);
  const std::string big = R"({"x":")" + std::string(3000, 'x') + "\"}";
  for (int i = 0; i < 15; ++i) room.ann.aware("r", big, 1, "client" + std::to_string(i));
  room.sim.advance(1s);
  if (!all_at_once) room.bob.stall();
  const auto before = room.bob.count("awareness_state");
  room.bob.say("awareness_query", R"({"room":"r"})");
  room.sim.run();
  room.bob.resume();
  room.sim.advance(1s);
  const auto all = room.bob.all("awareness_state");
  REQUIRE(all.size() >= before + 2);
  for (std::size_t i = before; i < all.size(); ++i) {
    const bool last = i + 1 == all.size();
    CHECK(all[i].text("room") == "r");
    CHECK(all[i].has("more") == !last);
    CHECK(all[i].reply_to() == (last ? room.bob.last_id() : ""));
  }
  CHECK(room.bob.awareness("r").size() == 15);
}

TEST_CASE("limits: size of a state, entries of a connection, entries of a room", "[awareness]") {
  Options options;
  options.awareness_state_bytes = 100;
  options.awareness_per_connection = 2;
  options.room.awareness_entries = 3;
  Pair room(options);
  room.ann.aware("r", R"({"x":")" + std::string(100, 'x') + "\"}", 1, "a");
  room.sim.run();
  CHECK(room.ann.error() == "too_large");
  for (const char* client : {"a", "b", "c"}) room.ann.aware("r", "{}", 1, client);
  room.sim.run();
  CHECK(room.ann.error() == "too_many");
  CHECK(room.sim.manager().awareness().size() == 2);
  room.bob.aware("r", "{}", 1, "d").aware("r", "{}", 1, "e");
  room.sim.run();
  CHECK(room.bob.error() == "too_many");
  CHECK(room.sim.manager().awareness().size() == 3);
}

TEST_CASE("awareness_ttl removes what nobody refreshed, and tells null", "[awareness]") {
  Options options;
  options.awareness_ttl = 2min;
  options.heartbeat = 0s;
  Pair room(options);
  room.ann.aware("r", "{}", 1, "old").aware("r", "{}", 1, "fresh");
  room.sim.advance(1min);
  room.ann.aware("r", "{}", 2, "fresh");
  room.sim.advance(150s);
  CHECK(room.sim.manager().awareness().size() <= 1);
  room.sim.advance(2min);
  CHECK(room.sim.manager().awareness().size() == 0);
  CHECK(room.bob.awareness("r").empty());
  CHECK(room.bob.view("r").nulls_told == 2);
}

TEST_CASE("a set and a removal within one interval leave nothing behind", "[awareness]") {
  Pair room;
  room.ann.aware("r", "{}", 1, "a").aware("r", "null", 2, "a");
  room.sim.advance(1s);
  CHECK(room.bob.awareness("r").empty());
  CHECK(room.bob.view("r").nulls_told <= 1);
}

TEST_CASE("the state is forwarded byte for byte", "[awareness]") {
  Pair room;
  const std::string odd = "{ \"x\" : 1.00e+2,\t\"y\":\"\\u0041\" }";
  room.ann.aware("r", odd, 1, "a");
  room.sim.advance(50ms);
  AwarenessEntry found;
  REQUIRE(room.sim.manager().awareness().get({"", "r"}, "a", found));
  CHECK(found.state.view() == odd);
}

}  // namespace
}  // namespace muster::test
