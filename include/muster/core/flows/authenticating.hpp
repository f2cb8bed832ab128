// Authenticating: who a connection is: by its first message, again before its credentials end.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "muster/authenticator.hpp"
#include "muster/core/flows/authorizing.hpp"
#include "muster/core/flows/heartbeats.hpp"
#include "muster/core/flows/profiles.hpp"
#include "muster/core/flows/queues.hpp"
#include "muster/core/flows/seating.hpp"

namespace muster {
inline namespace MUSTER_ABI {
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

/// On the connection's executor.
class Authenticating {
 public:
  Authenticating(const Options& options, Authenticator& authenticator, UserTable& users, Directory& directory,
                 Entropy& entropy, Failures& failures, Admission& admission, Hooks& hooks, Questions& questions,
                 Writer& writer, Queues& queues, UserEdges& edges, Sessions& sessions, Ending& ending,
                 Heartbeats& heartbeats, Authorizing& authorizing, Seating& seating)
      : options_(options),
        authenticator_(authenticator),
        users_(users),
        directory_(directory),
        entropy_(entropy),
        failures_(failures),
        admission_(admission),
        hooks_(hooks),
        questions_(questions),
        writer_(writer),
        queues_(queues),
        edges_(edges),
        sessions_(sessions),
        ending_(ending),
        heartbeats_(heartbeats),
        authorizing_(authorizing),
        seating_(seating) {}

  /// Whose token is what it says, as the authenticator answers.
  void ask(ConnectionState& connection, std::string token, TokenSource source,
           Function<void(ConnectionState&, Authentication)> then);
  /// By its first message. `tell_result`: whether it is told on success, too.
  void first(ConnectionState& connection, const Correlation& correlation, std::string token, bool tell_result,
             Function<void(ConnectionState&)> then);
  /// New credentials of who is known already.
  void again(ConnectionState& connection, const Correlation& correlation, std::string token);
  /// Puts an authenticated connection into the tables; or says why it cannot be there.
  [[nodiscard]] std::optional<Error> establish(ConnectionState& connection, Identity identity);
  /// The first words to who is established, and to the hooks.
  void welcome(ConnectionState& connection, Function<void(ConnectionState&)> then);
  /// A time of its credentials' has come.
  void on_expiry(ConnectionState& connection);

  /// Ever established.
  [[nodiscard]] std::uint64_t connections_total() const noexcept { return connections_total_; }

 private:
  struct Renewal;
  void show_upgrade(const ConnectionState& connection, Credentials& to) const;
  void renew(ConnectionState& connection, const std::shared_ptr<Renewal>& renewal);
  void watch_expiry(ConnectionState& connection);

  const Options& options_;
  Authenticator& authenticator_;
  UserTable& users_;
  Directory& directory_;
  Entropy& entropy_;
  Failures& failures_;
  Admission& admission_;
  Hooks& hooks_;
  Questions& questions_;
  Writer& writer_;
  Queues& queues_;
  UserEdges& edges_;
  Sessions& sessions_;
  Ending& ending_;
  Heartbeats& heartbeats_;
  Authorizing& authorizing_;
  Seating& seating_;
  std::atomic<std::uint64_t> connections_total_{0};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
