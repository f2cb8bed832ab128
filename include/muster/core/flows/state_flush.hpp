// StateFlush: presence and awareness as members see them. Keys are marked, and the truth is read when they are flushed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "muster/awareness_store.hpp"
#include "muster/core/delivery/fan_out.hpp"
#include "muster/core/flows/replicating.hpp"
#include "muster/core/loop/loops.hpp"
#include "muster/core/registry/connection_table.hpp"
#include "muster/core/registry/room_table.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// So many connections, rooms or states a task.
inline constexpr std::size_t task_slice = 256;

/// On the loop that is given.
class StateFlush {
 public:
  StateFlush(const Options& options, const RoomTable& table, const UserTable& users, const Loops& loops,
             AwarenessStore& awareness, Replicating& replicating, Writer& writer, FanOut& fan_out)
      : options_(options),
        table_(table),
        users_(users),
        loops_(loops),
        awareness_(awareness),
        replicating_(replicating),
        writer_(writer),
        fan_out_(fan_out) {}

  /// A room has something new to tell; null: the announcements have.
  void plan(Loop& loop, const RoomPtr& room) noexcept;
  /// What RoomState::plan_latest has asked for, on an executor of its members. Any thread.
  void plan_latest(const LoopPtr& loop, const RoomPtr& room, TimePoint due) noexcept;
  void run(Loop& loop, TimePoint now) noexcept;
  void run_due(Loop& loop);
  void flush(Loop& loop, const RoomPtr& room) noexcept;

  /// A client's state changed. `removed_at`: the clock at which it was removed; 0: it was set.
  void mark(Loop& loop, const RoomPtr& room, const std::string& client, std::uint64_t removed_at);
  /// Memory for what `clear_awareness` is about to do: what a connection owns, in one room or in all.
  [[nodiscard]] Clearings clearing_for(Loop& loop, ConnectionId owner, const RoomPtr& room);
  void clear_awareness(Loop& loop, Clearings& clearing) noexcept;
  void clear_awareness(Loop& loop) noexcept;

  /// A user came or went, for scopes wider than rooms.
  void announce(Loop& loop, const UserKey& user, bool online);
  /// Plans what could not be announced before.
  void announce_rest(Loop& loop);

 private:
  void plan_at(Loop& loop, const RoomPtr& room, TimePoint due) noexcept;
  [[nodiscard]] bool flush_once(Loop& loop, const RoomPtr& room, RoomState::Marks& dirty);
  [[nodiscard]] bool clear_some(Loop& loop, Clearing& clearing, std::size_t& left);
  void flush_announcements(Loop& loop);
  void tell_announcements(const std::map<UserKey, bool>& dirty);

  const Options& options_;
  const RoomTable& table_;
  const UserTable& users_;
  const Loops& loops_;
  AwarenessStore& awareness_;
  Replicating& replicating_;
  Writer& writer_;
  FanOut& fan_out_;
  Mutex announcements_mutex_;
  std::map<UserKey, bool> announcements_ MUSTER_GUARDED_BY(announcements_mutex_);
  bool announcements_due_ MUSTER_GUARDED_BY(announcements_mutex_) = false;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
