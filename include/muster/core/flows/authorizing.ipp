// Questions to the authorizer.
#pragma once

#include <chrono>
#include <utility>

#include "muster/core/flows/authorizing.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE void Authorizing::ask(ConnectionState& connection, std::shared_ptr<const Identity> identity,
                                    Action action, std::string target,
                                    Function<void(ConnectionState&, Permission)> then) {
  questions_.ask<Permission>(
      connection,
      [&](Reply<Permission> reply) {
        authorizer_.authorize({connection.id_, std::move(identity), action, std::move(target)}, std::move(reply));
      },
      std::move(then), Permission::late("The authorisation service did not answer in time"));
}

MUSTER_INLINE void Authorizing::demand(ConnectionState& connection, Action action, std::string target,
                                       Correlation correlation, Function<void(ConnectionState&)> then) {
  ask(connection, connection.identity_, action, std::move(target),
      [this, correlation = std::move(correlation), then = std::move(then)](ConnectionState& asker,
                                                                           Permission answer) mutable {
        if (answer) {
          then(asker);
          return;
        }
        if (answer.unavailable()) {
          writer_.tell_error(asker, &correlation, {errc::unavailable, answer.message(), std::chrono::seconds(1)});
          return;
        }
        writer_.tell_error(asker, &correlation, {errc::permission_denied, answer.message(), {}});
        if (options_.close_on_permission_denied) ending_.end(asker, CloseReason::permission_denied, {});
      });
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
