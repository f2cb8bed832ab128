// Setting them, and telling that they have changed.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "muster/core/flows/profiles.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// What was set last: kept with the session.
struct SetProfile {
  Payload profile;
};

MUSTER_INLINE void Profiles::check(const Payload& profile) const {
  if (fits(profile)) return;
  throw std::invalid_argument("set_profile: a profile of " + std::to_string(profile.view().size()) +
                              " bytes; the option profile_bytes allows " + std::to_string(options_.profile_bytes));
}

MUSTER_INLINE void Profiles::set(ConnectionState& connection, Payload profile) {
  if (!connection.live()) return;
  connection.seldom().data.get<SetProfile>().profile = profile;
  if (connection.identity_->profile == profile) return;
  directory_.set_identity(connection, shown_as(*connection.identity_, std::move(profile)));
  for (const Membership& membership : connection.memberships) {
    RoomState& room = *membership.room;
    bool flush_state = false;
    {
      Lock lock(room.mutex);
      flush_state = room.change_member(connection.member, connection.identity_, options_.presence_scope) &&
                    !std::exchange(room.state_flush_due, true);
    }
    if (flush_state) state_flush_.plan(*connection.loop, membership.room);
    replicating_.member(*connection.loop, connection.member, *connection.identity_, room.key, true);
  }
}

MUSTER_INLINE bool Profiles::post(const ConnectionPtr& connection, const Payload& profile) {
  return connection->loop->post(
      [this, connection, profile] { (void)connection->contain("A profile", [&] { set(*connection, profile); }); });
}

MUSTER_INLINE std::size_t Profiles::set(ConnectionId id, Payload profile) {
  check(profile);
  const ConnectionPtr connection = directory_.known(id);
  return connection && post(connection, profile) ? 1 : 0;
}

MUSTER_INLINE std::size_t Profiles::set(const UserKey& user, Payload profile) {
  check(profile);
  std::size_t handed = 0;
  for (const ConnectionPtr& connection : users_.of(user)) handed += post(connection, profile) ? 1 : 0;
  return handed;
}

MUSTER_INLINE void Profiles::restore(ConnectionState& connection, Directory& directory) {
  if (!connection.rare) return;
  const SetProfile* const set = connection.rare->data.find<SetProfile>();
  if (set != nullptr) directory.set_identity(connection, shown_as(*connection.identity_, set->profile));
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
