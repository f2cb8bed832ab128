// A socket until it is open: TLS, the request, the core's decision, and refusals.
#pragma once

#include <algorithm>
#include <exception>
#include <string>
#include <utility>
#include <websocketpp/base64/base64.hpp>
#include <websocketpp/processors/base.hpp>
#include <websocketpp/sha1/sha1.hpp>

#include "muster/transports/websocketpp/socket.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

MUSTER_INLINE void Socket::read_proxy_header() {
  Opening& opening = *opening_;
  ProxyHeader& header = opening.proxy_header;
  std::size_t got = 0;
  const IoStatus status = stream_.peek(loop_->read_buffer.get(), SocketLoop::read_size, got);
  if (status == IoStatus::read_again) return wait_readable();
  if (status != IoStatus::done) return close_descriptor(CloseReason::lost);
  // What is behind the header is TLS's, or the request's, and stays in the socket.
  stream_.take(loop_->read_buffer.get(), header.read({loop_->read_buffer.get(), got}));
  if (header.state() == ProxyHeader::State::bad) {
    sink().refused(RefusedFor::request, opening.remote,
                   "proxy_protocol is on, and this one of trusted_proxies begins with no PROXY header",
                   loop_->executor->now());
    return close_descriptor(CloseReason::lost);
  }
  if (header.state() == ProxyHeader::State::reading) return wait_readable();
  if (header.source()) opening.remote = remote_address(*header.source());
  phase_ = stream_.is_tls() ? Phase::securing : Phase::reading;
  on_readable();
}

MUSTER_INLINE void Socket::secure() {
  std::string refused;
  switch (stream_.handshake(refused)) {
    case IoStatus::done:
      phase_ = Phase::reading;
      return read_head();
    case IoStatus::read_again:
      return wait_readable();
    case IoStatus::write_again:
      read_waits_for_writable_ = true;
      return wait_writable();
    case IoStatus::end:
    case IoStatus::failed:
      if (refused.empty()) return close_descriptor(CloseReason::lost);
      sink().refused(RefusedFor::auth, opening_->remote, "TLS: " + refused, loop_->executor->now());
      return linger();  // the alert says so to the peer, which may have sent its request already
  }
}

MUSTER_INLINE void Socket::read_head() {
  if (phase_ == Phase::reading && take_head(0)) return;  // it came with the request before
  // Nothing beyond the bound is taken from the socket: frames behind the request stay where they are until it is open.
  const std::size_t limit = head_limit();
  if (opening_->input.size() >= limit) return;
  std::size_t got = 0;
  switch (stream_.read(loop_->read_buffer.get(), limit - opening_->input.size(), got)) {
    case IoStatus::done:
      break;
    case IoStatus::read_again:
      return wait_readable();
    case IoStatus::write_again:
      read_waits_for_writable_ = true;
      return wait_writable();
    case IoStatus::end:
    case IoStatus::failed:
      return close_descriptor(CloseReason::lost);
  }
  const bool more = stream_.unfinished();
  const std::size_t seen = opening_->input.size();
  opening_->input.append(loop_->read_buffer.get(), got);
  if (phase_ == Phase::reading) {
    if (!std::exchange(opening_->begun, true) && opening_->served != 0) set_deadline(listener_->handshake_timeout());
    if (take_head(seen)) return;
  }
  more ? post<&Socket::on_readable>() : wait_readable();
}

/// Where some of the request was read before the socket was ours.
MUSTER_INLINE void Socket::read_on() {
  if (phase_ == Phase::reading && !take_head(0)) read_head();
}

/// Whether it is done with what has been read: of that the first `seen` bytes have no head's end.
MUSTER_INLINE bool Socket::take_head(std::size_t seen) {
  // Empty lines before the request are let pass (RFC 9112, 2.2), and must not be taken for the end of the head.
  const std::size_t start = std::min(opening_->input.find_first_not_of("\r\n"), opening_->input.size());
  const std::size_t end = opening_->input.find("\r\n\r\n", std::max(start, seen < 3 ? 0 : seen - 3));
  const bool whole = end != std::string::npos && end + 4 <= head_limit();
  if (!whole && opening_->input.size() < head_limit()) return false;
  if (!end_idle()) return close_descriptor(CloseReason::lost), true;
  if (!whole) return refuse({431, "The request's head is too long", errc::too_large}), true;
  Opening& opening = *opening_;
  const std::string head = opening_->input.substr(0, end + 4);
  opening_->input.erase(0, end + 4);
  if (const auto refusal = parse_head(head, opening.request, opening.http_1_1)) return refuse(*refusal), true;
  process_request();
  return true;
}

/// The first whose host and path the request has.
MUSTER_INLINE const Site* Socket::find_site() const {
  const HttpRequest& request = opening_->request;
  const auto has_host = [&](const std::string& host) {
    const std::string_view authority = request.header("Host");
    return host.empty() ||
           (count_headers(request, "Host") == 1 && is_authority(authority) && names_authority(host, authority));
  };
  const auto is_below = [&](const std::string& path) {
    return path.empty() || (request.path.compare(0, path.size(), path) == 0 &&
                            (request.path.size() == path.size() || request.path[path.size()] == '/'));
  };
  for (const Site& site : listener_->options.sites) {
    if (has_host(site.host) && is_below(site.path)) return &site;
  }
  return nullptr;
}

MUSTER_INLINE void Socket::process_request() {
  Opening& opening = *opening_;
  HttpRequest& request = opening.request;
  const Site* const site = find_site();
  if (site != nullptr) sink_ = site->manager.get();
  const Options& options = core_options();
  if (opening.served == 0) opening.peer = opening.remote;
  opening.remote = listener_->trusted_proxies.resolve(std::move(opening.remote), request);
  request.remote_address = opening.remote;
  if (stream_.is_tls()) request.client_certificate = stream_.client_certificate();

  const bool upgrades = asks_for_upgrade(request);
  const auto& probes = listener_->options.probe_paths;
  const bool is_probe = !upgrades && std::find(probes.begin(), probes.end(), request.path) != probes.end();
  const bool is_named = site != nullptr && !site->host.empty();
  if (!is_probe && !is_named) {
    if (const auto refusal = check_host(request, opening.http_1_1, options, opening.loopback)) return refuse(*refusal);
  }
  if (!upgrades) return serve_http();
  if (listener_->options.plain_http_only)
    return refuse({404, "There is no WebSocket on this port", errc::not_found, {}, RefusedFor::path});
  if (const auto refusal = check_upgrade(request, opening.http_1_1)) return refuse(*refusal);
  if (const auto refusal = check_origin(request, options)) return refuse(*refusal);
  OpenRequest open;
  if (const auto refusal = read_upgrade(request, options, open)) return refuse(*refusal);
  if (opening.is_proxy && opening.reservation) {
    // The place was the proxy's so far, to which no per-address limit applies. Given back first, so that it is never two.
    opening.reservation.release();
    opening.reservation = sink().reserve(opening.remote, loop_->executor->now());
  } else if (site != nullptr || opening.served != 0) {
    // It is one of another manager's, or plain HTTP before has given it back.
    opening.reservation.release();
    opening.reservation = sink().reserve(opening.remote, loop_->executor->now());
    if (opening.reservation) (void)count_in(nullptr, 0);
  }
  if (!opening.reservation && !open.resumes) {
    // No protocol was chosen. Browsers give up on an upgrade that names none of theirs, and would not see a close code.
    if (!open.subprotocols.empty()) opening.subprotocol = open.subprotocols.front();
    const Error error = opening.reservation.error();
    sink().refused(opening.reservation.refused_for(), opening.remote, error.message, loop_->executor->now());
    return tell_refusal(opening.reservation.refusal(), error, 0);
  }
  ask(std::move(open));
}

MUSTER_INLINE void Socket::ask(OpenRequest open) {
  phase_ = Phase::asking;
  // From here on the core's own deadline bounds the answer.
  clear_deadline();
  opening_->asked = true;
  opening_->only_bearer = open.subprotocols == std::vector<std::string>{"bearer"};
  if (listener_->options.deflate) {
    Deflate deflate = negotiate_deflate(opening_->request, listener_->options.deflate_client_window_bits);
    if (!deflate.answer.empty()) {
      opening_->extensions = std::move(deflate.answer);
      if (deflate.client_window_bits != 0) client_window_ = std::make_unique<Window>(deflate.client_window_bits);
      open.wire_format = loop_->deflate_format(deflate.window_bits, listener_->options.deflate_min_bytes);
    }
  }
  open.reservation = std::move(opening_->reservation);
  open.remote_address = opening_->remote;
  open.client_certificate = std::move(opening_->request.client_certificate);
  const std::uint64_t id =
      sink().open(std::move(open), shared_from_this(), loop_->executor,
                  [self = shared_from_this()](Decision decision) { self->decided(std::move(decision)); });
  if (opening_) opening_->id = id;
  if (phase_ == Phase::asking) wait_readable();  // a peer that goes away meanwhile
}

MUSTER_INLINE void Socket::decided(Decision decision) {
  if (opening_) opening_->answered = true;
  if (phase_ != Phase::asking) {
    // The peer went away just now: a connection must still hear that its socket is gone.
    if (decision.accepted && listener_) {
      connection_ = std::move(decision.connection);
      asio::post(loop_->context, handler<&Socket::gone>(shared_from_this()));
    }
    return;
  }
  name_subprotocol(std::move(decision.subprotocol));
  if (!decision.accepted) {
    opening_->reservation = std::move(decision.reservation);
    return tell_refusal(decision.reason, decision.error, decision.close_code);
  }
  (void)count_in(nullptr, 0);  // it has a place of its own
  connection_ = std::move(decision.connection);
  upgrade();
}

MUSTER_INLINE void Socket::name_subprotocol(std::string chosen) {
  // Clients fail on a name they did not offer (RFC 6455, 4.1), and browsers when none of theirs is chosen: where the
  // token's carrier is the only one, it is named.
  if (chosen.empty() && opening_->only_bearer) chosen = "bearer";
  const bool offered = any_header_element(opening_->request, "Sec-WebSocket-Protocol", ',',
                                          [&](std::string_view name) { return name == chosen; });
  if (offered) opening_->subprotocol = std::move(chosen);
}

MUSTER_INLINE void Socket::refuse(const Refusal& refusal) {
  sink().refused(refusal.reason, opening_->remote, refusal.message, loop_->executor->now());
  if (!opening_->reservation) (void)count_in(&listener_->refused_sockets, listener_->options.refused_sockets);
  if (opening_->plain) opening_->plain->keeps = false;
  answer(describe_refusal(refusal));
}

MUSTER_INLINE void Socket::tell_refusal(CloseReason reason, const Error& error, std::uint16_t close_code) {
  const bool is_nowhere = error.code == errc::not_found;
  const bool bounded =
      opening_->reservation || count_in(&listener_->refused_sockets, listener_->options.refused_sockets);
  if (!is_nowhere && bounded && core_options().refuse_with == RefuseWith::close_code) {
    opening_->close_code = close_code != 0 ? close_code : describe(reason).code;
    opening_->close_text = error.message;
    return upgrade();
  }
  const unsigned status = is_nowhere ? 404 : describe(reason).http_status;
  answer(describe_refusal({status, error.message, error.code, error.retry_after}));
}

/// Takes a place of this kind, if there is one, for the one it had. Whether there was.
MUSTER_INLINE bool Socket::count_in(ListenerState::Places* places, std::size_t limit) {
  if (!opening_) return false;
  const bool taken = places != nullptr && ListenerState::take(*places, limit);
  if (opening_->place != nullptr) opening_->place->fetch_sub(1);
  opening_->place = taken ? places : nullptr;
  return taken;
}

/// Sec-WebSocket-Accept (RFC 6455, 4.2.2).
[[nodiscard]] inline std::string accept_key(std::string_view client_key) {
  std::string key(client_key);
  key += ::websocketpp::processor::constants::handshake_guid;
  unsigned char digest[20];
  ::websocketpp::sha1::calc(key.data(), key.size(), digest);
  return ::websocketpp::base64_encode(digest, sizeof digest);
}

MUSTER_INLINE void Socket::upgrade() {
  phase_ = Phase::upgrading;
  set_deadline(listener_->handshake_timeout());
  std::string response =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
  response += accept_key(opening_->request.header("Sec-WebSocket-Key"));
  const auto add = [&response](const char* name, const std::string& value) {
    if (!value.empty()) response.append("\r\n").append(name).append(": ").append(value);
  };
  add("Sec-WebSocket-Protocol", opening_->subprotocol);
  add("Sec-WebSocket-Extensions", opening_->extensions);
  response += "\r\n\r\n";
  compressed_ = !opening_->extensions.empty();
  opening_->answer = std::move(response);
  if (!connection_) return send_answer();
  behind_the_core([self = shared_from_this()] { self->send_answer(); });
}

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
