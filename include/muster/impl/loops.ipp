// Executors and time: the loop of each executor, its timers, the sweep, and what a stopped one leaves.
#pragma once

#include "muster/detail/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {

MUSTER_INLINE detail::Loop::Loop(ConnectionManager& owner, std::shared_ptr<Executor> on, std::uint64_t seed)
    : manager(owner),
      manager_if_alive(owner.weak_from_this()),
      executor(std::move(on)),
      wheel(executor->now()),
      state_timer(this,
                  [](void* self) {
                    auto& loop = *static_cast<Loop*>(self);
                    loop.manager.run_state_flushes(loop, loop.executor->now());
                  }),
      grace_timer(this,
                  [](void* self) {
                    auto& loop = *static_cast<Loop*>(self);
                    loop.manager.run_graces(loop, loop.executor->now());
                  }),
      drain_timer(this,
                  [](void* self) {
                    auto& loop = *static_cast<Loop*>(self);
                    loop.manager.drain_next(loop);
                  }),
      sweep_timer(this,
                  [](void* self) {
                    auto& loop = *static_cast<Loop*>(self);
                    Gate findings(nullptr);
                    loop.manager.sweep(loop, findings);
                    const auto next = loop.executor->now() + loop.manager.options().sweep_interval;
                    loop.manager.arm(loop, loop.sweep_timer, next);
                  }),
      random_state(seed) {}

MUSTER_INLINE LoopPtr ConnectionManager::loop_for(const std::shared_ptr<Executor>& executor) {
  LoopPtr loop;
  {
    detail::Lock lock(loops_mutex_);
    for (const LoopPtr& known : loops_) {
      if (known->executor == executor) return known;
    }
  }
  // Only this executor's own thread opens connections on it, so nobody else makes this loop meanwhile.
  loop = std::make_shared<Loop>(*this, executor, detail::scatter(seed_ + next_draw_++ * 0x9e3779b97f4a7c15ULL));
  {
    detail::Lock lock(loops_mutex_);
    loops_.push_back(loop);
  }
  Executor* none = nullptr;
  clock_.compare_exchange_strong(none, executor.get());
  arm(*loop, loop->sweep_timer, executor->now() + options_.sweep_interval);
  return loop;
}

MUSTER_INLINE std::vector<LoopPtr> ConnectionManager::loops() const {
  detail::Lock lock(loops_mutex_);
  return loops_;
}

MUSTER_INLINE TimePoint ConnectionManager::now() const {
  const Executor* clock = clock_.load();
  if (clock != nullptr) return clock->now();
  return first_clock_ ? first_clock_() : std::chrono::steady_clock::now();
}

MUSTER_INLINE void ConnectionManager::arm(Loop& loop, detail::Timer& timer, TimePoint deadline) {
  loop.wheel.arm(timer, deadline);
  if (!loop.armed_for || deadline < *loop.armed_for) wake(loop, deadline);
}

MUSTER_INLINE void ConnectionManager::wake(Loop& loop, TimePoint when) {
  loop.armed_for = when;
  const bool scheduled = loop.executor->schedule(
      when, [weak = weak_from_this(), shared = std::weak_ptr<Loop>(loop.shared_from_this()), when] {
        const auto manager = weak.lock();
        const auto woken = shared.lock();
        if (manager && woken) manager->on_wake(*woken, when, false);
      });
  if (!scheduled) loop.stopped = true;
}

/// A loop that was held up (by a suspended process, a handler that blocks) hears its peers before it judges them: what
/// they said in time may lie in its sockets still.
MUSTER_INLINE void ConnectionManager::on_wake(Loop& loop, TimePoint when, bool has_listened) {
  if (loop.armed_for != when) return;  // an earlier one was set meanwhile, and takes care
  constexpr std::chrono::milliseconds held_up{200};
  if (!has_listened && loop.executor->now() - when >= held_up) {
    const int rounds = 2 + static_cast<int>(loop.connections.size() / 64);  // an executor hears some sockets a round
    (void)post(loop.shared_from_this(), [when, on = &loop](ConnectionManager& manager) {
      manager.on_wake(*on, when, true);
    }, rounds);
    return;
  }
  loop.armed_for.reset();
  loop.wheel.advance(loop.executor->now());
  const auto next = loop.wheel.next();
  if (next && (!loop.armed_for || *next < *loop.armed_for)) wake(loop, *next);
}

/// Checks the tables against each other, and clears what time has ended.
MUSTER_INLINE void ConnectionManager::sweep(Loop& loop, detail::Gate& findings) {
  const TimePoint now_here = loop.executor->now();
  const auto found = [&](const std::string& what) {
    findings.count();
    ++counters_.sweep_findings;
    log(LogLevel::error, "The sweep found " + what);
  };
  const std::vector<ConnectionPtr> connections = loop.connections;
  for (const ConnectionPtr& connection : connections) {
    if (!connection->live()) continue;
    if (!contains(connection->id_)) {
      found("connection " + to_string(connection->id_) + " missing in the table");
    }
    for (const Membership& membership : connection->memberships) {
      if (membership.index >= membership.part->slots.size() || membership.slot().connection != connection.get()) {
        found("a member of room " + membership.room->key.name + " out of its place");
      }
    }
  }
  for (const LoopPtr& other : loops()) {
    if (other->buried) continue;
    // Only a refused task tells that an executor has stopped: where nobody has posted since, this one asks.
    const bool refuses = other.get() != &loop && !post(other, [](ConnectionManager&) {});
    if (refuses || other->stopped) bury(other);
  }
  for (const RoomPtr& room : rooms_.all()) settle_room(loop, room);
  addresses_.prune(options_, now_here);
  bytes_.prune();
  if (options_.awareness_ttl > std::chrono::milliseconds(0)) {
    mark_removed(loop, awareness_->expire(now_here - options_.awareness_ttl));
  }
}

MUSTER_INLINE void ConnectionManager::bury(const LoopPtr& loop) {
  if (loop->buried.exchange(true)) return;
  // The executor promised that nothing of it runs any more: what was its own is ours now.
  const std::vector<ConnectionPtr> connections = loop->connections;
  for (const ConnectionPtr& connection : connections) {
    ++counters_.lost;
    if (connection->transport) connection->transport->abort();
    disconnect(*connection, CloseReason::lost, "The executor has stopped", true);
  }
  for (const RoomPtr& room : rooms_.all()) {
    bool flush = false;
    {
      detail::Lock lock(room->mutex);
      for (const auto& part : room->parts) {
        if (part->loop != loop) continue;
        part->pending.clear();
        part->batch = {};
        part->bytes = 0;
        room->count_waiting();
        flush = true;
      }
    }
    if (flush) flush_state(*loop, room);  // what was to be flushed here, and told to those elsewhere
  }
  loop->replies = {};
  loop->draining.clear();
  run_graces(*loop, TimePoint::max());
  while (!loop->state_flushes.empty()) {
    const RoomPtr room = loop->state_flushes.begin()->second;
    loop->state_flushes.erase(loop->state_flushes.begin());
    if (room) {
      flush_state(*loop, room);
    } else {
      flush_announcements(*loop);
    }
  }
}

}  // namespace MUSTER_ABI
}  // namespace muster
