// Publishing: the one place where messages get their numbers, this node's or the broker's.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "muster/broker.hpp"
#include "muster/core/delivery/fan_out.hpp"
#include "muster/core/flows/replicating.hpp"
#include "muster/core/flows/rooms.hpp"
#include "muster/core/flows/state_flush.hpp"
#include "muster/room.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

struct Draft {
  Payload data;
  Delivery delivery;
  ConnectionId exclude;
  ConnectionId from;
  std::string from_user;
  /// Empty: none.
  std::string idempotency_key = {};
};

/// Any thread.
class Publishing {
 public:
  Publishing(const Options& options, RoomTable& table, const Loops& loops, Rooms& rooms, Replicating& replicating,
             FanOut& fan_out, StateFlush& state_flush)
      : options_(options),
        table_(table),
        loops_(loops),
        rooms_(rooms),
        replicating_(replicating),
        fan_out_(fan_out),
        state_flush_(state_flush) {}

  /// Through the broker, if there is one.
  void publish(const RoomKey& key, Draft draft, PublishDone done);
  /// Without one.
  [[nodiscard]] Result<Published> publish_here(const RoomKey& key, Draft draft);
  /// What the broker says was published.
  void take(const BrokerMessage& message);
  /// The numbers up to before `next` are skipped: members find them missing in the history, and are told a gap.
  void skip(const RoomKey& key, Position next);

  [[nodiscard]] std::uint64_t conflated() const noexcept { return conflated_; }

 private:
  /// A flush of `latest` messages that wait, and where it is to be planned, after the lock.
  struct Plan {
    LoopPtr loop;
    TimePoint due{};
  };
  /// Hands an entry to the members, or has it wait for its turn. Throws only in that case, before it has done anything.
  static void hand_out(RoomState& room, const std::shared_ptr<Entry>& entry, std::vector<RoomPartPtr>& flushes,
                       std::uint64_t& conflated, Plan& plan) MUSTER_REQUIRES(room.mutex);
  /// `publish` for a broker's room, once for each idempotency key.
  class KeyedPublish;
  void publish_once(const RoomKey& key, Draft draft, PublishDone done);

  const Options& options_;
  RoomTable& table_;
  const Loops& loops_;
  Rooms& rooms_;
  Replicating& replicating_;
  FanOut& fan_out_;
  StateFlush& state_flush_;
  std::atomic<std::uint64_t> conflated_{0};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
