// BrokerInbox: what other nodes say: messages with their numbers, and state.
#pragma once

#include <memory>

#include "muster/awareness_store.hpp"
#include "muster/broker.hpp"
#include "muster/core/base/life.hpp"
#include "muster/core/flows/publishing.hpp"
#include "muster/core/flows/state_flush.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Any thread.
class BrokerInbox {
 public:
  BrokerInbox(const Options& options, const RoomTable& table, const Loops& loops, const Life& life,
              AwarenessStore& awareness, Publishing& publishing, StateFlush& state_flush)
      : options_(options),
        table_(table),
        loops_(loops),
        life_(life),
        awareness_(awareness),
        publishing_(publishing),
        state_flush_(state_flush) {}

  /// What the broker is given; it may live longer than all of this.
  [[nodiscard]] std::shared_ptr<Broker::Sink> sink();

 private:
  class Sink;
  void take_state(const BrokerState& state);

  const Options& options_;
  const RoomTable& table_;
  const Loops& loops_;
  const Life& life_;
  AwarenessStore& awareness_;
  Publishing& publishing_;
  StateFlush& state_flush_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
