// A hierarchical timer wheel: constant work to set and cancel a deadline, however many there are.
//
// After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987), scheme 7. Ticks of one millisecond;
// six wheels of 64 slots reach 2^36 ms. A bitmap per wheel finds the next occupied slot, so that an idle day costs nothing.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

class TimerWheel;

/// One deadline, embedded in what it belongs to. Destroying it cancels it.
class Timer {
 public:
  using Fire = void (*)(void* owner);
  Timer(void* owner, Fire fire) noexcept : owner_(owner), fire_(fire), tick_(0), level_(0), slot_(0) {}
  ~Timer() { cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  [[nodiscard]] bool armed() const noexcept { return wheel_ != nullptr; }
  inline void cancel() noexcept;

 private:
  friend class TimerWheel;
  void* owner_;
  Fire fire_;
  TimerWheel* wheel_ = nullptr;
  Timer* previous_ = nullptr;
  Timer* next_ = nullptr;
  // In one word, as each connection has one: 48 bits of milliseconds are 8,900 years, and a TimePoint reaches 292.
  std::uint64_t tick_ : 48;
  std::uint64_t level_ : 8;
  std::uint64_t slot_ : 8;
};

class TimerWheel {
 public:
  explicit TimerWheel(TimePoint start) : start_(start) {}
  ~TimerWheel() {
    for (auto& level : slots_) {
      for (Timer*& head : level) {
        while (head != nullptr) remove(*head);
      }
    }
  }
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  /// Arms the timer, again if it was armed. It fires in the first `advance` at or after `deadline`.
  void arm(Timer& timer, TimePoint deadline) {
    timer.cancel();
    const auto after = std::chrono::ceil<std::chrono::milliseconds>(deadline - start_).count();
    const std::uint64_t tick = after > 0 ? static_cast<std::uint64_t>(after) : 0;
    timer.tick_ = (tick > now_ ? tick : now_ + 1) & tick_mask;
    insert(timer);
  }

  /// When `advance` has something to do next; none: nothing is armed. May be earlier than the first deadline.
  [[nodiscard]] std::optional<TimePoint> next() const {
    std::optional<std::uint64_t> best;
    for (unsigned level = 0; level < levels; ++level) {
      if (occupied_[level] == 0) continue;
      const std::uint64_t tick = next_tick(level);
      if (!best || tick < *best) best = tick;
    }
    if (!best) return std::nullopt;
    return start_ + std::chrono::milliseconds(static_cast<std::int64_t>(*best));
  }

  /// Fires what is due at `now`, in the order of deadlines. A timer that fires may arm itself or others again.
  void advance(TimePoint now) {
    const auto elapsed = std::chrono::floor<std::chrono::milliseconds>(now - start_).count();
    const std::uint64_t target = elapsed > 0 ? static_cast<std::uint64_t>(elapsed) : 0;
    while (now_ < target) {
      const auto due = next();
      if (!due) break;
      const auto tick =
          static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(*due - start_).count());
      if (tick > target) break;
      now_ = tick;
      for (unsigned level = levels - 1; level > 0; --level) {
        if ((now_ & ((std::uint64_t{1} << (bits * level)) - 1)) == 0) cascade(level);
      }
      Timer*& head = slots_[0][now_ & mask];
      while (head != nullptr) {
        Timer& timer = *head;
        remove(timer);
        timer.fire_(timer.owner_);
      }
    }
    if (now_ < target) now_ = target;
  }

 private:
  friend class Timer;
  static constexpr unsigned bits = 6;
  static constexpr unsigned levels = 6;
  static constexpr std::uint64_t mask = 63;
  static constexpr std::uint64_t tick_mask = (std::uint64_t{1} << 48U) - 1;

  void insert(Timer& timer) {
    std::uint64_t tick = timer.tick_;
    const std::uint64_t reach = (std::uint64_t{1} << (bits * levels)) - 1;
    if (tick - now_ > reach) tick = now_ + reach;  // put as far as it goes; cascading brings it here again
    unsigned level = 0;
    while (level + 1 < levels && ((tick ^ now_) >> (bits * (level + 1))) != 0) ++level;
    const std::uint64_t slot = (tick >> (bits * level)) & mask;
    timer.level_ = static_cast<std::uint8_t>(level);
    timer.slot_ = static_cast<std::uint8_t>(slot);
    Timer*& head = slots_[level][slot];
    timer.wheel_ = this;
    timer.previous_ = nullptr;
    timer.next_ = head;
    if (head != nullptr) head->previous_ = &timer;
    head = &timer;
    occupied_[level] |= std::uint64_t{1} << slot;
  }

  void remove(Timer& timer) noexcept {
    Timer*& head = slots_[timer.level_][timer.slot_];
    if (timer.previous_ != nullptr) {
      timer.previous_->next_ = timer.next_;
    } else {
      head = timer.next_;
    }
    if (timer.next_ != nullptr) timer.next_->previous_ = timer.previous_;
    if (head == nullptr) occupied_[timer.level_] &= ~(std::uint64_t{1} << timer.slot_);
    timer.wheel_ = nullptr;
  }

  /// The tick at which the first occupied slot of a level comes up.
  [[nodiscard]] std::uint64_t next_tick(unsigned level) const {
    const std::uint64_t position = (now_ >> (bits * level)) & mask;
    const std::uint64_t base = now_ >> (bits * level);
    for (std::uint64_t step = 1; step <= 64; ++step) {
      if ((occupied_[level] >> ((position + step) & mask)) & 1U) return (base + step) << (bits * level);
    }
    return now_;
  }

  void cascade(unsigned level) {
    Timer*& head = slots_[level][(now_ >> (bits * level)) & mask];
    Timer* list = nullptr;
    while (head != nullptr) {  // detach first: a far timer may come back into the same slot
      Timer& timer = *head;
      remove(timer);
      timer.next_ = list;
      list = &timer;
    }
    while (list != nullptr) {
      Timer& timer = *list;
      list = timer.next_;
      insert(timer);
    }
  }

  TimePoint start_;
  std::uint64_t now_ = 0;
  std::array<std::array<Timer*, 64>, levels> slots_{};
  std::array<std::uint64_t, levels> occupied_{};
};

inline void Timer::cancel() noexcept {
  if (wheel_ != nullptr) wheel_->remove(*this);
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
