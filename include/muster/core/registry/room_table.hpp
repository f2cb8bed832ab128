// RoomTable: rooms by key. A room leaves it when it is retired, and only then.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "muster/core/base/intrusive_table.hpp"
#include "muster/core/base/keep_first.hpp"
#include "muster/core/base/mutex.hpp"
#include "muster/core/room/room_state.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

class RoomTable {
 public:
  RoomTable() = default;
  ~RoomTable() {
    for (Shard& shard : shards_) {
      shard.rooms.clear([](RoomState& room) { const RoomPtr last = std::move(room.in_table); });
    }
  }
  RoomTable(const RoomTable&) = delete;
  RoomTable& operator=(const RoomTable&) = delete;

  [[nodiscard]] RoomPtr find(const RoomKey& key) const {
    const Shard& shard = shards_[std::hash<RoomKey>{}(key) % shards_.size()];
    Lock lock(shard.mutex);
    const RoomState* const found = shard.rooms.find(key);
    return found == nullptr ? nullptr : found->in_table;
  }
  /// The room of this key; `fresh` when there is none.
  [[nodiscard]] RoomPtr find_or_add(const RoomPtr& fresh) {
    Shard& shard = shards_[std::hash<RoomKey>{}(fresh->key) % shards_.size()];
    Lock lock(shard.mutex);
    if (const RoomState* const found = shard.rooms.find(fresh->key)) return found->in_table;
    shard.rooms.insert(*fresh);
    return fresh->in_table = fresh;
  }
  /// Removes this very room, if it is still the one of its key.
  void erase(const RoomPtr& room) {
    Shard& shard = shards_[std::hash<RoomKey>{}(room->key) % shards_.size()];
    RoomPtr last;  // ends after the section
    Lock lock(shard.mutex);
    if (room->in_table == nullptr) return;
    shard.rooms.erase(*room);
    last.swap(room->in_table);
  }
  [[nodiscard]] std::size_t size() const {
    std::size_t rooms = 0;
    for (const Shard& shard : shards_) {
      Lock lock(shard.mutex);
      rooms += shard.rooms.size();
    }
    return rooms;
  }
  /// How far one has come who looks at all rooms, a few at a time. What comes and goes meanwhile may be missed, and what
  /// is there may be seen twice.
  struct Cursor {
    std::size_t shard = 0;
    std::size_t step = 1;  ///< of so many who share the work, `shard` is the first of this one's
    std::size_t bucket = 0;
  };
  [[nodiscard]] static Cursor no_rooms() { return {shard_count, 1, 0}; }
  /// About `most` of them, from the cursor on. False: these were the last.
  bool some(Cursor& at, std::size_t most, std::vector<RoomPtr>& found) const {
    for (std::size_t looked = 0; at.shard < shard_count; at.shard += at.step, at.bucket = 0) {
      const Shard& shard = shards_[at.shard];
      Lock lock(shard.mutex);
      for (; at.bucket < shard.rooms.bucket_count(); ++at.bucket, ++looked) {
        if (found.size() >= most || looked >= 16 * most) return true;
        shard.rooms.for_bucket(at.bucket, [&](const RoomState& room) { found.push_back(room.in_table); });
      }
    }
    return false;
  }
  /// Of a tenant, with names that begin with `prefix` and come after `after`: the first `limit` by name.
  [[nodiscard]] std::vector<RoomPtr> page(std::string_view tenant, std::string_view prefix, std::string_view after,
                                          std::size_t limit) const {
    std::vector<RoomPtr> found;
    const auto by_name = [](const RoomPtr& a, const RoomPtr& b) { return a->key.name < b->key.name; };
    for (const Shard& shard : shards_) {
      Lock lock(shard.mutex);
      shard.rooms.for_each([&](const RoomState& room) {
        const RoomKey& key = room.key;
        if (key.tenant != tenant || key.name <= after || key.name.compare(0, prefix.size(), prefix) != 0) return;
        (void)keep_first(found, limit, room.in_table, by_name);
      });
    }
    std::sort_heap(found.begin(), found.end(), by_name);
    return found;
  }
  void clear() {
    for (Shard& shard : shards_) {
      std::vector<RoomPtr> rooms;  // they end after the section
      Lock lock(shard.mutex);
      rooms.reserve(shard.rooms.size());
      shard.rooms.clear([&](RoomState& room) { rooms.push_back(std::move(room.in_table)); });
    }
  }

 private:
  static constexpr std::size_t shard_count = 64;
  struct Key {
    static const RoomKey& of(const RoomState& room) noexcept { return room.key; }
    static std::size_t hash(const RoomKey& key) noexcept { return std::hash<RoomKey>{}(key) / shard_count; }
  };
  struct Shard {
    mutable Mutex mutex;
    IntrusiveTable<RoomState, Key, &RoomState::next_by_key> rooms MUSTER_GUARDED_BY(mutex);
  };
  std::array<Shard, shard_count> shards_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
