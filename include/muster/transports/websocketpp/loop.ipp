// What the sockets of one io_context share: executor, buffers, compression, deadlines, and the list of themselves.
#pragma once

#include <asio/execution_context.hpp>
#include <asio/io_context.hpp>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "muster/transports/websocketpp/asio.ipp"
#include "muster/transports/websocketpp/deflate.ipp"
#include "muster/transports/websocketpp/executor.ipp"
#include "muster/transports/websocketpp/frames.ipp"
#include "muster/transports/websocketpp/readiness.ipp"
#include "muster/transports/websocketpp/stream.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

/// What a loop knows of a socket.
class SocketLoopMember : public Readiness::Waiter {
 public:
  void on_ready(std::uint32_t) override {}  // somebody else reads and writes it
  virtual void on_deadline() = 0;
  /// The server stops: what the core does not know of is closed.
  virtual void on_stop() = 0;
  /// The io_context ends, and with it everything that stands on it.
  virtual void on_loop_end() = 0;

 protected:
  ~SocketLoopMember() = default;

 private:
  friend class SocketLoop;
  SocketLoopMember* previous_ = nullptr;
  SocketLoopMember* next_ = nullptr;
};

/// One per io_context. The loop's thread only, but for `executor` and `sockets`.
class SocketLoop : public std::enable_shared_from_this<SocketLoop> {
 public:
  /// A whole burst of a peer is read at once and answered by one fan-out. Nothing is kept in it between two reads, so
  /// that an idle connection holds no buffer.
  static constexpr std::size_t read_size = 64 * 1024;

  explicit SocketLoop(asio::io_context& io)
      : context(io), executor(new AsioExecutor(io)), read_buffer(new char[read_size]), timer_(std::in_place, io) {
    // Services end in the opposite order of their making: ours closes what is theirs, so they have to be older.
    readiness_.emplace(io);
  }

  /// The loop of this io_context.
  [[nodiscard]] static const std::shared_ptr<SocketLoop>& of(asio::io_context& io);

  asio::io_context& context;
  const std::shared_ptr<AsioExecutor> executor;
  const std::unique_ptr<char[]> read_buffer;
  Readers readers;
  /// Sockets given to this loop and not closed yet.
  std::atomic<std::size_t> sockets{0};

  /// Where TLS gathers a record; only loops that speak TLS pay for it.
  [[nodiscard]] char* scratch() {
    if (!scratch_) scratch_.reset(new char[Stream::scratch_size]);
    return scratch_.get();
  }

  /// What inflates every compressed message that comes in here.
  [[nodiscard]] Inflater& inflater() {
    if (!inflater_) inflater_ = std::make_unique<Inflater>();
    return *inflater_;
  }

  /// The format of this loop's connections that agreed to compress so.
  [[nodiscard]] std::shared_ptr<const WireFormat> deflate_format(int window_bits, std::size_t min_bytes) {
    for (const auto& format : formats_) {
      if (format->key() == DeflateFormat::key_of(window_bits, min_bytes)) return format;
    }
    return formats_.emplace_back(std::make_shared<const DeflateFormat>(window_bits, min_bytes));
  }

  void add(SocketLoopMember& member) {
    member.next_ = first_;
    if (first_ != nullptr) first_->previous_ = &member;
    first_ = &member;
  }

  void remove(SocketLoopMember& member) {
    (member.previous_ != nullptr ? member.previous_->next_ : first_) = member.next_;
    if (member.next_ != nullptr) member.next_->previous_ = member.previous_;
    member.previous_ = member.next_ = nullptr;
  }

  using Deadlines = std::multimap<TimePoint, SocketLoopMember*>;
  using Deadline = Deadlines::iterator;

  [[nodiscard]] Deadline add_deadline(std::chrono::milliseconds from_now, SocketLoopMember& member) {
    const auto deadline = deadlines_.emplace(executor->now() + from_now, &member);
    if (deadline->first < armed_for_) arm();
    return deadline;
  }
  void remove_deadline(Deadline deadline) { deadlines_.erase(deadline); }

  // As Readiness, which is waited for while a socket is there.
  [[nodiscard]] bool want(int descriptor, Readiness::Watch& watch, SocketLoopMember& member, Readiness::Events events) {
    if (!readiness_->want(descriptor, watch, member, events)) return false;
    wait_for_any();
    return true;
  }
  void unwatch(int descriptor, Readiness::Watch& watch, SocketLoopMember& member) {
    readiness_->remove(descriptor, watch, member);
    if (!readiness_->empty() || !waiting_) return;
    waiting_ = false;
    readiness_->descriptor().cancel();  // an io_context without sockets may return
  }
  [[nodiscard]] Readiness& readiness() noexcept { return *readiness_; }

  /// Closes what the core does not know of.
  void stop() {
    for (SocketLoopMember* member = first_; member != nullptr;) {
      SocketLoopMember* const next = member->next_;
      member->on_stop();
      member = next;
    }
  }

  /// The io_context has returned for good.
  void end() {
    if (std::exchange(ended_, true)) return;
    while (first_ != nullptr) {
      SocketLoopMember& member = *first_;
      remove(member);
      member.on_loop_end();
    }
    deadlines_.clear();
    timer_.reset();
    readiness_.reset();
    executor->stop();
  }
  [[nodiscard]] bool ended() const noexcept { return ended_; }

 private:
  /// For all sockets, in one wait.
  struct Happened {
    std::shared_ptr<SocketLoop> loop;
    std::uint64_t wait;
    void operator()(const asio::error_code& error) const {
      if (error == asio::error::operation_aborted || wait != loop->wait_ || loop->ended_) return;
      loop->waiting_ = false;
      loop->tell_ready();
    }
  };
  void wait_for_any() {
    if (waiting_ || telling_ || ended_ || readiness_->empty()) return;
    const Happened happened{shared_from_this(), wait_ + 1};
    readiness_->descriptor().async_wait(asio::posix::descriptor_base::wait_read, happened);
    ++wait_;  // an older one counts no longer
    waiting_ = true;
  }
  void tell_ready() {
    std::optional<AsioExecutor::Turn> turn;
    try {
      turn.emplace(*executor);
    } catch (...) {  // of another thread; who has it goes on
      asio::post(context, handler<&SocketLoop::wait_for_any>(shared_from_this()));
      throw;
    }
    struct Telling {
      SocketLoop& loop;
      ~Telling() {  // also where a handler throws. Where there is no memory, the next socket or deadline sees to it
        loop.telling_ = false;
        try {
          loop.wait_for_any();
        } catch (...) {  // NOLINT(bugprone-empty-catch)
        }
      }
    } const telling{*this};
    telling_ = true;
    readiness_->tell();
  }

  // Deadlines that are met come and go without the timer: it may wake for one that is no more, and then sees to the next.
  void arm() {
    armed_for_ = TimePoint::max();
    if (ended_ || deadlines_.empty()) return;
    armed_for_ = deadlines_.begin()->first;
    timer_->expires_at(armed_for_);
    timer_->async_wait(handler<&SocketLoop::expire>(shared_from_this()));
  }

  void expire() {
    const AsioExecutor::Turn turn(*executor);
    wait_for_any();
    const TimePoint now = executor->now();
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
      SocketLoopMember* const member = deadlines_.begin()->second;
      member->on_deadline();  // which removes it
    }
    arm();
  }

  std::optional<Readiness> readiness_;
  std::uint64_t wait_ = 0;  ///< the newest
  bool waiting_ = false;
  bool telling_ = false;
  std::optional<LoopTimer> timer_;
  Deadlines deadlines_;
  TimePoint armed_for_ = TimePoint::max();
  SocketLoopMember* first_ = nullptr;
  std::unique_ptr<char[]> scratch_;
  std::unique_ptr<Inflater> inflater_;
  std::vector<std::shared_ptr<const WireFormat>> formats_;  // a few
  bool ended_ = false;
};

/// Ties a loop to the life of its io_context.
class LoopService final : public asio::execution_context::service {
 public:
  using key_type = LoopService;
  static inline asio::execution_context::id id;  // how Asio tells services apart

  explicit LoopService(asio::execution_context& context)
      : service(context), loop(new SocketLoop(static_cast<asio::io_context&>(context))) {}

  const std::shared_ptr<SocketLoop> loop;

 private:
  void shutdown() override { loop->end(); }
};

inline const std::shared_ptr<SocketLoop>& SocketLoop::of(asio::io_context& io) {
  return asio::use_service<LoopService>(io).loop;
}

}  // namespace detail

MUSTER_INLINE std::shared_ptr<AsioExecutor> AsioExecutor::of(asio::io_context& context) {
  return detail::SocketLoop::of(context)->executor;
}

}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
