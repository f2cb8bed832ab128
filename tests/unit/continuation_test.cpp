// Continuation: where a handler or hook goes on later.
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "muster/memory/loopback_broker.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("a continuation runs where its handler or hook ran, also when the connection is gone", "[continuation]") {
  CheckedSim sim(without_sessions(), 2);
  std::vector<std::shared_ptr<Continuation>> kept;
  const auto keep = [&] { kept.push_back(sim.manager().continuation()); };
  sim.manager().on("move", [&](Connection&, const Payload&) { keep(); });
  sim.manager().on_connected([&](Connection&) { keep(); });
  sim.manager().on_user_online([&](const UserKey&) { keep(); });
  sim.manager().on_room_opened([&](const RoomKey&) { keep(); });
  const auto ann = sim.member("ann", "r", Dial().on(1));
  ann.raw(R"({"type":"move"})");
  sim.run();
  REQUIRE(kept.size() == 4);
  const bool is_gone = GENERATE(false, true);
  if (is_gone) ann.hang_up();
  sim.run();
  int ran = 0;
  for (const auto& continuation : kept) {
    continuation->post([&] {
      ++ran;
      CHECK(sim.schedule.executors[1]->loop().is_running());
    });
  }
  CHECK(ran == 0);
  sim.run();
  CHECK(ran == 4);
}

TEST_CASE("what a continuation throws is counted, and closes the connection if there is one", "[continuation]") {
  CheckedSim sim(without_sessions());
  std::shared_ptr<Continuation> of_ann;
  std::shared_ptr<Continuation> of_room;
  sim.manager().on_connected([&](Connection&) { of_ann = sim.manager().continuation(); });
  sim.manager().on_room_opened([&](const RoomKey&) { of_room = sim.manager().continuation(); });
  const auto ann = sim.member("ann", "r");
  const auto fail = [] { throw std::runtime_error("no board"); };
  of_room->post(fail);
  sim.run();
  CHECK(ann.is_open());
  CHECK(sim.manager().metrics().callback_failures == 1);
  of_ann->post(fail);
  sim.run();
  CHECK(ann.close_code() == 1011);
  CHECK(sim.manager().metrics().callback_failures == 2);
  of_ann->post(fail);
  sim.run();
  CHECK(sim.manager().metrics().callback_failures == 3);
}

TEST_CASE("a continuation that cannot run is destroyed", "[continuation]") {
  std::shared_ptr<Continuation> kept;
  const auto held = std::make_shared<int>();
  bool ran = false;
  const auto post = [&] { kept->post([&ran, held] { ran = true; }); };
  {
    CheckedSim sim;
    sim.manager().on_connected([&](Connection&) { kept = sim.manager().continuation(); });
    (void)sim.connect("ann");
    SECTION("its manager is gone when its turn comes") {
      post();
      sim.kill_node(0);
      CHECK(held.use_count() == 2);
      sim.run();
    }
    SECTION("its executor has stopped") {
      sim.schedule.executors[0]->loop().stop();
      post();
    }
    SECTION("all is gone") {}
  }
  post();
  CHECK(held.use_count() == 1);
  CHECK_FALSE(ran);
}

TEST_CASE("there is no continuation outside of a handler or hook of the manager", "[continuation]") {
  CheckedSim sim(Setup{{}, 1, 2, std::make_shared<LoopbackBroker>(), 1});
  CHECK_THROWS_AS(sim.manager().continuation(), std::logic_error);
  bool threw = false;
  sim.manager(0).on_connected([&](Connection&) {
    try {
      (void)sim.manager(1).continuation();
    } catch (const std::logic_error&) {
      threw = true;
    }
  });
  (void)sim.connect("ann");
  CHECK(threw);
}

}  // namespace
}  // namespace muster::test
