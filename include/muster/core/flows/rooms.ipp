// Rooms: joining and publishing.
#pragma once

#include <algorithm>

#include "muster/core/outward/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {

MUSTER_INLINE void ConnectionManager::enter(ConnectionState& connection, const Correlation& correlation,
                                            const RoomKey& key) {
  if (const Membership* there = connection.membership(key.name)) {  // joining again changes nothing
    const RoomPtr room = there->room;
    Entered again;
    {
      core::Lock lock(room->mutex);
      again.position = {room->epoch, room->last_seq};
      again.member_count = room->member_count();
      again.list = room->list_for_newcomer(again.members, options_.presence_scope != PresenceScope::none);
    }
    tell_joined(connection, &correlation, room, again);
    return;
  }
  if (options_.rooms_per_connection != 0 && connection.memberships.size() >= options_.rooms_per_connection) {
    writer_.tell_error(connection, &correlation, {errc::too_many_rooms, "The connection is in too many rooms", {}});
    return;
  }
  const RoomPtr room = room_for(connection, correlation, key);
  if (!room) return;
  if (replicating_.is_on() &&
      replicating_.subscribe_first(connection, room,
                                   [this, correlation, key, room](ConnectionState& joining, Error* error) {
                                     if (error == nullptr) return enter(joining, correlation, key);
                                     (void)retire_if_empty(room);
                                     writer_.tell_error(joining, &correlation, std::move(*error));
                                   })) {
    return;
  }
  Entered entered = take_place(connection, room);
  if (entered.retired) {  // it ended between finding and entering
    enter(connection, correlation, key);
    return;
  }
  if (entered.error) {
    writer_.tell_error(connection, &correlation, std::move(*entered.error));
    return;
  }
  directory_.publish(connection);
  tell_joined(connection, &correlation, room, entered);
  if (!after_joined(connection, room, entered)) disconnect(connection, CloseReason::internal_error, {});
}

MUSTER_INLINE RoomPtr ConnectionManager::find_or_make(const RoomKey& key) {
  if (RoomPtr room = rooms_.find(key)) return room;
  return rooms_.find_or_add(
      std::make_shared<RoomState>(key, options_.room_options(key.name), entropy_.epoch(), bytes_.account(key.tenant)));
}

/// Makes the connection a member, if the room takes it. With a position it goes on from there.
MUSTER_INLINE ConnectionManager::Entered ConnectionManager::take_place(ConnectionState& connection, const RoomPtr& room,
                                                                       std::optional<Position> from) {
  Entered entered = admit(connection, *room, from);
  if (entered.retired) {
    rooms_.erase(room);
    return entered;
  }
  if (entered.error) {
    (void)retire_if_empty(room);
    return entered;
  }
  // Both lists have memory for it.
  core::MemberSlot slot;
  slot.connection = &connection;
  slot.next_seq = entered.next_seq;
  slot.joined_serial = entered.serial;
  connection.memberships.push_back(
      {room, entered.part, static_cast<std::uint32_t>(entered.part->slots.size()), false, nullptr});
  entered.part->slots.push_back(slot);
  connection.status_ = ConnectionStatus::in_room;
  if (entered.flush_state) schedule_state_flush(*connection.loop, room);
  if (entered.opens) tell_room_edges(*connection.loop, room);
  if (!entered.kept)
    replicating_.member(*connection.loop, connection.member, connection.identity_->user, room->key, true);
  return entered;
}

/// False: a hook threw.
MUSTER_INLINE bool ConnectionManager::after_joined(ConnectionState& connection, const RoomPtr& room,
                                                   const Entered& entered) {
  connection.membership(room->key.name)->told = true;
  return hooks_.joined(connection, room->key, {entered.kept});
}

/// Checks the capacity and adds the member in one section: the limit and the fact are one. A session that comes back
/// has its place still.
MUSTER_INLINE ConnectionManager::Entered ConnectionManager::admit(ConnectionState& connection, RoomState& room,
                                                                  std::optional<Position> from) {
  Entered entered;
  const std::string& user = connection.identity_->user;
  const auto full = [&] {
    const std::size_t capacity = room.options.room_capacity;
    if (capacity == 0) return false;
    if (room.options.capacity_counts == CapacityCounts::connections) return room.members.size() >= capacity;
    if (room.present_users < capacity) return false;
    const auto of_user = room.users.find(user);
    return of_user == room.users.end() || of_user->second == 0;
  };
  const TimePoint now_here = connection.loop->executor->now();
  core::Lock lock(room.mutex);
  room.history.expire(now_here, room.options);
  room.settle();
  if (room.members.empty() && room.history.empty() && room.last_seq != 0 && !replicating_.is_on()) room.retired = true;
  if (replicating_.is_on() && !room.subscribed)
    room.retired = true;  // made anew since it was subscribed to: it would hear nothing
  if (room.retired) {
    entered.retired = true;
    return entered;
  }
  const auto place = room.members.find(connection.member);
  entered.kept = place != room.members.end();
  if (!entered.kept && full()) {
    entered.error = Error{errc::room_full,
                          "The room takes " + std::to_string(room.options.room_capacity) +
                              (room.options.capacity_counts == CapacityCounts::users ? " users" : " connections") +
                              ", and they are there",
                          {}};
    return entered;
  }
  // All that may fail comes first: what follows is the room's and the connection's in one.
  RoomPart& part = room.part_on(connection.loop);
  core::make_room(part.slots);
  core::make_room(connection.memberships);
  if (from && from->epoch != room.epoch) {
    entered.next_seq = 1;  // all of this order is new to it
  } else if (from && from->seq <= room.last_seq) {
    entered.next_seq = from->seq + 1;
    entered.recovered =
        from->seq == room.last_seq || (!room.history.empty() && room.history.first_seq() <= from->seq + 1);
  } else {
    entered.next_seq = room.last_seq + 1;
  }
  if (entered.next_seq <= room.last_seq) {
    room.history.read(entered.next_seq, options_.unsent_soft_bytes, entered.replay);
  }
  const bool tells = options_.presence_scope != PresenceScope::none;
  if (entered.kept) {
    place->second.part = &part;
  } else {
    entered.opens = room.members.empty();
    room.add_member(connection.member, user, part, options_.presence_scope);
  }
  try {
    entered.list = room.list_for_newcomer(entered.members, tells);
  } catch (...) {
    if (entered.kept) {
      place->second.part = nullptr;
    } else {
      (void)room.remove_member(room.members.find(connection.member), options_.presence_scope);
    }
    throw;
  }
  ++part.members;
  entered.part = &part;
  entered.position = {room.epoch, room.last_seq};
  entered.serial = room.last_serial;
  entered.member_count = room.member_count();
  entered.flush_state = !entered.kept && tells && !std::exchange(room.state_flush_due, true);
  return entered;
}

MUSTER_INLINE void ConnectionManager::tell_joined(ConnectionState& connection, const Correlation* correlation,
                                                  const RoomPtr& room, const Entered& entered) {
  event::RoomJoined joined;
  joined.room = room->key.name;
  joined.position = entered.position;
  joined.members = entered.list ? &entered.members : nullptr;
  joined.member_count = entered.member_count;
  joined.recovered = entered.recovered;
  writer_.tell_asked(connection, joined, correlation);
  tell_awareness(connection, nullptr, room->key);
}

MUSTER_INLINE void ConnectionManager::publish_draft(const RoomKey& key, Draft draft, PublishDone done) {
  if (draft.delivery.kind() == Delivery::Kind::queued) {
    if (done) done(Error{errc::not_supported, "A room has no offline queue; publish reliable or latest", {}});
    return;
  }
  if (!replicating_.is_on()) {
    const Result<Published> published = publish_here(key, std::move(draft));
    if (done) done(published);
    return;
  }
  if (auto full = refuse_when_full(key)) {
    if (done) done(std::move(*full));
    return;
  }
  if (!draft.idempotency_key.empty()) {
    publish_once(key, std::move(draft), std::move(done));
    return;
  }
  BrokerMessage message;
  message.room = key;
  message.data = std::move(draft.data);
  message.delivery = std::move(draft.delivery);
  message.from = draft.from;
  message.from_user = std::move(draft.from_user);
  message.exclude = draft.exclude;
  std::size_t reached = 0;
  if (const RoomPtr room = rooms_.find(key)) {
    core::Lock lock(room->mutex);
    reached = room->reach(message.exclude);
  }
  replicating_.publish(std::move(message),
                       Reply<Result<Position>>([done = std::move(done), reached](Result<Position> position) mutable {
                         if (!done) return;
                         if (position) {
                           done(Published{position.value(), reached});
                         } else {
                           done(position.error());
                         }
                       }));
}

MUSTER_INLINE Result<Published> ConnectionManager::publish_here(const RoomKey& key, Draft draft) {
  Published published;
  if (auto full = refuse_when_full(key)) return std::move(*full);
  const auto entry = std::make_shared<core::Entry>();
  entry->data = std::move(draft.data);
  entry->from = draft.from;
  entry->from_user = std::move(draft.from_user);
  entry->exclude = draft.exclude;
  entry->latest_key = draft.delivery.key();
  entry->latest = draft.delivery.kind() == Delivery::Kind::latest;
  entry->at = loops_.now();
  std::vector<core::RoomPartPtr> flushes;
  RoomPtr room;
  for (;;) {
    room = rooms_.find(key);
    const bool kept = !entry->latest && core::keeps_history(options_.room_options(key.name));
    if (!room && !kept) return published;
    if (!room) {
      if (!loops_.has_clock()) sweep_unattended();
      room = find_or_make(key);
    }
    std::uint64_t conflated = 0;
    bool retired = false;
    {
      core::Lock lock(room->mutex);
      retired = room->retired;
      if (!retired) {
        room->history.expire(entry->at, room->options);
        room->settle();
        if (room->members.empty() && room->history.empty() && !kept) return published;
        if (!draft.idempotency_key.empty()) {
          if (const auto* first = room->keys.find(entry->from_user, draft.idempotency_key, room->epoch, entry->at,
                                                  options_.idempotency_age)) {
            published.position = first->position;
            return published;
          }
        }
        // All that may fail comes first, and leaves no trace: a number that is given out is in the history.
        core::prepare_pending(*room, 1, flushes);
        const bool keyed = !draft.idempotency_key.empty();
        if (!entry->latest) published.position = {room->epoch, entry->seq = room->last_seq + 1};
        if (keyed) {
          room->keys.remember(entry->from_user,
                              {draft.idempotency_key, room->epoch, published.position, true, entry->at, {}},
                              options_.idempotency_keys, options_.idempotency_age);
        }
        if (!entry->latest) {
          try {
            room->history.append(entry, room->options);
          } catch (...) {
            if (keyed) room->keys.forget(entry->from_user, draft.idempotency_key);
            throw;
          }
          room->last_seq = entry->seq;
          ++room->published;
        }
        entry->serial = ++room->last_serial;
        room->settle();
        published.reached = room->reach(entry->exclude);
        core::append_pending(*room, entry, flushes, conflated);
      }
    }
    if (conflated != 0) counters_.conflated += conflated;
    if (!retired) break;
    rooms_.erase(room);
  }
  fan_out_.post_flushes(room, flushes);
  relieve(room);
  return published;
}

/// A room's message without a seq, to one member.
MUSTER_INLINE std::size_t ConnectionManager::send_in_room(ConnectionId id, std::string room, const Payload& payload) {
  const ConnectionPtr connection = directory_.locate(id);
  if (!connection) return 0;
  const bool posted = post(connection->loop, [connection, room = std::move(room), payload](ConnectionManager& manager) {
    if (!connection->live() || connection->membership(room) == nullptr) return;
    event::RoomMessage message;
    message.room = room;
    message.data = &payload;
    manager.writer_.tell(*connection, message);
  });
  return posted ? 1 : 0;
}

}  // namespace MUSTER_ABI
}  // namespace muster
