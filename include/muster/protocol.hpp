// The seam between bytes and meaning: frames -> commands, events -> frames, close reasons -> close codes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "muster/awareness_store.hpp"
#include "muster/close_reason.hpp"
#include "muster/error.hpp"
#include "muster/message.hpp"
#include "muster/types.hpp"
#include "muster/wire_format.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// What ties a reply to its command. The core hands it back and looks only at `reply`.
struct Correlation {
  /// The protocol's own: the command's id as it stood on the wire, and the form the reply takes.
  std::string id;
  std::uint8_t form = 0;
  /// Whether a success is answered; errors always are.
  bool reply = false;
};

/// What a client may ask. `Invalid` is a message that could not be understood; it counts as one.
namespace command {
struct Authenticate {
  std::string token;
};
struct ResumeRoom {
  std::string room;
  Position position;
};
struct Resume {
  std::string token;
  /// The credentials of who has not authenticated yet; empty: none.
  std::string auth;
  std::vector<ResumeRoom> rooms;
};
struct Join {
  std::string room;
};
struct Leave {
  std::string room;
};
struct ListSubscriptions {};
struct Publish {
  std::string room;
  Payload data;
  /// Whether its publisher gets it too: the protocol's to say, or to let its clients say. State (awareness, presence) is
  /// told to everybody in the room, to its owner as well.
  bool echo = false;
  /// Of two publishes of one user to one room with one key the second is answered as the first was; empty: none.
  std::string idempotency_key;
  Delivery delivery;
};
struct Send {
  std::string user;
  Payload data;
  bool queued = false;
};
struct AwarenessSet {
  std::string room;
  /// Empty: the one entry of this connection that needs no name.
  std::string client;
  /// None removes, and so does an empty one, which is what others are told of a removal.
  std::optional<Payload> state;
  std::uint64_t clock = 0;
};
struct AwarenessQuery {
  std::string room;
};
/// What a room's history holds behind a position, as Room::history has it. `limit` 0: as many as the server likes.
struct HistoryQuery {
  std::string room;
  Position after;
  std::size_t limit = 0;
};
/// By users, or by room when `room` is not empty.
struct PresenceQuery {
  std::vector<std::string> users;
  std::string room;
  /// Not 0: the room's members instead of its users, at most so many, in the order of connection ids behind `after`.
  std::size_t limit = 0;
  ConnectionId after;
};
/// The client's session has every queued message up to `queue_id`. A client that resumes waits for `resumed` with it:
/// what the session lacks is sent before that, and may be older than what came first.
struct AcknowledgeQueue {
  std::uint64_t queue_id = 0;
};
/// Answers an event::Request of the server's. One that is over is answered in vain.
struct Answer {
  std::uint64_t request = 0;
  /// Or why not: the client's own words, with the code permission_denied.
  Result<Payload> result = Payload();
};
/// What others shall be shown of this connection; empty: nothing.
struct ProfileSet {
  Payload profile;
};
struct SessionInfo {};
struct Ping {
  Payload payload;
};
struct Custom {
  std::string type;
  Payload payload;
};
struct Invalid {
  Error error;
};
}  // namespace command

struct Command {
  Correlation correlation;
  std::variant<command::Authenticate, command::Resume, command::Join, command::Leave, command::ListSubscriptions,
               command::Publish, command::Send, command::AwarenessSet, command::AwarenessQuery, command::HistoryQuery,
               command::PresenceQuery, command::AcknowledgeQueue, command::Answer, command::ProfileSet,
               command::SessionInfo, command::Ping, command::Custom, command::Invalid>
      body;
};

/// What a server tells. Views and pointers are valid during `Protocol::encode` only.
namespace event {
struct ConnectionAck {
  ConnectionId connection;
  std::string_view user;
  std::string_view tenant;
  std::chrono::milliseconds heartbeat{0};
  /// Empty where sessions cannot resume.
  std::string_view resume_token;
  std::chrono::milliseconds resume_ttl{0};
};
struct ResumedRoom {
  enum class State : std::uint8_t {
    recovered,  ///< what was published since the position follows, all of it
    gap,        ///< something is missing: a gap names it, or the order has begun anew
    denied      ///< not the session's, not allowed any more, or full
  };
  std::string room;
  State state = State::denied;
};
struct Resumed {
  /// What others know the connection as: the id of its session's first one.
  ConnectionId connection;
  const std::vector<ResumedRoom>* rooms = nullptr;
};
struct AuthResult {
  /// None: refused, and `error` says why.
  const Identity* identity = nullptr;
  std::string_view error;
};
struct RoomJoined {
  std::string_view room;
  Position position;
  const std::vector<Member>* members = nullptr;
  std::size_t member_count = 0;
  bool recovered = false;
  /// The program did it: the client has not asked.
  bool by_server = false;
};
struct RoomLeft {
  std::string_view room;
  bool by_server = false;
};
/// Success of a command without another result.
struct Ack {
  std::optional<Position> position;
  std::optional<std::size_t> delivered;
  std::optional<bool> queued;
  /// What an embedder's handler replied.
  const Payload* payload = nullptr;
  /// The room of a join or leave, for protocols that answer these with an ack.
  std::string_view room;
  /// The clock at which an awareness entry stands now, where it is not the one that was sent; `stale`: what was sent is
  /// older, and was not taken.
  std::optional<std::uint64_t> clock = std::nullopt;
  bool stale = false;
};
struct Subscriptions {
  const std::vector<std::string>* rooms = nullptr;
};
struct RoomMessage {
  std::string_view room;
  /// seq 0: a `latest` message.
  Position position;
  /// 0: from the server.
  ConnectionId from;
  std::string_view from_user;
  const Payload* data = nullptr;
};
struct DirectMessage {
  ConnectionId from;
  std::string_view from_user;
  const Payload* data = nullptr;
  /// 0: not from an offline queue.
  std::uint64_t queue_id = 0;
};
/// Messages `from` to `to`, both included, will not come.
struct Gap {
  std::string_view room;
  std::uint64_t from = 0;
  std::uint64_t to = 0;
};
/// Answers a HistoryQuery: as HistoryPage.
struct History {
  std::string_view room;
  std::uint64_t epoch = 0;
  const HistoryMessage* messages = nullptr;
  std::size_t count = 0;
  bool complete = true;
  bool more = false;
};
/// A room's awareness as it is now, or a chunk of it. An answer's correlation comes with the last.
struct AwarenessState {
  std::string_view room;
  const AwarenessEntry* entries = nullptr;
  std::size_t count = 0;
  /// Another chunk follows.
  bool more = false;
};
/// What changed. An entry with an empty state was removed.
struct AwarenessChanged {
  std::string_view room;
  const AwarenessEntry* entries = nullptr;
  std::size_t count = 0;
};
struct UserPresence {
  std::string user;
  std::size_t connections = 0;
  /// Online without a connection: nobody was told that the user went, since its session may still come back.
  bool in_grace = false;
};
/// Users who were asked about, or a room's: these in chunks. An answer's correlation comes with the last.
struct PresenceState {
  const UserPresence* users = nullptr;
  std::size_t count = 0;
  /// Another chunk follows.
  bool more = false;
  /// Empty: it was asked about users.
  std::string_view room = {};
  /// Not null: these members instead, and whether there are others behind them.
  const std::vector<Member>* members = nullptr;
};
/// Who came and went. With `members` instead: all who are there, or a chunk of them, in place of what was told before:
/// the room was larger than presence_list_max, and is no longer. Null lists: only the count is told.
struct PresenceChanged {
  std::string_view room;
  const std::vector<Member>* joined = nullptr;
  const std::vector<Member>* left = nullptr;
  const Member* members = nullptr;
  std::size_t count = 0;  ///< of this chunk
  bool more = false;      ///< another chunk follows
  std::size_t member_count = 0;
  /// Members whose profile has changed; null as well where there are none.
  const std::vector<Member>* changed = nullptr;
};
/// Users whose first connection came, or whose last one went.
struct UsersOnline {
  const std::vector<std::string>* users = nullptr;
};
struct UsersOffline {
  const std::vector<std::string>* users = nullptr;
};
struct ReauthRequired {
  WallTime expires_at;
  std::chrono::milliseconds grace{0};
};
struct Draining {
  std::chrono::milliseconds reconnect_after{0};
};
struct Kicked {
  std::string_view reason;
  bool reconnect = false;
};
struct SessionState {
  ConnectionId connection;
  std::string_view user;
  std::string_view tenant;
  const std::vector<std::string>* rooms = nullptr;
  WallTime connected_at;
};
struct Pong {
  const Payload* payload = nullptr;
};
/// A handler says how far it is with a command; the answer follows.
struct Progress {
  const Payload* payload = nullptr;
};
/// The server asks the client, which has `timeout` for its command::Answer. After a resume, what it has not answered is
/// told again.
struct Request {
  std::uint64_t request = 0;
  std::string_view type;
  const Payload* data = nullptr;
  std::chrono::milliseconds timeout{0};
};
struct Failure {
  const Error* error = nullptr;
};
/// A sign of life that the client answers: of protocols whose heartbeat is a message.
struct Heartbeat {};
}  // namespace event

/// One of the events above, wherever it lies: for the time of a call, and of the size of a pointer and a half.
class Event {
  template <class... Events>
  struct ListOf {
    static constexpr std::size_t size = sizeof...(Events);
  };
  using List =
      ListOf<event::ConnectionAck, event::Resumed, event::AuthResult, event::RoomJoined, event::RoomLeft, event::Ack,
             event::Subscriptions, event::RoomMessage, event::DirectMessage, event::Gap, event::History,
             event::AwarenessState, event::AwarenessChanged, event::PresenceState, event::PresenceChanged,
             event::UsersOnline, event::UsersOffline, event::ReauthRequired, event::Draining, event::Kicked,
             event::SessionState, event::Pong, event::Progress, event::Request, event::Failure, event::Heartbeat>;

 public:
  /// How many there are, and which of them this is: the n-th above, from 0.
  static constexpr std::size_t kinds = List::size;
  [[nodiscard]] std::size_t index() const noexcept { return which_; }

  template <class E>
  Event(const E& event) noexcept : which_(place_of<E>(List())), event_(&event) {}

  /// Null: it is another.
  template <class E>
  [[nodiscard]] const E* get_if() const noexcept {
    return which_ == place_of<E>(List()) ? static_cast<const E*>(event_) : nullptr;
  }
  /// Calls `visitor` with the event that it is.
  template <class Visitor>
  void visit(Visitor& visitor) const {
    visit(visitor, List());
  }

 private:
  template <class E, class... Events>
  [[nodiscard]] static constexpr std::uint8_t place_of(ListOf<Events...>) noexcept {
    static_assert((std::is_same_v<E, Events> || ...), "it is no event");
    std::uint8_t place = 0;
    (void)((std::is_same_v<E, Events> || (++place, false)) || ...);
    return place;
  }
  template <class Visitor, class... Events>
  void visit(Visitor& visitor, ListOf<Events...>) const {
    using Call = void (*)(Visitor&, const void*);
    static constexpr Call calls[] = {&call<Visitor, Events>...};
    calls[which_](visitor, event_);
  }
  template <class Visitor, class E>
  static void call(Visitor& visitor, const void* event) {
    visitor(*static_cast<const E*>(event));
  }

  std::uint8_t which_;
  const void* event_;
};

/// The limits a decoder applies while it reads.
struct DecodeLimits {
  std::size_t nesting = 32;
};

/// Where a peer came to: the path and query of its upgrade request, as Credentials have them, and what stood where the
/// protocol's path has names. Views are valid during `Protocol::converse` only.
struct PathMatch {
  std::string_view path;
  std::string_view query;
  /// Percent-decoded, whatever bytes that gives: slashes, zeros, no UTF-8. The core refuses what cannot be a room's name
  /// when a command has it.
  std::vector<std::pair<std::string, std::string>> names;

  /// Empty: the protocol's path has no such name.
  [[nodiscard]] std::string_view operator[](std::string_view name) const noexcept {
    for (const auto& [known, value] : names) {
      if (known == name) return value;
    }
    return {};
  }
};

/// One connection's side of a protocol whose messages do not say all that a command needs: the room that stood in the
/// path, subscriptions by number. What is encoded knows nothing of it, since it serves many connections. It is not told
/// what becomes of its commands, which a rate or the authorizer may refuse. A session that is resumed goes on with the
/// conversation of the connection it resumes on.
///
/// Ownership: the connection's, which lets go of it when its socket is gone. The protocol outlives it.
/// Threads: made, called and destroyed on the connection's executor, destroyed elsewhere when that has stopped. Never
/// calls back. Must not throw, whatever the bytes are.
class Conversation {
 public:
  virtual ~Conversation() = default;

  /// As Protocol::decode, which is not called for a connection that has one of these. Messages come in order, and after
  /// a close reason none.
  [[nodiscard]] virtual std::optional<CloseReason> decode(FrameKind kind, std::string_view message,
                                                          const DecodeLimits& limits,
                                                          std::vector<Command>& commands) = 0;

 protected:
  Conversation() = default;
  Conversation(const Conversation&) = default;
  Conversation& operator=(const Conversation&) = default;
};

/// How a protocol finds out that a client is alive; `heartbeat` and `pong_timeout` of Options say when.
enum class HeartbeatStyle : std::uint8_t {
  ping,     ///< a ping frame (RFC 6455, 5.5.2), which every client answers by itself
  message,  ///< event::Heartbeat, which the protocol must tell, and the client answers with whatever it says
  client  ///< the server asks nothing, and the client says something by itself: who is silent for both together is gone
};

/// Bytes <-> commands and events. One object serves many connections on many threads: it is immutable and keeps
/// nothing between calls. What a protocol has to know of one connection is in its Conversation.
///
/// Threads: any, at once. Never calls back. Must not throw, whatever the bytes are.
class Protocol {
 public:
  virtual ~Protocol() = default;

  /// The WebSocket subprotocol (RFC 6455, 1.9) this is chosen by; also its name in logs.
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  /// The URL path it is served at, as it stands in a request: encoded, without the query. A segment in braces, as in
  /// `/doc/{room}`, is a name for whatever one segment stands there, if it is not empty and percent-encoded well.
  /// Several protocols may share a path: the subprotocol decides, else the first registered that matches.
  [[nodiscard]] virtual std::string_view path() const noexcept { return "/ws"; }
  /// Whether it serves this type of message itself: such never become `command::Custom`.
  [[nodiscard]] virtual bool serves(std::string_view type) const noexcept {
    (void)type;
    return false;
  }
  /// Appends the commands of one message: one or several, or none where it is only a sign of life. What cannot be
  /// understood becomes `command::Invalid`. A close reason: the message cannot be part of this protocol at all (a binary
  /// frame in a text protocol). The default is for protocols that have conversations.
  [[nodiscard]] virtual std::optional<CloseReason> decode(FrameKind kind, std::string_view message,
                                                          const DecodeLimits& limits,
                                                          std::vector<Command>& commands) const {
    (void)kind, (void)message, (void)limits, (void)commands;
    return CloseReason::internal_error;
  }

  /// Appends one message's bytes, and answers the kind of frame it goes in: text, which must then be UTF-8, or binary; each
  /// event says for itself. A message may be empty. Nothing: this protocol does not tell this event, and nothing was appended.
  /// `correlation` is the answered command's, or null for what nobody asked. `now` is for timestamps. What is published is
  /// encoded once for all of one executor who keep up and are written to in one form.
  [[nodiscard]] virtual std::optional<FrameKind> encode(const Event& event, const Correlation* correlation,
                                                        WallTime now, std::string& out) const = 0;

  /// A connection opens that this protocol was chosen for; who it is is not known yet. Null, the default: its messages
  /// say all, and are decoded by `decode` of this. On the connection's executor.
  [[nodiscard]] virtual std::unique_ptr<Conversation> converse(const PathMatch& at) const {
    (void)at;
    return nullptr;
  }
  [[nodiscard]] virtual HeartbeatStyle heartbeat() const noexcept { return HeartbeatStyle::ping; }

  /// What its clients know as the code of this reason.
  [[nodiscard]] virtual std::uint16_t close_code(CloseReason reason) const noexcept { return describe(reason).code; }

 protected:
  Protocol() = default;
  Protocol(const Protocol&) = default;
  Protocol& operator=(const Protocol&) = default;
};

}  // namespace MUSTER_ABI
}  // namespace muster
