// From a peer's request to a connection that is welcome: admission, authentication, the tables.
#pragma once

#include <algorithm>

#include "muster/core/outward/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// The loop's number of this pair, which it may not have had yet.
[[nodiscard]] inline std::uint8_t format_of(Loop& loop, const std::shared_ptr<const Protocol>& protocol,
                                            const std::shared_ptr<const WireFormat>& wire) {
  auto& formats = loop.formats;
  const auto same = std::find_if(formats.begin(), formats.end(), [&](const Format& format) {
    return format.protocol == protocol && format.wire->key() == wire->key();
  });
  const auto number = static_cast<std::uint8_t>(same - formats.begin());
  if (same == formats.end()) formats.push_back({protocol, wire});
  return number;
}

}  // namespace core

MUSTER_INLINE std::uint64_t ConnectionManager::open(OpenRequest request, std::shared_ptr<Transport> transport,
                                                    std::shared_ptr<Executor> executor, OpenDone done) {
  hooks_.open();
  std::shared_ptr<const Protocol> protocol;
  bool named = false;
  const auto refuse = [&](RefusedFor why, CloseReason reason, Error error) -> std::uint64_t {
    const std::string offered = why == RefusedFor::path ? ": " + request.path.substr(0, 100) : std::string();
    admission_.refused(why, request.remote_address, error.message + offered, executor->now());
    Decision decision = core::refusal(protocol.get(), named, reason, std::move(error));
    decision.reservation = std::move(request.reservation);
    done(std::move(decision));
    return 0;
  };
  for (const auto& candidate : protocols_) {
    if (candidate->path() != request.path) continue;
    if (!protocol) protocol = candidate;
  }
  if (!protocol) {
    return refuse(RefusedFor::path, CloseReason::policy, {errc::not_found, "Nothing is served at this path", {}});
  }
  for (const std::string& offered : request.subprotocols) {
    const auto found = std::find_if(protocols_.begin(), protocols_.end(), [&](const auto& candidate) {
      return candidate->path() == request.path && candidate->name() == offered;
    });
    if (found == protocols_.end()) continue;
    protocol = *found;
    named = true;
    break;
  }
  if (!admission_.is_open()) {
    return refuse(RefusedFor::going_away, CloseReason::going_away,
                  {errc::unavailable, "The server is shutting down", entropy_.within(options_.reconnect_window)});
  }
  const bool offered_token = !request.token.empty() && options_.auth_mode != AuthMode::message_only;
  const bool ask_now =
      offered_token || (!authenticator_->needs_token() && options_.auth_mode != AuthMode::message_only);
  if (!ask_now && options_.auth_mode == AuthMode::upgrade_only) {
    return refuse(RefusedFor::auth, CloseReason::auth_required,
                  {errc::auth_required, "A token is required to connect", {}});
  }
  bool lent = false;
  if (!request.reservation) {
    request.reservation = admission_.reserve(request.remote_address);
    if (!request.reservation) {
      const ConnectionPtr ghost = directory_.info(request.resumes) ? directory_.locate(request.resumes) : nullptr;
      Reservation place = admission_.lend(ghost, request.remote_address);
      lent = static_cast<bool>(place);
      if (lent) request.reservation = std::move(place);
    }
    if (!request.reservation) {
      return refuse(request.reservation.refused_for(), request.reservation.refusal(), request.reservation.error());
    }
  }
  if (const auto wait = admission_.count_connect(request.remote_address, executor->now()); wait.count() != 0) {
    return refuse(RefusedFor::rate, CloseReason::policy,
                  {errc::unavailable, "Too many connection attempts from this address", wait});
  }

  const LoopPtr loop = loop_for(executor);
  if (!admission_.is_open()) {  // a shutdown may have looked through the loops before this one was among them
    return refuse(RefusedFor::going_away, CloseReason::going_away,
                  {errc::unavailable, "The server is shutting down", entropy_.within(options_.reconnect_window)});
  }
  // Before the connection is there: from then on it may have to be told how it ends, in its protocol.
  const std::uint8_t format =
      core::format_of(*loop, protocol, request.wire_format ? request.wire_format : plain_format_);
  ConnectionPtr connection;
  do {
    const ConnectionId id = request.id ? request.id : entropy_.id();
    connection = std::make_shared<ConnectionState>(*this, loop, id, transport);
    core::make_room(loop->connections);
    if (connections_.insert(id, connection)) break;
    if (request.id) {
      return refuse(RefusedFor::request, CloseReason::policy,
                    {errc::invalid_message, "The connection id is taken", {}});
    }
  } while (true);

  connection->index = loop->connections.size();
  loop->connections.push_back(connection);
  connection->order = next_order_++;
  connection->format = format;
  connection->chosen_id = static_cast<bool>(request.id);
  connection->lent = lent;
  connection->resumes = request.resumes;
  connection->reservation = std::move(request.reservation);
  connection->credentials.remote_address = std::move(request.remote_address);
  connection->open_done = std::move(done);
  connection->subprotocol_named = named;
  connection->last_inbound = executor->now();
  guard(*connection, "An opening", [&] { begin_open(*connection, std::move(request), offered_token, ask_now); });
  return connection->open_done ? connection->id_.value() : 0;
}

MUSTER_INLINE void ConnectionManager::begin_open(ConnectionState& connection, OpenRequest request, bool offered_token,
                                                 bool ask_now) {
  Credentials& credentials = connection.credentials;
  if (offered_token) {
    credentials.token = std::move(request.token);
    credentials.source = request.token_source;
  }
  credentials.connection = connection.id_;
  credentials.path = std::move(request.path);
  credentials.query = std::move(request.query);
  credentials.origin = std::move(request.origin);
  if (!ask_now) {
    accept_open(connection);
    return;
  }
  questions_.ask<Authentication>(
      connection,
      [this, &connection](Reply<Authentication> reply) {
        authenticator_->authenticate(connection.credentials, std::move(reply));
      },
      [this](ConnectionState& asker, Authentication answer) { answer_open(asker, std::move(answer)); },
      Error{errc::unavailable, "The authentication service did not answer in time",
            entropy_.within(options_.reconnect_window)});
}

MUSTER_INLINE void ConnectionManager::cancel_open(const std::shared_ptr<Executor>& executor, std::uint64_t opening) {
  const ConnectionPtr connection = connections_.find(ConnectionId(opening));
  if (!connection || connection->loop->executor != executor || !connection->open_done) return;
  connection->open_done = nullptr;
  connection->status_ = ConnectionStatus::rejected;
  ending_.forget(*connection);
  ending_.gone(*connection);
}

MUSTER_INLINE void ConnectionManager::answer_open(ConnectionState& connection, Authentication answer) {
  if (!connection.open_done) return;
  std::optional<Error> error = answer ? establish(connection, std::move(answer.value())) : answer.error();
  if (error) {
    const CloseReason reason = core::reason_of(*error);
    ending_.refuse(connection, reason, std::move(*error));
    return;
  }
  accept_open(connection);
  welcome(connection, nullptr);
}

MUSTER_INLINE void ConnectionManager::accept_open(ConnectionState& connection) {
  OpenDone done = std::move(connection.open_done);
  connection.open_done = nullptr;
  Decision decision;
  decision.accepted = true;
  decision.connection = connection.shared_from_this();
  const auto& protocol = connection.loop->formats[connection.format].protocol;
  if (connection.subprotocol_named) decision.subprotocol = std::string(protocol->name());
  if (connection.status_ == ConnectionStatus::connecting) {
    connection.status_ = ConnectionStatus::authenticating;
    connection.loop->arm(connection.guard_timer, connection.loop->executor->now() + options_.auth_timeout);
  }
  done(std::move(decision));
}

/// Puts an authenticated connection into the tables.
MUSTER_INLINE std::optional<Error> ConnectionManager::establish(ConnectionState& connection, Identity identity) {
  const WallTime wall = connection.loop->executor->wall_now();
  if (identity.user.empty()) {
    failures_.log(LogLevel::error, "The authenticator accepted a connection without naming a user");
    return Error{errc::internal, "The identity has no user", {}};
  }
  if (identity.expires_at && *identity.expires_at <= wall) {
    return Error{errc::auth_failed, "The token has expired", {}};
  }
  const UserKey key{identity.tenant, identity.user};
  auto known = std::make_shared<const Identity>(std::move(identity));
  const ConnectionPtr ghost = directory_.ghost_of(connection, key);
  if (connection.lent && !ghost) {
    return Error{errc::unavailable, "The server has no free connection", entropy_.within(options_.reconnect_window)};
  }
  ConnectionPtr yields;
  if (!users_.add(key, connection.shared_from_this(), connection.on_trial ? 0 : options_.max_connections_per_user,
                  options_.user_limit_policy == UserLimitPolicy::close_oldest, ghost, yields)) {
    return core::too_many_of_user(entropy_.within(options_.reconnect_window));
  }
  const ConnectionStatus before = connection.status_;
  connection.identity_ = std::move(known);
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
  connection.guard_timer.cancel();
  if (connection.outbox.in_flight()) writer_.watch_write(connection);  // of what it was told before it was known
  connection.credentials.token.clear();
  ++counters_.connections_total;
  return std::nullopt;
}

MUSTER_INLINE void ConnectionManager::welcome(ConnectionState& connection, Function<void(ConnectionState&)> then) {
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
  Loop& loop = *connection.loop;
  if (options_.heartbeat > std::chrono::milliseconds(0)) {
    const auto part = static_cast<std::int64_t>(loop.random() % static_cast<std::uint64_t>(options_.heartbeat.count()));
    loop.arm(connection.beat_timer, loop.executor->now() + std::chrono::milliseconds(part + 1));
  }
  const UserKey user{identity.tenant, identity.user};
  connection.greeted = true;
  bool well = hooks_.connected(connection);
  well = edges_.tell(loop, user, users_.first_edge(user)) && well;
  if (!well) writer_.doom(connection, CloseReason::internal_error);
  queues_.deliver(connection, std::move(then));
}

}  // namespace MUSTER_ABI
}  // namespace muster
