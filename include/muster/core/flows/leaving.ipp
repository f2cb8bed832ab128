// Rooms: leaving and retiring. What has begun is finished, whatever fails on the way.
#pragma once

#include <algorithm>

#include "muster/core/outward/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// What a live connection is still owed of what was published before this command.
MUSTER_INLINE void ConnectionManager::tell_rest(ConnectionState& connection, Membership& leaving) {
  if (!connection.live() || catch_up_.feed_room(connection, leaving)) return;
  std::uint64_t last = 0;
  {
    core::Lock lock(leaving.room->mutex);
    last = leaving.room->last_seq;
  }
  event::Gap gap{leaving.room->key.name, leaving.slot().next_seq, last};
  if (gap.from > gap.to) return;
  connection.loop->counters.gaps.add();
  writer_.tell(connection, gap);
}

MUSTER_INLINE void ConnectionManager::leave(ConnectionState& connection, std::size_t index) {
  Loop& loop = *connection.loop;
  const RoomPtr room = connection.memberships[index].room;
  tell_rest(connection, connection.memberships[index]);
  core::Clearings clearing = state_flush_.clearing_for(loop, connection.member, room);
  bool well = part_from_room(connection, index, std::nullopt, false, [&] {
    state_flush_.clear_awareness(loop, clearing);
    give_up_place(loop, room, connection.member);
    if (!connection.contain("A leave", [&] { connection.left_rooms.add(room); })) leave_untold(room);
    if (connection.memberships.empty()) connection.status_ = ConnectionStatus::connected;
    return connection.contain("A leave", [&] { directory_.publish(connection); });
  });
  if (!well) writer_.doom(connection, CloseReason::internal_error);
}

/// Takes the connection out of the room's fan-out; `then` does what else belongs to it before the hooks are called, and
/// answers false where that has failed. False: that, or a hook threw.
template <class Then>
bool ConnectionManager::part_from_room(ConnectionState& connection, std::size_t index,
                                       std::optional<CloseReason> reason, bool keep_place, Then then) noexcept {
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
    core::Lock lock(room->mutex);
    --part.members;
    room->members.find(connection.member)->second.part = nullptr;
  }
  bool well = then();
  if (membership.told) {
    well = hooks_.left(connection, room->key, {reason, keep_place}) && well;
  }
  (void)connection.contain("The end of a room", [&] { rooms_.settle(*connection.loop, room); });
  return well;
}

/// Takes a member out that no connection speaks for, and tells the others.
MUSTER_INLINE void ConnectionManager::give_up_place(Loop& loop, const RoomPtr& room, ConnectionId member) noexcept {
  bool flush_state = false;
  std::string user;
  {
    core::Lock lock(room->mutex);
    const auto place = room->members.find(member);
    if (place == room->members.end() || place->second.part != nullptr) return;
    user = room->remove_member(place, options_.presence_scope);
    flush_state = options_.presence_scope != PresenceScope::none && !std::exchange(room->state_flush_due, true);
  }
  replicating_.member(loop, member, user, room->key, false);
  if (flush_state) state_flush_.plan(loop, room);
}

/// That some of its users have gone could not be noted where it is looked up; the sweep looks.
MUSTER_INLINE void ConnectionManager::leave_untold(const RoomPtr& room) noexcept {
  core::Lock lock(room->mutex);
  room->offline_untold = true;
}

}  // namespace MUSTER_ABI
}  // namespace muster
