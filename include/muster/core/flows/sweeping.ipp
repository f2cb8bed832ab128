// A round, a slice a task; and what is tried again.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "muster/core/flows/sweeping.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// One round over a loop's connections and its share of the rooms, a slice a task.
struct Sweeping::Round {
  std::size_t connections = 0;  ///< [0, connections) are still to be looked at
  RoomTable::Cursor rooms;
  std::shared_ptr<Latch> findings;
};

MUSTER_INLINE void Sweeping::run_now(Function<void(std::size_t)> done) {
  const std::shared_ptr<Latch> findings(new Latch(std::move(done)));
  bool rooms_swept = false;
  for (const LoopPtr& loop : loops_.all()) {
    if (loop->abandoned) continue;
    const bool posted = loop->post([this, loop, findings, with_rooms = !rooms_swept] {
      run(*loop, findings, with_rooms ? RoomTable::Cursor{} : RoomTable::no_rooms());
    });
    if (!posted) ending_.abandon(loop);
    rooms_swept = rooms_swept || posted;
  }
  if (rooms_swept) return;
  for (RoomTable::Cursor all; rooms_.sweep_some(all, task_slice);) continue;
}

MUSTER_INLINE void Sweeping::run_again(Loop& loop) {
  loop.arm(loop.sweep_timer, loop.executor->now() + options_.sweep_interval);
  RoomTable::Cursor share;
  const auto place = loops_.place_of(loop);
  share.shard = place.first;
  share.step = place.second;
  share.step = std::max<std::size_t>(share.step, 1);
  run(loop, std::shared_ptr<Latch>(new Latch(nullptr)), share);
}

MUSTER_INLINE void Sweeping::run(Loop& loop, std::shared_ptr<Latch> findings, RoomTable::Cursor rooms) {
  retry(loop);
  ending_.abandon_stopped(loop);
  admission_.prune(loop.executor->now());
  bytes_.prune();
  state_flush_.announce_rest(loop);
  const std::shared_ptr<Round> round(new Round());
  round->connections = loop.connections.size();
  round->rooms = rooms;
  round->findings = std::move(findings);
  go_on(loop, round);
}

MUSTER_INLINE void Sweeping::go_on(Loop& loop, const std::shared_ptr<Round>& round) {
  // From the last to the first: a removal puts the last, seen already, into an earlier place.
  std::size_t left = std::min(round->connections, loop.connections.size());
  std::size_t looked = 0;
  for (; left > 0 && looked < task_slice; ++looked) check(*loop.connections[--left], *round->findings);
  round->connections = left;
  bool more = left > 0;
  if (looked < task_slice) {
    std::vector<RoomPtr> rooms;
    more = table_.some(round->rooms, task_slice - looked, rooms);
    for (const RoomPtr& room : rooms) {
      (void)loop.contain("The sweep", [&] {
        rooms_.settle(loop, room);
        catch_up_room(loop, room);
      });
    }
  }
  if (!more) return;
  const LoopPtr shared = loop.shared_from_this();
  (void)shared->post([this, shared, round] { go_on(*shared, round); });
}

MUSTER_INLINE void Sweeping::check(ConnectionState& connection, Latch& findings) {
  if (!connection.live()) return;
  const auto found = [&](const std::string& what) {
    findings.count();
    ++findings_;
    failures_.log(LogLevel::error, "The sweep found " + what);
  };
  if (directory_.known(connection.id_) == nullptr)
    found("connection " + to_string(connection.id_) + " missing in the table");
  for (const Membership& membership : connection.memberships) {
    if (membership.index >= membership.part->slots.size() || membership.slot().connection != &connection) {
      found("a member of room " + membership.room->key.name + " out of its place");
    }
  }
}

/// Tells what waits in a room though nobody is about to tell it, for a post or a plan has failed.
MUSTER_INLINE void Sweeping::catch_up_room(Loop& loop, const RoomPtr& room) {
  std::vector<RoomPartPtr> flushes;
  std::vector<std::string> gone;
  bool schedule = false;
  {
    Lock lock(room->mutex);
    flushes.reserve(room->parts.size());
    if (std::exchange(room->offline_untold, false)) {
      room->members.for_each_gone([&](const std::string& user) { gone.push_back(user); });
    }
    for (const auto& part : room->parts) {
      RoomPart::Shared& shared = room->shared_of(*part);
      if (!shared.pending.empty() && !std::exchange(shared.flush_posted, true)) flushes.push_back(part);
    }
    const bool waits = !room->presence.empty() || !room->awareness.empty() || !room->paced.read().empty();
    schedule = waits && !room->state_flush_running && !std::exchange(room->state_flush_due, true);
  }
  fan_out_.post_flushes(room, flushes);
  if (schedule) state_flush_.plan(loop, room);
  for (const std::string& user : gone) {
    const UserKey key{room->key.tenant, user};
    if (!users_.contains(key)) edges_.tell_offline(loop, key, room);
  }
}

MUSTER_INLINE void Sweeping::expire_awareness(Loop& loop) {
  loop.arm(loop.awareness_timer, loop.executor->now() + awareness_check(options_));
  Clearings expired = state_flush_.clearing_for(loop, {}, nullptr);
  expired.front().removals = awareness_.expire(loop.executor->now() - options_.awareness_ttl);
  expired.front().removed = true;
  state_flush_.clear_awareness(loop, expired);
}

MUSTER_INLINE void Sweeping::retry(Loop& loop) {
  for (std::size_t i = loop.connections.size(); i > 0; --i) {
    if (i > loop.connections.size()) continue;
    const ConnectionPtr connection = loop.connections[i - 1];
    if (!connection->ends_soon || connection->ended()) continue;
    ending_.end(*connection, connection->close_reason.value_or(CloseReason::internal_error), {}, connection->cut);
  }
  if (!loop.dirty.empty() && !loop.write_posted) turn_.end(loop);
  state_flush_.clear_awareness(loop);
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
