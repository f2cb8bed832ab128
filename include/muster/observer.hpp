// The seam for metrics and logs, and the counters themselves.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "muster/close_reason.hpp"
#include "muster/histogram.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

enum class LogLevel : std::uint8_t { debug, info, warning, error };

/// Why a peer was turned away before it was a connection. Plain HTTP is none of these, unless it is refused itself.
enum class RefusedFor : std::uint8_t {
  capacity,    ///< max_connections
  per_ip,      ///< max_connections_per_ip
  rate,        ///< connect_rate_per_ip
  auth,        ///< no token where one is needed, or one that is not good
  going_away,  ///< a drain, or a shutdown
  host,        ///< a Host that is not answered for
  origin,      ///< an Origin that may not connect, or a cookie without one
  path,        ///< nothing is served there
  request      ///< no HTTP, or no proper upgrade
};
inline constexpr std::size_t refused_for_count = 9;

[[nodiscard]] constexpr std::string_view to_string(RefusedFor reason) noexcept {
  constexpr std::string_view names[] = {"capacity", "per_ip", "rate", "auth",   "going_away",
                                        "host",     "origin", "path", "request"};
  return names[static_cast<std::size_t>(reason)];
}

/// What a manager has counted since it was made, and what it holds now. A snapshot: sums of per-loop counters.
struct Metrics {
  // Now.
  std::size_t connections = 0;  ///< authenticated
  std::size_t pending = 0;      ///< not yet authenticated
  std::size_t reserved = 0;     ///< sockets that count against max_connections
  std::size_t users = 0;
  std::size_t rooms = 0;
  std::size_t awareness_entries = 0;
  std::size_t sessions_held = 0;  ///< dropped, and still present to others
  std::size_t history_bytes = 0;  ///< history and idempotency keys of all rooms
  std::size_t waiting_bytes =
      0;  ///< for peers and executors that are behind; with history_bytes what `total_bytes` bounds
  // Since the start.
  std::uint64_t connections_total = 0;
  std::uint64_t refused_capacity = 0;  ///< by RefusedFor, as those that follow
  std::uint64_t refused_per_ip = 0;
  std::uint64_t refused_rate = 0;
  std::uint64_t refused_auth = 0;
  std::uint64_t refused_going_away = 0;
  std::uint64_t refused_host = 0;
  std::uint64_t refused_origin = 0;
  std::uint64_t refused_path = 0;
  std::uint64_t refused_request = 0;
  std::array<std::uint64_t, close_reason_count> closed{};  ///< by CloseReason
  std::uint64_t messages_in = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t writes = 0;  ///< calls of Transport::write
  std::uint64_t bytes_out = 0;
  std::uint64_t deliveries = 0;         ///< room messages handed to a member
  std::uint64_t blocks = 0;             ///< encoded batches
  std::uint64_t conflated = 0;          ///< `latest` messages and awareness that others replaced
  std::uint64_t gaps = 0;               ///< told
  std::uint64_t history_dropped = 0;    ///< messages that history gave up because of `total_bytes` or `tenant_bytes`
  std::uint64_t refused_when_full = 0;  ///< publishes and sends, since what waits is beyond `total_bytes`
  std::uint64_t errors = 0;             ///< error events sent
  std::uint64_t rate_limited = 0;       ///< messages and commands refused for their rate
  std::uint64_t callback_failures = 0;  ///< handlers, hooks and seams that threw
  std::uint64_t sweep_findings = 0;     ///< tables that contradicted each other
  std::uint64_t resumes = 0;
  std::uint64_t resumes_failed = 0;
  std::uint64_t queued = 0;         ///< messages put into offline queues
  std::uint64_t queue_dropped = 0;  ///< that had to go for newer ones
  std::uint64_t session_store_failures = 0;
  std::uint64_t lost = 0;    ///< connections of an executor that stopped under them
  std::uint64_t slowed = 0;  ///< how often a connection has become slow: see IConnectionManager::on_slow
  // How long things took.
  Histogram loop_lag;  ///< by how much an executor ran a timer too late
  Histogram
      command_wait;  ///< of commands that were read and had to wait: for the answer to one before, or for their rate
  Histogram handler_time;  ///< of calls of handlers and hooks
  Histogram
      latest_wait;  ///< of `latest` messages that wait for latest_bytes_per_second: since their key's first change
};

/// Called for rare events only, never per delivery. From any thread, at once; must not throw, must not block.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void log(LogLevel level, std::string_view message) = 0;

 protected:
  Observer() = default;
  Observer(const Observer&) = default;
  Observer& operator=(const Observer&) = default;
};

}  // namespace MUSTER_ABI
}  // namespace muster
