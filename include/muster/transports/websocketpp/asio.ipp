// What is taken of Asio, each in one type: whatever executor or handler Asio is given is dozens of functions to compile.
#pragma once

#include <asio/basic_socket_acceptor.hpp>
#include <asio/basic_waitable_timer.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <chrono>
#include <memory>
#include <utility>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

using LoopExecutor = asio::io_context::executor_type;
using TcpAcceptor = asio::basic_socket_acceptor<asio::ip::tcp, LoopExecutor>;
using LoopTimer =
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, LoopExecutor>;

/// What a loop calls: a member function of what it keeps until then. Not when the wait for it was cancelled.
class Handler {
 public:
  Handler(std::shared_ptr<void> owner, void (*call)(void* owner)) : owner_(std::move(owner)), call_(call) {}

  void operator()() { call_(owner_.get()); }
  void operator()(const asio::error_code& error) {
    if (error != asio::error::operation_aborted) call_(owner_.get());
  }

 private:
  std::shared_ptr<void> owner_;
  void (*call_)(void* owner);
};

template <auto member, class Owner>
[[nodiscard]] Handler handler(std::shared_ptr<Owner> owner) {
  return {std::move(owner), [](void* at) { (static_cast<Owner*>(at)->*member)(); }};
}

/// As above, unless it is gone by then.
template <auto member, class Owner>
[[nodiscard]] Handler handler(std::shared_ptr<std::weak_ptr<Owner>> owner) {
  return {std::move(owner), [](void* at) {
            if (const auto self = static_cast<std::weak_ptr<Owner>*>(at)->lock()) (self.get()->*member)();
          }};
}

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
