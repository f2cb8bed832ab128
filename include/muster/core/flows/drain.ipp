// Drain: a deploy's end of all connections, spread over time, and with the word when to come back.
#pragma once

#include <algorithm>
#include <functional>
#include <map>

#include "muster/core/outward/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {

MUSTER_INLINE void ConnectionManager::drain(std::chrono::milliseconds deadline,
                                            std::chrono::milliseconds reconnect_window, Function<void(Drained)> done) {
  admission_.close();
  const auto forced = std::make_shared<std::atomic<std::size_t>>(0);
  const auto latch = std::make_shared<core::Latch>([done = std::move(done), forced](std::size_t closed) mutable {
    if (done) done({closed, forced->load()});
  });
  for (const LoopPtr& loop : loops_.all()) {
    const bool posted = post(loop, [loop, latch, forced, deadline, reconnect_window](ConnectionManager& manager) {
      const std::vector<ConnectionPtr> connections = loop->connections;
      std::multimap<std::chrono::milliseconds, ConnectionPtr, std::greater<>> told;
      for (const ConnectionPtr& connection : connections) {
        latch->count();
        connection->latches.push_back(latch);
        if (connection->live()) {
          const auto after = manager.entropy_.within(reconnect_window);
          manager.writer_.tell(*connection, event::Draining{after});
          told.emplace(after, connection);
        } else if (connection->open_done) {
          manager.ending_.refuse(
              *connection, CloseReason::going_away,
              {errc::unavailable, "The server is shutting down", manager.entropy_.within(reconnect_window)});
        } else {
          manager.ending_.end(*connection, CloseReason::going_away, {});
        }
      }
      // Who is to come back first is closed first: nobody's time has passed before its connection is closed.
      loop->draining.clear();
      for (auto& [after, connection] : told) loop->draining.push_back(std::move(connection));
      const TimePoint now_here = loop->executor->now();
      loop->drain_ends = now_here + deadline;
      loop->drain_forced = forced;
      // The last quarter is for close handshakes.
      loop->drain_pace = std::chrono::nanoseconds(deadline) * 3 / 4 /
                         static_cast<std::int64_t>(std::max<std::size_t>(loop->draining.size(), 1));
      loop->drain_next_at = now_here;
      loop->arm(loop->drain_timer, now_here);
    });
    if (!posted) ending_.abandon(loop);
  }
}

MUSTER_INLINE void ConnectionManager::drain_next(Loop& loop) {
  const TimePoint now_here = loop.executor->now();
  while (!loop.draining.empty() && (loop.drain_next_at <= now_here || loop.drain_ends <= now_here)) {
    const ConnectionPtr connection = std::move(loop.draining.back());
    loop.draining.pop_back();
    loop.drain_next_at += loop.drain_pace;
    ending_.end(*connection, CloseReason::going_away, {});
  }
  if (loop.drain_ends > now_here) {
    loop.arm(loop.drain_timer, loop.draining.empty() ? loop.drain_ends : std::min(loop.drain_next_at, loop.drain_ends));
    return;
  }
  for (const ConnectionPtr& connection : loop.connections) {
    if (!connection->transport || !connection->ended()) continue;
    ++*loop.drain_forced;
    connection->transport->abort();
  }
}

}  // namespace MUSTER_ABI
}  // namespace muster
