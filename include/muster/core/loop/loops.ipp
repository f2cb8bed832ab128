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
  if (!is_only) (void)post(loop, [loop](ConnectionManager& manager) { manager.ending_.abandon_stopped(*loop); });
  return loop;
}

/// What could not be done for want of memory, or because a seam failed.
MUSTER_INLINE void ConnectionManager::retry(Loop& loop) {
  for (std::size_t i = loop.connections.size(); i > 0; --i) {
    if (i > loop.connections.size()) continue;
    const ConnectionPtr connection = loop.connections[i - 1];
    if (!connection->doomed || connection->ended()) continue;
    ending_.end(*connection, connection->close_reason.value_or(CloseReason::internal_error), {}, connection->cut);
  }
  const bool lost = std::exchange(loop.task_lost, false);
  if (!loop.dirty.empty() && (lost || !loop.write_posted)) end_turn(loop);
  for (std::size_t i = 0; lost && i < loop.connections.size(); ++i) {
    for (const Membership& membership : loop.connections[i]->memberships)
      fan_out_.flush_part(membership.room, *membership.part);
  }
  state_flush_.clear_awareness(loop);
}

}  // namespace MUSTER_ABI
}  // namespace muster
