// What follows from being slow, and from having caught up.
#pragma once

#include <chrono>

#include "muster/core/delivery/pressure.hpp"
#include "muster/core/outward/questions.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE void Pressure::weigh(ConnectionState& connection) {
  connection.weighed = false;
  const bool slow = is_slow(connection);
  if (!connection.live() || connection.ends_soon || slow == connection.slow) return;
  guard(later_, connection, "A slow connection", [&] {
    Rare& rare = connection.seldom();
    const TimePoint now = connection.loop->executor->now();
    connection.outbox.recount(*connection.transport);
    if (slow) {
      rare.slow_since = connection.outbox.waiting_since();
      connection.loop->counters.slowed.add();
    }
    connection.slow = slow;
    for (const Membership& membership : connection.memberships) {
      Lock lock(membership.room->mutex);
      membership.room->set_behind(connection.member, slow);
    }
    const Slow told{rare.slow_since, std::chrono::duration_cast<std::chrono::milliseconds>(now - rare.slow_since),
                    connection.outbox.unsent()};
    if (!hooks_.slow_edge(connection, slow, told)) later_.end(connection, CloseReason::internal_error, {});
  });
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
