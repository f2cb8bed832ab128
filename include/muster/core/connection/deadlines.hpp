// Deadlines: what a connection is looked after for, on one timer.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "muster/core/loop/loop.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

enum class Deadline : std::uint8_t {
  beat,    ///< the next look at whether the peer is there
  guard,   ///< of authentication, then the age of the oldest unsent byte
  expiry,  ///< of the credentials
};
inline constexpr std::size_t deadline_count = 3;

/// The timer may fire before any of them has come, where one was cancelled or put off: that is cheaper than to look for
/// the next one then.
class Deadlines {
 public:
  Deadlines(void* connection, Timer::Fire fire) noexcept : timer_(connection, fire) { due_.fill(TimePoint::max()); }

  void arm(Loop& loop, Deadline which, TimePoint when) noexcept {
    const bool is_first = when < first();
    of(which) = when;
    if (is_first) loop.arm(timer_, when);
  }
  void cancel(Deadline which) noexcept { of(which) = TimePoint::max(); }
  void cancel() noexcept {
    due_.fill(TimePoint::max());
    timer_.cancel();
  }
  /// Calls `come` with each that is due, the earliest first; which may set any of them anew.
  template <class Come>
  void run(Loop& loop, Come come) {
    const TimePoint now = loop.executor->now();
    for (std::size_t i = 0; i < deadline_count; ++i) {  // one that is set anew for now has to wait for the next time
      const auto due = std::min_element(due_.begin(), due_.end());
      if (*due > now) break;
      *due = TimePoint::max();
      come(static_cast<Deadline>(due - due_.begin()));
    }
    if (!timer_.armed() && first() != TimePoint::max()) loop.arm(timer_, first());
  }

 private:
  [[nodiscard]] TimePoint& of(Deadline which) noexcept { return due_[static_cast<std::size_t>(which)]; }
  [[nodiscard]] TimePoint first() const noexcept { return *std::min_element(due_.begin(), due_.end()); }

  std::array<TimePoint, deadline_count> due_;  ///< max: it is not set
  Timer timer_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
