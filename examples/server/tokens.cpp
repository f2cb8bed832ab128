#include "tokens.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <system_error>
#include <utility>

namespace muster_server {
namespace {

/// Takes the file as the reader comes to it, so that a problem knows its line. Answering false stops the reader.
class TokensHandler : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, TokensHandler> {
 public:
  // Anything without its own function below: null and booleans.
  bool Default() { return wrong_value(); }

  bool StartObject() {
    if (place_ == Place::start) {
      place_ = Place::tokens;
      return true;
    }
    if (place_ != Place::identity) return place_ == Place::tokens ? fail("must be an object") : wrong_value();
    place_ = Place::members;
    identity_ = {};
    given_.clear();
    return true;
  }

  bool Key(const char* text, rapidjson::SizeType size, bool) {
    std::string name(text, size);
    if (place_ == Place::tokens) {
      if (name.empty()) return fail("a token must not be empty");
      if (tokens_.count(name) != 0) return fail("this token is there twice");
      token_ = std::move(name);
      place_ = Place::identity;
      return true;
    }
    if (name != "user" && name != "tenant" && name != "roles" && name != "expires_at") {
      return fail("unknown member \"" + name + "\"; known are user, tenant, roles and expires_at");
    }
    if (!given_.insert(name).second) return fail("member \"" + name + "\" is there twice");
    member_ = std::move(name);
    return true;
  }

  bool String(const char* text, rapidjson::SizeType size, bool) {
    std::string value(text, size);
    if (place_ == Place::roles) {
      identity_.roles.push_back(std::move(value));
      return true;
    }
    if (place_ != Place::members || (member_ != "user" && member_ != "tenant")) return wrong_value();
    if (member_ == "user" && value.empty()) return fail("\"user\" must not be empty");
    (member_ == "user" ? identity_.user : identity_.tenant) = std::move(value);
    return true;
  }

  bool RawNumber(const char* text, rapidjson::SizeType size, bool) {
    if (place_ != Place::members || member_ != "expires_at") return wrong_value();
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text, text + size, value);
    if (end != text + size) return wrong_value();
    // The year 9999; a file in microseconds by mistake is beyond it.
    if (error != std::errc() || value > 253'402'300'799'999) {
      return fail("\"expires_at\" must be in milliseconds since 1970-01-01");
    }
    // Until 1973; a file in seconds by mistake is before it until the year 5138, and its tokens would never be good.
    if (value < 100'000'000'000) {
      return fail("\"expires_at\" must be in milliseconds since 1970-01-01, and this looks like seconds");
    }
    // Beyond 2255 it is 2255: as good as forever, and arithmetic with it does not overflow.
    constexpr std::uint64_t most = 9'000'000'000'000;
    const auto milliseconds = std::chrono::milliseconds(static_cast<std::int64_t>(std::min(value, most)));
    identity_.expires_at = muster::WallTime(milliseconds);
    return true;
  }

  bool StartArray() {
    if (place_ != Place::members || member_ != "roles") return wrong_value();
    place_ = Place::roles;
    return true;
  }
  bool EndArray(rapidjson::SizeType) {
    place_ = Place::members;
    return true;
  }

  bool EndObject(rapidjson::SizeType) {
    if (place_ == Place::tokens) return tokens_.empty() ? fail("there are no tokens") : true;
    if (identity_.user.empty()) return fail("member \"user\" is missing");
    tokens_.emplace(std::move(token_), std::move(identity_));
    place_ = Place::tokens;
    return true;
  }

  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] Tokens take() { return std::move(tokens_); }

 private:
  enum class Place { start, tokens, identity, members, roles };

  bool fail(std::string sentence) {
    problem_ = std::move(sentence);
    return false;
  }

  bool wrong_value() {
    switch (place_) {
      case Place::start:
        return fail("the file must be an object from token to {\"user\": ...}");
      case Place::roles:
        return fail("\"roles\" must be an array of strings");
      case Place::members:
        break;
      default:
        return fail("a token's value must be an object such as {\"user\": \"ann\"}");
    }
    if (member_ == "roles") return fail("\"roles\" must be an array of strings");
    if (member_ == "expires_at") return fail("\"expires_at\" must be a whole number of milliseconds since 1970-01-01");
    return fail("\"" + member_ + "\" must be a string");
  }

  Place place_ = Place::start;
  Tokens tokens_;
  std::string token_;
  muster::Identity identity_;
  std::string member_;
  std::set<std::string> given_;
  std::string problem_;
};

}  // namespace

std::variant<Tokens, FileProblem> parse_tokens(std::string_view json) {
  TokensHandler handler;
  if (std::string problem = read_json(json, handler); !problem.empty()) return FileProblem{std::move(problem)};
  return handler.take();
}

std::variant<Tokens, FileProblem> read_tokens_file(const std::filesystem::path& file) {
  return read_file(file, &parse_tokens);
}

}  // namespace muster_server
