// RoleAuthorizer: what rules allow, and that nothing else is.
#include "muster/auth/role_authorizer.hpp"

#include <chrono>
#include <memory>

#include "contract/questions.hpp"
#include "support/catch.hpp"
#include "support/counted_allocations.hpp"

using namespace muster;

namespace {

const Identity ann{"ann", "acme", {"editor", "viewer"}, {}};
const Identity bob{"bob", "", {}, {}};

Permission ask(const std::vector<RoleRule>& rules, const Identity& identity, Action action, const std::string& target) {
  RoleAuthorizer authorizer(rules);
  test::Question<Permission> question;
  authorizer.authorize({ConnectionId(1), std::make_shared<const Identity>(identity), action, target}, question.reply());
  REQUIRE(question.answers() == 1);
  return question.answer();
}
bool may(const std::vector<RoleRule>& rules, const Identity& identity, Action action, const std::string& target) {
  return static_cast<bool>(ask(rules, identity, action, target));
}
bool matches(const std::string& pattern, const std::string& target, const Identity& identity = ann) {
  return may({{"*", {Action::join}, pattern}}, identity, Action::join, target);
}
std::string problem(const std::vector<RoleRule>& rules) {
  try {
    const RoleAuthorizer authorizer(rules);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return {};
}

}  // namespace

TEST_CASE("without rules nobody may do anything", "[roles]") {
  for (const Action action : every_action()) {
    const auto answer = ask({}, ann, action, "canvas:1");
    CHECK_FALSE(answer);
    CHECK_FALSE(answer.unavailable());
    CHECK(answer.message() == "No role of yours allows this: " + std::string(to_string(action)));
  }
}

TEST_CASE("a rule allows its actions to those who have its role, where its pattern matches", "[roles]") {
  const std::vector<RoleRule> rules{{"editor", {Action::join, Action::publish}, "canvas:*"}};
  CHECK(may(rules, ann, Action::join, "canvas:1"));
  CHECK(may(rules, ann, Action::publish, "canvas:1"));
  CHECK_FALSE(may(rules, ann, Action::awareness, "canvas:1"));
  CHECK_FALSE(may(rules, ann, Action::join, "chat:1"));
  CHECK_FALSE(may(rules, bob, Action::join, "canvas:1"));
  CHECK_FALSE(may(rules, {"eve", "", {"Editor", "editor ", "*"}, {}}, Action::join, "canvas:1"));
}

TEST_CASE("rules of all one's roles count together, whatever their order", "[roles]") {
  std::vector<RoleRule> rules{{"viewer", {Action::join}, "canvas:*"},
                              {"editor", {Action::publish}, "canvas:1"},
                              {"editor", {Action::publish}, "canvas:2"},
                              {"admin", every_action(), "*"}};
  for (int i = 0; i < 2; ++i) {
    CHECK(may(rules, ann, Action::join, "canvas:1"));
    CHECK(may(rules, ann, Action::publish, "canvas:1"));
    CHECK(may(rules, ann, Action::publish, "canvas:2"));
    CHECK_FALSE(may(rules, ann, Action::publish, "canvas:3"));
    std::reverse(rules.begin(), rules.end());
  }
}

TEST_CASE("the role * is everyone, and no role of somebody's called * is more than that", "[roles]") {
  const std::vector<RoleRule> rules{{"*", {Action::join}, "lobby"}, {"admin", every_action(), "*"}};
  CHECK(may(rules, bob, Action::join, "lobby"));
  CHECK(may(rules, ann, Action::join, "lobby"));
  CHECK_FALSE(may(rules, {"eve", "", {"*"}, {}}, Action::publish, "lobby"));
  CHECK(may(rules, {"eve", "", {"x", "admin"}, {}}, Action::publish, "lobby"));
}

TEST_CASE("users and types of custom commands are targets like rooms", "[roles]") {
  const std::vector<RoleRule> rules{{"*", {Action::send, Action::query}, "support-*"},
                                    {"editor", {Action::custom}, "say"}};
  CHECK(may(rules, bob, Action::send, "support-1"));
  CHECK(may(rules, bob, Action::query, "support-1"));
  CHECK_FALSE(may(rules, bob, Action::send, "ann"));
  CHECK(may(rules, ann, Action::custom, "say"));
  CHECK_FALSE(may(rules, ann, Action::custom, "says"));
  CHECK_FALSE(may(rules, bob, Action::custom, "say"));
}

TEST_CASE("a pattern matches the whole target, and a star any text", "[roles]") {
  CHECK(matches("canvas:1", "canvas:1"));
  CHECK_FALSE(matches("canvas:1", "canvas:10"));
  CHECK_FALSE(matches("canvas:1", "xcanvas:1"));
  CHECK_FALSE(matches("canvas:1", "Canvas:1"));
  CHECK_FALSE(matches("canvas:1", ""));
  CHECK(matches("*", ""));
  CHECK(matches("*", "canvas:1"));
  CHECK(matches("**", "x"));
  CHECK(matches("canvas:*", "canvas:"));
  CHECK(matches("canvas:*", "canvas:a:b"));
  CHECK_FALSE(matches("canvas:*", "canvas"));
  CHECK(matches("*:1", "canvas:1"));
  CHECK_FALSE(matches("*:1", "canvas:12"));
  CHECK(matches("a*b*c", "abc"));
  CHECK(matches("a*b*c", "a-b-b-c"));
  CHECK(matches("a*ab*b", "aabab"));
  CHECK_FALSE(matches("a*b*c", "acb"));
  CHECK_FALSE(matches("ab*ba", "aba"));  // what the start took is not there for the end
  CHECK_FALSE(matches("a*bb*b", "abb"));
  CHECK(matches("a.c", "a.c"));
  CHECK_FALSE(matches("a.c", "abc"));
  CHECK_FALSE(matches("a?c", "abc"));
  CHECK_FALSE(matches("[ab]", "a"));
}

TEST_CASE("placeholders stand for one's own user and tenant", "[roles]") {
  CHECK(matches("user:{user}:*", "user:ann:notes"));
  CHECK_FALSE(matches("user:{user}:*", "user:annabel:notes"));
  CHECK_FALSE(matches("user:{user}:*", "user:bob:notes"));
  CHECK_FALSE(matches("user:{user}:*", "user:{user}:notes"));
  CHECK(matches("{user}", "ann"));
  CHECK(matches("*:{user}", "a:b:ann"));
  CHECK(matches("{tenant}:{user}", "acme:ann"));
  CHECK_FALSE(matches("{tenant}:{user}", "acme:bob"));
  CHECK(matches("room:*:{tenant}:*:{user}:end", "room:1:acme:2:ann:end"));
}

TEST_CASE("a user's name opens no doors", "[roles]") {
  const auto named = [](const std::string& user) { return Identity{user, "", {}, {}}; };
  CHECK_FALSE(matches("user:{user}:x", "user:ann:x", named("*")));
  CHECK(matches("user:{user}:x", "user:*:x", named("*")));
  CHECK_FALSE(matches("user:{user}:x", "user:ann:x", named("{user}")));
  // Whose is user:a:b:c? It is a's, and only a's.
  CHECK(matches("user:{user}:*", "user:a:b:c", named("a")));
  CHECK_FALSE(matches("user:{user}:*", "user:a:b:c", named("a:b")));
  CHECK(matches("*:{user}", "x:a:b", named("b")));
  CHECK_FALSE(matches("*:{user}", "x:a:b", named("a:b")));
  CHECK_FALSE(matches("{tenant}:{user}", "a:b:c", {"c", "a:b", {}, {}}));
  CHECK_FALSE(matches("{tenant}:{user}", "a:b:c", {"b:c", "a", {}, {}}));
  // Where nothing else varies on that side, there is nothing to mistake it for.
  CHECK(matches("user:{user}", "user:a:b", named("a:b")));
  CHECK(matches("{user}", "a:b", named("a:b")));
  // The default tenant is no tenant's.
  CHECK_FALSE(matches("{tenant}:*", ":x", named("a")));
  CHECK_FALSE(matches("x{tenant}", "x", named("a")));
}

TEST_CASE("a rule that cannot be meant is refused by its number", "[roles]") {
  const RoleRule good{"*", {Action::join}, "lobby"};
  CHECK(problem({good, {"", {Action::join}, "x"}}) == "rule 2: the role is empty; \"*\" is everyone");
  CHECK(problem({{"*", {}, "x"}}) == "rule 1: there are no actions, so that it allows nothing");
  CHECK(problem({{"*", {Action::join}, ""}}) == "rule 1: the pattern is empty; \"*\" is everything");
  for (const char* unknown : {"{usr}", "{}", "{User}", "{user", "{", "}"}) {
    CHECK(problem({{"*", {Action::join}, std::string("x:") + unknown}}) ==
          std::string("rule 1: \"") + unknown + "\" in the pattern is not known; there are {user} and {tenant}");
  }
  for (const char* beside : {"{user}*", "x:*{user}", "{user}{tenant}:x"}) {
    CHECK(problem({{"*", {Action::join}, beside}}).find("needs something between it and what is beside it") !=
          std::string::npos);
  }
  CHECK(problem({good, {"*", {Action::join, Action::join}, "a*{x"}}) ==
        "rule 2: \"{x\" in the pattern is not known; there are {user} and {tenant}");
}

TEST_CASE("a hostile target costs no more than its length times the pattern's", "[roles]") {
  const std::string target(20'000, 'a');
  const auto start = std::chrono::steady_clock::now();
  CHECK_FALSE(matches("*a*a*a*a*a*a*a*a*a*a*a*ab", target));
  CHECK_FALSE(matches("*aaaaaaaaaaaaaaab*a*b", target));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));  // exponential would not come back
}

TEST_CASE("a yes costs no allocation", "[roles]") {
  RoleAuthorizer authorizer(
      {{"viewer", {Action::join}, "canvas:*"}, {"editor", {Action::publish}, "{tenant}:{user}:*"}});
  const auto identity = std::make_shared<const Identity>(ann);
  for (const auto& [action, target] :
       {std::pair(Action::join, "canvas:1"), std::pair(Action::publish, "acme:ann:notes")}) {
    const Access access{ConnectionId(1), identity, action, target};
    bool allowed = false;
    Reply<Permission> reply([&allowed](const Permission& answer) { allowed = static_cast<bool>(answer); });
    const auto before = test::allocations().calls;
    authorizer.authorize(access, std::move(reply));
    const auto after = test::allocations().calls;
    CHECK(allowed);
    CHECK(after == before);
  }
}
