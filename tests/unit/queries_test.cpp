// What a client may ask for much of: told in chunks, and asked about without going deeper.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("a presence_query of a large room comes in chunks, in the order of users, the last as the answer",
          "[rooms]") {
  Options options = without_sessions();
  options.heartbeat = 0s;
  options.room.room_capacity = 0;
  options.max_connections_per_ip = options.connect_rate_per_ip = 0;
  CheckedSim sim(options);
  const auto ann = sim.member("ann", "r");
  for (int i = 0; i < 299; ++i) (void)sim.member("u" + std::to_string(1000 + i), "r");
  (void)sim.member("u1000", "r");  // a second device
  ann.say("presence_query", R"({"room":"r"})");
  sim.run();
  const auto told = ann.all("presence_state");
  REQUIRE(told.size() == 2);
  CHECK(told[0].list("users").size() == 256);
  CHECK(told[0].has("more"));
  CHECK(told[0].text("room") == "r");
  CHECK(told[0].reply_to().empty());
  CHECK(told[1].list("users").size() == 44);
  CHECK_FALSE(told[1].has("more"));
  CHECK(told[1].reply_to() == ann.last_id());
  CHECK(Told::text(*told[0].list("users")[0], "user") == "ann");
  CHECK(Told::number(*told[0].list("users")[1], "connections") == 2);
}

/// How much stack there is between here and the deepest place that says so.
struct Depth {
  const char* outermost = nullptr;
  std::size_t deepest = 0;
  void here() {
    const char mark = 0;
    const char* at = &mark;
    if (outermost == nullptr) outermost = at;
    deepest = std::max(deepest, static_cast<std::size_t>(outermost > at ? outermost - at : at - outermost));
  }
};

TEST_CASE("questions that a client makes many of do not go deeper with each", "[rooms]") {
  Options options;
  options.heartbeat = 0s;
  options.rooms_per_connection = 0;
  options.rooms_created_per_minute = 0;
  options.message_rate = options.byte_rate = 0;
  CheckedSim sim(options);
  auto ann = sim.connect("ann");
  Texts rooms;
  std::string users;
  for (int i = 0; i < 128; ++i) {
    rooms.push_back("r" + std::to_string(i));
    users += (i == 0 ? "" : ",") + quoted("u" + std::to_string(i));
    ann.join(rooms.back());
  }
  sim.run();
  Depth depth;
  sim.authorizer->decide = [&](const Access&) {
    depth.here();
    return Permission::allow();
  };
  SECTION("about users") {
    ann.say("presence_query", R"({"users":[)" + users + "]}");
    sim.run();
    CHECK(ann.reply()->list("users").size() == 128);
  }
  SECTION("of new credentials for every room") {
    ann.authenticate("ann");
    sim.run();
    CHECK(ann.reply()->type() == "auth_result");
  }
  SECTION("of a resume for every room") {
    ann.hang_up(CloseReason::lost);
    sim.run();
    const auto again = sim.resume_session(ann, rooms);
    CHECK(again.resumed("r127") == "recovered");
  }
  CHECK(depth.outermost != nullptr);
  CHECK(depth.deepest < 20'000);
}

}  // namespace
}  // namespace muster::test
