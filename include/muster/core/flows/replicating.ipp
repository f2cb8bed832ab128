// Subscriptions, and what happened here, for the other nodes.
#pragma once

#include "muster/core/flows/replicating.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE void Replicating::attach(std::shared_ptr<Broker::Sink> sink) {
  if (!broker_) return;
  sink_ = std::move(sink);
  node_ = broker_->attach(sink_);
}

MUSTER_INLINE void Replicating::detach() {
  if (broker_ && node_ != 0) broker_->detach(node_);
}

/// One who asks for a room. The node has one subscription, whoever asks: it is not ended for one who wants it no more
/// while another waits for it.
class Replicating::Subscribing {
 public:
  Subscribing(Replicating& of, const RoomKey& key) : of_(&of), life_(of.life_.handle()) {
    Lock lock(of.mutex_);
    at_ = of.subscribing_.insert(key);
  }
  ~Subscribing() { (void)end(); }
  Subscribing(const Subscribing&) = delete;
  Subscribing& operator=(const Subscribing&) = delete;

  /// Whether nobody else asks for it. Once.
  bool end() {
    const auto alive = std::exchange(life_, {}).lock();
    if (!alive) return false;
    Lock lock(of_->mutex_);
    const bool last = of_->subscribing_.count(*at_) == 1;
    of_->subscribing_.erase(at_);
    return last;
  }

 private:
  Replicating* const of_;
  std::weak_ptr<const void> life_;
  std::multiset<RoomKey>::iterator at_;
};

MUSTER_INLINE bool Replicating::subscribe_first(ConnectionState& connection, const RoomPtr& room,
                                                Function<void(ConnectionState&, Error*)> then) {
  {
    Lock lock(room->mutex);
    if (room->subscribed) return false;
  }
  bool waits = false;
  {
    Lock lock(mutex_);
    waits = unsubscribing_.count(room->key) != 0;
  }
  if (waits) {  // the end of the room before this one would end this subscription, too
    questions_.ask<bool>(
        connection,
        [&](Reply<bool> reply) {
          if (!connection.loop->post([reply] { reply(true); })) reply(true);
        },
        [this, room, then = std::move(then)](ConnectionState& joining, bool) mutable {
          // Kept apart: whether there was something to wait for is found out by the next look.
          const auto shared = std::shared_ptr<Function<void(ConnectionState&, Error*)>>(
              new Function<void(ConnectionState&, Error*)>(std::move(then)));
          const bool asked =
              subscribe_first(joining, room, [shared](ConnectionState& same, Error* error) { (*shared)(same, error); });
          if (!asked) (*shared)(joining, nullptr);
        },
        true);
    return true;
  }
  const std::shared_ptr<Subscribing> asking(new Subscribing(*this, room->key));
  questions_.ask<Result<Position>>(
      connection,
      [&](Reply<Result<Position>> reply) { broker_->subscribe(node_, room->key, std::nullopt, std::move(reply)); },
      [room, asking, then = std::move(then)](ConnectionState& joining, Result<Position> position) mutable {
        if (!position) {
          Error error{errc::unavailable, position.error().message, std::chrono::seconds(1)};
          then(joining, &error);
          return;
        }
        {
          Lock lock(room->mutex);
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
          Lock lock(there->mutex);
          if (there->subscribed) return;
        }
        unsubscribe(key);  // nobody waits for it any more, and nobody would end it
      });
  return true;
}

template <class Make>
void Replicating::replicate(Loop& loop, Make make) noexcept {
  const auto once = [&] { broker_->replicate(node_, make()); };
  for (int attempts = 3; attempts > 0 && !loop.contain("The broker", once); --attempts) continue;
}

MUSTER_INLINE void Replicating::member(Loop& loop, ConnectionId id, const std::string& user, const RoomKey& key,
                                       bool member) noexcept {
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

MUSTER_INLINE void Replicating::state(Loop& loop, const RoomKey& key, const std::string& client,
                                      const AwarenessOwner& owner, std::uint64_t removed_at) noexcept {
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
    } else if (awareness_.get(key, client, entry)) {  // else it is gone already, and that is told by who removed it
      state.version = entry.clock;
      state.value = entry.state;
    }
    return state;
  });
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
