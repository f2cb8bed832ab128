// Every number of the library's behaviour: default, unit, why, and what it costs.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// When a connection may authenticate: in the upgrade request, with its first message, or either.
enum class AuthMode : std::uint8_t { upgrade_or_message, upgrade_only, message_only };
/// How a refused upgrade is told. Browsers cannot see an HTTP status, so `close_code` accepts and closes at once.
enum class RefuseWith : std::uint8_t { http_status, close_code };
/// What counts against a room's capacity.
enum class CapacityCounts : std::uint8_t { users, connections };
/// Which names rooms may have: letters, digits and `_ : . -` of ASCII; or any well-formed UTF-8 without control
/// characters and line separators, compared byte by byte (two spellings of one character are two rooms).
enum class RoomNames : std::uint8_t { ascii, unicode };
/// What happens when a user has `max_connections_per_user` already.
enum class UserLimitPolicy : std::uint8_t { reject_new, close_oldest };
/// Who is told that a user came online or went offline.
enum class PresenceScope : std::uint8_t { shared_rooms, tenant, all, none };

/// Limits and habits of one kind of room.
struct RoomOptions {
  /// Members a room takes (0 = no limit), counted as `capacity_counts` says. Exact under concurrent joins.
  std::size_t room_capacity = 100;
  CapacityCounts capacity_counts = CapacityCounts::users;
  /// History feeds returning and slow members; whichever bound is reached first drops the oldest (0 = keep nothing).
  /// Its bytes are the memory a busy room costs.
  std::size_t history_messages = 1024;
  std::size_t history_bytes = 256 * 1024;
  std::chrono::milliseconds history_age = std::chrono::minutes(5);
  /// Awareness entries in the room (0 = no limit).
  std::size_t awareness_entries = 1000;
  /// Changes of awareness and presence within this time travel in one frame per member (0 = at once). Shorter means
  /// fresher cursors and more writes: n members cost n writes an interval.
  std::chrono::milliseconds awareness_interval{50};
  /// Rooms above this size are told member counts instead of who joined and left, and that at most once a second.
  std::size_t presence_list_max = 256;
  /// Bytes of `latest` messages that a member is told a second, envelopes included by estimate (0 = no bound). They then
  /// wait, for the next `awareness_interval` or for longer: under each key the newest, and the key that has waited longest
  /// goes first; Metrics::latest_wait says how long. Other messages pass them. Who joins meanwhile is told them as well.
  /// With eight seconds' worth waiting, publishing more is rate_limited; what other nodes then publish takes the place of
  /// what has waited longest.
  std::size_t latest_bytes_per_second = 0;

  friend bool operator==(const RoomOptions& a, const RoomOptions& b) noexcept {
    return a.room_capacity == b.room_capacity && a.capacity_counts == b.capacity_counts &&
           a.history_messages == b.history_messages && a.history_bytes == b.history_bytes &&
           a.history_age == b.history_age && a.awareness_entries == b.awareness_entries &&
           a.awareness_interval == b.awareness_interval && a.presence_list_max == b.presence_list_max &&
           a.latest_bytes_per_second == b.latest_bytes_per_second;
  }
};

/// A duration beyond 50 years, as milliseconds::max() is, counts as 50 years: never.
struct Options {
  // Admission.
  /// Connections of the whole manager, pending ones included (0 = no limit). Beyond: 503.
  std::size_t max_connections = 1000;
  /// Connections from one IPv4 address or IPv6 /64 (0 = no limit); from the /56 and the /48 around it 4 and 16 times as
  /// many (RFC 6177). Beyond: 429.
  std::size_t max_connections_per_ip = 50;
  /// New connections from one address per `connect_rate_window` (0 = no limit); counted for IPv6 as above. Who finds no
  /// place or comes too often is not counted, nor who has resumed a session: an office behind one address may come back
  /// at once. Who the authenticator refuses is counted: guessing has its rate, too.
  std::size_t connect_rate_per_ip = 60;
  std::chrono::milliseconds connect_rate_window = std::chrono::seconds(60);
  /// Connections of one user (0 = no limit). A connection that comes back for a session, and says so
  /// (OpenRequest::resumes), takes its old connection's place: here, and where the two limits above leave it none.
  std::size_t max_connections_per_user = 0;
  UserLimitPolicy user_limit_policy = UserLimitPolicy::reject_new;
  /// Proxies whose X-Forwarded-For is believed; nobody's by default.
  std::vector<std::string> trusted_proxies;
  /// Hosts whose pages may connect beside the server's own; "*.example" is every host below that domain, "*" admits every
  /// page (browsers send Origin, RFC 6455, 10.2).
  std::vector<std::string> allowed_origins;
  /// Values of Host that are answered, in the same form; empty: any, except that a loopback listener takes loopback names only.
  std::vector<std::string> allowed_hosts;
  /// Handshake: time from accept to the whole request, TLS included, and bytes of its header, at most 64 KiB (0 = the
  /// default).
  std::chrono::milliseconds handshake_timeout = std::chrono::seconds(5);
  std::size_t handshake_bytes = 8 * 1024;

  // Identity.
  AuthMode auth_mode = AuthMode::upgrade_or_message;
  RefuseWith refuse_with = RefuseWith::http_status;
  /// For the first message of who brought no token, then auth_required. Absolute: traffic does not extend it.
  std::chrono::milliseconds auth_timeout = std::chrono::seconds(5);
  /// How long an authenticator, authorizer or store may take before the command is answered `unavailable`.
  std::chrono::milliseconds answer_timeout = std::chrono::seconds(5);
  /// The cookie that carries a token; empty: none. Looked at where no other source has one, and taken with an Origin only.
  std::string auth_cookie;
  /// Headers and cookies of the upgrade request that an authenticator is shown, by name (headers in whatever case), each
  /// time it is asked about this connection: they are kept as long as that. Cookies with an Origin only, as the token's.
  std::vector<std::string> credential_headers;
  std::vector<std::string> credential_cookies;
  /// Accept a `token` query parameter. Off: addresses end up in logs.
  bool auth_query = false;
  /// So long before Identity::expires_at the client is told `reauth_required`; so long after it, the connection is
  /// closed with auth_required unless newer credentials came.
  std::chrono::milliseconds reauth_lead = std::chrono::seconds(30);
  std::chrono::milliseconds reauth_grace = std::chrono::seconds(30);
  /// Whether a command that the authorizer denies also closes the connection, behind the error.
  bool close_on_permission_denied = false;
  /// Of the authorizer's answers that hold for a while (Permission::hold_for), so many are kept for a connection, and a
  /// newer one takes the place of the one that would have ended first; 0: none. Each costs its message and its target,
  /// of at most 256 bytes: a longer one is asked about again.
  std::size_t permissions_kept = 32;
  /// What a peer may send before it is authenticated; beyond: close policy.
  std::size_t pre_auth_bytes = 16 * 1024;
  std::size_t pre_auth_messages = 8;

  // Budgets of one connection (0 = no limit).
  std::size_t max_message_bytes = 64 * 1024;  ///< beyond: close message_too_big
  /// Rates, each a second, with a burst of twice that. A connection that is beyond one is read from no faster than its
  /// rate: what it sent while a line or this process stood still is not held against it.
  std::size_t message_rate = 100;
  /// Charged as it comes in: the larger of what a message takes on the wire and what it is, and the answers a client
  /// asks for.
  std::size_t byte_rate = 1024 * 1024;
  std::size_t frame_rate = 500;  ///< fragments and pings included
  /// Whoever has been beyond a rate for this long, without ever having had a second's worth to spare, is refused: its
  /// messages are answered rate_limited, its frames close the connection for that reason. 0: at once.
  std::chrono::milliseconds rate_patience = std::chrono::seconds(30);
  std::size_t rate_limited_max = 50;      ///< refusals in a row, then close rate_limited
  std::size_t invalid_messages_max = 10;  ///< in a row, then close policy
  std::size_t rooms_per_connection = 128;
  std::size_t rooms_created_per_minute = 60;  ///< by joining rooms that do not exist; others cost nothing
  std::size_t awareness_per_connection = 16;  ///< entries, in all its rooms
  std::size_t awareness_state_bytes = 4 * 1024;
  std::size_t profile_bytes = 256;  ///< of what others are shown of it (Member::profile), in every list of members
  /// Whether clients may change their own profile; off: only the program does.
  bool allow_profile = false;
  std::size_t room_name_bytes = 256;  ///< above 0
  RoomNames room_names = RoomNames::ascii;
  std::size_t json_nesting = 32;  ///< above 0
  /// Commands behind one that waits for an answer; above 0. From the first on nothing is read; beyond twice as many,
  /// which were read before that: close policy.
  std::size_t waiting_commands = 64;
  /// Whether clients may `send` to users; off: a client could write to anyone whose name it guesses.
  bool allow_send = false;

  // Slow peers: unsent bytes of one connection. What the system holds counts as well, while a write is pending, where the
  // transport tells.
  /// Beyond it a member is fed from history by its cursor instead of by copies.
  std::size_t unsent_soft_bytes = 64 * 1024;
  /// Beyond it, or when the oldest unsent byte is older than `unsent_age` and the peer took nothing for as long: close
  /// slow_consumer.
  std::size_t unsent_hard_bytes = 1024 * 1024;
  std::chrono::milliseconds unsent_age = std::chrono::seconds(10);

  // Budgets of all together (0 = no limit): what rooms keep of their past, history and idempotency keys; against the
  // first counts what waits, too: encoded frames for slow peers, messages for executors that are behind.
  /// Beyond one of them the oldest history is dropped, of the tenant that has too much or of all: a member that was
  /// behind is told a gap. While what waits is beyond it by itself, publishing and a client's sending are answered
  /// `unavailable`. Offline queues are bounded by their SessionStore (MemorySessionLimits).
  std::size_t total_bytes = std::size_t{512} * 1024 * 1024;
  std::size_t tenant_bytes = std::size_t{128} * 1024 * 1024;

  // Liveness.
  /// Between heartbeats: pings, unless the protocol has others (HeartbeatStyle); 0 = off. A peer that is silent for
  /// `pong_timeout` after one: close heartbeat_timeout.
  std::chrono::milliseconds heartbeat = std::chrono::seconds(30);
  std::chrono::milliseconds pong_timeout = std::chrono::seconds(10);
  /// Between sweeps, which check the tables against each other and clear what time has ended.
  std::chrono::milliseconds sweep_interval = std::chrono::seconds(60);
  /// How long a closing peer may take to answer the close frame before its socket is cut.
  std::chrono::milliseconds close_timeout = std::chrono::seconds(5);

  // Presence and awareness.
  PresenceScope presence_scope = PresenceScope::shared_rooms;
  /// How long a dropped connection whose session may resume keeps its seats, presence and awareness before it is told
  /// as left; at most `resume_window` (0 = told at once).
  std::chrono::milliseconds presence_grace = std::chrono::seconds(10);
  /// Awareness nobody refreshed for this long is removed, an eighth of it later at the latest (0 = off). Each executor looks
  /// as often as that.
  std::chrono::milliseconds awareness_ttl{0};

  // Sessions.
  /// How long after its connection dropped a session may resume (0 = sessions do not resume).
  std::chrono::milliseconds resume_window = std::chrono::minutes(5);
  /// One user's offline queue: whichever bound is reached first drops the oldest. 0 messages: Delivery::queued is
  /// answered not_supported.
  std::size_t offline_messages = 100;
  std::size_t offline_bytes = 256 * 1024;
  std::chrono::milliseconds offline_age = std::chrono::hours(24);
  /// Remembered per room, in this process; 0: a publish with a key is refused. When there are too many the user with the
  /// most loses its oldest. Each costs about 350 bytes.
  std::size_t idempotency_keys = 1024;
  std::size_t idempotency_key_bytes = 64;  ///< muster.v1.json takes no longer ones
  std::chrono::milliseconds idempotency_age = std::chrono::minutes(5);

  // Deploys. For programs that drain by their options, as muster_server does; IConnectionManager::drain takes its own.
  // `reconnect_window` is also what clients are told that come while there is no place, or while the server goes.
  std::chrono::milliseconds drain_deadline = std::chrono::seconds(5);
  std::chrono::milliseconds reconnect_window = std::chrono::seconds(5);

  // Fan-out.
  /// Members served before the loop turns to other work. Larger: less overhead; smaller: fairer to other rooms.
  std::size_t fan_out_slice = 256;

  /// What every room has unless a prefix says otherwise.
  RoomOptions room;
  /// By name prefix; the longest that matches wins ("canvas:").
  std::map<std::string, RoomOptions> rooms_by_prefix;

  [[nodiscard]] const RoomOptions& room_options(std::string_view name) const {
    const RoomOptions* best = &room;
    std::size_t length = 0;
    for (const auto& [prefix, options] : rooms_by_prefix) {
      if (prefix.size() >= length && name.substr(0, prefix.size()) == prefix) {
        best = &options;
        length = prefix.size();
      }
    }
    return *best;
  }
};

namespace detail {

/// Longer than anything runs; sums of a few of these and a clock's time do not overflow.
inline constexpr std::chrono::milliseconds forever = std::chrono::hours(24) * 365 * 50;

/// Calls `visit` with the name of each duration, the duration, and what 0 means (null: nothing, it must be more).
template <class SomeRoom, class Visit>
void each_room_duration(SomeRoom& room, Visit visit) {
  visit("history_age", room.history_age, "keeps nothing");
  visit("awareness_interval", room.awareness_interval, "sends at once");
}
template <class SomeOptions, class Visit>
void each_duration(SomeOptions& options, Visit visit) {
  visit("connect_rate_window", options.connect_rate_window, options.connect_rate_per_ip == 0 ? "" : nullptr);
  visit("handshake_timeout", options.handshake_timeout, "is the default");
  visit("auth_timeout", options.auth_timeout, nullptr);
  visit("answer_timeout", options.answer_timeout, nullptr);
  visit("reauth_lead", options.reauth_lead, "gives no warning");
  visit("reauth_grace", options.reauth_grace, "closes at the expiry");
  visit("rate_patience", options.rate_patience, "refuses at once");
  visit("unsent_age", options.unsent_age, nullptr);
  visit("heartbeat", options.heartbeat, "switches it off");
  visit("pong_timeout", options.pong_timeout, options.heartbeat.count() == 0 ? "" : nullptr);
  visit("sweep_interval", options.sweep_interval, nullptr);
  visit("close_timeout", options.close_timeout, nullptr);
  visit("presence_grace", options.presence_grace, "tells at once");
  visit("awareness_ttl", options.awareness_ttl, "switches it off");
  visit("resume_window", options.resume_window, "switches sessions off");
  visit("offline_age", options.offline_age, options.offline_messages == 0 ? "" : nullptr);
  visit("idempotency_age", options.idempotency_age, options.idempotency_keys == 0 ? "" : nullptr);
  visit("drain_deadline", options.drain_deadline, "closes all at once");
  visit("reconnect_window", options.reconnect_window, "lets all come back at once");
  each_room_duration(options.room, [&](const std::string& name, auto& value, const char* zero) {
    visit("room." + name, value, zero);
  });
  for (auto& [prefix, room] : options.rooms_by_prefix) {
    each_room_duration(room, [&, in = "rooms_by_prefix[\"" + prefix + "\"]."](
                                 const char* name, auto& value, const char* zero) { visit(in + name, value, zero); });
  }
}

/// With durations that can be added to times: what is longer than `forever` is as long as that.
[[nodiscard]] inline Options bounded(Options options) {
  each_duration(options, [](const std::string&, std::chrono::milliseconds& value, const char*) {
    value = std::min(value, forever);
  });
  return options;
}

}  // namespace detail

/// What is wrong with a room's options, one sentence each, with what to do; empty: nothing.
[[nodiscard]] inline std::vector<std::string> problems(const RoomOptions& options) {
  std::vector<std::string> found;
  detail::each_room_duration(options, [&](const std::string& name, std::chrono::milliseconds value, const char* zero) {
    if (value.count() < 0) found.push_back(name + " must not be negative; 0 " + zero);
  });
  return found;
}

/// What is wrong with the options, one sentence each, with what to do; empty: nothing.
[[nodiscard]] inline std::vector<std::string> problems(const Options& options) {
  using std::chrono::milliseconds;
  std::vector<std::string> found;
  const auto require = [&found](bool holds, const char* sentence) {
    if (!holds) found.push_back(sentence);
  };
  detail::each_duration(options, [&](const std::string& name, const milliseconds& value, const char* zero) {
    if (value.count() > 0 || (value.count() == 0 && zero != nullptr)) return;
    found.push_back(name + (zero == nullptr ? " must be above 0" : " must not be negative"));
    if (zero != nullptr && *zero != '\0') found.back() += std::string(" (0 ") + zero + ")";
  });
  require(options.heartbeat.count() <= 0 || options.pong_timeout <= options.heartbeat,
          "pong_timeout must be at most heartbeat: a ping is answered before the next is due; lower it, or raise "
          "heartbeat");
  require(
      options.resume_window.count() <= 0 || options.presence_grace <= options.resume_window,
      "presence_grace must be at most resume_window: a seat is kept for who may still come back; lower it, or raise "
      "resume_window");
  require(options.unsent_soft_bytes > 0 && options.unsent_soft_bytes <= options.unsent_hard_bytes,
          "unsent_soft_bytes must be above 0 and at most unsent_hard_bytes");
  require(options.json_nesting > 0, "json_nesting must be above 0");
  require(options.room_name_bytes > 0, "room_name_bytes must be above 0");
  require(options.fan_out_slice > 0, "fan_out_slice must be above 0");
  require(options.waiting_commands > 0, "waiting_commands must be above 0");
  for (const auto* names : {&options.credential_headers, &options.credential_cookies}) {
    require(std::find(names->begin(), names->end(), std::string()) == names->end(),
            "credential_headers and credential_cookies must name what they ask for: a name is empty");
  }
  return found;
}

}  // namespace MUSTER_ABI
}  // namespace muster
