// Paced closes, and the end of all.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "muster/core/flows/draining.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE void Draining::drain(std::chrono::milliseconds deadline, std::chrono::milliseconds reconnect_window,
                                   Function<void(Drained)> done) {
  admission_.close();
  const std::shared_ptr<std::atomic<std::size_t>> forced(new std::atomic<std::size_t>(0));
  const std::shared_ptr<Latch> latch(new Latch([done = std::move(done), forced](std::size_t closed) mutable {
    if (done) done({closed, forced->load()});
  }));
  for (const LoopPtr& loop : loops_.all()) {
    const bool posted = loop->post([this, loop, latch, forced, deadline, reconnect_window] {
      const std::vector<ConnectionPtr> connections = loop->connections;
      std::multimap<std::chrono::milliseconds, ConnectionPtr, std::greater<>> told;
      for (const ConnectionPtr& connection : connections) {
        latch->count();
        connection->seldom().latches.push_back(latch);
        if (connection->live()) {
          const auto after = entropy_.within(reconnect_window);
          writer_.tell(*connection, event::Draining{after});
          told.emplace(after, connection);
        } else if (connection->opening()) {
          ending_.refuse(*connection, CloseReason::going_away,
                         {errc::unavailable, "The server is shutting down", entropy_.within(reconnect_window)});
        } else {
          ending_.end(*connection, CloseReason::going_away, {});
        }
      }
      // Who is to come back first is closed first: nobody's time has passed before its connection is closed.
      loop->draining.clear();
      for (const auto& [after, connection] : told) loop->draining.push_back(connection);
      const TimePoint now = loop->executor->now();
      loop->drain_ends = now + deadline;
      loop->drain_forced = forced;
      // The last quarter is for close handshakes.
      loop->drain_pace = std::chrono::nanoseconds(deadline) * 3 / 4 /
                         static_cast<std::int64_t>(std::max<std::size_t>(loop->draining.size(), 1));
      loop->drain_next_at = now;
      loop->arm(loop->drain_timer, now);
    });
    if (!posted) ending_.abandon(loop);
  }
}

MUSTER_INLINE void Draining::close_next(Loop& loop) {
  const TimePoint now = loop.executor->now();
  while (!loop.draining.empty() && (loop.drain_next_at <= now || loop.drain_ends <= now)) {
    const ConnectionPtr connection = std::move(loop.draining.back());
    loop.draining.pop_back();
    loop.drain_next_at += loop.drain_pace;
    ending_.end(*connection, CloseReason::going_away, {});
  }
  if (loop.drain_ends > now) {
    loop.arm(loop.drain_timer, loop.draining.empty() ? loop.drain_ends : std::min(loop.drain_next_at, loop.drain_ends));
    return;
  }
  for (const ConnectionPtr& connection : loop.connections) {
    if (!connection->transport || !connection->ended()) continue;
    ++*loop.drain_forced;
    connection->transport->abort();
  }
}

MUSTER_INLINE void Draining::shut_down(Function<void()> done) {
  admission_.close();
  for (const LoopPtr& loop : loops_.all()) {
    (void)loop->post([this, loop] { sessions_.run_graces(*loop, TimePoint::max()); });
  }
  ending_.close_all(CloseReason::going_away, {},
                    [this, life = life_.handle(), done = std::move(done)](std::size_t) mutable {
                      if (const auto alive = life.lock()) {
                        let_go(std::move(done));
                      } else if (done) {
                        done();
                      }
                    });
}

/// Handlers and hooks go when no executor has anything left that would call them.
MUSTER_INLINE void Draining::let_go(Function<void()> done) {
  const std::shared_ptr<Latch> all(
      new Latch([this, life = life_.handle(), done = std::move(done)](std::size_t) mutable {
        if (const auto alive = life.lock()) hooks_.clear();
        if (done) done();
      }));
  for (const LoopPtr& loop : loops_.all()) (void)loop->post([all] {});
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
