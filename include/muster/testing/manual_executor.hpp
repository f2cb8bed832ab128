// ManualExecutor: an event loop whose tasks and whose clock move when told to, for tests and for loops that others drive.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "muster/config.hpp"
#include "muster/executor.hpp"
#include "muster/thread_safety.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// A clock that stands still until it is moved. Several executors may share one. Threads: any.
class ManualClock {
 public:
  /// Starts away from zero, so that no time is mistaken for "never", on 2026-01-01.
  ManualClock() = default;

  [[nodiscard]] TimePoint now() const noexcept { return TimePoint(TimePoint::duration(now_.load())); }
  [[nodiscard]] WallTime wall_now() const noexcept {
    const auto since_start = now() - TimePoint(start);
    return WallTime(std::chrono::seconds(1767225600)) + std::chrono::duration_cast<WallTime::duration>(since_start);
  }
  /// Never back: an earlier time changes nothing.
  void move_to(TimePoint when) noexcept {
    auto now = now_.load();
    while (now < when.time_since_epoch().count() && !now_.compare_exchange_weak(now, when.time_since_epoch().count())) {
    }
  }

 private:
  static constexpr TimePoint::duration start = std::chrono::hours(1);
  std::atomic<TimePoint::rep> now_{start.count()};
};

/// Runs nothing by itself: `run_one`, `run_ready` and `advance` run tasks in the calling thread, one at a time. Tasks
/// run in the order of posting; a scheduled one counts as posted when its time is seen to have come, and those seen
/// together are in the order of their times. A turn ends when nothing that is posted is left.
///
/// Threads: any; running from two threads at once, or from inside a task, runs nothing and says so.
class ManualExecutor final : public Executor {
 public:
  explicit ManualExecutor(std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>())
      : clock_(std::move(clock)) {}
  ~ManualExecutor() override { stop(); }
  ManualExecutor(const ManualExecutor&) = delete;
  ManualExecutor& operator=(const ManualExecutor&) = delete;

  [[nodiscard]] bool post(Task task) override {
    const CheckedLock lock(mutex_);
    if (state_ == State::stopped) return false;
    ready_.push_back(std::move(task));
    return true;
  }

  [[nodiscard]] bool post_at_turn_end(Task task, std::size_t turns = 0) override {
    const CheckedLock lock(mutex_);
    if (state_ == State::stopped) return false;
    if (turns == 0) {
      ending_turn_.push_back(std::move(task));
    } else {
      ending_later_.emplace(turn_ + 1 + turns, std::move(task));
    }
    return true;
  }

  [[nodiscard]] bool schedule(TimePoint when, Task task) override {
    const CheckedLock lock(mutex_);
    if (state_ == State::stopped) return false;
    waiting_.push_back({when, ++order_, std::move(task)});
    std::push_heap(waiting_.begin(), waiting_.end(), later);
    return true;
  }

  [[nodiscard]] TimePoint now() const override { return clock_->now(); }
  [[nodiscard]] WallTime wall_now() const override { return clock_->wall_now(); }
  [[nodiscard]] const std::shared_ptr<ManualClock>& clock() const noexcept { return clock_; }

  /// Runs the next task that is ready. False: there is none, or one is running.
  bool run_one() {
    Task task;
    {
      const CheckedLock lock(mutex_);
      if (running_ || state_ != State::open) return false;
      make_due_ready();
      if (ready_.empty() && ending_.empty()) end_turn();
      std::deque<Task>& next = ending_.empty() ? ready_ : ending_;
      if (next.empty()) return false;
      task = std::move(next.front());
      next.pop_front();
      running_ = true;
    }
    // A task that throws has run, too: the exception is its caller's, who may go on with the next.
    struct Ran {
      ManualExecutor& executor;
      Task task;
      ~Ran() {
        task = nullptr;  // what it held goes while it still counts as running
        executor.has_run();
      }
    } ran{*this, std::move(task)};
    ran.task();
    return true;
  }

  /// Runs until nothing is ready, tasks posted meanwhile included, at most `limit` of them. Returns how many ran.
  std::size_t run_ready(std::size_t limit = SIZE_MAX) {
    std::size_t ran = 0;
    while (ran < limit && run_one()) ++ran;
    return ran;
  }

  /// Moves the clock to `when`, stopping at each scheduled time on the way to run what is ready.
  std::size_t advance_to(TimePoint when) {
    std::size_t ran = run_ready();
    for (auto next = next_time(); next && *next <= when; next = next_time()) {
      clock_->move_to(*next);
      const std::size_t now_ran = run_ready();
      if (now_ran == 0) break;  // stopped, or called from inside a task
      ran += now_ran;
    }
    clock_->move_to(when);
    return ran;
  }
  std::size_t advance(TimePoint::duration time) { return advance_to(now() + time); }

  /// When the earliest scheduled task is to run; none: nothing is scheduled.
  [[nodiscard]] std::optional<TimePoint> next_time() const {
    const CheckedLock lock(mutex_);
    if (waiting_.empty()) return std::nullopt;
    return waiting_.front().when;
  }
  /// Tasks that wait for their time.
  [[nodiscard]] std::size_t scheduled() const {
    const CheckedLock lock(mutex_);
    return waiting_.size();
  }
  /// Whether `run_one` would run something.
  [[nodiscard]] bool is_ready() const {
    const CheckedLock lock(mutex_);
    return !running_ && state_ == State::open &&
           (!ready_.empty() || !ending_.empty() || !ending_turn_.empty() || !ending_later_.empty() ||
            (!waiting_.empty() && waiting_.front().when <= clock_->now()));
  }
  /// Whether one of its tasks is on the stack.
  [[nodiscard]] bool is_running() const {
    const CheckedLock lock(mutex_);
    return running_;
  }
  [[nodiscard]] bool is_stopped() const {
    const CheckedLock lock(mutex_);
    return state_ != State::open;
  }

  /// Runs nothing more and destroys what is queued. Called while a task runs, that task is the last, and the rest
  /// happens when it returns.
  void stop() {
    Unrun unrun;
    const CheckedLock lock(mutex_);
    if (state_ == State::stopped) return;
    state_ = State::stopping;
    if (!running_) unrun = finish_stop();
  }

 private:
  enum class State : std::uint8_t { open, stopping, stopped };
  struct Waiting {
    TimePoint when;
    std::uint64_t order;
    Task task;
  };
  using Later = std::multimap<std::uint64_t, Task>;
  using Queues = std::tuple<std::deque<Task>, std::deque<Task>, std::deque<Task>, Later, std::vector<Waiting>>;
  /// None while nothing stops: an empty deque would cost an allocation a task.
  using Unrun = std::unique_ptr<Queues>;
  static bool later(const Waiting& a, const Waiting& b) {
    return a.when != b.when ? a.when > b.when : a.order > b.order;
  }

  void has_run() {
    Unrun unrun;
    const CheckedLock lock(mutex_);
    running_ = false;
    if (state_ == State::stopping) unrun = finish_stop();
  }
  void make_due_ready() MUSTER_REQUIRES(mutex_) {
    while (!waiting_.empty() && waiting_.front().when <= clock_->now()) {
      ready_.emplace_back();  // first, for want of memory
      std::pop_heap(waiting_.begin(), waiting_.end(), later);
      ready_.back() = std::move(waiting_.back().task);
      waiting_.pop_back();
    }
  }
  /// The next that has something to run then.
  void end_turn() MUSTER_REQUIRES(mutex_) {
    if (ending_turn_.empty() && ending_later_.empty()) return;
    turn_ = ending_turn_.empty() ? ending_later_.begin()->first : turn_ + 1;
    for (; !ending_later_.empty() && ending_later_.begin()->first <= turn_;
         ending_later_.erase(ending_later_.begin())) {
      ending_.push_back(std::move(ending_later_.begin()->second));
    }
    if (ending_.empty()) return ending_.swap(ending_turn_);
    for (; !ending_turn_.empty(); ending_turn_.pop_front()) ending_.push_back(std::move(ending_turn_.front()));
  }
  // The tasks are handed out, to be destroyed without the lock: what they own may post.
  [[nodiscard]] Unrun finish_stop() MUSTER_REQUIRES(mutex_) {
    state_ = State::stopped;
    return std::make_unique<Queues>(std::exchange(ready_, {}), std::exchange(ending_, {}),
                                    std::exchange(ending_turn_, {}), std::exchange(ending_later_, {}),
                                    std::exchange(waiting_, {}));
  }

  const std::shared_ptr<ManualClock> clock_;
  mutable CheckedMutex mutex_;
  std::deque<Task> ready_ MUSTER_GUARDED_BY(mutex_);
  std::deque<Task> ending_ MUSTER_GUARDED_BY(mutex_);  ///< the turn that ends
  std::deque<Task> ending_turn_ MUSTER_GUARDED_BY(mutex_);
  Later ending_later_ MUSTER_GUARDED_BY(mutex_);      ///< by the number of their turn
  std::uint64_t turn_ MUSTER_GUARDED_BY(mutex_) = 0;  ///< the last that has ended
  std::vector<Waiting> waiting_ MUSTER_GUARDED_BY(mutex_);
  std::uint64_t order_ MUSTER_GUARDED_BY(mutex_) = 0;
  State state_ MUSTER_GUARDED_BY(mutex_) = State::open;
  bool running_ MUSTER_GUARDED_BY(mutex_) = false;
};

}  // namespace MUSTER_ABI
}  // namespace muster
