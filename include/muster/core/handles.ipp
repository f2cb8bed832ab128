// What embedders hold: one connection, one room.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "muster/core/manager.hpp"
#include "muster/core/outward/call.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

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

MUSTER_INLINE void ConnectionState::join(std::string room) {
  Call::expect(*this, "join", "IConnectionManager::join");
  owner.seating_.change(*this, SeatChange::into(std::move(room), {}));
}

MUSTER_INLINE void ConnectionState::leave(std::string room) {
  Call::expect(*this, "leave", "IConnectionManager::leave");
  owner.seating_.change(*this, SeatChange::out_of(std::move(room)));
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
  owner.writer_.end_soon(*this, reason, std::string(text));
}

/// A room by its key: looks it up each time, so that it is never one that has ended.
class RoomHandle final : public Room {
 public:
  /// `rooms` is the manager's. Weak, because hooks that the manager keeps hold handles.
  RoomHandle(std::weak_ptr<ConnectionManager> manager, const RoomTable& rooms, RoomKey key, RoomOptions options)
      : manager_(std::move(manager)), rooms_(rooms), key_(std::move(key)), options_(options) {}

  [[nodiscard]] const RoomKey& key() const noexcept override { return key_; }
  [[nodiscard]] const RoomOptions& options() const noexcept override { return options_; }
  [[nodiscard]] std::size_t size() const override {
    const Found found = find();
    if (!found.room) return 0;
    Lock lock(found.room->mutex);
    return found.room->member_count();
  }
  [[nodiscard]] std::vector<Member> members() const override {
    const Found found = find();
    std::vector<Member> members;
    if (!found.room) return members;
    {
      Lock lock(found.room->mutex);
      for (const auto& [id, member] : found.room->members) members.push_back({id, member.user});
      for (const auto& [id, user] : found.room->remote_members) members.push_back({id, user});
    }
    sort_by_id(members);
    return members;
  }
  [[nodiscard]] Position position() const override {
    const Found found = find();
    if (!found.room) return {};
    Lock lock(found.room->mutex);
    return {found.room->epoch, found.room->last_seq};
  }
  [[nodiscard]] RoomCounters counters() const override {
    const Found found = find();
    if (!found.room) return {};
    Lock lock(found.room->mutex);
    return {found.room->published, found.room->history.size(), found.room->history.bytes()};
  }
  void publish(const Payload& payload, Delivery delivery, ConnectionId exclude, PublishDone done) override {
    if (const auto manager = manager_.lock()) {
      manager->publish(key_, payload, std::move(delivery), exclude, std::move(done));
    } else if (done) {
      done(Error{errc::unavailable, "The connection manager is gone", {}});
    }
  }
  std::size_t send_to(const std::function<bool(const Member&)>& chosen, const Payload& payload) override {
    std::size_t reached = 0;
    const auto manager = manager_.lock();
    if (!manager) return 0;
    for (const Member& member : members()) {
      if (chosen(member)) reached += manager->sending_.in_room(member.connection, key_.name, payload);
    }
    return reached;
  }

 private:
  /// The room, and the manager, whose options it refers to.
  struct Found {
    std::shared_ptr<ConnectionManager> manager;
    RoomPtr room;
  };
  [[nodiscard]] Found find() const {
    auto manager = manager_.lock();
    RoomPtr room = manager ? rooms_.find(key_) : nullptr;
    return {std::move(manager), std::move(room)};
  }
  const std::weak_ptr<ConnectionManager> manager_;
  const RoomTable& rooms_;
  const RoomKey key_;
  const RoomOptions options_;
};

}  // namespace core

MUSTER_INLINE std::shared_ptr<Room> ConnectionManager::room(RoomKey key) {
  const RoomOptions& kind = options_.room_options(key.name);
  return std::make_shared<core::RoomHandle>(weak_from_this(), table_, std::move(key), kind);
}

}  // namespace MUSTER_ABI
}  // namespace muster
