// wait_for: for tests of what other threads do.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

namespace muster::test {

/// Returns once `done` holds; false when it does not within 20 seconds.
[[nodiscard]] inline bool wait_for(const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace muster::test
