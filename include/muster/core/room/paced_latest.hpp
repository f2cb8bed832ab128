// PacedLatest: `latest` messages that wait, in a room whose members are told so many bytes a second.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "muster/core/room/history.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Used under the room's lock. A key has one place, that of its first change nobody was told, and one message, its newest:
/// the one that has waited longest goes first, so that nobody starves whoever else publishes how much.
class PacedLatest {
 public:
  struct Waiting {
    std::shared_ptr<Entry> newest;
    TimePoint since;
  };
  /// What one costs a member: its bytes, and about what a protocol puts around them.
  [[nodiscard]] static std::size_t cost(const Entry& entry) noexcept {
    return entry.data.view().size() + entry.latest_key.size() + 128;
  }
  /// False: as much waits as goes out in eight seconds, and this would be one key more.
  [[nodiscard]] bool takes(const Entry& entry, std::size_t rate) const {
    return bytes_ / 8 < rate || waiting_.count({entry.latest_key, entry.exclude}) != 0;
  }
  /// True: it has taken an older one's place.
  bool add(std::shared_ptr<Entry> entry) {
    std::list<Places::iterator> place(1);
    const auto [at, added] = waiting_.try_emplace({entry->latest_key, entry->exclude}, Waiting{nullptr, entry->at});
    if (!added) bytes_ -= cost(*at->second.newest);
    bytes_ += cost(*entry);
    at->second.newest = std::move(entry);
    if (!added) return true;
    place.front() = at;
    order_.splice(order_.end(), place);
    return false;
  }
  /// What may be told now, or nothing; `rate` of 0: all may. What is not taken up within `interval` is had no longer.
  [[nodiscard]] std::optional<Waiting> take(std::size_t rate, TimePoint::duration interval, TimePoint now) {
    next_ = std::max(next_, now - interval);
    if (order_.empty() || (rate != 0 && next_ > now)) return std::nullopt;
    std::optional<Waiting> first(std::move(order_.front()->second));
    waiting_.erase(order_.front());
    order_.pop_front();
    const std::size_t size = cost(*first->newest);
    bytes_ -= size;
    if (rate != 0) {
      const std::chrono::duration<double> time(static_cast<double>(size) / static_cast<double>(rate));
      next_ += std::chrono::duration_cast<TimePoint::duration>(std::min(time, std::chrono::duration<double>(60)));
    }
    return first;
  }
  [[nodiscard]] bool empty() const noexcept { return order_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return waiting_.size(); }
  /// When more may be told.
  [[nodiscard]] TimePoint next() const noexcept { return next_; }

 private:
  /// Who is left out is another for each publisher: of two that publish under one key each has its place.
  using Key = std::pair<std::string, ConnectionId>;
  using Places = std::map<Key, Waiting>;

  Places waiting_;
  std::list<Places::iterator> order_;  ///< the longest first
  std::size_t bytes_ = 0;
  TimePoint next_{};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
