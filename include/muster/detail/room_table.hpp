// RoomTable: rooms by key. A room leaves it when it is retired, and only then.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "muster/detail/mutex.hpp"
#include "muster/detail/room_state.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {

class RoomTable {
 public:
  [[nodiscard]] RoomPtr find(const RoomKey& key) const {
    const Shard& shard = shards_[std::hash<RoomKey>{}(key) % shards_.size()];
    Lock lock(shard.mutex);
    const auto found = shard.rooms.find(key);
    return found == shard.rooms.end() ? nullptr : found->second;
  }
  /// The room of this key; `fresh` when there is none.
  [[nodiscard]] RoomPtr find_or_add(const RoomPtr& fresh) {
    Shard& shard = shards_[std::hash<RoomKey>{}(fresh->key) % shards_.size()];
    Lock lock(shard.mutex);
    return shard.rooms.try_emplace(fresh->key, fresh).first->second;
  }
  /// Removes this very room, if it is still the one of its key.
  void erase(const RoomPtr& room) {
    Shard& shard = shards_[std::hash<RoomKey>{}(room->key) % shards_.size()];
    Lock lock(shard.mutex);
    const auto found = shard.rooms.find(room->key);
    if (found != shard.rooms.end() && found->second == room) shard.rooms.erase(found);
  }
  [[nodiscard]] std::size_t size() const {
    std::size_t rooms = 0;
    for (const Shard& shard : shards_) {
      Lock lock(shard.mutex);
      rooms += shard.rooms.size();
    }
    return rooms;
  }
  [[nodiscard]] std::vector<RoomPtr> all() const {
    std::vector<RoomPtr> rooms;
    for (const Shard& shard : shards_) {
      Lock lock(shard.mutex);
      for (const auto& entry : shard.rooms) rooms.push_back(entry.second);
    }
    return rooms;
  }

 private:
  struct Shard {
    mutable Mutex mutex;
    std::unordered_map<RoomKey, RoomPtr> rooms;
  };
  std::array<Shard, 64> shards_;
};

}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
