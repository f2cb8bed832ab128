// AsioExecutor: tasks of one turn in one handler, and one timer for all deadlines.
#pragma once

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <map>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "muster/thread_safety.hpp"
#include "muster/transports/websocketpp.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {

/// Who is in a handler.
struct AsioExecutor::Turn::Seat {
  std::atomic<std::thread::id> taken_by{};
};

struct AsioExecutor::State : AsioExecutor::Turn::Seat, std::enable_shared_from_this<AsioExecutor::State> {
  explicit State(asio::io_context& io) : context(&io), timer(std::in_place, io) {}

  CheckedMutex mutex;
  /// Null once stopped. Posting to it happens under the mutex, because the owner may destroy it as soon as `stop` has
  /// returned.
  asio::io_context* context MUSTER_GUARDED_BY(mutex);
  bool run_posted MUSTER_GUARDED_BY(mutex) = false;
  std::vector<Task> posted MUSTER_GUARDED_BY(mutex);
  std::multimap<TimePoint, Task> scheduled MUSTER_GUARDED_BY(mutex);
  TimePoint armed_for MUSTER_GUARDED_BY(mutex) = TimePoint::max();

  // The loop's own, and the owner's once it has returned.
  std::vector<Task> running;
  std::optional<asio::steady_timer> timer;

  /// What the tasks post runs in the same handler for some rounds, so that what ends a turn need not wait for a look at
  /// the sockets.
  void run() noexcept {
    constexpr int rounds = 3;
    for (int round = 0;; ++round) {
      {
        const CheckedLock lock(mutex);
        run_posted = !posted.empty() && context != nullptr;
        if (!run_posted) return;
        if (round == rounds) return asio::post(*context, [state = shared_from_this()] { state->run_in_turn(); });
        running.swap(posted);
      }
      for (Task& task : running) {
        task();
        task = nullptr;
      }
      running.clear();
    }
  }

  void run_in_turn() {
    const Turn turn(*this);
    run();
  }

  // The earliest deadline changed, or was met.
  void arm() {
    const CheckedLock lock(mutex);
    if (context == nullptr) return;
    if (scheduled.empty()) {
      armed_for = TimePoint::max();
      return;
    }
    armed_for = scheduled.begin()->first;
    timer->expires_at(armed_for);
    timer->async_wait([state = shared_from_this()](const asio::error_code& error) {
      if (error) return;
      const Turn turn(*state);
      state->expire();
    });
  }

  void expire() noexcept {
    std::vector<Task> due;
    {
      const CheckedLock lock(mutex);
      const auto end = scheduled.upper_bound(std::chrono::steady_clock::now());
      for (auto entry = scheduled.begin(); entry != end; ++entry) due.push_back(std::move(entry->second));
      scheduled.erase(scheduled.begin(), end);
    }
    for (Task& task : due) {
      task();
      task = nullptr;
    }
    arm();
  }
};

MUSTER_INLINE AsioExecutor::Turn::Turn(Seat& seat)
    : seat_(seat), before_(seat.taken_by.exchange(std::this_thread::get_id(), std::memory_order_acquire)) {
  if (before_ == std::thread::id() || before_ == std::this_thread::get_id()) return;
  seat.taken_by.store(before_, std::memory_order_release);
  throw std::logic_error(
      "muster: two threads run this io_context, and what is on it belongs to one. Run it by one thread, or give muster "
      "an "
      "io_context and a thread of its own and post between the two (or use muster::websocketpp::Server)");
}
MUSTER_INLINE AsioExecutor::Turn::Turn(AsioExecutor& executor) : Turn(*executor.state_) {}
MUSTER_INLINE AsioExecutor::Turn::~Turn() { seat_.taken_by.store(before_, std::memory_order_release); }

MUSTER_INLINE AsioExecutor::AsioExecutor(asio::io_context& context) : state_(std::make_shared<State>(context)) {}

MUSTER_INLINE AsioExecutor::~AsioExecutor() = default;

MUSTER_INLINE bool AsioExecutor::post(Task task) {
  const CheckedLock lock(state_->mutex);
  if (state_->context == nullptr) return false;
  state_->posted.push_back(std::move(task));
  if (!std::exchange(state_->run_posted, true)) {
    asio::post(*state_->context, [state = state_] { state->run_in_turn(); });
  }
  return true;
}

MUSTER_INLINE bool AsioExecutor::schedule(TimePoint when, Task task) {
  const CheckedLock lock(state_->mutex);
  if (state_->context == nullptr) return false;
  state_->scheduled.emplace(when, std::move(task));
  if (when < state_->armed_for) {
    state_->armed_for = when;
    // The timer belongs to the loop.
    asio::post(*state_->context, [state = state_] {
      const Turn turn(*state);
      state->arm();
    });
  }
  return true;
}

MUSTER_INLINE TimePoint AsioExecutor::now() const { return std::chrono::steady_clock::now(); }
MUSTER_INLINE WallTime AsioExecutor::wall_now() const { return std::chrono::system_clock::now(); }

MUSTER_INLINE void AsioExecutor::stop() {
  std::vector<Task> posted;
  std::multimap<TimePoint, Task> scheduled;
  {
    const CheckedLock lock(state_->mutex);
    if (state_->context == nullptr) return;
    state_->context = nullptr;
    posted.swap(state_->posted);
    scheduled.swap(state_->scheduled);
    state_->timer.reset();
  }
  // What the tasks own goes here, with no lock held: it may post.
}

}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
