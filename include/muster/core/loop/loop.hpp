// Loop: what the core keeps of one executor. Touched only there, except where it says otherwise.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "muster/awareness_store.hpp"
#include "muster/core/base/function_ref.hpp"
#include "muster/core/base/random.hpp"
#include "muster/core/base/sha256.hpp"
#include "muster/core/base/timer_wheel.hpp"
#include "muster/core/loop/block.hpp"
#include "muster/core/loop/failures.hpp"
#include "muster/core/loop/outbox.hpp"
#include "muster/executor.hpp"
#include "muster/histogram.hpp"
#include "muster/options.hpp"
#include "muster/protocol.hpp"
#include "muster/span.hpp"

namespace muster {
inline namespace MUSTER_ABI {

namespace core {

class ConnectionState;
struct HandlerTable;
struct Batch;
struct RoomState;

/// How soon what has failed is tried again.
inline constexpr std::chrono::milliseconds retry_delay{1000};

/// How often it is looked which awareness has ended.
[[nodiscard]] inline std::chrono::milliseconds awareness_check(const Options& options) {
  return std::max<std::chrono::milliseconds>(options.awareness_ttl / 8, std::chrono::milliseconds(1));
}

/// A counter with one writer that any thread may read.
class Counter {
 public:
  void add(std::uint64_t amount = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// A Histogram with one writer that any thread may read.
class Durations {
 public:
  void add(std::chrono::nanoseconds time) noexcept {
    time = std::max(time, std::chrono::nanoseconds(0));
    counts_[Histogram::bucket_of(time)].add();
    sum_.add(static_cast<std::uint64_t>(time.count()));
  }
  void add(const Durations& other) noexcept {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i].add(other.counts_[i].get());
    sum_.add(other.sum_.get());
  }
  [[nodiscard]] Histogram get() const noexcept {
    Histogram all;
    for (std::size_t i = 0; i < counts_.size(); ++i) all.counts[i] = counts_[i].get();
    all.sum = std::chrono::nanoseconds(sum_.get());
    return all;
  }

 private:
  std::array<Counter, std::tuple_size_v<decltype(Histogram::counts)>> counts_;
  Counter sum_;
};

struct LoopCounters {
  Counter messages_in, bytes_in, writes, bytes_out, deliveries, blocks, conflated, gaps, errors, rate_limited;
  Counter callback_failures, slowed;
  Durations lag, command_wait, handler_time, latest_wait;

  void add(const LoopCounters& other) noexcept {
    for (const auto one : {&LoopCounters::messages_in, &LoopCounters::bytes_in, &LoopCounters::writes,
                           &LoopCounters::bytes_out, &LoopCounters::deliveries, &LoopCounters::blocks,
                           &LoopCounters::conflated, &LoopCounters::gaps, &LoopCounters::errors,
                           &LoopCounters::rate_limited, &LoopCounters::callback_failures, &LoopCounters::slowed}) {
      (this->*one).add((other.*one).get());
    }
    for (const auto one :
         {&LoopCounters::lag, &LoopCounters::command_wait, &LoopCounters::handler_time, &LoopCounters::latest_wait}) {
      (this->*one).add(other.*one);
    }
  }
};

/// What is encoded once: a protocol on a wire format.
struct Format {
  std::shared_ptr<const Protocol> protocol;
  std::shared_ptr<const WireFormat> wire;
};

/// A dropped session whose seats are kept for a while, or what the program keeps with it.
struct Grace {
  ConnectionId member;
  std::uint64_t generation = 0;
  UserKey user;
  Digest token_hash{};
  std::string previous_token_hash;
  bool of_data = false;
};

using Graces = std::multimap<TimePoint, Grace>;

/// Awareness that is to be cleared, and to be told as removed. Where a part of that fails it stays listed, and is tried
/// again. The list's memory is taken before what makes it necessary.
struct Clearing {
  ConnectionId owner;
  /// Null: in all rooms.
  std::shared_ptr<RoomState> room;
  bool removed = false;
  std::vector<AwarenessRemoval> removals;
  std::size_t told = 0;
};
using Clearings = std::list<Clearing>;

/// What a loop's timers call, with the loop.
struct LoopTimers {
  Timer::Fire state, grace, drain, sweep, awareness, retry;
};

struct Loop : std::enable_shared_from_this<Loop> {
  /// `its_owner`: for the timers. `its_life`: while it can be locked, the owner and all parts of it are there.
  Loop(void* its_owner, const LoopTimers& timers, std::weak_ptr<const void> its_life, Failures& reports,
       std::shared_ptr<Executor> on, std::uint64_t seed)
      : owner(its_owner),
        life(std::move(its_life)),
        failures(reports),
        executor(std::move(on)),
        wheel(executor->now()),
        state_timer(this, timers.state),
        grace_timer(this, timers.grace),
        drain_timer(this, timers.drain),
        sweep_timer(this, timers.sweep),
        awareness_timer(this, timers.awareness),
        retry_timer(this, timers.retry),
        random(seed) {}

  /// Runs `task` on the executor, unless the manager is gone by then. False: the executor has stopped. Any thread.
  template <class F>
  bool post(F task);
  /// As `post`, when a turn of the executor ends: see there.
  template <class F>
  bool post_at_turn_end(F task, std::size_t turns = 0);
  /// What `post` does with a task when its time has come.
  void run(FunctionRef<void()> task) noexcept;
  /// Runs what may throw, the embedder's code or ours; what it throws is counted, logged and goes no further. False: it
  /// threw. `of`, `secret`: whose code it is, and what is kept out of the log, asked only then.
  bool contain(const char* where, FunctionRef<void()> code) noexcept;
  bool contain(const char* where, FunctionRef<void()> code, ConnectionId of,
               FunctionRef<const std::string*()> secret) noexcept;
  /// Runs the embedder's code, and counts how long it took to return.
  template <class F>
  void time(const F& code) {
    const TimePoint begin = executor->now();
    code();
    counters.handler_time.add(executor->now() - begin);
  }

  void arm(Timer& timer, TimePoint deadline) noexcept {
    wheel.arm(timer, deadline);
    if (!waking && (wakes.empty() || deadline < wakes.back())) wake(deadline);
  }
  /// What has failed is tried again.
  void retry_soon() noexcept {
    if (!retry_timer.armed()) arm(retry_timer, executor->now() + retry_delay);
  }

  void* const owner;
  const std::weak_ptr<const void> life;
  Failures& failures;
  const std::shared_ptr<Executor> executor;
  /// Any thread: the executor refused a task, so it has stopped for good.
  std::atomic<bool> stopped{false};
  /// Any thread: somebody has taken over what the stopped executor left.
  std::atomic<bool> abandoned{false};
  LoopCounters counters;

  /// What the next flush of a room begins with, or null.
  std::shared_ptr<Batch> spare_batch;

  TimerWheel wheel;
  /// When the executor was asked to wake us: each earlier than the one before. What is asked for cannot be taken back, so
  /// whoever needs a time behind the next waits for that, and asks then.
  std::vector<TimePoint> wakes;
  bool waking = false;
  bool wake_missed = false;  ///< the executor could not be asked
  /// Rooms whose changed state is to be flushed; null: the tenants' presence.
  std::multimap<TimePoint, std::shared_ptr<RoomState>> state_flushes;
  Timer state_timer;
  /// What was dropped here and may come back.
  Graces graces;
  Timer grace_timer;
  /// The connections a drain has still to close, the next one last, and how far apart.
  std::vector<std::shared_ptr<ConnectionState>> draining;
  std::chrono::nanoseconds drain_pace{0};
  TimePoint drain_next_at{};
  TimePoint drain_ends{};
  std::shared_ptr<std::atomic<std::size_t>> drain_forced;
  Timer drain_timer;
  Timer sweep_timer;
  Timer awareness_timer;
  /// What has failed is tried again.
  Timer retry_timer;
  Clearings clearings;
  Clearings spare_clearing;  ///< memory for the next one

  /// Every connection whose socket is not gone yet; each knows its index.
  std::vector<std::shared_ptr<ConnectionState>> connections;
  std::vector<Format> formats;
  /// What serves commands here, as of the last change that this executor has heard of.
  std::shared_ptr<const HandlerTable> handlers;
  /// Connections with something to write at the end of this turn.
  std::vector<ConnectionState*> dirty;
  bool write_posted = false;
  /// Replies of this turn, many connections' in one block.
  BlockPtr replies;

  // Memory lent from turn to turn.
  Outbox::Lent lent;
  std::vector<Command> commands;
  std::string text;

  Random random;

 private:
  void wake(TimePoint when) noexcept;
  void wake_for_next() noexcept;
  /// A task on its way.
  template <class F>
  struct Posted {
    std::shared_ptr<Loop> loop;
    F task;
    void operator()() {
      loop->run(FunctionRef<void()>([this] { task(); }));
    }
  };
  bool taken(bool well) noexcept {
    if (!well) stopped = true;
    return well;
  }
  void on_wake(TimePoint when, bool has_listened) noexcept;
};

using LoopPtr = std::shared_ptr<Loop>;

template <class F>
bool Loop::post(F task) {
  return taken(executor->post(Posted<F>{shared_from_this(), std::move(task)}));
}

template <class F>
bool Loop::post_at_turn_end(F task, std::size_t turns) {
  return taken(executor->post_at_turn_end(Posted<F>{shared_from_this(), std::move(task)}, turns));
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
