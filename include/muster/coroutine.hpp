// Coroutines: handlers and hooks that wait with co_await, and what they can wait for. C++20; nothing else includes this.
#pragma once

#if !defined(__cpp_impl_coroutine)
#error \
    "muster/coroutine.hpp needs coroutines: compile with -std=c++20. In C++17 a handler answers later by a Responder."
#endif

#include <atomic>
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "muster/async.hpp"
#include "muster/config.hpp"
#include "muster/connection.hpp"
#include "muster/connection_manager.hpp"
#include "muster/continuation.hpp"
#include "muster/error.hpp"
#include "muster/message.hpp"
#include "muster/responder.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// A coroutine that gives a T in the end, for a handler, a hook or another TaskOf that awaits it:
///
///     manager->on("buy", [&](muster::Call call) -> muster::Task {
///       const Order order = co_await load(call.payload());                   // another TaskOf: TaskOf<Order> load(Payload)
///       co_await muster::async(call.manager()).join(call.connection(), order.room);     // what takes a `done`
///       co_await muster::awaitable<Receipt>([&](auto done) { bank.pay(order, done); });  // anything with a callback
///     });
///
/// A handler takes a Call. The command is answered when its coroutine is done: a Task acknowledges, a TaskOf<Payload>
/// answers with what it returns, a TaskOf<Result<Payload>> or TaskOf<Result<void>> with that or the error. An Error that it
/// throws refuses the command; whatever else it throws, before it has waited or after, is the failure of a handler: counted,
/// logged, and the connection closed with internal_error.
///
/// A hook takes a Call and what the hook of that name is told besides, but on_user_online, on_user_offline, on_room_opened
/// and on_room_emptied the key alone. It has run when its coroutine first waits: what follows holds up nothing.
///
/// It begins in the call, on the connection's executor (that of the hook), and whatever it awaits, it goes on there: what
/// is touched on that executor alone needs no lock. It goes on also when the connection is gone, and after the deadline of
/// the command, whose answer then does nothing. When the executor has stopped or the manager is gone it does not go on: it
/// is destroyed with its locals, once what it waits for has answered or is destroyed, and in the thread where that is.
///
/// The callable is kept as long as one of its coroutines is there, and so is what it is called with: captures and references
/// to arguments hold after a co_await. Other coroutines take arguments by value, as anywhere.
///
/// Ownership: whoever calls it; it runs when it is awaited (`co_await std::move(task)`), once, and one that never is does
/// nothing.
template <class T>
class TaskOf;
using Task = TaskOf<void>;

namespace detail {
struct Handlers;
}

/// What a handler's or a hook's coroutine is called for. Copies are cheap and mean the same call.
/// Threads: the connection's executor, but for what is const for ever: id, identity and payload.
class Call {
 public:
  /// There whenever the coroutine runs.
  [[nodiscard]] IConnectionManager& manager() const noexcept { return state_->manager; }
  [[nodiscard]] ConnectionId connection() const noexcept { return state_->connection; }
  /// As it was when the call began.
  [[nodiscard]] const Identity& identity() const noexcept { return state_->identity; }
  /// Empty in hooks.
  [[nodiscard]] const Payload& payload() const noexcept { return state_->payload; }
  /// As Responder::progress. In hooks, and once the coroutine is done, it does nothing.
  void progress(Payload payload) const {
    if (state_->respond) state_->respond->progress(std::move(payload));
  }

 private:
  friend struct detail::Handlers;
  struct State {
    IConnectionManager& manager;
    ConnectionId connection;
    Identity identity;
    Payload payload;
    std::optional<Responder> respond;
  };
  Call(Connection& from, const Payload& payload, std::optional<Responder> respond)
      : state_(
            std::make_shared<State>(State{from.manager(), from.id(), from.identity(), payload, std::move(respond)})) {}
  explicit Call(Connection& from) : Call(from, {}, std::nullopt) {}

  std::shared_ptr<State> state_;
};

namespace detail {

/// What the coroutines of one call have in common; in the frame of the outermost.
struct Origin {
  std::shared_ptr<Continuation> continuation;
  std::coroutine_handle<> outermost;
  std::exception_ptr* failure = nullptr;  ///< of whoever runs it now
};

/// Goes on with a coroutine, or destroys all coroutines of its call.
class Resumption {
 public:
  Resumption(Origin& origin, std::coroutine_handle<> next) noexcept : origin_(&origin), next_(next) {}
  Resumption(Resumption&& other) noexcept : origin_(std::exchange(other.origin_, nullptr)), next_(other.next_) {}
  Resumption(const Resumption&) = delete;
  Resumption& operator=(const Resumption&) = delete;
  ~Resumption() {
    if (origin_ != nullptr) origin_->outermost.destroy();
  }
  void operator()() {
    std::exception_ptr failure;
    Origin* const origin = std::exchange(origin_, nullptr);
    origin->failure = &failure;
    next_.resume();  // nothing of it may be there afterwards
    if (failure) std::rethrow_exception(failure);
  }

  static void post(Origin& origin, std::coroutine_handle<> next) noexcept {
    Resumption resumption(origin, next);
    const auto continuation = origin.continuation;  // the origin may go inside
    try {
      continuation->post(std::move(resumption));
    } catch (...) {  // no memory to go on with
    }
  }

 private:
  Origin* origin_;
  std::coroutine_handle<> next_;
};

template <class Awaited>
decltype(auto) awaiter_of(Awaited&& awaited) {
  if constexpr (requires { std::forward<Awaited>(awaited).operator co_await(); }) {
    return std::forward<Awaited>(awaited).operator co_await();
  } else if constexpr (requires { operator co_await(std::forward<Awaited>(awaited)); }) {
    return operator co_await(std::forward<Awaited>(awaited));
  } else {
    return std::forward<Awaited>(awaited);
  }
}
/// What goes on where it should by itself.
template <class Awaited>
inline constexpr bool comes_home = requires {
  typename std::remove_cvref_t<Awaited>::ComesHome;
};
template <class Awaited>
auto bring_home(Awaited&& awaited);

struct Promise {
  Origin* origin = nullptr;

  template <class Awaited>
  decltype(auto) await_transform(Awaited&& awaited) {
    if constexpr (comes_home<Awaited>) {
      return std::forward<Awaited>(awaited);
    } else {
      return bring_home(std::forward<Awaited>(awaited));
    }
  }
};

struct TaskPromise : Promise {
  std::coroutine_handle<> awaits;
  std::exception_ptr thrown;

  [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
  [[nodiscard]] auto final_suspend() const noexcept {
    struct GoOn {
      std::coroutine_handle<> with;
      [[nodiscard]] bool await_ready() const noexcept { return false; }
      [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<>) const noexcept { return with; }
      void await_resume() const noexcept {}
    };
    return GoOn{awaits};
  }
  void unhandled_exception() noexcept { thrown = std::current_exception(); }
};

}  // namespace detail

template <class T>
class [[nodiscard]] TaskOf {
  struct WithValue : detail::TaskPromise {
    std::optional<std::conditional_t<std::is_void_v<T>, bool, T>> value;
    void return_value(T given) { value.emplace(std::move(given)); }
    T take() { return std::move(*value); }
  };
  struct WithoutValue : detail::TaskPromise {
    void return_void() const noexcept {}
    void take() const noexcept {}
  };

 public:
  using ComesHome = void;
  using Value = T;
  struct promise_type : std::conditional_t<std::is_void_v<T>, WithoutValue, WithValue> {
    [[nodiscard]] TaskOf get_return_object() { return TaskOf(Handle::from_promise(*this)); }
  };

  TaskOf(TaskOf&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  TaskOf& operator=(TaskOf&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  TaskOf(const TaskOf&) = delete;
  TaskOf& operator=(const TaskOf&) = delete;
  ~TaskOf() {
    if (handle_) handle_.destroy();
  }

  [[nodiscard]] auto operator co_await() && noexcept { return Run{handle_}; }

 private:
  using Handle = std::coroutine_handle<promise_type>;
  struct Run {
    Handle task;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class By>
    [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<By> by) const noexcept {
      static_assert(std::is_base_of_v<detail::Promise, By>,
                    "a muster::TaskOf is awaited by another, by a handler or by a hook");
      task.promise().origin = by.promise().origin;
      task.promise().awaits = by;
      return task;
    }
    T await_resume() const {
      if (task.promise().thrown) std::rethrow_exception(task.promise().thrown);
      return task.promise().take();
    }
  };
  explicit TaskOf(Handle handle) noexcept : handle_(handle) {}

  Handle handle_;
};

/// Waits for what answers by a callback. `Initiation` is called with a Done<T> when it is awaited, once; what it throws
/// comes out of the co_await. Gives a T. Where nobody answers any more, a T that is a Result is the error `unavailable`,
/// and for any other that Error is thrown. Made by `awaitable` and `async`; other libraries' coroutines may await it, too,
/// and go on in the thread that answers.
template <class T, class Initiation>
class [[nodiscard]] Awaitable {
 public:
  using ComesHome = void;

  explicit Awaitable(Initiation initiation) : initiation_(std::move(initiation)) {}

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  // Not inlined: clang before 17 puts the locals of one that is into the frame, which may be gone before this returns.
  template <class By>
  [[nodiscard]] [[gnu::noinline]] bool await_suspend(std::coroutine_handle<By> by) {
    const auto wait = std::make_shared<Wait>();
    wait->next = by;
    if constexpr (std::is_base_of_v<detail::Promise, By>) wait->origin = by.promise().origin;
    wait_ = wait;
    initiation_(Done<T>([wait](Outcome outcome) { wait->answer(std::move(outcome)); }));
    return wait->begin();
  }
  T await_resume() {
    Outcome& outcome = *wait_->outcome;
    if constexpr (std::is_same_v<T, Outcome>) {
      return std::move(outcome);
    } else {
      if (!outcome) throw Error(outcome.error());
      if constexpr (!std::is_void_v<T>) return std::move(outcome.value());
    }
  }

 private:
  using Outcome = typename Done<T>::Outcome;
  enum class Step : unsigned char { asking, waiting, answered };
  struct Wait {
    std::coroutine_handle<> next;
    detail::Origin* origin = nullptr;  ///< none: another library's coroutine
    std::optional<Outcome> outcome;
    std::atomic<Step> step{Step::asking};  ///< for ever, if it could not be asked

    /// False: it has been answered already. True: it may be gone by now.
    [[nodiscard]] bool begin() noexcept {
      Step asking = Step::asking;
      return step.compare_exchange_strong(asking, Step::waiting);
    }
    void answer(Outcome given) {
      outcome.emplace(std::move(given));
      if (step.exchange(Step::answered) != Step::waiting) return;
      if (origin != nullptr) return detail::Resumption::post(*origin, next);
      next.resume();
    }
  };

  Initiation initiation_;
  std::shared_ptr<Wait> wait_;
};

/// Within the co_await the callable captures by reference, which holds: what g++ before 13 finds there captured by value, and
/// with a destructor, it destroys twice.
template <class T, class Initiation>
[[nodiscard]] Awaitable<T, Initiation> awaitable(Initiation initiation) {
  return Awaitable<T, Initiation>(std::move(initiation));
}

/// The way of coroutines: see Async.
struct Awaiting {
  template <class T, class Initiation>
  [[nodiscard]] auto ask(Initiation initiation) const {
    return awaitable<T>(std::move(initiation));
  }
};
/// `co_await muster::async(manager).publish(room, payload)`: the methods of a manager that take a `done`, to be awaited.
[[nodiscard]] inline Async<Awaiting> async(IConnectionManager& manager) { return {manager, {}}; }

namespace detail {

/// Goes home, from whatever thread.
struct Home {
  using ComesHome = void;
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class By>
  [[gnu::noinline]] void await_suspend(std::coroutine_handle<By> by) const noexcept {
    Resumption::post(*by.promise().origin, by);
  }
  void await_resume() const noexcept {}
};
/// Another library's, as it is.
template <class Awaited>
struct AsItIs {
  using ComesHome = void;
  Awaited&& awaited;
  decltype(auto) operator co_await() && { return awaiter_of(std::forward<Awaited>(awaited)); }
};

template <class Awaited, class Value>
TaskOf<Value> await_and_go_home(Awaited&& awaited) {
  std::exception_ptr thrown;
  if constexpr (std::is_void_v<Value>) {
    try {
      co_await AsItIs<Awaited>{std::forward<Awaited>(awaited)};
    } catch (...) {
      thrown = std::current_exception();
    }
    co_await Home{};
    if (thrown) std::rethrow_exception(thrown);
  } else {
    std::optional<Value> value;
    try {
      value.emplace(co_await AsItIs<Awaited>{std::forward<Awaited>(awaited)});
    } catch (...) {
      thrown = std::current_exception();
    }
    co_await Home{};
    if (thrown) std::rethrow_exception(thrown);
    co_return std::move(*value);
  }
}
template <class Awaited>
auto bring_home(Awaited&& awaited) {
  using Value = std::remove_cvref_t<decltype(awaiter_of(std::forward<Awaited>(awaited)).await_resume())>;
  return await_and_go_home<Awaited, Value>(std::forward<Awaited>(awaited));
}

/// The outermost coroutine of a call, which keeps what the others need.
struct Outermost {
  struct promise_type : Promise {
    Origin own;

    template <class... Arguments>
    explicit promise_type(std::shared_ptr<Continuation>& continuation, Arguments&...) {
      own.continuation = continuation;
      own.outermost = std::coroutine_handle<promise_type>::from_promise(*this);
      origin = &own;
    }
    [[nodiscard]] Outermost get_return_object() noexcept { return {own}; }
    [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
    [[nodiscard]] std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { *own.failure = std::current_exception(); }
  };
  Origin& origin;

  void begin() const { Resumption(origin, origin.outermost)(); }
};

template <class Type>
struct IsTask : std::false_type {};
template <class T>
struct IsTask<TaskOf<T>> : std::true_type {};
template <class Callable, class... Arguments>
concept GivesTask =
    std::is_invocable_v<Callable&, Arguments...>&& IsTask<std::invoke_result_t<Callable&, Arguments...>>::value;

/// The outermost coroutines. `kept` is what the task may refer to: a parameter, so it goes after the task.
struct Handlers {
  template <class Value>
  static Outermost serve(std::shared_ptr<Continuation>, std::shared_ptr<const void> /*kept*/, Call call,
                         TaskOf<Value> task) {
    TaskOf<Value> running = std::move(task);
    Result<Payload> answer = Payload();
    try {
      if constexpr (std::is_void_v<Value>) {
        co_await std::move(running);
      } else if constexpr (std::is_same_v<Value, Result<void>>) {
        const Result<void> done = co_await std::move(running);
        if (!done) answer = Error(done.error());
      } else {
        answer = co_await std::move(running);
      }
    } catch (Error& error) {
      answer = std::move(error);
    }
    (*call.state_->respond)(std::move(answer));
  }
  template <class Value>
  static Outermost tell(std::shared_ptr<Continuation>, std::shared_ptr<const void> /*kept*/, TaskOf<Value> task) {
    TaskOf<Value> running = std::move(task);
    (void)co_await std::move(running);
  }

  template <class Callable>
  static RespondingHandler handler(IConnectionManager& manager, Callable callable) {
    return [&manager, shared = std::make_shared<Callable>(std::move(callable))](
               Connection& from, const Payload& payload, Responder respond) {
      const auto kept = keep(shared, Call(from, payload, std::move(respond)));
      Call& call = std::get<0>(kept->arguments);
      serve(manager.continuation(), kept, call, (*shared)(call)).begin();
    };
  }
  template <class Hook, class Callable>
  static Hook hook(IConnectionManager& manager, Callable callable) {
    return [&manager, shared = std::make_shared<Callable>(std::move(callable))](auto&&... told) {
      const auto kept = keep(shared, own(told)...);
      tell(manager.continuation(), kept, std::apply(*shared, kept->arguments)).begin();
    };
  }

 private:
  template <class Callable, class... Arguments>
  struct Kept {
    std::shared_ptr<Callable> callable;
    std::tuple<Arguments...> arguments;
  };
  template <class Callable, class... Arguments>
  static auto keep(const std::shared_ptr<Callable>& callable, Arguments... arguments) {
    return std::make_shared<Kept<Callable, Arguments...>>(
        Kept<Callable, Arguments...>{callable, {std::move(arguments)...}});
  }
  static Call own(Connection& from) { return Call(from); }
  template <class Told>
  static Told own(const Told& told) {
    return told;
  }
};

template <class Callable>
requires GivesTask<Callable, Call&> struct Adapter<RespondingHandler, Callable> {
  static RespondingHandler adapt(IConnectionManager& manager, Callable callable) {
    return Handlers::handler(manager, std::move(callable));
  }
};
template <class Callable, class... Told>
requires GivesTask<Callable, Call&, std::decay_t<Told>&...> struct Adapter<std::function<void(Connection&, Told...)>,
                                                                           Callable> {
  using Hook = std::function<void(Connection&, Told...)>;
  static Hook adapt(IConnectionManager& manager, Callable callable) {
    return Handlers::hook<Hook>(manager, std::move(callable));
  }
};
template <class Callable, class Key>
requires GivesTask<Callable, Key&> struct Adapter<std::function<void(const Key&)>, Callable> {
  using Hook = std::function<void(const Key&)>;
  static Hook adapt(IConnectionManager& manager, Callable callable) {
    return Handlers::hook<Hook>(manager, std::move(callable));
  }
};

/// Without these it would be taken for an ordinary function, whose Task nobody awaits.
template <class Wanted, class Callable>
struct NotAfterAwait {
  static Wanted adapt(IConnectionManager&, Callable) {
    static_assert(!std::is_same_v<Wanted, Wanted>,
                  "a coroutine takes muster::Call in place of Connection&, which it may not use after a co_await");
    return {};
  }
};
template <class Callable>
requires(GivesTask<Callable, Connection&, const Payload&> ||
         GivesTask<Callable, Connection&, const Payload&, Responder>) struct Adapter<RespondingHandler, Callable>
    : NotAfterAwait<RespondingHandler, Callable> {};
template <class Callable, class... Told>
requires GivesTask<Callable, Connection&, Told...> struct Adapter<std::function<void(Connection&, Told...)>, Callable>
    : NotAfterAwait<std::function<void(Connection&, Told...)>, Callable> {};

}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
