// Publish and flush: a publish command comes in, and every member's transport gets its write.
#include <string>

#include "report.hpp"
#include "support/allocations.hpp"
#include "support/crowd.hpp"

namespace muster::bench {
namespace {

constexpr const char* join_hall = R"({"type":"join","id":1,"payload":{"room":"hall"}})";

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

}  // namespace

void fan_out(Run& run) {
  Measured smallest;
  for (const std::size_t members : run.sizes()) {
    const std::string room = "room of " + std::to_string(members);
    test::SteppedCrowd crowd;
    crowd.add(members + 1, join_hall);
    const std::size_t turns = (run.quick ? 1'000'000 : 10'000'000) / members;
    for (const std::size_t publishes : {std::size_t{1}, std::size_t{8}, std::size_t{64}}) {
      Measured measured = measure(crowd, publishes, std::max<std::size_t>(10, turns / publishes));
      const std::string what = "delivery, " + room + ", " + std::to_string(publishes) + " publishes a turn";
      run.report.row(what, measured.ns_per_delivery.minimum(), "ns",
                     members == 100'000 && publishes == 1 ? at_most(60) : Target{});
      run.report.row("  median", measured.ns_per_delivery.median(), "ns");
      run.report.add("publish", {{"members", static_cast<double>(members)},
                                 {"publishes_per_turn", static_cast<double>(publishes)},
                                 {"ns_per_member", measured.ns_per_delivery.minimum() * static_cast<double>(publishes)},
                                 {"ns_per_delivery", measured.ns_per_delivery.minimum()},
                                 {"ns_per_delivery_median", measured.ns_per_delivery.median()},
                                 {"allocations_per_turn", measured.allocations}});
      if (publishes != 1) continue;
      if (members == run.sizes().front()) {
        smallest = measured;
        run.report.row("  allocations for one publish", measured.allocations, "");
        continue;
      }
      const double more = (measured.allocations - smallest.allocations) / static_cast<double>(members - run.sizes().front());
      run.report.row("  allocations for each recipient more", more, "", at_most(0));
      run.report.add("allocations", {{"members", static_cast<double>(members)}, {"per_recipient", more}});
    }
  }
}

}  // namespace muster::bench
