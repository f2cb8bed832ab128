// Making, subscribing to, ending and relieving rooms.
#pragma once

#include <algorithm>
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

class Rooms::Hold {
 public:
  Hold(Rooms& of, RoomPtr room, const LoopPtr& loop) : of_(of), room_(std::move(room)), loop_(loop) {
    Lock lock(room_->mutex);
    is_valid_ = !room_->retired;
    if (is_valid_) {
      ++room_->holders;
    } else {
      room_->replaced = true;
    }
  }
  ~Hold() {
    if (!is_valid_) return;
    {
      Lock lock(room_->mutex);
      if (--room_->holders != 0 || !room_->members.empty()) return;
    }
    // Not here: a broker may let go of its last question under a lock of its own. Where nothing is posted, the sweep
    // looks at the room.
    const LoopPtr loop = loop_.lock();
    if (!loop) return;
    try {
      (void)loop->post([of = &of_, room = room_] { (void)of->retire(room); });
    } catch (...) {
    }
  }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

  /// False: the room was retired before.
  [[nodiscard]] bool is_valid() const noexcept { return is_valid_; }
  [[nodiscard]] const RoomPtr& room() const noexcept { return room_; }
  /// The broker has begun to carry it, whether or not the one who asked is there still.
  void subscribed(const Position& position) {
    Lock lock(room_->mutex);
    if (std::exchange(room_->subscribed, true)) return;
    room_->unsubscribe_due = false;
    room_->epoch = position.epoch;
    room_->last_seq = std::max(room_->last_seq, position.seq);
  }

 private:
  Rooms& of_;  ///< for the loop's tasks, which run only while the manager is there
  const RoomPtr room_;
  const std::weak_ptr<Loop> loop_;
  bool is_valid_ = false;
};

/// While one of these lives nobody subscribes to the room.
class Rooms::Unsubscribing {
 public:
  Unsubscribing(Rooms& of, const RoomKey& key) : of_(of.replicating_.is_on() ? &of : nullptr) {
    if (of_ == nullptr) return;
    Lock lock(of_->unsubscribing_mutex_);
    at_ = of_->unsubscribing_.insert(key);
  }
  ~Unsubscribing() {
    if (of_ == nullptr) return;
    Lock lock(of_->unsubscribing_mutex_);
    of_->unsubscribing_.erase(at_);
  }
  Unsubscribing(const Unsubscribing&) = delete;
  Unsubscribing& operator=(const Unsubscribing&) = delete;

 private:
  Rooms* const of_;
  std::multiset<RoomKey>::iterator at_;
};

MUSTER_INLINE Rooms::HoldPtr Rooms::hold(ConnectionState& connection, const RoomPtr& room) {
  HoldPtr hold(new Hold(*this, room, connection.loop));
  if (hold->is_valid()) return hold;
  table_.erase(room);
  return nullptr;
}

MUSTER_INLINE bool Rooms::subscribe_first(ConnectionState& connection, const HoldPtr& hold,
                                          Function<void(ConnectionState&, Error*)> then) {
  const RoomPtr& room = hold->room();
  {
    Lock lock(room->mutex);
    if (room->subscribed) return false;
  }
  bool waits = false;
  {
    Lock lock(unsubscribing_mutex_);
    waits = unsubscribing_.count(room->key) != 0;
  }
  if (waits) {  // the end of the room before this one would end this subscription, too
    questions_.ask<bool>(
        connection,
        [&](Reply<bool> reply) {
          if (!connection.loop->post([reply] { reply(true); })) reply(true);
        },
        [this, hold, then = std::move(then)](ConnectionState& joining, bool) mutable {
          // Kept apart: whether there was something to wait for is found out by the next look.
          const auto shared = std::shared_ptr<Function<void(ConnectionState&, Error*)>>(
              new Function<void(ConnectionState&, Error*)>(std::move(then)));
          const bool asked =
              subscribe_first(joining, hold, [shared](ConnectionState& same, Error* error) { (*shared)(same, error); });
          if (!asked) (*shared)(joining, nullptr);
        },
        true);
    return true;
  }
  questions_.ask<Result<Position>>(
      connection,
      [&](Reply<Result<Position>> reply) {
        replicating_.subscribe(room->key, Reply<Result<Position>>([hold, reply](Result<Position> position) {
                                 if (position) hold->subscribed(position.value());
                                 reply(std::move(position));
                               }));
      },
      [hold, then = std::move(then)](ConnectionState& joining, const Result<Position>& position) mutable {
        if (position) return then(joining, nullptr);
        Error error{errc::unavailable, position.error().message, std::chrono::seconds(1)};
        then(joining, &error);
      },
      Error{errc::unavailable, "The broker did not answer in time", std::chrono::seconds(1)});
  return true;
}

MUSTER_INLINE bool Rooms::retire(const RoomPtr& room) {
  const TimePoint now = loops_.read_clock();
  bool unsubscribe = false;
  // Before the room is out of the table: who makes it anew must not be unsubscribed with this one.
  const Unsubscribing unsubscribing(*this, room->key);
  {
    Lock lock(room->mutex);
    room->history.expire(now, room->options());
    if (IdempotencyKeys* const keys = room->keys.get()) {
      keys->expire(now, options_.idempotency_age);
      if (keys->size() == 0) room->keys.drop();
    }
    room->settle();
    if (!room->members.empty() || room->retired) return false;
    if (room->told_open || room->telling) return true;
    if (room->holders != 0) return false;
    if (!room->history.empty() && !replicating_.is_on()) return false;
    unsubscribe = std::exchange(room->subscribed, false) || room->unsubscribe_due;
    room->unsubscribe_due = false;
    room->retired = true;
    room->paced.drop();
    room->count_waiting();
  }
  if (replicating_.is_on()) {
    try {
      if (unsubscribe) replicating_.unsubscribe(room->key);
      for (const AwarenessEntry& entry : awareness_.get_all(room->key)) {  // what other nodes' clients left here
        if (directory_.locate(entry.owner.connection)) continue;  // its disconnect is under way, and tells of it
        (void)awareness_.forget(room->key, entry.client);         // removed, it could not come again as it is
      }
    } catch (...) {  // the sweep tries again, should nobody join until then
      Lock lock(room->mutex);
      room->unsubscribe_due = unsubscribe && !room->replaced;  // else it is the other's, who subscribes for itself
      room->retired = room->replaced;
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
      room->has_data = true;  // while its end is told, too
    }
    (void)hooks_.room_edge(loop, room->key, open);
    if (open) continue;
    Data data;  // ends after the section
    Lock lock(room->mutex);
    room->has_data = false;
    if (Data* const kept = room->data.get()) std::swap(data, *kept);
    room->data.drop();
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
          victim->keys.get()->drop_oldest();
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
