// Lookups, by what the tables say.
#pragma once

#include <algorithm>

#include "muster/core/registry/directory.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE ConnectionPtr Directory::locate(ConnectionId id) const {
  ConnectionPtr connection = connections_.find(id);
  return connection ? connection : sessions_.speaker(id);
}

MUSTER_INLINE InfoPtr Directory::info(ConnectionId id) const {
  if (auto info = connections_.info(id)) return info;
  const ConnectionPtr speaker = sessions_.speaker(id);
  return speaker ? connections_.info(speaker->id_) : nullptr;
}

MUSTER_INLINE ConnectionPtr Directory::ghost_of(const ConnectionState& connection, const UserKey& key) const {
  if (!connection.resumes) return nullptr;
  ConnectionPtr ghost = locate(connection.resumes);
  const auto info = ghost ? connections_.info(ghost->id_) : nullptr;
  return info && info->tenant == key.tenant && info->user == key.user ? ghost : nullptr;
}

MUSTER_INLINE std::optional<ConnectionInfo> Directory::find(ConnectionId id) const {
  const auto found = info(id);
  if (!found) return std::nullopt;
  return *found;
}

MUSTER_INLINE std::vector<ConnectionInfo> Directory::page(ConnectionId after, std::size_t limit) const {
  std::vector<ConnectionInfo> found;
  for (const auto& one : connections_.page(after, limit)) found.push_back(*one);
  return found;
}

MUSTER_INLINE std::vector<ConnectionInfo> Directory::in(const RoomState& room) const {
  std::vector<ConnectionId> ids;
  {
    Lock lock(room.mutex);
    for (const auto& [id, member] : room.members) {
      if (member.part != nullptr) ids.push_back(id);
    }
  }
  std::sort(ids.begin(), ids.end());
  std::vector<ConnectionInfo> found;
  for (const ConnectionId id : ids) {
    if (const auto one = info(id)) found.push_back(*one);
  }
  return found;
}

MUSTER_INLINE std::vector<ConnectionInfo> Directory::infos(const std::vector<ConnectionPtr>& connections) const {
  std::vector<ConnectionInfo> found;
  for (const ConnectionPtr& connection : connections) {
    if (const auto one = connections_.info(connection->id_)) found.push_back(*one);
  }
  return found;
}

MUSTER_INLINE void Directory::publish(const ConnectionState& connection) {
  auto info = std::make_shared<ConnectionInfo>();
  info->id = connection.id_;
  info->member = connection.member;
  info->user = connection.identity_->user;
  info->tenant = connection.identity_->tenant;
  info->roles = connection.identity_->roles;
  info->rooms = connection.room_names();
  info->remote_address = connection.remote_address().text;
  info->status = connection.status_;
  info->connected_at = connection.connected_at;
  connections_.publish(connection.id_, std::move(info));
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
