// AllowAnonymous: lets everyone in, each connection as a user of its own. For demonstrations.
#pragma once

#include "muster/authenticator.hpp"
#include "muster/config.hpp"
#include "muster/reply.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Accepts every connection, token or none, as user "anonymous-<connection id>" of the default tenant, without roles
/// and without end. A token is not looked at. Nobody comes back as the same user, so sessions do not resume.
class AllowAnonymous final : public Authenticator {
 public:
  void authenticate(const Credentials& credentials, Reply<Authentication> done) override {
    Identity identity;
    identity.user = "anonymous-" + to_string(credentials.connection);
    identity.returns = false;
    done(accept(std::move(identity)));
  }
  [[nodiscard]] bool needs_token() const noexcept override { return false; }
};

}  // namespace MUSTER_ABI
}  // namespace muster
