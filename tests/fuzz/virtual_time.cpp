// Stands in for the C library's clock and timers, by being found first.
#include "fuzz/virtual_time.hpp"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace {

constexpr std::int64_t beginning = std::int64_t{1'000'000} * 1'000'000'000;
std::int64_t nanoseconds = beginning;

}  // namespace

namespace muster::fuzz {

void reset_clock() { nanoseconds = beginning; }
void advance_clock(std::chrono::milliseconds by) { nanoseconds += std::chrono::nanoseconds(by).count(); }

}  // namespace muster::fuzz

/// Other clocks are the system's: the fuzzer itself has its deadlines by one of them.
extern "C" int clock_gettime(clockid_t clock, timespec* out) noexcept {
  if (clock != CLOCK_MONOTONIC) return static_cast<int>(::syscall(SYS_clock_gettime, clock, out));
  out->tv_sec = nanoseconds / 1'000'000'000;
  out->tv_nsec = nanoseconds % 1'000'000'000;
  return 0;
}

/// Asio then looks at its own timers, by the clock above, whenever it is polled.
extern "C" int timerfd_create(int, int) noexcept {
  errno = ENOSYS;
  return -1;
}
