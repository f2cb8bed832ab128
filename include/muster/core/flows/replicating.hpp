// Replicating: what this node tells the broker.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "muster/awareness_store.hpp"
#include "muster/broker.hpp"
#include "muster/core/loop/loop.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Any thread, unless a loop is given: then its own.
class Replicating {
 public:
  Replicating(std::shared_ptr<Broker> broker, const AwarenessStore& awareness)
      : broker_(std::move(broker)), awareness_(awareness) {}

  /// Whether there is a broker: without one nothing below is called but `member` and `state`, which do nothing.
  [[nodiscard]] bool is_on() const noexcept { return broker_ != nullptr; }
  void attach(std::shared_ptr<Broker::Sink> sink);
  void detach();

  void publish(BrokerMessage message, Reply<Result<Position>> done) {
    broker_->publish(std::move(message), std::move(done));
  }
  /// Tells the others that it is a member, or is no more. It has happened: a broker that throws is asked again.
  /// Who is there, with the profile that it shows; or is there no more.
  void member(Loop& loop, ConnectionId id, const Identity& identity, const RoomKey& key, bool member) noexcept;
  /// Likewise a client's state. `removed_at`: the clock at which it was removed; 0: it stands.
  void state(Loop& loop, const RoomKey& key, const std::string& client, const AwarenessOwner& owner,
             std::uint64_t removed_at) noexcept;

  /// This node has one subscription to a room, however many of its connections ask.
  void subscribe(const RoomKey& key, Reply<Result<Position>> done) {
    broker_->subscribe(node_, key, std::nullopt, std::move(done));
  }
  void unsubscribe(const RoomKey& key) { broker_->unsubscribe(node_, key); }

 private:
  template <class Make>
  void replicate(Loop& loop, Make make) noexcept;

  const std::shared_ptr<Broker> broker_;
  const AwarenessStore& awareness_;
  std::shared_ptr<Broker::Sink> sink_;
  Broker::NodeId node_ = 0;
  std::atomic<std::uint64_t> member_versions_{0};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
