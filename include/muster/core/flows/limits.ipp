// Limits over several rooms or commands: rooms created, bytes kept, replies asked for, publishes said twice.
#pragma once

#include "muster/core/connection/connection_state.ipp"

namespace muster {
inline namespace MUSTER_ABI {

MUSTER_INLINE std::chrono::milliseconds ConnectionManager::debt(ConnectionState& connection, TimePoint now_here) const {
  return std::max({connection.message_budget.debt(options_.message_rate, now_here),
                   connection.byte_budget.debt(options_.byte_rate, now_here),
                   connection.frame_budget.debt(options_.frame_rate, now_here)});
}

MUSTER_INLINE void ConnectionManager::read_on(ConnectionState& paced) {
  keep_pace(paced, paced.loop->executor->now());
  go_on(paced);
}

MUSTER_INLINE bool ConnectionManager::exceeds_for_long(ConnectionState& connection, TimePoint now_here) {
  if (!connection.pace) {
    connection.pace = std::make_unique<core::Pace>(&connection, core::fire_for_connection<&ConnectionManager::read_on>);
    connection.pace->since = now_here;
  }
  return now_here - connection.pace->since >= options_.rate_patience;
}

MUSTER_INLINE void ConnectionManager::keep_pace(ConnectionState& connection, TimePoint now_here) {
  const bool owes = connection.message_budget.owes() || connection.byte_budget.owes() || connection.frame_budget.owes();
  if (!owes && !connection.pace) return;
  const auto wait = debt(connection, now_here);
  if (wait.count() != 0) {
    (void)exceeds_for_long(connection, now_here);
    connection.loop->arm(connection.pace->timer, now_here + wait);
    return pause(connection, core::Pause::rate, true);
  }
  if (!connection.pace) return;
  pause(connection, core::Pause::rate, false);
  const auto spare = [now_here](core::TokenBucket& budget, std::size_t rate) {
    return budget.until(rate, static_cast<double>(rate), now_here).count() == 0;
  };
  if (spare(connection.message_budget, options_.message_rate) && spare(connection.byte_budget, options_.byte_rate) &&
      spare(connection.frame_budget, options_.frame_rate)) {
    connection.pace.reset();
  }
}

}  // namespace MUSTER_ABI
}  // namespace muster
