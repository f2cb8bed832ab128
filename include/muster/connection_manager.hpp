// IConnectionManager: the single source of truth about connections, users and rooms.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/authenticator.hpp"
#include "muster/authorizer.hpp"
#include "muster/awareness_store.hpp"
#include "muster/broker.hpp"
#include "muster/close_reason.hpp"
#include "muster/connection.hpp"
#include "muster/continuation.hpp"
#include "muster/error.hpp"
#include "muster/executor.hpp"
#include "muster/interceptor.hpp"
#include "muster/message.hpp"
#include "muster/observer.hpp"
#include "muster/options.hpp"
#include "muster/protocol.hpp"
#include "muster/responder.hpp"
#include "muster/room.hpp"
#include "muster/session_store.hpp"
#include "muster/transport_sink.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// An embedder's command handler and hooks. What they throw is contained: counted, logged, and that connection is
/// closed with internal_error. But a handler that throws an Error has refused its command: the client is told the error.
using MessageHandler = std::function<void(Connection&, const Payload&)>;
/// A handler that may answer after it has returned.
using RespondingHandler = std::function<void(Connection&, const Payload&, Responder)>;
struct HandlerOptions {
  /// Whether the connection's later commands wait for the answer. False: they go on meanwhile, and answers come as they
  /// are given; of one connection at most Options::waiting_commands may be under way, then `too_many`.
  bool in_order = true;
  /// After it the client is told `unavailable`. 0: Options::answer_timeout.
  std::chrono::milliseconds timeout{0};
};
using ConnectionHook = std::function<void(Connection&)>;
/// `returns`: its session had the seat still, so that the others know nothing of a leave.
struct Joining {
  bool returns = false;
};
using JoinHook = std::function<void(Connection&, const RoomKey&, const Joining&)>;
/// `reason`: of the disconnect that is the cause; none: the client left. `keeps_seat`: its session may come back, and is
/// a member until then: what is told to others, Room::size and the capacity of the room do not change yet.
struct Leaving {
  std::optional<CloseReason> reason;
  bool keeps_seat = false;
};
using LeaveHook = std::function<void(Connection&, const RoomKey&, const Leaving&)>;
using DisconnectHook = std::function<void(Connection&, CloseReason)>;
/// Of a connection that does not keep up.
struct Slow {
  /// When the oldest byte was queued that its peer had not taken as it became slow; by the clock of its executor.
  TimePoint since{};
  /// How long ago that was.
  std::chrono::milliseconds lasts{0};
  /// As in Connection::Counters.
  std::size_t unsent_bytes = 0;
};
using SlowHook = std::function<void(Connection&, const Slow&)>;
using UserHook = std::function<void(const UserKey&)>;
using RoomHook = std::function<void(const RoomKey&)>;

/// How the program seats a connection.
struct JoinAs {
  /// Whether the authorizer is asked (Action::join), as it is for a client's own join. False: the program has decided, also
  /// for when credentials are renewed, and when the session comes back to the seat on this manager.
  bool authorized = false;
};
/// What became of a seat: `invalid_room`, `not_in_room`, `room_full`, `too_many_rooms`, `permission_denied`, `unavailable`, or
/// `not_found` where the connection is gone before it was dealt with.
using SeatDone = Function<void(Result<void>)>;
/// Of a user's connections: in how many it went well, 0 where none is there; an error if it did in none.
using SeatsDone = Function<void(Result<std::size_t>)>;

/// What became of a request: the client's answer, or `permission_denied` where it refused (with its own name, message and
/// details), `unavailable` where it did not answer in time, `not_found` where it is gone, `not_supported` where its
/// protocol carries no requests, and `too_many` beyond Options::waiting_commands at once.
using RequestDone = Function<void(Result<Payload>)>;

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

namespace detail {
/// How a callable of another form becomes this kind of handler or hook: with a function
/// `static Wanted adapt(IConnectionManager&, Callable)`. coroutine.hpp has it for coroutines.
template <class Wanted, class Callable, class = void>
struct Adapter {};
template <class Wanted, class Callable>
using Adapted = decltype(&Adapter<Wanted, Callable>::adapt);
}  // namespace detail

/// Connections, users, rooms, awareness and delivery. Made by make_connection_manager; callers share it by
/// std::shared_ptr<IConnectionManager>. Managers are independent of each other: there is no global state.
///
/// Threads: every method from any thread, callbacks included, but for those of TransportSink, which adapters call.
/// Lookups have snapshot semantics, never create anything, and answer
/// unknown ids with nothing. No callback is called under a lock or inside Transport::write.
class IConnectionManager : public TransportSink {
 public:
  // Extending.

  /// Serves a client command of this type, in place of an earlier handler; the authorizer is asked first
  /// (Action::custom). Throws std::invalid_argument for an empty type or handler, and for a type that every protocol
  /// serves itself. The same holds for empty hooks.
  ///
  /// At any time, also in a handler: every command whose turn comes after this has returned is served so. A handler that
  /// is being called then is kept until it has returned.
  virtual void on(std::string type, MessageHandler handler) = 0;
  virtual void on(std::string type, RespondingHandler handler, HandlerOptions options = {}) = 0;
  /// Likewise takes the handler of this type away: the command is unknown from then on. False: it had none. `done`, if
  /// given, is called once, from any thread, when no executor calls that handler any more, and what it held has been let
  /// go of; but for coroutines that it has begun, which hold it until they are done.
  virtual bool off(std::string_view type, Function<void()> done = nullptr) = 0;
  /// Likewise, at any time: sees what clients publish, `latest` messages and awareness included, and says what becomes of
  /// it; in place of an earlier one. An empty one: nobody looks, and nothing is spent on it. It is asked behind the
  /// authorizer, about members of the room alone, and before a message has its number. A state that is taken away, what
  /// the program publishes and what other nodes do is not shown to it. What it throws is as of a handler.
  virtual void intercept(PublishInterceptor interceptor) = 0;
  /// Hooks are given before the first `open`, since they tell of what begins and ends; later is std::logic_error.
  ///
  /// Hooks run on the connection's executor, exactly once each, after the tables changed: on_connected, on_joined; and
  /// every on_left before on_disconnected. Several hooks of one kind are called in the order in which they were given.
  ///
  /// on_user_online and on_user_offline: the user's first connection came, the last seat of its sessions is given up;
  /// on_room_opened and on_room_emptied: a room of this process has its first member, or no member any more, kept seats
  /// included. Of one user or room they come in turns, never two at once; on the executor of whoever made the change, or
  /// of another when two change it at the same time. on_room_opened comes before the on_joined that opens the room, and
  /// on_room_emptied after the on_left that gives up its last seat.
  ///
  /// Handlers and hooks are let go of when `shutdown` is done, and one that is given after it at once. One that holds the
  /// manager keeps it until then; what they need of it is Connection::manager().
  virtual void on_connected(ConnectionHook hook) = 0;
  virtual void on_joined(JoinHook hook) = 0;
  virtual void on_left(LeaveHook hook) = 0;
  virtual void on_disconnected(DisconnectHook hook) = 0;
  /// A connection is slow when its pipe is full and more than Options::unsent_soft_bytes waits for it, or what a room could
  /// not tell it before there was more. It has caught up when its pipe has taken all that, and what it was owed from
  /// history. The two come in turns, each from a task of its own: what is over before that has run is not told, and
  /// a connection that ends while it is slow has never caught up.
  virtual void on_slow(SlowHook hook) = 0;
  virtual void on_caught_up(SlowHook hook) = 0;
  virtual void on_user_online(UserHook hook) = 0;
  virtual void on_user_offline(UserHook hook) = 0;
  virtual void on_room_opened(RoomHook hook) = 0;
  virtual void on_room_emptied(RoomHook hook) = 0;

  // The same for coroutines, with C++20 and muster/coroutine.hpp, which says what they take and give.

  template <class Coroutine, class = detail::Adapted<RespondingHandler, Coroutine>>
  void on(std::string type, Coroutine handler, HandlerOptions options = {}) {
    on(std::move(type), adapted<RespondingHandler>(std::move(handler)), options);
  }
  template <class Coroutine, class = detail::Adapted<ConnectionHook, Coroutine>>
  void on_connected(Coroutine hook) {
    on_connected(adapted<ConnectionHook>(std::move(hook)));
  }
  template <class Coroutine, class = detail::Adapted<JoinHook, Coroutine>>
  void on_joined(Coroutine hook) {
    on_joined(adapted<JoinHook>(std::move(hook)));
  }
  template <class Coroutine, class = detail::Adapted<LeaveHook, Coroutine>>
  void on_left(Coroutine hook) {
    on_left(adapted<LeaveHook>(std::move(hook)));
  }
  template <class Coroutine, class = detail::Adapted<DisconnectHook, Coroutine>>
  void on_disconnected(Coroutine hook) {
    on_disconnected(adapted<DisconnectHook>(std::move(hook)));
  }
  template <class Coroutine, class = detail::Adapted<UserHook, Coroutine>>
  void on_user_online(Coroutine hook) {
    on_user_online(adapted<UserHook>(std::move(hook)));
  }
  template <class Coroutine, class = detail::Adapted<UserHook, Coroutine>>
  void on_user_offline(Coroutine hook) {
    on_user_offline(adapted<UserHook>(std::move(hook)));
  }
  template <class Coroutine, class = detail::Adapted<RoomHook, Coroutine>>
  void on_room_opened(Coroutine hook) {
    on_room_opened(adapted<RoomHook>(std::move(hook)));
  }
  template <class Coroutine, class = detail::Adapted<RoomHook, Coroutine>>
  void on_room_emptied(Coroutine hook) {
    on_room_emptied(adapted<RoomHook>(std::move(hook)));
  }

  /// Where the handler or hook goes on that runs in this thread. Throws std::logic_error where none of this manager does.
  [[nodiscard]] virtual std::shared_ptr<Continuation> continuation() = 0;

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
  /// Rooms of this process whose names begin with `prefix`, in the order of names: those after `after`, at most `limit`.
  /// Looks at every room there is: for people and their tools.
  [[nodiscard]] virtual std::vector<RoomInfo> rooms(std::string_view tenant, std::string_view prefix,
                                                    std::string_view after, std::size_t limit) const = 0;
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

  /// Asks the client of the connection of this id, or of the one that took up its session, and tells `done` what became
  /// of it, once, from any thread. A request outlives a connection that is lost: whoever resumes the session within the
  /// timeout is asked again, under the same number.
  virtual void request(ConnectionId id, std::string type, Payload data, std::chrono::milliseconds timeout,
                       RequestDone done) = 0;

  // Profiles: what the members of its rooms are shown of a connection (Member::profile), first that of its identity, then
  // what was set last, also by its client where Options::allow_profile says so. Kept over a resume and by new credentials.
  // Others are told changes with presence, and so not in rooms of more than presence_list_max. Empty: none. Each returns
  // how many connections it was handed to, and throws std::invalid_argument for more than Options::profile_bytes.

  virtual std::size_t set_profile(ConnectionId id, Payload profile) = 0;
  virtual std::size_t set_profile(const UserKey& user, Payload profile) = 0;

  // Seating: the program does what clients ask with `join` and `leave`. The connection of this id, or the one that took up
  // its session; its client is told as of its own, with by: "server", and need not have asked. What is asked of one
  // connection happens in order, and before what its client asks while that waits. Room names, capacities and
  // rooms_per_connection hold; rooms_created_per_minute is the clients'. Each `done`, if given, is called once, from any
  // thread; who is in the room already, or who leaves one it is not in, is well. A session that has no connection now is
  // not reached: its seats are what they were when it comes back, which on_joined tells (`Joining::returns`).

  virtual void join(ConnectionId id, std::string room, JoinAs as = {}, SeatDone done = nullptr) = 0;
  virtual void leave(ConnectionId id, std::string room, SeatDone done = nullptr) = 0;
  /// Into `to`, then out of `from`, which it must be in (`not_in_room`): one that is not let into `to` keeps its seat.
  virtual void move(ConnectionId id, std::string from, std::string to, JoinAs as = {}, SeatDone done = nullptr) = 0;
  /// Likewise with every connection that a user has now; one that is not in `from` is not moved.
  virtual void join(const UserKey& user, std::string room, JoinAs as = {}, SeatsDone done = nullptr) = 0;
  virtual void leave(const UserKey& user, std::string room, SeatsDone done = nullptr) = 0;
  virtual void move(const UserKey& user, std::string from, std::string to, JoinAs as = {},
                    SeatsDone done = nullptr) = 0;

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

 private:
  template <class Wanted, class Coroutine>
  [[nodiscard]] Wanted adapted(Coroutine coroutine) {
    return detail::Adapter<Wanted, Coroutine>::adapt(*this, std::move(coroutine));
  }
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
