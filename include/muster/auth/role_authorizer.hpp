// RoleAuthorizer: rules that say which roles may do what, and where.
#pragma once

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "muster/authorizer.hpp"
#include "muster/config.hpp"
#include "muster/reply.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Whoever has `role` may do `actions` on the targets that `pattern` matches.
struct RoleRule {
  /// As the authenticator names it; "*": everyone, with or without roles.
  std::string role;
  std::vector<Action> actions;
  /// The whole target: a room (join, publish, awareness, query), a user (send, query) or a command's type (custom).
  /// `*` stands for any text, none too; `{user}` and `{tenant}` for what the identity says; all else for itself.
  /// A rule for query is about the rooms and the users of these names.
  std::string pattern;
};

/// Every action there is.
[[nodiscard]] inline std::vector<Action> every_action() {
  return {Action::join, Action::publish, Action::send, Action::awareness, Action::query, Action::custom};
}

/// Allows what one of its rules allows, and nothing else: no rule forbids, so that their order means nothing and a rule
/// more never takes away. Joining a room allows nothing else there: who shall publish needs publish.
///
/// What a user is called opens no doors. A `*` in it is a `*`, and an empty one (the default tenant) matches nothing.
/// Neither does one with the character that divides it from a `*` or another placeholder: of `user:{user}:*` and two
/// users "a" and "a:b" nobody could say whose `user:a:b:c` is; so "a:b" has no such room. For the same reason a
/// placeholder must not stand right beside a `*` or another placeholder. Tenants are apart without any rule.
///
/// Answers inside the call, never changes, and allocates nothing to say yes: threads need no lock. A question takes a
/// time that grows with the rules for the roles that the identity has.
class RoleAuthorizer final : public Authorizer {
 public:
  /// Throws std::invalid_argument, with the number of the rule, for one that can allow nothing or that says what is
  /// not known: an empty role, no actions, an empty pattern, a brace that is not of a placeholder. Without rules nobody
  /// may do anything.
  explicit RoleAuthorizer(const std::vector<RoleRule>& rules) {
    for (std::size_t i = 0; i < rules.size(); ++i) add(rules[i], "rule " + std::to_string(i + 1) + ": ");
  }

  void authorize(const Access& access, Reply<Permission> done) override {
    bool is_allowed = allows("*", access);
    for (const std::string& role : access.identity->roles) {
      // A role that somebody is given and that is called "*" is none: it is not in the table under that name.
      if (is_allowed) break;
      is_allowed = role != "*" && allows(role, access);
    }
    done(is_allowed ? Permission::allow()
                    : Permission::deny("No role of yours allows this: " + std::string(to_string(access.action))));
  }

 private:
  /// A stretch of a pattern: text, or what the identity says.
  struct Part {
    enum class Kind { text, user, tenant } kind = Kind::text;
    std::string text;
    /// What divides a placeholder from a star or placeholder on that side; none: \0.
    char before = '\0';
    char after = '\0';

    /// What it stands for; null: nothing.
    [[nodiscard]] const std::string* value(const Identity& identity) const {
      if (kind == Kind::text) return &text;
      const std::string& name = kind == Kind::user ? identity.user : identity.tenant;
      const bool is_clear = (before == '\0' || name.find(before) == std::string::npos) &&
                            (after == '\0' || name.find(after) == std::string::npos);
      return name.empty() || !is_clear ? nullptr : &name;
    }
  };
  /// What is between two stars.
  using Piece = std::vector<Part>;

  struct Rule {
    std::bitset<8> actions;
    std::vector<Piece> pieces;  // at least one, and with each star one more
  };

  [[nodiscard]] bool allows(const std::string& role, const Access& access) const {
    const auto rules = rules_.find(role);
    return rules != rules_.end() &&
           std::any_of(rules->second.begin(), rules->second.end(), [&access](const Rule& rule) {
             return rule.actions[static_cast<std::size_t>(access.action)] &&
                    matches(rule.pieces, access.target, *access.identity);
           });
  }

  static constexpr std::size_t no_match = std::string_view::npos;

  /// The length of `piece` when `target` begins with it.
  static std::size_t length_at_start(const Piece& piece, std::string_view target, const Identity& identity) {
    std::size_t length = 0;
    for (const Part& part : piece) {
      const std::string* value = part.value(identity);
      if (value == nullptr || target.substr(length, value->size()) != *value) return no_match;
      length += value->size();
    }
    return length;
  }

  /// The first piece at the start, the last at the end, and between them each where it comes first.
  static bool matches(const std::vector<Piece>& pieces, std::string_view target, const Identity& identity) {
    const std::size_t first = length_at_start(pieces.front(), target, identity);
    if (first == no_match) return false;
    if (pieces.size() == 1) return first == target.size();
    target.remove_prefix(first);
    for (std::size_t i = 1; i + 1 < pieces.size(); ++i) {
      std::size_t length = length_at_start(pieces[i], target, identity);
      for (; length == no_match && !target.empty(); length = length_at_start(pieces[i], target, identity)) {
        target.remove_prefix(1);
      }
      if (length == no_match) return false;
      target.remove_prefix(length);
    }
    std::size_t size = 0;
    for (const Part& part : pieces.back()) {
      const std::string* value = part.value(identity);
      if (value == nullptr) return false;
      size += value->size();
    }
    return size <= target.size() &&
           length_at_start(pieces.back(), target.substr(target.size() - size), identity) == size;
  }

  void add(const RoleRule& rule, const std::string& where) {
    const auto refuse = [&where](const std::string& problem) { throw std::invalid_argument(where + problem); };
    if (rule.role.empty()) refuse("the role is empty; \"*\" is everyone");
    if (rule.actions.empty()) refuse("there are no actions, so that it allows nothing");
    if (rule.pattern.empty()) refuse("the pattern is empty; \"*\" is everything");
    Rule compiled;
    for (const Action action : rule.actions) compiled.actions.set(static_cast<std::size_t>(action));
    compiled.pieces.emplace_back();

    const std::string& pattern = rule.pattern;
    for (std::size_t at = 0; at < pattern.size();) {
      if (pattern[at] == '*') {
        compiled.pieces.emplace_back();
        ++at;
        continue;
      }
      Part part;
      std::size_t end = std::min(pattern.find_first_of("*{}", at), pattern.size());
      if (pattern[at] == '{' || pattern[at] == '}') {
        end = std::min(pattern.find('}', at), pattern.size() - 1) + 1;
        const std::string name = pattern.substr(at, end - at);
        if (name != "{user}" && name != "{tenant}") {
          refuse("\"" + name + "\" in the pattern is not known; there are {user} and {tenant}");
        }
        part.kind = name == "{user}" ? Part::Kind::user : Part::Kind::tenant;
        if (at > 0 && pattern.find_last_of("*}", at - 1) != std::string::npos) part.before = pattern[at - 1];
        if (pattern.find_first_of("*{", end) != std::string::npos) part.after = pattern[end];
        const auto divides = [](char c) { return c != '*' && c != '{' && c != '}'; };
        if (!divides(part.before) || !divides(part.after)) {
          refuse(name + " in the pattern needs something between it and what is beside it, as in \"user:{user}:*\"");
        }
      } else {
        part.text = pattern.substr(at, end - at);
      }
      compiled.pieces.back().push_back(std::move(part));
      at = end;
    }
    rules_[rule.role].push_back(std::move(compiled));
  }

  std::unordered_map<std::string, std::vector<Rule>> rules_;  // by role; the rules for everyone under "*"
};

}  // namespace MUSTER_ABI
}  // namespace muster
