// A socket with plain HTTP on it: bodies, handlers and their answers, and the next request.
#pragma once

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "muster/transports/websocketpp/socket.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

/// The socket's end of a responder, whose other end may be on any thread, and outlive all of this.
class Socket::LateAnswer final : public HttpResponder::Receiver, public std::enable_shared_from_this<LateAnswer> {
 public:
  LateAnswer(std::weak_ptr<Socket> socket, std::shared_ptr<AsioExecutor> executor)
      : socket_(std::move(socket)), executor_(std::move(executor)) {}

  void answer(HttpResponse response) override {
    (void)executor_->post([self = shared_from_this(), response = std::move(response)]() mutable {
      if (const auto socket = self->socket_.lock()) socket->answered(*self, std::move(response));
    });
  }
  void dropped() noexcept override {
    try {
      answer(describe_refusal({500, "The request could not be served", errc::internal}));
    } catch (...) {  // no memory to tell it with: the deadline will
    }
  }
  void wake() override {
    (void)executor_->post([self = shared_from_this()] {
      if (const auto socket = self->socket_.lock()) socket->wake(*self);
    });
  }

 private:
  const std::weak_ptr<Socket> socket_;  // locked on its loop only, lest it ends elsewhere
  const std::shared_ptr<AsioExecutor> executor_;
};

MUSTER_INLINE void Socket::serve_http() {
  Opening& opening = *opening_;
  const HttpRequest& request = opening.request;
  const ListenerOptions& options = listener_->options;
  if (has_lost_upgrade(request)) return refuse({426, "There is no Upgrade header; a proxy may have removed it"});
  if (!options.http && options.routes.empty())
    return refuse({426, "This is a WebSocket server, and there is no Upgrade header"});
  opening.plain = std::make_unique<Plain>();
  Plain& plain = *opening.plain;
  plain.http_1_1 = opening.http_1_1;
  plain.without_body = request.method == "HEAD";
  Framing framing;
  if (const auto refusal = read_framing(request, framing)) return refuse(*refusal);
  if (take_http_place()) {
    const bool closes = any_header_element(
        request, "Connection", ',', [](std::string_view option) { return equal_ignoring_case(option, "close"); });
    plain.keeps = plain.http_1_1 && !closes && options.http_idle_timeout.count() > 0 &&
                  opening.served + 1 < options.http_requests_per_socket;
  }
  const bool has_body = framing.chunked || framing.bytes != 0;
  if (has_body) plain.body = BodyReader(framing, options.http_body_bytes, head_limit());
  if (plain.without_body) opening.request.method = "GET";
  if (!find_handler()) return;
  has_body ? begin_body() : ask_handler();
}

/// A place among http_sockets, for which the socket that is idle longest goes if there is no other.
MUSTER_INLINE bool Socket::take_http_place() {
  ListenerState::Places* const places = &listener_->http_sockets;
  if (opening_->place == places) return true;
  if (!count_in(places, listener_->options.http_sockets)) {
    auto idle = listener_->idle.take_oldest();
    if (!idle) return false;
    opening_->place = places;  // its own
    asio::io_context& its_loop = idle->loop_->context;
    asio::post(its_loop, handler<&Socket::in_turn<&Socket::evicted>>(std::move(idle)));
  }
  opening_->reservation.release();
  return true;
}

/// False: there is none, and it is answered.
MUSTER_INLINE bool Socket::find_handler() {
  HttpRequest& request = opening_->request;
  auto found = listener_->options.routes.find(request.method, request.path);
  opening_->plain->route = found.route;
  request.names = std::move(found.names);
  if (found.route != nullptr) return true;
  if (found.allow.empty()) {
    if (listener_->options.http) return true;
    answer(describe_refusal({404, "There is nothing here", errc::not_found}));
    return false;
  }
  HttpResponse response;
  response.status = 204;
  if (request.method != "OPTIONS")
    response = describe_refusal({405, "There is no such method here", errc::not_supported});
  response.headers.emplace_back("Allow", std::move(found.allow));
  answer(std::move(response));
  return false;
}

MUSTER_INLINE void Socket::begin_body() {
  Plain& plain = *opening_->plain;
  if (plain.body.state() == BodyReader::State::refused) return refuse(plain.body.refusal());
  if (opening_->place != &listener_->http_sockets)
    return refuse({503, "Too many requests at a time, and this one has a body", errc::unavailable});
  bool strange = false;
  const bool expects =
      plain.http_1_1 && any_header_element(opening_->request, "Expect", ',', [&](std::string_view what) {
        strange = !equal_ignoring_case(what, "100-continue");
        return true;
      });
  if (strange) return refuse({417, "Nothing but 100-continue can be expected", errc::not_supported});
  phase_ = Phase::receiving;
  set_deadline(listener_->options.http_body_timeout);
  if (opening_->input.empty()) {
    // Whoever sends without waiting is not told to (RFC 9110, 10.1.1).
    if (expects && send_own(Outgoing::Kind::interim, "HTTP/1.1 100 Continue\r\n\r\n") == WriteResult::closed) return;
    return receive_body();
  }
  const std::string kept = std::exchange(opening_->input, {});
  take_body(kept);
}

MUSTER_INLINE void Socket::receive_body() {
  std::size_t got = 0;
  const std::size_t most = opening_->plain->body.wanted(head_limit());
  switch (stream_.read(loop_->read_buffer.get(), most, got)) {
    case IoStatus::done:
      return take_body({loop_->read_buffer.get(), got});
    case IoStatus::read_again:
      return wait_readable();
    case IoStatus::write_again:
      read_waits_for_writable_ = true;
      return wait_writable();
    case IoStatus::end:
    case IoStatus::failed:
      return close_descriptor(CloseReason::lost);
  }
}

MUSTER_INLINE void Socket::take_body(std::string_view bytes) {
  BodyReader& body = opening_->plain->body;
  switch (body.read(bytes)) {
    case BodyReader::State::reading:
      return post<&Socket::on_readable>();  // for the loop's other work; there may be more
    case BodyReader::State::refused:
      return refuse(body.refusal());
    case BodyReader::State::done:
      opening_->input = bytes;
      opening_->request.body = body.take();
      return ask_handler();
  }
}

MUSTER_INLINE void Socket::ask_handler() {
  const HttpRoutes::Route* const route = opening_->plain->route;
  if (route != nullptr && route->responding) {
    if (!opening_->reservation && opening_->place == nullptr)
      return answer(describe_refusal({503, "Too many requests at a time", errc::unavailable}));
    const auto receiver = std::make_shared<LateAnswer>(weak_from_this(), loop_->executor);
    opening_->plain->receiver = receiver;
    phase_ = Phase::waiting;
    const auto timeout = listener_->options.http_answer_timeout;
    set_deadline(timeout.count() > 0 ? timeout : core_options().answer_timeout);
    try {
      route->responding(std::move(opening_->request), HttpResponder(receiver));
    } catch (...) {
      return answered(*receiver, describe_refusal({500, "The request could not be served", errc::internal}));
    }
    return read_ahead();
  }
  HttpResponse response;
  try {
    response = route != nullptr ? route->handler(opening_->request) : listener_->options.http(opening_->request);
  } catch (...) {
    response = describe_refusal({500, "The request could not be served", errc::internal});
  }
  answer(std::move(response));
}

MUSTER_INLINE void Socket::answered(const LateAnswer& by, HttpResponse response) {
  if (phase_ == Phase::waiting && opening_->plain->receiver.get() == &by) answer(std::move(response));
}

MUSTER_INLINE void Socket::wake(const LateAnswer& by) {
  Plain* const plain = phase_ == Phase::answering && opening_ ? opening_->plain.get() : nullptr;
  if (plain == nullptr || plain->receiver.get() != &by || !std::exchange(plain->starved, false)) return;
  set_deadline(listener_->options.http_timeout);
  send_body();
}

/// While nothing can be written: who goes meanwhile is noticed, and what is pipelined waits, as much as a head may have.
MUSTER_INLINE void Socket::read_ahead() {
  const std::size_t limit = head_limit();
  if (opening_->input.size() >= limit) return;
  std::size_t got = 0;
  switch (stream_.read(loop_->read_buffer.get(), limit - opening_->input.size(), got)) {
    case IoStatus::done:
      opening_->input.append(loop_->read_buffer.get(), got);
      return stream_.unfinished() ? post<&Socket::on_readable>() : wait_readable();
    case IoStatus::read_again:
      return wait_readable();
    case IoStatus::write_again:
      read_waits_for_writable_ = true;
      return wait_writable();
    case IoStatus::end:
      // Its side alone may have ended; but a source may have nothing for as long as it likes.
      opening_->plain->keeps = false;
      return opening_->plain->starved ? close_descriptor(CloseReason::lost) : void();
    case IoStatus::failed:
      return close_descriptor(CloseReason::lost);
  }
}

MUSTER_INLINE void Socket::answer(HttpResponse response) {
  Plain* const plain = opening_->plain.get();
  const bool bounded = opening_->reservation || opening_->place != nullptr;
  if (!bounded && response.source) response = describe_refusal({503, "Too many downloads", errc::unavailable});
  if (response.status < 200 || response.status > 599)
    response = describe_refusal({500, "The request could not be served", errc::internal});
  if (plain && (response.status == 426 || plain->body.state() != BodyReader::State::done)) plain->keeps = false;
  const bool keeps = plain && plain->keeps;
  const bool without_body = plain ? plain->without_body : opening_->request.method == "HEAD";
  phase_ = Phase::answering;
  if (!keeps) std::string().swap(opening_->input);
  set_deadline(listener_->options.http_timeout);
  std::string head = format_response(response, without_body, plain && plain->http_1_1, keeps);
  const bool more =
      plain && !without_body && !is_bodiless(response.status) && response.source && response.source_bytes != 0;
  if (more) {
    plain->chunked = plain->http_1_1 && response.source_bytes == HttpResponse::unknown_bytes;
    plain->source_left = response.source_bytes;
    plain->source = std::move(response.source);
  }
  send(more ? Outgoing::Kind::piece : Outgoing::Kind::last, std::move(head));
  if (bounded || phase_ == Phase::gone) return;
  std::size_t ignored = 0;  // what is left unread would destroy our last bytes
  (void)stream_.read(loop_->read_buffer.get(), SocketLoop::read_size, ignored);
  close_descriptor(CloseReason::lost);
}

/// A chunk, or the last one (RFC 9112, 7.1).
[[nodiscard]] inline std::string chunk_of(std::string_view bytes) {
  std::array<char, 24> size{};
  const int digits = std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
  std::string chunk(size.data(), static_cast<std::size_t>(digits));
  return chunk.append(bytes).append("\r\n");
}

MUSTER_INLINE void Socket::send_body() {
  constexpr std::size_t most = 32 * 1024;
  // So many at a time, for the loop's other work.
  for (int pieces = 0; pieces < 4; ++pieces) {
    if (phase_ != Phase::answering) return;
    Plain& plain = *opening_->plain;
    const bool known = plain.source_left != HttpResponse::unknown_bytes;
    std::string piece(static_cast<std::size_t>(std::min<std::uint64_t>(plain.source_left, most)), '\0');
    std::size_t size = 0;
    bool failed = false;
    try {
      size = plain.source(piece.data(), piece.size());
    } catch (...) {
      failed = true;
    }
    if (failed || (known && size == 0)) return close_descriptor(CloseReason::lost, true);
    if (size == body_not_now) {
      plain.starved = true;
      clear_deadline();
      return read_ahead();
    }
    piece.resize(std::min(size, piece.size()));
    if (known) plain.source_left -= piece.size();
    const auto kind = (known ? plain.source_left : piece.size()) == 0 ? Outgoing::Kind::last : Outgoing::Kind::piece;
    if (plain.chunked) piece = chunk_of(piece);
    if (kind == Outgoing::Kind::last) plain.source = nullptr;
    if (send_own(kind, std::move(piece)) != WriteResult::done) return;
    if (kind == Outgoing::Kind::last) return written(kind);
    set_deadline(listener_->options.http_timeout);
  }
  post<&Socket::send_body>();
}

/// The answer is through.
MUSTER_INLINE void Socket::next_request() {
  Opening& opening = *opening_;
  opening.plain.reset();
  opening.request = HttpRequest();
  opening.remote = opening.peer;
  sink_ = listener_->sink.get();
  ++opening.served;
  opening.begun = !opening_->input.empty();
  if (opening_->input.empty()) std::string().swap(opening_->input);
  phase_ = Phase::reading;
  set_deadline(opening.begun ? listener_->handshake_timeout() : listener_->options.http_idle_timeout);
  opening.idle = listener_->idle.enter(weak_from_this());
  post<&Socket::on_readable>();  // the next may be there; and one at a time, for the loop's other work
}

/// Another has been given its place.
MUSTER_INLINE void Socket::evicted() {
  if (!end_idle()) close_descriptor(cause_);
}

/// It is idle no more. Whether its place is its own still.
MUSTER_INLINE bool Socket::end_idle() {
  if (!opening_ || opening_->idle == 0 || listener_->idle.leave(std::exchange(opening_->idle, 0))) return true;
  opening_->place = nullptr;
  return false;
}

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
