// Questions to the authorizer.
#pragma once

#include <chrono>
#include <utility>

#include "muster/core/flows/authorizing.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// A question that knows what was asked: its answer may be kept.
struct Authorizing::Asks final : Questions::Asks<Permission> {
  Asks(Access about, Function<void(ConnectionState&, Permission)> with, std::size_t may_keep)
      : Questions::Asks<Permission>(std::move(with), nullptr,
                                    Permission::late("The authorisation service did not answer in time")),
        access(std::move(about)),
        limit(may_keep) {}
  void go_on(ConnectionState& connection) override {
    Permission told = take();
    if (told.holds_for().count() > 0 && access.identity == connection.identity_) {
      connection.seldom().permissions.keep(access.action, access.target, told, connection.loop->executor->now(), limit);
    }
    then(connection, std::move(told));
  }
  const Access access;
  const std::size_t limit;
};

MUSTER_INLINE void Authorizing::ask(ConnectionState& connection, std::shared_ptr<const Identity> identity,
                                    Action action, std::string target,
                                    Function<void(ConnectionState&, Permission)> then) {
  if (connection.rare && !connection.rare->permissions.empty() && identity == connection.identity_) {
    const auto* known = connection.rare->permissions.find(action, target, connection.loop->executor->now());
    if (known != nullptr) return then(connection, *known);
  }
  auto asks = std::make_shared<Asks>(Access{connection.id_, std::move(identity), action, std::move(target)},
                                     std::move(then), options_.permissions_kept);
  const Access& access = asks->access;  // which is kept while it is asked
  questions_.put<Permission>(connection, std::move(asks),
                             [&](Reply<Permission> reply) { authorizer_.authorize(access, std::move(reply)); });
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
