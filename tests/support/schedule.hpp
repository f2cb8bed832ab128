// Schedule: several executors on one virtual clock, run in one thread in an order that a seed chooses.
//
// With MUSTER_SIMULATION the core's mutex is simulation/yielding_mutex.hpp: it yields to the schedule at the boundary of
// every locked section, and tasks of other executors run there, as they might on other threads.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "muster/core/base/mutex.hpp"
#include "muster/executor.hpp"
#include "muster/testing/manual_executor.hpp"

namespace muster::test {

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): the same numbers everywhere, unlike the standard's distributions.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31U);
  }
  /// 0 to `count` - 1.
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(next() % count); }
  bool one_in(std::size_t count) { return below(count) == 0; }
  template <class T>
  auto& pick(T& values) {
    return values[below(values.size())];
  }

 private:
  std::uint64_t state_;
};

/// Whether the core holds one of its locks: no seam, callback or post may be reached then. Known in simulations only.
[[nodiscard]] inline bool core_holds_a_lock() {
#if defined(MUSTER_SIMULATION)
  return core::Mutex::held != 0;
#else
  return false;
#endif
}

class Schedule;

/// A ManualExecutor that checks how it is used, and whose Nth post finds it stopped.
class SimExecutor final : public Executor {
 public:
  SimExecutor(Schedule& schedule, std::shared_ptr<ManualClock> clock) : schedule_(schedule), loop_(std::move(clock)) {}

  [[nodiscard]] bool post(Task task) override { return before_post() && loop_.post(std::move(task)); }
  [[nodiscard]] bool post_at_turn_end(Task task, std::size_t turns = 0) override {
    return before_post() && loop_.post_at_turn_end(std::move(task), turns);
  }
  [[nodiscard]] bool schedule(TimePoint when, Task task) override {
    return before_post() && loop_.schedule(when, std::move(task));
  }
  [[nodiscard]] TimePoint now() const override { return loop_.now(); }
  [[nodiscard]] WallTime wall_now() const override { return loop_.wall_now(); }

  /// The `nth` post or schedule from now on finds it stopped; while it runs, it stops after the running task.
  void fail_post(std::size_t nth) { fails_in_ = nth; }
  [[nodiscard]] std::size_t posts() const { return posts_; }
  /// Runs nothing meanwhile, as a thread that gets no processor: its time passes all the same.
  void hold(bool held) { held_ = held; }
  [[nodiscard]] bool is_held() const { return held_; }
  [[nodiscard]] bool is_ready() const { return !held_ && loop_.is_ready(); }
  [[nodiscard]] ManualExecutor& loop() { return loop_; }

 private:
  inline bool before_post();

  Schedule& schedule_;
  ManualExecutor loop_;
  bool held_ = false;
  // Tests with real threads post from them.
  std::atomic<std::size_t> posts_{0};
  std::atomic<std::size_t> fails_in_{0};
};

class Schedule {
 public:
  Schedule(std::uint64_t seed, std::size_t loops) : random(seed), clock(std::make_shared<ManualClock>()) {
    for (std::size_t i = 0; i < loops; ++i) add();
    elsewhere = add();
#if defined(MUSTER_SIMULATION)
    current() = this;
    core::simulation_yield = [] {
      if (current() != nullptr) current()->yield();
    };
    core::Mutex::simulation_fault = [](const char* what) {
      std::fprintf(stderr, "fault in the core: %s (%s)\n", what, current() ? current()->name.c_str() : "");
      std::abort();
    };
#endif
  }
  ~Schedule() {
#if defined(MUSTER_SIMULATION)
    if (current() == this) current() = nullptr;
#endif
  }
  Schedule(const Schedule&) = delete;
  Schedule& operator=(const Schedule&) = delete;

  /// No yields while one of these lives.
  class Quiet {
   public:
    explicit Quiet(Schedule& schedule) : schedule_(schedule) { ++schedule_.quiet_; }
    ~Quiet() { --schedule_.quiet_; }
    Quiet(const Quiet&) = delete;
    Quiet& operator=(const Quiet&) = delete;

   private:
    Schedule& schedule_;
  };

  [[nodiscard]] TimePoint now() const { return clock->now(); }

  /// Runs one task of some executor. False: none is ready.
  bool step() {
    ready_.clear();
    for (auto& executor : all_) {
      if (executor->is_ready()) ready_.push_back(executor.get());
    }
    if (ready_.empty()) return false;
    const bool ran = random.pick(ready_)->loop().run_one();
    if (after_task) after_task();
    return ran;
  }
  /// Runs until nothing is ready.
  void run() {
    for (std::size_t ran = 0; step(); ++ran) {
      if (ran == 10'000'000) {
        fault("it never comes to rest");
        return;
      }
    }
  }
  void advance_to(TimePoint when) {
    for (;;) {
      run();
      std::optional<TimePoint> next;
      for (auto& executor : all_) {
        const auto time = executor->loop().next_time();
        if (time && !executor->is_held() && !executor->loop().is_stopped() && (!next || *time < *next)) next = time;
      }
      if (!next || *next > when) break;
      clock->move_to(*next);
    }
    clock->move_to(when);
    run();
  }
  void advance(TimePoint::duration time) { advance_to(now() + time); }

  /// Stops everything: what is queued is destroyed.
  void stop() {
    for (auto& executor : all_) executor->loop().stop();
  }

  /// Every seam of the test's comes by here when the core calls it. `at_seam` may throw in its stead.
  void seam(const char* which) {
    if (core_holds_a_lock()) fault(std::string(which) + " was called under a lock");
    if (at_seam) at_seam(which);
  }
  std::function<void(const char*)> at_seam;

  /// Something that must not happen did. Kept, so that a test can tell all at once.
  void fault(std::string what) {
    if (faults.size() < 20) faults.push_back(std::move(what));
  }

  Random random;
  const std::shared_ptr<ManualClock> clock;
  std::vector<std::shared_ptr<SimExecutor>> executors;
  /// Stands for every thread that is not one of the executors: where late answers come from.
  std::shared_ptr<SimExecutor> elsewhere;
  /// Called after each task, and at yields: what must hold at any moment is checked here.
  std::function<void()> after_task;
  std::vector<std::string> faults;
  /// For messages.
  std::string name;
  /// Of how many yields one lets another executor run.
  std::size_t yield_one_in = 3;

 private:
  std::shared_ptr<SimExecutor> add() {
    auto executor = std::make_shared<SimExecutor>(*this, clock);
    all_.push_back(executor);
    if (all_.size() > 1) executors = {all_.begin(), all_.end() - 1};
    return executor;
  }

#if defined(MUSTER_SIMULATION)
  static Schedule*& current() {
    static Schedule* schedule = nullptr;
    return schedule;
  }
  void yield() {
    constexpr int deepest = 3;
    if (quiet_ != 0 || depth_ >= deepest || !random.one_in(yield_one_in)) return;
    SimExecutor* ready[8];  // no memory: it might be about to fail
    std::size_t count = 0;
    for (auto& executor : all_) {
      if (executor->is_ready() && count < 8) ready[count++] = executor.get();
    }
    if (count == 0) return;
    ++depth_;
    try {
      ready[random.below(count)]->loop().run_one();
    } catch (const std::exception&) {  // a test's own task, not the core's: whoever unlocks must not hear of it
    }
    if (after_task) after_task();
    --depth_;
  }
#endif

  std::vector<std::shared_ptr<SimExecutor>> all_;
  std::vector<SimExecutor*> ready_;
  int quiet_ = 0;
#if defined(MUSTER_SIMULATION)
  int depth_ = 0;
#endif
};

inline bool SimExecutor::before_post() {
  schedule_.seam("the executor");
  ++posts_;
  if (fails_in_ == 0 || --fails_in_ != 0) return true;
  loop_.stop();
  return true;  // the loop itself refuses, or destroys the task later
}

}  // namespace muster::test
