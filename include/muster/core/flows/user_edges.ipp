// Edges, one after the other.
#pragma once

#include <utility>

#include "muster/core/flows/user_edges.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE bool UserEdges::tell(Loop& loop, const UserKey& user, UserTable::Edge edge,
                                   const std::vector<RoomPtr>& former, LeftRooms left) noexcept {
  using Kind = UserTable::Edge::Kind;
  bool well = true;
  bool told = false;
  const auto tell_room = [&](const RoomPtr& room) { tell_offline(loop, user, room); };
  for (; edge.kind != Kind::none; edge = users_.next_edge(user)) {
    const bool online = edge.kind == Kind::online;
    well = hooks_.user_edge(loop, user, online) && well;
    well = loop.contain("An announcement", [&] { state_flush_.announce(loop, user, online); }) && well;
    if (online) continue;
    for (const RoomPtr& room : former) tell_room(room);
    left.for_each(tell_room);
    edge.left.for_each(tell_room);
    told = true;
  }
  if (told || (former.empty() && left.empty())) return well;
  const auto each = [&](const auto& visit) {
    left.for_each(visit);
    for (const RoomPtr& room : former) visit(room);
  };
  if (!loop.contain("A disconnect", [&] { users_.left_rooms(user, each); })) {
    each(leave_untold);
  }
  // Should it have gone meanwhile, whoever told that may not have seen these.
  if (!users_.contains(user)) users_.take_left_rooms(user).for_each(tell_room);
  return well;
}

MUSTER_INLINE void UserEdges::tell_offline(Loop& loop, const UserKey& user, const RoomPtr& room) noexcept {
  if (options_.presence_scope != PresenceScope::shared_rooms || !room) return;
  bool schedule = false;
  {
    Lock lock(room->mutex);
    if (!room->members.forget_user(user.user)) return;
    room->presence.offline(user.user);
    schedule = !std::exchange(room->state_flush_due, true);
  }
  if (schedule) state_flush_.plan(loop, room);
}

MUSTER_INLINE void UserEdges::leave_untold(const RoomPtr& room) noexcept {
  Lock lock(room->mutex);
  room->offline_untold = true;
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
