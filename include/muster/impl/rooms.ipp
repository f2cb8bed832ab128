// Rooms: joining, leaving, publishing, retiring.
#pragma once

#include <algorithm>

#include "muster/detail/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {

MUSTER_INLINE void ConnectionManager::enter(ConnectionState& connection, const Correlation& correlation,
                                            const RoomKey& key) {
  if (const Membership* there = connection.membership(key.name)) {  // joining again changes nothing
    const RoomPtr room = there->room;
    Entered again;
    {
      detail::Lock lock(room->mutex);
      again.position = {room->epoch, room->last_seq};
      again.member_count = room->member_count();
      again.list = room->list_for_newcomer(again.members, options_.presence_scope != PresenceScope::none);
    }
    tell_joined(connection, &correlation, room, again);
    return;
  }
  if (options_.rooms_per_connection != 0 && connection.memberships.size() >= options_.rooms_per_connection) {
    tell_error(connection, &correlation, {errc::too_many_rooms, "The connection is in too many rooms", {}});
    return;
  }
  const RoomPtr room = room_for(connection, correlation, key);
  if (!room) return;
  if (broker_ && subscribe_first(connection, room, [this, correlation, key](ConnectionState& joining, Error* error) {
        if (error == nullptr) {
          enter(joining, correlation, key);
        } else {
          tell_error(joining, &correlation, std::move(*error));
        }
      })) {
    return;
  }
  Entered entered = take_place(connection, room);
  if (entered.retired) {  // it ended between finding and entering
    enter(connection, correlation, key);
    return;
  }
  if (entered.error) {
    tell_error(connection, &correlation, std::move(*entered.error));
    return;
  }
  publish_info(connection);
  tell_joined(connection, &correlation, room, entered);
  if (!after_joined(connection, room, entered)) disconnect(connection, CloseReason::internal_error, {});
}

MUSTER_INLINE RoomPtr ConnectionManager::find_or_make(const RoomKey& key) {
  if (RoomPtr room = rooms_.find(key)) return room;
  return rooms_.find_or_add(std::make_shared<RoomState>(key, options_.room_options(key.name), make_epoch(),
                                                         bytes_.account(key.tenant)));
}

/// Makes the connection a member, if the room takes it. With a position it goes on from there.
MUSTER_INLINE ConnectionManager::Entered ConnectionManager::take_place(ConnectionState& connection,
                                                                       const RoomPtr& room,
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
  detail::MemberSlot slot;
  slot.connection = &connection;
  slot.next_seq = entered.next_seq;
  slot.joined_serial = entered.serial;
  connection.memberships.push_back({room, entered.part, entered.part->slots.size(), nullptr});
  entered.part->slots.push_back(slot);
  connection.status_ = ConnectionStatus::in_room;
  if (entered.opens) tell_room_edges(*connection.loop, room);
  if (!entered.kept) replicate_member(connection.member, connection.identity_->user, room->key, true);
  return entered;
}

/// False: a hook threw.
MUSTER_INLINE bool ConnectionManager::after_joined(ConnectionState& connection, const RoomPtr& room,
                                                   const Entered& entered) {
  if (entered.flush_state) schedule_state_flush(*connection.loop, room);
  bool well = true;
  for (const auto& hook : extensions_.joined) {
    well = contain(connection, "on_joined", [&] { hook(connection, room->key, {entered.kept}); }) && well;
  }
  return well;
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
  bool known_full = false;
  if (detail::mutant(detail::Mutant::capacity_outside_lock)) {
    detail::Lock lock(room.mutex);
    known_full = full();
  }
  detail::Lock lock(room.mutex);
  room.history.expire(now_here, room.options);
  room.settle();
  if (room.members.empty() && room.history.empty() && room.last_seq != 0 && !broker_) room.retired = true;
  if (broker_ && !room.subscribed) room.retired = true;  // made anew since it was subscribed to: it would hear nothing
  if (room.retired && !detail::mutant(detail::Mutant::publish_to_retired_room)) {
    entered.retired = true;
    return entered;
  }
  const auto place = room.members.find(connection.member);
  entered.kept = place != room.members.end();
  if (!entered.kept && (detail::mutant(detail::Mutant::capacity_outside_lock) ? known_full : full())) {
    entered.error = Error{errc::room_full, "The room takes " + std::to_string(room.options.room_capacity) +
                                               (room.options.capacity_counts == CapacityCounts::users
                                                    ? " users"
                                                    : " connections") + ", and they are there", {}};
    return entered;
  }
  RoomPart& part = room.part_on(connection.loop);
  const bool tells = options_.presence_scope != PresenceScope::none;
  if (entered.kept) {
    place->second.part = &part;
  } else {
    entered.opens = room.members.empty();
    room.members[connection.member] = {user, &part};
    if (tells) room.presence.joined(connection.member, user);
    const auto [of_user, news] = room.users.try_emplace(user, 0);
    if (++of_user->second == 1) ++room.present_users;
    if (news && options_.presence_scope == PresenceScope::shared_rooms) room.presence.online(user);
  }
  ++part.members;
  entered.part = &part;
  entered.position = {room.epoch, room.last_seq};
  entered.next_seq = room.last_seq + 1;
  if (from && from->epoch != room.epoch) {
    entered.next_seq = 1;  // all of this order is new to it
  } else if (from && from->seq <= room.last_seq) {
    entered.next_seq = from->seq + (detail::mutant(detail::Mutant::replay_one_twice) && from->seq != 0 ? 0 : 1);
    entered.recovered = from->seq == room.last_seq ||
                        (!room.history.empty() && room.history.first_seq() <= from->seq + 1) ||
                        detail::mutant(detail::Mutant::call_gap_recovered);
  }
  if (entered.next_seq <= room.last_seq) {
    room.history.read(entered.next_seq, options_.unsent_soft_bytes, entered.replay);
  }
  entered.serial = room.last_serial;
  entered.member_count = room.member_count();
  entered.list = room.list_for_newcomer(entered.members, tells);
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
  tell_asked(connection, joined, correlation);
  tell_awareness(connection, nullptr, room->key);
}

MUSTER_INLINE void ConnectionManager::leave(ConnectionState& connection, std::size_t index,
                                            std::optional<CloseReason> reason, bool keep_place) {
  if (connection.live()) {  // what was published before this command is still owed
    Membership& leaving = connection.memberships[index];
    if (!feed_room(connection, leaving)) {
      std::uint64_t last = 0;
      {
        detail::Lock lock(leaving.room->mutex);
        last = leaving.room->last_seq;
      }
      event::Gap gap{leaving.room->key.name, leaving.slot().next_seq, last};
      if (gap.from <= gap.to) {
        connection.loop->counters.gaps.add();
        if (!detail::mutant(detail::Mutant::skip_gap)) tell(connection, gap);
      }
    }
  }
  const Membership membership = std::move(connection.memberships[index]);
  connection.memberships.erase(connection.memberships.begin() + static_cast<std::ptrdiff_t>(index));
  const RoomPtr& room = membership.room;
  RoomPart& part = *membership.part;
  auto& slots = part.slots;
  if (membership.index + 1 != slots.size()) {  // the last slot takes its place
    slots[membership.index] = slots.back();
    slots[membership.index].connection->membership(room->key.name)->index = membership.index;
  }
  slots.pop_back();

  {
    detail::Lock lock(room->mutex);
    --part.members;
    room->members.find(connection.member)->second.part = nullptr;
  }
  if (!reason) {  // a disconnect clears awareness in a step of its own
    mark_removed(*connection.loop, awareness_->remove_all_for_connection(connection.member, room->key));
  }
  if (!keep_place) give_up_place(*connection.loop, room, connection.member);
  if (!reason) connection.left_rooms.add(room);
  if (connection.status_ == ConnectionStatus::in_room && connection.memberships.empty()) {
    connection.status_ = ConnectionStatus::connected;
  }
  if (!reason) publish_info(connection);
  bool well = true;
  for (const auto& hook : extensions_.left) {
    well = contain(connection, "on_left", [&] { hook(connection, room->key, {reason, keep_place}); }) && well;
  }
  settle_room(*connection.loop, room);
  if (!well && !connection.ended()) doom(connection, CloseReason::internal_error);
}

/// Takes a member out that no connection speaks for, and tells the others.
MUSTER_INLINE void ConnectionManager::give_up_place(Loop& loop, const RoomPtr& room, ConnectionId member) {
  bool flush_state = false;
  std::string user;
  {
    detail::Lock lock(room->mutex);
    const auto place = room->members.find(member);
    if (place == room->members.end() || place->second.part != nullptr) return;
    user = std::move(place->second.user);
    room->members.erase(place);
    const auto of_user = room->users.find(user);
    if (--of_user->second == 0) {
      --room->present_users;
      if (options_.presence_scope != PresenceScope::shared_rooms) room->users.erase(of_user);
    }
    if (options_.presence_scope != PresenceScope::none) {  // what nobody is told would never be flushed
      if (!detail::mutant(detail::Mutant::skip_presence_left)) room->presence.left(member, user);
      flush_state = !std::exchange(room->state_flush_due, true);
    }
  }
  replicate_member(member, user, room->key, false);
  if (flush_state) schedule_state_flush(loop, room);
}

MUSTER_INLINE void ConnectionManager::tell_room_edges(Loop& loop, const RoomPtr& room) {
  for (bool again = false;; again = true) {
    bool open = false;
    {
      detail::Lock lock(room->mutex);
      if (room->telling && !again) return;  // who tells now looks again
      open = !room->members.empty();
      room->telling = room->told_open != open;
      if (!room->telling) return;
      room->told_open = open;
    }
    for (const auto& hook : open ? extensions_.room_opened : extensions_.room_emptied) {
      contain(loop, {}, open ? "on_room_opened" : "on_room_emptied", [&] { hook(room->key); });
    }
  }
}

MUSTER_INLINE void ConnectionManager::settle_room(Loop& loop, const RoomPtr& room) {
  if (!retire_if_empty(room)) return;
  tell_room_edges(loop, room);
  (void)retire_if_empty(room);
}

/// While one of these lives nobody subscribes to the room.
class ConnectionManager::Unsubscribing {
 public:
  Unsubscribing(ConnectionManager* manager, const RoomKey& key) : manager_(manager) {
    if (manager_ == nullptr) return;
    detail::Lock lock(manager_->unsubscribing_mutex_);
    at_ = manager_->unsubscribing_.insert(key);
  }
  ~Unsubscribing() {
    if (manager_ == nullptr) return;
    detail::Lock lock(manager_->unsubscribing_mutex_);
    manager_->unsubscribing_.erase(at_);
  }
  Unsubscribing(const Unsubscribing&) = delete;
  Unsubscribing& operator=(const Unsubscribing&) = delete;

 private:
  ConnectionManager* const manager_;
  std::multiset<RoomKey>::iterator at_;
};

MUSTER_INLINE bool ConnectionManager::retire_if_empty(const RoomPtr& room) {
  const TimePoint now_here = now();
  bool unsubscribe = false;
  // Before the room is out of the table: who makes it anew must not be unsubscribed with this one.
  const Unsubscribing unsubscribing(broker_ ? this : nullptr, room->key);
  {
    detail::Lock lock(room->mutex);
    room->history.expire(now_here, room->options);
    room->keys.expire(now_here, options_.idempotency_age);
    room->settle();
    if (!room->members.empty()) return false;
    if (room->told_open || room->telling) return true;
    unsubscribe = std::exchange(room->subscribed, false);
    if (!room->history.empty() && !broker_) return false;
    room->retired = true;
  }
  rooms_.erase(room);
  if (!unsubscribe) return false;
  broker_->unsubscribe(node_, room->key);
  for (const AwarenessEntry& entry : awareness_->get_all(room->key)) {  // what other nodes' clients left here
    if (locate(entry.owner.connection)) continue;                       // its disconnect is under way, and tells of it
    (void)awareness_->remove(room->key, entry.client, entry.owner, entry.clock);
  }
  return false;
}

MUSTER_INLINE void ConnectionManager::publish_draft(const RoomKey& key, Draft draft, PublishDone done) {
  if (draft.delivery.kind() == Delivery::Kind::queued) {
    if (done) done(Error{errc::not_supported, "A room has no offline queue; publish reliable or latest", {}});
    return;
  }
  if (!broker_) {
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
    detail::Lock lock(room->mutex);
    reached = room->reach(message.exclude);
  }
  broker_->publish(std::move(message), Reply<Result<Position>>([done = std::move(done), reached](
                                           Result<Position> position) mutable {
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
  const auto entry = std::make_shared<detail::Entry>();
  entry->data = std::move(draft.data);
  entry->from = draft.from;
  entry->from_user = std::move(draft.from_user);
  entry->exclude = draft.exclude;
  entry->latest_key = draft.delivery.key();
  entry->latest = draft.delivery.kind() == Delivery::Kind::latest;
  entry->at = now();
  std::vector<RoomPart*> flushes;
  RoomPtr room;
  for (;;) {
    room = rooms_.find(key);
    const bool kept = !entry->latest && detail::keeps_history(options_.room_options(key.name));
    if (!room && !kept) return published;
    if (!room) {
      room = find_or_make(key);
      auto last = swept_at_.load();
      const auto at = entry->at.time_since_epoch();
      const bool due = clock_.load() == nullptr && at - TimePoint::duration(last) >= options_.sweep_interval;
      if (due && swept_at_.compare_exchange_strong(last, at.count())) sweep_rooms();
    }
    std::uint64_t conflated = 0;
    bool retired = false;
    {
      detail::Lock lock(room->mutex);
      retired = room->retired && !detail::mutant(detail::Mutant::publish_to_retired_room);
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
        entry->serial = ++room->last_serial;
        if (!entry->latest) {
          entry->seq = ++room->last_seq;
          ++room->published;
          room->history.append(entry, room->options);
          published.position = {room->epoch, entry->seq};
        }
        if (!draft.idempotency_key.empty()) {
          room->keys.remember(entry->from_user,
                              {std::move(draft.idempotency_key), room->epoch, published.position, true, entry->at, {}},
                              options_.idempotency_keys, options_.idempotency_age);
        }
        room->settle();
        published.reached = room->reach(entry->exclude);
        detail::append_pending(*room, entry, flushes, conflated);
      }
    }
    if (conflated != 0) counters_.conflated += conflated;
    if (!retired) break;
    rooms_.erase(room);
  }
  post_flushes(room, flushes);
  relieve(room);
  return published;
}

MUSTER_INLINE void ConnectionManager::post_flushes(const RoomPtr& room, const std::vector<RoomPart*>& parts) {
  for (RoomPart* part : parts) {
    if (post(part->loop, [room = room, part](ConnectionManager& manager) { manager.flush_part(room, *part); })) continue;
    detail::Lock lock(room->mutex);  // its members are gone, and are taken out by the sweep
    part->pending.clear();
    part->bytes = 0;
    room->count_waiting();
    part->flush_posted = false;
  }
}

/// A room's message without a seq, to one member.
MUSTER_INLINE std::size_t ConnectionManager::send_in_room(ConnectionId id, std::string room, const Payload& payload) {
  const ConnectionPtr connection = locate(id);
  if (!connection) return 0;
  const bool posted = post(connection->loop, [connection, room = std::move(room), payload](ConnectionManager& manager) {
    if (!connection->live() || connection->membership(room) == nullptr) return;
    event::RoomMessage message;
    message.room = room;
    message.data = &payload;
    manager.tell(*connection, message);
  });
  return posted ? 1 : 0;
}

}  // namespace MUSTER_ABI
}  // namespace muster
