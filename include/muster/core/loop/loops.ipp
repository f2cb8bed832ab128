// Executors and time: the loop of each executor, its timers, and what a stopped one leaves.
#pragma once

#include <algorithm>

#include "muster/core/outward/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {

template <void (ConnectionManager::*Fire)(Loop&)>
void ConnectionManager::fire(void* self) {
  auto& loop = *static_cast<Loop*>(self);
  (void)loop.contain("A timer", [&] { (loop.manager.*Fire)(loop); });
}

MUSTER_INLINE core::Loop::Loop(ConnectionManager& owner, std::weak_ptr<const void> its_life, Failures& reports,
                               std::shared_ptr<Executor> on, std::uint64_t seed)
    : manager(owner),
      life(std::move(its_life)),
      failures(reports),
      executor(std::move(on)),
      wheel(executor->now()),
      state_timer(this, ConnectionManager::fire<&ConnectionManager::run_due_flushes>),
      grace_timer(this, ConnectionManager::fire<&ConnectionManager::run_due_graces>),
      drain_timer(this, ConnectionManager::fire<&ConnectionManager::drain_next>),
      sweep_timer(this, ConnectionManager::fire<&ConnectionManager::sweep_again>),
      awareness_timer(this, ConnectionManager::fire<&ConnectionManager::expire_awareness>),
      retry_timer(this, ConnectionManager::fire<&ConnectionManager::retry>),
      random(seed) {}

MUSTER_INLINE LoopPtr ConnectionManager::loop_for(const std::shared_ptr<Executor>& executor) {
  if (LoopPtr known = loops_.of(executor.get())) return known;
  // Only this executor's own thread opens connections on it, so nobody else makes this loop meanwhile.
  const auto loop = std::make_shared<Loop>(*this, life_.handle(), failures_, executor, entropy_.seed());
  const bool is_only = loops_.add(loop);
  loop->arm(loop->sweep_timer, executor->now() + options_.sweep_interval);
  if (options_.awareness_ttl.count() > 0) {
    loop->arm(loop->awareness_timer, executor->now() + core::awareness_check(options_));
  }
  // Where executors come and go faster than sweeps, the next one buries those before it.
  if (!is_only) (void)post(loop, [loop](ConnectionManager& manager) { manager.bury_stopped(*loop); });
  return loop;
}

/// What could not be done for want of memory, or because a seam failed.
MUSTER_INLINE void ConnectionManager::retry(Loop& loop) {
  for (std::size_t i = loop.connections.size(); i > 0; --i) {
    if (i > loop.connections.size()) continue;
    const ConnectionPtr connection = loop.connections[i - 1];
    if (!connection->doomed || connection->ended()) continue;
    disconnect(*connection, connection->close_reason.value_or(CloseReason::internal_error), {}, connection->cut);
  }
  const bool lost = std::exchange(loop.task_lost, false);
  if (!loop.dirty.empty() && (lost || !loop.write_posted)) end_turn(loop);
  for (std::size_t i = 0; lost && i < loop.connections.size(); ++i) {
    for (const Membership& membership : loop.connections[i]->memberships)
      fan_out_.flush_part(membership.room, *membership.part);
  }
  state_flush_.clear_awareness(loop);
}

MUSTER_INLINE void ConnectionManager::bury_stopped(Loop& by) {
  for (const LoopPtr& other : loops_.all()) {
    if (other.get() == &by || other->buried) continue;
    // Only a refused task tells that an executor has stopped: where nobody has posted since, this one asks.
    if (!post(other, [](ConnectionManager&) {}) || other->stopped) bury(other);
  }
}

MUSTER_INLINE void ConnectionManager::bury(const LoopPtr& loop) {
  if (loop->buried.exchange(true)) return;
  // The executor promised that nothing of it runs any more: what was its own is ours now.
  while (!loop->connections.empty()) {
    const ConnectionPtr connection = loop->connections.back();
    (void)connection->contain("A transport", [&] {
      if (connection->transport) connection->transport->abort();
    });
    disconnect(*connection, CloseReason::lost, "The executor has stopped", true);
    if (!connection->ended()) {  // for want of memory: the next sweep goes on from here
      loop->buried = false;
      return;
    }
    ++counters_.lost;
  }
  core::RoomTable::Cursor at;
  for (bool more = true; more;) {
    std::vector<RoomPtr> rooms;
    more = table_.some(at, core::task_slice, rooms);
    for (const RoomPtr& room : rooms) leave_part(*loop, room);
  }
  loop->replies = {};
  loop->draining.clear();
  sessions_.run_graces(*loop, TimePoint::max());
  state_flush_.run(*loop, TimePoint::max());
  loops_.remove(loop);
}

/// A room's part on an executor that has stopped goes, and what was to be flushed there is told to those elsewhere.
MUSTER_INLINE void ConnectionManager::leave_part(Loop& loop, const RoomPtr& room) noexcept {
  core::RoomPartPtr part;  // ends after the section
  {
    core::Lock lock(room->mutex);
    const auto at =
        std::find_if(room->parts.begin(), room->parts.end(), [&](const auto& one) { return one->loop.get() == &loop; });
    if (at == room->parts.end()) return;
    part = std::move(*at);
    room->parts.erase(at);
    room->count_waiting();
    part->pending.clear();
    part->batch = {};
  }
  state_flush_.flush(loop, room);
}

}  // namespace MUSTER_ABI
}  // namespace muster
