// The core's side of a connection of a stock websocketpp server.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "muster/transport.hpp"
#include "muster/transports/websocketpp/websocketpp.ipp"
#include "muster/transports/websocketpp_attach.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

/// Whether valid UTF-8 stops inside a character. websocketpp does not look at the end of a message in fragments.
[[nodiscard]] inline bool ends_inside_character(std::string_view text) noexcept {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) return false;
    if (byte >= 0xc0) return (byte >= 0xf0 ? 4U : byte >= 0xe0 ? 3U : 2U) > back;
  }
  return false;
}

/// What the connections of one `attach` share.
class AttachState {
 public:
  AttachState(asio::io_context& io, std::shared_ptr<TransportSink> of, const AttachOptions& settings)
      : sink(std::move(of)),
        loop(SocketLoop::of(io)),
        executor(loop->executor),
        trusted_proxies(sink->options().trusted_proxies),
        handed_over_bytes(settings.handed_over_bytes),
        early_subprotocol(settings.early_subprotocol) {}

  const std::shared_ptr<TransportSink> sink;
  const std::shared_ptr<SocketLoop> loop;
  const std::shared_ptr<AsioExecutor> executor;
  const TrustedProxies trusted_proxies;
  const std::size_t handed_over_bytes;
  const std::string early_subprotocol;
};

/// Threads: the loop's. Ownership: the stock connection's, through its handlers, and the core's, as a Transport.
class AttachedTransport final : public Attached,
                                public Transport,
                                public SocketLoopMember,
                                public std::enable_shared_from_this<AttachedTransport> {
 public:
  AttachedTransport(std::shared_ptr<AttachState> attach, std::unique_ptr<StockPipe> pipe)
      : attach_(std::move(attach)), pipe_(std::move(pipe)) {
    attach_->loop->add(*this);
  }
  AttachedTransport(const AttachedTransport&) = delete;
  AttachedTransport& operator=(const AttachedTransport&) = delete;
  ~AttachedTransport() override {
    if (attach_ && !gone_) attach_->loop->remove(*this);
  }

  // SocketLoopMember.

  void on_deadline() override {}
  void on_stop() override {}
  void on_loop_end() override {
    ending_ = gone_ = true;
    connection_.reset();
    place_.release();
    pipe_.reset();
    attach_.reset();
  }

  // Attached.

  [[nodiscard]] Answer ask(HttpRequest request, bool http_1_1, const asio::ip::tcp::endpoint& peer,
                           bool loopback) override {
    const Options& options = attach_->sink->options();
    OpenRequest open;
    open.remote_address = remote_address(peer.address());
    if (attach_->trusted_proxies.contain(open.remote_address)) {
      open.remote_address = attach_->trusted_proxies.resolve(std::move(open.remote_address), request);
    }
    if (const auto refusal = check_host(request, http_1_1, options, loopback))
      return refused(*refusal, open.remote_address);
    if (const auto refusal = check_upgrade(request, http_1_1)) return refused(*refusal, open.remote_address);
    if (const auto refusal = check_origin(request, options)) return refused(*refusal, open.remote_address);
    if (const auto refusal = read_upgrade(request, options, open)) return refused(*refusal, open.remote_address);
    const std::vector<std::string> offered = open.subprotocols;

    in_call_ = true;
    const std::uint64_t id =
        attach_->sink->open(std::move(open), shared_from_this(), attach_->executor,
                            [self = shared_from_this()](Decision decision) { self->decided(std::move(decision)); });
    in_call_ = false;
    Answer answer;
    answer.response.status = 101;
    if (!answered_) {
      opening_ = id;
      answer.subprotocol = attach_->early_subprotocol;
    } else if (!connection_ && refusal_.code == errc::not_found) {
      return told({404, refusal_.message, refusal_.code});
    } else if (!connection_ && options.refuse_with != RefuseWith::close_code) {
      return told({describe(reason_).http_status, refusal_.message, refusal_.code, refusal_.retry_after});
    } else {
      answer.subprotocol = subprotocol_;
    }
    const auto is_offered = [&](const std::string& name) {
      return std::find(offered.begin(), offered.end(), name) != offered.end();
    };
    // Clients fail on a name they did not offer (RFC 6455, 4.1), and browsers when none of theirs is chosen.
    if (answer.subprotocol.empty() && offered == std::vector<std::string>{"bearer"}) answer.subprotocol = "bearer";
    if (!is_offered(answer.subprotocol)) answer.subprotocol.clear();
    return answer;
  }

  void opened() override {
    open_ = true;
    if (!early_.empty()) hand_over(std::exchange(early_, {}));
    if (close_code_ != 0) close_now();
  }

  /// What the core does not take yet is kept, and then no more is read.
  void received(FrameKind kind, const std::string& payload) override {
    if (ending_) return;
    if (kind == FrameKind::text && ends_inside_character(payload)) {
      // Unless it is the core's connection already, there is nobody to tell.
      if (connection_)
        return attach_->sink->fail(*connection_, CloseReason::invalid_utf8, describe(CloseReason::invalid_utf8).text);
      return close(describe(CloseReason::invalid_utf8).code, describe(CloseReason::invalid_utf8).text);
    }
    if (connection_ && !paused_ && kept_.empty()) return attach_->sink->received(*connection_, kind, payload);
    kept_bytes_ += payload.size() + sizeof(Kept);
    kept_.push_back({kind, payload});
    // Before the core has decided, reading goes on for a while, so that a peer that goes is noticed.
    if ((paused_ || kept_bytes_ > attach_->handed_over_bytes) && !std::exchange(stopped_, true)) pipe_->stop_reading();
  }

  void ended(CloseReason cause) override {
    if (!attach_) return;  // told already
    // A task of its own: this may be below a call of the core's.
    (void)attach_->executor->post([self = shared_from_this(), cause] { self->gone(cause); });
  }

  // Transport.

  [[nodiscard]] WriteResult write(const Span* spans, std::size_t count) override {
    if (ending_ || (open_ && !pipe_->is_open())) return WriteResult::closed;
    std::string frames;
    for (std::size_t i = 0; i < count; ++i) frames.append(spans[i].data, spans[i].size);
    if (open_) {
      hand_over(std::move(frames));
    } else {
      early_ += frames;
    }
    pending_ = handed_over_ + early_.size() > attach_->handed_over_bytes;
    return pending_ ? WriteResult::pending : WriteResult::done;
  }

  [[nodiscard]] std::optional<std::size_t> unsent() const override {
    return handed_over_ + early_.size() + (pipe_ ? pipe_->unsent_in_system() : 0);
  }

  void close(std::uint16_t code, std::string_view text) override {
    if (std::exchange(ending_, true)) return;
    close_code_ = code;
    close_text_ = close_text(text);
    if (open_) close_now();
  }

  void abort() override {
    ending_ = true;
    if (!pipe_ || gone_) return;
    pipe_->abort();
    ended(CloseReason::lost);  // websocketpp may say so five seconds later
  }

  void pause_reading(bool pause) override {
    paused_ = pause && !ending_;
    if (!paused_ && !gone_) post_resume();
  }

 private:
  struct Kept {
    FrameKind kind;
    std::string payload;
  };

  [[nodiscard]] static Answer told(const Refusal& refusal) { return {describe_refusal(refusal), {}}; }
  [[nodiscard]] Answer refused(const Refusal& refusal, const RemoteAddress& address) {
    attach_->sink->refused(refusal.reason, address, refusal.message, attach_->executor->now());
    return told(refusal);
  }

  void decided(Decision decision) {
    if (!attach_) return;
    answered_ = true;
    connection_ = std::move(decision.connection);
    if (connection_) {
      subprotocol_ = std::move(decision.subprotocol);
      if (gone_) {  // just now: it must still hear so
        (void)attach_->executor->post([self = shared_from_this()] { self->gone(CloseReason::lost); });
      }
      return post_resume();
    }
    reason_ = decision.reason;
    refusal_ = std::move(decision.error);
    place_ = std::move(decision.reservation);
    if (gone_) place_.release();
    // The status of the upgrade says it, or else a close code right behind it.
    if (!in_call_ || attach_->sink->options().refuse_with == RefuseWith::close_code)
      close(describe(reason_).code, refusal_.message);
  }

  void hand_over(std::string frames) {
    const std::size_t size = frames.size();
    handed_over_ += size;
    pipe_->send(std::move(frames), [weak = weak_from_this(), executor = attach_->executor, size] {
      (void)executor->post([weak, size] {
        if (const auto self = weak.lock()) self->through(size);
      });
    });
  }

  void through(std::size_t size) {
    handed_over_ -= size;
    // Once it ends, the core writes no more and waits for `closed` alone.
    if (handed_over_ != 0 || ending_ || !connection_ || !pipe_->is_open() || !std::exchange(pending_, false)) return;
    attach_->sink->writable(*connection_);
  }

  void close_now() {
    pipe_->close(close_code_, close_text_);
    // Over TLS, websocketpp's own timeout only begins another wait, of five seconds.
    const auto when = attach_->executor->now() + attach_->sink->options().close_timeout;
    (void)attach_->executor->schedule(when, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self) self->abort();
    });
    paused_ = false;
    post_resume();  // the peer's answer is still read
  }

  void post_resume() {
    if (!std::exchange(resume_posted_, true)) {
      (void)attach_->executor->post([self = shared_from_this()] { self->resume(); });
    }
  }

  void resume() {
    resume_posted_ = false;
    if (gone_) return;
    std::size_t given = 0;
    while (given < kept_.size() && connection_ && !paused_ && !ending_) {
      const Kept next = std::move(kept_[given++]);
      attach_->sink->received(*connection_, next.kind, next.payload);
    }
    if (ending_) given = kept_.size();
    kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(given));
    if (!kept_.empty()) return;
    kept_bytes_ = 0;
    if (!paused_ && std::exchange(stopped_, false)) pipe_->go_on_reading();
  }

  void gone(CloseReason cause) {
    if (!attach_) return;
    if (!std::exchange(gone_, true)) attach_->loop->remove(*this);
    pipe_->close_descriptor();
    kept_.clear();
    early_.clear();
    place_.release();
    if (!answered_ && opening_ != 0) attach_->sink->cancel_open(attach_->executor, std::exchange(opening_, 0));
    if (const auto connection = std::exchange(connection_, nullptr)) attach_->sink->closed(*connection, cause);
    if (!answered_) return;  // the answer is still to come
    // Whoever holds this still must not hold the sink through it.
    ending_ = true;
    pipe_.reset();
    attach_.reset();
  }

  // Until the io_context ends, and with it everything that stands on it.
  std::shared_ptr<AttachState> attach_;
  std::unique_ptr<StockPipe> pipe_;
  std::shared_ptr<Connection> connection_;
  std::uint64_t opening_ = 0;
  std::string subprotocol_;
  CloseReason reason_ = CloseReason::normal;
  Error refusal_;
  Reservation place_;
  std::string early_;  // written before the 101 was
  std::vector<Kept> kept_;
  std::size_t kept_bytes_ = 0;
  std::size_t handed_over_ = 0;
  std::uint16_t close_code_ = 0;
  std::string close_text_;
  bool in_call_ = false;
  bool answered_ = false;
  bool open_ = false;
  bool ending_ = false;
  bool gone_ = false;
  bool pending_ = false;
  bool paused_ = false;
  bool stopped_ = false;
  bool resume_posted_ = false;
};

MUSTER_INLINE std::shared_ptr<AttachState> make_attach_state(asio::io_context& io, std::shared_ptr<TransportSink> sink,
                                                             const AttachOptions& options) {
  if (!sink) throw std::invalid_argument("websocketpp attach: a manager is needed");
  if (options.handed_over_bytes == 0)
    throw std::invalid_argument("websocketpp attach: handed_over_bytes must be above 0");
  return std::make_shared<AttachState>(io, std::move(sink), options);
}

MUSTER_INLINE std::shared_ptr<Attached> make_attached(std::shared_ptr<AttachState> attach,
                                                      std::unique_ptr<StockPipe> pipe) {
  return std::make_shared<AttachedTransport>(std::move(attach), std::move(pipe));
}

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
