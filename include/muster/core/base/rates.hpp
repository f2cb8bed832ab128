// Rates: a token bucket and a window, for one connection.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Tokens come at `rate` a second up to a burst of twice that. A rate of 0 is no limit.
///
/// All there is to keep is when the burst will be whole again: the virtual scheduling of ITU-T I.371, annex A.
class TokenBucket {
 public:
  /// How long until `amount` is there (0: now). `paid`: what was charged of it already. More than a burst counts as one.
  [[nodiscard]] std::chrono::milliseconds until(std::size_t rate, double amount, TimePoint now, double paid = 0) const {
    if (rate == 0) return std::chrono::milliseconds(0);
    const double wanted = std::max(std::min(amount, 2 * static_cast<double>(rate)) - paid, 0.0);
    const TimePoint there = whole_at_ - burst + time_of(wanted, rate);
    if (there <= now) return std::chrono::milliseconds(0);
    const auto wait = std::min<TimePoint::duration>(there - now, std::chrono::hours(24));
    return std::chrono::duration_cast<std::chrono::milliseconds>(wait) + std::chrono::milliseconds(1);
  }
  /// Takes `amount` whatever there is: what is owed then must come in before anything is there again.
  void charge(std::size_t rate, double amount, TimePoint now) {
    if (rate != 0) whole_at_ = std::min(std::max(whole_at_, now) + time_of(amount, rate), now + longest);
  }
  /// Whether anything is owed.
  [[nodiscard]] bool owes(TimePoint now) const noexcept { return whole_at_ - now > burst; }
  /// How long until nothing is owed (0: now).
  [[nodiscard]] std::chrono::milliseconds debt(std::size_t rate, TimePoint now) const { return until(rate, 0, now); }

 private:
  static constexpr TimePoint::duration burst = std::chrono::seconds(2);         // at any rate
  static constexpr TimePoint::duration longest = std::chrono::hours(24 * 365);  // that anybody owes
  [[nodiscard]] static TimePoint::duration time_of(double amount, std::size_t rate) {
    using Seconds = std::chrono::duration<double>;
    const Seconds time(amount / static_cast<double>(rate));
    return time < Seconds(longest) ? std::chrono::round<TimePoint::duration>(time) : longest;
  }
  TimePoint whole_at_{};
};

/// So many in any window of time, for what is rare enough that each can be remembered: exact.
class RateWindow {
 public:
  /// Counts one, or answers how long until one may come (0: counted). A limit of 0 is no limit.
  [[nodiscard]] std::chrono::milliseconds take(std::size_t limit, std::chrono::milliseconds window, TimePoint now) {
    if (limit == 0) return std::chrono::milliseconds(0);
    auto young = times_.begin();
    while (young != times_.end() && *young + window <= now) ++young;
    times_.erase(times_.begin(), young);
    if (times_.size() >= limit) return std::chrono::ceil<std::chrono::milliseconds>(times_.front() + window - now);
    times_.push_back(now);
    return std::chrono::milliseconds(0);
  }
  /// The last one did not happen.
  void give_back() {
    if (!times_.empty()) times_.pop_back();
  }

 private:
  std::vector<TimePoint> times_;  // the oldest first
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
