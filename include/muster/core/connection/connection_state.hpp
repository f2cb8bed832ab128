// ConnectionState: everything about one connection. Touched only on its executor, except for what never changes.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/connection.hpp"
#include "muster/connection_manager.hpp"
#include "muster/core/base/latch.hpp"
#include "muster/core/base/packed_strings.hpp"
#include "muster/core/base/rates.hpp"
#include "muster/core/base/sha256.hpp"
#include "muster/core/connection/deadlines.hpp"
#include "muster/core/connection/permissions.hpp"
#include "muster/core/loop/loop.hpp"
#include "muster/core/loop/outbox.hpp"
#include "muster/core/room/left_rooms.hpp"
#include "muster/core/room/presence.hpp"
#include "muster/core/room/room_state.hpp"

namespace muster {
inline namespace MUSTER_ABI {

class ConnectionManager;

namespace core {

/// A room of a connection. The slot is at `index` of the part's slots.
struct Membership {
  RoomPtr room;
  RoomPart* part = nullptr;
  std::uint32_t index = 0;
  bool told = false;     ///< on_joined was: so on_left will be
  bool given = false;    ///< by the program
  bool decided = false;  ///< by the program, too: not the authorizer's to judge
  /// What it could not be told while it was behind.
  std::unique_ptr<Missed> missed;

  [[nodiscard]] MemberSlot& slot() const { return part->slots[index]; }
};

/// So many bytes more; a count that is full stays so.
inline void add_bytes(std::uint32_t& count, std::size_t bytes) noexcept {
  count += static_cast<std::uint32_t>(std::min<std::size_t>(bytes, UINT32_MAX - count));
}

/// What keeps us from reading.
enum class Pause : std::uint8_t { commands = 1, rate = 2 };

/// A connection that sends more than its rates allow.
struct Pace {
  Pace(void* connection, Timer::Fire read_on) : timer(connection, read_on) {}
  Timer timer;  ///< nothing is read before
  TimePoint since{};
};

struct WaitingCommand {
  Command command;
  TimePoint since;
};

/// A question to a seam that has not been answered; the command behind it waits.
class Question {
 public:
  virtual ~Question() = default;
  /// With the seam's answer or, where the deadline has passed, with what stands for it.
  virtual void go_on(ConnectionState& connection) = 0;

  std::optional<Timer> deadline;  ///< while it waits; the connection's executor's

 protected:
  Question() = default;
};

/// What a connection needs until it is established, and again while its new credentials are asked about.
struct Arrival {
  Credentials credentials;     ///< as they were shown to the authenticator last
  OpenDone open_done;          ///< until the adapter has its answer
  ConnectionId resumes;        ///< the session it says it comes back for
  std::uint32_t messages = 0;  ///< that came in before it was known
  std::uint32_t bytes = 0;
  bool subprotocol_named = false;
};

/// Something that the program has done with a connection.
class Act {
 public:
  virtual ~Act() = default;
  /// The connection ends before it is done: the program is told, even if whoever was asked keeps the question.
  virtual void gone() noexcept = 0;

 protected:
  Act() = default;
  Act(const Act&) = default;
  Act& operator=(const Act&) = default;
};

/// A command whose handler has not answered: those behind it wait, and what the program has done with it goes on.
struct Serving {
  Serving(void* connection, Timer::Fire late) : deadline(connection, late) {}
  Timer deadline;
  std::shared_ptr<void> command;
};

/// What few connections ever need.
struct Rare {
  RateWindow rooms_created;
  std::string previous_token_hash;  ///< good until a command shows that `resumed` has arrived
  std::vector<std::shared_ptr<Latch>> latches;
  std::unique_ptr<Conversation> conversation;  ///< none: its protocol decodes
  /// What the program has done with it, one after another, while no question waits; before its waiting commands.
  std::list<Function<void(ConnectionState&)>> acts;
  std::shared_ptr<Act> act;  ///< that was begun last
  std::unique_ptr<Serving> serving;
  bool asks = false;          ///< the program has asked its client something, and waits
  std::size_t answering = 0;  ///< commands whose handlers have not answered, and which hold up none
  Data data;                  ///< of the program
  TimePoint data_ends{};      ///< once they are kept for its session
  TimePoint slow_since{};     ///< as in Slow
  Permissions permissions;    ///< that its identity has
  std::unique_ptr<Reservation> reservation;

  void drop_acts() noexcept {
    if (const auto dropped = std::exchange(act, nullptr)) dropped->gone();
    std::list<Function<void(ConnectionState&)>> rest;
    rest.swap(acts);
  }
};

/// What is before headers and cookies in ConnectionState::upgrade.
inline constexpr std::size_t upgrade_begins = 4;

/// A certificate behind them, if there is one.
[[nodiscard]] inline std::vector<std::string> packed(const std::optional<ClientCertificate>& certificate) {
  if (!certificate) return {};
  const auto end = certificate->expires_at.time_since_epoch().count();
  std::vector<std::string> strings{std::to_string(end), certificate->subject, certificate->issuer};
  strings.insert(strings.end(), certificate->alt_names.begin(), certificate->alt_names.end());
  return strings;
}
[[nodiscard]] inline std::optional<ClientCertificate> unpacked(std::vector<std::string>& strings, std::size_t from) {
  if (strings.size() <= from) return std::nullopt;
  strings.resize(std::max(strings.size(), from + 3));  // what is empty at the end is not kept
  const auto first = strings.begin() + static_cast<std::ptrdiff_t>(from);
  ClientCertificate certificate{std::move(first[1]), std::move(first[2]), {}, {}};
  certificate.expires_at = WallTime(WallTime::duration(std::strtoll(first->c_str(), nullptr, 10)));
  certificate.alt_names.assign(std::move_iterator(first + 3), std::move_iterator(strings.end()));
  return certificate;
}

/// Of who is not known yet. Nobody counts who refers to it.
[[nodiscard]] inline std::shared_ptr<const Identity> nobody() {
  static const Identity empty;
  return {std::shared_ptr<const Identity>(), &empty};
}

class ConnectionState final : public Connection, public std::enable_shared_from_this<ConnectionState> {
 public:
  ConnectionState(Timer::Fire due, std::shared_ptr<Loop> on, ConnectionId connection_id,
                  std::shared_ptr<Transport> pipe)
      : transport(std::move(pipe)),
        loop(std::move(on)),
        id_(connection_id),
        member(connection_id),
        identity_(nobody()),
        deadlines(this, due),
        arrival(std::make_unique<Arrival>()) {}
  ~ConnectionState() override { drop_question(); }
  ConnectionState(const ConnectionState&) = delete;
  ConnectionState& operator=(const ConnectionState&) = delete;

  // What embedders speak through: core/handles.ipp.

  [[nodiscard]] IConnectionManager& manager() noexcept override;
  [[nodiscard]] ConnectionId id() const noexcept override { return id_; }
  [[nodiscard]] ConnectionStatus status() const noexcept override { return status_; }
  [[nodiscard]] const Identity& identity() const noexcept override { return *identity_; }
  [[nodiscard]] RemoteAddress remote_address() const override {
    const std::string_view text = upgrade.front();
    return {address, text.empty() ? RemoteAddress::text_of_v4(address) : std::string(text)};
  }
  [[nodiscard]] std::vector<std::string> rooms() const override;
  [[nodiscard]] Counters counters() const noexcept override;
  [[nodiscard]] Data& data() override;
  void send(const Payload& payload) override;
  void publish(std::string_view room, const Payload& payload) override;
  void join(std::string room, Function<void(Result<void>)> done) override;
  void leave(std::string room) override;
  void request(std::string type, Payload data, std::chrono::milliseconds timeout,
               Function<void(Result<Payload>)> done) override;
  void set_profile(Payload profile) override;
  void reply(const Payload& payload) override;
  void close(CloseReason reason, std::string_view text) override;
  [[nodiscard]] std::vector<std::string> room_names() const;

  /// As Loop::contain: its token is kept out of the log.
  bool contain(const char* where, FunctionRef<void()> code) noexcept {
    return loop->contain(where, code, id_, [this] { return arrival ? &arrival->credentials.token : nullptr; });
  }

  [[nodiscard]] ConnectionManager& owner() const noexcept { return *static_cast<ConnectionManager*>(loop->owner); }

  /// From here on it is as good as gone, and is taken down as soon as that can be done.
  void put_off(CloseReason reason, bool its_socket_gone) noexcept {
    ends_soon = true;
    cut = cut || its_socket_gone;
    close_reason = reason;
    loop->retry_soon();
  }

  /// It waits for it no more. Whoever was asked may keep it.
  void drop_question() noexcept {
    if (question) question->deadline.reset();
    question.reset();
  }

  /// Authenticated and not ending.
  [[nodiscard]] bool live() const noexcept {
    return status_ == ConnectionStatus::connected || status_ == ConnectionStatus::in_room;
  }
  /// The adapter waits for its answer.
  [[nodiscard]] bool opening() const noexcept { return arrival && arrival->open_done; }
  [[nodiscard]] bool ended() const noexcept { return status_ >= ConnectionStatus::disconnecting; }
  [[nodiscard]] Membership* membership(std::string_view room) {
    for (Membership& membership : memberships) {
      if (membership.room->key.name == room) return &membership;
    }
    return nullptr;
  }

  /// Makes it where there is none yet.
  [[nodiscard]] Rare& seldom() {
    if (!rare) rare = std::make_unique<Rare>();
    return *rare;
  }
  /// The next of its client's commands has to wait.
  [[nodiscard]] bool holds_commands() const noexcept { return question || (rare && rare->serving); }
  void wait(Command command, TimePoint since) {
    std::list<WaitingCommand> one;
    one.push_back({std::move(command), since});
    if (!waiting) waiting = std::make_unique<std::list<WaitingCommand>>();
    waiting->splice(waiting->end(), one);
  }
  [[nodiscard]] WaitingCommand next_waiting() noexcept {
    WaitingCommand next = std::move(waiting->front());
    waiting->pop_front();
    if (waiting->empty()) waiting.reset();
    return next;
  }
  [[nodiscard]] std::size_t waiting_commands() const noexcept { return waiting ? waiting->size() : 0; }
  /// Its client's answers are wanted, and those behind the command that waits are read for them.
  [[nodiscard]] bool reads_for_answers(std::size_t most_waiting) const noexcept {
    return rare && rare->asks && waiting_commands() < most_waiting;
  }
  /// The next of the program's acts may go on.
  [[nodiscard]] bool has_acts() const noexcept { return rare && !rare->acts.empty() && !question; }
  [[nodiscard]] Conversation* conversation() const noexcept { return rare ? rare->conversation.get() : nullptr; }
  [[nodiscard]] bool has_data() const noexcept { return rare && !rare->data.empty(); }
  [[nodiscard]] std::string previous_token_hash() const { return rare ? rare->previous_token_hash : std::string(); }

  /// Asks for what a delivery touches, early: in a large room every member has to come from memory.
  void prefetch() const noexcept {
    const char* const begin = reinterpret_cast<const char*>(this);
    const char* const end = reinterpret_cast<const char*>(&counted + 1);
    for (const char* line = begin; line < end; line += cache_line) prefetch_line(line);
  }
  /// What that points to; when `prefetch` has had its time.
  void prefetch_behind() const noexcept {
    outbox.prefetch();
    prefetch_line(transport.get());
    prefetch_line(reinterpret_cast<const char*>(transport.get()) + cache_line);
  }

  // Hot: what a delivery touches.
  Outbox outbox;
  std::size_t missed_bytes = 0;  ///< of all memberships' Missed
  bool dirty = false;
  bool behind = false;     ///< keeps only its cursors, and is fed from history
  bool ends_soon = false;  ///< a disconnect is posted, or is tried again
  bool cut = false;        ///< and its socket is gone
  bool slow = false;       ///< as its rooms and the hooks were told
  bool weighed = false;    ///< whether that still holds, by a task that is posted
  ConnectionStatus status_ = ConnectionStatus::connecting;
  std::uint8_t format = 0;
  std::shared_ptr<Transport> transport;
  const std::shared_ptr<Loop> loop;
  std::vector<Membership> memberships;
  Counters counted;

  const ConnectionId id_;
  // Any thread reads these under the lock of its place in the ConnectionTable, and under that they change.
  /// What others know it as: the id of its session's first connection.
  ConnectionId member;
  std::shared_ptr<const Identity> identity_;
  PackedStrings published_rooms;
  ConnectionState* next_by_id = nullptr;
  bool published = false;  ///< it is known who it is, and lookups find it

  /// Grows from connection to connection: the newer of two of one user has the larger.
  std::uint64_t order = 0;
  std::size_t index = 0;  ///< in loop->connections

  // Inbound.
  std::unique_ptr<std::list<WaitingCommand>> waiting;  ///< null: there are none
  std::shared_ptr<Question> question;
  std::uint32_t generation = 0;
  std::uint8_t pauses = 0;  ///< why nothing is read: a set of Pause
  bool resuming = false;
  bool awaiting_pong = false;
  bool looked_late = false;  ///< its loop came too late to judge it: what it said in time may not be read yet
  bool reauth_told = false;
  const Correlation* handling = nullptr;  ///< the command a handler serves now, until it replied
  std::uint32_t invalid_in_row = 0;
  std::uint32_t refused_in_row = 0;
  std::uint32_t part_bytes = 0;  ///< of the message that is not whole yet, as it came in
  std::uint32_t queue_reading = 0;
  std::unique_ptr<Pace> pace;  ///< while it is beyond a rate, and until it has been well below
  TokenBucket message_budget;
  TokenBucket byte_budget;
  TokenBucket frame_budget;

  LeftRooms left_rooms;  ///< by itself: its user is online still

  // Its session; generation 0: it has none.
  std::uint64_t session_generation = 0;
  Digest token_hash{};
  bool handing_over = false;
  bool has_place = false;          ///< of its own: Admission has counted it
  bool lent = false;               ///< its place is, by the connection of the session it comes back for
  std::atomic<bool> lends{false};  ///< to one that comes back for its session
  bool on_trial = false;           ///< beyond the user's limit, until its resume is decided
  bool chosen_id = false;          ///< by the embedder: it may come again, so no session goes by it
  bool resumed = false;
  bool greeted = false;            ///< on_connected was told: so on_disconnected will be
  std::uint64_t queue_cursor = 0;  ///< the newest message of the offline queue it was sent
  std::uint64_t queue_first = 0;   ///< the oldest; 0: none yet
  TimePoint queue_asked_at{};
  bool queue_whole = false;  ///< to be read from its session's beginning once more
  bool queue_loading = false;
  bool queue_again = false;
  bool queue_unread = false;   ///< the last reading failed, or has not been answered
  bool queue_watched = false;  ///< it is looked at whether that is so still
  // Of its end: here they take no room.
  bool socket_gone = false;
  std::optional<CloseReason> close_reason;

  // Liveness.
  TimePoint last_inbound{};
  TimePoint ping_sent_at{};
  TimePoint last_pong{};
  Deadlines deadlines;

  // Cold. What any thread may read of who has been published:
  std::array<std::uint8_t, 16> address{};  ///< as RemoteAddress has it
  WallTime connected_at{};
  /// The text of its address, if the bytes do not say it, its path, unless that is its protocol's, query, origin, and
  /// what Options::credential_headers and credential_cookies name; without the empty ones at the end.
  PackedStrings upgrade;

  std::unique_ptr<Arrival> arrival;
  std::unique_ptr<Rare> rare;
};

// A delivery touches three cache lines, and they are the first.
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"  // both compilers know the offsets of this class
static_assert(offsetof(ConnectionState, outbox) < cache_line &&
              offsetof(ConnectionState, counted) + sizeof(Connection::Counters) == offsetof(ConnectionState, id_) &&
              offsetof(ConnectionState, id_) <= 3 * cache_line);
#pragma GCC diagnostic pop
#endif

using ConnectionPtr = std::shared_ptr<ConnectionState>;

/// Of one that is authenticated.
[[nodiscard]] inline UserKey user_of(const ConnectionState& connection) {
  return {connection.identity_->tenant, connection.identity_->user};
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
