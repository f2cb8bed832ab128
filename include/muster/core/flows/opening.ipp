// The decision about a request, and what follows from it.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "muster/core/flows/opening.hpp"
#include "muster/path_pattern.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// The loop's number of this pair, which it may not have had yet.
[[nodiscard]] inline std::uint8_t format_of(Loop& loop, const std::shared_ptr<const Protocol>& protocol,
                                            const std::shared_ptr<const WireFormat>& wire) {
  auto& formats = loop.formats;
  std::size_t number = 0;
  for (const Format& format : formats) {
    if (format.protocol == protocol && format.wire->key() == wire->key()) break;
    ++number;
  }
  if (number == formats.size()) formats.push_back({protocol, wire});
  return static_cast<std::uint8_t>(number);
}

MUSTER_INLINE std::uint64_t Opening::open(OpenRequest request, std::shared_ptr<Transport> transport,
                                          std::shared_ptr<Executor> executor, OpenDone done) {
  hooks_.open();
  std::shared_ptr<const Protocol> protocol;
  bool named = false;
  const auto refuse = [&](RefusedFor why, CloseReason reason, Error error) -> std::uint64_t {
    const std::string offered = why == RefusedFor::path ? ": " + request.path.substr(0, 100) : std::string();
    admission_.refused(why, request.remote_address, error.message + offered, executor->now());
    Decision decision = refusal(protocol.get(), named, reason, std::move(error));
    decision.reservation = std::move(request.reservation);
    done(std::move(decision));
    return 0;
  };
  PathMatch at{request.path, request.query, {}};
  const auto choose = [&](const std::shared_ptr<const Protocol>& candidate) {
    auto names = muster::detail::match_path(candidate->path(), request.path);
    if (!names) return false;
    at.names = std::move(*names);
    protocol = candidate;
    return true;
  };
  for (const auto& candidate : protocols_) {
    if (choose(candidate)) break;
  }
  if (!protocol) {
    return refuse(RefusedFor::path, CloseReason::policy, {errc::not_found, "Nothing is served at this path", {}});
  }
  for (const std::string& offered : request.subprotocols) {
    for (const auto& candidate : protocols_) {
      named = candidate->name() == offered && choose(candidate);
      if (named) break;
    }
    if (named) break;
  }
  if (!admission_.is_open()) {
    return refuse(RefusedFor::going_away, CloseReason::going_away,
                  {errc::unavailable, "The server is shutting down", entropy_.within(options_.reconnect_window)});
  }
  const bool offered_token = !request.token.empty() && options_.auth_mode != AuthMode::message_only;
  const bool ask_now = offered_token || (!authenticator_.needs_token() && options_.auth_mode != AuthMode::message_only);
  if (!ask_now && options_.auth_mode == AuthMode::upgrade_only) {
    return refuse(RefusedFor::auth, CloseReason::auth_required,
                  {errc::auth_required, "A token is required to connect", {}});
  }
  bool lent = false;
  if (!request.reservation) {
    request.reservation = admission_.reserve(request.remote_address);
    if (!request.reservation) {
      const ConnectionPtr ghost = directory_.known(request.resumes);
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

  const LoopPtr loop = factory_.loop_for(executor);
  if (!admission_.is_open()) {  // a shutdown may have looked through the loops before this one was among them
    return refuse(RefusedFor::going_away, CloseReason::going_away,
                  {errc::unavailable, "The server is shutting down", entropy_.within(options_.reconnect_window)});
  }
  // Before the connection is there: from then on it may have to be told how it ends, in its protocol.
  const std::uint8_t format = format_of(*loop, protocol, request.wire_format ? request.wire_format : plain_format_);
  ConnectionPtr connection;
  do {
    const ConnectionId id = request.id ? request.id : entropy_.id();
    connection = factory_.make_connection(loop, id, transport);
    connection->address = request.remote_address.bytes;
    admission_.prepare(*connection, request.reservation);
    make_room(loop->connections);
    if (connections_.insert(*connection)) break;
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
  connection->arrival->resumes = request.resumes;
  admission_.take_over(*connection, std::move(request.reservation));
  connection->arrival->open_done = std::move(done);
  connection->arrival->subprotocol_named = named;
  connection->last_inbound = executor->now();
  guard(later_, *connection, "An opening", [&] {
    if (auto conversation = protocol->converse(at)) connection->seldom().conversation = std::move(conversation);
    begin(*connection, std::move(request), offered_token, ask_now);
  });
  return connection->opening() ? connection->id_.value() : 0;
}

MUSTER_INLINE void Opening::begin(ConnectionState& connection, OpenRequest request, bool offered_token, bool ask_now) {
  // A path that is its protocol's own need not be kept.
  if (request.path == connection.loop->formats[connection.format].protocol->path()) request.path.clear();
  std::string_view address = request.remote_address.text;
  if (address == RemoteAddress::text_of_v4(connection.address)) address = {};
  std::array<std::string_view, upgrade_begins> about{address, request.path, request.query, request.origin};
  request.headers.resize(options_.credential_headers.size());
  request.cookies.resize(options_.credential_cookies.size());
  const std::vector<std::string> certificate = packed(request.client_certificate);
  const auto each = [&](std::size_t i) -> std::string_view {
    if (i < about.size()) return about[i];
    i -= about.size();
    if (i < request.headers.size()) return request.headers[i];
    i -= request.headers.size();
    return i < request.cookies.size() ? request.cookies[i] : certificate[i - request.cookies.size()];
  };
  std::size_t said = about.size() + request.headers.size() + request.cookies.size() + certificate.size();
  while (said != 0 && each(said - 1).empty()) --said;
  connection.upgrade = PackedStrings(said, each);
  if (!ask_now) {
    accept(connection);
    return;
  }
  authenticating_.ask(connection, offered_token ? std::move(request.token) : std::string(),
                      offered_token ? request.token_source : TokenSource::none,
                      [this](ConnectionState& asker, Authentication who) { answer(asker, std::move(who)); });
}

MUSTER_INLINE void Opening::cancel(const std::shared_ptr<Executor>& executor, std::uint64_t opening) {
  const ConnectionPtr connection = connections_.find(ConnectionId(opening));
  if (!connection || connection->loop->executor != executor || !connection->opening()) return;
  connection->arrival->open_done = nullptr;
  connection->status_ = ConnectionStatus::rejected;
  ending_.forget(*connection);
  ending_.gone(*connection);
}

MUSTER_INLINE void Opening::answer(ConnectionState& connection, Authentication who) {
  if (!connection.opening()) return;
  std::optional<Error> error = who ? authenticating_.establish(connection, std::move(who.value())) : who.error();
  if (error) {
    const CloseReason reason = reason_of(*error);
    ending_.refuse(connection, reason, std::move(*error));
    return;
  }
  accept(connection);
  authenticating_.welcome(connection, nullptr);
}

MUSTER_INLINE void Opening::accept(ConnectionState& connection) {
  OpenDone done = std::exchange(connection.arrival->open_done, nullptr);
  Decision decision;
  decision.accepted = true;
  decision.connection = connection.shared_from_this();
  const auto& protocol = connection.loop->formats[connection.format].protocol;
  if (connection.arrival->subprotocol_named) decision.subprotocol = std::string(protocol->name());
  if (connection.status_ == ConnectionStatus::connecting) {
    connection.status_ = ConnectionStatus::authenticating;
    connection.deadlines.arm(*connection.loop, Deadline::guard,
                             connection.loop->executor->now() + options_.auth_timeout);
  } else {
    connection.arrival.reset();
  }
  done(std::move(decision));
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
