// What every Authorizer promises, as checks that any implementation can be run through.
//
// An implementation derives an AuthorizerFixture, and its test file says:
//
//   TEST_CASE("MyAuthorizer is an authorizer", "[contract][authorizer]") {
//     muster::test::authorizer_contract([] { return std::make_unique<MyFixture>(); });
//   }
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "contract/questions.hpp"
#include "muster/authorizer.hpp"

namespace muster::test {

/// Owns one authorizer, and knows what it is to answer.
class AuthorizerFixture : public SeamFixture<Authorizer> {
 public:
  struct Case {
    Identity identity;
    Action action;
    std::string target;
    bool allowed;
  };
  /// At least one.
  [[nodiscard]] virtual std::vector<Case> cases() const = 0;
};
using MakeAuthorizerFixture = std::function<std::unique_ptr<AuthorizerFixture>()>;

inline void authorizer_contract(const MakeAuthorizerFixture& make) {
  auto fixture = make();
  Authorizer& authorizer = fixture->seam();
  const auto cases = fixture->cases();
  REQUIRE_FALSE(cases.empty());
  const auto access = [](const AuthorizerFixture::Case& one) {
    return Access{ConnectionId(1), std::make_shared<const Identity>(one.identity), one.action, one.target};
  };
  const auto authorize = [&](const AuthorizerFixture::Case& one) {
    return ask<Permission>(*fixture, [&](auto done) { authorizer.authorize(access(one), std::move(done)); });
  };

  SECTION("it answers yes or no, and a no says why") {
    for (const auto& one : cases) {
      INFO(one.identity.user << " " << to_string(one.action) << " " << one.target);
      const Permission answer = authorize(one);
      CHECK(static_cast<bool>(answer) == one.allowed);
      if (!one.allowed) CHECK_FALSE(answer.message().empty());
    }
  }

  SECTION("asked twice it answers the same") {
    for (const auto& one : cases) {
      CHECK(static_cast<bool>(authorize(one)) == one.allowed);
      CHECK(static_cast<bool>(authorize(one)) == one.allowed);
    }
  }

  SECTION("every action and any target gets an answer") {
    for (const Action action :
         {Action::join, Action::publish, Action::send, Action::awareness, Action::query, Action::custom}) {
      for (const auto& target : {std::string(), std::string("canvas:1"), std::string(1000, '\xff')}) {
        (void)authorize({cases.front().identity, action, target, false});
      }
    }
  }

  SECTION("several threads may ask at once, and each gets its own answer") {
    constexpr std::size_t threads = 4;
    constexpr std::size_t each = 50;
    std::vector<Question<Permission>> questions(threads * each);
    std::vector<std::thread> asking;
    for (std::size_t t = 0; t < threads; ++t) {
      asking.emplace_back([&, t] {
        for (std::size_t i = t * each; i < (t + 1) * each; ++i) {
          authorizer.authorize(access(cases[i % cases.size()]), questions[i].reply());
        }
      });
    }
    for (auto& thread : asking) thread.join();
    for (std::size_t i = 0; i < questions.size(); ++i) {
      REQUIRE(fixture->run_until([&] { return questions[i].answers() != 0; }));
      CHECK(static_cast<bool>(questions[i].answer()) == cases[i % cases.size()].allowed);
    }
  }

  SECTION("when it cannot know it allows nothing") {
    if (fixture->fail(true)) {
      for (const auto& one : cases) CHECK_FALSE(authorize(one));
      REQUIRE(fixture->fail(false));
    }
    CHECK(static_cast<bool>(authorize(cases.front())) == cases.front().allowed);
  }

  SECTION("one that goes before it has answered holds nobody") {
    const auto held = std::make_shared<int>(0);
    authorizer.authorize(access(cases.front()), Reply<Permission>([held](const auto&) {}));
    fixture.reset();
    CHECK(held.use_count() == 1);
  }
}

}  // namespace muster::test
