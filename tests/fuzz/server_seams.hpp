// Who may come in and what they may do of a fuzzed server: answered at once, or when the input says so.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "muster/authenticator.hpp"
#include "muster/authorizer.hpp"
#include "muster/function.hpp"

namespace muster::fuzz {

/// What the embedder's seams are asked, and when they answer.
struct Seams {
  bool late = false;  ///< not before they are told to
  std::deque<Function<void(bool)>> asked;

  /// The oldest question; false: there is none.
  bool answer(bool yes) {
    if (asked.empty()) return false;
    auto question = std::move(asked.front());
    asked.pop_front();
    question(yes);
    return true;
  }
};

/// Tokens are "token-" and the user.
class FuzzAuthenticator final : public Authenticator {
 public:
  explicit FuzzAuthenticator(std::shared_ptr<Seams> seams) : seams_(std::move(seams)) {}
  void authenticate(const Credentials& credentials, Reply<Authentication> done) override {
    const std::string& token = credentials.token;
    const bool known = token.rfind("token-", 0) == 0 && token.size() > 6 && token.size() < 20;
    Function<void(bool)> answer = [done, known, user = known ? token.substr(6) : std::string()](bool yes) {
      done(known && yes ? accept(user) : reject());
    };
    if (!seams_->late) return answer(true);
    if (seams_->asked.size() < 64) seams_->asked.push_back(std::move(answer));
  }

 private:
  const std::shared_ptr<Seams> seams_;
};

/// Rooms whose names begin with x are nobody's.
class FuzzAuthorizer final : public Authorizer {
 public:
  explicit FuzzAuthorizer(std::shared_ptr<Seams> seams) : seams_(std::move(seams)) {}
  void authorize(const Access& access, Reply<Permission> done) override {
    const bool known = access.target.rfind('x', 0) != 0;
    Function<void(bool)> answer = [done, known](bool yes) {
      done(known && yes ? Permission::allow() : Permission::deny());
    };
    if (!seams_->late) return answer(true);
    if (seams_->asked.size() < 64) seams_->asked.push_back(std::move(answer));
  }

 private:
  const std::shared_ptr<Seams> seams_;
};

}  // namespace muster::fuzz
