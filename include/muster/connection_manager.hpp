// IConnectionManager: the single source of truth about connections, users and rooms.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "muster/authenticator.hpp"
#include "muster/authorizer.hpp"
#include "muster/awareness_store.hpp"
#include "muster/broker.hpp"
#include "muster/close_reason.hpp"
#include "muster/connection.hpp"
#include "muster/error.hpp"
#include "muster/executor.hpp"
#include "muster/message.hpp"
#include "muster/observer.hpp"
#include "muster/options.hpp"
#include "muster/protocol.hpp"
#include "muster/room.hpp"
#include "muster/session_store.hpp"
#include "muster/transport.hpp"
#include "muster/types.hpp"
#include "muster/wire_format.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// A place among `max_connections`, held by a socket from accept until its descriptor is closed. Move-only; the
/// destructor gives the place back, in any thread; it may outlive the manager. A refused one says why.
class Reservation {
 public:
  Reservation() = default;
  Reservation(Function<void()> release) noexcept : release_(std::move(release)) {}
  Reservation(CloseReason refusal, Error error)
      : refused_(std::make_unique<const Refused>(Refused{refusal, std::move(error)})) {}
  Reservation(Reservation&& other) noexcept : release_(std::move(other.release_)), refused_(std::move(other.refused_)) {
    other.release_ = nullptr;
  }
  Reservation& operator=(Reservation&& other) noexcept {
    if (this != &other) {
      release();
      release_ = std::move(other.release_);
      other.release_ = nullptr;
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
  Function<void()> release_;
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

/// An embedder's command handler and hooks. What they throw is contained: counted, logged, and that connection is
/// closed with internal_error.
using MessageHandler = std::function<void(Connection&, const Payload&)>;
using ConnectionHook = std::function<void(Connection&)>;
/// `returns`: its session had the place still, so that the others know nothing of a leave.
struct Joining {
  bool returns = false;
};
using JoinHook = std::function<void(Connection&, const RoomKey&, const Joining&)>;
/// `reason`: of the disconnect that is the cause; none: the client left. `keeps_place`: its session may come back, and is
/// a member until then: what is told to others, Room::size and the capacity of the room do not change yet.
struct Leaving {
  std::optional<CloseReason> reason;
  bool keeps_place = false;
};
using LeaveHook = std::function<void(Connection&, const RoomKey&, const Leaving&)>;
using DisconnectHook = std::function<void(Connection&, CloseReason)>;
using UserHook = std::function<void(const UserKey&)>;
using RoomHook = std::function<void(const RoomKey&)>;

/// What became of a queued message: its id in the user's queue, and how many older ones had to go for it.
using QueuedDone = Function<void(Result<Queued>)>;

/// What a drain did.
struct Drained {
  std::size_t closed = 0;  ///< connections that were there
  std::size_t forced = 0;  ///< of them, sockets that had to be cut
};

/// One connection's whole story, for the person who is paged.
struct Explanation {
  ConnectionInfo info;
  Connection::Counters counters;
  std::string protocol;
  std::size_t waiting_commands = 0;
  /// Fed from history, because it does not keep up.
  bool behind = false;
  /// How long the oldest unsent byte has waited.
  std::chrono::milliseconds unsent_age{0};
  /// States it will be told newest only, because it was behind.
  std::size_t conflated = 0;
  std::chrono::milliseconds since_last_inbound{0};
  /// None: it has not been pinged, or the answer is due.
  std::optional<std::chrono::milliseconds> since_last_pong;
  std::optional<WallTime> expires_at;
  /// Whether its session was resumed.
  bool resumed = false;
  std::optional<CloseReason> close_reason;
};

/// Connections, users, rooms, awareness and delivery. Made by make_connection_manager; callers share it by
/// std::shared_ptr<IConnectionManager>. Managers are independent of each other: there is no global state.
///
/// Threads: every method from any thread, callbacks included, except where "executor" is said: those are called on
/// the connection's executor, by the adapter. Lookups have snapshot semantics, never create anything, and answer
/// unknown ids with nothing. No callback is called under a lock or inside Transport::write.
class IConnectionManager {
 public:
  virtual ~IConnectionManager() = default;

  /// The options it was made with.
  [[nodiscard]] virtual const Options& options() const noexcept = 0;

  // For adapters.

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

  // Extending. Before the first `open`; later is std::logic_error.

  /// Serves a client command of this type, in place of an earlier handler; the authorizer is asked first
  /// (Action::custom). Throws std::invalid_argument for an empty type or handler, and for a type that every protocol
  /// serves itself. The same holds for empty hooks.
  virtual void on(std::string type, MessageHandler handler) = 0;
  /// Hooks run on the connection's executor, exactly once each, after the tables changed: on_connected, on_joined; and
  /// every on_left before on_disconnected. Several hooks of one kind are called in the order in which they were given.
  ///
  /// on_user_online and on_user_offline: the user's first connection came, the last place of its sessions is given up;
  /// on_room_opened and on_room_emptied: a room of this process has its first member, or no member any more, kept places
  /// included. Of one user or room they come in turns, never two at once; on the executor of whoever made the change, or
  /// of another when two change it at the same time. on_room_opened comes before the on_joined that opens the room, and
  /// on_room_emptied after the on_left that gives up its last place.
  ///
  /// Handlers and hooks are let go of when `shutdown` is done. One that holds the manager keeps it until then; what they
  /// need of it is Connection::manager().
  virtual void on_connected(ConnectionHook hook) = 0;
  virtual void on_joined(JoinHook hook) = 0;
  virtual void on_left(LeaveHook hook) = 0;
  virtual void on_disconnected(DisconnectHook hook) = 0;
  virtual void on_user_online(UserHook hook) = 0;
  virtual void on_user_offline(UserHook hook) = 0;
  virtual void on_room_opened(RoomHook hook) = 0;
  virtual void on_room_emptied(RoomHook hook) = 0;

  // Lookups: authenticated connections only.

  [[nodiscard]] virtual std::optional<ConnectionInfo> find(ConnectionId id) const = 0;
  [[nodiscard]] virtual bool contains(ConnectionId id) const = 0;
  /// A page of all, in a stable order: those after `after`, at most `limit`.
  [[nodiscard]] virtual std::vector<ConnectionInfo> connections(ConnectionId after, std::size_t limit) const = 0;
  [[nodiscard]] virtual std::vector<ConnectionInfo> connections_in(const RoomKey& room) const = 0;
  [[nodiscard]] virtual std::vector<ConnectionInfo> connections_of(const UserKey& user) const = 0;
  [[nodiscard]] virtual std::vector<ConnectionInfo> connections_of_tenant(std::string_view tenant) const = 0;
  [[nodiscard]] virtual std::size_t connection_count() const = 0;
  [[nodiscard]] virtual std::size_t connection_count(const UserKey& user) const = 0;
  /// Connections that are not authenticated yet.
  [[nodiscard]] virtual std::size_t pending_count() const = 0;
  /// Whether `max_connections` places are taken.
  [[nodiscard]] virtual bool is_full() const = 0;
  [[nodiscard]] virtual bool is_online(const UserKey& user) const = 0;
  /// Sorted.
  [[nodiscard]] virtual std::vector<std::string> online_users(std::string_view tenant) const = 0;
  [[nodiscard]] virtual std::size_t room_count() const = 0;
  /// A handle; the room need not exist.
  [[nodiscard]] virtual std::shared_ptr<Room> room(RoomKey key) = 0;
  [[nodiscard]] virtual const AwarenessStore& awareness() const noexcept = 0;
  [[nodiscard]] virtual Metrics metrics() const = 0;
  /// Answers on the connection's executor; nothing for an unknown id.
  virtual void explain(ConnectionId id, Function<void(std::optional<Explanation>)> done) = 0;

  // Sending. Each returns how many connections it was handed to; their loops write it, unless they end before.

  /// To the connection of this id, or the one that took up its session. 0: unknown.
  virtual std::size_t send(ConnectionId id, const Payload& payload) = 0;
  /// To all of a user's connections. Delivery::queued is stored first, until every session of the user has acknowledged
  /// it; who is online gets it at once, who is not with the next connection. `done`, if given, is called once, from any
  /// thread, when the store has answered, which has no deadline here: `unavailable` when it does not take it (then it is
  /// not sent either), `too_large` when no queue can hold it. Other deliveries call it at once, with queue id 0.
  virtual std::size_t send_to_user(const UserKey& user, const Payload& payload, const Delivery& delivery,
                                   QueuedDone done = nullptr) = 0;
  virtual std::size_t send_to_user(const UserKey& user, const Payload& payload) = 0;
  virtual std::size_t send_to_users(const std::vector<UserKey>& users, const Payload& payload) = 0;
  virtual std::size_t send_to_tenant(std::string_view tenant, const Payload& payload) = 0;
  virtual std::size_t send_to_all(const Payload& payload) = 0;
  /// As Room::publish.
  virtual void publish(const RoomKey& room, const Payload& payload, Delivery delivery = Delivery::reliable(),
                       ConnectionId exclude = {}, PublishDone done = nullptr) = 0;

  // Ending. Each `done`, where given, is called once; from which thread is not said.

  /// Starts the disconnect flow of one connection. False: unknown.
  virtual bool remove(ConnectionId id, CloseReason reason = CloseReason::normal, std::string text = {}) = 0;
  /// Tells the client (`kicked`), then closes it. `reconnect` is the advice it gets.
  virtual bool kick(ConnectionId id, std::string text, bool reconnect) = 0;
  /// Closes every connection, pending ones included; `done` gets how many once every socket is gone.
  virtual void close_all(CloseReason reason, std::string text, Function<void(std::size_t)> done) = 0;
  /// Runs the periodic sweep now on every executor; `done` gets how many findings once all have run.
  virtual void sweep_now(Function<void(std::size_t)> done) = 0;
  /// Ends what was granted, with `revoked`: no grace, and no session that could resume. Returns how many connections.
  /// Who is connected to another manager stays: revoke there, too. That the same credentials are refused from now on is
  /// the authenticator's part.
  virtual std::size_t revoke(const UserKey& user) = 0;
  virtual std::size_t revoke(ConnectionId id) = 0;
  virtual std::size_t revoke_tenant(std::string_view tenant) = 0;
  /// For deploys: takes no more connections, tells every client when to come back (a time drawn from
  /// `reconnect_window`, so that they do not all come at once), and closes them one by one within `deadline`, with
  /// going_away. Sockets that are not gone by then are cut. `done` gets the counts once every socket is gone.
  virtual void drain(std::chrono::milliseconds deadline, std::chrono::milliseconds reconnect_window,
                     Function<void(Drained)> done) = 0;
  /// Takes no more connections, closes all with going_away, and calls `done` once every socket is gone; those of an
  /// executor that has stopped count as gone. After it: stop the listeners, then the executors, then let the manager go.
  virtual void shutdown(Function<void()> done) = 0;
  /// Whether new connections are taken: false from the start of `drain` or `shutdown`.
  [[nodiscard]] virtual bool is_ready() const = 0;

 protected:
  IConnectionManager() = default;
  IConnectionManager(const IConnectionManager&) = default;
  IConnectionManager& operator=(const IConnectionManager&) = default;
};

/// The seams a manager is put together from. Protocols: at least one. The others have defaults: awareness and
/// sessions in memory, no broker (one process), no observer. The manager keeps what it was given; managers that
/// share rooms share the broker, and the session store too if sessions shall resume at any of them.
struct Components {
  std::vector<std::shared_ptr<const Protocol>> protocols = {};
  std::shared_ptr<AwarenessStore> awareness_store = nullptr;
  std::shared_ptr<SessionStore> session_store = nullptr;
  std::shared_ptr<Broker> broker = nullptr;
  std::shared_ptr<Observer> observer = nullptr;
  /// Fixes every random choice (ids, epochs, the first heartbeat), for tests; none: from the system.
  std::optional<std::uint64_t> random_seed = std::nullopt;
  /// The time until the first connection, whose executor's clock counts from then on: of messages queued and published
  /// before. None: std::chrono::steady_clock, which is also the clock of the executors that come with muster, but for
  /// ManualExecutor. Called on any thread.
  std::function<TimePoint()> clock = nullptr;
};

/// Makes a manager. Who may connect and who may do what are always said: there is no default that lets anyone in.
/// Throws std::invalid_argument that names every problem of the options, a missing seam, or a missing protocol.
[[nodiscard]] std::shared_ptr<IConnectionManager> make_connection_manager(Options options,
                                                                          std::shared_ptr<Authenticator> authenticator,
                                                                          std::shared_ptr<Authorizer> authorizer,
                                                                          Components components);

}  // namespace MUSTER_ABI
}  // namespace muster

#if !defined(MUSTER_COMPILED)
#include "muster/core/core.ipp"
#endif
