// Rooms that know a user to be online, and that it has left.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

struct RoomState;

/// They are to be told when the user goes offline. Rooms that have ended are forgotten before the list would grow.
class LeftRooms {
 public:
  void add(const std::shared_ptr<RoomState>& room) {
    if (!rooms_) rooms_ = std::make_unique<Rooms>();
    if (rooms_->first.expired()) {
      rooms_->first = room;  // mostly the only one
      return;
    }
    auto& more = rooms_->more;
    if (more.size() == more.capacity()) forget_ended(more);
    more.push_back(room);
  }
  /// All of them, some perhaps twice.
  template <class Each>
  void for_each(Each each) const {
    if (!rooms_) return;
    if (const auto room = rooms_->first.lock()) each(room);
    for (const auto& weak : rooms_->more) {
      if (const auto room = weak.lock()) each(room);
    }
  }
  [[nodiscard]] bool empty() const noexcept { return !rooms_; }

 private:
  using List = std::vector<std::weak_ptr<RoomState>>;
  struct Rooms {
    std::weak_ptr<RoomState> first;
    List more;
  };
  static void forget_ended(List& rooms) {
    const std::owner_less<std::weak_ptr<RoomState>> before;
    std::sort(rooms.begin(), rooms.end(), before);
    auto end = rooms.begin();  // of those that stay
    for (auto& room : rooms) {
      if (room.expired() || (end != rooms.begin() && !before(*(end - 1), room))) continue;
      (end++)->swap(room);
    }
    rooms.erase(end, rooms.end());
    rooms.reserve(std::max<std::size_t>(2 * rooms.size(), 8));
  }

  std::unique_ptr<Rooms> rooms_;  ///< null: there are none
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
