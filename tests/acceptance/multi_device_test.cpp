// What a registry of users with several devices must do. (Every way out: multi_device_exits_test.cpp.)
//
// | requirement                                      | test                                                           |
// |--------------------------------------------------|----------------------------------------------------------------|
// | user -> devices and device -> user               | users and devices are tracked both ways                        |
// | empty user entries are gone                      | a user without devices leaves no entry                         |
// | send to all of a user's devices                  | a message to a user reaches all of its devices                 |
// | is_online                                        | a user is online from the first device to the last             |
// | dead connections are dropped during a broadcast, | a broadcast drops the dead, and reaches the living once        |
// | without disturbing it                            | a message to a user drops its dead device, not its message     |
// | no entry is created by a lookup                  | a lookup creates no entry                                      |
// | clean-up on every exit path                      | multi_device_exits_test.cpp, one run for each                  |
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

const UserKey ann_key{"", "ann"};

TEST_CASE("users and devices are tracked both ways", "[acceptance]") {
  CheckedSim sim({}, 3);
  auto& manager = sim.manager();
  std::multimap<std::string, Client> there;
  // Comes and goes at random; whatever happened, both ways say the same.
  for (int step = 0; step < 200; ++step) {
    if (there.empty() || !sim.schedule.random.one_in(3)) {
      const std::string user = "u" + std::to_string(sim.schedule.random.below(5));
      there.emplace(user, sim.connect(user, Dial().on(sim.schedule.random.below(3))));
    } else {
      const auto gone = std::next(there.begin(), static_cast<std::ptrdiff_t>(sim.schedule.random.below(there.size())));
      gone->second.hang_up();
      there.erase(gone);
      sim.run();
    }
    for (int u = 0; u < 5; ++u) {
      const std::string user = "u" + std::to_string(u);
      std::set<std::uint64_t> expected;
      const auto [from, to] = there.equal_range(user);
      for (auto at = from; at != to; ++at) expected.insert(at->second.id().value());
      std::set<std::uint64_t> found;
      for (const auto& info : manager.connections_of({"", user})) found.insert(info.id.value());
      REQUIRE(found == expected);
      REQUIRE(manager.connection_count({"", user}) == expected.size());
      REQUIRE(manager.is_online({"", user}) == !expected.empty());
    }
    for (const auto& [user, client] : there) REQUIRE(manager.find(client.id())->user == user);
  }
}

TEST_CASE("a user without devices leaves no entry", "[acceptance]") {
  CheckedSim sim;
  auto& manager = sim.manager();
  const auto phone = sim.connect("ann");
  const auto laptop = sim.connect("ann");
  CHECK(manager.metrics().users == 1);
  phone.hang_up();
  sim.run();
  CHECK(manager.metrics().users == 1);
  laptop.hang_up();
  sim.run();
  CHECK(manager.metrics().users == 0);
  CHECK(manager.online_users("").empty());
  CHECK(manager.connections_of(ann_key).empty());

  // Lost ones wait for their grace, and no longer.
  sim.connect("ann").hang_up(CloseReason::lost);
  sim.advance(9s);
  CHECK(manager.is_online(ann_key));
  sim.advance(2s);
  CHECK(manager.metrics().users == 0);
  CHECK(manager.metrics().sessions_held == 0);
  CHECK(sim.is_empty());
}

TEST_CASE("a message to a user reaches all of its devices", "[acceptance]") {
  CheckedSim sim({}, 2);
  const auto phone = sim.connect("ann", Dial().on(0));
  const auto laptop = sim.connect("ann", Dial().on(1));
  const auto tablet = sim.connect("ann", Dial().on(0));
  const auto bob = sim.connect("bob");
  const auto namesake = sim.connect("ann", Dial().of("elsewhere"));
  CHECK(sim.manager().send_to_user(ann_key, json(R"({"n":1})")) == 3);
  CHECK(sim.manager().send_to_user({"", "nobody"}, json("1")) == 0);
  sim.run();
  for (const auto& device : {phone, laptop, tablet}) {
    REQUIRE(device.count("direct") == 1);
    CHECK(device.last("direct")->value("data") == R"({"n":1})");
  }
  CHECK(bob.count("direct") == 0);
  CHECK(namesake.count("direct") == 0);
  tablet.hang_up();
  sim.run();
  CHECK(sim.manager().send_to_user(ann_key, json("2")) == 2);
}

TEST_CASE("a user is online from the first device to the last", "[acceptance]") {
  CheckedSim sim;
  auto& manager = sim.manager();
  CHECK_FALSE(manager.is_online(ann_key));
  const auto phone = sim.connect("ann");
  CHECK(manager.is_online(ann_key));
  const auto laptop = sim.connect("ann");
  phone.hang_up();
  sim.run();
  CHECK(manager.is_online(ann_key));
  laptop.hang_up();
  sim.run();
  CHECK_FALSE(manager.is_online(ann_key));
  CHECK_FALSE(manager.is_online({"elsewhere", "ann"}));
  sim.connect("ann", Dial().silent());  // not before it is authenticated
  CHECK_FALSE(manager.is_online(ann_key));
  CHECK(sim.told("online ann") == 1);
  CHECK(sim.told("offline ann") == 1);
}

TEST_CASE("a broadcast drops the dead, and reaches the living once", "[acceptance]") {
  enum { to_all, to_tenant, to_room };
  const int how = GENERATE(0, 1, 2);
  CheckedSim sim(without_sessions(), 2);
  std::vector<Client> clients;
  for (std::size_t i = 0; i < 20; ++i) {
    clients.push_back(sim.connect("u" + std::to_string(i / 2), Dial().on(i % 2)));
    clients.back().join("r");
  }
  sim.advance(1s);
  const auto dead = [](std::size_t i) { return i % 5 == 0; };
  for (std::size_t i = 0; i < 20; ++i) {
    if (dead(i)) clients[i].pipe().fail_write(1);
  }
  const auto tell = [&](const std::string& data) {
    if (how == to_all) (void)sim.manager().send_to_all(json(data));
    if (how == to_tenant) (void)sim.manager().send_to_tenant("", json(data));
    if (how == to_room) sim.manager().publish({"", "r"}, json(data));
    sim.run();
  };
  tell("1");
  tell("2");
  for (std::size_t i = 0; i < 20; ++i) {
    Texts got = clients[i].messages("r");
    for (const Told& told : clients[i].all("direct")) got.push_back(told.value("data"));
    CHECK(got == (dead(i) ? Texts{} : Texts{"1", "2"}));
    CHECK(sim.manager().contains(clients[i].id()) != dead(i));
  }
  CHECK(sim.manager().connection_count() == 16);
  CHECK(sim.manager().room({"", "r"})->size() == 16);
  CHECK(sim.manager().metrics().closed[static_cast<std::size_t>(CloseReason::lost)] == 4);
}

TEST_CASE("a message to a user drops its dead device, not its message", "[acceptance]") {
  CheckedSim sim(without_sessions());
  const auto phone = sim.connect("ann");
  const auto laptop = sim.connect("ann");
  const auto tablet = sim.connect("ann");
  laptop.pipe().fail_write(1);
  (void)sim.manager().send_to_user(ann_key, json("1"));
  sim.run();
  CHECK(phone.count("direct") == 1);
  CHECK(tablet.count("direct") == 1);
  CHECK_FALSE(sim.manager().contains(laptop.id()));
  CHECK(sim.manager().send_to_user(ann_key, json("2")) == 2);
  CHECK(sim.told("offline ann") == 0);
}

TEST_CASE("a lookup creates no entry", "[acceptance]") {
  CheckedSim sim;
  auto& manager = sim.manager();
  for (int i = 0; i < 100; ++i) {
    const UserKey nobody{"", "n" + std::to_string(i)};
    CHECK_FALSE(manager.is_online(nobody));
    CHECK(manager.connections_of(nobody).empty());
    CHECK(manager.connection_count(nobody) == 0);
    CHECK(manager.send_to_user(nobody, json("1")) == 0);
    CHECK(manager.revoke(nobody) == 0);
    CHECK_FALSE(manager.find(ConnectionId(static_cast<std::uint64_t>(i))));
  }
  sim.run();
  CHECK(manager.metrics().users == 0);
  CHECK(manager.online_users("").empty());
  CHECK(manager.connections({}, 10).empty());
}

}  // namespace
}  // namespace muster::test
