// Rooms: how they are made and subscribed to, and how they end; and what they give up where too much is kept.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>

#include "muster/awareness_store.hpp"
#include "muster/core/base/byte_budget.hpp"
#include "muster/core/base/entropy.hpp"
#include "muster/core/base/mutex.hpp"
#include "muster/core/flows/replicating.hpp"
#include "muster/core/loop/loops.hpp"
#include "muster/core/outward/hooks.hpp"
#include "muster/core/outward/questions.hpp"
#include "muster/core/registry/directory.hpp"
#include "muster/core/registry/room_table.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Any thread, unless a loop or a connection is given: then its own.
class Rooms {
 public:
  Rooms(const Options& options, RoomTable& table, ByteBudget& bytes, Entropy& entropy, const Loops& loops,
        AwarenessStore& awareness, const Directory& directory, Replicating& replicating, Hooks& hooks,
        Questions& questions)
      : options_(options),
        table_(table),
        bytes_(bytes),
        entropy_(entropy),
        loops_(loops),
        awareness_(awareness),
        directory_(directory),
        replicating_(replicating),
        hooks_(hooks),
        questions_(questions) {}

  [[nodiscard]] RoomPtr find_or_make(const RoomKey& key);
  /// For who is about to enter a room that a broker carries: it stays, and stays subscribed to. The last of them to go
  /// retires it, if nobody has entered. May outlive the manager.
  class Hold;
  using HoldPtr = std::shared_ptr<Hold>;
  /// Null: it was retired, and is taken out of the table for another, which has to be found.
  [[nodiscard]] HoldPtr hold(ConnectionState& connection, const RoomPtr& room);
  /// False: it is subscribed to already; else `then` is called with the answer, or an error.
  [[nodiscard]] bool subscribe_first(ConnectionState& connection, const HoldPtr& hold,
                                     Function<void(ConnectionState&, Error*)> then);
  /// Ends it, if nobody is there and nothing is kept. True: somebody was told that it is open, and has to be told first
  /// that it is not.
  bool retire(const RoomPtr& room);
  /// A seat was given up: what follows for the room.
  void settle(Loop& loop, const RoomPtr& room);
  /// Tells hooks that a room opened or emptied, if that is so and they were told otherwise.
  void tell_edges(Loop& loop, const RoomPtr& room);

  /// Lists what the room keeps, and drops the oldest history there is while a byte budget is exceeded.
  void relieve(const RoomPtr& room);
  /// What waits cannot be given up: once it is beyond the limit by itself, nothing is added to it.
  [[nodiscard]] std::optional<Error> refuse_when_full(const RoomKey& key);

  /// Ends those of some rooms that time has ended. False: these were the last.
  bool sweep_some(RoomTable::Cursor& at, std::size_t most);
  /// A room more is made while nobody sweeps: a few of the others are looked at.
  void sweep_unattended();

  [[nodiscard]] std::uint64_t history_dropped() const noexcept { return history_dropped_; }
  [[nodiscard]] std::uint64_t refused_when_full() const noexcept { return refused_when_full_; }

 private:
  class Unsubscribing;

  const Options& options_;
  RoomTable& table_;
  ByteBudget& bytes_;
  Entropy& entropy_;
  const Loops& loops_;
  AwarenessStore& awareness_;
  const Directory& directory_;
  Replicating& replicating_;
  Hooks& hooks_;
  Questions& questions_;
  Mutex unsubscribing_mutex_;
  /// Which the broker is being told of just now.
  std::multiset<RoomKey> unsubscribing_ MUSTER_GUARDED_BY(unsubscribing_mutex_);
  Mutex unattended_mutex_;
  RoomTable::Cursor unattended_ MUSTER_GUARDED_BY(unattended_mutex_);
  std::atomic<std::uint64_t> history_dropped_{0}, refused_when_full_{0};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
