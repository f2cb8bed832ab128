// The roles file: what it allows, and which line is wrong.
#include "server/roles.hpp"

#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::Action;
using muster::test::ContainsSubstring;
using muster::test::StartsWith;
using muster_server::FileProblem;
using muster_server::parse_roles;
using muster_server::read_roles_file;
using muster_server::Rules;

namespace {

std::string problem(std::string_view json) {
  auto parsed = parse_roles(json);
  const auto* found = std::get_if<FileProblem>(&parsed);
  return found == nullptr ? "" : found->sentence;
}
/// Of one rule that is right but for `members`.
std::string problem_of_rule(const std::string& members) { return problem("[{" + members + "}]"); }

}  // namespace

TEST_CASE("rules have a role, actions and a pattern", "[roles]") {
  auto parsed = parse_roles(R"([
    {"role": "editor", "actions": ["join", "publish", "awareness"], "pattern": "canvas:*"},
    {"pattern": "user:{user}:*", "actions": ["*"], "role": "*"}
  ])");
  REQUIRE(std::holds_alternative<Rules>(parsed));
  const Rules& rules = std::get<Rules>(parsed);
  REQUIRE(rules.size() == 2);
  CHECK(rules[0].role == "editor");
  CHECK(rules[0].actions == std::vector<Action>{Action::join, Action::publish, Action::awareness});
  CHECK(rules[0].pattern == "canvas:*");
  CHECK(rules[1].role == "*");
  CHECK(rules[1].actions == muster::every_action());
  CHECK(rules[1].pattern == "user:{user}:*");
}

TEST_CASE("every action has its name", "[roles]") {
  for (const Action action : muster::every_action()) {
    auto parsed =
        parse_roles(R"([{"role": "a", "pattern": "b", "actions": [")" + std::string(to_string(action)) + R"("]}])");
    REQUIRE(std::holds_alternative<Rules>(parsed));
    CHECK(std::get<Rules>(parsed).at(0).actions == std::vector<Action>{action});
  }
}

TEST_CASE("what is wrong with a rule is named with its line and member", "[roles]") {
  CHECK(problem("[\n\n{\"rule\": \"a\"}]") == "line 3: unknown member \"rule\"; known are role, actions and pattern");
  CHECK(problem_of_rule(R"("role": "a", "role": "b")") == "line 1: member \"role\" is there twice");
  CHECK(problem("[{\"role\": \"a\",\n\"pattern\": \"b\"\n}]") == "line 3: member \"actions\" is missing");
  CHECK(problem_of_rule(R"("actions": ["join"], "pattern": "b")") == "line 1: member \"role\" is missing");
  CHECK(problem_of_rule(R"("role": "a", "actions": ["join"])") == "line 1: member \"pattern\" is missing");
  for (const char* value : {"7", "null", "[]", "{}", "true"}) {
    CHECK(problem_of_rule(std::string(R"("role": )") + value) == "line 1: \"role\" must be a string");
    CHECK(problem_of_rule(std::string(R"("pattern": )") + value) == "line 1: \"pattern\" must be a string");
  }
  for (const char* value : {"7", "null", "\"join\"", "{}", "[7]", "[[\"join\"]]", "[{}]"}) {
    CHECK(problem_of_rule(std::string(R"("actions": )") + value) == "line 1: \"actions\" must be an array of strings");
  }
  CHECK(problem("[{\"actions\": [\n\"joins\"]}]") ==
        "line 2: unknown action \"joins\"; known are join, publish, send, awareness, query, custom, "
        "and * for all of them");
  CHECK(problem_of_rule(R"("role": "a", "actions": [], "pattern": "b")") ==
        "line 1: there are no actions, so that it allows nothing");
  CHECK(problem_of_rule(R"("role": "", "actions": ["join"], "pattern": "b")") ==
        "line 1: the role is empty; \"*\" is everyone");
  CHECK(problem("[{\"role\": \"a\", \"actions\": [\"join\"], \"pattern\": \"b\"},\n"
                "{\"role\": \"a\", \"actions\": [\"join\"], \"pattern\": \"{usr}\"}]") ==
        "line 2: \"{usr}\" in the pattern is not known; there are {user} and {tenant}");
  for (const char* rule : {"7", "\"a\"", "[]", "null"}) {
    CHECK_THAT(problem(std::string("[") + rule + "]"), StartsWith("line 1: a rule must be an object such as "));
  }
  for (const char* file : {"{}", "\"a\"", "7", "null"}) {
    CHECK(problem(file) == "line 1: the file must be an array of rules");
  }
  CHECK(problem("[]") == "line 1: there are no rules, so that nobody may do anything");
}

TEST_CASE("what is no JSON is named with its line", "[roles]") {
  CHECK_THAT(problem(""), StartsWith("line 1: "));
  CHECK_THAT(problem("[\n{\"role\": \"a\",}]"), StartsWith("line 2: "));
  CHECK_THAT(problem("[{\"role\": \"\xff\"}]"), StartsWith("line 1: "));
  CHECK_THAT(problem(std::string(100000, '[')), StartsWith("line 1: "));
}

TEST_CASE("a roles file that cannot be read is named", "[roles]") {
  for (const auto& file : {std::filesystem::path("/no/such/file"), std::filesystem::temp_directory_path()}) {
    auto read = read_roles_file(file);
    REQUIRE(std::holds_alternative<FileProblem>(read));
    CHECK(std::get<FileProblem>(read).sentence == file.string() + " cannot be read");
  }
}
