// TransportSink: what an adapter calls. The core is one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/authenticator.hpp"
#include "muster/close_reason.hpp"
#include "muster/connection.hpp"
#include "muster/error.hpp"
#include "muster/executor.hpp"
#include "muster/function.hpp"
#include "muster/observer.hpp"
#include "muster/options.hpp"
#include "muster/transport.hpp"
#include "muster/types.hpp"
#include "muster/wire_format.hpp"

namespace muster {
inline namespace MUSTER_ABI {

namespace core {
class Admission;
}

/// A place among `max_connections`, held by a socket from accept until its descriptor is closed. Move-only; the
/// destructor gives the place back, in any thread; it may outlive the manager. A refused one says why.
class Reservation {
 public:
  Reservation() = default;
  Reservation(Function<void()> release) noexcept : release_(std::move(release)) {}
  Reservation(CloseReason refusal, Error error)
      : refused_(std::make_unique<const Refused>(Refused{refusal, std::move(error)})) {}
  Reservation(Reservation&& other) noexcept
      : release_(std::move(other.release_)), by_(other.by_), of_(other.of_), refused_(std::move(other.refused_)) {
    other.release_ = nullptr;
  }
  Reservation& operator=(Reservation&& other) noexcept {
    if (this != &other) {
      release();
      release_ = std::move(other.release_);
      other.release_ = nullptr;
      by_ = other.by_;
      of_ = other.of_;
      refused_ = std::move(other.refused_);
    }
    return *this;
  }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  ~Reservation() { release(); }

  /// Whether a place is held.
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(release_); }
  /// Why none is: over_capacity, and an error without a message, unless it was said.
  [[nodiscard]] CloseReason refusal() const noexcept {
    return refused_ ? refused_->reason : CloseReason::over_capacity;
  }
  [[nodiscard]] RefusedFor refused_for() const noexcept {
    return refusal() == CloseReason::policy       ? RefusedFor::per_ip
           : refusal() == CloseReason::going_away ? RefusedFor::going_away
                                                  : RefusedFor::capacity;
  }
  [[nodiscard]] Error error() const { return refused_ ? refused_->error : Error{errc::unavailable, {}, {}}; }

  void release() {
    if (release_) {
      auto release = std::move(release_);
      release_ = nullptr;
      release();
    }
  }

 private:
  struct Refused {
    CloseReason reason;
    Error error;
  };
  friend class core::Admission;
  Function<void()> release_;
  const core::Admission* by_ = nullptr;  ///< who knows it by its address; null: it is more than that
  std::array<std::uint8_t, 16> of_{};
  std::unique_ptr<const Refused> refused_;
};

/// What an adapter knows when a peer asks to connect.
struct OpenRequest {
  /// From `reserve`, at accept. Without one, `open` reserves by itself.
  Reservation reservation;
  RemoteAddress remote_address;
  /// Of the upgrade request, as Credentials has them.
  std::string path = "/ws";
  std::string query;
  std::string origin;
  /// The values of Options::credential_headers and credential_cookies, in that order; empty: not there.
  std::vector<std::string> headers;
  std::vector<std::string> cookies;
  /// Only one that was verified.
  std::optional<ClientCertificate> client_certificate;
  /// The token found in the upgrade, if any, and where.
  std::string token;
  TokenSource token_source = TokenSource::none;
  /// The subprotocols offered, in order.
  std::vector<std::string> subprotocols;
  /// How frames are written for this connection; none: WebSocketFormat.
  std::shared_ptr<const WireFormat> wire_format;
  /// The session this peer comes back for, by the id its client knows it by (the query's `resume=ID`); 0: none. Where a
  /// limit leaves it no place, it gets that of the session's old connection, once it has authenticated as the same user:
  /// the old one is a ghost then, and ends as `lost`, so that its session waits for `resume`. One such peer at a time.
  ConnectionId resumes;
  /// An id of the caller's own (its session does not resume); 0: one is made. A taken one is `invalid_message`.
  ConnectionId id;
};

/// The answer to `open`.
struct Decision {
  bool accepted = false;
  /// The connection, when accepted; the adapter passes it to received, writable and closed.
  std::shared_ptr<Connection> connection;
  /// The subprotocol to name in the upgrade's answer, also of one that is closed at once; empty: none.
  std::string subprotocol;
  /// When refused: describe(reason).http_status answers the upgrade, `error` says why and when to come back.
  CloseReason reason = CloseReason::normal;
  Error error;
  /// When refused: what the clients of the protocol that was chosen know as the reason's code; for RefuseWith::close_code.
  /// 0: none was chosen, and describe(reason).code holds.
  std::uint16_t close_code = 0;
  /// When refused: the place, to be held until the socket that carries the refusal is closed.
  Reservation reservation;
};
using OpenDone = Function<void(Decision)>;

/// Peers that come, what they say, and that they are gone: the adapter's side of the core. Every IConnectionManager is
/// one.
///
/// Ownership: an adapter shares it. The core shares the Transport up to `closed`, and the adapter the Connection up to its
/// call of that. Errors are answered, by a Reservation or a Decision that refuses.
///
/// Threads: where "executor" is said, on the executor that the connection was opened with, and never inside a call of its
/// Transport; the others from any thread.
class TransportSink {
 public:
  virtual ~TransportSink() = default;

  /// What it was configured with: adapters take their own limits from it. Any thread.
  [[nodiscard]] virtual const Options& options() const noexcept = 0;

  /// Reserves a place for an accepted socket; whether it connects too often is asked by `open`. A refusal names
  /// `over_capacity`, `policy` or `going_away`, and when to come back. `now` is the adapter's executor's. A refusal is
  /// not counted here: who wants no more than a health check is not refused. The adapter tells, by `refused`.
  [[nodiscard]] virtual Reservation reserve(const RemoteAddress& address, TimePoint now) = 0;

  /// The adapter turns a peer away, before `open` or for want of a place: counted by reason (Metrics), and logged at
  /// `info` once a minute for each reason and address. `what`: what was offered, and which option would admit it; never a
  /// token. What `open` itself refuses it tells itself. Any thread.
  virtual void refused(RefusedFor reason, const RemoteAddress& address, std::string_view what, TimePoint now) = 0;

  /// Executor. A peer asks to connect: admission, authentication, then `done` on the executor, once, inside the call
  /// or later. When accepted, what the core has to say (connection_ack) is written after `done` has returned. The
  /// request's deadline is `answer_timeout`. Returns what `cancel_open` takes; 0: already answered.
  virtual std::uint64_t open(OpenRequest request, std::shared_ptr<Transport> transport,
                             std::shared_ptr<Executor> executor, OpenDone done) = 0;
  /// Executor. The peer went away before the answer: `done` will not be called, and the place is given back.
  virtual void cancel_open(const std::shared_ptr<Executor>& executor, std::uint64_t opening) = 0;
  /// Executor. So many bytes came in of what is not whole yet, headers included: they are charged at once to
  /// `pre_auth_bytes` and `byte_rate`, and are a sign of life. An adapter that cannot see parts does not call it.
  virtual void arrived(Connection& connection, std::size_t bytes) = 0;
  /// Executor. One whole message came in (FrameKind::text, binary), or a ping or pong. FrameKind::continuation, without
  /// bytes: a frame that did not end its message; it counts against `frame_rate`, as every frame does.
  /// `wire_bytes`: what it took on the wire beyond what `arrived` was told of; 0: not known. The larger of what it took
  /// and what it is, once inflated, is charged.
  virtual void received(Connection& connection, FrameKind kind, std::string_view bytes, std::size_t wire_bytes = 0) = 0;
  /// Executor. The batch that answered `pending` is through.
  virtual void writable(Connection& connection) = 0;
  /// Executor. The socket is gone: nothing of the core's memory is referenced any more. `cause` is how it ended as far
  /// as the adapter saw: `normal` for a close handshake the peer started with 1000, `going_away` for other codes of the
  /// peer's, `lost` when it vanished, or the fault it closed for. Ignored when the core closed it.
  virtual void closed(Connection& connection, CloseReason cause) = 0;
  /// Executor. The adapter ends the connection for a fault it found (message_too_big, invalid_utf8, protocol_error): the
  /// disconnect flow runs, and Transport::close is called with the reason's code.
  virtual void fail(Connection& connection, CloseReason reason, std::string_view text) = 0;

 protected:
  TransportSink() = default;
  TransportSink(const TransportSink&) = default;
  TransportSink& operator=(const TransportSink&) = default;
};

}  // namespace MUSTER_ABI
}  // namespace muster
