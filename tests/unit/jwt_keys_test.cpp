// JwtAuthenticator's keys: which one checks a token, how they are replaced and read, and which cannot be right.
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "unit/jwt_fixture.hpp"

using namespace muster;
using namespace muster::test::jwt;
using namespace std::chrono_literals;
using test::JwtSigner;

namespace {

std::string problem(const JwtOptions& wrong) {
  try {
    const JwtAuthenticator authenticator(wrong);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return {};
}

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text) {
    std::string name = (std::filesystem::temp_directory_path() / "muster-jwt-XXXXXX").string();
    const int descriptor = ::mkstemp(name.data());
    REQUIRE(descriptor >= 0);
    ::close(descriptor);
    path = name;
    std::ofstream(path, std::ios::binary) << text;
  }
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  std::filesystem::path path;
};

}  // namespace

TEST_CASE("the kid chooses the key, and a token without one is tried only when there is one key", "[jwt]") {
  auto both = options({hs.key("h"), es().key("e")});
  CHECK(refusal(both, hs.sign_as("h", ann)).empty());
  CHECK(refusal(both, es().sign_as("e", ann)).empty());
  CHECK(refusal(both, hs.sign_as("e", ann)) == not_valid);
  CHECK(refusal(both, hs.sign_as("x", ann)) == not_valid);
  CHECK(refusal(both, hs.sign_as("", ann)) == not_valid);
  CHECK(refusal(both, hs.sign(ann)) == not_valid);

  auto one = options({hs.key("h")});
  CHECK(refusal(one, hs.sign(ann)).empty());
  CHECK(refusal(one, hs.sign_as("h", ann)).empty());
  CHECK(refusal(one, hs.sign_as("x", ann)) == not_valid);

  auto unnamed = options({hs.key()});
  CHECK(refusal(unnamed, hs.sign_as("whatever", ann)).empty());
}

TEST_CASE("keys are replaced at run time, and an old one is good while it is listed", "[jwt]") {
  const auto next = JwtSigner::es256();
  JwtAuthenticator authenticator(options({es().key("old")}));
  const std::string old_token = es().sign_as("old", ann);
  const std::string new_token = next.sign_as("new", ann);
  CHECK(ask(authenticator, old_token));
  CHECK_FALSE(ask(authenticator, new_token));
  REQUIRE_FALSE(authenticator.set_keys({es().key("old"), next.key("new")}));
  CHECK(ask(authenticator, old_token));
  CHECK(ask(authenticator, new_token));
  REQUIRE_FALSE(authenticator.set_keys({next.key("new")}));
  CHECK_FALSE(ask(authenticator, old_token));
  CHECK(ask(authenticator, new_token));

  const auto error = authenticator.set_keys({next.key("new"), {JwtAlgorithm::ES256, "no key", "bad"}});
  REQUIRE(error);
  CHECK(error->message.find("\"bad\"") != std::string::npos);
  CHECK(authenticator.set_keys({}));
  CHECK(ask(authenticator, new_token));
}

TEST_CASE("keys are replaced while threads check tokens, and no check meets half a set", "[jwt]") {
  JwtAuthenticator authenticator(options({hs.key("h")}));
  const std::string token = hs.sign_as("h", ann);
  std::atomic<bool> done{false};
  std::atomic<int> refused{0};
  std::vector<std::thread> asking;
  for (int i = 0; i < 2; ++i) {
    asking.emplace_back([&] {
      Credentials credentials;
      credentials.token = token;
      while (!done) {
        authenticator.authenticate(credentials, Reply<Authentication>([&](const Authentication& answer) {
                                     if (!answer) ++refused;
                                   }));
      }
    });
  }
  bool replaced = true;
  for (int i = 0; i < 200; ++i) {
    replaced = replaced &&
               !authenticator.set_keys(i % 2 == 0 ? std::vector{hs.key("h"), es().key("e")} : std::vector{hs.key("h")});
  }
  done = true;
  for (auto& thread : asking) thread.join();
  CHECK(replaced);
  CHECK(refused == 0);
}

TEST_CASE("keys and options that cannot be right are refused at once, by name", "[jwt]") {
  const auto of = [](std::vector<JwtKey> keys) { return problem(options(std::move(keys))); };
  CHECK(of({}) == "JwtAuthenticator: there are no keys");
  CHECK(of({{JwtAlgorithm::HS256, ""}}) == "JwtAuthenticator: the HS256 key has 0 bytes; HS256 needs 32");
  CHECK(of({{JwtAlgorithm::HS256, std::string(31, 's'), "a"}}) ==
        "JwtAuthenticator: the HS256 key \"a\" has 31 bytes; HS256 needs 32");
  CHECK(of({{JwtAlgorithm::HS256, rs().public_key()}}) ==
        "JwtAuthenticator: the HS256 key is a PEM file; HS256 needs a secret that nobody else knows");
  CHECK(of({hs.key("a"), es().key("a")}) == "JwtAuthenticator: the ES256 key \"a\" is not the only one with that id");
  CHECK(of({hs.key("a"), es().key()}) ==
        "JwtAuthenticator: the ES256 key has no id, which it needs because it is not the only one");
  for (const char* pem : {"", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}) {
    CHECK(of({{JwtAlgorithm::RS256, pem, "r"}}) ==
          "JwtAuthenticator: the RS256 key \"r\" is not a public key in PEM (\"-----BEGIN PUBLIC KEY-----\")");
  }
  CHECK(of({{JwtAlgorithm::RS256, es().public_key()}}) ==
        "JwtAuthenticator: the RS256 key is not an RSA key, as RS256 needs");
  CHECK(of({{JwtAlgorithm::ES256, rs().public_key()}}) ==
        "JwtAuthenticator: the ES256 key is not a P-256 key, as ES256 needs");
  CHECK(of({JwtSigner::es256("P-384").key()}) == "JwtAuthenticator: the ES256 key is not a P-256 key, as ES256 needs");
  CHECK(of({JwtSigner::rs256(1024).key()}) == "JwtAuthenticator: the RS256 key has 1024 bits; RS256 needs 2048");

  auto asked = options({hs.key()});
  asked.user_claim.clear();
  CHECK(problem(asked) == "JwtAuthenticator: user_claim is empty; the subject of a token is \"sub\"");
  asked = options({hs.key()});
  for (const std::chrono::milliseconds leeway : {-1ms, 86400001ms}) {
    asked.leeway = leeway;
    CHECK(problem(asked) == "JwtAuthenticator: leeway must be from 0 to 24 hours");
  }
  asked = options({hs.key()});
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{65537}}) {
    asked.max_token_bytes = bytes;
    CHECK(problem(asked) == "JwtAuthenticator: max_token_bytes must be from 1 to 65536");
  }
}

TEST_CASE("a key is read from a file, and what is wrong names the file and not its content", "[jwt]") {
  const TemporaryFile pem(es().public_key());
  const auto read = read_jwt_key(JwtAlgorithm::ES256, pem.path, "2026");
  REQUIRE(read);
  CHECK(read.value().id == "2026");
  CHECK(refusal(options({read.value()}), es().sign_as("2026", ann)).empty());

  for (const char* end : {"", "\n", "\r\n"}) {
    const TemporaryFile file(secret + end);
    const auto read_secret = read_jwt_key(JwtAlgorithm::HS256, file.path);
    REQUIRE(read_secret);
    CHECK(read_secret.value().key == secret);
  }

  const TemporaryFile weak("hunter2\n");
  const auto refused = read_jwt_key(JwtAlgorithm::HS256, weak.path);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message == "key file " + weak.path.string() + ": the HS256 key has 7 bytes; HS256 needs 32");
  const TemporaryFile large(std::string(100'000, 'x'));
  CHECK(read_jwt_key(JwtAlgorithm::HS256, large.path).error().message ==
        "key file " + large.path.string() + ": it is too large for a key");
  for (const auto& missing : {std::filesystem::path("/no/such/file"), std::filesystem::temp_directory_path()}) {
    const auto answer = read_jwt_key(JwtAlgorithm::RS256, missing);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().message == "key file " + missing.string() + ": it cannot be read");
  }
}
