// ThreadExecutor: a real event loop in a thread of its own, on the real clock.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "muster/executor.hpp"

namespace muster::test {

class ThreadExecutor final : public Executor {
 public:
  ThreadExecutor() : thread_([this] { run(); }) {}
  ~ThreadExecutor() override { stop(); }
  ThreadExecutor(const ThreadExecutor&) = delete;
  ThreadExecutor& operator=(const ThreadExecutor&) = delete;

  [[nodiscard]] bool post(Task task) override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (stopped_) return false;
      ready_.push_back(std::move(task));
    }
    wake_.notify_one();
    return true;
  }
  [[nodiscard]] bool schedule(TimePoint when, Task task) override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (stopped_) return false;
      waiting_.push_back({when, ++order_, std::move(task)});
      std::push_heap(waiting_.begin(), waiting_.end(), later);
    }
    wake_.notify_one();
    return true;
  }
  [[nodiscard]] TimePoint now() const override { return std::chrono::steady_clock::now(); }
  [[nodiscard]] WallTime wall_now() const override { return std::chrono::system_clock::now(); }

  /// Ends after the running task; what is queued is destroyed. Not from a task.
  void stop() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

 private:
  struct Waiting {
    TimePoint when;
    std::uint64_t order;
    Task task;
  };
  static bool later(const Waiting& a, const Waiting& b) {
    return a.when != b.when ? a.when > b.when : a.order > b.order;
  }

  void run() {
    std::deque<Task> unrun;
    std::vector<Waiting> unrun_waiting;
    std::unique_lock<std::mutex> lock(mutex_);
    while (!stopping_) {
      while (!waiting_.empty() && waiting_.front().when <= now()) {
        std::pop_heap(waiting_.begin(), waiting_.end(), later);
        ready_.push_back(std::move(waiting_.back().task));
        waiting_.pop_back();
      }
      if (!ready_.empty()) {
        Task task = std::move(ready_.front());
        ready_.pop_front();
        lock.unlock();
        task();
        task = nullptr;
        lock.lock();
      } else if (!waiting_.empty()) {
        wake_.wait_until(lock, waiting_.front().when);
      } else {
        wake_.wait(lock);
      }
    }
    stopped_ = true;
    unrun.swap(ready_);
    unrun_waiting.swap(waiting_);
    lock.unlock();
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> ready_;
  std::vector<Waiting> waiting_;
  std::uint64_t order_ = 0;
  bool stopping_ = false;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace muster::test
