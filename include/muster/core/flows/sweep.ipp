// The sweep: checks the tables against each other, ends what time has ended, and does what could not be done before.
#pragma once

#include <algorithm>
#include <tuple>

#include "muster/core/outward/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// One round over a loop's connections and its share of the rooms, a slice a task.
struct ConnectionManager::Sweep {
  std::size_t connections = 0;  ///< [0, connections) are still to be looked at
  core::RoomTable::Cursor rooms;
  std::shared_ptr<core::Latch> findings;
};

MUSTER_INLINE void ConnectionManager::sweep_now(Function<void(std::size_t)> done) {
  const auto findings = std::make_shared<core::Latch>(std::move(done));
  bool rooms_swept = false;
  for (const LoopPtr& loop : loops_.all()) {
    if (loop->buried) continue;
    const bool posted = post(loop, [loop, findings, with_rooms = !rooms_swept](ConnectionManager& manager) {
      manager.sweep(*loop, findings, with_rooms ? core::RoomTable::Cursor{} : core::RoomTable::no_rooms());
    });
    if (!posted) ending_.abandon(loop);
    rooms_swept = rooms_swept || posted;
  }
  if (rooms_swept) return;
  for (core::RoomTable::Cursor all; rooms_.sweep_some(all, core::task_slice);) continue;
}

/// The timer's: each loop takes its share of the rooms.
MUSTER_INLINE void ConnectionManager::sweep_again(Loop& loop) {
  loop.arm(loop.sweep_timer, loop.executor->now() + options_.sweep_interval);
  core::RoomTable::Cursor share;
  std::tie(share.shard, share.step) = loops_.place_of(loop);
  share.step = std::max<std::size_t>(share.step, 1);
  sweep(loop, std::make_shared<core::Latch>(nullptr), share);
}

MUSTER_INLINE void ConnectionManager::sweep(Loop& loop, std::shared_ptr<core::Latch> findings,
                                            core::RoomTable::Cursor rooms) {
  retry(loop);
  ending_.abandon_stopped(loop);
  admission_.prune(loop.executor->now());
  bytes_.prune();
  state_flush_.announce_rest(loop);
  const auto round = std::make_shared<Sweep>();
  round->connections = loop.connections.size();
  round->rooms = rooms;
  round->findings = std::move(findings);
  sweep_on(loop, round);
}

MUSTER_INLINE void ConnectionManager::sweep_on(Loop& loop, const std::shared_ptr<Sweep>& round) {
  // From the last to the first: a removal puts the last, seen already, into an earlier place.
  std::size_t left = std::min(round->connections, loop.connections.size());
  std::size_t looked = 0;
  for (; left > 0 && looked < core::task_slice; ++looked) check(*loop.connections[--left], *round->findings);
  round->connections = left;
  bool more = left > 0;
  if (looked < core::task_slice) {
    std::vector<RoomPtr> rooms;
    more = table_.some(round->rooms, core::task_slice - looked, rooms);
    for (const RoomPtr& room : rooms) {
      (void)loop.contain("The sweep", [&] {
        rooms_.settle(loop, room);
        catch_up_room(loop, room);
      });
    }
  }
  if (!more) return;
  const LoopPtr shared = loop.shared_from_this();
  (void)post(shared, [shared, round](ConnectionManager& manager) { manager.sweep_on(*shared, round); });
}

MUSTER_INLINE void ConnectionManager::check(ConnectionState& connection, core::Latch& findings) {
  if (!connection.live()) return;
  const auto found = [&](const std::string& what) {
    findings.count();
    ++counters_.sweep_findings;
    failures_.log(LogLevel::error, "The sweep found " + what);
  };
  if (!contains(connection.id_)) found("connection " + to_string(connection.id_) + " missing in the table");
  for (const Membership& membership : connection.memberships) {
    if (membership.index >= membership.part->slots.size() || membership.slot().connection != &connection) {
      found("a member of room " + membership.room->key.name + " out of its place");
    }
  }
}

/// Tells what waits in a room though nobody is about to tell it, for a post or a plan has failed.
MUSTER_INLINE void ConnectionManager::catch_up_room(Loop& loop, const RoomPtr& room) {
  std::vector<core::RoomPartPtr> flushes;
  std::vector<std::string> gone;
  bool schedule = false;
  {
    core::Lock lock(room->mutex);
    flushes.reserve(room->parts.size());
    if (std::exchange(room->offline_untold, false)) {
      for (const auto& [user, count] : room->users) {
        if (count == 0) gone.push_back(user);
      }
    }
    for (const auto& part : room->parts) {
      if (!part->pending.empty() && !std::exchange(part->flush_posted, true)) flushes.push_back(part);
    }
    const bool waits = !room->presence.empty() || !room->awareness.empty();
    schedule = waits && !room->state_flush_running && !std::exchange(room->state_flush_due, true);
  }
  fan_out_.post_flushes(room, flushes);
  if (schedule) state_flush_.plan(loop, room);
  for (const std::string& user : gone) {
    const UserKey key{room->key.tenant, user};
    if (!users_.contains(key)) edges_.tell_offline(loop, key, room);
  }
}

MUSTER_INLINE void ConnectionManager::expire_awareness(Loop& loop) {
  loop.arm(loop.awareness_timer, loop.executor->now() + core::awareness_check(options_));
  core::Clearings expired = state_flush_.clearing_for(loop, {}, nullptr);
  expired.front().removals = awareness_->expire(loop.executor->now() - options_.awareness_ttl);
  expired.front().removed = true;
  state_flush_.clear_awareness(loop, expired);
}

}  // namespace MUSTER_ABI
}  // namespace muster
