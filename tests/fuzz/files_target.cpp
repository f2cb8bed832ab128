// The files an operator writes for muster_server: tokens and roles.

#include "fuzz/fuzz.hpp"
#include "muster/auth/role_authorizer.hpp"
#include "server/roles.hpp"
#include "server/tokens.hpp"
#include "support/json_check.hpp"

namespace muster::fuzz {
namespace {

using muster_server::FileProblem;

/// A sentence with the line, that a terminal and a log can show.
void check_problem(const FileProblem& problem, std::string_view file) {
  must(problem.sentence.substr(0, 5) == "line ", "a problem names its line");
  const auto line = std::stoul(problem.sentence.substr(5));
  must(line >= 1 && line <= 1 + static_cast<std::size_t>(std::count(file.begin(), file.end(), '\n')),
       "and it is one of the file");
  must(problem.sentence.find(": ") + 2 < problem.sentence.size(), "and it says what");
}

void check_json(std::string_view file) {
  constexpr std::string_view mark = "\xef\xbb\xbf";  // as some editors begin a file
  must(test::is_json(file.substr(0, mark.size()) == mark ? file.substr(mark.size()) : file),
       "a file that is taken is JSON");
}

bool is_utf8(std::string text) {
  for (char& c : text) {
    if (c == '"' || c == '\\' || (c >= 0 && c < ' ')) c = ' ';
  }
  return test::is_json("\"" + text + "\"");
}

void check_tokens(std::string_view file) {
  const auto parsed = muster_server::parse_tokens(file);
  if (const auto* problem = std::get_if<FileProblem>(&parsed)) return check_problem(*problem, file);
  check_json(file);
  const auto& tokens = std::get<muster_server::Tokens>(parsed);
  must(!tokens.empty(), "somebody is let in");
  for (const auto& [token, identity] : tokens) {
    must(!token.empty() && !identity.user.empty(), "a token lets a user in");
    for (const std::string* text : {&token, &identity.user, &identity.tenant}) {
      must(is_utf8(*text), "names are UTF-8");
    }
    must(!identity.expires_at || identity.expires_at->time_since_epoch().count() >= 0, "an expiry is behind 1970");
  }
}

void check_roles(std::string_view file) {
  const auto parsed = muster_server::parse_roles(file);
  if (const auto* problem = std::get_if<FileProblem>(&parsed)) return check_problem(*problem, file);
  check_json(file);
  const auto& rules = std::get<muster_server::Rules>(parsed);
  must(!rules.empty(), "somebody may do something");
  RoleAuthorizer authorizer(rules);
  const auto identity = std::make_shared<Identity>();
  identity->user = "ann:b*";
  identity->roles = {"editor", "*", rules.back().role};
  for (const std::string& target :
       {std::string("canvas:1"), rules.front().pattern, std::string(100, 'a'), std::string()}) {
    int answers = 0;
    authorizer.authorize({ConnectionId(1), identity, Action::publish, target},
                         Reply<Permission>([&answers](const Permission&) { ++answers; }));
    must(answers == 1, "a question has one answer");
  }
}

}  // namespace

void run(std::string_view input) {
  Choices choices(input.substr(0, 64 * 1024));
  const bool roles = choices.below(2) != 0;
  const Alone file(choices.rest());
  roles ? check_roles(file.view()) : check_tokens(file.view());
}

std::vector<std::string> seeds() {
  const auto tokens = [](std::string_view file) { return std::string(1, '\0').append(file); };
  const auto roles = [](std::string_view file) { return std::string(1, '\1').append(file); };
  return {
      tokens(R"({"ann-secret": {"user": "ann"}})"),
      tokens("{\n\"t\": {\"user\": \"b\\u00f6b\", \"tenant\": \"acme\", \"roles\": [\"editor\", "
             "\"viewer\"],\n\"expires_at\": 1790000000000}}\n"),
      tokens("\xef\xbb\xbf{\"t\": {\"user\": \"\\ud83d\\ude00\"}, \"s\": {\"user\": \"u\", \"expires_at\": 1.5e-3}}"),
      tokens("{\"t\": {\"user\": \"a\"}, \"t\": {\"user\": \"b\"}}"),
      tokens("[]"),
      roles(R"([{"role": "editor", "actions": ["join", "publish"], "pattern": "canvas:*"}])"),
      roles("[{\"role\": \"*\", \"actions\": [\"*\"], \"pattern\": \"user:{user}\"},\n{\"pattern\": \"{tenant}/*-b\", "
            "\"role\": \"r\", \"actions\": [\"custom\"]}]"),
      roles(R"([{"role": "a", "actions": ["query", "send", "awareness"], "pattern": "**a*"}])"),
      roles(R"([{"role": "", "actions": [], "pattern": "{"}])"),
  };
}

}  // namespace muster::fuzz
