// What a room costs that has one member and has published nothing, and what is left of rooms that came and went.
#include <cstddef>
#include <string>

#include "report.hpp"
#include "support/allocations.hpp"
#include "support/crowd.hpp"

namespace muster::bench {
namespace {

constexpr std::size_t connections = 100;

/// Each connection says it of rooms of its own.
void of_each_room(test::SteppedCrowd& crowd, std::size_t rooms, const char* what) {
  for (std::size_t i = 0; i < rooms; ++i) {
    crowd.say(crowd.peers[i % connections],
              std::string(R"({"type":")") + what + R"(","payload":{"room":"room-)" + std::to_string(i) + R"("}})");
    if (i % 1000 == 999) crowd.run();
  }
  crowd.settle();
}

}  // namespace

void rooms(Run& run) {
  const std::size_t count = run.quick ? 10'000 : 100'000;
  test::SteppedCrowd crowd;
  crowd.add(connections);
  // What tables have grown to they keep for the next rooms.
  of_each_room(crowd, count, "join");
  of_each_room(crowd, count, "leave");
  const auto empty = test::allocations().bytes_in_use;
  of_each_room(crowd, count, "join");
  require(crowd.manager->room_count() == count, "each was to make its rooms");
  const auto full = test::allocations().bytes_in_use;
  of_each_room(crowd, count, "leave");
  require(crowd.manager->room_count() == 0, "rooms were to end with their members");
  const double each = static_cast<double>(full - empty) / static_cast<double>(count);
  const double left = static_cast<double>(test::allocations().bytes_in_use - empty) / static_cast<double>(count);
  run.report.row("bytes for a room of one member, nothing published", each, "B", at_most(700));
  // A connection remembers a few of those it has left.
  run.report.row("  left of each once " + std::to_string(count) + " have come and gone", left, "B", at_most(2));
  run.report.add("rooms", {{"rooms", static_cast<double>(count)}, {"bytes_per_room", each}, {"bytes_left", left}});
}

}  // namespace muster::bench
