// Loops: those of all executors, and the time where there is none at hand. Any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "muster/core/base/mutex.hpp"
#include "muster/core/loop/loop.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

class Loops {
 public:
  /// `first_clock`: until there is an executor; none: the steady clock.
  explicit Loops(std::function<TimePoint()> first_clock) : first_clock_(std::move(first_clock)) {}

  /// Null: the executor has none yet.
  [[nodiscard]] LoopPtr of(const Executor* executor) const {
    Lock lock(mutex_);
    for (const LoopPtr& loop : loops_) {
      if (loop->executor.get() == executor) return loop;
    }
    return nullptr;
  }
  /// True: it is the only one.
  bool add(const LoopPtr& loop) {
    bool is_only = true;
    {
      Lock lock(mutex_);
      is_only = loops_.empty();
      loops_.push_back(loop);
    }
    Executor* none = nullptr;
    if (clock_.compare_exchange_strong(none, loop->executor.get())) clock_owner_ = loop->executor;
    return is_only;
  }
  /// What it counted is kept.
  void remove(const LoopPtr& loop) {
    Lock lock(mutex_);
    counted_.add(loop->counters);
    loops_.erase(std::remove(loops_.begin(), loops_.end(), loop), loops_.end());
  }
  [[nodiscard]] std::vector<LoopPtr> all() const {
    Lock lock(mutex_);
    return loops_;
  }
  /// Which of how many: for work that they share.
  [[nodiscard]] std::pair<std::size_t, std::size_t> place_of(const Loop& loop) const {
    Lock lock(mutex_);
    const auto at = std::find_if(loops_.begin(), loops_.end(), [&](const LoopPtr& one) { return one.get() == &loop; });
    return {static_cast<std::size_t>(at - loops_.begin()), loops_.size()};
  }
  /// Of all there are and were.
  void add_to(LoopCounters& sum) const {
    Lock lock(mutex_);
    for (const LoopPtr& loop : loops_) sum.add(loop->counters);
    sum.add(counted_);
  }

  [[nodiscard]] bool has_clock() const noexcept { return clock_.load() != nullptr; }
  [[nodiscard]] TimePoint read_clock() const {
    const Executor* clock = clock_.load();
    if (clock != nullptr) return clock->now();
    return first_clock_ ? first_clock_() : std::chrono::steady_clock::now();
  }

 private:
  mutable Mutex mutex_;
  std::vector<LoopPtr> loops_ MUSTER_GUARDED_BY(mutex_);
  LoopCounters counted_ MUSTER_GUARDED_BY(mutex_);  ///< by those that are not there any more
  std::atomic<Executor*> clock_{nullptr};
  std::shared_ptr<Executor> clock_owner_;  ///< the first one: told the time by, also when it has stopped
  const std::function<TimePoint()> first_clock_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
