// SessionTable: the sessions that a connection of another id speaks for, or that nobody speaks for at the moment.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "muster/core/base/mutex.hpp"
#include "muster/core/registry/connection_table.hpp"
#include "muster/core/room/room_state.hpp"
#include "muster/data.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// A session goes by the id of its first connection: under that id others know it, whichever connection speaks for it.
/// While that first connection does, there is no entry here.
class SessionTable {
 public:
  enum class Claim : std::uint8_t {
    taken,
    occupied,  ///< another connection speaks for it, and has to hand it over first
    lost       ///< a newer claim was faster
  };

  /// Takes a place among the `limit` (0 = none) dropped sessions that may be kept; `hold` must follow.
  [[nodiscard]] bool reserve(std::size_t limit) {
    std::size_t held = held_.load();
    do {
      if (limit != 0 && held >= limit) return false;
    } while (!held_.compare_exchange_weak(held, held + 1));
    return true;
  }
  void give_back() noexcept { --held_; }
  /// The rooms whose seats are kept, and of them those that the program decided on.
  struct Kept {
    std::vector<RoomPtr> rooms, decided;
  };
  /// Keeps a dropped session's seats, beside those it has kept from before; or nothing has changed.
  void hold(ConnectionId member, std::uint64_t generation, const Kept& seats) {
    Shard& shard = shard_of(member);
    Lock lock(shard.mutex);
    const auto [at, added] = shard.entries.try_emplace(member);
    try {
      at->second.kept.rooms.reserve(at->second.kept.rooms.size() + seats.rooms.size());
      at->second.kept.decided.reserve(at->second.kept.decided.size() + seats.decided.size());
    } catch (...) {
      if (added) shard.entries.erase(at);
      throw;
    }
    for (const RoomPtr& room : seats.rooms) at->second.kept.rooms.push_back(room);
    for (const RoomPtr& room : seats.decided) at->second.kept.decided.push_back(room);
    at->second.held = true;
    at->second.generation = generation;
  }

  /// What the program keeps with a session that nobody speaks for, and where it is seen to that it ends.
  struct Parked {
    Data data;
    std::weak_ptr<Loop> ends_on;
    TimePoint ends_at{};
  };
  /// A connection that ends speaks for the session until it parts: what the program keeps with it is still in use. False:
  /// there are `limit` (0 = none) such already.
  [[nodiscard]] bool stay(ConnectionId member, std::uint64_t generation, const ConnectionPtr& connection,
                          std::size_t limit) {
    Shard& shard = shard_of(member);
    Lock lock(shard.mutex);
    const auto [at, added] = shard.entries.try_emplace(member);
    if (parked_.fetch_add(1) >= limit && limit != 0) {
      --parked_;
      if (added) shard.entries.erase(at);
      return false;
    }
    Entry& entry = at->second;
    entry.speaker = connection;
    entry.generation = generation;
    return true;
  }

  /// A connection resumes the session: of two claims the one of the newer generation stands. `was_held` gets whether
  /// its seats are still kept, `parked` what the program kept with it.
  [[nodiscard]] Claim claim(ConnectionId member, std::uint64_t generation, const ConnectionPtr& connection,
                            ConnectionPtr& speaker, bool& was_held, Parked& parked) {
    Shard& shard = shard_of(member);
    Lock lock(shard.mutex);
    const auto [at, added] = shard.entries.try_emplace(member);
    Entry& entry = at->second;
    if (!added && entry.generation >= generation) return Claim::lost;
    if (entry.speaker) {
      speaker = entry.speaker;
      return Claim::occupied;
    }
    was_held = std::exchange(entry.held, false);
    if (was_held) --held_;
    parked = take_parked(entry);
    entry.speaker = connection;
    entry.generation = generation;
    return Claim::taken;
  }

  /// Ends the grace of a session that nobody has claimed since, and that its connection has parted from; `rooms` gets
  /// those with its seats. False: it has none.
  [[nodiscard]] bool expire(ConnectionId member, std::uint64_t generation, std::vector<RoomPtr>& rooms) {
    Shard& shard = shard_of(member);
    Lock lock(shard.mutex);
    const auto found = shard.entries.find(member);
    if (found == shard.entries.end() || !found->second.held || found->second.generation != generation) return false;
    rooms = std::exchange(found->second.kept, {}).rooms;
    found->second.held = false;
    --held_;
    forget_idle(shard, found);
    return true;
  }
  /// What was kept of the program's with a session that nobody has claimed since; it ends with the caller.
  [[nodiscard]] Parked expire_parked(ConnectionId member, std::uint64_t generation) {
    Shard& shard = shard_of(member);
    Lock lock(shard.mutex);
    const auto found = shard.entries.find(member);
    if (found == shard.entries.end() || found->second.generation != generation) return {};
    Parked parked = take_parked(found->second);
    forget_idle(shard, found);
    return parked;
  }

  /// The rooms whose seats are kept for a session that is spoken for; they are kept no longer.
  [[nodiscard]] std::vector<RoomPtr> take_rooms(ConnectionId member) {
    Shard& shard = shard_of(member);
    Lock lock(shard.mutex);
    const auto found = shard.entries.find(member);
    return found == shard.entries.end() ? std::vector<RoomPtr>() : std::exchange(found->second.kept, {}).rooms;
  }
  [[nodiscard]] Kept kept_of(ConnectionId member) const {
    const Shard& shard = shard_of(member);
    Lock lock(shard.mutex);
    const auto found = shard.entries.find(member);
    return found == shard.entries.end() ? Kept() : found->second.kept;
  }

  /// The connection speaks for it no longer, and is in no table any more: now it can be claimed.
  void part(ConnectionId member, const ConnectionState* connection) {
    Shard& shard = shard_of(member);
    Lock lock(shard.mutex);
    const auto found = shard.entries.find(member);
    if (found == shard.entries.end() || found->second.speaker.get() != connection) return;
    found->second.speaker = nullptr;
    forget_idle(shard, found);
  }
  /// Likewise, after `stay`.
  void part(ConnectionId member, Parked parked) {
    Shard& shard = shard_of(member);
    Lock lock(shard.mutex);
    const auto found = shard.entries.find(member);
    if (found == shard.entries.end()) return;
    found->second.speaker = nullptr;
    std::swap(found->second.parked, parked);
    found->second.is_parked = true;
  }

  /// Who speaks for a session that was resumed.
  [[nodiscard]] ConnectionPtr speaker(ConnectionId member) const {
    const Shard& shard = shard_of(member);
    Lock lock(shard.mutex);
    const auto found = shard.entries.find(member);
    return found == shard.entries.end() ? nullptr : found->second.speaker;
  }
  [[nodiscard]] std::size_t held() const noexcept { return held_; }
  void clear() {
    for (Shard& shard : shards_) {
      Entries entries;  // they end after the section
      Lock lock(shard.mutex);
      entries.swap(shard.entries);
    }
  }

 private:
  struct Entry {
    std::uint64_t generation = 0;
    ConnectionPtr speaker;
    bool held = false;
    Kept kept;
    bool is_parked = false;
    Parked parked;
  };
  using Entries = std::unordered_map<ConnectionId, Entry>;
  struct Shard {
    mutable Mutex mutex;
    Entries entries MUSTER_GUARDED_BY(mutex);
  };
  [[nodiscard]] Parked take_parked(Entry& entry) noexcept {
    if (std::exchange(entry.is_parked, false)) --parked_;
    return std::exchange(entry.parked, {});
  }
  static void forget_idle(Shard& shard, Entries::iterator at) MUSTER_REQUIRES(shard.mutex) {
    if (!at->second.held && !at->second.speaker && !at->second.is_parked) shard.entries.erase(at);
  }
  [[nodiscard]] Shard& shard_of(ConnectionId id) { return shards_[id.value() >> 60U]; }
  [[nodiscard]] const Shard& shard_of(ConnectionId id) const { return shards_[id.value() >> 60U]; }
  std::array<Shard, 16> shards_;
  std::atomic<std::size_t> held_{0};
  std::atomic<std::size_t> parked_{0};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
