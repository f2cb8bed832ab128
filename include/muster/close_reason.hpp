// Why a connection ends: the core speaks reasons, each Protocol maps them to the codes its clients know.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Closing a connection is not an error of a command: errors are in error.hpp, and leave the connection open.
enum class CloseReason : std::uint8_t {
  normal,
  going_away,
  protocol_error,
  unsupported_data,
  invalid_utf8,
  policy,
  rate_limited,  ///< Beyond a rate for too long; its session may resume.
  message_too_big,
  internal_error,
  over_capacity,
  auth_required,
  auth_failed,
  permission_denied,
  revoked,
  kicked,
  replaced,
  slow_consumer,
  heartbeat_timeout,
  lost  ///< The peer vanished: no close frame came and none can be sent (RFC 6455, 7.1.5: 1006).
};
inline constexpr std::size_t close_reason_count = 19;

/// What a client should do after a close.
enum class CloseAdvice : std::uint8_t { stop, reconnect, reconnect_later, authenticate, new_token, resume, as_told };

struct CloseReasonEntry {
  CloseReason reason;
  std::string_view name;
  /// The default close code (RFC 6455, 7.4); a Protocol may map it otherwise.
  std::uint16_t code;
  /// The HTTP status when the upgrade is refused for this reason.
  std::uint16_t http_status;
  CloseAdvice advice;
  /// What the close frame says unless something more exact is known.
  std::string_view text;
};

inline constexpr std::array<CloseReasonEntry, close_reason_count> close_reasons{{
    {CloseReason::normal, "normal", 1000, 400, CloseAdvice::stop, "Closed"},
    {CloseReason::going_away, "going_away", 1001, 503, CloseAdvice::reconnect_later, "Server is going away"},
    {CloseReason::protocol_error, "protocol_error", 1002, 400, CloseAdvice::stop, "Protocol error"},
    {CloseReason::unsupported_data, "unsupported_data", 1003, 400, CloseAdvice::stop, "Unsupported data"},
    {CloseReason::invalid_utf8, "invalid_utf8", 1007, 400, CloseAdvice::stop, "Invalid UTF-8"},
    {CloseReason::policy, "policy", 1008, 429, CloseAdvice::reconnect_later, "Policy violation"},
    {CloseReason::rate_limited, "rate_limited", 1008, 429, CloseAdvice::reconnect_later, "Too many messages"},
    {CloseReason::message_too_big, "message_too_big", 1009, 413, CloseAdvice::stop, "Message too big"},
    {CloseReason::internal_error, "internal_error", 1011, 500, CloseAdvice::reconnect, "Internal error"},
    {CloseReason::over_capacity, "over_capacity", 1013, 503, CloseAdvice::reconnect_later, "Server is full"},
    {CloseReason::auth_required, "auth_required", 4001, 401, CloseAdvice::authenticate, "Authentication required"},
    {CloseReason::auth_failed, "auth_failed", 4002, 401, CloseAdvice::new_token, "Authentication failed"},
    {CloseReason::permission_denied, "permission_denied", 4003, 403, CloseAdvice::stop, "Permission denied"},
    {CloseReason::revoked, "revoked", 4003, 403, CloseAdvice::stop, "Credentials revoked"},
    {CloseReason::kicked, "kicked", 4004, 403, CloseAdvice::as_told, "Kicked"},
    {CloseReason::replaced, "replaced", 4005, 403, CloseAdvice::stop, "Replaced by another connection"},
    {CloseReason::slow_consumer, "slow_consumer", 4008, 503, CloseAdvice::resume, "Too slow"},
    {CloseReason::heartbeat_timeout, "heartbeat_timeout", 4009, 503, CloseAdvice::resume, "Heartbeat timeout"},
    {CloseReason::lost, "lost", 1006, 400, CloseAdvice::resume, "Connection lost"},
}};

/// The table's row of a reason.
[[nodiscard]] constexpr const CloseReasonEntry& describe(CloseReason reason) noexcept {
  return close_reasons[static_cast<std::size_t>(reason)];
}
[[nodiscard]] constexpr std::string_view to_string(CloseReason reason) noexcept { return describe(reason).name; }

}  // namespace MUSTER_ABI
}  // namespace muster
