// Publish and flush: a publish command comes in, and every member's transport gets its write.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "muster/connection_manager.hpp"
#include "muster/core/connection/connection_state.hpp"
#include "report.hpp"
#include "support/allocations.hpp"
#include "support/crowd.hpp"

namespace muster::bench {
namespace {

struct Measured {
  Samples ns_per_delivery;
  double allocations = 0;  ///< for each turn
};

/// `publishes` commands in one turn, many turns.
Measured measure(test::SteppedCrowd& crowd, std::size_t publishes, std::size_t turns) {
  const std::string publish = R"({"type":"publish","payload":{"room":"hall","data":")" + std::string(128, 'x') + "\"}}";
  const test::Peer publisher = crowd.peers.front();  // is told nothing: it is excluded, and asks for no answer
  const std::size_t members = crowd.peers.size() - 1;
  const auto turn = [&] {
    for (std::size_t i = 0; i < publishes; ++i) crowd.say(publisher, publish);
    crowd.run();
  };
  for (int i = 0; i < 3; ++i) turn();  // what is kept from turn to turn is there

  Measured measured;
  const std::uint64_t writes = crowd.writes();
  const std::uint64_t allocations = test::allocations().calls;
  for (std::size_t i = 0; i < turns; ++i) turn();
  measured.allocations = static_cast<double>(test::allocations().calls - allocations) / static_cast<double>(turns);
  require(crowd.writes() - writes == turns * members, "each member was to get one write a turn");
  for (std::size_t i = 0; i < turns; ++i) {
    measured.ns_per_delivery.add(nanoseconds(turn) / static_cast<double>(members * publishes));
  }
  return measured;
}

/// What memory takes by itself: one line of each of so many objects, as large as a connection's state, in an order that
/// it does not foresee.
Samples one_line_each(std::size_t count, std::size_t turns) {
  struct Object {
    volatile std::uint64_t value = 0;
    char rest[sizeof(core::ConnectionState)] = {};
  };
  std::vector<std::unique_ptr<Object>> objects;
  for (std::size_t i = 0; i < count; ++i) objects.push_back(std::make_unique<Object>());
  shuffle(objects);
  Samples samples;
  for (std::size_t i = 0; i < turns; ++i) {
    samples.add(nanoseconds([&] {
                  for (const auto& object : objects) object->value = object->value + 1;
                }) /
                static_cast<double>(count));
  }
  return samples;
}

/// Allocations of one publish in a room of so many, served in one slice: what an executor allocates for the tasks of
/// further slices is its own.
double allocations(std::size_t members) {
  Options options = test::Crowd::no_limits();
  options.fan_out_slice = 1'000'000;
  test::SteppedCrowd crowd(std::move(options));
  crowd.add(members + 1, test::join_hall);
  return measure(crowd, 1, 20).allocations;
}

}  // namespace

void fan_out(Run& run) {
  for (const std::size_t members : run.sizes()) {
    test::SteppedCrowd crowd;
    crowd.add(members + 1, test::join_hall);
    const std::size_t turns = (run.quick ? 1'000'000 : 10'000'000) / members;
    for (const std::size_t publishes : {std::size_t{1}, std::size_t{8}, std::size_t{64}}) {
      Measured measured = measure(crowd, publishes, std::max<std::size_t>(10, turns / publishes));
      run.report.row(
          "delivery, room of " + std::to_string(members) + ", " + std::to_string(publishes) + " publishes a turn",
          measured.ns_per_delivery.minimum(), "ns", members == 100'000 && publishes == 1 ? at_most(60) : Target{});
      run.report.row("  median", measured.ns_per_delivery.median(), "ns");
      run.report.add("publish", {{"members", static_cast<double>(members)},
                                 {"publishes_per_turn", static_cast<double>(publishes)},
                                 {"ns_per_member", measured.ns_per_delivery.minimum() * static_cast<double>(publishes)},
                                 {"ns_per_delivery", measured.ns_per_delivery.minimum()},
                                 {"ns_per_delivery_median", measured.ns_per_delivery.median()},
                                 {"allocations_per_turn", measured.allocations}});
    }
    Samples memory = one_line_each(members, turns);
    run.report.row("  this memory's time for one line of each of " + std::to_string(members), memory.minimum(), "ns");
    run.report.row("  median", memory.median(), "ns");
    run.report.add(
        "one_line_each",
        {{"members", static_cast<double>(members)}, {"ns", memory.minimum()}, {"ns_median", memory.median()}});
  }
  const double small = allocations(1'000);
  const double per_recipient = (allocations(10'000) - small) / 9'000;
  run.report.row("allocations for one publish", small, "");
  run.report.row("allocations for each recipient", per_recipient, "", at_most(0));
  run.report.add("allocations", {{"per_publish", small}, {"per_recipient", per_recipient}});
}

}  // namespace muster::bench
