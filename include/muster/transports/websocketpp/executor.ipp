// AsioExecutor: tasks of one turn in one handler, and one timer for all deadlines.
#pragma once

#include <asio/io_context.hpp>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "muster/thread_safety.hpp"
#include "muster/transports/websocketpp.hpp"
#include "muster/transports/websocketpp/asio.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {

/// Who is in a handler.
struct AsioExecutor::Turn::Holder {
  std::atomic<std::thread::id> taken_by{};
};

struct AsioExecutor::State : AsioExecutor::Turn::Holder, std::enable_shared_from_this<AsioExecutor::State> {
  explicit State(asio::io_context& io) : context(&io), timer(std::in_place, io) {}

  CheckedMutex mutex;
  /// Null once stopped. Posting to it happens under the mutex, because the owner may destroy it as soon as `stop` has
  /// returned.
  asio::io_context* context MUSTER_GUARDED_BY(mutex);
  bool turn_posted MUSTER_GUARDED_BY(mutex) = false;
  std::vector<Task> posted MUSTER_GUARDED_BY(mutex);
  std::vector<Task> ending_turn MUSTER_GUARDED_BY(mutex);
  /// By the number of their turn.
  std::map<std::uint64_t, std::vector<Task>> ending_later MUSTER_GUARDED_BY(mutex);
  std::uint64_t turns MUSTER_GUARDED_BY(mutex) = 0;  ///< that have ended
  std::multimap<TimePoint, Task> scheduled MUSTER_GUARDED_BY(mutex);
  TimePoint armed_for MUSTER_GUARDED_BY(mutex) = TimePoint::max();

  // The loop's own, and the owner's once it has returned.
  std::vector<Task> running;
  std::vector<Task> running_next;  // behind those
  std::optional<detail::LoopTimer> timer;

  /// A turn. It ends after some rounds even if more is posted in each.
  void run() noexcept {
    constexpr int rounds = 4;
    for (int round = 1; round <= rounds && take(round == rounds); ++round) {
      for (std::vector<Task>* tasks : {&running, &running_next}) {
        for (Task& task : *tasks) {
          task();
          task = nullptr;
        }
        tasks->clear();
      }
    }
    const CheckedLock lock(mutex);
    ++turns;
    turn_posted = false;
    if (context != nullptr && !(posted.empty() && ending_turn.empty() && ending_later.empty())) post_turn();
  }

  /// What runs next: what is posted; where nothing is, or the turn `ends`, what ends it.
  bool take(bool ends) {
    const CheckedLock lock(mutex);
    if (!posted.empty() && !ends) {
      running.swap(posted);
    } else {
      if (!ending_later.empty() && ending_later.begin()->first <= turns) {
        running.swap(ending_later.begin()->second);
        ending_later.erase(ending_later.begin());
      }
      running_next.swap(ending_turn);
    }
    return !running.empty() || !running_next.empty();
  }

  void post_turn() MUSTER_REQUIRES(mutex) {
    if (turn_posted) return;
    asio::post(*context, detail::handler<&State::run_in_turn>(shared_from_this()));
    turn_posted = true;
  }

  void run_in_turn() {
    const Turn turn(*this);
    run();
  }

  void arm_in_turn() {
    const Turn turn(*this);
    arm();
  }

  void expire_in_turn() {
    const Turn turn(*this);
    expire();
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
    timer->async_wait(detail::handler<&State::expire_in_turn>(shared_from_this()));
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

MUSTER_INLINE AsioExecutor::Turn::Turn(Holder& holder)
    : holder_(holder), before_(holder.taken_by.exchange(std::this_thread::get_id(), std::memory_order_acquire)) {
  if (before_ == std::thread::id() || before_ == std::this_thread::get_id()) return;
  holder.taken_by.store(before_, std::memory_order_release);
  throw std::logic_error(
      "muster: two threads run this io_context, and what is on it belongs to one. Run it by one thread, or give muster "
      "an "
      "io_context and a thread of its own and post between the two (or use muster::websocketpp::Server)");
}
MUSTER_INLINE AsioExecutor::Turn::Turn(AsioExecutor& executor) : Turn(*executor.state_) {}
MUSTER_INLINE AsioExecutor::Turn::~Turn() { holder_.taken_by.store(before_, std::memory_order_release); }

MUSTER_INLINE AsioExecutor::AsioExecutor(asio::io_context& context) : state_(new State(context)) {}

MUSTER_INLINE AsioExecutor::~AsioExecutor() = default;

MUSTER_INLINE bool AsioExecutor::post(Task task) {
  const CheckedLock lock(state_->mutex);
  if (state_->context == nullptr) return false;
  state_->post_turn();  // a turn for nothing, if there is no memory for the task
  state_->posted.push_back(std::move(task));
  return true;
}

MUSTER_INLINE bool AsioExecutor::post_at_turn_end(Task task, std::size_t turns) {
  const CheckedLock lock(state_->mutex);
  if (state_->context == nullptr) return false;
  state_->post_turn();
  if (turns == 0) {
    state_->ending_turn.push_back(std::move(task));
  } else {
    state_->ending_later[state_->turns + turns].push_back(std::move(task));
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
    asio::post(*state_->context, detail::handler<&State::arm_in_turn>(state_));
  }
  return true;
}

MUSTER_INLINE TimePoint AsioExecutor::now() const { return std::chrono::steady_clock::now(); }
MUSTER_INLINE WallTime AsioExecutor::wall_now() const { return std::chrono::system_clock::now(); }

MUSTER_INLINE void AsioExecutor::stop() {
  std::vector<Task> posted;
  std::vector<Task> ending_turn;
  std::map<std::uint64_t, std::vector<Task>> ending_later;
  std::multimap<TimePoint, Task> scheduled;
  {
    const CheckedLock lock(state_->mutex);
    if (state_->context == nullptr) return;
    state_->context = nullptr;
    posted.swap(state_->posted);
    ending_turn.swap(state_->ending_turn);
    ending_later.swap(state_->ending_later);
    scheduled.swap(state_->scheduled);
    state_->timer.reset();
  }
  // What the tasks own goes here, with no lock held: it may post.
}

}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
