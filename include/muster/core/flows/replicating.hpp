// Replicating: what this node tells the broker, and which rooms it hears of.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "muster/awareness_store.hpp"
#include "muster/broker.hpp"
#include "muster/core/base/life.hpp"
#include "muster/core/base/mutex.hpp"
#include "muster/core/outward/questions.hpp"
#include "muster/core/registry/room_table.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Any thread, unless a connection is given: then its own.
class Replicating {
 public:
  Replicating(std::shared_ptr<Broker> broker, const AwarenessStore& awareness, const RoomTable& rooms, const Life& life,
              Questions& questions)
      : broker_(std::move(broker)), awareness_(awareness), rooms_(rooms), life_(life), questions_(questions) {}

  /// Whether there is a broker: without one nothing below is called but `member` and `state`, which do nothing.
  [[nodiscard]] bool is_on() const noexcept { return broker_ != nullptr; }
  void attach(std::shared_ptr<Broker::Sink> sink);
  void detach();

  void publish(BrokerMessage message, Reply<Result<Position>> done) {
    broker_->publish(std::move(message), std::move(done));
  }
  /// Tells the others that it is a member, or is no more. It has happened: a broker that throws is asked again.
  void member(Loop& loop, ConnectionId id, const std::string& user, const RoomKey& key, bool member) noexcept;
  /// Likewise a client's state. `removed_at`: the clock at which it was removed; 0: it stands.
  void state(Loop& loop, const RoomKey& key, const std::string& client, const AwarenessOwner& owner,
             std::uint64_t removed_at) noexcept;

  /// Before the first member joins. False: it is subscribed to already; else `then` is called with the answer, or an error.
  [[nodiscard]] bool subscribe_first(ConnectionState& connection, const RoomPtr& room,
                                     Function<void(ConnectionState&, Error*)> then);
  void unsubscribe(const RoomKey& key) { broker_->unsubscribe(node_, key); }

  /// While one of these lives nobody subscribes to the room.
  class Unsubscribing {
   public:
    Unsubscribing(Replicating& of, const RoomKey& key) : of_(of.is_on() ? &of : nullptr) {
      if (of_ == nullptr) return;
      Lock lock(of_->mutex_);
      at_ = of_->unsubscribing_.insert(key);
    }
    ~Unsubscribing() {
      if (of_ == nullptr) return;
      Lock lock(of_->mutex_);
      of_->unsubscribing_.erase(at_);
    }
    Unsubscribing(const Unsubscribing&) = delete;
    Unsubscribing& operator=(const Unsubscribing&) = delete;

   private:
    Replicating* const of_;
    std::multiset<RoomKey>::iterator at_;
  };

 private:
  class Subscribing;
  template <class Make>
  void replicate(Loop& loop, Make make) noexcept;

  const std::shared_ptr<Broker> broker_;
  const AwarenessStore& awareness_;
  const RoomTable& rooms_;
  const Life& life_;
  Questions& questions_;
  std::shared_ptr<Broker::Sink> sink_;
  Broker::NodeId node_ = 0;
  Mutex mutex_;
  std::multiset<RoomKey> unsubscribing_ MUSTER_GUARDED_BY(mutex_);  ///< which the broker is being told of just now
  std::multiset<RoomKey> subscribing_ MUSTER_GUARDED_BY(mutex_);    ///< which it has been asked for
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
