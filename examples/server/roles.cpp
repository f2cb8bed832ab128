#include "roles.hpp"

#include <set>
#include <stdexcept>
#include <string>
#include <utility>

namespace muster_server {
namespace {

/// As TokensHandler: takes the file as the reader comes to it.
class RolesHandler : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, RolesHandler> {
 public:
  // Anything without its own function below: null and booleans.
  bool Default() { return wrong_value(); }
  bool RawNumber(const char*, rapidjson::SizeType, bool) { return wrong_value(); }

  bool StartArray() {
    if (place_ == Place::start) {
      place_ = Place::rules;
      return true;
    }
    if (place_ != Place::members || member_ != "actions") return wrong_value();
    place_ = Place::actions;
    return true;
  }

  bool EndArray(rapidjson::SizeType) {
    if (place_ == Place::rules) return !rules_.empty() || fail("there are no rules, so that nobody may do anything");
    place_ = Place::members;
    return true;
  }

  bool StartObject() {
    if (place_ != Place::rules) return wrong_value();
    place_ = Place::members;
    rule_ = {};
    given_.clear();
    return true;
  }

  bool Key(const char* text, rapidjson::SizeType size, bool) {
    member_.assign(text, size);
    if (member_ != "role" && member_ != "actions" && member_ != "pattern") {
      return fail("unknown member \"" + member_ + "\"; known are role, actions and pattern");
    }
    return given_.insert(member_).second || fail("member \"" + member_ + "\" is there twice");
  }

  bool String(const char* text, rapidjson::SizeType size, bool) {
    std::string value(text, size);
    if (place_ == Place::actions) return take_action(value);
    if (place_ != Place::members || member_ == "actions") return wrong_value();
    (member_ == "role" ? rule_.role : rule_.pattern) = std::move(value);
    return true;
  }

  bool EndObject(rapidjson::SizeType) {
    for (const char* member : {"role", "actions", "pattern"}) {
      if (given_.count(member) == 0) return fail(std::string("member \"") + member + "\" is missing");
    }
    try {
      const muster::RoleAuthorizer only_this({rule_});
    } catch (const std::invalid_argument& error) {
      const std::string problem = error.what();
      return fail(problem.substr(problem.find(": ") + 2));  // the line says more than the number of the rule
    }
    rules_.push_back(std::move(rule_));
    place_ = Place::rules;
    return true;
  }

  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] Rules take() { return std::move(rules_); }

 private:
  enum class Place { start, rules, members, actions };

  bool fail(std::string sentence) {
    problem_ = std::move(sentence);
    return false;
  }

  bool take_action(const std::string& name) {
    std::string known;
    for (const muster::Action action : muster::every_action()) {
      if (name == to_string(action) || name == "*") {
        rule_.actions.push_back(action);
        if (name != "*") return true;
      }
      known.append(known.empty() ? "" : ", ").append(to_string(action));
    }
    return name == "*" || fail("unknown action \"" + name + "\"; known are " + known + ", and * for all of them");
  }

  bool wrong_value() {
    switch (place_) {
      case Place::start:
        return fail("the file must be an array of rules");
      case Place::rules:
        return fail(R"(a rule must be an object such as {"role": "*", "actions": ["join"], "pattern": "lobby"})");
      case Place::members:
        if (member_ != "actions") return fail("\"" + member_ + "\" must be a string");
        [[fallthrough]];
      case Place::actions:
        break;
    }
    return fail("\"actions\" must be an array of strings");
  }

  Place place_ = Place::start;
  Rules rules_;
  muster::RoleRule rule_;
  std::string member_;
  std::set<std::string> given_;
  std::string problem_;
};

}  // namespace

std::variant<Rules, FileProblem> parse_roles(std::string_view json) {
  RolesHandler handler;
  if (std::string problem = read_json(json, handler); !problem.empty()) return FileProblem{std::move(problem)};
  return handler.take();
}

std::variant<Rules, FileProblem> read_roles_file(const std::filesystem::path& file) {
  return read_file(file, &parse_roles);
}

}  // namespace muster_server
