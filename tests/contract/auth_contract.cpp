// The authenticators and authorizers of auth/ keep their promises, however late they answer.
#include <atomic>
#include <stdexcept>
#include <type_traits>

#include "contract/authenticator_contract.hpp"
#include "contract/authorizer_contract.hpp"
#include "muster/auth/allow_all.hpp"
#include "muster/auth/allow_anonymous.hpp"
#include "muster/auth/callback_authenticator.hpp"
#include "muster/auth/role_authorizer.hpp"
#include "muster/auth/static_token_authenticator.hpp"
#include "support/delayed.hpp"

using namespace muster;

namespace {

const Identity ann{"ann", "acme", {"editor", "admin"}, WallTime(std::chrono::hours(500'000))};
const Identity bob{"bob", "", {}, {}};
const StaticTokenAuthenticator::Tokens tokens{{"token of ann", ann}, {"token of bob", bob}, {"", bob}};

enum class Speed { prompt, late };

/// Any seam behind a gate. When slow, answers come when waited for, in another thread, the last one first.
template <class Fixture, class Seam, class Delayed>
class Gated : public Fixture {
 public:
  Gated(std::shared_ptr<Seam> behind, Speed speed) : delayed_(std::move(behind), gate_) {
    if (speed == Speed::late) gate_->hold();
  }
  ~Gated() override { gate_->drop(); }
  Seam& seam() override { return delayed_; }
  bool run_until(const std::function<bool()>& done) override {
    while (!done()) {
      std::size_t released = 0;
      std::thread([&] { released = gate_->release_backwards(); }).join();
      if (released == 0) return false;
    }
    return true;
  }
  bool fail(bool fails) override {
    gate_->fail(fails);
    return true;
  }

 private:
  const std::shared_ptr<test::Gate> gate_ = std::make_shared<test::Gate>();
  Delayed delayed_;
};

class Tokens : public Gated<test::AuthenticatorFixture, Authenticator, test::DelayedAuthenticator> {
 public:
  using Gated::Gated;
  std::vector<Known> accepted(ConnectionId) const override { return {{"token of ann", ann}, {"token of bob", bob}}; }
  std::vector<std::string> refused() const override { return {"token of eve", "token of an", "token of ann "}; }
};

class Anonymous : public Gated<test::AuthenticatorFixture, Authenticator, test::DelayedAuthenticator> {
 public:
  using Gated::Gated;
  std::vector<Known> accepted(ConnectionId connection) const override {
    const Identity somebody{"anonymous-" + to_string(connection), "", {}, {}};
    return {{"", somebody}, {"whatever", somebody}};
  }
  std::vector<std::string> refused() const override { return {}; }
};

class Rules : public Gated<test::AuthorizerFixture, Authorizer, test::DelayedAuthorizer> {
 public:
  Rules(std::shared_ptr<Authorizer> behind, Speed speed, bool denies)
      : Gated(std::move(behind), speed), denies_(denies) {}
  std::vector<Case> cases() const override {
    return {{ann, Action::join, "canvas:1", true},
            {ann, Action::send, "bob", true},
            {bob, Action::join, "canvas:1", true},
            {bob, Action::publish, "canvas:1", !denies_}};
  }

 private:
  const bool denies_;
};

/// The same, and whom it is for, by roles.
class Roles : public Gated<test::AuthorizerFixture, Authorizer, test::DelayedAuthorizer> {
 public:
  explicit Roles(Speed speed)
      : Gated(std::make_shared<RoleAuthorizer>(
                  std::vector<RoleRule>{{"editor", {Action::join, Action::publish}, "canvas:*"},
                                        {"*", {Action::send, Action::query}, "*"},
                                        {"*", every_action(), "user:{tenant}:{user}"}}),
              speed) {}
  std::vector<Case> cases() const override {
    return {{ann, Action::join, "canvas:1", true},        {ann, Action::awareness, "canvas:1", false},
            {bob, Action::join, "canvas:1", false},       {bob, Action::send, "ann", true},
            {ann, Action::custom, "user:acme:ann", true}, {ann, Action::join, "user:acme:bob", false}};
  }
};

std::shared_ptr<Authenticator> by_callback() {
  return callback_authenticator([](const Credentials& offered, const Reply<Authentication>& done) {
    const auto found = tokens.find(offered.token);
    done(offered.token.empty() || found == tokens.end() ? reject() : accept(found->second));
  });
}
/// Bob may look and not touch.
std::shared_ptr<Authorizer> by_rule() {
  return callback_authorizer([](const Access& access, const Reply<Permission>& done) {
    done(access.action == Action::publish && access.identity->user == "bob" ? Permission::deny() : Permission::allow());
  });
}

Authentication ask_now(Authenticator& authenticator, const std::string& token) {
  test::Question<Authentication> question;
  Credentials credentials;
  credentials.token = token;
  authenticator.authenticate(credentials, question.reply());
  REQUIRE(question.answers() == 1);
  return question.answer();
}
Permission ask_now(Authorizer& authorizer) {
  test::Question<Permission> question;
  authorizer.authorize({ConnectionId(1), std::make_shared<const Identity>(ann), Action::join, "r"}, question.reply());
  REQUIRE(question.answers() == 1);
  return question.answer();
}

}  // namespace

TEST_CASE("StaticTokenAuthenticator is an authenticator", "[contract][authenticator]") {
  const auto speed = GENERATE(Speed::prompt, Speed::late);
  test::authenticator_contract(
      [speed] { return std::make_unique<Tokens>(std::make_shared<StaticTokenAuthenticator>(tokens), speed); });
}

TEST_CASE("CallbackAuthenticator is an authenticator", "[contract][authenticator]") {
  const auto speed = GENERATE(Speed::prompt, Speed::late);
  test::authenticator_contract([speed] { return std::make_unique<Tokens>(by_callback(), speed); });
}

TEST_CASE("AllowAnonymous is an authenticator", "[contract][authenticator]") {
  const auto speed = GENERATE(Speed::prompt, Speed::late);
  test::authenticator_contract(
      [speed] { return std::make_unique<Anonymous>(std::make_shared<AllowAnonymous>(), speed); });
}

TEST_CASE("AllowAll is an authorizer", "[contract][authorizer]") {
  const auto speed = GENERATE(Speed::prompt, Speed::late);
  test::authorizer_contract([speed] { return std::make_unique<Rules>(std::make_shared<AllowAll>(), speed, false); });
}

TEST_CASE("CallbackAuthorizer is an authorizer", "[contract][authorizer]") {
  const auto speed = GENERATE(Speed::prompt, Speed::late);
  test::authorizer_contract([speed] { return std::make_unique<Rules>(by_rule(), speed, true); });
}

TEST_CASE("RoleAuthorizer is an authorizer", "[contract][authorizer]") {
  const auto speed = GENERATE(Speed::prompt, Speed::late);
  test::authorizer_contract([speed] { return std::make_unique<Roles>(speed); });
}

TEST_CASE("The empty token is nobody's, even if the table has it", "[authenticator]") {
  StaticTokenAuthenticator authenticator({{"", ann}});
  CHECK_FALSE(ask_now(authenticator, ""));
}

TEST_CASE("Each anonymous connection is a user of its own", "[authenticator]") {
  AllowAnonymous authenticator;
  CHECK_FALSE(authenticator.needs_token());
  test::Question<Authentication> first;
  test::Question<Authentication> second;
  Credentials credentials;
  credentials.connection = ConnectionId(0xabc);
  authenticator.authenticate(credentials, first.reply());
  credentials.connection = ConnectionId(2);
  authenticator.authenticate(credentials, second.reply());
  REQUIRE((first.answers() == 1 && second.answers() == 1));
  CHECK(first.answer().value().user == "anonymous-0000000000000abc");
  CHECK(second.answer().value().user != first.answer().value().user);
  CHECK(first.answer().value().tenant.empty());
  CHECK_FALSE(first.answer().value().expires_at);
}

TEST_CASE("What a callback throws is for the core, which contains it", "[authenticator][authorizer]") {
  const auto authenticator = callback_authenticator(
      [](const Credentials&, const Reply<Authentication>&) { throw std::runtime_error("no such table"); });
  CHECK_THROWS_WITH(ask_now(*authenticator, "token of ann"), "no such table");
  const auto authorizer = callback_authorizer([](const Access&, const Reply<Permission>&) { throw 7; });
  CHECK_THROWS_AS(ask_now(*authorizer), int);
}

TEST_CASE("A callback may own what cannot be copied, and may answer later from another thread", "[authenticator]") {
  auto table = std::make_unique<StaticTokenAuthenticator::Tokens>(tokens);
  std::thread answering;
  const auto authenticator = callback_authenticator(
      [table = std::move(table), &answering](const Credentials& offered, Reply<Authentication> done) {
        answering =
            std::thread([&table, token = offered.token, done = std::move(done)] { done(accept(table->at(token))); });
      });
  test::Question<Authentication> question;
  Credentials credentials;
  credentials.token = "token of bob";
  authenticator->authenticate(credentials, question.reply());
  answering.join();
  REQUIRE(question.answers() == 1);
  CHECK(question.answer().value().user == "bob");
}
