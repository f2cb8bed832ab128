// Which refusals are worth a line in the log.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>

#include "muster/detail/mutex.hpp"
#include "muster/observer.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {

/// Each reason and address once in a window, and so many lines in all: whoever comes from many addresses fills no disk.
/// Any thread.
class RefusalLog {
 public:
  using Key = std::array<std::uint8_t, 16>;  // as AddressTable's

  struct Verdict {
    bool is_news = false;
    /// Refusals of the window that has just ended that had no line because there were too many; told once.
    std::size_t left_out = 0;
  };

  [[nodiscard]] Verdict look(RefusedFor reason, const Key& address, TimePoint now) {
    Lock lock(mutex_);
    Verdict verdict;
    if (told_.empty() || now >= window_end_) {
      verdict.left_out = std::exchange(left_out_, 0);
      told_.clear();
      window_end_ = now + window;
    }
    if (told_.size() < most_lines) {
      verdict.is_news = told_.emplace(reason, address).second;
    } else if (told_.find({reason, address}) == told_.end()) {
      ++left_out_;
    }
    return verdict;
  }

  static constexpr std::chrono::seconds window{60};
  static constexpr std::size_t most_lines = 200;

 private:
  Mutex mutex_;
  std::set<std::pair<RefusedFor, Key>> told_;
  TimePoint window_end_{};
  std::size_t left_out_ = 0;
};

}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
