// What a loop runs, and when it is woken for its timers.
#pragma once

#include <algorithm>
#include <exception>

#include "muster/core/loop/loop.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE bool Loop::contain(const char* where, FunctionRef<void()> code, ConnectionId of,
                                 FunctionRef<const std::string*()> secret) noexcept {
  try {
    code();
    return true;
  } catch (const std::exception& failure) {
    counters.callback_failures.add();
    failures.report(executor->now(), of, where, failure.what(), secret());
  } catch (...) {
    counters.callback_failures.add();
    failures.report(executor->now(), of, where, "not a std::exception", secret());
  }
  return false;
}

MUSTER_INLINE bool Loop::contain(const char* where, FunctionRef<void()> code) noexcept {
  return contain(where, code, {}, [] { return static_cast<const std::string*>(nullptr); });
}

MUSTER_INLINE void Loop::run(FunctionRef<void()> task) noexcept {
  const auto alive = life.lock();
  if (!alive) return;
  (void)contain("A task", task);
  if (wake_missed) wake_for_next();
}

MUSTER_INLINE void Loop::wake_for_next() noexcept {
  wake_missed = false;
  const auto next = wheel.next();
  if (next && (wakes.empty() || *next < wakes.back())) wake(*next);
}

MUSTER_INLINE void Loop::wake(TimePoint when) noexcept {
  // Where that fails, the next task of the loop sees to it: one that is posted for that, or any.
  wake_missed = !contain("The executor", [&] {
    wakes.push_back(when);
    try {
      const bool scheduled = executor->schedule(when, [weak = life, shared = weak_from_this(), when] {
        const auto alive = weak.lock();
        const auto woken = shared.lock();
        if (alive && woken) woken->on_wake(when, false);
      });
      if (!scheduled) stopped = true;
    } catch (...) {
      wakes.pop_back();
      throw;
    }
  });
  if (wake_missed) (void)contain("The executor", [&] { (void)post([] {}); });
}

/// A loop that was held up (by a suspended process, a handler that blocks) hears its peers before it judges them: what
/// they said in time may lie in its sockets still.
MUSTER_INLINE void Loop::on_wake(TimePoint when, bool has_listened) noexcept {
  const auto asked = std::find(wakes.begin(), wakes.end(), when);
  if (asked == wakes.end()) return;
  constexpr std::chrono::milliseconds held_up{200};
  const auto late = executor->now() - when;
  if (!has_listened) counters.lag.add(late);
  if (!has_listened && late >= held_up) {
    const std::size_t turns = 2 + connections.size() / 64;  // an executor hears some sockets a turn
    const bool listens =
        contain("The executor", [&] { (void)post_at_turn_end([this, when] { on_wake(when, true); }, turns); });
    if (listens) return;
  }
  wakes.erase(asked);
  waking = true;
  wheel.advance(executor->now());
  waking = false;
  wake_for_next();
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
