// Keys, a clock that stands still, and what JwtAuthenticator says to a token.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "contract/questions.hpp"
#include "support/catch.hpp"
#include "support/jwt_signer.hpp"

namespace muster::test::jwt {

inline const std::string secret(32, 's');
inline const auto hs = JwtSigner::hs256(secret);
inline const JwtSigner& rs() {
  static const auto signer = JwtSigner::rs256();
  return signer;
}
inline const JwtSigner& es() {
  static const auto signer = JwtSigner::es256();
  return signer;
}

/// 1000 seconds after 1970, unless a test says otherwise.
struct Clock {
  std::shared_ptr<std::atomic<std::int64_t>> now = std::make_shared<std::atomic<std::int64_t>>(1'000'000);
  WallTime operator()() const { return WallTime(std::chrono::milliseconds(now->load())); }
};

inline JwtOptions options(std::vector<JwtKey> keys) {
  JwtOptions made{std::move(keys)};
  made.clock = Clock();
  return made;
}

inline Authentication ask(JwtAuthenticator& authenticator, const std::string& token) {
  Question<Authentication> question;
  Credentials credentials;
  credentials.token = token;
  authenticator.authenticate(credentials, question.reply());
  REQUIRE(question.answers() == 1);
  return question.answer();
}
inline Authentication ask(const JwtOptions& asked, const std::string& token) {
  JwtAuthenticator authenticator(asked);
  return ask(authenticator, token);
}
/// Why not; empty: it is let in.
inline std::string refusal(const JwtOptions& asked, const std::string& token) {
  const auto answer = ask(asked, token);
  if (answer) return {};
  CHECK(answer.error().code == errc::auth_failed);
  return answer.error().message;
}
inline std::string refusal(const std::string& claims) { return refusal(options({hs.key()}), hs.sign(claims)); }

inline const std::string ann = R"({"sub":"ann","exp":2000})";
inline const std::string not_valid = "The token is not valid";

}  // namespace muster::test::jwt
