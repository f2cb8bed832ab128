// PacedLatest: `latest` messages that wait, in a room whose members are told so many bytes a second.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "muster/core/room/history.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Used under the room's lock. A key has one place, that of its first change nobody was told, and one message, its newest:
/// the one that has waited longest goes first, so that nobody starves whoever else publishes how much. Who is left out of
/// the newest has published it, and needs none before it either.
class PacedLatest {
 public:
  struct Waiting {
    std::shared_ptr<Entry> newest;
    TimePoint since;
  };
  /// What one costs a member: its bytes, and about what a protocol puts around them.
  [[nodiscard]] static std::size_t cost(std::string_view data, std::string_view key) noexcept {
    return data.size() + key.size() + 128;
  }
  /// How many bytes there are too many for this one; 0: none. One alone is taken whatever its size.
  [[nodiscard]] std::size_t beyond(std::string_view data, const std::string& key, std::size_t rate) const {
    const auto place = places_.find(key);
    const std::size_t before = place != places_.end() ? cost_of(*place->second->newest) : 0;
    const std::size_t size = cost(data, key);
    const std::size_t after = bytes_ - before + size;
    const std::size_t most = rate > SIZE_MAX / seconds ? SIZE_MAX : seconds * rate;
    return rate == 0 || order_.empty() || size <= before || after <= most ? 0 : after - most;
  }
  /// True: it has taken an older one's place.
  bool add(std::shared_ptr<Entry> entry) {
    const auto place = places_.find(entry->latest_key);
    if (place != places_.end()) {
      bytes_ = bytes_ - cost_of(*place->second->newest) + cost_of(*entry);
      place->second->newest = std::move(entry);
      return true;
    }
    std::list<Waiting> fresh;
    fresh.push_back({entry, entry->at});
    places_.emplace(entry->latest_key, fresh.begin());
    order_.splice(order_.end(), fresh);
    bytes_ += cost_of(*entry);
    return false;
  }
  /// How many may be told now; `rate` of 0: all. What was not taken up within `interval` is had no longer.
  [[nodiscard]] std::size_t due(std::size_t rate, TimePoint::duration interval, TimePoint now) noexcept {
    next_ = std::max(next_, now - interval);
    if (rate == 0) return places_.size();
    std::size_t count = 0;
    TimePoint next = next_;
    for (auto at = order_.begin(); at != order_.end() && next <= now; ++at, ++count) next += time_of(*at, rate);
    return count;
  }
  /// The one that has waited longest. Only when there is one.
  [[nodiscard]] Waiting take(std::size_t rate) noexcept {
    Waiting first = std::move(order_.front());
    places_.erase(first.newest->latest_key);
    order_.pop_front();
    bytes_ -= cost_of(*first.newest);
    if (rate != 0) next_ += time_of(first, rate);
    return first;
  }
  [[nodiscard]] bool empty() const noexcept { return order_.empty(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// When more may be told.
  [[nodiscard]] TimePoint next() const noexcept { return next_; }
  /// When a flush is planned for them.
  std::optional<TimePoint> planned;

 private:
  /// As much as goes out in these may wait.
  static constexpr std::size_t seconds = 8;
  [[nodiscard]] static std::size_t cost_of(const Entry& entry) noexcept {
    return cost(entry.data.view(), entry.latest_key);
  }
  [[nodiscard]] static TimePoint::duration time_of(const Waiting& one, std::size_t rate) noexcept {
    const double time = static_cast<double>(cost_of(*one.newest)) / static_cast<double>(rate);
    return std::chrono::duration_cast<TimePoint::duration>(std::chrono::duration<double>(std::min(time, 60.0)));
  }

  std::list<Waiting> order_;  ///< the longest first
  std::map<std::string, std::list<Waiting>::iterator> places_;
  std::size_t bytes_ = 0;
  TimePoint next_{};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
