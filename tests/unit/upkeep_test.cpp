// Upkeep: what the manager does by itself takes little at a time, comes in time, and leaves nothing that grows.
#include "support/checked_sim.hpp"
#include "support/crowd.hpp"

namespace muster::test {
namespace {

TEST_CASE("a sweep is many short tasks, however many rooms there are", "[upkeep]") {
  constexpr std::size_t rooms = 5000;
  Options options;
  options.room.history_age = 1s;
  options.sweep_interval = 1h;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  for (std::size_t i = 0; i < rooms; ++i) {
    sim.manager().publish({"", "r" + std::to_string(i)}, json("1"), Delivery::reliable(), {}, nullptr);
  }
  sim.advance(10s);
  CHECK(sim.manager().room_count() == rooms);
  std::size_t done = 0;
  sim.manager().sweep_now([&done](std::size_t) { ++done; });
  std::size_t tasks = 0;
  std::size_t most = 0;
  for (std::size_t left = rooms; sim.schedule.step(); ++tasks) {
    most = std::max(most, left - sim.manager().room_count());
    left = sim.manager().room_count();
    CHECK(done == (left == 0 ? 1U : 0U));
  }
  CHECK(sim.manager().room_count() == 0);
  CHECK(most < 300);
  CHECK(tasks > rooms / 300);
}

TEST_CASE("several executors share the rooms of a sweep", "[upkeep]") {
  Options options;
  options.room.history_age = 1s;
  options.sweep_interval = 30s;
  CheckedSim sim(options, 3);
  std::vector<Client> clients;
  for (std::size_t i = 0; i < 3; ++i) clients.push_back(sim.connect("ann", Dial().on(i)));
  for (int i = 0; i < 1000; ++i) {
    sim.manager().publish({"", "r" + std::to_string(i)}, json("1"), Delivery::reliable(), {}, nullptr);
  }
  sim.advance(31s);
  CHECK(sim.manager().room_count() == 0);
}

TEST_CASE("what an executor is asked to wake us for does not pile up with the flushes", "[upkeep]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  for (std::uint64_t clock = 1; clock <= 300; ++clock) {
    ann.aware("r", "{}", clock, "a");
    sim.advance(50ms);
  }
  CHECK(bob.awareness("r").size() == 1);
  CHECK(sim.schedule.executors[0]->loop().scheduled() < 10);
}

TEST_CASE("executors that have stopped are forgotten, on any number of them", "[upkeep]") {
  Crowd crowd;
  const auto clock = std::make_shared<ManualClock>();
  std::vector<std::weak_ptr<Executor>> gone;
  const auto come_and_go = [&](int times) {
    for (int i = 0; i < times; ++i) {
      const auto executor = std::make_shared<ManualExecutor>(clock);
      Peer peer = crowd.open(executor, "guest");
      crowd.say(peer, R"({"type":"join","id":1,"payload":{"room":"r"}})");
      executor->advance(std::chrono::seconds(1));
      executor->stop();
      gone.push_back(executor);
    }
  };
  const auto left = [&] {
    return std::count_if(gone.begin(), gone.end(), [](const auto& executor) { return !executor.expired(); });
  };
  SECTION("while one goes on: by its sweep") {
    const auto stays = std::make_shared<ManualExecutor>(clock);
    Peer host = crowd.open(stays, "host");
    crowd.say(host, R"({"type":"join","id":1,"payload":{"room":"r"}})");
    come_and_go(20);
    stays->advance(std::chrono::minutes(2));
    CHECK(left() == 0);
    CHECK(crowd.manager->metrics().lost == 20);
    CHECK(crowd.manager->connections_in({"", "r"}).size() == 1);
    crowd.hang_up(host);
    stays->run_ready();
  }
  SECTION("while none does: by the next one") {
    come_and_go(20);
    CHECK(left() <= 2);  // the first is the clock, and nobody has come after the last
  }
  CHECK(crowd.manager->metrics().messages_in >= 20);
}

TEST_CASE("awareness ends with its ttl, not with the sweep", "[upkeep]") {
  Options options;
  options.awareness_ttl = 8s;
  options.sweep_interval = 1h;
  CheckedSim sim(options);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  sim.advance(300ms);
  ann.aware("r", "{}", 1, "a");
  sim.advance(7900ms);
  CHECK(bob.awareness("r").size() == 1);
  sim.advance(1300ms);  // an eighth later, and a flush
  CHECK(bob.awareness("r").empty());
  CHECK(bob.view("r").nulls_told == 1);
  CHECK(sim.manager().metrics().awareness_entries == 0);
}

TEST_CASE("much awareness that ends at once is told in several tasks", "[upkeep]") {
  Options options = Crowd::no_limits();
  options.awareness_ttl = 8s;
  options.awareness_per_connection = 0;
  CheckedSim sim(options);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  for (int i = 0; i < 1000; ++i) ann.aware("r", "{}", 1, "client-" + std::to_string(i));
  sim.advance(7s);
  CHECK(bob.awareness("r").size() == 1000);
  sim.advance(3s);
  CHECK(bob.awareness("r").empty());
  CHECK(bob.view("r").nulls_told == 1000);
}

}  // namespace
}  // namespace muster::test
