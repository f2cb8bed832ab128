// The seam that says who a connection is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/close_reason.hpp"
#include "muster/error.hpp"
#include "muster/reply.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Where a token was found. At an upgrade header, subprotocol, query and cookie are looked at, in this order: what was
/// given on purpose outranks what a browser sends by itself.
enum class TokenSource : std::uint8_t { none, authorization_header, subprotocol, cookie, query, message };

/// What a connection offers to prove who it is. The token is a secret: do not log it.
struct Credentials {
  std::string token;
  TokenSource source = TokenSource::none;
  ConnectionId connection;
  RemoteAddress remote_address;
  std::string path;    ///< of the upgrade request, without the query
  std::string query;   ///< of the upgrade request, without the token parameter
  std::string origin;  ///< the Origin header; empty when there was none
  /// Of the upgrade request, what Options::credential_headers and credential_cookies name, under those names and if it was
  /// there. Secrets, likewise; and unlike the token, what an authenticator says of them in an error or throws is logged. A header that came several times is joined by ", " (RFC 9110, 5.3).
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::vector<std::pair<std::string, std::string>> cookies = {};
  /// Of a client that TLS has asked for one. Whatever the Identity says, it ends with the certificate; new credentials do not
  /// make that later, a new connection does. None: it has shown none, or was not asked.
  std::optional<ClientCertificate> client_certificate = {};

  /// Empty: it was not there, or was not asked for. The name as in Options.
  [[nodiscard]] std::string_view header(std::string_view name) const noexcept { return find(headers, name); }
  [[nodiscard]] std::string_view cookie(std::string_view name) const noexcept { return find(cookies, name); }

 private:
  [[nodiscard]] static std::string_view find(const std::vector<std::pair<std::string, std::string>>& all,
                                             std::string_view name) noexcept {
    for (const auto& [known, value] : all) {
      if (known == name) return value;
    }
    return {};
  }
};

/// The answer of an Authenticator: an identity, or why not.
using Authentication = Result<Identity>;

/// This is `user`; an empty tenant is the default one.
[[nodiscard]] inline Authentication accept(std::string user, std::string tenant = {}) {
  return Identity{std::move(user), std::move(tenant), {}, {}};
}
[[nodiscard]] inline Authentication accept(Identity identity) { return identity; }
/// The credentials are not good; `message` is shown to the client.
[[nodiscard]] inline Authentication reject(std::string message = "The token is not valid") {
  return Error{errc::auth_failed, std::move(message), {}};
}

/// Says who a connection is. An accepted identity must have a user.
///
/// Threads: called on the connection's executor, possibly on several executors at once; never under a lock.
/// `credentials` stand for the length of the call: copy what is used later.
/// May answer inside the call or later, from any thread; `Options::answer_timeout` answers in its stead. Answers for
/// connections that are gone are ignored. Must not throw: a throw before the answer is a refusal with `internal`; it is
/// counted (Metrics::callback_failures) and logged, once a minute for each cause and without the token.
///
/// An error's code says how the connection is refused, at the upgrade by a status or else by a close code: auth_failed 401
/// or 4002, auth_required 401 or 4001, permission_denied 403 or 4003, rate_limited 429 (Retry-After is `retry_after`) or
/// 1008, unavailable 503 or 1013, internal 500 or 1011; any other is auth_failed. The message is shown to the client.
/// Renewed credentials that get one of the last three leave the connection as it is.
class Authenticator {
 public:
  virtual ~Authenticator() = default;
  virtual void authenticate(const Credentials& credentials, Reply<Authentication> done) = 0;
  /// False: connections that offer no token are asked about too (with an empty one). True, the default: they are not,
  /// and must send a token first.
  [[nodiscard]] virtual bool needs_token() const noexcept { return true; }

 protected:
  Authenticator() = default;
  Authenticator(const Authenticator&) = default;
  Authenticator& operator=(const Authenticator&) = default;
};

}  // namespace MUSTER_ABI
}  // namespace muster
