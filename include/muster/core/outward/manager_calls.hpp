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

}  // namespace core

template <class F>
void ConnectionManager::guard(ConnectionState& connection, const char* where, F code) noexcept {
  core::guard(*this, connection, where, std::move(code));
}

}  // namespace MUSTER_ABI
}  // namespace muster
