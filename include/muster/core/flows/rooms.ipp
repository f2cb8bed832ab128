// Making, ending and relieving rooms.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "muster/core/flows/rooms.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE RoomPtr Rooms::find_or_make(const RoomKey& key) {
  if (RoomPtr room = table_.find(key)) return room;
  return table_.find_or_add(
      std::make_shared<RoomState>(key, options_.room_options(key.name), entropy_.epoch(), bytes_.account(key.tenant)));
}

MUSTER_INLINE bool Rooms::retire(const RoomPtr& room) {
  const TimePoint now = loops_.read_clock();
  bool unsubscribe = false;
  // Before the room is out of the table: who makes it anew must not be unsubscribed with this one.
  const Replicating::Unsubscribing unsubscribing(replicating_, room->key);
  {
    Lock lock(room->mutex);
    room->history.expire(now, room->options);
    room->keys.expire(now, options_.idempotency_age);
    room->settle();
    if (!room->members.empty() || room->retired) return false;
    if (room->told_open || room->telling) return true;
    if (!room->history.empty() && !replicating_.is_on()) return false;
    unsubscribe = std::exchange(room->subscribed, false) || room->unsubscribe_due;
    room->unsubscribe_due = false;
    room->retired = true;
  }
  if (unsubscribe) {
    try {
      replicating_.unsubscribe(room->key);
      for (const AwarenessEntry& entry : awareness_.get_all(room->key)) {  // what other nodes' clients left here
        if (directory_.locate(entry.owner.connection)) continue;  // its disconnect is under way, and tells of it
        (void)awareness_.forget(room->key, entry.client);         // removed, it could not come again as it is
      }
    } catch (...) {  // the sweep tries again, should nobody join until then
      Lock lock(room->mutex);
      room->unsubscribe_due = true;
      room->retired = false;
      throw;
    }
  }
  table_.erase(room);
  return false;
}

MUSTER_INLINE void Rooms::settle(Loop& loop, const RoomPtr& room) {
  if (!retire(room)) return;
  tell_edges(loop, room);
  (void)retire(room);
}

MUSTER_INLINE void Rooms::tell_edges(Loop& loop, const RoomPtr& room) {
  for (bool again = false;; again = true) {
    bool open = false;
    {
      Lock lock(room->mutex);
      if (room->telling && !again) return;  // who tells now looks again
      open = !room->members.empty();
      room->telling = room->told_open != open;
      if (!room->telling) return;
      room->told_open = open;
    }
    (void)hooks_.room_edge(loop, room->key, open);
  }
}

/// What a publish added is dropped elsewhere, so the work is paid by what came in. Should others keep too little, or
/// be too many to ask, the room drops its own: then the budget is as it was before.
MUSTER_INLINE void Rooms::relieve(const RoomPtr& room) {
  ByteBudget::list(*room->account, room);
  constexpr int most_rooms = 64;
  for (int asked = 0; !bytes_.fits(*room->account) && asked <= most_rooms; ++asked) {
    RoomPtr victim = room;
    if (asked < most_rooms) victim = std::static_pointer_cast<RoomState>(bytes_.victim(room->account));
    if (!victim && room->held == 0) return;  // nobody keeps anything: it is what slow peers wait for
    if (!victim) victim = room;
    std::uint64_t dropped = 0;
    bool over = false;
    {
      Lock lock(victim->mutex);
      victim->settle();
      while (!bytes_.fits(*room->account) && victim->held != 0) {
        if (victim->history.empty()) {
          victim->keys.drop_oldest();
        } else {
          victim->history.drop_oldest();
          ++dropped;
        }
        victim->settle();
      }
      over = victim->members.empty() && victim->history.empty();
    }
    history_dropped_ += dropped;
    if (over) (void)retire(victim);  // it was there for its history only
  }
}

/// What waits cannot be given up: once it is beyond the limit by itself, nothing is added to it.
MUSTER_INLINE std::optional<Error> Rooms::refuse_when_full(const RoomKey& key) {
  if (!bytes_.is_full()) return std::nullopt;
  if (const RoomPtr room = table_.find(key)) relieve(room);
  ++refused_when_full_;
  return Error{errc::unavailable, "Too much waits for connections that are behind (the server's option total_bytes)",
               std::chrono::seconds(1)};
}

/// For while there is no executor: rooms that were published to have a past, and no timer that would end it.
MUSTER_INLINE bool Rooms::sweep_some(RoomTable::Cursor& at, std::size_t most) {
  std::vector<RoomPtr> rooms;
  const bool more = table_.some(at, most, rooms);
  for (const RoomPtr& room : rooms) (void)retire(room);
  return more;
}

/// A room more is made while nobody sweeps: a few of the others are looked at.
MUSTER_INLINE void Rooms::sweep_unattended() {
  constexpr std::size_t few = 16;
  RoomTable::Cursor at;
  {
    Lock lock(unattended_mutex_);
    at = unattended_;
  }
  if (!sweep_some(at, few)) at = {};
  Lock lock(unattended_mutex_);
  unattended_ = at;
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
