// The public face of one connection.
#pragma once

#include "muster/core/outward/call.hpp"
#include "muster/core/outward/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// A timer of a connection's own.
template <void (ConnectionManager::*Fire)(ConnectionState&)>
void fire_for_connection(void* self) {
  auto& connection = *static_cast<ConnectionState*>(self);
  connection.owner.guard(connection, "A timer", [&] { (connection.owner.*Fire)(connection); });
}

MUSTER_INLINE ConnectionState::ConnectionState(ConnectionManager& its_owner, LoopPtr on, ConnectionId connection_id,
                                               std::shared_ptr<Transport> pipe)
    : transport(std::move(pipe)),
      loop(std::move(on)),
      owner(its_owner),
      id_(connection_id),
      member(connection_id),
      identity_(std::make_shared<const Identity>()),
      beat_timer(this, fire_for_connection<&ConnectionManager::beat>),
      answer_timer(this, fire_for_connection<&ConnectionManager::on_answer_late>),
      guard_timer(this, fire_for_connection<&ConnectionManager::on_guard>),
      expiry_timer(this, fire_for_connection<&ConnectionManager::on_expiry>) {}

MUSTER_INLINE IConnectionManager& ConnectionState::manager() noexcept { return owner; }

MUSTER_INLINE std::vector<std::string> ConnectionState::rooms() const {
  Call::expect(*this, "rooms", "IConnectionManager::find");
  return room_names();
}

MUSTER_INLINE std::vector<std::string> ConnectionState::room_names() const {
  std::vector<std::string> names;
  names.reserve(memberships.size());
  for (const Membership& membership : memberships) names.push_back(membership.room->key.name);
  return names;
}

MUSTER_INLINE Connection::Counters ConnectionState::counters() const noexcept {
  Counters now = counted;
  now.unsent_bytes = outbox.unsent();
  return now;
}

MUSTER_INLINE void ConnectionState::send(const Payload& payload) {
  Call::expect(*this, "send", "IConnectionManager::send");
  owner.writer_.tell_direct(*this, payload);
}

MUSTER_INLINE void ConnectionState::publish(std::string_view room, const Payload& payload) {
  Call::expect(*this, "publish", "IConnectionManager::publish");
  owner.publishing_.publish({identity_->tenant, std::string(room)}, {payload, {}, member, member, identity_->user},
                            nullptr);
}

MUSTER_INLINE void ConnectionState::reply(const Payload& payload) {
  Call::expect(*this, "reply", "IConnectionManager::send: the command has been answered");
  if (handling == nullptr) return;
  event::Ack ack;
  ack.payload = &payload;
  owner.writer_.tell_asked(*this, ack, std::exchange(handling, nullptr));
}

MUSTER_INLINE void ConnectionState::close(CloseReason reason, std::string_view text) {
  Call::expect(*this, "close", "IConnectionManager::remove");
  owner.writer_.doom(*this, reason, std::string(text));
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
