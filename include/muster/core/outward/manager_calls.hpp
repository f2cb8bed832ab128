// How the manager leaves its own code: tasks to a loop, callbacks of the embedder's, and questions to a seam.
#pragma once

#include "muster/core/manager.hpp"

namespace muster {
inline namespace MUSTER_ABI {

template <class F>
bool ConnectionManager::post(const LoopPtr& loop, F task, int rounds) {
  return loop->post([this, task = std::move(task)]() mutable { task(*this); }, rounds);
}

namespace core {

/// How an authenticator's error ends what asked it. A code that says nothing of credentials becomes auth_failed.
[[nodiscard]] inline CloseReason reason_of(Error& error) noexcept {
  switch (error.code) {
    case errc::auth_required:
      return CloseReason::auth_required;
    case errc::permission_denied:
      return CloseReason::permission_denied;
    case errc::rate_limited:
      return CloseReason::rate_limited;
    case errc::unavailable:
      return CloseReason::over_capacity;
    case errc::internal:
      return CloseReason::internal_error;
    case errc::too_many:  // connections of one user
      return CloseReason::policy;
    default:
      error.code = errc::auth_failed;
      return CloseReason::auth_failed;
  }
}

[[nodiscard]] inline Error too_many_of_user(std::chrono::milliseconds retry_after) {
  return {errc::too_many,
          "This user has too many connections; who comes back for a session names it (resume=ID in the query)",
          retry_after};
}

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

}  // namespace core

template <class F>
void ConnectionManager::guard(ConnectionState& connection, const char* where, F code) noexcept {
  const ConnectionPtr keep = connection.shared_from_this();
  if (!connection.contain(where, std::move(code))) disconnect(connection, CloseReason::internal_error, {});
}

/// Asks a seam. Answered inside the call, the command goes on at once; otherwise it waits, and an answer that comes
/// after the deadline, or for a connection or command that is gone, finds another generation and does nothing.
template <class T>
void ConnectionManager::ask(ConnectionState& connection, Function<void(Reply<T>)> call,
                            Function<void(ConnectionState&, T)> then, T when_late, Function<void(T)> unwanted) {
  struct Asked final : core::Question {
    core::Mutex mutex;
    bool outside = false;     ///< the call has returned: answers are posted
    std::optional<T> answer;  ///< given inside the call
    Function<void(ConnectionState&, T)> then;
    Function<void(T)> unwanted;
    std::optional<T> when_late;
    void expire(ConnectionManager&, ConnectionState& expired) override { then(expired, std::move(*when_late)); }
  };
  const auto asked = std::make_shared<Asked>();
  asked->then = std::move(then);
  asked->unwanted = std::move(unwanted);
  asked->when_late = std::move(when_late);
  const std::uint32_t generation = ++connection.generation;
  connection.question = asked;

  Reply<T> reply([weak = weak_from_this(), of = connection.weak_from_this(), asked, generation](T answer) {
    {
      core::Lock lock(asked->mutex);
      if (!asked->outside) {
        asked->answer = std::move(answer);
        return;
      }
    }
    const auto manager = weak.lock();
    const auto asker = of.lock();
    if (!manager || !asker) return;
    (void)manager->post(asker->loop,
                        [asker, asked, generation, answer = std::move(answer)](ConnectionManager& on_loop) mutable {
                          const bool waits = asker->generation == generation && asker->question == asked;
                          if (!waits) {
                            if (asked->unwanted) asked->unwanted(std::move(answer));
                            return;
                          }
                          on_loop.guard(*asker, "An answer", [&] {
                            asker->question.reset();
                            asker->answer_timer.cancel();
                            asked->then(*asker, std::move(answer));
                            on_loop.go_on(*asker);
                          });
                        });
  });
  const bool well = connection.contain("A question to a seam", [&] { call(std::move(reply)); });

  std::optional<T> answer;
  {
    core::Lock lock(asked->mutex);
    asked->outside = true;
    answer = std::move(asked->answer);
  }
  if (!well && !answer) answer = core::when_thrown(std::move(*asked->when_late));
  if (answer) {
    connection.question.reset();
    asked->then(connection, std::move(*answer));
  } else {
    connection.loop->arm(connection.answer_timer, connection.loop->executor->now() + options_.answer_timeout);
  }
}

}  // namespace MUSTER_ABI
}  // namespace muster
