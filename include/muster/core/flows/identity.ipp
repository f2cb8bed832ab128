// Who a connection is: by its first message, again before its credentials end, and never after they were revoked.
#pragma once

#include <algorithm>

#include "muster/core/outward/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {

MUSTER_INLINE void ConnectionManager::ask_identity(ConnectionState& connection, std::string token,
                                                   Function<void(ConnectionState&, Authentication)> then) {
  connection.credentials.token = std::move(token);
  connection.credentials.source = TokenSource::message;
  questions_.ask<Authentication>(
      connection,
      [&](Reply<Authentication> reply) { authenticator_->authenticate(connection.credentials, std::move(reply)); },
      [then = std::move(then)](ConnectionState& asker, Authentication answer) mutable {
        asker.credentials.token.clear();
        then(asker, std::move(answer));
      },
      Error{errc::unavailable, "The authentication service did not answer in time",
            entropy_.within(options_.reconnect_window)});
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Authenticate& authenticate) {
  if (connection.live()) {
    authenticate_again(connection, correlation, std::move(authenticate.token));
  } else {
    authenticate_first(connection, correlation, std::move(authenticate.token), true, nullptr);
  }
}

MUSTER_INLINE void ConnectionManager::authenticate_first(ConnectionState& connection, const Correlation& correlation,
                                                         std::string token, bool tell_result,
                                                         Function<void(ConnectionState&)> then) {
  if (token.empty() && authenticator_->needs_token()) {
    writer_.tell_error(connection, &correlation, {errc::auth_required, "The first message needs a token", {}});
    ending_.end(connection, CloseReason::auth_required, {});
    return;
  }
  if (options_.auth_mode == AuthMode::upgrade_only) {
    writer_.tell_error(connection, &correlation, {errc::auth_required, "The token must come with the upgrade", {}});
    ending_.end(connection, CloseReason::auth_required, {});
    return;
  }
  ask_identity(
      connection, std::move(token),
      [this, correlation, tell_result, then = std::move(then)](ConnectionState& asker, Authentication answer) mutable {
        std::optional<Error> error = answer ? establish(asker, std::move(answer.value())) : answer.error();
        if (error) {
          const CloseReason reason = core::reason_of(*error);
          admission_.refused(RefusedFor::auth, asker.remote_address(),
                             core::without(error->message, asker.credentials.token), asker.loop->executor->now());
          event::AuthResult result;
          result.error = error->message;
          writer_.tell(asker, result, &correlation);
          ending_.end(asker, reason, {});
          return;
        }
        if (tell_result) {
          event::AuthResult result;
          const auto identity = asker.identity_;
          result.identity = identity.get();
          writer_.tell(asker, result, &correlation);
        }
        welcome(asker, std::move(then));
      });
}

/// New credentials of the same user: they take the place of the old ones whole, once every room is authorised with
/// them, or not at all.
struct ConnectionManager::Renewal : Steps {
  Correlation correlation;
  std::shared_ptr<const Identity> identity;
  std::vector<std::string> rooms;
};

MUSTER_INLINE void ConnectionManager::authenticate_again(ConnectionState& connection, const Correlation& correlation,
                                                         std::string token) {
  ask_identity(connection, std::move(token), [this, correlation](ConnectionState& asker, Authentication answer) {
    const auto refuse = [&](std::string_view why, CloseReason reason = CloseReason::auth_failed) {
      event::AuthResult result;
      result.error = why;
      writer_.tell(asker, result, &correlation);
      ending_.end(asker, reason, {});
    };
    if (!answer) {
      Error error = answer.error();
      const CloseReason reason = core::reason_of(error);
      if (error.error_code() == condition::try_again_later) {
        writer_.tell_error(asker, &correlation, std::move(error));  // the old ones hold
      } else {
        refuse(error.message, reason);
      }
      return;
    }
    const Identity& renewed = answer.value();
    if (renewed.user != asker.identity_->user || renewed.tenant != asker.identity_->tenant) {
      refuse("The credentials belong to another user; connect again to change users");
      return;
    }
    if (renewed.expires_at && *renewed.expires_at <= asker.loop->executor->wall_now()) {
      refuse("The token has expired");
      return;
    }
    const auto renewal = std::make_shared<Renewal>();
    renewal->correlation = correlation;
    renewal->identity = std::make_shared<const Identity>(std::move(answer.value()));
    renewal->rooms = asker.room_names();
    one_after_another(asker, renewal, &ConnectionManager::renew_identity);
  });
}

MUSTER_INLINE void ConnectionManager::renew_identity(ConnectionState& connection,
                                                     const std::shared_ptr<Renewal>& renewal) {
  if (renewal->rooms.empty()) {
    connection.identity_ = renewal->identity;
    directory_.publish(connection);
    watch_expiry(connection);
    event::AuthResult result;
    result.identity = renewal->identity.get();
    writer_.tell(connection, result, &renewal->correlation);
    return;
  }
  std::string room = std::move(renewal->rooms.back());
  renewal->rooms.pop_back();
  questions_.ask<Permission>(
      connection,
      [&](Reply<Permission> reply) {
        authorizer_->authorize({connection.id_, renewal->identity, Action::join, room}, std::move(reply));
      },
      [this, renewal, room](ConnectionState& asker, const Permission& answer) {
        if (answer) {
          one_after_another(asker, renewal, &ConnectionManager::renew_identity);
        } else if (answer.unavailable()) {
          writer_.tell_error(asker, &renewal->correlation,
                             {errc::unavailable, answer.message(), std::chrono::seconds(1)});
        } else {
          writer_.tell_error(
              asker, &renewal->correlation,
              {errc::permission_denied,
               "The new credentials do not allow room " + room + ", so the old ones stay: " + answer.message(),
               {}});
        }
      },
      Permission::late("The authorisation service did not answer in time"));
}

MUSTER_INLINE void ConnectionManager::watch_expiry(ConnectionState& connection) {
  connection.reauth_told = false;
  connection.expiry_timer.cancel();
  if (connection.identity_->expires_at) {
    connection.loop->arm(connection.expiry_timer, connection.loop->executor->now());
  }
}

/// Looks what is due of the calendar's times, and comes back for the rest: once a day at least, since clocks are set.
MUSTER_INLINE void ConnectionManager::on_expiry(ConnectionState& connection) {
  if (!connection.live() || !connection.identity_->expires_at) return;
  const ConnectionPtr keep = connection.shared_from_this();
  Loop& loop = *connection.loop;
  const WallTime expires_at = *connection.identity_->expires_at;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(expires_at - loop.executor->wall_now());
  if (!connection.reauth_told && left <= options_.reauth_lead) {
    connection.reauth_told = true;
    std::string frame;
    core::encode_event(loop, loop.formats[connection.format], event::ReauthRequired{expires_at, options_.reauth_grace},
                       nullptr, frame);
    connection.outbox.append_control(std::move(frame), loop.executor->now());
    writer_.mark_dirty(connection);
  }
  const auto due = connection.reauth_told ? left + options_.reauth_grace : left - options_.reauth_lead;
  if (due <= std::chrono::milliseconds(0)) {
    ending_.end(connection, CloseReason::auth_required, "The credentials have expired");
    return;
  }
  const auto wait = std::min<std::chrono::milliseconds>(due, std::chrono::hours(24));
  loop.arm(connection.expiry_timer, loop.executor->now() + wait);
}

MUSTER_INLINE std::size_t ConnectionManager::revoke(const UserKey& user) {
  std::size_t revoked = 0;
  for (const ConnectionPtr& connection : users_.of(user)) {
    revoked += ending_.remove(connection->id_, CloseReason::revoked, {}) ? 1 : 0;
  }
  sessions_.end_graces([user](const core::Grace& grace) { return grace.user == user; }, true);
  sessions_.revoke_stored({user.tenant, user.user});
  return revoked;
}
MUSTER_INLINE std::size_t ConnectionManager::revoke_tenant(std::string_view tenant) {
  std::size_t revoked = 0;
  for (const ConnectionPtr& connection : users_.of_tenant(tenant)) {
    revoked += ending_.remove(connection->id_, CloseReason::revoked, {}) ? 1 : 0;
  }
  sessions_.end_graces([tenant = std::string(tenant)](const core::Grace& grace) { return grace.user.tenant == tenant; },
                       true);
  sessions_.revoke_stored({std::string(tenant)});
  return revoked;
}

MUSTER_INLINE std::size_t ConnectionManager::revoke(ConnectionId id) {
  const std::size_t revoked = ending_.remove(id, CloseReason::revoked, {}) ? 1 : 0;
  sessions_.end_graces([id](const core::Grace& grace) { return grace.member == id; }, true);
  sessions_.revoke_stored({{}, {}, to_string(id)});
  return revoked;
}

}  // namespace MUSTER_ABI
}  // namespace muster
