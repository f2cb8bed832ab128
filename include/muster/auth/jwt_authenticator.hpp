// JwtAuthenticator: accepts signed JSON Web Tokens (RFC 7519) whose keys it was given.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "muster/authenticator.hpp"
#include "muster/config.hpp"
#include "muster/error.hpp"
#include "muster/reply.hpp"
#include "muster/thread_safety.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// How tokens are signed (RFC 7518, 3.1).
enum class JwtAlgorithm : std::uint8_t {
  HS256,  ///< HMAC with SHA-256: whoever can check tokens can make them
  RS256,  ///< RSASSA-PKCS1-v1_5 with SHA-256
  ES256   ///< ECDSA with P-256 and SHA-256
};

/// The name as in a token's header.
[[nodiscard]] constexpr std::string_view to_string(JwtAlgorithm algorithm) noexcept {
  constexpr std::string_view names[] = {"HS256", "RS256", "ES256"};
  return names[static_cast<std::size_t>(algorithm)];
}

/// One key, and the one algorithm it is for: what a token says of its algorithm is compared with this, never followed.
struct JwtKey {
  JwtAlgorithm algorithm = JwtAlgorithm::ES256;
  /// HS256: the secret, at least 32 bytes (RFC 7518, 3.2). Otherwise the public key as PEM ("BEGIN PUBLIC KEY"): RSA of
  /// at least 2048 bits, or P-256.
  std::string key;
  /// The `kid` of its tokens. Empty: it is for every token, whatever its kid; then it must be the only key.
  std::string id = {};
};

/// Reads `key` from a file. A secret's last line end is not part of it. The error names the file, never what is in it.
[[nodiscard]] Result<JwtKey> read_jwt_key(JwtAlgorithm algorithm, const std::filesystem::path& file,
                                          std::string id = {});

struct JwtOptions {
  std::vector<JwtKey> keys;
  /// What `iss` must be; empty: anything, or nothing.
  std::string issuer = {};
  /// What `aud` must be or contain; empty: a token with an `aud` is for somebody else, and refused (RFC 7519, 4.1.3).
  std::string audience = {};
  /// The claims that say who it is, at the top of the token. The user must be a string that is not empty.
  std::string user_claim = "sub";
  /// A string; a token without it is of the default tenant. Empty: no claim is looked at, and all tokens are.
  std::string tenant_claim = "tenant";
  /// An array of strings, or one string of names with spaces between them (as `scope` in RFC 8693, 4.2); a token
  /// without it has no roles. Empty: no claim is looked at.
  std::string roles_claim = "roles";
  /// Whether Identity::claims gets all the token's claims, as JSON: each connection then keeps them.
  bool keep_claims = true;
  /// How far the issuer's clock may be off: `exp` counts as this much later, `nbf` as this much earlier.
  std::chrono::milliseconds leeway{0};
  /// False: a token that never expires is refused.
  bool allow_without_expiry = false;
  /// Longer tokens are refused unread. At most 64 KiB.
  std::size_t max_token_bytes = 8 * 1024;
  /// The time; empty: std::chrono::system_clock. Called by several threads at once.
  std::function<WallTime()> clock = {};
};

/// Checks a token's signature with the key its `kid` names, then `exp`, `nbf`, `iss` and `aud`, and takes the identity
/// from its claims; it ends at `exp` plus the leeway. A token without a kid is tried only when there is one key.
/// Unsigned tokens are refused, headers with `crit` (RFC 7515, 4.1.11), and a `typ` that is not JWT: a token made for
/// another purpose is no token here (RFC 8725, 3.11), and RFC 9068's at+jwt is not supported. `iat` says nothing here.
/// A time beyond the year 9999 is refused: it was counted in milliseconds. Each token has one spelling.
///
/// What is wrong with a token is told to the client once its signature is good; until then it is just not valid.
///
/// Answers inside the call: a check takes about 10 us of the connection's loop with HS256 and 0.3 ms with RS256 and
/// ES256, and `Options::connect_rate_per_ip` bounds how many there are. Threads: any, for every function.
class JwtAuthenticator final : public Authenticator {
 public:
  /// Throws std::invalid_argument, with what is wrong with which key or option; with no keys too.
  explicit JwtAuthenticator(JwtOptions options);
  ~JwtAuthenticator() override;

  void authenticate(const Credentials& credentials, Reply<Authentication> done) override;

  /// Rotation: from now on these keys, and no others. An old key stays good for as long as it is among them.
  /// The error says what is wrong with which key; then nothing has changed.
  [[nodiscard]] std::optional<Error> set_keys(std::vector<JwtKey> keys);

 private:
  using Keys = std::vector<JwtKey>;

  [[nodiscard]] Authentication check(const std::string& token) const;
  [[nodiscard]] Authentication identify(std::string_view claims) const;

  const JwtOptions options_;  // without its keys
  mutable CheckedMutex mutex_;
  std::shared_ptr<const Keys> keys_ MUSTER_GUARDED_BY(mutex_);  // shared with the checks that are going on
};

}  // namespace MUSTER_ABI
}  // namespace muster

#if !defined(MUSTER_COMPILED)
#include "muster/auth/jwt_authenticator/jwt_authenticator.ipp"
#endif
