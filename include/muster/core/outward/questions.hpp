// Questions: what is asked of a seam, and may be answered later, from any thread, or never.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "muster/core/base/function_ref.hpp"
#include "muster/core/base/life.hpp"
#include "muster/core/base/mutex.hpp"
#include "muster/core/connection/connection_state.hpp"
#include "muster/core/outward/later.hpp"
#include "muster/options.hpp"
#include "muster/reply.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// What stands for the answer of a seam that threw, which is not one that came too late.
[[nodiscard]] inline Authentication when_thrown(Authentication) {
  return Error{errc::internal, "The credentials could not be checked", {}};
}
[[nodiscard]] inline Permission when_thrown(Permission) {
  return Permission::late("The permission could not be checked");
}
template <class T>
[[nodiscard]] Result<T> when_thrown(Result<T> when_late) {
  Error error = when_late.error();
  error.message = "A service that was asked has failed";
  return error;
}
[[nodiscard]] inline bool when_thrown(bool when_late) { return when_late; }

/// Runs what a connection is about to do: one of which a part has failed ends.
inline void guard(Later& later, ConnectionState& connection, const char* where, FunctionRef<void()> code) noexcept {
  const auto keep = connection.shared_from_this();
  if (!connection.contain(where, code)) later.end(connection, CloseReason::internal_error, {});
}

/// On the connection's executor; one question at a time for each connection, and its commands wait for the answer.
class Questions {
 public:
  /// `late`: for a connection whose question has waited too long; it calls `expire`.
  Questions(const Options& options, const Life& life, Timer::Fire late, Later& later)
      : options_(options), life_(life), late_(late), later_(later) {}

  /// Answered inside `call`, the command goes on at once; otherwise it waits, and an answer that comes after the deadline,
  /// or for a connection or command that is gone, finds another generation and does nothing. `when_late`: what stands for
  /// the answer then. `unwanted` gets an answer that comes when nobody waits for it any more, so that what it stands for
  /// can be undone. `timeout`: the deadline, where it is not answer_timeout.
  template <class T>
  void ask(ConnectionState& connection, FunctionRef<void(Reply<T>)> call, Function<void(ConnectionState&, T)> then,
           T when_late, Function<void(T)> unwanted = nullptr, std::chrono::milliseconds timeout = {});
  template <class T>
  struct Asks;
  /// Likewise with a question of the caller's own kind, which may keep what belongs to it.
  template <class T>
  void put(ConnectionState& connection, std::shared_ptr<Asks<T>> asked, FunctionRef<void(Reply<T>)> call,
           std::chrono::milliseconds timeout = {});
  /// The deadline has passed.
  void expire(ConnectionState& connection) {
    const auto question = connection.question;
    if (!question) return;
    connection.drop_question();
    const auto keep = connection.shared_from_this();
    ++connection.generation;
    question->go_on(connection);
    later_.go_on(connection);
  }

 private:
  /// What is the same whatever is asked.
  struct Asked : Question {
    virtual void undo() = 0;  ///< nobody waits for the answer

    /// Where that is done if the connection is gone by then; nowhere, where there is nothing to undo.
    std::weak_ptr<Loop> undo_loop;
    Mutex mutex;
    bool outside MUSTER_GUARDED_BY(mutex) = false;  ///< the call has returned: answers are posted
    bool given MUSTER_GUARDED_BY(mutex) = false;    ///< the seam's answer is there, and nobody has taken it yet
  };
  /// The way of an answer that is given later.
  struct Way {
    std::weak_ptr<Later> later;
    std::weak_ptr<ConnectionState> of;
    std::uint32_t generation;
    void post(std::shared_ptr<Asked> asked) const;
  };
  [[nodiscard]] Way begin(ConnectionState& connection, std::shared_ptr<Question> asked) {
    connection.drop_question();
    connection.question = std::move(asked);
    return Way{life_.handle(&later_), connection.weak_from_this(), ++connection.generation};
  }
  void wait(ConnectionState& connection, std::chrono::milliseconds timeout) {
    if (!connection.question) return;  // it has ended while it was asked
    Timer& deadline = connection.question->deadline.emplace(&connection, late_);
    connection.loop->arm(deadline,
                         connection.loop->executor->now() + (timeout.count() != 0 ? timeout : options_.answer_timeout));
  }

  const Options& options_;
  const Life& life_;
  const Timer::Fire late_;
  Later& later_;
};

template <class T>
struct Questions::Asks : Asked {
  Asks(Function<void(ConnectionState&, T)> with, Function<void(T)> else_with, T late)
      : then(std::move(with)), unwanted(std::move(else_with)), answer(std::move(late)) {}
  void go_on(ConnectionState& connection) override { then(connection, take()); }
  void undo() override {
    {
      Lock lock(mutex);
      if (!given) return;
    }
    if (unwanted) unwanted(take());
  }
  /// Whether it has to be posted.
  bool keep(T from_seam) {
    Lock lock(mutex);
    answer = std::move(from_seam);
    given = true;
    return outside;
  }
  /// The call has returned, `well` or by throwing: whether it is answered by that.
  bool leave(bool well) {
    Lock lock(mutex);
    outside = true;
    if (!well && !given) answer = when_thrown(std::move(answer));
    return given || !well;
  }
  T take() {
    Lock lock(mutex);
    given = false;
    return std::move(answer);
  }

  /// Whoever was asked keeps it with the question, and for an answer that comes late it is there still: a session that is
  /// handed over meanwhile goes back when that is over, not before.
  Function<void(ConnectionState&, T)> then;
  Function<void(T)> unwanted;
  T answer MUSTER_GUARDED_BY(mutex);  ///< the seam's, or until then what stands for it
};

inline void Questions::Way::post(std::shared_ptr<Asked> asked) const {
  const auto alive = later.lock();
  if (!alive) return;
  const auto asker = of.lock();
  if (!asker) {
    if (const auto loop = asked->undo_loop.lock()) (void)loop->post([asked = std::move(asked)] { asked->undo(); });
    return;
  }
  (void)asker->loop->post([later = alive.get(), asker, asked = std::move(asked), generation = generation] {
    const bool waits = asker->generation == generation && asker->question == asked;
    if (!waits) return asked->undo();
    guard(*later, *asker, "An answer", [&] {
      asker->drop_question();
      asked->go_on(*asker);
      later->go_on(*asker);
    });
  });
}

template <class T>
void Questions::ask(ConnectionState& connection, FunctionRef<void(Reply<T>)> call,
                    Function<void(ConnectionState&, T)> then, T when_late, Function<void(T)> unwanted,
                    std::chrono::milliseconds timeout) {
  auto asks = std::make_shared<Asks<T>>(std::move(then), std::move(unwanted), std::move(when_late));
  if (asks->unwanted) asks->undo_loop = connection.loop;
  put<T>(connection, std::move(asks), call, timeout);
}

template <class T>
void Questions::put(ConnectionState& connection, std::shared_ptr<Asks<T>> asked, FunctionRef<void(Reply<T>)> call,
                    std::chrono::milliseconds timeout) {
  Reply<T> reply([asked, way = begin(connection, asked)](T answer) {
    if (asked->keep(std::move(answer))) way.post(asked);
  });
  const bool well = connection.contain("A question to a seam", [&] { call(std::move(reply)); });
  if (!asked->leave(well)) return wait(connection, timeout);
  connection.question.reset();
  asked->go_on(connection);
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
