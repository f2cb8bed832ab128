// What a connection owes to its rates.
#pragma once

#include <algorithm>
#include <memory>

#include "muster/core/flows/pacing.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE void Pacing::pause(ConnectionState& connection, Pause why, bool on) {
  const auto bit = static_cast<std::uint8_t>(why);
  const std::uint8_t before = connection.pauses;
  connection.pauses = static_cast<std::uint8_t>(on ? before | bit : before & ~bit);
  if ((before == 0) == (connection.pauses == 0)) return;
  if (connection.pauses == 0)
    connection.last_inbound = connection.loop->executor->now();  // what it said meanwhile comes now
  connection.transport->pause_reading(connection.pauses != 0);
}

MUSTER_INLINE std::chrono::milliseconds Pacing::debt(ConnectionState& connection, TimePoint now) const {
  return std::max({connection.message_budget.debt(options_.message_rate, now),
                   connection.byte_budget.debt(options_.byte_rate, now),
                   connection.frame_budget.debt(options_.frame_rate, now)});
}

MUSTER_INLINE bool Pacing::exceeds_for_long(ConnectionState& connection, TimePoint now) {
  if (!connection.pace) {
    connection.pace = std::make_unique<Pace>(&connection, read_on_);
    connection.pace->since = now;
  }
  return now - connection.pace->since >= options_.rate_patience;
}

MUSTER_INLINE void Pacing::keep_pace(ConnectionState& connection, TimePoint now) {
  const bool owes =
      connection.message_budget.owes(now) || connection.byte_budget.owes(now) || connection.frame_budget.owes(now);
  if (!owes && !connection.pace) return;
  const auto wait = debt(connection, now);
  if (wait.count() != 0) {
    (void)exceeds_for_long(connection, now);
    connection.loop->arm(connection.pace->timer, now + wait);
    return pause(connection, Pause::rate, true);
  }
  if (!connection.pace) return;
  pause(connection, Pause::rate, false);
  const auto spare = [now](const TokenBucket& budget, std::size_t rate) {
    return budget.until(rate, static_cast<double>(rate), now).count() == 0;
  };
  if (spare(connection.message_budget, options_.message_rate) && spare(connection.byte_budget, options_.byte_rate) &&
      spare(connection.frame_budget, options_.frame_rate)) {
    connection.pace.reset();
  }
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
