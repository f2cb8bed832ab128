// Entering, telling and leaving.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "muster/core/flows/joining.hpp"
#include "muster/core/room/room_name.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE std::optional<Error> Joining::refuse_early(ConnectionState& connection, const std::string& room,
                                                         bool moves) const {
  if (!valid_room_name(room, options_)) {
    const bool ascii = options_.room_names == RoomNames::ascii;
    return Error{errc::invalid_room,
                 "room must have 1 to " + std::to_string(options_.room_name_bytes) +
                     (ascii ? " of A-Z a-z 0-9 _ : . - (the server's option room_names = unicode allows more)"
                            : " bytes of UTF-8 without control characters and line separators"),
                 {}};
  }
  const std::size_t limit = options_.rooms_per_connection;
  if (limit != 0 && connection.memberships.size() >= limit + (moves ? 1 : 0) &&
      connection.membership(room) == nullptr) {
    return Error{
        errc::too_many_rooms, "A connection may be in " + std::to_string(limit) + " rooms; leave one first", {}};
  }
  return std::nullopt;
}

MUSTER_INLINE void Joining::refuse(ConnectionState& connection, const By& by, Error error) {
  if (by.program) return by.program->told(connection, std::move(error));
  writer_.tell_error(connection, &by.correlation, std::move(error));
}

MUSTER_INLINE void Joining::enter(ConnectionState& connection, const By& by, const RoomKey& key) {
  if (Membership* there = connection.membership(key.name)) {  // joining again changes nothing
    if (by.program) {
      there->decided = there->decided || by.program->decides;
      return by.program->told(connection, {});
    }
    const RoomPtr room = there->room;
    Entered again;
    {
      Lock lock(room->mutex);
      again.position = {room->epoch, room->last_seq};
      again.member_count = room->member_count();
      again.list = room->list_for_newcomer(again.members, options_.presence_scope != PresenceScope::none);
    }
    if (again.list && there->missed) there->missed->list_told();
    tell_joined(connection, &by.correlation, room, again, false);
    return;
  }
  if (auto error = refuse_early(connection, key.name, by.program && by.program->moves)) {
    return refuse(connection, by, std::move(*error));
  }
  const RoomPtr room = room_for(connection, by, key);
  if (!room) return;
  Rooms::HoldPtr hold;
  if (replicating_.is_on()) {
    hold = rooms_.hold(connection, room);
    if (!hold) return enter(connection, by, key);
    auto entering = [this, by, key](ConnectionState& joining, Error* error) {
      if (error == nullptr) return enter(joining, by, key);
      refuse(joining, by, std::move(*error));
    };
    if (rooms_.subscribe_first(connection, hold, std::move(entering))) return;
  }
  Entered entered = take_seat(connection, room);
  if (entered.retired) return enter(connection, by, key);  // it ended between finding and entering
  if (entered.error) return refuse(connection, by, std::move(*entered.error));
  const bool by_server = by.program != nullptr;
  connection.memberships.back().given = by_server;
  connection.memberships.back().decided = by_server && by.program->decides;
  directory_.publish(connection);
  tell_joined(connection, by_server ? nullptr : &by.correlation, room, entered, by_server);
  if (!after_joined(connection, room, entered)) writer_.end_soon(connection, CloseReason::internal_error);
  if (by_server) by.program->told(connection, {});
}

/// Clients may make so many rooms a minute; the program may make as many as it likes.
MUSTER_INLINE RoomPtr Joining::room_for(ConnectionState& connection, const By& by, const RoomKey& key) {
  if (RoomPtr room = table_.find(key)) return room;
  const std::size_t limit = by.program ? 0 : options_.rooms_created_per_minute;
  const auto wait = limit == 0 ? std::chrono::milliseconds(0)
                               : connection.seldom().rooms_created.take(limit, std::chrono::minutes(1),
                                                                        connection.loop->executor->now());
  if (wait.count() != 0) {
    connection.loop->counters.rate_limited.add();
    refuse(connection, by,
           {errc::rate_limited,
            "A connection may create " + std::to_string(limit) +
                " rooms a minute; wait as long as retry_after_ms says, or join a room that exists",
            wait});
    return nullptr;
  }
  const auto fresh =
      std::make_shared<RoomState>(key, options_.room_options(key.name), entropy_.epoch(), bytes_.account(key.tenant));
  RoomPtr room = table_.find_or_add(fresh);
  if (room != fresh && limit != 0) connection.rare->rooms_created.give_back();  // another connection was faster
  return room;
}

MUSTER_INLINE Joining::Entered Joining::take_seat(ConnectionState& connection, const RoomPtr& room,
                                                  std::optional<Position> from) {
  Entered entered = admit(connection, *room, from);
  if (entered.retired) {
    table_.erase(room);
    return entered;
  }
  if (entered.error) {
    (void)rooms_.retire(room);
    return entered;
  }
  // Both lists have memory for it.
  MemberSlot slot;
  slot.connection = &connection;
  slot.next_seq = entered.next_seq;
  slot.joined_serial = entered.serial;
  connection.memberships.push_back(
      {room, entered.part, static_cast<std::uint32_t>(entered.part->slots.size()), false, false, false, nullptr});
  entered.part->slots.push_back(slot);
  connection.status_ = ConnectionStatus::in_room;
  if (entered.flush_state) state_flush_.plan(*connection.loop, room);
  if (entered.opens) rooms_.tell_edges(*connection.loop, room);
  if (!entered.kept || entered.shows_another)
    replicating_.member(*connection.loop, connection.member, *connection.identity_, room->key, true);
  return entered;
}

/// Checks the capacity and adds the member in one section: the limit and the fact are one. A session that comes back
/// has its seat still.
MUSTER_INLINE Joining::Entered Joining::admit(ConnectionState& connection, RoomState& room,
                                              std::optional<Position> from) {
  Entered entered;
  const auto& identity = connection.identity_;
  const auto full = [&]() MUSTER_REQUIRES(room.mutex) {
    const std::size_t capacity = room.options().room_capacity;
    if (capacity == 0) return false;
    if (room.options().capacity_counts == CapacityCounts::connections) return room.members.size() >= capacity;
    return room.members.users() >= capacity && !room.members.has_user(identity->user);
  };
  const TimePoint now = connection.loop->executor->now();
  Lock lock(room.mutex);
  room.history.expire(now, room.options());
  room.settle();
  if (room.members.empty() && room.history.empty() && room.last_seq != 0 && !replicating_.is_on()) room.retired = true;
  if (room.retired) {
    entered.retired = true;
    return entered;
  }
  MemberEntry* const seat = room.members.find(connection.member);
  entered.kept = seat != nullptr;
  if (!entered.kept && full()) {
    entered.error = Error{errc::room_full,
                          "The room takes " + std::to_string(room.options().room_capacity) +
                              (room.options().capacity_counts == CapacityCounts::users ? " users" : " connections") +
                              ", and they are there",
                          {}};
    return entered;
  }
  // All that may fail comes first: what follows is the room's and the connection's in one.
  RoomPart& part = room.part_on(connection.loop);
  make_room(part.slots);
  make_room(connection.memberships);
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
  bool news = tells;
  if (entered.kept) {
    seat->connected = true;
    entered.shows_another = seat->identity->profile != identity->profile;
    news = room.change_member(connection.member, identity, options_.presence_scope);
  } else {
    entered.opens = room.members.empty();
    room.add_member(connection.member, identity, options_.presence_scope);
  }
  try {
    entered.list = room.list_for_newcomer(entered.members, tells);
  } catch (...) {
    if (entered.kept) {
      seat->connected = false;
    } else {
      (void)room.remove_member(*room.members.find(connection.member), options_.presence_scope);
    }
    throw;
  }
  ++room.shared_of(part).members;
  if (connection.slow) room.set_behind(connection.member, true);
  entered.part = &part;
  entered.position = {room.epoch, room.last_seq};
  entered.serial = room.last_serial;
  entered.member_count = room.member_count();
  entered.flush_state = news && !std::exchange(room.state_flush_due, true);
  return entered;
}

MUSTER_INLINE void Joining::tell_joined(ConnectionState& connection, const Correlation* correlation,
                                        const RoomPtr& room, const Entered& entered, bool by_server) {
  event::RoomJoined joined;
  joined.room = room->key.name;
  joined.position = entered.position;
  joined.members = entered.list ? &entered.members : nullptr;
  joined.member_count = entered.member_count;
  joined.recovered = entered.recovered;
  joined.by_server = by_server;
  writer_.tell_asked(connection, joined, correlation);
  tell_awareness(connection, nullptr, room->key);
}

MUSTER_INLINE bool Joining::after_joined(ConnectionState& connection, const RoomPtr& room, const Entered& entered) {
  connection.membership(room->key.name)->told = true;
  return hooks_.joined(connection, room->key, {entered.kept});
}

MUSTER_INLINE void Joining::tell_awareness(ConnectionState& connection, const Correlation* correlation,
                                           const RoomKey& key) {
  const std::vector<AwarenessEntry> entries = awareness_.get_all(key);
  std::size_t i = 0;
  do {
    const std::size_t count = chunk_length(entries, i);
    event::AwarenessState state;
    state.room = key.name;
    state.entries = entries.data() + i;
    state.count = count;
    i += count;
    state.more = i < entries.size();
    writer_.tell_asked(connection, state, state.more ? nullptr : correlation);
    if (!state.more || writer_.makes_room(connection)) continue;
    if (connection.ends_soon) return;
    state.entries = nullptr;
    state.count = 0;
    state.more = false;
    writer_.tell_asked(connection, state, correlation);
    Membership* membership = connection.membership(key.name);  // the rest as updates, once it has taken this
    if (!membership->missed) membership->missed = std::make_unique<Missed>(connection.missed_bytes);
    for (; i < entries.size(); ++i) {
      membership->missed->note_awareness(entries[i].client, 0);
      connection.byte_budget.charge(options_.byte_rate, static_cast<double>(chunk_share(entries[i])),
                                    connection.loop->executor->now());
    }
    connection.behind = true;
  } while (i < entries.size());
}

/// What a live connection is still owed of what was published before this command.
MUSTER_INLINE void Joining::tell_rest(ConnectionState& connection, Membership& leaving) {
  if (!connection.live() || catch_up_.feed_room(connection, leaving)) return;
  std::uint64_t last = 0;
  {
    Lock lock(leaving.room->mutex);
    last = leaving.room->last_seq;
  }
  event::Gap gap{leaving.room->key.name, leaving.slot().next_seq, last};
  if (gap.from > gap.to) return;
  connection.loop->counters.gaps.add();
  writer_.tell(connection, gap);
}

MUSTER_INLINE void Joining::leave(ConnectionState& connection, const std::string& name) {
  std::size_t index = 0;
  while (index < connection.memberships.size() && connection.memberships[index].room->key.name != name) ++index;
  if (index == connection.memberships.size()) return;
  Loop& loop = *connection.loop;
  const RoomPtr room = connection.memberships[index].room;
  tell_rest(connection, connection.memberships[index]);
  Clearings clearing = state_flush_.clearing_for(loop, connection.member, room);
  bool well = part_from_room(connection, index, std::nullopt, false, [&] {
    state_flush_.clear_awareness(loop, clearing);
    give_up_seat(loop, room, connection.member);
    if (!connection.contain("A leave", [&] { connection.left_rooms.add(room); })) edges_.leave_untold(room);
    if (connection.memberships.empty()) connection.status_ = ConnectionStatus::connected;
    return connection.contain("A leave", [&] { directory_.publish(connection); });
  });
  if (!well) writer_.end_soon(connection, CloseReason::internal_error);
}

MUSTER_INLINE void Joining::give_up_seat(Loop& loop, const RoomPtr& room, ConnectionId member) noexcept {
  bool flush_state = false;
  std::shared_ptr<const Identity> identity;
  {
    Lock lock(room->mutex);
    MemberEntry* const seat = room->members.find(member);
    if (seat == nullptr || seat->connected) return;
    identity = room->remove_member(*seat, options_.presence_scope);
    flush_state = options_.presence_scope != PresenceScope::none && !std::exchange(room->state_flush_due, true);
  }
  replicating_.member(loop, member, *identity, room->key, false);
  if (flush_state) state_flush_.plan(loop, room);
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
