// What every Authenticator promises, as checks that any implementation can be run through.
//
// An implementation derives an AuthenticatorFixture, and its test file says:
//
//   TEST_CASE("MyAuthenticator is an authenticator", "[contract][authenticator]") {
//     muster::test::authenticator_contract([] { return std::make_unique<MyFixture>(); });
//   }
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "contract/questions.hpp"
#include "muster/authenticator.hpp"

namespace muster::test {

/// Owns one authenticator, and knows what it is to answer.
class AuthenticatorFixture : public SeamFixture<Authenticator> {
 public:
  struct Known {
    std::string token;
    Identity identity;
  };
  /// Tokens it accepts; of those, what it says of a connection with that token.
  [[nodiscard]] virtual std::vector<Known> accepted(ConnectionId connection) const = 0;
  /// Tokens it refuses.
  [[nodiscard]] virtual std::vector<std::string> refused() const = 0;
};
using MakeAuthenticatorFixture = std::function<std::unique_ptr<AuthenticatorFixture>()>;

inline void authenticator_contract(const MakeAuthenticatorFixture& make) {
  auto fixture = make();
  Authenticator& authenticator = fixture->seam();
  const auto credentials = [](const std::string& token, std::uint64_t connection) {
    Credentials offered;
    offered.token = token;
    offered.source = token.empty() ? TokenSource::none : TokenSource::authorization_header;
    offered.connection = ConnectionId(connection);
    offered.remote_address = RemoteAddress::v4(192, 0, 2, 1);
    offered.path = "/ws";
    return offered;
  };
  const auto authenticate = [&](const std::string& token, std::uint64_t connection) {
    return ask<Authentication>(
        *fixture, [&](auto done) { authenticator.authenticate(credentials(token, connection), std::move(done)); });
  };
  const auto same = [](const Identity& a, const Identity& b) {
    return a.user == b.user && a.tenant == b.tenant && a.roles == b.roles && a.expires_at == b.expires_at;
  };

  SECTION("it knows somebody, and an accepted identity has a user") {
    REQUIRE_FALSE(fixture->accepted(ConnectionId(1)).empty());
    for (const auto& known : fixture->accepted(ConnectionId(1))) {
      const auto answer = authenticate(known.token, 1);
      REQUIRE(answer);
      CHECK_FALSE(answer.value().user.empty());
      CHECK(same(answer.value(), known.identity));
    }
  }

  SECTION("asked twice it answers the same") {
    for (const auto& known : fixture->accepted(ConnectionId(1))) {
      const auto first = authenticate(known.token, 1);
      const auto second = authenticate(known.token, 1);
      REQUIRE((first && second));
      CHECK(same(first.value(), second.value()));
    }
  }

  SECTION("a token that is not good is refused, and says so without repeating it") {
    for (const auto& token : fixture->refused()) {
      const auto answer = authenticate(token, 1);
      REQUIRE_FALSE(answer);
      CHECK(answer.error().code == errc::auth_failed);
      CHECK_FALSE(answer.error().message.empty());
      if (!token.empty()) CHECK(answer.error().message.find(token) == std::string::npos);
    }
  }

  SECTION("who is asked about without a token is let in or refused, as needs_token says") {
    const auto answer = authenticate("", 1);
    if (authenticator.needs_token()) {
      CHECK_FALSE(answer);
    } else {
      REQUIRE(answer);
      CHECK_FALSE(answer.value().user.empty());
    }
  }

  SECTION("any bytes may come as a token") {
    std::string every_byte;
    for (int i = 0; i < 256; ++i) every_byte.push_back(static_cast<char>(i));
    for (const auto& token : {every_byte, std::string(100'000, 'x'), std::string(1, '\0')}) {
      const auto answer = authenticate(token, 1);
      if (authenticator.needs_token()) CHECK_FALSE(answer);
    }
  }

  SECTION("several threads may ask at once, and each gets its own answer") {
    constexpr std::size_t threads = 4;
    constexpr std::size_t each = 50;
    const auto refused = fixture->refused();
    std::vector<Question<Authentication>> questions(threads * each);
    std::vector<std::thread> asking;
    for (std::size_t t = 0; t < threads; ++t) {
      asking.emplace_back([&, t] {
        for (std::size_t i = t * each; i < (t + 1) * each; ++i) {
          const auto known = fixture->accepted(ConnectionId(i + 1));
          const bool good = refused.empty() || i % 2 == 0;
          const std::string token = good ? known[i % known.size()].token : refused[i % refused.size()];
          authenticator.authenticate(credentials(token, i + 1), questions[i].reply());
        }
      });
    }
    for (auto& thread : asking) thread.join();
    for (std::size_t i = 0; i < questions.size(); ++i) {
      REQUIRE(fixture->run_until([&] { return questions[i].answers() != 0; }));
      const auto known = fixture->accepted(ConnectionId(i + 1));
      const auto answer = questions[i].answer();
      if (refused.empty() || i % 2 == 0) {
        REQUIRE(answer);
        CHECK(same(answer.value(), known[i % known.size()].identity));
      } else {
        CHECK_FALSE(answer);
      }
    }
  }

  SECTION("when it cannot know it is unavailable, and lets nobody in") {
    const auto known = fixture->accepted(ConnectionId(1)).front();
    if (fixture->fail(true)) {
      const auto answer = authenticate(known.token, 1);
      REQUIRE_FALSE(answer);
      CHECK((answer.error().code == errc::unavailable || answer.error().code == errc::internal));
      REQUIRE(fixture->fail(false));
    }
    CHECK(authenticate(known.token, 1));
  }

  SECTION("one that goes before it has answered holds nobody") {
    const auto held = std::make_shared<int>(0);
    authenticator.authenticate(credentials("x", 1), Reply<Authentication>([held](const auto&) {}));
    fixture.reset();
    CHECK(held.use_count() == 1);
  }
}

}  // namespace muster::test
