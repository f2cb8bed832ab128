// A hierarchical timer wheel: constant work to set and cancel a deadline, however many there are.
//
// After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987), scheme 7. Ticks of one millisecond; a
// slot of one wheel is 64 of the next finer. A bitmap per wheel finds the next occupied slot, so that an idle day costs
// nothing. Each wheel reaches two slots of the next coarser one: what the coming one has is moved into the finer wheel
// little by little, with whatever fires before, and not all at once when its time comes.
#pragma once

#include <algorithm>
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
    std::uint64_t first = none;
    for (unsigned level = 0; level < levels; ++level) first = std::min(first, next_tick(level));
    if (first == none) return std::nullopt;
    return start_ + std::chrono::milliseconds(static_cast<std::int64_t>(first));
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
        if ((now_ & (span(level) - 1)) == 0) move(level, now_ >> (bits * level), ~std::size_t{0});
      }
      move_ahead();
      Timer*& head = slots_[0][now_ % width];
      while (head != nullptr) {
        Timer& timer = *head;
        remove(timer);
        timer.fire_(timer.owner_);
      }
    }
    if (now_ < target) now_ = target;
  }

  /// How often a timer went into a finer wheel.
  [[nodiscard]] std::size_t moved() const noexcept { return moved_; }

 private:
  friend class Timer;
  static constexpr unsigned bits = 6;
  static constexpr unsigned levels = 6;
  static constexpr std::size_t width = 128;  ///< slots of a wheel: two of a slot of the next coarser one
  static constexpr std::uint64_t none = ~std::uint64_t{0};
  static constexpr std::uint64_t tick_mask = (std::uint64_t{1} << 48U) - 1;

  /// Of very many timers none is in any cache when it fires.
  static void prefetch_owner(const Timer& timer) noexcept {
    for (std::size_t at = 0; at < 640; at += 64) __builtin_prefetch(static_cast<const char*>(timer.owner_) + at);
  }

  /// Ticks of a slot.
  [[nodiscard]] static constexpr std::uint64_t span(unsigned level) { return std::uint64_t{1} << (bits * level); }

  void insert(Timer& timer) noexcept {
    std::uint64_t tick = timer.tick_;
    const auto ahead = [&](unsigned level) { return (tick >> (bits * level)) - (now_ >> (bits * level)); };
    // What is further than all reach is put as far as it goes, and comes here again.
    if (ahead(levels - 1) >= width) tick = now_ + (width - 1) * span(levels - 1);
    unsigned level = 0;
    while (ahead(level) >= width) ++level;
    const std::uint64_t slot = (tick >> (bits * level)) % width;
    timer.level_ = static_cast<std::uint8_t>(level);
    timer.slot_ = static_cast<std::uint8_t>(slot);
    Timer*& head = slots_[level][slot];
    timer.wheel_ = this;
    timer.previous_ = nullptr;
    timer.next_ = head;
    if (head != nullptr) head->previous_ = &timer;
    head = &timer;
    ++counts_[level][slot];
    occupied_[level][slot / 64] |= std::uint64_t{1} << (slot % 64);
  }

  void remove(Timer& timer) noexcept {
    Timer*& head = slots_[timer.level_][timer.slot_];
    if (timer.previous_ != nullptr) {
      timer.previous_->next_ = timer.next_;
    } else {
      head = timer.next_;
    }
    if (timer.next_ != nullptr) timer.next_->previous_ = timer.previous_;
    --counts_[timer.level_][timer.slot_];
    if (head == nullptr) occupied_[timer.level_][timer.slot_ / 64] &= ~(std::uint64_t{1} << (timer.slot_ % 64));
    timer.wheel_ = nullptr;
  }

  /// The tick at which the first occupied slot of a level comes up; none: they are all empty.
  [[nodiscard]] std::uint64_t next_tick(unsigned level) const {
    const std::uint64_t base = now_ >> (bits * level);
    if ((occupied_[level][0] | occupied_[level][1]) == 0) return none;
    for (std::uint64_t step = 1; step < width; ++step) {
      const std::uint64_t slot = (base + step) % width;
      if ((occupied_[level][slot / 64] >> (slot % 64)) & 1U) return (base + step) << (bits * level);
    }
    return now_;
  }

  /// Moves so many, or all, of a slot that is at hand or the next one into finer wheels, which reach them.
  void move(unsigned level, std::uint64_t position, std::size_t count) noexcept {
    Timer*& head = slots_[level][position % width];
    for (; count > 0 && head != nullptr; --count) {
      Timer& timer = *head;
      remove(timer);
      insert(timer);
      if (level == 1) prefetch_owner(timer);
      ++moved_;
    }
  }
  /// Of what comes up next at each level, as much as has to be moved a tick for it to be done in time.
  void move_ahead() noexcept {
    for (unsigned level = 1; level < levels; ++level) {
      const std::uint64_t next = (now_ >> (bits * level)) + 1;
      const std::uint64_t ticks = (next << (bits * level)) - now_;
      const std::size_t count = counts_[level][next % width];
      move(level, next, static_cast<std::size_t>((count + ticks - 1) / ticks));
    }
  }

  TimePoint start_;
  std::uint64_t now_ = 0;
  std::size_t moved_ = 0;
  std::array<std::array<Timer*, width>, levels> slots_{};
  std::array<std::array<std::uint32_t, width>, levels> counts_{};
  std::array<std::array<std::uint64_t, 2>, levels> occupied_{};
};

inline void Timer::cancel() noexcept {
  if (wheel_ != nullptr) wheel_->remove(*this);
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
