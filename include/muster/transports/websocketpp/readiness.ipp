// Readiness: which sockets of a loop can be read or written.
#pragma once

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <asio/posix/basic_stream_descriptor.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include "muster/transports/websocketpp/asio.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

/// An epoll instance of our own (epoll(7)), itself waited for by Asio: one of its sockets costs a few hundred bytes and a
/// system call for each wait, here a socket costs two in its whole life.
///
/// Threads: the loop's. A child process that goes on with the io_context of its parent has the parent's instance, and
/// must not close sockets of muster's.
class Readiness {
 public:
  using Events = std::uint8_t;
  static constexpr Events readable = 1;
  static constexpr Events writable = 2;

  /// Who waits.
  class Waiter {
   public:
    virtual void on_ready(std::uint32_t happened) = 0;

   protected:
    ~Waiter() = default;
  };

  /// What is kept of one socket.
  struct Watch {
    Events wanted = 0;     ///< and not told yet
    Events asked = 0;      ///< of the system
    bool watched = false;  ///< by the system
  };

  explicit Readiness(asio::io_context& context) : epoll_(context) {
    const int descriptor = ::epoll_create1(EPOLL_CLOEXEC);
    if (descriptor < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
    asio::error_code error;
    (void)epoll_.assign(descriptor, error);
    if (!error) return;
    (void)::close(descriptor);
    throw std::system_error(error, "epoll");
  }

  /// Before it is closed: others may have the descriptor as well.
  void remove(int descriptor, Watch& watch, Waiter& waiter) noexcept {
    if (!watch.watched) return;
    for (std::size_t i = next_; i < happened_; ++i) {
      if (events_[i].data.ptr == &waiter) events_[i].data.ptr = nullptr;  // it may end before its turn
    }
    watch.watched = false;
    (void)::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_DEL, descriptor, nullptr);
    --count_;
  }
  /// To be told once; 0: nothing yet. False: the system has no room to watch it.
  [[nodiscard]] bool want(int descriptor, Watch& watch, Waiter& waiter, Events events) noexcept {
    watch.wanted |= events;
    if (watch.watched && (watch.asked & events) == events) return true;
    watch.asked |= events;
    return watch.watched ? control(EPOLL_CTL_MOD, descriptor, watch, waiter) : add(descriptor, watch, waiter);
  }
  /// What the waiter is told of what has happened.
  [[nodiscard]] static Events told(Watch& watch, std::uint32_t happened) noexcept {
    const bool broken = (happened & (EPOLLHUP | EPOLLERR)) != 0;
    Events events = 0;
    if (broken || (happened & EPOLLIN) != 0) events |= readable;
    if (broken || (happened & EPOLLOUT) != 0) events |= writable;
    events &= watch.wanted;
    watch.wanted &= static_cast<Events>(~events);
    return events;
  }
  /// After that: what nobody wants the system need not say again and again.
  void settle(int descriptor, Watch& watch, Waiter& waiter, std::uint32_t happened, Events was_told) noexcept {
    if (!watch.watched) return;
    if ((happened & (EPOLLHUP | EPOLLERR)) != 0 && was_told == 0)
      return remove(descriptor, watch, waiter);  // it cannot be asked not to
    Events asked = watch.asked;
    if ((happened & EPOLLIN) != 0 && ((was_told | watch.wanted) & readable) == 0)
      asked &= static_cast<Events>(~readable);
    if ((watch.wanted & writable) == 0) asked &= static_cast<Events>(~writable);
    if (asked == watch.asked) return;
    watch.asked = asked;
    (void)control(EPOLL_CTL_MOD, descriptor, watch, waiter);
  }

  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  /// What Asio waits for: readable while something has happened.
  [[nodiscard]] auto& descriptor() noexcept { return epoll_; }
  /// Tells what has happened, of as many as fit. Not while it does.
  void tell() {
    const int count = ::epoll_wait(epoll_.native_handle(), events_.data(), static_cast<int>(events_.size()), 0);
    happened_ = count > 0 ? static_cast<std::size_t>(count) : 0;
    for (next_ = 0; next_ < happened_;) {
      const epoll_event& event = events_[next_++];
      const std::uint32_t happened = event.events;
      if (event.data.ptr != nullptr) static_cast<Waiter*>(event.data.ptr)->on_ready(happened);
    }
  }

 private:
  [[nodiscard]] bool add(int descriptor, Watch& watch, Waiter& waiter) noexcept {
    watch.asked |= readable;  // what all want first
    watch.watched = control(EPOLL_CTL_ADD, descriptor, watch, waiter);
    if (watch.watched) ++count_;
    return watch.watched;
  }
  [[nodiscard]] bool control(int operation, int descriptor, const Watch& watch, Waiter& waiter) noexcept {
    epoll_event event{};
    if ((watch.asked & readable) != 0) event.events |= EPOLLIN;
    if ((watch.asked & writable) != 0) event.events |= EPOLLOUT;
    event.data.ptr = &waiter;
    return ::epoll_ctl(epoll_.native_handle(), operation, descriptor, &event) == 0;
  }

  asio::posix::basic_stream_descriptor<LoopExecutor> epoll_;
  std::size_t count_ = 0;
  std::array<epoll_event, 128> events_;
  std::size_t happened_ = 0;  ///< of `events_`
  std::size_t next_ = 0;      ///< to be told
};

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
