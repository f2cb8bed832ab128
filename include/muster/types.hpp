// The vocabulary's values: identifiers, keys, positions, addresses, time.
#pragma once

#include <any>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "muster/config.hpp"
#include "muster/message.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Monotonic time, as an Executor tells it. The core reads no other clock, but for
/// Components::clock until the first connection.
using TimePoint = std::chrono::steady_clock::time_point;
/// Calendar time: timestamps on the wire and the expiry of credentials.
using WallTime = std::chrono::system_clock::time_point;

/// Names one connection. Unique within a manager and not guessable from another id; 0 names none.
class ConnectionId {
 public:
  constexpr ConnectionId() noexcept = default;
  constexpr explicit ConnectionId(std::uint64_t value) noexcept : value_(value) {}
  [[nodiscard]] constexpr std::uint64_t value() const noexcept { return value_; }
  constexpr explicit operator bool() const noexcept { return value_ != 0; }
  friend constexpr bool operator==(ConnectionId a, ConnectionId b) noexcept { return a.value_ == b.value_; }
  friend constexpr bool operator!=(ConnectionId a, ConnectionId b) noexcept { return a.value_ != b.value_; }
  friend constexpr bool operator<(ConnectionId a, ConnectionId b) noexcept { return a.value_ < b.value_; }

 private:
  std::uint64_t value_ = 0;
};

/// 16 lower-case hexadecimal digits.
[[nodiscard]] inline std::string to_string(ConnectionId id) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text(16, '0');
  for (std::size_t i = 0; i < 16; ++i) text[i] = digits[(id.value() >> (60 - 4 * i)) & 15U];
  return text;
}

/// What `to_string(ConnectionId)` wrote; 0 for anything else.
[[nodiscard]] inline ConnectionId parse_connection_id(std::string_view text) noexcept {
  std::uint64_t value = 0;
  if (text.size() != 16) return {};
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && (c < 'a' || c > 'f')) return {};
    value = (value << 4U) | static_cast<std::uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  return ConnectionId(value);
}

namespace detail {
template <class... Texts>
using Strings = std::enable_if_t<(std::is_convertible_v<Texts, std::string> && ...)>;
}  // namespace detail

// The two keys are no aggregates: g++ before 13 destroys one twice that is made in a co_await expression.

/// A user within a tenant. The tenant comes from the identity, never from what a client says.
struct UserKey {
  UserKey() = default;
  template <class Tenant = std::string, class Name = std::string, class = detail::Strings<Tenant, Name>>
  UserKey(Tenant&& of, Name&& named) : tenant(std::forward<Tenant>(of)), user(std::forward<Name>(named)) {}

  std::string tenant;
  std::string user;
  friend bool operator==(const UserKey& a, const UserKey& b) { return a.user == b.user && a.tenant == b.tenant; }
  friend bool operator!=(const UserKey& a, const UserKey& b) { return !(a == b); }
  friend bool operator<(const UserKey& a, const UserKey& b) {
    return a.tenant != b.tenant ? a.tenant < b.tenant : a.user < b.user;
  }
};

/// A room within a tenant: two tenants' rooms of one name have nothing in common.
struct RoomKey {
  RoomKey() = default;
  template <class Tenant = std::string, class Name = std::string, class = detail::Strings<Tenant, Name>>
  RoomKey(Tenant&& of, Name&& named) : tenant(std::forward<Tenant>(of)), name(std::forward<Name>(named)) {}

  std::string tenant;
  std::string name;
  friend bool operator==(const RoomKey& a, const RoomKey& b) { return a.name == b.name && a.tenant == b.tenant; }
  friend bool operator!=(const RoomKey& a, const RoomKey& b) { return !(a == b); }
  friend bool operator<(const RoomKey& a, const RoomKey& b) {
    return a.tenant != b.tenant ? a.tenant < b.tenant : a.name < b.name;
  }
};

/// A place in a room's total order. `seq` counts from 1 under a random `epoch` (below 2^53, so that every JSON reader
/// holds it exactly); another epoch means another order, in which old numbers say nothing.
struct Position {
  std::uint64_t epoch = 0;
  std::uint64_t seq = 0;
  friend bool operator==(Position a, Position b) { return a.epoch == b.epoch && a.seq == b.seq; }
  friend bool operator!=(Position a, Position b) { return !(a == b); }
};

/// Who a connection belongs to, as an Authenticator says.
struct Identity {
  std::string user;
  std::string tenant;
  std::vector<std::string> roles;
  /// When the credentials end; none: they do not.
  std::optional<WallTime> expires_at;
  /// False: no other connection will ever be this user, so nothing is kept for one that might come back.
  bool returns = true;
  /// What else the credentials say, as a JSON object; JwtAuthenticator puts the token's claims here. Empty: nothing.
  Payload claims = {};
  /// How its connections are shown to others at first (Member::profile), a JSON object for clients of muster.v1.json. One
  /// beyond Options::profile_bytes is not shown, which is logged.
  Payload profile = {};
  /// What the program knows of it, in its own type: `std::any_cast<Account>(&identity.account)`. Shared by reading threads.
  std::any account = {};
};

/// What a client's certificate says of it, which TLS has verified.
struct ClientCertificate {
  /// The names of its subject and of who has issued it, as in "CN=device-7,O=Acme" (RFC 2253; what is not ASCII is escaped).
  std::string subject;
  std::string issuer;
  /// Its subject's other names, each behind its kind, in their order: "DNS:device-7.example", "URI:spiffe://acme/device/7",
  /// "email:ann@acme.example", "IP:192.0.2.7". Other kinds are left out, and names with anything but visible ASCII.
  std::vector<std::string> alt_names;
  WallTime expires_at{};
};

/// One member of a room, as presence shows it.
struct Member {
  ConnectionId connection;
  std::string user;
  /// What others are shown of it beside that: a name, a colour; empty: nothing.
  Payload profile = {};
  friend bool operator==(const Member& a, const Member& b) {
    return a.connection == b.connection && a.user == b.user && a.profile == b.profile;
  }
};

/// One message of a room's history.
struct HistoryMessage {
  std::uint64_t seq = 0;
  Payload data;
  /// 0: from the server.
  ConnectionId from;
  std::string from_user;
};

/// Where a peer connects from. `bytes` is the IPv6 address in network order, IPv4 as v4-mapped (RFC 4291, 2.5.5.2);
/// `text` is for people. With neither it is unknown, and no per-address limit applies.
struct RemoteAddress {
  std::array<std::uint8_t, 16> bytes{};
  std::string text;

  [[nodiscard]] static RemoteAddress v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
    RemoteAddress address;
    address.bytes = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d};
    address.text = text_of_v4(address.bytes);
    return address;
  }
  /// Whether `bytes` are those of an IPv4 address.
  [[nodiscard]] static bool is_v4(const std::array<std::uint8_t, 16>& bytes) noexcept {
    constexpr std::array<std::uint8_t, 12> mapping{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return std::equal(mapping.begin(), mapping.end(), bytes.begin());
  }
  /// As `v4` writes such an address; empty for any other.
  [[nodiscard]] static std::string text_of_v4(const std::array<std::uint8_t, 16>& bytes) {
    if (!is_v4(bytes)) return {};
    std::string text = std::to_string(bytes[12]);
    for (std::size_t i = 13; i < 16; ++i) text.append(".").append(std::to_string(bytes[i]));
    return text;
  }
  /// False for one that nothing was said of: no limit of addresses holds for it.
  [[nodiscard]] bool is_known() const noexcept { return !text.empty() || bytes != std::array<std::uint8_t, 16>{}; }
};

/// A connection's states. `in_room`: in at least one. Final: `disconnected`, `rejected` (refused before authenticated).
enum class ConnectionStatus : std::uint8_t {
  connecting,
  authenticating,
  connected,
  in_room,
  disconnecting,
  disconnected,
  rejected
};

[[nodiscard]] constexpr std::string_view to_string(ConnectionStatus status) noexcept {
  constexpr std::string_view names[] = {"connecting",    "authenticating", "connected", "in_room",
                                        "disconnecting", "disconnected",   "rejected"};
  return names[static_cast<std::size_t>(status)];
}

}  // namespace MUSTER_ABI
}  // namespace muster

template <>
struct std::hash<muster::ConnectionId> {
  std::size_t operator()(muster::ConnectionId id) const noexcept {
    std::uint64_t x = id.value() * 0x9e3779b97f4a7c15ULL;  // Fibonacci hashing (Knuth, TAOCP 3, 6.4)
    return static_cast<std::size_t>(x ^ (x >> 32U));
  }
};
/// Not noexcept, as libstdc++ takes that for so cheap a hash that its maps need not keep it.
template <>
struct std::hash<muster::UserKey> {
  std::size_t operator()(const muster::UserKey& key) const {
    return std::hash<std::string>{}(key.tenant) * 31U + std::hash<std::string>{}(key.user);
  }
};
template <>
struct std::hash<muster::RoomKey> {
  std::size_t operator()(const muster::RoomKey& key) const {
    return std::hash<std::string>{}(key.tenant) * 31U + std::hash<std::string>{}(key.name);
  }
};
