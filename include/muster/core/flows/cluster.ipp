// Several processes as one: rooms whose messages a broker sequences, and state it replicates.
#pragma once

#include "muster/core/outward/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {

class ConnectionManager::BrokerSink final : public Broker::Sink {
 public:
  explicit BrokerSink(std::weak_ptr<ConnectionManager> manager) : manager_(std::move(manager)) {}
  void on_message(const BrokerMessage& message) override {
    if (const auto manager = manager_.lock()) manager->on_broker_message(message);
  }
  void on_state(const BrokerState& state) override {
    if (const auto manager = manager_.lock()) manager->on_broker_state(state);
  }
  void on_lost(const RoomKey& room, Position, Position next) override {
    if (const auto manager = manager_.lock()) manager->on_broker_lost(room, next);
  }

 private:
  std::weak_ptr<ConnectionManager> manager_;
};

MUSTER_INLINE void ConnectionManager::begin() {
  life_.begin(weak_from_this());
  if (!broker_) return;
  broker_sink_ = std::make_shared<BrokerSink>(weak_from_this());
  node_ = broker_->attach(broker_sink_);
}

/// One who asks for a room. The node has one subscription, whoever asks: it is not ended for one who wants it no more
/// while another waits for it.
class ConnectionManager::Subscribing {
 public:
  Subscribing(std::weak_ptr<ConnectionManager> manager, const RoomKey& key) : manager_(std::move(manager)) {
    if (const auto alive = manager_.lock()) {
      core::Lock lock(alive->unsubscribing_mutex_);
      at_ = alive->subscribing_.insert(key);
    }
  }
  ~Subscribing() { (void)end(); }
  Subscribing(const Subscribing&) = delete;
  Subscribing& operator=(const Subscribing&) = delete;

  /// Whether nobody else asks for it. Once.
  bool end() {
    const auto alive = std::exchange(manager_, {}).lock();
    if (!alive) return false;
    core::Lock lock(alive->unsubscribing_mutex_);
    const bool last = alive->subscribing_.count(*at_) == 1;
    alive->subscribing_.erase(at_);
    return last;
  }

 private:
  std::weak_ptr<ConnectionManager> manager_;
  std::multiset<RoomKey>::iterator at_;
};

MUSTER_INLINE bool ConnectionManager::subscribe_first(ConnectionState& connection, const RoomPtr& room,
                                                      Function<void(ConnectionState&, Error*)> then) {
  {
    core::Lock lock(room->mutex);
    if (room->subscribed) return false;
  }
  bool waits = false;
  {
    core::Lock lock(unsubscribing_mutex_);
    waits = unsubscribing_.count(room->key) != 0;
  }
  if (waits) {  // the end of the room before this one would end this subscription, too
    questions_.ask<bool>(
        connection,
        [&](Reply<bool> reply) {
          if (!post(connection.loop, [reply](ConnectionManager&) { reply(true); })) reply(true);
        },
        [this, room, then = std::move(then)](ConnectionState& joining, bool) mutable {
          // Kept apart: whether there was something to wait for is found out by the next look.
          const auto shared = std::make_shared<Function<void(ConnectionState&, Error*)>>(std::move(then));
          const bool asked =
              subscribe_first(joining, room, [shared](ConnectionState& same, Error* error) { (*shared)(same, error); });
          if (!asked) (*shared)(joining, nullptr);
        },
        true);
    return true;
  }
  const auto asking = std::make_shared<Subscribing>(weak_from_this(), room->key);
  questions_.ask<Result<Position>>(
      connection,
      [&](Reply<Result<Position>> reply) { broker_->subscribe(node_, room->key, std::nullopt, std::move(reply)); },
      [this, room, asking, then = std::move(then)](ConnectionState& joining, Result<Position> position) mutable {
        if (!position) {
          Error error{errc::unavailable, position.error().message, std::chrono::seconds(1)};
          (void)retire_if_empty(room);
          then(joining, &error);
          return;
        }
        {
          core::Lock lock(room->mutex);
          if (!room->subscribed) {
            room->subscribed = true;
            room->unsubscribe_due = false;
            room->epoch = position.value().epoch;
            room->last_seq = std::max(room->last_seq, position.value().seq);
          }
        }
        then(joining, nullptr);
      },
      Error{errc::unavailable, "The broker did not answer in time", std::chrono::seconds(1)},
      [this, key = room->key, asking](const Result<Position>& position) {
        if (!asking->end() || !position) return;  // else it is another's, who has asked as well
        if (const RoomPtr there = rooms_.find(key)) {
          core::Lock lock(there->mutex);
          if (there->subscribed) return;
        }
        broker_->unsubscribe(node_, key);  // nobody waits for it any more, and nobody would end it
      });
  return true;
}

MUSTER_INLINE void ConnectionManager::on_broker_message(const BrokerMessage& message) {
  const RoomPtr room = rooms_.find(message.room);
  if (!room) return;
  const auto entry = std::make_shared<core::Entry>();
  entry->data = message.data;
  entry->from = message.from;
  entry->from_user = message.from_user;
  entry->exclude = message.exclude;
  entry->latest = message.delivery.kind() == Delivery::Kind::latest;
  entry->latest_key = message.delivery.key();
  entry->seq = message.position.seq;
  entry->at = loops_.now();
  std::vector<core::RoomPartPtr> flushes;
  std::uint64_t conflated = 0;
  {
    core::Lock lock(room->mutex);
    if (room->retired) return;
    if (!entry->latest && entry->seq <= room->last_seq && message.position.epoch == room->epoch)
      return;  // known already
    core::prepare_pending(*room, 1, flushes);
    if (!entry->latest) {
      room->history.append(entry, room->options);
      room->epoch = message.position.epoch;
      room->last_seq = entry->seq;
      ++room->published;
      room->settle();
    }
    entry->serial = ++room->last_serial;
    core::append_pending(*room, entry, flushes, conflated);
  }
  counters_.conflated += conflated;
  fan_out_.post_flushes(room, flushes);
  relieve(room);
}

/// The numbers up to before `next` are skipped: members find them missing in the history, and are told a gap.
MUSTER_INLINE void ConnectionManager::on_broker_lost(const RoomKey& key, Position next) {
  const RoomPtr room = rooms_.find(key);
  if (!room || next.seq == 0) return;
  core::Lock lock(room->mutex);
  room->epoch = next.epoch;
  room->last_seq = std::max(room->last_seq, next.seq - 1);
}

MUSTER_INLINE void ConnectionManager::on_broker_state(const BrokerState& state) {
  const RoomPtr room = rooms_.find(state.room);
  if (!room) return;
  LoopPtr loop;
  std::uint64_t removed_at = 0;
  core::RoomState::Marks mark;  // its memory before anything changes: the same change is not taken twice
  if (state.kind == BrokerState::Kind::awareness) {
    mark.emplace(state.key, 0);
    const AwarenessOwner owner{state.user, state.owner, state.owner_order};
    if (state.value) {
      const auto update =
          awareness_->set(state.room, {state.key, owner, state.version, *state.value, loops_.now()}, {});
      if (update.result != AwarenessResult::accepted) return;
    } else {
      const auto update = awareness_->remove(state.room, state.key, owner, state.version);
      if (update.result != AwarenessResult::accepted) return;
      removed_at = update.clock;
    }
  }
  {
    core::Lock lock(room->mutex);
    for (const auto& part : room->parts) {
      if (part->members != 0) loop = part->loop;
    }
    if (state.kind == BrokerState::Kind::member) {
      if (state.value) {
        if (!room->remote_members.emplace(state.owner, state.user).second) return;
        if (options_.presence_scope != PresenceScope::none) room->presence.joined(state.owner, state.user);
      } else {
        if (room->remote_members.erase(state.owner) == 0) return;
        if (options_.presence_scope != PresenceScope::none) room->presence.left(state.owner, state.user);
      }
    } else {
      mark.begin()->second = removed_at;
      room->take_back(mark);
    }
    if (!loop || std::exchange(room->state_flush_due, true)) return;
  }
  const bool posted = loop->contain("The executor", [&] {
    (void)post(loop, [loop, room](ConnectionManager& manager) { manager.schedule_state_flush(*loop, room); });
  });
  if (posted) return;
  core::Lock lock(room->mutex);
  room->state_flush_due = false;  // with what changes next, or by the sweep
}

/// What is replicated has happened: the others are told, or would never know. A broker that throws is asked again.
template <class Make>
void ConnectionManager::replicate(Loop& loop, Make make) noexcept {
  const auto once = [&] { broker_->replicate(node_, make()); };
  for (int attempts = 3; attempts > 0 && !loop.contain("The broker", once); --attempts) continue;
}

MUSTER_INLINE void ConnectionManager::replicate_member(Loop& loop, ConnectionId id, const std::string& user,
                                                       const RoomKey& key, bool member) noexcept {
  if (!broker_) return;
  replicate(loop, [&] {
    BrokerState state;
    state.room = key;
    state.kind = BrokerState::Kind::member;
    state.key = to_string(id);
    state.user = user;
    state.owner = id;
    state.version = member ? 1 : 2;
    if (member) state.value = Payload();
    return state;
  });
}

MUSTER_INLINE void ConnectionManager::replicate_awareness(Loop& loop, const RoomKey& key, const std::string& client,
                                                          const AwarenessOwner& owner,
                                                          std::uint64_t removed_at) noexcept {
  if (!broker_) return;
  replicate(loop, [&] {
    BrokerState state;
    state.room = key;
    state.kind = BrokerState::Kind::awareness;
    state.key = client;
    state.user = owner.user;
    state.owner = owner.connection;
    state.owner_order = owner.order;
    AwarenessEntry entry;
    if (removed_at != 0) {
      state.version = removed_at;
    } else if (awareness_->get(key, client, entry)) {  // else it is gone already, and that is told by who removed it
      state.version = entry.clock;
      state.value = entry.state;
    }
    return state;
  });
}

}  // namespace MUSTER_ABI
}  // namespace muster
