// Questions: what is asked of a seam, and may be answered later, from any thread, or never.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

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
template <class F>
void guard(Later& later, ConnectionState& connection, const char* where, F code) noexcept {
  const auto keep = connection.shared_from_this();
  if (!connection.contain(where, std::move(code))) later.end(connection, CloseReason::internal_error, {});
}

/// On the connection's executor; one question at a time for each connection, and its commands wait for the answer.
class Questions {
 public:
  Questions(const Options& options, const Life& life, Later& later) : options_(options), life_(life), later_(later) {}

  /// Answered inside `call`, the command goes on at once; otherwise it waits, and an answer that comes after the deadline,
  /// or for a connection or command that is gone, finds another generation and does nothing. `when_late`: what stands for
  /// the answer then. `unwanted` gets an answer that comes when nobody waits for it any more, so that what it stands for
  /// can be undone.
  template <class T>
  void ask(ConnectionState& connection, Function<void(Reply<T>)> call, Function<void(ConnectionState&, T)> then,
           T when_late, Function<void(T)> unwanted = nullptr);
  /// The deadline has passed.
  void expire(ConnectionState& connection) {
    const auto question = std::exchange(connection.question, nullptr);
    if (!question) return;
    const auto keep = connection.shared_from_this();
    ++connection.generation;
    question->expire(connection);
    later_.go_on(connection);
  }

 private:
  const Options& options_;
  const Life& life_;
  Later& later_;
};

template <class T>
void Questions::ask(ConnectionState& connection, Function<void(Reply<T>)> call,
                    Function<void(ConnectionState&, T)> then, T when_late, Function<void(T)> unwanted) {
  struct Asked final : Question {
    Mutex mutex;
    bool outside MUSTER_GUARDED_BY(mutex) = false;     ///< the call has returned: answers are posted
    std::optional<T> answer MUSTER_GUARDED_BY(mutex);  ///< given inside the call
    Function<void(ConnectionState&, T)> then;
    Function<void(T)> unwanted;
    std::optional<T> when_late;
    void expire(ConnectionState& expired) override { then(expired, std::move(*when_late)); }
  };
  const auto asked = std::make_shared<Asked>();
  asked->then = std::move(then);
  asked->unwanted = std::move(unwanted);
  asked->when_late = std::move(when_late);
  const std::uint32_t generation = ++connection.generation;
  connection.question = asked;

  Reply<T> reply([weak = life_.handle(&later_), of = connection.weak_from_this(), asked, generation](T answer) {
    {
      Lock lock(asked->mutex);
      if (!asked->outside) {
        asked->answer = std::move(answer);
        return;
      }
    }
    const auto alive = weak.lock();
    const auto asker = of.lock();
    if (!alive || !asker) return;
    (void)asker->loop->post([later = alive.get(), asker, asked, generation, answer = std::move(answer)]() mutable {
      const bool waits = asker->generation == generation && asker->question == asked;
      if (!waits) {
        if (asked->unwanted) asked->unwanted(std::move(answer));
        return;
      }
      guard(*later, *asker, "An answer", [&] {
        asker->question.reset();
        asker->answer_timer.cancel();
        asked->then(*asker, std::move(answer));
        later->go_on(*asker);
      });
    });
  });
  const bool well = connection.contain("A question to a seam", [&] { call(std::move(reply)); });

  std::optional<T> answer;
  {
    Lock lock(asked->mutex);
    asked->outside = true;
    answer = std::move(asked->answer);
  }
  if (!well && !answer) answer = when_thrown(std::move(*asked->when_late));
  if (answer) {
    connection.question.reset();
    asked->then(connection, std::move(*answer));
  } else {
    connection.loop->arm(connection.answer_timer, connection.loop->executor->now() + options_.answer_timeout);
  }
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
