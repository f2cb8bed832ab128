// What a manager tells later by a `done`, in one list, for whoever wants it told in another way: coroutine.hpp, asio.hpp.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "muster/config.hpp"
#include "muster/connection_manager.hpp"
#include "muster/error.hpp"
#include "muster/function.hpp"
#include "muster/message.hpp"
#include "muster/room.hpp"
#include "muster/session_store.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Called once with an answer of this type, `void` for none: from any thread, before or after the call that was given it has
/// returned. Only the first call counts. Copies answer the same question; when the last of them is destroyed and none was
/// called, the answer is the error `unavailable`.
template <class T>
class Done {
  template <class Answer>
  struct ValueOf {
    using type = Answer;
  };
  template <class Value>
  struct ValueOf<Result<Value>> {
    using type = Value;
  };

 public:
  /// What there is in the end: a value, or an error, whether T has a place for one or not.
  using Value = typename ValueOf<T>::type;
  using Outcome = Result<Value>;

  /// `receiver` is called in the thread that answers.
  explicit Done(Function<void(Outcome)> receiver) : question_(std::make_shared<Question>(std::move(receiver))) {}

  template <class... Answer, class = std::enable_if_t<std::is_void_v<T> ? sizeof...(Answer) == 0
                                                                        : std::is_constructible_v<T, Answer...>>>
  void operator()(Answer&&... answer) const {
    if constexpr (std::is_void_v<T>) {
      question_->answer(Outcome());
    } else {
      question_->answer(Outcome(T(std::forward<Answer>(answer)...)));
    }
  }

 private:
  class Question {
   public:
    explicit Question(Function<void(Outcome)> receiver) : receiver_(std::move(receiver)) {}
    Question(const Question&) = delete;
    Question& operator=(const Question&) = delete;
    ~Question() {
      try {
        answer(Error{errc::unavailable, "Whoever was asked has let go of the question", {}});
      } catch (...) {  // no memory to tell it with
      }
    }
    void answer(Outcome outcome) {
      if (!answered_.exchange(true)) receiver_(std::move(outcome));
    }

   private:
    std::atomic<bool> answered_{false};
    Function<void(Outcome)> receiver_;
  };

  std::shared_ptr<Question> question_;
};

/// The methods of a manager that take a `done`, without it. `Way` says what they return in its place: its
/// `ask<T>(call)` gets a callable that is to be called, now or later, with a Done<T>.
template <class Way>
class Async {
 public:
  Async(IConnectionManager& manager, Way way) : manager_(manager), way_(std::move(way)) {}

  /// As the methods of these names in IConnectionManager, where it says which errors there are.
  [[nodiscard]] auto join(ConnectionId id, std::string room, JoinAs as = {}) const {
    return ask<Result<void>>([&manager = manager_, id, room = std::move(room), as](auto done) mutable {
      manager.join(id, std::move(room), as, std::move(done));
    });
  }
  [[nodiscard]] auto leave(ConnectionId id, std::string room) const {
    return ask<Result<void>>([&manager = manager_, id, room = std::move(room)](auto done) mutable {
      manager.leave(id, std::move(room), std::move(done));
    });
  }
  [[nodiscard]] auto move(ConnectionId id, std::string from, std::string to, JoinAs as = {}) const {
    return ask<Result<void>>(
        [&manager = manager_, id, from = std::move(from), to = std::move(to), as](auto done) mutable {
          manager.move(id, std::move(from), std::move(to), as, std::move(done));
        });
  }
  [[nodiscard]] auto join(UserKey user, std::string room, JoinAs as = {}) const {
    return ask<Result<std::size_t>>(
        [&manager = manager_, user = std::move(user), room = std::move(room), as](auto done) mutable {
          manager.join(user, std::move(room), as, std::move(done));
        });
  }
  [[nodiscard]] auto leave(UserKey user, std::string room) const {
    return ask<Result<std::size_t>>([&manager = manager_, user = std::move(user), room = std::move(room)](
                                        auto done) mutable { manager.leave(user, std::move(room), std::move(done)); });
  }
  [[nodiscard]] auto move(UserKey user, std::string from, std::string to, JoinAs as = {}) const {
    return ask<Result<std::size_t>>(
        [&manager = manager_, user = std::move(user), from = std::move(from), to = std::move(to),
         as](auto done) mutable { manager.move(user, std::move(from), std::move(to), as, std::move(done)); });
  }
  [[nodiscard]] auto publish(RoomKey room, Payload payload, Delivery delivery = Delivery::reliable(),
                             ConnectionId exclude = {}) const {
    return ask<Result<Published>>([&manager = manager_, room = std::move(room), payload = std::move(payload),
                                   delivery = std::move(delivery), exclude](auto done) mutable {
      manager.publish(room, payload, std::move(delivery), exclude, std::move(done));
    });
  }
  [[nodiscard]] auto send_to_user(UserKey user, Payload payload, Delivery delivery) const {
    return ask<Result<Queued>>([&manager = manager_, user = std::move(user), payload = std::move(payload),
                                delivery = std::move(delivery)](auto done) mutable {
      (void)manager.send_to_user(user, payload, delivery, std::move(done));
    });
  }
  [[nodiscard]] auto request(ConnectionId id, std::string type, Payload data, std::chrono::milliseconds timeout) const {
    return ask<Result<Payload>>(
        [&manager = manager_, id, type = std::move(type), data = std::move(data), timeout](auto done) mutable {
          manager.request(id, std::move(type), std::move(data), timeout, std::move(done));
        });
  }
  [[nodiscard]] auto explain(ConnectionId id) const {
    return ask<std::optional<Explanation>>(
        [&manager = manager_, id](auto done) { manager.explain(id, std::move(done)); });
  }
  [[nodiscard]] auto close_all(CloseReason reason, std::string text = {}) const {
    return ask<std::size_t>([&manager = manager_, reason, text = std::move(text)](auto done) mutable {
      manager.close_all(reason, std::move(text), std::move(done));
    });
  }
  [[nodiscard]] auto sweep_now() const {
    return ask<std::size_t>([&manager = manager_](auto done) { manager.sweep_now(std::move(done)); });
  }
  [[nodiscard]] auto drain(std::chrono::milliseconds deadline, std::chrono::milliseconds reconnect_window) const {
    return ask<Drained>([&manager = manager_, deadline, reconnect_window](auto done) {
      manager.drain(deadline, reconnect_window, std::move(done));
    });
  }
  [[nodiscard]] auto shutdown() const {
    return ask<void>([&manager = manager_](auto done) { manager.shutdown(std::move(done)); });
  }

 private:
  template <class T, class Call>
  auto ask(Call call) const {
    return way_.template ask<T>(std::move(call));
  }

  IConnectionManager& manager_;
  mutable Way way_;
};

}  // namespace MUSTER_ABI
}  // namespace muster
