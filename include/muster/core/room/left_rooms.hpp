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
  using List = std::vector<std::weak_ptr<RoomState>>;

  void add(const std::shared_ptr<RoomState>& room) {
    if (first_.expired()) {
      first_ = room;  // of most connections the only one: no allocation
      return;
    }
    if (!more_) more_ = std::make_unique<List>();
    if (more_->size() == more_->capacity()) compact();
    more_->push_back(room);
  }
  /// All of them, some perhaps twice.
  template <class Each>
  void for_each(Each each) const {
    if (const auto room = first_.lock()) each(room);
    if (!more_) return;
    for (const auto& weak : *more_) {
      if (const auto room = weak.lock()) each(room);
    }
  }
  [[nodiscard]] bool empty() const noexcept { return first_.expired() && !more_; }

 private:
  void compact() {
    const std::owner_less<std::weak_ptr<RoomState>> before;
    std::sort(more_->begin(), more_->end(), before);
    auto end = more_->begin();  // of those that stay
    for (auto& room : *more_) {
      if (room.expired() || (end != more_->begin() && !before(*(end - 1), room))) continue;
      (end++)->swap(room);
    }
    more_->erase(end, more_->end());
    more_->reserve(std::max<std::size_t>(2 * more_->size(), 8));
  }

  std::weak_ptr<RoomState> first_;
  std::unique_ptr<List> more_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
