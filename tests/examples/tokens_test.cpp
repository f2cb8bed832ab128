// The tokens file: whom it lets in, and which line is wrong.
#include "server/tokens.hpp"

#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::ContainsSubstring;
using muster::test::StartsWith;
using muster_server::FileProblem;
using muster_server::parse_tokens;
using muster_server::read_tokens_file;
using muster_server::Tokens;

namespace {

std::string problem(std::string_view json) {
  auto parsed = parse_tokens(json);
  const auto* found = std::get_if<FileProblem>(&parsed);
  return found == nullptr ? "" : found->sentence;
}

}  // namespace

TEST_CASE("a token stands for a user, and may say tenant, roles and expiry", "[tokens]") {
  auto parsed = parse_tokens(R"({
    "ann-secret": {"user": "ann"},
    "bob-secret": {"expires_at": 1790000000123, "roles": ["editor", "viewer"], "tenant": "acme", "user": "b\u00f6b"}
  })");
  REQUIRE(std::holds_alternative<Tokens>(parsed));
  const Tokens& tokens = std::get<Tokens>(parsed);
  REQUIRE(tokens.size() == 2);
  CHECK(tokens.at("ann-secret").user == "ann");
  CHECK(tokens.at("ann-secret").tenant.empty());
  CHECK_FALSE(tokens.at("ann-secret").expires_at.has_value());
  const muster::Identity& bob = tokens.at("bob-secret");
  CHECK(bob.user ==
        "b\xc3\xb6"
        "b");
  CHECK(bob.tenant == "acme");
  CHECK(bob.roles == std::vector<std::string>{"editor", "viewer"});
  CHECK(bob.expires_at == muster::WallTime(std::chrono::milliseconds(1790000000123)));
}

TEST_CASE("what is wrong is named with its line", "[tokens]") {
  CHECK(problem("{\n\n\"t\": {\"usr\": \"ann\"}}") ==
        "line 3: unknown member \"usr\"; known are user, tenant, roles and expires_at");
  CHECK(problem("{\"t\": {\"user\": \"a\"},\n \"t\": {\"user\": \"b\"}}") == "line 2: this token is there twice");
  CHECK(problem("{\"t\": {\"user\": \"a\",\n\"user\": \"b\"}}") == "line 2: member \"user\" is there twice");
  CHECK(problem("{\"t\": {\n\"tenant\": \"a\"\n}\n}") == "line 3: member \"user\" is missing");
  CHECK(problem("{\"t\": {\"user\": \"\"}}") == "line 1: \"user\" must not be empty");
  CHECK(problem("{\"\": {\"user\": \"a\"}}") == "line 1: a token must not be empty");
  CHECK(problem("{\"t\": {\"user\": 7}}") == "line 1: \"user\" must be a string");
  CHECK(problem("{\"t\": {\"user\": {}}}") == "line 1: \"user\" must be a string");
  CHECK(problem("{\"t\": {\"user\": null}}") == "line 1: \"user\" must be a string");
  CHECK(problem("{\"t\": {\"tenant\": []}}") == "line 1: \"tenant\" must be a string");
  for (const char* roles : {"\"editor\"", "[1]", "[[]]", "[{}]", "{}", "7"}) {
    CHECK(problem(std::string("{\"t\": {\"roles\": ") + roles + "}}") ==
          "line 1: \"roles\" must be an array of strings");
  }
  for (const char* time : {"-1", "1.5", "\"2026-01-01\"", "true", "[]", "1790000000000000"}) {
    CHECK_THAT(problem(std::string("{\"t\": {\"user\": \"a\", \"expires_at\": ") + time + "}}"),
               ContainsSubstring("line 1: \"expires_at\" must be"));
  }
  for (const char* seconds : {"0", "1790000000", "99999999999"}) {
    CHECK(problem(std::string("{\"t\": {\"user\": \"a\", \"expires_at\": ") + seconds + "}}") ==
          "line 1: \"expires_at\" must be in milliseconds since 1970-01-01, and this looks like seconds");
  }
  for (const char* value : {"\"ann\"", "[]", "null", "7"}) {
    CHECK(problem(std::string("{\"t\": ") + value + "}") ==
          "line 1: a token's value must be an object such as {\"user\": \"ann\"}");
  }
  for (const char* file : {"[]", "\"t\"", "7", "null"}) {
    CHECK(problem(file) == "line 1: the file must be an object from token to {\"user\": ...}");
  }
  CHECK(problem("{}") == "line 1: there are no tokens");
}

TEST_CASE("what is not JSON is named with its line", "[tokens]") {
  CHECK_THAT(problem(""), StartsWith("line 1: "));
  CHECK_THAT(problem("{\n\"t\": {\"user\": \"a\"},\n}"), StartsWith("line 3: "));
  CHECK_THAT(problem("{\"t\": {\"user\": \"a\"}}\n}"), StartsWith("line 2: "));
  CHECK_THAT(problem("{\"t\": {\"user\": \"\xff\"}}"), StartsWith("line 1: "));
  CHECK_THAT(problem(std::string(100000, '[')), StartsWith("line 1: "));
}

TEST_CASE("a file is read to its end, and what it says is text", "[tokens]") {
  using namespace std::string_literals;
  CHECK_THAT(problem("{\"t\": {\"user\": \"a\"}}\n\0, \"s\": 1"s), StartsWith("line 2: "));
  CHECK_THAT(problem(R"({"t": {"user": "\udc00"}})"), StartsWith("line 1: "));
  CHECK_THAT(problem("{\n\"\\ud83d\\ude00\\ude00\": {\"user\": \"a\"}}"), StartsWith("line 2: "));
  CHECK(problem(R"({"t": {"user": "\ud83d\ude00\\udc00"}})").empty());
  CHECK(problem("\xef\xbb\xbf{\"t\": {\"user\": \"a\"}}").empty());
  CHECK_THAT(problem("\xef\xbb{\"t\": {\"user\": \"a\"}}"), StartsWith("line 1: "));
}

TEST_CASE("no number goes wrong on its way", "[tokens]") {
  const auto expiry = [](const std::string& number) {
    auto parsed = parse_tokens("{\"t\": {\"user\": \"a\", \"expires_at\": " + number + "}}");
    REQUIRE(std::holds_alternative<Tokens>(parsed));
    return std::get<Tokens>(parsed).at("t").expires_at.value().time_since_epoch();
  };
  CHECK(expiry("100000000000") == std::chrono::milliseconds(100'000'000'000));
  // The year 9999 is beyond what a clock in nanoseconds can tell, and must not come out as the past.
  CHECK(expiry("253402300799999") > std::chrono::hours(24 * 365 * 280));
  for (const char* number : {"1e-999999999999", "18446744073709551616", "1e3", "1E999"}) {
    CHECK_THAT(problem(std::string("{\"t\": {\"user\": \"a\", \"expires_at\": ") + number + "}}"),
               StartsWith("line 1: "));
  }
}

TEST_CASE("a problem never names the token", "[tokens]") {
  CHECK_THAT(problem("{\"very-secret\": {\"usr\": \"ann\"}}"), !ContainsSubstring("very-secret"));
  CHECK_THAT(problem("{\"very-secret\": 7}"), !ContainsSubstring("very-secret"));
}

TEST_CASE("a file that cannot be read is named", "[tokens]") {
  for (const auto& file : {std::filesystem::path("/no/such/file"), std::filesystem::temp_directory_path()}) {
    auto read = read_tokens_file(file);
    REQUIRE(std::holds_alternative<FileProblem>(read));
    CHECK_THAT(std::get<FileProblem>(read).sentence, StartsWith(file.string()));
  }
}
