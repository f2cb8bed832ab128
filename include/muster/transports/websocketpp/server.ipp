// Listener and Server.
#pragma once

#include <algorithm>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "muster/thread_safety.hpp"
#include "muster/transports/websocketpp/acceptor.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {

struct Listener::State {
  std::shared_ptr<detail::Acceptor> acceptor;
};

MUSTER_INLINE Listener::Listener(asio::io_context& context, std::shared_ptr<TransportSink> sink,
                                 ListenerOptions options)
    : state_(new State) {
  state_->acceptor = detail::make_acceptor({detail::SocketLoop::of(context)}, std::move(sink), std::move(options));
  state_->acceptor->start();
}

MUSTER_INLINE Listener::Listener(Listener&& other) noexcept = default;

MUSTER_INLINE Listener& Listener::operator=(Listener&& other) noexcept {
  if (this != &other) {
    stop();
    state_ = std::move(other.state_);
  }
  return *this;
}

MUSTER_INLINE Listener::~Listener() { stop(); }

MUSTER_INLINE std::uint16_t Listener::port() const noexcept { return state_->acceptor->port(); }

MUSTER_INLINE void Listener::stop() {
  if (state_) state_->acceptor->stop();
}

MUSTER_INLINE void Listener::adopt(AcceptedSocket socket, std::string received) {
  state_->acceptor->adopt(std::move(socket), std::move(received));
}

MUSTER_INLINE std::optional<Error> Listener::reload_certificate() { return state_->acceptor->reload_certificate(); }

struct Server::State : std::enable_shared_from_this<Server::State> {
  /// One io_context, its thread, and what keeps it running.
  struct Thread {
    asio::io_context context{1};
    asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
    std::shared_ptr<detail::SocketLoop> loop = detail::SocketLoop::of(context);
    std::thread thread;
    std::thread::id id;
  };

  State(const std::shared_ptr<IConnectionManager>& owner, ServerOptions options) : managers{owner} {
    if (options.threads == 0) throw std::invalid_argument("websocketpp server: threads must be at least 1");
    for (const Site& site : options.sites) {
      if (std::find(managers.begin(), managers.end(), site.manager) == managers.end()) managers.push_back(site.manager);
    }
    std::vector<std::shared_ptr<detail::SocketLoop>> loops;
    for (std::size_t i = 0; i < options.threads; ++i) {
      loops.push_back(threads.emplace_back().loop);
    }
    acceptor = detail::make_acceptor(std::move(loops), owner, std::move(options));
  }

  [[nodiscard]] asio::io_context& first() { return threads.front().context; }

  void run_loop(Thread& thread) noexcept {
    thread.context.run();
    const CheckedLock lock(mutex);
    thread.id = {};
    ++ended;
    changed.notify_all();
  }

  /// Whether the first loop was left for the caller to run.
  [[nodiscard]] bool start(bool first_in_this_thread) {
    const CheckedLock lock(mutex);
    // Who started it in threads of its own may wait for the end, also for one that has come already.
    const bool only_waits = first_in_this_thread && started && !caller_runs;
    if (stopping && !only_waits) throw std::logic_error("websocketpp server: start after stop");
    if (std::exchange(started, true)) return false;
    caller_runs = first_in_this_thread;
    try {
      for (Thread& thread : threads) {
        if (first_in_this_thread && &thread == &threads.front()) continue;
        thread.thread = std::thread([this, self = &thread] { run_loop(*self); });
        thread.id = thread.thread.get_id();
        ++running;
      }
      if (first_in_this_thread) {
        threads.front().id = std::this_thread::get_id();
        ++running;
      }
    } catch (...) {
      // As many as could be made are ended again by the destructor.
      stopping = true;
      end_loops();
      throw;
    }
    // What waits in an io_context of ours must not own us: it would never be destroyed.
    (void)threads.front().loop->executor->post([weak = std::weak_ptr<detail::Acceptor>(acceptor)] {
      if (const auto self = weak.lock()) self->start();
    });
    return first_in_this_thread;
  }

  void begin_stop() {
    {
      const CheckedLock lock(mutex);
      if (std::exchange(stopping, true)) return;
      if (!started) return acceptor->stop();
    }
    const auto end = [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->end_loops();
    };
    AsioExecutor& executor = *threads.front().loop->executor;
    (void)executor.post([weak = std::weak_ptr<detail::Acceptor>(acceptor)] {
      if (const auto self = weak.lock()) self->stop();
    });
    // A socket that its peer or another listener's loop never lets go must not keep the server.
    std::chrono::milliseconds longest{0};
    for (const auto& manager : managers) longest = std::max(longest, manager->options().close_timeout);
    (void)executor.schedule(executor.now() + longest + std::chrono::seconds(1), end);
    for (Thread& thread : threads) {
      (void)thread.loop->executor->post([loop = thread.loop] { loop->stop(); });
    }
    const auto left = std::make_shared<std::atomic<std::size_t>>(managers.size());
    for (const auto& manager : managers) {
      manager->shutdown([end, left] {
        if (left->fetch_sub(1) == 1) end();
      });
    }
  }

  void end_loops() {
    for (Thread& thread : threads) {
      thread.context.stop();
    }
  }

  [[nodiscard]] bool on_own_thread() {
    const CheckedLock lock(mutex);
    for (Thread& thread : threads) {
      if (thread.id == std::this_thread::get_id()) return true;
    }
    return false;
  }

  /// Waits for the threads; whoever comes first joins them and ends what stands on their loops.
  void join() {
    {
      const CheckedLock lock(mutex);
      changed.wait(mutex, [this]() MUSTER_REQUIRES(mutex) { return ended == running; });
      if (std::exchange(joined, true)) {
        changed.wait(mutex, [this]() MUSTER_REQUIRES(mutex) { return over; });
        return;
      }
    }
    for (Thread& thread : threads) {
      if (thread.thread.joinable()) thread.thread.join();
    }
    acceptor->stop();
    for (Thread& thread : threads) thread.loop->end();
    const CheckedLock lock(mutex);
    over = true;
    changed.notify_all();
  }

  std::vector<std::shared_ptr<IConnectionManager>> managers;  ///< each once
  std::list<Thread> threads;
  std::shared_ptr<detail::Acceptor> acceptor;

  CheckedMutex mutex;
  std::condition_variable_any changed;
  std::size_t running MUSTER_GUARDED_BY(mutex) = 0;
  std::size_t ended MUSTER_GUARDED_BY(mutex) = 0;
  bool started MUSTER_GUARDED_BY(mutex) = false;
  bool caller_runs MUSTER_GUARDED_BY(mutex) = false;  ///< the first loop
  bool stopping MUSTER_GUARDED_BY(mutex) = false;
  bool joined MUSTER_GUARDED_BY(mutex) = false;
  bool over MUSTER_GUARDED_BY(mutex) = false;
};

MUSTER_INLINE Server::Server(std::shared_ptr<IConnectionManager> manager, ServerOptions options)
    : state_(new State(manager, std::move(options))) {}

MUSTER_INLINE Server::~Server() { stop(); }

MUSTER_INLINE std::uint16_t Server::port() const noexcept { return state_->acceptor->port(); }

MUSTER_INLINE asio::io_context& Server::context() noexcept { return state_->first(); }

MUSTER_INLINE void Server::start() { (void)state_->start(false); }

MUSTER_INLINE void Server::run() {
  if (state_->start(true)) state_->run_loop(state_->threads.front());
  state_->join();
}

MUSTER_INLINE void Server::stop() {
  state_->begin_stop();
  if (!state_->on_own_thread()) state_->join();
}

MUSTER_INLINE void Server::adopt(AcceptedSocket socket, std::string received) {
  state_->acceptor->adopt(std::move(socket), std::move(received));
}

MUSTER_INLINE std::optional<Error> Server::reload_certificate() { return state_->acceptor->reload_certificate(); }

}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
