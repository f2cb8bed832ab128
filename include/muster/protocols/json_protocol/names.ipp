// The words of the JSON protocol: its types of commands, and the members of payloads that they read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {
namespace json_protocol {

/// The built-in message types; `custom` is every other.
enum class Type : std::uint8_t {
  authenticate,
  resume,
  join,
  subscribe,
  leave,
  unsubscribe,
  list_subscriptions,
  publish,
  send,
  awareness_update,
  awareness_query,
  history_query,
  presence_query,
  profile_update,
  answer,
  ack,
  session_info,
  ping,
  custom
};
inline constexpr std::array<std::string_view, static_cast<std::size_t>(Type::custom)> type_names{"authenticate",
                                                                                                 "resume",
                                                                                                 "join",
                                                                                                 "subscribe",
                                                                                                 "leave",
                                                                                                 "unsubscribe",
                                                                                                 "list_subscriptions",
                                                                                                 "publish",
                                                                                                 "send",
                                                                                                 "awareness_update",
                                                                                                 "awareness_query",
                                                                                                 "history_query",
                                                                                                 "presence_query",
                                                                                                 "profile_update",
                                                                                                 "answer",
                                                                                                 "ack",
                                                                                                 "session_info",
                                                                                                 "ping"};

/// The members of payloads that commands read.
enum class Member : std::uint8_t {
  after,
  auth,
  client,
  clock,
  data,
  delivery,
  echo,
  epoch,
  error,
  idempotency_key,
  limit,
  profile,
  queue_id,
  queued,
  request,
  room,
  rooms,
  state,
  token,
  topic,
  user,
  users,
  none
};
inline constexpr std::size_t member_count = static_cast<std::size_t>(Member::none);
inline constexpr std::array<std::string_view, member_count> member_names{
    "after",           "auth",  "client",  "clock",    "data",   "delivery", "echo", "epoch", "error",
    "idempotency_key", "limit", "profile", "queue_id", "queued", "request",  "room", "rooms", "state",
    "token",           "topic", "user",    "users"};

}  // namespace json_protocol
}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
