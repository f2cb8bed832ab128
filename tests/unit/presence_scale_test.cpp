// Rooms above presence_list_max: counts instead of names, and the whole list again when they have shrunk.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

Options up_to(std::size_t members) {
  Options options = without_sessions();
  options.heartbeat = 0s;
  options.room.presence_list_max = members;
  options.room.room_capacity = 0;
  options.max_connections_per_ip = options.connect_rate_per_ip = 0;
  return options;
}

std::vector<Client> fill(Sim& sim, std::size_t members) {
  std::vector<Client> all;
  for (std::size_t i = 0; i < members; ++i) all.push_back(sim.member("u" + std::to_string(i), "r"));
  sim.advance(1s);
  return all;
}

TEST_CASE("a room that shrinks below presence_list_max tells the whole list again, then changes", "[presence][scale]") {
  CheckedSim sim(up_to(10));
  auto all = fill(sim, 12);
  CHECK(all[0].view("r").lossy);
  for (std::size_t i = 11; i >= 9; --i) all[i].leave("r");
  sim.advance(1s);
  CHECK(all[0].view("r").lossy);  // 9: it would be above the bound again at once
  CHECK(all[0].view("r").member_count == 9);
  all[8].hang_up();
  sim.advance(1s);
  const Texts eight{"u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"};
  for (std::size_t i = 0; i < 8; ++i) {
    INFO(i);
    CHECK_FALSE(all[i].view("r").lossy);
    CHECK(all[i].members("r") == eight);
  }
  const auto late = sim.member("u8", "r");
  sim.advance(1s);
  CHECK(late.members("r").size() == 9);
  CHECK(all[0].members("r").size() == 9);
  CHECK(all[0].last("presence")->list("joined").size() == 1);
}

TEST_CASE("who was told a count only by its join is told the list, too", "[presence][scale]") {
  CheckedSim sim(up_to(5));
  auto all = fill(sim, 5);
  const auto late = sim.connect("late");
  late.join("r");
  sim.run();
  for (std::size_t i = 1; i < 4; ++i) all[i].leave("r");  // within the interval: nobody is told of a crowd
  sim.advance(1s);
  CHECK(late.members("r") == Texts{"late", "u0", "u4"});
  CHECK(all[0].members("r") == Texts{"late", "u0", "u4"});
}

TEST_CASE("a member that was behind meanwhile has the right list in the end", "[presence][scale]") {
  Options options = up_to(5);
  options.unsent_soft_bytes = 200;
  options.unsent_age = 1h;
  CheckedSim sim(options);
  auto all = fill(sim, 4);
  all[0].stall();
  for (int i = 0; i < 5; ++i) all[1].publish("r", quoted(std::string(100, 'x')));
  std::vector<Client> crowd;
  for (int i = 0; i < 4; ++i) crowd.push_back(sim.member("c" + std::to_string(i), "r"));
  sim.advance(1s);
  for (const auto& one : crowd) one.leave("r");
  all[2].leave("r");
  sim.advance(1s);
  all[0].resume();
  sim.advance(1s);
  CHECK(all[0].members("r") == Texts{"u0", "u1", "u3"});
}

TEST_CASE("a long list comes in chunks, of which only the last is without more", "[presence][scale]") {
  CheckedSim sim(up_to(400));
  auto all = fill(sim, 401);
  for (std::size_t i = 401; i > 320; --i) all[i - 1].hang_up();
  sim.advance(1s);
  std::vector<Told> chunks;
  for (const auto& told : all[0].all("presence")) {
    if (told.payload().HasMember("members")) chunks.push_back(told);
  }
  REQUIRE(chunks.size() == 2);
  CHECK(chunks[0].list("members").size() == 256);
  CHECK(chunks[0].value("more") == "true");
  CHECK_FALSE(chunks[1].payload().HasMember("more"));
  CHECK(all[0].members("r").size() == 320);
  all[0].say("presence_query", R"({"room":"r","limit":1000})");
  sim.run();
  CHECK(all[0].reply()->list("members").size() == 256);
  CHECK(all[0].reply()->has("more"));
}

TEST_CASE("a large room is told no names: a count a change, and nothing of users", "[presence][scale]") {
  CheckedSim sim(up_to(10));
  auto all = fill(sim, 11);
  const auto frames = all[0].log().size();
  std::vector<Client> more;
  for (int i = 0; i < 50; ++i) {
    more.push_back(sim.connect("m" + std::to_string(i)));
    more.back().join("r");
  }
  sim.run();
  sim.advance(1s);
  CHECK(all[0].log().size() <= frames + 2);
  CHECK(all[0].view("r").member_count == 61);
}

TEST_CASE("a crowd that changes all the time is told how many it is once a second", "[presence][scale]") {
  CheckedSim sim(up_to(10));
  auto all = fill(sim, 11);
  const auto before = all[0].count("presence");
  for (int i = 0; i < 100; ++i) {  // for ten seconds
    all.push_back(sim.member("m" + std::to_string(i), "r"));
    sim.advance(100ms);
  }
  CHECK(all[0].count("presence") - before >= 9);
  CHECK(all[0].count("presence") - before <= 11);
  sim.advance(1s);
  CHECK(all[0].view("r").member_count == 111);
  all[1].aware("r", "{}", 1, "a");
  sim.advance(60ms);  // states do not wait for that
  CHECK(all[0].awareness("r").size() == 1);
}

TEST_CASE("a crowd's count that an executor was to tell is told when it has stopped", "[presence][scale]") {
  Options options = up_to(3);
  options.sweep_interval = 1h;  // which would see to it
  CheckedSim sim(options, 2);
  std::vector<Client> all;
  for (int i = 0; i < 7; ++i) all.push_back(sim.member("u" + std::to_string(i), "r", Dial().on(1)));
  sim.advance(2s);
  REQUIRE(all[1].view("r").member_count == 7);
  all[1].leave("r");
  sim.advance(100ms);  // told, and for a second nothing more
  const auto late = sim.member("late", "r", Dial().on(0));
  sim.advance(100ms);
  all[2].leave("r");
  sim.advance(100ms);
  late.executor()->loop().stop();  // with the count that it was to tell
  sim.manager().sweep_now(nullptr);
  sim.advance(5s);
  CHECK(sim.manager().room({"", "r"})->size() == 5);
  CHECK(all[4].view("r").member_count == 5);
}

TEST_CASE("a crowd's count does not hold up what else its members are told", "[presence][scale]") {
  CheckedSim sim(up_to(10));
  auto all = fill(sim, 11);
  const auto late = sim.member("late", "r");
  sim.advance(60ms);  // told, or it waits
  const auto later = sim.member("later", "r");
  all[1].aware("r", "{}", 1, "a");
  sim.advance(60ms);
  CHECK(all[0].view("r").member_count < 13);
  CHECK(all[0].awareness("r").size() == 1);
  for (std::size_t i = 2; i < 8; ++i) all[i].leave("r");
  sim.advance(60ms);  // nor the list of a room that has shrunk
  CHECK(all[0].members("r") == Texts{"late", "later", "u0", "u1", "u10", "u8", "u9"});
}

TEST_CASE("where nobody is told of anybody, a newcomer is told the list of a room that has shrunk",
          "[presence][scale]") {
  Options options = up_to(5);
  options.presence_scope = PresenceScope::none;
  CheckedSim sim(options);
  auto all = fill(sim, 6);
  for (std::size_t i = 2; i < 6; ++i) all[i].leave("r");
  sim.advance(1s);
  CHECK(sim.member("late", "r").members("r") == Texts{"late", "u0", "u1"});
}

TEST_CASE("users who come and go in one interval are told in one frame", "[presence][scale]") {
  CheckedSim sim(up_to(100));
  const auto bob = sim.member("bob", "r");
  sim.advance(1s);
  const auto before = bob.count("users_online");
  std::vector<Client> more;
  for (int i = 0; i < 5; ++i) more.push_back(sim.connect("m" + std::to_string(i)));
  for (const auto& one : more) one.join("r");
  sim.run();
  sim.advance(1s);
  REQUIRE(bob.count("users_online") == before + 1);
  CHECK(bob.last("users_online")->texts("users") == Texts{"m0", "m1", "m2", "m3", "m4"});
  for (const auto& one : more) one.hang_up();
  sim.advance(1s);
  REQUIRE(bob.count("users_offline") == 1);
  CHECK(bob.last("users_offline")->texts("users").size() == 5);
}

TEST_CASE("scope tenant: the changes of one interval come in one frame", "[presence][scale]") {
  Options options = up_to(100);
  options.presence_scope = PresenceScope::tenant;
  CheckedSim sim(options);
  const auto bob = sim.connect("bob");
  sim.advance(1s);
  const auto before = bob.count("users_online");
  for (int i = 0; i < 5; ++i) (void)sim.connect("m" + std::to_string(i));
  sim.advance(1s);
  CHECK(bob.count("users_online") == before + 1);
  CHECK(bob.last("users_online")->texts("users").size() == 5);
}

}  // namespace
}  // namespace muster::test
