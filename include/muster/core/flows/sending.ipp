// Tasks to the loops of who is meant.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "muster/core/flows/sending.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE std::size_t Sending::to(ConnectionId id, const Payload& payload) {
  const ConnectionPtr connection = directory_.known(id);
  if (!connection) return 0;
  return connection->loop->post([this, connection, payload] {
    if (connection->live()) writer_.tell_direct(*connection, payload);
  })
             ? 1
             : 0;
}

MUSTER_INLINE std::size_t Sending::to_user(const UserKey& user, const Payload& payload) {
  std::size_t reached = 0;
  for (const ConnectionPtr& connection : users_.of(user)) reached += to(connection->id_, payload);
  return reached;
}

MUSTER_INLINE std::size_t Sending::to_user(const UserKey& user, const Payload& payload, const Delivery& delivery,
                                           QueuedDone done) {
  if (delivery.kind() != Delivery::Kind::queued) {
    const std::size_t reached = to_user(user, payload);
    if (done) done(Queued{});
    return reached;
  }
  const std::size_t there = users_.count(user);
  queues_.enqueue(user, {0, payload, {}, {}}, std::move(done));
  return there;
}

MUSTER_INLINE std::size_t Sending::in_room(ConnectionId id, std::string room, const Payload& payload) {
  const ConnectionPtr connection = directory_.locate(id);
  if (!connection) return 0;
  const bool posted = connection->loop->post([this, connection, room = std::move(room), payload] {
    if (!connection->live() || connection->membership(room) == nullptr) return;
    event::RoomMessage message;
    message.room = room;
    message.data = &payload;
    writer_.tell(*connection, message);
  });
  return posted ? 1 : 0;
}

MUSTER_INLINE std::size_t Sending::to_users(const std::vector<UserKey>& users, const Payload& payload) {
  std::size_t reached = 0;
  for (const UserKey& user : users) reached += to_user(user, payload);
  return reached;
}

MUSTER_INLINE std::size_t Sending::to_tenant(std::string_view tenant, const Payload& payload) {
  const std::size_t reached = users_.of_tenant(tenant).size();
  for (const LoopPtr& loop : loops_.all()) {
    (void)loop->post([this, loop, payload, tenant = std::optional<std::string>(tenant)] {
      event::DirectMessage message;
      message.data = &payload;
      writer_.broadcast(loop, tenant, message);
    });
  }
  return reached;
}

MUSTER_INLINE std::size_t Sending::to_all(const Payload& payload) {
  const std::size_t reached = connections_.authenticated_and_pending().first;
  for (const LoopPtr& loop : loops_.all()) {
    (void)loop->post([this, loop, payload] {
      event::DirectMessage message;
      message.data = &payload;
      writer_.broadcast(loop, std::nullopt, message);
    });
  }
  return reached;
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
