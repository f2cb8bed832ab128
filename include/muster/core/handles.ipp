// What embedders hold: one connection, one room, where to go on.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "muster/core/manager.hpp"
#include "muster/core/outward/call.hpp"
#include "muster/core/room/history_page.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE IConnectionManager& ConnectionState::manager() noexcept { return owner(); }

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

MUSTER_INLINE Data& ConnectionState::data() {
  Call::expect(*this, "data", "an object of the program's own that it shares");
  return seldom().data;
}

MUSTER_INLINE void ConnectionState::send(const Payload& payload) {
  Call::expect(*this, "send", "IConnectionManager::send");
  owner().writer_.tell_direct(*this, payload);
}

MUSTER_INLINE void ConnectionState::publish(std::string_view room, const Payload& payload) {
  Call::expect(*this, "publish", "IConnectionManager::publish");
  owner().publishing_.publish({identity_->tenant, std::string(room)}, {payload, {}, member, member, identity_->user},
                              nullptr);
}

MUSTER_INLINE void ConnectionState::join(std::string room, SeatDone done) {
  Call::expect(*this, "join", "IConnectionManager::join");
  if (!done) {
    done = [loop = loop, id = id_, room](const Result<void>& seated) {
      if (seated) return;
      loop->failures.log(LogLevel::warning, "Connection " + to_string(id) + " has no seat in room " + room + ": " +
                                                seated.error().message);
    };
  }
  owner().seating_.change(*this, SeatChange::into(std::move(room), {}), std::move(done));
}

MUSTER_INLINE void ConnectionState::leave(std::string room) {
  Call::expect(*this, "leave", "IConnectionManager::leave");
  owner().seating_.change(*this, SeatChange::out_of(std::move(room)));
}

MUSTER_INLINE void ConnectionState::request(std::string type, Payload data, std::chrono::milliseconds timeout,
                                            RequestDone done) {
  Call::expect(*this, "request", "IConnectionManager::request");
  owner().requesting_.ask(*this, {std::move(type), std::move(data), timeout}, std::move(done));
}

MUSTER_INLINE void ConnectionState::set_profile(Payload profile) {
  Call::expect(*this, "set_profile", "IConnectionManager::set_profile");
  owner().profiles_.check(profile);
  owner().profiles_.set(*this, std::move(profile));
}

MUSTER_INLINE void ConnectionState::reply(const Payload& payload) {
  Call::expect(*this, "reply", "IConnectionManager::send: the command has been answered");
  if (handling == nullptr) return;
  event::Ack ack;
  ack.payload = &payload;
  owner().writer_.tell_asked(*this, ack, std::exchange(handling, nullptr));
}

MUSTER_INLINE void ConnectionState::close(CloseReason reason, std::string_view text) {
  Call::expect(*this, "close", "IConnectionManager::remove");
  owner().writer_.end_soon(*this, reason, std::string(text));
}

/// A room by its key: looks it up each time, so that it is never one that has ended.
class RoomHandle final : public Room {
 public:
  /// `rooms` is the manager's. Weak, because hooks that the manager keeps hold handles.
  RoomHandle(std::weak_ptr<ConnectionManager> manager, const RoomTable& rooms, RoomKey key, RoomOptions options)
      : manager_(std::move(manager)), rooms_(rooms), key_(std::move(key)), options_(options) {}

  [[nodiscard]] const RoomKey& key() const noexcept override { return key_; }
  [[nodiscard]] RoomOptions options() const override {
    const Found found = find();
    return found.room ? found.room->options() : options_;
  }
  bool set_options(const RoomOptions& options) override {
    if (const auto wrong = problems(options); !wrong.empty()) {
      std::string message = "Room::set_options:";
      for (const std::string& problem : wrong) message += " " + problem + ";";
      message.pop_back();
      throw std::invalid_argument(message);
    }
    const Found found = find();
    if (!found.room) return false;
    RoomOptions bounded = options;
    detail::each_room_duration(bounded, [](const char*, std::chrono::milliseconds& value, const char*) {
      value = std::min(value, detail::forever);
    });
    LoopPtr plans;  // what waits for a bound that is no more
    {
      Lock lock(found.room->mutex);
      if (found.room->retired) return false;
      found.room->set_options(bounded);
      if (!found.room->paced.read().empty()) plans = found.room->loop_of_a_member();
    }
    if (plans) found.manager->state_flush_.plan_latest(plans, found.room, plans->executor->now());
    return true;
  }
  [[nodiscard]] HistoryPage history(Position after, std::size_t limit) const override {
    const Found found = find();
    return found.room ? history_page(*found.room, found.manager->loops_.read_clock(), after, limit) : HistoryPage();
  }
  [[nodiscard]] std::size_t size() const override {
    const Found found = find();
    if (!found.room) return 0;
    Lock lock(found.room->mutex);
    return found.room->member_count();
  }
  [[nodiscard]] std::vector<Member> members() const override {
    const Found found = find();
    if (!found.room) return {};
    Lock lock(found.room->mutex);
    return found.room->list();
  }
  [[nodiscard]] std::vector<Member> members(ConnectionId after, std::size_t limit) const override {
    const Found found = find();
    if (!found.room) return {};
    bool more = false;
    Lock lock(found.room->mutex);
    return found.room->page(after, limit, more);
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

 protected:
  [[nodiscard]] std::shared_ptr<void> share(std::type_index type, std::shared_ptr<void> (*make)()) override {
    const Found found = find();
    if (!found.room) return nullptr;
    for (std::shared_ptr<void> made;; made = make()) {
      Lock lock(found.room->mutex);
      if (!found.room->has_data) return nullptr;
      if (auto there = found.room->data.read().share(type)) return there;
      if (!made) continue;
      found.room->data.make().put(type, made);
      return made;
    }
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

/// Where a handler or hook ran.
class WhereItRan final : public Continuation, public std::enable_shared_from_this<WhereItRan> {
 public:
  WhereItRan(const Call& call, Writer& writer) : loop_(call.loop()), connection_(call.connection()), writer_(writer) {}

  void post(Function<void()> task) override {
    if (loop_->life.expired()) return;
    (void)loop_->post([self = shared_from_this(), task = std::move(task)]() mutable { self->run(task); });
  }

 private:
  void run(Function<void()>& task) noexcept {
    constexpr const char* where = "A continuation";
    if (const ConnectionPtr connection = connection_.lock()) {
      if (!connection->contain(where, [&] { task(); })) writer_.end_soon(*connection, CloseReason::internal_error);
    } else {
      (void)loop_->contain(where, [&] { task(); });
    }
  }

  const LoopPtr loop_;
  const std::weak_ptr<ConnectionState> connection_;
  Writer& writer_;  ///< there while a task of the loop runs
};

}  // namespace core

MUSTER_INLINE std::shared_ptr<Continuation> ConnectionManager::continuation() {
  const core::Call* const call = core::Call::of(this);
  if (call == nullptr) {
    throw std::logic_error("continuation outside of a handler or hook of this manager: it is where that runs");
  }
  return std::make_shared<core::WhereItRan>(*call, writer_);
}

MUSTER_INLINE std::shared_ptr<Room> ConnectionManager::room(RoomKey key) {
  const RoomOptions& kind = options_.room_options(key.name);
  return std::make_shared<core::RoomHandle>(weak_from_this(), table_, std::move(key), kind);
}

}  // namespace MUSTER_ABI
}  // namespace muster
