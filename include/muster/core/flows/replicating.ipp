// What happened here, for the other nodes.
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

template <class Make>
void Replicating::replicate(Loop& loop, Make make) noexcept {
  const auto once = [&] { broker_->replicate(node_, make()); };
  for (int attempts = 3; attempts > 0 && !loop.contain("The broker", once); --attempts) continue;
}

MUSTER_INLINE void Replicating::member(Loop& loop, ConnectionId id, const Identity& identity, const RoomKey& key,
                                       bool member) noexcept {
  if (!broker_) return;
  replicate(loop, [&] {
    BrokerState state;
    state.room = key;
    state.kind = BrokerState::Kind::member;
    state.key = to_string(id);
    state.user = identity.user;
    state.owner = id;
    state.version = ++member_versions_;
    if (member) state.value = identity.profile;
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
