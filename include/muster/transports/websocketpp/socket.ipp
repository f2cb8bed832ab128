// One accepted socket, from its first byte to the close of its descriptor. How a request is answered is in
// socket_handshake.ipp and, where it is plain HTTP, socket_http.ipp; frames are in socket_frames.ipp, the write path is in
// socket_write.ipp.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/thread_safety.hpp"
#include "muster/transport.hpp"
#include "muster/transports/websocketpp/asio.ipp"
#include "muster/transports/websocketpp/body.ipp"
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

class Socket;

/// The sockets of one listener that are kept for another request, in the order they came. Any thread.
class IdleSockets {
 public:
  /// Its number, for `leave`.
  [[nodiscard]] std::uint64_t enter(std::weak_ptr<Socket> socket) {
    const CheckedLock lock(mutex_);
    sockets_.emplace(++last_, std::move(socket));
    return last_;
  }
  /// Whether it was still there.
  [[nodiscard]] bool leave(std::uint64_t number) {
    const CheckedLock lock(mutex_);
    return sockets_.erase(number) != 0;
  }
  /// The one that waits longest is there no more; none: nobody waits.
  [[nodiscard]] std::shared_ptr<Socket> take_oldest() {
    const CheckedLock lock(mutex_);
    std::shared_ptr<Socket> oldest;
    if (!sockets_.empty()) {
      oldest = sockets_.begin()->second.lock();
      sockets_.erase(sockets_.begin());
    }
    return oldest;
  }

 private:
  CheckedMutex mutex_;
  std::map<std::uint64_t, std::weak_ptr<Socket>> sockets_ MUSTER_GUARDED_BY(mutex_);
  std::uint64_t last_ MUSTER_GUARDED_BY(mutex_) = 0;
};

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
  IdleSockets idle;  ///< of http_sockets

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
  /// In place of `start`: of a socket that the program has accepted, this was read already.
  void start_adopted(std::string received, bool loopback);

  // Transport.
  [[nodiscard]] WriteResult write(const Span* spans, std::size_t count) override;
  [[nodiscard]] std::optional<std::size_t> unsent() const override;
  void close(std::uint16_t code, std::string_view text) override;
  void abort() override;
  void pause_reading(bool pause) override;

  // SocketLoopMember.
  void on_ready(std::uint32_t happened) override;
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
    receiving,  // a plain request's body
    waiting,    // a handler of plain HTTP answers later
    answering,  // an HTTP answer, or the last close frame, is being written
    lingering,  // all is written; what the peer still sends is thrown away until it closes, lest a reset destroy our last bytes
    gone  // the descriptor is closed
  };
  /// Who decided first that an open connection ends. `heard`: the peer, whose close is answered behind what the core has
  /// still to say to what came before.
  enum class Ending : std::uint8_t { none, by_core, heard, by_peer, by_fault };

  /// A plain request from its head on, and its answer.
  struct Plain {
    BodyReader body;
    const HttpRoutes::Route* route = nullptr;  // none: ListenerOptions::http
    bool http_1_1 = false;
    bool without_body = false;  // HEAD
    bool keeps = false;         // the socket, for the next request
    std::shared_ptr<HttpResponder::Receiver> receiver;
    BodySource source;
    std::uint64_t source_left = 0;
    bool chunked = false;
    bool starved = false;  // the source had nothing
  };

  /// What is needed before the connection is open, and not later.
  struct Opening {
    /// The peer, or for whom it speaks as far as that is known.
    RemoteAddress remote;
    /// As it was before the first request, of which each may be for another.
    RemoteAddress peer;
    /// A proxy's: the place is taken without an address, until it is known for whom it speaks.
    bool is_proxy = false;
    bool loopback = false;  // requests for loopback names only
    ProxyHeader proxy_header;
    Reservation reservation;
    ListenerState::Places* place = nullptr;  // where it counts while it has no reservation
    HttpRequest request;
    bool http_1_1 = false;
    bool asked = false;
    bool answered = false;
    std::uint64_t id = 0;
    bool only_bearer = false;
    std::string subprotocol;
    std::string extensions;  // of the answer
    std::string answer;      // the 101, while it waits
    std::string input;       // read and not used yet: a head, and what came behind it
    std::unique_ptr<Plain> plain;
    std::size_t served = 0;        // plain requests
    std::uint64_t idle = 0;        // not 0: kept, and nothing of the next request has been served yet
    bool begun = false;            // the next request
    std::uint16_t close_code = 0;  // not 0: close right after the upgrade
    std::string close_text;
  };

  /// What waits for the socket to take more, in order: at most one batch of the core's, and few bytes of our own.
  struct Outgoing {
    enum class Kind : std::uint8_t { batch, upgrade, close_frame, interim, piece, last };
    Kind kind;
    std::string own;
    std::vector<Span> spans;
    Cursor cursor;
    std::unique_ptr<Outgoing> next;
  };

  [[nodiscard]] TransportSink& sink() { return *sink_; }
  [[nodiscard]] const Options& core_options() { return sink_->options(); }

  // Waiting and ending.
  void wait_readable() { want(Readiness::readable); }
  void wait_writable() { want(Readiness::writable); }
  void want(Readiness::Events events);
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
  void begin(Phase phase);
  void read_proxy_header();
  void secure();
  void read_head();
  void read_on();
  [[nodiscard]] bool take_head(std::size_t seen);
  void process_request();
  [[nodiscard]] const Site* find_site() const;
  void ask(OpenRequest open);
  void decided(Decision decision);
  void refuse(const Refusal& refusal);
  /// As the core has decided. `close_code`: as Decision's.
  void tell_refusal(CloseReason reason, const Error& error, std::uint16_t close_code);
  void name_subprotocol(std::string chosen);
  [[nodiscard]] bool count_in(ListenerState::Places* places, std::size_t limit);
  void upgrade();
  [[nodiscard]] std::size_t head_limit() const { return std::min(listener_->handshake_bytes(), SocketLoop::read_size); }

  // Plain HTTP.
  class LateAnswer;
  void serve_http();
  [[nodiscard]] bool take_http_place();
  [[nodiscard]] bool find_handler();
  void begin_body();
  void receive_body();
  void take_body(std::string_view bytes);
  void ask_handler();
  void answered(const LateAnswer& by, HttpResponse response);
  void wake(const LateAnswer& by);
  void read_ahead();
  void answer(HttpResponse response);
  void send_body();
  void next_request();
  void evicted();
  [[nodiscard]] bool end_idle();

  // Frames.
  void opened();
  void resume();
  void read_frames();
  [[nodiscard]] Frames& reader();
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
    return stream_.write(cursor, stream_.is_tls() ? loop_->scratch() : nullptr);
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
  bool read_waits_for_writable_ = false;
  bool compressed_ = false;    // permessage-deflate was agreed
  bool has_deadline_ = false;  // `deadline_` is one
  CloseReason cause_ = CloseReason::lost;
  Readiness::Watch watch_;
  Stream stream_;

  std::shared_ptr<Socket> self_;
  std::shared_ptr<SocketLoop> loop_;
  std::shared_ptr<ListenerState> listener_;
  TransportSink* sink_;                    // the listener's own, until the request names a site
  std::unique_ptr<Frames> frames_;         // between two frames the loop has it
  std::unique_ptr<Window> client_window_;  // of a client that keeps its context
  std::shared_ptr<Connection> connection_;
  std::unique_ptr<Opening> opening_;
  std::unique_ptr<std::string> kept_;  // frames that came with the request, or before a pause
  SocketLoop::Deadline deadline_;
};

MUSTER_INLINE Socket::Socket(std::shared_ptr<SocketLoop> loop, std::shared_ptr<ListenerState> listener, Stream stream,
                             RemoteAddress peer, Reservation reservation, bool extra)
    : stream_(std::move(stream)),
      loop_(std::move(loop)),
      listener_(std::move(listener)),
      sink_(listener_->sink.get()),
      opening_(new Opening) {
  if (extra) opening_->place = &listener_->extra_sockets;
  opening_->is_proxy = listener_->trusted_proxies.contain(peer);
  opening_->remote = std::move(peer);
  opening_->loopback = listener_->loopback;
  opening_->reservation = std::move(reservation);
}

MUSTER_INLINE void Socket::begin(Phase phase) {
  self_ = shared_from_this();
  loop_->add(*this);
  set_deadline(listener_->handshake_timeout());
  phase_ = phase;
  want(0);
}

MUSTER_INLINE void Socket::start() {
  const bool presents = listener_->options.proxy_protocol && opening_->is_proxy;
  begin(presents ? Phase::presenting : stream_.is_tls() ? Phase::securing : Phase::reading);
  post<&Socket::on_readable>();  // most often the peer's first words are there
}

MUSTER_INLINE void Socket::start_adopted(std::string received, bool loopback) {
  opening_->input = std::move(received);
  opening_->loopback = loopback;
  begin(Phase::reading);
  post<&Socket::read_on>();
}

/// A system that has no room to watch one more is as good as one that has none for its socket.
MUSTER_INLINE void Socket::want(Readiness::Events events) {
  if (phase_ == Phase::gone || loop_->want(stream_.descriptor(), watch_, *this, events)) return;
  post<&Socket::end_broken>();
}

MUSTER_INLINE void Socket::on_ready(std::uint32_t happened) {
  if (phase_ == Phase::gone) return;
  const Readiness::Events told = Readiness::told(watch_, happened);
  if ((told & Readiness::writable) != 0) {  // first: who is about to find an end still gets what it waits for
    if (std::exchange(read_waits_for_writable_, false)) on_readable();
    if (phase_ != Phase::gone) on_writable();
  }
  if ((told & Readiness::readable) != 0 && phase_ != Phase::gone) on_readable();
  if (phase_ != Phase::gone) loop_->readiness().settle(stream_.descriptor(), watch_, *this, happened, told);
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
    case Phase::receiving:
      return receive_body();
    case Phase::waiting:
      return read_ahead();
    case Phase::open:
      return read_frames();
    case Phase::lingering:
      return discard_input();
    case Phase::answering:
      return opening_ && opening_->plain && opening_->plain->starved ? read_ahead() : void();
    case Phase::upgrading:
    case Phase::gone:
      return;
  }
}

MUSTER_INLINE void Socket::set_deadline(std::chrono::milliseconds from_now) {
  clear_deadline();
  deadline_ = loop_->add_deadline(from_now, *this);
  has_deadline_ = true;
}

MUSTER_INLINE void Socket::clear_deadline() {
  if (std::exchange(has_deadline_, false)) loop_->remove_deadline(deadline_);
}

MUSTER_INLINE void Socket::on_deadline() {
  if (phase_ == Phase::receiving)
    return refuse({408, "The request's body did not come in within http_body_timeout", errc::unavailable});
  if (phase_ == Phase::waiting) {
    opening_->plain->receiver.reset();
    return answer(describe_refusal({503, "The answer took too long", errc::unavailable}));
  }
  close_descriptor(cause_, outgoing_ != nullptr);  // what it does not take would stay in the kernel
}

MUSTER_INLINE void Socket::on_stop() {
  if (!connection_ && phase_ != Phase::asking) close_descriptor(CloseReason::going_away);
}

MUSTER_INLINE void Socket::linger() {
  if (phase_ == Phase::gone || phase_ == Phase::lingering) return;
  phase_ = Phase::lingering;
  kept_.reset();
  if (opening_) opening_->input = {};
  stream_.shutdown_write();
  if (opening_ || !has_deadline_) set_deadline(core_options().close_timeout);  // http_timeout was for the writing
  wait_readable();
}

MUSTER_INLINE void Socket::discard_input() {
  switch (stream_.discard(loop_->read_buffer.get(), SocketLoop::read_size)) {
    case IoStatus::done:
    case IoStatus::read_again:
      return stream_.unfinished() ? post<&Socket::on_readable>() : wait_readable();
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
  loop_->unwatch(stream_.descriptor(), watch_, *this);
  stream_.close(reset);
  outgoing_.reset();
  loop_->remove(*this);
  loop_->sockets.fetch_sub(1);
  (void)end_idle();
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
  stream_.release();
  kept_.reset();
  if (opening && opening->asked && !opening->answered) sink().cancel_open(loop_->executor, opening->id);
  if (connection) sink().closed(*connection, cause_);
}

MUSTER_INLINE void Socket::on_loop_end() {
  const auto self = std::move(self_);
  phase_ = Phase::gone;
  has_deadline_ = false;
  (void)end_idle();
  (void)count_in(nullptr, 0);
  loop_->sockets.fetch_sub(1);
  outgoing_.reset();
  frames_.reset();
  client_window_.reset();
  stream_.release();
  opening_.reset();
  connection_.reset();
  listener_.reset();
}

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
