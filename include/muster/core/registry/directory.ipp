// Lookups, by what the tables say.
#pragma once

#include <algorithm>
#include <utility>

#include "muster/core/registry/directory.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE ConnectionPtr Directory::locate(ConnectionId id) const {
  ConnectionPtr connection = connections_.find(id);
  return connection ? connection : sessions_.speaker(id);
}

MUSTER_INLINE ConnectionPtr Directory::known(ConnectionId id) const {
  if (auto connection = connections_.known(id)) return connection;
  const ConnectionPtr speaker = sessions_.speaker(id);
  return speaker ? connections_.known(speaker->id_) : nullptr;
}

/// For who asks.
[[nodiscard]] inline ConnectionInfo info_of(const Snapshot& one) {
  ConnectionInfo info;
  info.id = one.connection->id_;
  info.member = one.member;
  info.user = one.identity->user;
  info.tenant = one.identity->tenant;
  info.roles = one.identity->roles;
  info.rooms = one.rooms.unpack();
  info.profile = one.identity->profile;
  info.remote_address = one.connection->remote_address().text;
  info.status = one.rooms.empty() ? ConnectionStatus::connected : ConnectionStatus::in_room;
  info.connected_at = one.connection->connected_at;
  return info;
}

MUSTER_INLINE ConnectionPtr Directory::ghost_of(const ConnectionState& connection, const UserKey& key) const {
  const ConnectionId resumes = connection.arrival->resumes;
  if (!resumes) return nullptr;
  ConnectionPtr ghost = locate(resumes);
  const auto identity = ghost ? connections_.identity(ghost->id_) : nullptr;
  return identity && identity->tenant == key.tenant && identity->user == key.user ? ghost : nullptr;
}

MUSTER_INLINE std::optional<ConnectionInfo> Directory::find(ConnectionId id) const {
  Snapshot found = connections_.snapshot(id);
  if (!found.identity) {
    const ConnectionPtr speaker = sessions_.speaker(id);
    if (speaker) found = connections_.snapshot(speaker->id_);
  }
  if (!found.identity) return std::nullopt;
  return info_of(found);
}

MUSTER_INLINE std::vector<ConnectionInfo> Directory::page(ConnectionId after, std::size_t limit) const {
  std::vector<ConnectionInfo> found;
  while (found.size() < limit) {
    const std::vector<ConnectionId> ids = connections_.page(after, limit - found.size());
    if (ids.empty()) break;
    after = ids.back();
    for (const ConnectionId id : ids) {
      const Snapshot one = connections_.snapshot(id);
      if (one.identity) found.push_back(info_of(one));  // or it has gone since
    }
  }
  return found;
}

MUSTER_INLINE std::vector<ConnectionInfo> Directory::in(const RoomState& room) const {
  std::vector<ConnectionId> ids;
  {
    Lock lock(room.mutex);
    room.members.for_each([&](const MemberEntry& member) {
      if (member.connected) ids.push_back(member.id);
    });
  }
  std::sort(ids.begin(), ids.end());
  std::vector<ConnectionInfo> found;
  for (const ConnectionId id : ids) {
    if (auto one = find(id)) found.push_back(std::move(*one));
  }
  return found;
}

MUSTER_INLINE std::vector<ConnectionInfo> Directory::infos(const std::vector<ConnectionPtr>& connections) const {
  std::vector<ConnectionInfo> found;
  for (const ConnectionPtr& connection : connections) {
    const Snapshot one = connections_.snapshot(connection->id_);
    if (one.identity) found.push_back(info_of(one));
  }
  return found;
}

MUSTER_INLINE void Directory::publish(ConnectionState& connection) {
  const auto& memberships = connection.memberships;
  connections_.publish(connection, PackedStrings(memberships.size(), [&](std::size_t i) {
                         return std::string_view(memberships[i].room->key.name);
                       }));
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
