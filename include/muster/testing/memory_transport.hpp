// MemoryTransport: one client's pipe without a socket. It keeps what was written, and can be as slow and as broken as told.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/close_reason.hpp"
#include "muster/config.hpp"
#include "muster/connection.hpp"
#include "muster/executor.hpp"
#include "muster/function.hpp"
#include "muster/span.hpp"
#include "muster/thread_safety.hpp"
#include "muster/transport.hpp"
#include "muster/transport_sink.hpp"
#include "muster/wire_format.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Transport and adapter in one: `open` connects it to a sink, most often a manager, `receive` is what the peer sends, `written` is what
/// the peer got, `hang_up` and `vanish` are how the peer goes away.
///
/// Ownership: shared (make_shared only); it keeps the connection until the pipe is gone, and the manager never.
/// Threads: everything that is the peer's may be called from any thread; the manager is called from posted tasks only.
class MemoryTransport final : public Transport, public std::enable_shared_from_this<MemoryTransport> {
 public:
  /// `close_timeout`: how long a close waits for a peer that does not answer.
  explicit MemoryTransport(std::shared_ptr<Executor> executor,
                           std::chrono::milliseconds close_timeout = std::chrono::seconds(5))
      : executor_(std::move(executor)), close_timeout_(close_timeout) {}

  // The peer.

  /// Asks to connect; `decided`, if given, hears the answer on the executor. False: the executor has stopped.
  bool open(const std::shared_ptr<TransportSink>& sink, OpenRequest request,
            Function<void(const Decision&)> decided = nullptr) {
    // A move-only request in a task: Function takes it as it is.
    return executor_->post([self = shared_from_this(), weak = std::weak_ptr(sink), request = std::move(request),
                            decided = std::move(decided)]() mutable {
      if (const auto alive = weak.lock()) self->open_now(alive, std::move(request), std::move(decided));
    });
  }
  /// One whole message from the peer. What waits is delivered in one task, as one read of a socket would be.
  void receive(std::string bytes, FrameKind kind = FrameKind::text) {
    {
      const Lock lock(mutex_);
      if (gone_ || vanished_) return;
      inbound_.push_back({kind, std::move(bytes), 0});
      heard_at_ = executor_->now();
    }
    post_delivery();
  }
  /// So many bytes come in of a message that is not whole yet: IConnectionManager::arrived.
  void receive_part(std::size_t bytes) {
    {
      const Lock lock(mutex_);
      if (gone_ || vanished_) return;
      inbound_.push_back({FrameKind::continuation, {}, bytes});
      heard_at_ = executor_->now();
    }
    post_delivery();
  }
  /// The peer ends the connection: the manager is told `cause`, after what the peer has sent.
  void hang_up(CloseReason cause = CloseReason::normal) {
    (void)executor_->post([self = shared_from_this(), cause] {
      self->deliver();
      self->finish(cause);
    });
  }
  /// Lets go of the connection and tells nobody, for a test that ends while its manager or its executor is gone: else each of
  /// the two keeps the other.
  void let_go() { (void)release(); }
  /// The peer is gone and nothing says so: writes go nowhere, nothing is received, a close waits for its timeout.
  void vanish() {
    const Lock lock(mutex_);
    vanished_ = true;
    inbound_.clear();
  }

  // How the pipe behaves.

  /// The next write is held until `resume`.
  void stall() {
    const Lock lock(mutex_);
    stalled_ = true;
  }
  void resume() {
    {
      const Lock lock(mutex_);
      stalled_ = false;
      if (held_.empty() && !closing_) return;
    }
    post_pump();
  }
  /// Takes this many bytes a turn (0 = all): a larger batch is pending until the last one is through. A turn takes no
  /// time, or `every` as on a slow line.
  void take_per_turn(std::size_t bytes, std::chrono::milliseconds every = std::chrono::milliseconds(0)) {
    const Lock lock(mutex_);
    per_turn_ = bytes;
    every_ = every;
  }
  /// The `nth` write from now on finds the pipe broken (0 = none).
  void fail_write(std::size_t nth) {
    const Lock lock(mutex_);
    fail_at_ = nth == 0 ? 0 : writes_ + nth;
  }
  /// The `nth` call of the core's from now on throws, which a transport must not (0 = none).
  void throw_at(std::size_t nth) {
    const Lock lock(mutex_);
    throws_in_ = nth;
  }
  /// Whether it has.
  [[nodiscard]] bool has_thrown() const { return thrown_; }

  // What happened.

  /// When the peer last said something.
  [[nodiscard]] TimePoint heard_at() const { return read(&MemoryTransport::heard_at_); }
  /// When the peer last took a part of a batch that was pending.
  [[nodiscard]] TimePoint took_at() const { return read(&MemoryTransport::took_at_); }
  /// Since when it has taken nothing of the batch that is pending; none: nothing is.
  [[nodiscard]] std::optional<TimePoint> stuck_since() const {
    const Lock lock(mutex_);
    return held_.empty() ? std::nullopt : std::optional(std::max(held_at_, took_at_));
  }
  /// Every byte the peer got.
  [[nodiscard]] std::string written() const { return read(&MemoryTransport::written_); }
  /// What the peer got since the last call.
  [[nodiscard]] std::string take_written() {
    const Lock lock(mutex_);
    return std::exchange(written_, {});
  }
  [[nodiscard]] std::size_t writes() const { return read(&MemoryTransport::writes_); }
  /// Bytes of all writes, whether the peer got them or not.
  [[nodiscard]] std::uint64_t bytes() const { return read(&MemoryTransport::bytes_); }
  struct Closing {
    std::uint16_t code = 0;
    std::string text;
  };
  /// The close the core asked for; none: it asked for none.
  [[nodiscard]] std::optional<Closing> closing() const { return read(&MemoryTransport::closing_); }
  [[nodiscard]] bool aborted() const { return read(&MemoryTransport::aborted_); }
  /// Calls that the contract forbids: a write while one is pending, a write or a second close after `close`.
  [[nodiscard]] std::size_t violations() const { return read(&MemoryTransport::violations_); }
  [[nodiscard]] bool is_reading_paused() const { return read(&MemoryTransport::paused_); }
  [[nodiscard]] bool is_vanished() const { return read(&MemoryTransport::vanished_); }
  /// From now on the pipe tells what is unsent, and that the system keeps so much beside the batch it holds.
  void system_holds(std::size_t bytes) {
    const Lock lock(mutex_);
    system_holds_ = bytes;
  }
  /// Whether a batch is held.
  [[nodiscard]] bool is_pending() const {
    const Lock lock(mutex_);
    return !held_.empty();
  }
  /// Whether the pipe exists no more. The manager may hear of it a task later.
  [[nodiscard]] bool is_gone() const { return read(&MemoryTransport::gone_); }
  /// The answer to `open`; none yet: not decided. Its connection is in `connection`.
  struct Answer {
    bool accepted = false;
    std::string subprotocol;
    CloseReason reason = CloseReason::normal;
    Error error;
  };
  [[nodiscard]] std::optional<Answer> answer() const { return read(&MemoryTransport::answer_); }
  /// Null before it was accepted and after the pipe is gone.
  [[nodiscard]] std::shared_ptr<Connection> connection() const { return read(&MemoryTransport::connection_); }

  // Transport.

  [[nodiscard]] WriteResult write(const Span* spans, std::size_t count) override {
    throw_if_told();
    std::size_t size = 0;
    for (std::size_t i = 0; i < count; ++i) size += spans[i].size;
    WriteResult result = WriteResult::done;
    bool fails = false;
    bool pumps = false;
    {
      const Lock lock(mutex_);
      if (!held_.empty() || closing_) ++violations_;
      ++writes_;
      bytes_ += size;
      fails = !gone_ && writes_ == fail_at_;
      if (gone_ || fails) {
        result = WriteResult::closed;
      } else if (stalled_ || (per_turn_ != 0 && size > per_turn_)) {
        held_.assign(spans, spans + count);
        held_from_ = 0;
        held_at_ = executor_->now();
        if (!stalled_) {
          take_held(per_turn_);
          pumps = true;
        }
        result = WriteResult::pending;
      } else if (!vanished_) {
        written_.reserve(std::max(written_.size() + size, written_.capacity()));  // all of it is taken, or nothing
        for (std::size_t i = 0; i < count; ++i) written_.append(spans[i].data, spans[i].size);
      }
    }
    if (fails) end(CloseReason::lost);
    if (pumps) post_pump();
    return result;
  }

  [[nodiscard]] std::optional<std::size_t> unsent() const override {
    const Lock lock(mutex_);
    if (!system_holds_) return std::nullopt;
    std::size_t bytes = *system_holds_;
    for (const Span& span : held_) bytes += span.size;
    return bytes - held_from_;
  }

  void close(std::uint16_t code, std::string_view text) override {
    throw_if_told();
    bool answered = false;
    {
      const Lock lock(mutex_);
      if (closing_) {
        ++violations_;
        return;
      }
      closing_ = Closing{code, std::string(text)};
      if (gone_) return;
      answered = held_.empty() && !vanished_ && !stalled_;
    }
    if (answered) {
      (void)executor_->post([self = shared_from_this()] { self->finish(CloseReason::normal); });
    } else {
      (void)executor_->schedule(executor_->now() + close_timeout_,
                                [self = shared_from_this()] { self->finish(CloseReason::lost); });
    }
  }

  void abort() override {
    throw_if_told();
    {
      const Lock lock(mutex_);
      aborted_ = true;
    }
    end(CloseReason::lost);
  }

  void pause_reading(bool pause) override {
    throw_if_told();
    {
      const Lock lock(mutex_);
      paused_ = pause;
      if (pause || inbound_.empty()) return;
    }
    post_delivery();
  }

 private:
  using Lock = CheckedLock<CheckedMutex>;
  struct Inbound {
    FrameKind kind;
    std::string bytes;
    std::size_t part;  ///< else: a whole frame
  };

  template <class T>
  [[nodiscard]] T read(T MemoryTransport::*member) const {
    const Lock lock(mutex_);
    return this->*member;
  }
  void throw_if_told() {
    const Lock lock(mutex_);
    if (throws_in_ == 0 || --throws_in_ != 0) return;
    thrown_ = true;
    throw std::runtime_error("this transport was told to throw");
  }
  void open_now(const std::shared_ptr<TransportSink>& sink, OpenRequest request,
                Function<void(const Decision&)> decided) {
    {
      const Lock lock(mutex_);
      if (gone_) return;
      sink_ = sink;
    }
    const std::uint64_t opening =
        sink->open(std::move(request), shared_from_this(), executor_,
                   [weak = weak_from_this(), decided = std::move(decided)](Decision decision) mutable {
                     if (const auto self = weak.lock()) self->decide(decision);
                     if (decided) decided(decision);
                   });
    const Lock lock(mutex_);
    if (!answer_) opening_ = opening;
  }
  void decide(const Decision& decision) {
    {
      const Lock lock(mutex_);
      answer_ = Answer{decision.accepted, decision.subprotocol, decision.reason, decision.error};
      connection_ = decision.connection;
      opening_ = 0;
      if (!decision.accepted) gone_ = true;
      if (inbound_.empty()) return;
    }
    post_delivery();
  }

  void post_delivery() {
    (void)executor_->post([self = shared_from_this()] { self->deliver(); });
  }
  void post_pump() {
    auto pump = [self = shared_from_this()] { self->pump(); };
    const std::chrono::milliseconds every = read(&MemoryTransport::every_);
    if (every.count() == 0) {
      (void)executor_->post(std::move(pump));
    } else {
      (void)executor_->schedule(executor_->now() + every, std::move(pump));
    }
  }

  void deliver() {
    for (;;) {
      Inbound next;
      std::shared_ptr<Connection> connection;
      std::shared_ptr<TransportSink> sink;
      {
        const Lock lock(mutex_);
        sink = sink_.lock();
        if (gone_ || paused_ || inbound_.empty() || !connection_ || !sink) return;
        next = std::move(inbound_.front());
        inbound_.pop_front();
        connection = connection_;
      }
      if (next.part != 0) {
        sink->arrived(*connection, next.part);
      } else {
        sink->received(*connection, next.kind, next.bytes);
      }
    }
  }

  // Takes bytes of the batch in flight; true when none is left.
  bool take_held(std::size_t bytes) MUSTER_REQUIRES(mutex_) {
    while (!held_.empty() && bytes > 0) {
      const Span& first = held_.front();
      const std::size_t taken = std::min(bytes, first.size - held_from_);
      if (!vanished_) written_.append(first.data + held_from_, taken);
      bytes -= taken;
      held_from_ += taken;
      if (held_from_ == first.size) {
        held_.erase(held_.begin());
        held_from_ = 0;
      }
    }
    while (!held_.empty() && held_.front().size == 0) held_.erase(held_.begin());
    return held_.empty();
  }
  void pump() {
    std::shared_ptr<Connection> connection;
    bool closes = false;
    {
      const Lock lock(mutex_);
      if (gone_ || stalled_ || (held_.empty() && !closing_)) return;
      if (!held_.empty()) took_at_ = executor_->now();
      if (take_held(per_turn_ == 0 ? SIZE_MAX : per_turn_)) {
        connection = connection_;
        closes = closing_.has_value();
        if (closes && vanished_) return;
      }
    }
    if (!connection) return post_pump();
    if (closes) return finish(CloseReason::normal);
    if (const auto sink = read(&MemoryTransport::sink_).lock()) sink->writable(*connection);
  }

  // The pipe ends now; the manager hears of it from a later task.
  void end(CloseReason cause) {
    if (auto told = connection()) {  // first: what cannot be told has not happened
      (void)executor_->post([sink = read(&MemoryTransport::sink_), told = std::move(told), cause] {
        if (const auto alive = sink.lock()) alive->closed(*told, cause);
      });
    }
    (void)release();
  }
  // The pipe ends in this task.
  void finish(CloseReason cause) {
    std::uint64_t opening = 0;
    {
      const Lock lock(mutex_);
      opening = std::exchange(opening_, 0);
    }
    const auto connection = release();
    const auto sink = read(&MemoryTransport::sink_).lock();
    if (!sink) return;
    if (connection) sink->closed(*connection, cause);
    if (opening != 0) sink->cancel_open(executor_, opening);
  }
  std::shared_ptr<Connection> release() {
    const Lock lock(mutex_);
    gone_ = true;
    held_.clear();
    inbound_.clear();
    return std::exchange(connection_, nullptr);
  }

  const std::shared_ptr<Executor> executor_;
  const std::chrono::milliseconds close_timeout_;
  mutable CheckedMutex mutex_;
  std::weak_ptr<TransportSink> sink_ MUSTER_GUARDED_BY(mutex_);
  std::shared_ptr<Connection> connection_ MUSTER_GUARDED_BY(mutex_);
  std::uint64_t opening_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::deque<Inbound> inbound_ MUSTER_GUARDED_BY(mutex_);
  TimePoint heard_at_ MUSTER_GUARDED_BY(mutex_){};
  std::vector<Span> held_ MUSTER_GUARDED_BY(mutex_);
  std::size_t held_from_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::string written_ MUSTER_GUARDED_BY(mutex_);
  TimePoint held_at_ MUSTER_GUARDED_BY(mutex_){};
  TimePoint took_at_ MUSTER_GUARDED_BY(mutex_){};
  std::size_t per_turn_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::chrono::milliseconds every_ MUSTER_GUARDED_BY(mutex_){0};
  std::size_t fail_at_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::size_t throws_in_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::atomic<bool> thrown_{false};
  std::size_t writes_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::uint64_t bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::size_t violations_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::optional<Closing> closing_ MUSTER_GUARDED_BY(mutex_);
  std::optional<Answer> answer_ MUSTER_GUARDED_BY(mutex_);
  std::optional<std::size_t> system_holds_ MUSTER_GUARDED_BY(mutex_);
  bool stalled_ MUSTER_GUARDED_BY(mutex_) = false;
  bool paused_ MUSTER_GUARDED_BY(mutex_) = false;
  bool vanished_ MUSTER_GUARDED_BY(mutex_) = false;
  bool aborted_ MUSTER_GUARDED_BY(mutex_) = false;
  bool gone_ MUSTER_GUARDED_BY(mutex_) = false;
};

}  // namespace MUSTER_ABI
}  // namespace muster
