// How it reaches this node's rooms.
#pragma once

#include <utility>

#include "muster/core/flows/broker_inbox.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

class BrokerInbox::Sink final : public Broker::Sink {
 public:
  Sink(BrokerInbox& inbox, const Life& life) : inbox_(inbox), life_(life.handle()) {}
  void on_message(const BrokerMessage& message) override {
    if (const auto alive = life_.lock()) inbox_.publishing_.take(message);
  }
  void on_state(const BrokerState& state) override {
    if (const auto alive = life_.lock()) inbox_.take_state(state);
  }
  void on_lost(const RoomKey& room, Position, Position next) override {
    if (const auto alive = life_.lock()) inbox_.publishing_.skip(room, next);
  }

 private:
  BrokerInbox& inbox_;
  const std::weak_ptr<const void> life_;
};

MUSTER_INLINE std::shared_ptr<Broker::Sink> BrokerInbox::sink() {
  return std::shared_ptr<Sink>(new Sink(*this, life_));
}

MUSTER_INLINE void BrokerInbox::take_state(const BrokerState& state) {
  const RoomPtr room = table_.find(state.room);
  if (!room) return;
  {
    Lock lock(room->mutex);
    if (!room->subscribed) return;
  }
  LoopPtr loop;
  std::uint64_t removed_at = 0;
  RoomState::Marks mark;  // its memory before anything changes: the same change is not taken twice
  if (state.kind == BrokerState::Kind::awareness) {
    mark[state.key] = 0;
    const AwarenessOwner owner{state.user, state.owner, state.owner_order};
    if (state.value) {
      const auto update =
          awareness_.set(state.room, {state.key, owner, state.version, *state.value, loops_.read_clock()}, {});
      if (update.result != AwarenessResult::accepted) return;
    } else {
      const auto update = awareness_.remove(state.room, state.key, owner, state.version);
      if (update.result != AwarenessResult::accepted) return;
      removed_at = update.clock;
    }
  }
  bool retired = false;
  {
    Lock lock(room->mutex);
    loop = room->loop_of_a_member();
    if (state.kind == BrokerState::Kind::member) {
      if (state.value) {
        Member member{state.owner, state.user, *state.value};
        const auto [at, added] = room->remote_members.make().try_emplace(state.owner);
        if (!added && at->second.profile == member.profile) return;
        at->second = std::move(member);
        if (options_.presence_scope == PresenceScope::none) return;
        if (added) {
          room->presence.joined(state.owner, state.user);
        } else {
          room->presence.changed(state.owner, state.user);
        }
      } else {
        auto* const others = room->remote_members.get();
        if (others == nullptr || others->erase(state.owner) == 0) return;
        if (others->empty()) room->remote_members.drop();
        if (options_.presence_scope != PresenceScope::none) room->presence.left(state.owner, state.user);
      }
    } else {
      mark.begin()->second = removed_at;
      room->take_back(mark);
      retired = room->retired;
    }
    if (!retired && (!loop || std::exchange(room->state_flush_due, true))) return;
  }
  if (retired) {  // while it was taken the room has ended, which may have looked for what it left before this was there
    (void)awareness_.forget(state.room, state.key);
    return;
  }
  const bool posted =
      loop->contain("The executor", [&] { (void)loop->post([this, loop, room] { state_flush_.plan(*loop, room); }); });
  if (posted) return;
  Lock lock(room->mutex);
  room->state_flush_due = false;  // with what changes next, or by the sweep
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
