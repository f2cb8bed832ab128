// StaticTokenAuthenticator: a fixed table of tokens, for small installations, tools and tests.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>

#include "muster/authenticator.hpp"
#include "muster/config.hpp"
#include "muster/reply.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Accepts the tokens of its table, answers inside the call, and never changes: threads need no lock. It has no clock:
/// an identity that has expired is accepted as what it is, and the core refuses it. The empty token is nobody's, even
/// if it is in the table. Tokens should be long and random: looking one up takes a time that depends on it.
class StaticTokenAuthenticator final : public Authenticator {
 public:
  using Tokens = std::unordered_map<std::string, Identity>;

  explicit StaticTokenAuthenticator(Tokens tokens) : tokens_(std::move(tokens)) { tokens_.erase(std::string()); }

  void authenticate(const Credentials& credentials, Reply<Authentication> done) override {
    const auto found = tokens_.find(credentials.token);
    done(found == tokens_.end() ? reject() : accept(found->second));
  }

 private:
  Tokens tokens_;
};

}  // namespace MUSTER_ABI
}  // namespace muster
