// One accepted socket, from its first byte to the close of its descriptor. How a request is answered is in
// session_handshake.ipp, frames are in session_frames.ipp, the write path is in session_write.ipp.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/transport.hpp"
#include "muster/transports/websocketpp/asio.ipp"
#include "muster/transports/websocketpp/extensions.ipp"
#include "muster/transports/websocketpp/frames.ipp"
#include "muster/transports/websocketpp/handshake.ipp"
#include "muster/transports/websocketpp/loop.ipp"
#include "muster/transports/websocketpp/proxy_header.ipp"
#include "muster/transports/websocketpp/stream.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

/// What all sockets of one listener share.
struct ListenerState {
  ListenerState(std::shared_ptr<TransportSink> of, ListenerOptions settings)
      : sink(std::move(of)), options(std::move(settings)), trusted_proxies(sink->options().trusted_proxies) {}

  const std::shared_ptr<TransportSink> sink;
  const ListenerOptions options;
  const TrustedProxies trusted_proxies;
  std::unique_ptr<TlsContext> tls;
  bool loopback = false;
  /// Sockets without a place among max_connections: of those a kind of its own each, bounded by the option of its name.
  using Places = std::atomic<std::size_t>;
  Places extra_sockets{0};
  Places refused_sockets{0};
  Places http_sockets{0};

  [[nodiscard]] static bool take(Places& places, std::size_t limit) {
    if (places.fetch_add(1) < limit) return true;
    places.fetch_sub(1);
    return false;
  }
  [[nodiscard]] bool take_extra() { return take(extra_sockets, options.extra_sockets); }
  [[nodiscard]] std::chrono::milliseconds handshake_timeout() const {
    const auto timeout = sink->options().handshake_timeout;
    return timeout.count() > 0 ? timeout : Options().handshake_timeout;
  }
  [[nodiscard]] std::size_t handshake_bytes() const {
    const std::size_t bytes = sink->options().handshake_bytes;
    return bytes != 0 ? bytes : Options().handshake_bytes;
  }
};

/// Threads: the loop's. Ownership: its own, from `start` until its descriptor is closed; the core's, as a Transport.
class Socket final : public Transport, public SocketLoopMember, public std::enable_shared_from_this<Socket> {
 public:
  Socket(std::shared_ptr<SocketLoop> loop, std::shared_ptr<ListenerState> listener, Stream stream, RemoteAddress peer,
         Reservation reservation, bool extra);
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() override = default;

  void start();

  // Transport.
  [[nodiscard]] WriteResult write(const Span* spans, std::size_t count) override;
  [[nodiscard]] std::optional<std::size_t> unsent() const override;
  void close(std::uint16_t code, std::string_view text) override;
  void abort() override;
  void pause_reading(bool pause) override;

  // SocketLoopMember.
  void on_deadline() override;
  void on_stop() override;
  void on_loop_end() override;

 private:
  enum class Phase : std::uint8_t {
    presenting,  // a trusted proxy says for whom it speaks
    securing,    // TLS handshake
    reading,     // the request's head
    asking,      // the core decides
    upgrading,   // the 101 waits for the core's first batch, or is being written
    open,
    answering,  // an HTTP answer, or the last close frame, is being written
    lingering,  // all is written; what the peer still sends is thrown away until it closes, lest a reset destroy our last bytes
    gone  // the descriptor is closed
  };
  /// Who decided first that an open connection ends. `heard`: the peer, whose close is answered behind what the core has
  /// still to say to what came before.
  enum class Ending : std::uint8_t { none, by_core, heard, by_peer, by_fault };

  /// What is needed before the connection is open, and not later.
  struct Opening {
    RemoteAddress remote;
    /// A proxy's: the place is taken without an address, until it is known for whom it speaks.
    bool is_proxy = false;
    ProxyHeader proxy_header;
    Reservation reservation;
    HttpRequest request;
    bool http_1_1 = false;
    bool asked = false;
    bool answered = false;
    std::uint64_t id = 0;
    bool only_bearer = false;
    std::string subprotocol;
    std::string extensions;  // of the answer
    std::string answer;      // the 101, while it waits
    BodySource source;       // of a plain answer
    std::uint64_t source_left = 0;
    std::uint16_t close_code = 0;  // not 0: close right after the upgrade
    std::string close_text;
  };

  /// What waits for the socket to take more, in order: at most one batch of the core's, and few bytes of our own.
  struct Outgoing {
    enum class Kind : std::uint8_t { batch, upgrade, close_frame, piece, last };
    Kind kind;
    std::string own;
    std::vector<Span> spans;
    Cursor cursor;
    std::unique_ptr<Outgoing> next;
  };

  [[nodiscard]] TransportSink& sink() { return *listener_->sink; }
  [[nodiscard]] const Options& core_options() { return listener_->sink->options(); }

  // Waiting and ending.
  void wait_readable();
  void wait_writable();
  void readable();
  void writable();
  void on_readable();
  void on_writable();
  void set_deadline(std::chrono::milliseconds from_now);
  void clear_deadline();
  void linger();
  void discard_input();
  void close_descriptor(CloseReason cause, bool reset = false);
  void end_broken();
  void gone();
  template <auto member>
  void in_turn() {
    const AsioExecutor::Turn turn(*loop_->executor);
    (this->*member)();
  }
  template <auto member>
  void post() {
    asio::post(loop_->context, handler<&Socket::in_turn<member>>(shared_from_this()));
  }
  /// Behind what the core says to what it has been told: written at the end of this turn, or, where a task said it, of
  /// what then still comes.
  template <class F>
  void behind_the_core(F task) {
    (void)loop_->executor->post_at_turn_end([executor = loop_->executor, task = std::move(task)]() mutable {
      (void)executor->post_at_turn_end(std::move(task));
    });
  }

  // Handshake.
  void read_proxy_header();
  void secure();
  void read_head();
  void process_request();
  void serve_http();
  void ask(OpenRequest open);
  void decided(Decision decision);
  void refuse(const Refusal& refusal);
  /// As the core has decided. `close_code`: as Decision's.
  void tell_refusal(CloseReason reason, const Error& error, std::uint16_t close_code);
  void name_subprotocol(std::string chosen);
  void answer(const HttpResponse& response, bool without_body);
  [[nodiscard]] bool count_in(ListenerState::Places* places, std::size_t limit);
  void send_body();
  void upgrade();

  // Frames.
  void opened();
  void resume();
  void read_frames();
  void feed(char* data, std::size_t size);
  /// `wire`: bytes of it that came in since the core was last told of any.
  void on_frame(const InboundMessage& message, std::size_t wire);
  void peer_closed(const std::string& payload);
  void fail(CloseReason reason, std::string_view text);
  void on_message(FrameKind kind, std::string_view payload, std::size_t wire);
  void on_compressed(FrameKind kind, std::string_view deflated, std::size_t wire);
  [[nodiscard]] std::size_t message_limit() {
    const std::size_t limit = core_options().max_message_bytes;
    return limit != 0 ? std::min(limit, message_bytes_max) : message_bytes_max;
  }
  static constexpr std::size_t message_bytes_max = std::size_t{1} << 30U;
  [[nodiscard]] bool may_read() const;

  // Writing.
  WriteResult write_first(const Span* spans, std::size_t count);
  WriteResult send(Outgoing::Kind kind, const Span* spans, std::size_t count);
  void send(Outgoing::Kind kind, std::string own);
  WriteResult send_own(Outgoing::Kind kind, std::string own);
  [[nodiscard]] IoStatus write_now(Cursor& cursor) {
    return stream_->write(cursor, stream_->is_tls() ? loop_->scratch() : nullptr);
  }
  /// Of what waits, which is something.
  [[nodiscard]] Outgoing& last_outgoing() {
    Outgoing* last = outgoing_.get();
    while (last->next) last = last->next.get();
    return *last;
  }
  void break_off();
  void send_answer();
  void written(Outgoing::Kind kind);
  void finish();

  // First what every write touches: a fan-out finds nothing of a socket in the caches.
  std::unique_ptr<Outgoing> outgoing_;
  Phase phase_ = Phase::reading;
  Ending ending_ = Ending::none;
  bool broken_ = false;
  bool paused_ = false;
  bool resume_posted_ = false;
  bool waiting_readable_ = false;
  bool waiting_writable_ = false;
  bool read_waits_for_writable_ = false;
  std::optional<Stream> stream_;

  std::shared_ptr<Socket> self_;
  std::shared_ptr<SocketLoop> loop_;
  std::shared_ptr<ListenerState> listener_;
  std::unique_ptr<Frames> frames_;         // once open
  std::unique_ptr<Window> client_window_;  // of a client that keeps its context
  std::shared_ptr<Connection> connection_;
  std::unique_ptr<Opening> opening_;
  /// What was read and not used yet: the request's head, frames behind it, or what came before a pause.
  std::string input_;
  std::optional<SocketLoop::Deadline> deadline_;
  CloseReason cause_ = CloseReason::lost;
  ListenerState::Places* place_;  // where it counts while it has no reservation
};

MUSTER_INLINE Socket::Socket(std::shared_ptr<SocketLoop> loop, std::shared_ptr<ListenerState> listener, Stream stream,
                             RemoteAddress peer, Reservation reservation, bool extra)
    : stream_(std::move(stream)), loop_(std::move(loop)), listener_(std::move(listener)), opening_(new Opening) {
  place_ = extra ? &listener_->extra_sockets : nullptr;
  opening_->is_proxy = listener_->trusted_proxies.contain(peer);
  opening_->remote = std::move(peer);
  opening_->reservation = std::move(reservation);
}

MUSTER_INLINE void Socket::start() {
  self_ = shared_from_this();
  loop_->add(*this);
  set_deadline(listener_->handshake_timeout());
  const bool presents = listener_->options.proxy_protocol && opening_->is_proxy;
  phase_ = presents ? Phase::presenting : stream_->is_tls() ? Phase::securing : Phase::reading;
  post<&Socket::on_readable>();  // most often the peer's first words are there
}

MUSTER_INLINE void Socket::wait_readable() {
  if (phase_ == Phase::gone || std::exchange(waiting_readable_, true)) return;
  stream_->socket().async_wait(TcpSocket::wait_read, handler<&Socket::in_turn<&Socket::readable>>(shared_from_this()));
}

MUSTER_INLINE void Socket::readable() {
  waiting_readable_ = false;
  on_readable();
}

MUSTER_INLINE void Socket::wait_writable() {
  if (phase_ == Phase::gone || std::exchange(waiting_writable_, true)) return;
  stream_->socket().async_wait(TcpSocket::wait_write, handler<&Socket::in_turn<&Socket::writable>>(shared_from_this()));
}

MUSTER_INLINE void Socket::writable() {
  waiting_writable_ = false;
  if (phase_ == Phase::gone) return;
  if (std::exchange(read_waits_for_writable_, false)) on_readable();
  if (phase_ != Phase::gone) on_writable();
}

MUSTER_INLINE void Socket::on_readable() {
  switch (phase_) {
    case Phase::presenting:
      return read_proxy_header();
    case Phase::securing:
      return secure();
    case Phase::reading:
    case Phase::asking:
      return read_head();
    case Phase::open:
      return read_frames();
    case Phase::lingering:
      return discard_input();
    case Phase::upgrading:
    case Phase::answering:
    case Phase::gone:
      return;
  }
}

MUSTER_INLINE void Socket::set_deadline(std::chrono::milliseconds from_now) {
  clear_deadline();
  deadline_ = loop_->add_deadline(from_now, *this);
}

MUSTER_INLINE void Socket::clear_deadline() {
  if (deadline_) loop_->remove_deadline(*deadline_);
  deadline_.reset();
}

MUSTER_INLINE void Socket::on_deadline() {
  close_descriptor(cause_, outgoing_ != nullptr);  // what it does not take would stay in the kernel
}

MUSTER_INLINE void Socket::on_stop() {
  if (!connection_ && phase_ != Phase::asking) close_descriptor(CloseReason::going_away);
}

MUSTER_INLINE void Socket::linger() {
  if (phase_ == Phase::gone || phase_ == Phase::lingering) return;
  phase_ = Phase::lingering;
  input_ = {};
  stream_->shutdown_write();
  if (opening_ || !deadline_) set_deadline(core_options().close_timeout);  // http_timeout was for the writing
  wait_readable();
}

MUSTER_INLINE void Socket::discard_input() {
  std::size_t got = 0;
  switch (stream_->read(loop_->read_buffer.get(), SocketLoop::read_size, got)) {
    case IoStatus::done:
    case IoStatus::read_again:
      return stream_->unfinished() ? post<&Socket::on_readable>() : wait_readable();
    case IoStatus::write_again:
    case IoStatus::end:
    case IoStatus::failed:
      return close_descriptor(cause_);
  }
}

MUSTER_INLINE void Socket::close_descriptor(CloseReason cause, bool reset) {
  if (phase_ == Phase::gone) return;
  phase_ = Phase::gone;
  cause_ = cause;
  clear_deadline();
  stream_->close(reset);
  outgoing_.reset();
  loop_->remove(*this);
  loop_->sockets.fetch_sub(1);
  (void)count_in(nullptr, 0);
  if (opening_) opening_->reservation.release();  // the descriptor is closed, and a loop that ends runs no more tasks
  // The rest is a task of its own: this may be below a call of the core's.
  asio::post(loop_->context, handler<&Socket::gone>(std::move(self_)));
}

/// A write failed. What the peer said before it went may still be there, its close frame above all.
MUSTER_INLINE void Socket::end_broken() {
  if (phase_ == Phase::open) {
    paused_ = false;
    resume();
  }
  close_descriptor(cause_);
}

MUSTER_INLINE void Socket::gone() {
  const auto connection = std::exchange(connection_, nullptr);
  const auto opening = std::exchange(opening_, nullptr);
  frames_.reset();
  client_window_.reset();
  stream_.reset();
  input_ = {};
  if (opening && opening->asked && !opening->answered) sink().cancel_open(loop_->executor, opening->id);
  if (connection) sink().closed(*connection, cause_);
}

MUSTER_INLINE void Socket::on_loop_end() {
  const auto self = std::move(self_);
  phase_ = Phase::gone;
  deadline_.reset();
  (void)count_in(nullptr, 0);
  loop_->sockets.fetch_sub(1);
  outgoing_.reset();
  frames_.reset();
  client_window_.reset();
  stream_.reset();
  opening_.reset();
  connection_.reset();
  listener_.reset();
}

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
