// A user came online, a user went offline: told in order, once each, and to whoever was told the other.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

Options at_once() {
  Options options = without_sessions();
  options.heartbeat = 0s;
  return options;
}

TEST_CASE("on_user_offline never follows the on_user_online of a user who is online", "[presence][edges]") {
  CheckedSim sim(at_once(), 2);
  const auto first = sim.connect("ann", Dial().on(0));
  // The last connection is out of the table; before that is told, another comes on the other executor.
  bool came = false;
  sim.hook = [&](const std::string& line, Connection*) {
    if (line != "disconnected ann normal" || std::exchange(came, true)) return;
    (void)sim.dial("ann", Dial().on(1));
    sim.schedule.executors[1]->loop().run_ready();
  };
  first.hang_up();
  sim.run();
  CHECK(sim.manager().is_online({"", "ann"}));
  CHECK(sim.told("online ann") == sim.told("offline ann") + 1);
  const auto& story = sim.story();
  const auto is_edge = [](const std::string& line) { return line == "online ann" || line == "offline ann"; };
  CHECK(*std::find_if(story.rbegin(), story.rend(), is_edge) == "online ann");
}

TEST_CASE("a change while another is being told waits, and comes in order", "[presence][edges]") {
  CheckedSim sim(at_once(), 2);
  bool inside = false;
  sim.hook = [&](const std::string& line, Connection*) {
    if (line != "offline ann" || std::exchange(inside, true)) return;
    (void)sim.dial("ann", Dial().on(1));
    sim.schedule.executors[1]->loop().run_ready();
    CHECK(sim.told("online ann") == 1);  // the second is not told inside the first offline
  };
  sim.connect("ann").hang_up();
  sim.run();
  CHECK(sim.told("online ann") == 2);
  CHECK(sim.told("offline ann") == 1);
}

TEST_CASE("a room is told that a user is online once, however often it comes back", "[presence][edges]") {
  CheckedSim sim(at_once());
  const auto bob = sim.member("bob", "r");
  sim.advance(1s);
  const auto ann = sim.connect("ann");
  for (int i = 0; i < 3; ++i) {
    ann.join("r");
    sim.advance(1s);
    ann.leave("r");
    sim.advance(1s);
  }
  std::size_t told = 0;
  for (const auto& frame : bob.all("users_online")) told += frame.texts("users") == Texts{"ann"} ? 1 : 0;
  CHECK(told == 1);
  CHECK(bob.count("users_offline") == 0);
  ann.hang_up();
  sim.advance(1s);
  REQUIRE(bob.count("users_offline") == 1);
  CHECK(bob.last("users_offline")->texts("users") == Texts{"ann"});
}

TEST_CASE("a room whose tab closed first is told when the last one closes", "[presence][edges]") {
  CheckedSim sim(at_once());
  const auto bob = sim.member("bob", "r");
  const auto one = sim.member("ann", "r");
  const auto two = sim.member("ann", "other");
  sim.advance(1s);
  one.hang_up();
  sim.advance(1s);
  CHECK(bob.count("users_offline") == 0);  // it is online still, in another tab
  two.hang_up();
  sim.advance(1s);
  REQUIRE(bob.count("users_offline") == 1);
  CHECK(bob.last("users_offline")->texts("users") == Texts{"ann"});
}

TEST_CASE("who is gone and back within an interval is told as neither", "[presence][edges]") {
  CheckedSim sim(at_once());
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  sim.advance(1s);
  const auto told = bob.count("users_online");
  ann.hang_up();
  sim.run();
  const auto again = sim.member("ann", "r");
  sim.advance(1s);
  CHECK(bob.count("users_online") == told);
  CHECK(bob.count("users_offline") == 0);
}

TEST_CASE("rooms that a user has left are remembered no longer than they or it last", "[presence][edges]") {
  CheckedSim sim(at_once());
  const auto ann = sim.connect("ann");
  for (int i = 0; i < 40; ++i) {
    const std::string room = "r" + std::to_string(i);
    ann.join(room).leave(room);
  }
  sim.advance(10min);
  CHECK(sim.manager().room_count() == 0);
  ann.hang_up();
  sim.advance(1s);
  CHECK(sim.is_empty());
}

TEST_CASE("close_oldest: of five connects in one turn as many stay as the limit says, the newest",
          "[presence][edges]") {
  Options options = at_once();
  options.max_connections_per_user = 2;
  options.user_limit_policy = UserLimitPolicy::close_oldest;
  CheckedSim sim(options);
  std::vector<Client> tabs;
  for (int i = 0; i < 5; ++i) tabs.push_back(sim.dial("ann"));
  sim.run();
  sim.advance(1s);
  CHECK(sim.manager().connection_count({"", "ann"}) == 2);
  CHECK(tabs[0].close_code() == 4005);
  CHECK(tabs[2].close_code() == 4005);
  CHECK(tabs[3].is_open());
  CHECK(tabs[4].is_open());
  CHECK(sim.told("online ann") == 1);
  CHECK(sim.told("offline ann") == 0);
  tabs[3].hang_up();
  sim.run();
  const auto next = sim.connect("ann");
  CHECK(next.is_open());
  CHECK(tabs[4].is_open());
}

}  // namespace
}  // namespace muster::test
