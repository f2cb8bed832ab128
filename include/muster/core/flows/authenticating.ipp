// The first credentials, and those that take their place.
#pragma once

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "muster/core/delivery/encode.hpp"
#include "muster/core/flows/authenticating.hpp"
#include "muster/core/outward/one_after_another.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Who has shown a certificate is known no longer than that holds. Whether it does no more.
[[nodiscard]] inline bool end_with_certificate(Identity& identity, const Credentials& credentials, WallTime now) {
  if (!credentials.client_certificate) return false;
  const WallTime end = credentials.client_certificate->expires_at;
  if (end != WallTime::max() && (!identity.expires_at || *identity.expires_at > end)) identity.expires_at = end;
  return end <= now;
}

MUSTER_INLINE void Authenticating::show_upgrade(const ConnectionState& connection, Credentials& to) const {
  std::vector<std::string> upgrade = connection.upgrade.unpack();
  const std::size_t certificate =
      upgrade_begins + options_.credential_headers.size() + options_.credential_cookies.size();
  to.client_certificate = unpacked(upgrade, certificate);
  upgrade.resize(certificate);
  auto next = upgrade.begin() + 1;  // behind the address
  to.path = std::move(*next++);
  to.query = std::move(*next++);
  to.origin = std::move(*next++);
  const auto show = [&](const std::vector<std::string>& names,
                        std::vector<std::pair<std::string, std::string>>& shown) {
    shown.clear();
    for (const std::string& name : names) {
      if (std::string value = std::move(*next++); !value.empty()) shown.emplace_back(name, std::move(value));
    }
  };
  show(options_.credential_headers, to.headers);
  show(options_.credential_cookies, to.cookies);
}

MUSTER_INLINE void Authenticating::ask(ConnectionState& connection, std::string token, TokenSource source,
                                       Function<void(ConnectionState&, Authentication)> then) {
  if (!connection.arrival) connection.arrival = std::make_unique<Arrival>();
  Credentials& credentials = connection.arrival->credentials;
  credentials.token = std::move(token);
  credentials.source = source;
  credentials.connection = connection.id_;
  credentials.remote_address = connection.remote_address();
  if (!connection.upgrade.empty()) show_upgrade(connection, credentials);
  if (credentials.path.empty()) credentials.path = connection.loop->formats[connection.format].protocol->path();
  questions_.ask<Authentication>(
      connection, [&](Reply<Authentication> reply) { authenticator_.authenticate(credentials, std::move(reply)); },
      std::move(then),
      Error{errc::unavailable, "The authentication service did not answer in time",
            entropy_.within(options_.reconnect_window)});
}

/// Puts an authenticated connection into the tables.
MUSTER_INLINE std::optional<Error> Authenticating::establish(ConnectionState& connection, Identity identity) {
  const WallTime wall = connection.loop->executor->wall_now();
  if (identity.user.empty()) {
    failures_.log(LogLevel::error, "The authenticator accepted a connection without naming a user");
    return Error{errc::internal, "The identity has no user", {}};
  }
  if (end_with_certificate(identity, connection.arrival->credentials, wall)) {
    return Error{errc::auth_failed, "The client certificate has expired", {}};
  }
  if (identity.expires_at && *identity.expires_at <= wall) {
    return Error{errc::auth_failed, "The token has expired", {}};
  }
  if (identity.profile.view().size() > options_.profile_bytes && options_.profile_bytes != 0) {
    failures_.log(LogLevel::warning, "An identity's profile is beyond profile_bytes, and is not shown");
    identity.profile = {};
  }
  const UserKey key{identity.tenant, identity.user};
  auto known = std::make_shared<const Identity>(std::move(identity));
  const ConnectionPtr ghost = directory_.ghost_of(connection, key);
  if (connection.lent && !ghost) {
    return Error{errc::unavailable, "The server has no free connection", entropy_.within(options_.reconnect_window)};
  }
  ConnectionPtr yields;
  if (!users_.add(key, connection.shared_from_this(), options_.max_connections_per_user,
                  options_.user_limit_policy == UserLimitPolicy::close_oldest, ghost, yields, connection.on_trial)) {
    return too_many_of_user(entropy_.within(options_.reconnect_window));
  }
  const ConnectionStatus before = connection.status_;
  connection.identity_ = std::move(known);  // nobody else reads it before it is published
  connection.status_ = ConnectionStatus::connected;
  connection.connected_at = wall;
  try {
    directory_.publish(connection);
    if (yields && yields != ghost) (void)ending_.remove(yields->id_, CloseReason::replaced, {});
    if (ghost && (connection.lent || yields == ghost)) (void)ending_.remove(ghost->id_, CloseReason::lost, {});
  } catch (...) {
    connection.status_ = before;
    (void)users_.remove(key, connection.shared_from_this());
    throw;
  }
  connection.deadlines.cancel(Deadline::guard);
  if (connection.outbox.in_flight()) writer_.watch_write(connection);  // of what it was told before it was known
  connection.arrival->credentials.token.clear();
  ++connections_total_;
  return std::nullopt;
}

MUSTER_INLINE void Authenticating::welcome(ConnectionState& connection, Function<void(ConnectionState&)> then) {
  const Identity& identity = *connection.identity_;
  event::ConnectionAck ack;
  ack.connection = connection.id_;
  ack.user = identity.user;
  ack.tenant = identity.tenant;
  ack.heartbeat = options_.heartbeat;
  const std::string token = sessions_.open(connection);
  ack.resume_token = token;
  ack.resume_ttl = options_.resume_window;
  writer_.tell(connection, ack);
  watch_expiry(connection);
  heartbeats_.begin(connection);
  const UserKey user = user_of(connection);
  connection.greeted = true;
  bool well = hooks_.connected(connection);
  well = edges_.tell(*connection.loop, user, users_.first_edge(user)) && well;
  if (!well) writer_.end_soon(connection, CloseReason::internal_error);
  // Its seats come before all else that it is told; of one that comes back for a session, behind that.
  if (connection.on_trial) return queues_.deliver(connection, std::move(then));
  seating_.then(connection, [this, then = std::move(then)](ConnectionState& seated) mutable {
    queues_.deliver(seated, std::move(then));
  });
}

MUSTER_INLINE void Authenticating::first(ConnectionState& connection, const Correlation& correlation, std::string token,
                                         bool tell_result, Function<void(ConnectionState&)> then) {
  if (token.empty() && authenticator_.needs_token()) {
    writer_.tell_error(connection, &correlation, {errc::auth_required, "The first message needs a token", {}});
    ending_.end(connection, CloseReason::auth_required, {});
    return;
  }
  if (options_.auth_mode == AuthMode::upgrade_only) {
    writer_.tell_error(connection, &correlation, {errc::auth_required, "The token must come with the upgrade", {}});
    ending_.end(connection, CloseReason::auth_required, {});
    return;
  }
  ask(connection, std::move(token), TokenSource::message,
      [this, correlation, tell_result, then = std::move(then)](ConnectionState& asker, Authentication answer) mutable {
        std::optional<Error> error = answer ? establish(asker, std::move(answer.value())) : answer.error();
        if (error) {
          const CloseReason reason = reason_of(*error);
          admission_.refused(RefusedFor::auth, asker.remote_address(),
                             without(error->message, asker.arrival->credentials.token), asker.loop->executor->now());
          asker.arrival->credentials.token.clear();
          event::AuthResult result;
          result.error = error->message;
          writer_.tell(asker, result, &correlation);
          ending_.end(asker, reason, {});
          return;
        }
        asker.arrival.reset();
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
struct Authenticating::Renewal : Steps {
  Correlation correlation;
  std::shared_ptr<const Identity> identity;
  std::vector<std::string> rooms;
};

MUSTER_INLINE void Authenticating::again(ConnectionState& connection, const Correlation& correlation,
                                         std::string token) {
  ask(connection, std::move(token), TokenSource::message,
      [this, correlation](ConnectionState& asker, Authentication answer) {
        const WallTime now = asker.loop->executor->wall_now();
        const bool certified = !answer || !end_with_certificate(answer.value(), asker.arrival->credentials, now);
        asker.arrival.reset();
        const auto refuse = [&](std::string_view why, CloseReason reason = CloseReason::auth_failed) {
          event::AuthResult result;
          result.error = why;
          writer_.tell(asker, result, &correlation);
          ending_.end(asker, reason, {});
        };
        if (!answer) {
          Error error = answer.error();
          const CloseReason reason = reason_of(error);
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
        if (!certified || (renewed.expires_at && *renewed.expires_at <= now)) {
          refuse(certified ? "The token has expired" : "The client certificate has expired");
          return;
        }
        const std::shared_ptr<Renewal> renewal(new Renewal());
        renewal->correlation = correlation;
        renewal->identity = std::make_shared<const Identity>(std::move(answer.value()));
        for (const Membership& seat : asker.memberships) {
          if (!seat.decided) renewal->rooms.push_back(seat.room->key.name);
        }
        one_after_another(renewal, [&] { renew(asker, renewal); });
      });
}

MUSTER_INLINE void Authenticating::renew(ConnectionState& connection, const std::shared_ptr<Renewal>& renewal) {
  if (renewal->rooms.empty()) {
    // What ends as before, as with its certificate, is no later for being asked for again.
    const bool told = connection.reauth_told && renewal->identity->expires_at == connection.identity_->expires_at;
    directory_.set_identity(connection, renewal->identity->profile == connection.identity_->profile
                                            ? renewal->identity
                                            : shown_as(*renewal->identity, connection.identity_->profile));
    if (connection.rare) connection.rare->permissions.clear();
    watch_expiry(connection);
    connection.reauth_told = told;
    event::AuthResult result;
    result.identity = connection.identity_.get();
    writer_.tell(connection, result, &renewal->correlation);
    return;
  }
  std::string room = std::move(renewal->rooms.back());
  renewal->rooms.pop_back();
  authorizing_.ask(connection, renewal->identity, Action::join, room,
                   [this, renewal, room](ConnectionState& asker, const Permission& answer) {
                     if (answer) {
                       one_after_another(renewal, [&] { renew(asker, renewal); });
                     } else if (answer.unavailable()) {
                       writer_.tell_error(asker, &renewal->correlation,
                                          {errc::unavailable, answer.message(), std::chrono::seconds(1)});
                     } else {
                       writer_.tell_error(asker, &renewal->correlation,
                                          {errc::permission_denied,
                                           "The new credentials do not allow room " + room +
                                               ", so the old ones stay: " + answer.message(),
                                           {}});
                     }
                   });
}

MUSTER_INLINE void Authenticating::watch_expiry(ConnectionState& connection) {
  connection.reauth_told = false;
  connection.deadlines.cancel(Deadline::expiry);
  if (connection.identity_->expires_at) {
    connection.deadlines.arm(*connection.loop, Deadline::expiry, connection.loop->executor->now());
  }
}

/// Looks what is due of the calendar's times, and comes back for the rest: once a day at least, since clocks are set.
MUSTER_INLINE void Authenticating::on_expiry(ConnectionState& connection) {
  if (!connection.live() || !connection.identity_->expires_at) return;
  const ConnectionPtr keep = connection.shared_from_this();
  Loop& loop = *connection.loop;
  const WallTime expires_at = *connection.identity_->expires_at;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(expires_at - loop.executor->wall_now());
  if (!connection.reauth_told && left <= options_.reauth_lead) {
    connection.reauth_told = true;
    std::string frame;
    encode_event(loop, loop.formats[connection.format], event::ReauthRequired{expires_at, options_.reauth_grace},
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
  connection.deadlines.arm(loop, Deadline::expiry, loop.executor->now() + wait);
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
