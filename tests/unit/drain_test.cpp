// Drain: everyone is told when to come back, then closed, one after another.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("drain tells everyone when to come back and paces the closes over the deadline", "[drain]") {
  Options options;
  options.max_connections = 0;
  options.connect_rate_per_ip = 0;
  CheckedSim sim(options, 2);
  std::vector<Client> clients;
  for (std::size_t i = 0; i < 100; ++i) clients.push_back(sim.connect("u" + std::to_string(i), Dial().on(i % 2)));
  const auto pending = sim.connect("eve", Dial().silent());
  std::optional<Drained> drained;
  sim.manager().drain(5s, 10s, [&](Drained counts) { drained = counts; });
  sim.run();
  CHECK_FALSE(sim.manager().is_ready());
  std::set<std::uint64_t> times;
  for (const auto& client : clients) {
    REQUIRE(client.count("draining") == 1);
    const auto after = client.last("draining")->number("reconnect_after_ms");
    CHECK(after <= 10'000);
    times.insert(after);
  }
  CHECK(times.size() > 80);  // drawn from the window, not one time for all
  CHECK(pending.close_code() == 1001);
  // Nobody's time passes before its connection is closed: who comes back first is closed first.
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  for (std::size_t i = 0; i < clients.size(); ++i)
    order.emplace_back(clients[i].last("draining")->number("reconnect_after_ms"), i);
  std::sort(order.begin(), order.end());

  const auto open = [&] {
    return std::count_if(clients.begin(), clients.end(), [](const Client& c) { return c.is_open(); });
  };
  sim.advance(1s);
  const auto early = open();
  CHECK_FALSE(clients[order.front().second].is_open());
  CHECK(clients[order.back().second].is_open());
  sim.advance(1s);
  const auto later = open();
  CHECK(early > 60);
  CHECK(early < 85);
  CHECK(later > 35);
  CHECK(later < 60);
  sim.advance(2s);
  CHECK(open() == 0);
  for (const auto& client : clients) CHECK(client.close_code() == 1001);
  REQUIRE(drained);
  CHECK(drained->closed == 101);
  CHECK(drained->forced == 0);
}

TEST_CASE("a new upgrade during a drain gets 503", "[drain]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  sim.manager().drain(5s, 5s, nullptr);
  const auto late = sim.connect("bob");
  CHECK_FALSE(late.is_open());
  REQUIRE(late.pipe().answer());
  CHECK(describe(late.pipe().answer()->reason).http_status == 503);
}

TEST_CASE("stragglers are cut at the deadline", "[drain]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.stall();
  sim.manager().send(ann.id(), json("1"));
  sim.run();
  std::optional<Drained> drained;
  sim.manager().drain(2s, 5s, [&](Drained counts) { drained = counts; });
  sim.advance(1900ms);
  CHECK_FALSE(drained);
  sim.advance(200ms);
  REQUIRE(drained);
  CHECK(drained->closed == 2);
  CHECK(drained->forced == 1);
}

TEST_CASE("a drain of nobody is over at once", "[drain]") {
  CheckedSim sim;
  bool done = false;
  sim.manager().drain(5s, 5s, [&](Drained counts) { done = counts.closed == 0; });
  sim.run();
  CHECK(done);
}

}  // namespace
}  // namespace muster::test
