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
class TokenBucket {
 public:
  /// How long until `amount` is there (0: now). `paid`: what was charged of it already. More than a burst counts as one.
  [[nodiscard]] std::chrono::milliseconds until(std::size_t rate, double amount, TimePoint now, double paid = 0) {
    if (rate == 0) return std::chrono::milliseconds(0);
    fill(rate, now);
    const double wanted = std::max(std::min(amount, 2 * static_cast<double>(rate)) - paid, 0.0);
    if (tokens_ >= wanted) return std::chrono::milliseconds(0);
    const double seconds = std::min((wanted - tokens_) / static_cast<double>(rate), longest_seconds);
    return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000) + 1);
  }
  /// Takes `amount` whatever there is: what is owed then must come in before anything is there again.
  void charge(std::size_t rate, double amount, TimePoint now) {
    if (rate == 0) return;
    fill(rate, now);
    tokens_ -= amount;
  }
  /// Whether anything was owed when it was last asked for or charged.
  [[nodiscard]] bool owes() const noexcept { return tokens_ < 0; }
  /// How long until nothing is owed (0: now).
  [[nodiscard]] std::chrono::milliseconds debt(std::size_t rate, TimePoint now) { return until(rate, 0, now); }

 private:
  void fill(std::size_t rate, TimePoint now) {
    const double burst = 2 * static_cast<double>(rate);
    if (last_ == TimePoint{}) {
      tokens_ = burst;
    } else {
      const double seconds = std::chrono::duration<double>(now - last_).count();
      tokens_ = std::min(burst, tokens_ + seconds * static_cast<double>(rate));
    }
    last_ = now;
  }
  static constexpr double longest_seconds = 86'400;  // of what is waited for at once
  double tokens_ = 0;
  TimePoint last_{};
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
