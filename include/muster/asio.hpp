// Asio's completion tokens (use_awaitable, use_future, callbacks and others) for what a manager tells by a `done`.
#pragma once

#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

// After a header of the standard library, as in transports/websocketpp.hpp.
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/system_executor.hpp>

#include "muster/async.hpp"
#include "muster/config.hpp"
#include "muster/connection_manager.hpp"
#include "muster/error.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {

template <class Value>
struct CompletesWith {
  using Signature = void(std::error_code, Value);
};
template <>
struct CompletesWith<void> {
  using Signature = void(std::error_code);
};

/// Has a handler called once, where it wants to be, which counts as work of its executor until then.
template <class Handler, class Value>
class Completion {
 public:
  explicit Completion(Handler handler) : work_(asio::get_associated_executor(handler)), handler_(std::move(handler)) {}

  void operator()(Result<Value> outcome) {
    const std::error_code error = outcome ? std::error_code() : outcome.error().error_code();
    if constexpr (std::is_void_v<Value>) {
      call([handler = std::move(handler_), error]() mutable { handler(error); });
    } else {
      call([handler = std::move(handler_), error, value = outcome ? std::move(outcome.value()) : Value()]() mutable {
        handler(error, std::move(value));
      });
    }
    work_.reset();
  }

 private:
  using Executor = asio::associated_executor_t<Handler>;

  template <class Call>
  void call(Call call) {
    if constexpr (std::is_same_v<Executor, asio::system_executor>) {
      call();
    } else {
      asio::post(work_.get_executor(), std::move(call));
    }
  }

  asio::executor_work_guard<Executor> work_;
  Handler handler_;
};

}  // namespace detail

/// The way of Asio: see Async.
template <class Token>
class Completing {
 public:
  explicit Completing(Token token) : token_(std::move(token)) {}

  template <class T, class Call>
  auto ask(Call call) {
    using Value = typename Done<T>::Value;
    const auto initiation = [](auto handler, Call begun) {
      begun(Done<T>(detail::Completion<decltype(handler), Value>(std::move(handler))));
    };
    using Signature = typename detail::CompletesWith<Value>::Signature;
    if constexpr (std::is_copy_constructible_v<Token>) {
      Token copy(token_);
      return asio::async_initiate<Token, Signature>(initiation, copy, std::move(call));
    } else {
      return asio::async_initiate<Token, Signature>(initiation, token_, std::move(call));
    }
  }

 private:
  Token token_;
};

/// The methods of a manager that take a `done`, as asynchronous operations of Asio:
///
///     const muster::Published published = co_await muster::async(*manager, asio::use_awaitable).publish(room, payload);
///     std::future<void> seated = muster::async(*manager, asio::use_future).join(id, "lobby");
///     muster::async(*manager, [](std::error_code error, muster::Drained drained) { ... }).drain(10s, 5s);
///
/// They complete with a std::error_code, which is of muster::error_category (muster::errc, muster::condition), and behind it
/// the value, if there is one: `void(std::error_code, Published)`, `void(std::error_code)`; tokens that throw errors throw a
/// std::system_error. Each completes once: where the manager lets go of its question, with errc::unavailable.
///
/// Threads: a handler with an associated executor is posted to it, and is outstanding work of it until then; one without is
/// called as a `done` is, in the thread that answers, maybe inside the call. A token is copied for each call; one that cannot
/// be copied is good for one.
template <class Token>
[[nodiscard]] Async<Completing<std::decay_t<Token>>> async(IConnectionManager& manager, Token&& token) {
  return {manager, Completing<std::decay_t<Token>>(std::forward<Token>(token))};
}

}  // namespace MUSTER_ABI
}  // namespace muster
