// From bytes to commands.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "muster/core/flows/inbound.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE void Inbound::arrived(ConnectionState& connection, std::size_t bytes) {
  if (connection.ended() || connection.ends_soon) return;
  guard(later_, connection, "What came in", [&] {
    const TimePoint now = connection.loop->executor->now();
    add_bytes(connection.part_bytes, bytes);
    if (charge_bytes(connection, bytes, now)) pacing_.keep_pace(connection, now);
  });
}

/// What came in, whatever it is. False: the connection has ended.
MUSTER_INLINE bool Inbound::charge_bytes(ConnectionState& connection, std::size_t bytes, TimePoint now) {
  connection.last_inbound = now;
  connection.byte_budget.charge(options_.byte_rate, static_cast<double>(bytes), now);
  if (connection.live()) return true;
  add_bytes(connection.arrival->bytes, bytes);
  if (connection.arrival->bytes <= options_.pre_auth_bytes) return true;
  ending_.end(connection, CloseReason::policy, "Too much before authentication");
  return false;
}

MUSTER_INLINE void Inbound::received(ConnectionState& connection, FrameKind kind, std::string_view bytes,
                                     std::size_t wire_bytes) {
  if (connection.ended() || connection.ends_soon) return;
  guard(later_, connection, "What came in", [&] { take_frame(connection, kind, bytes, wire_bytes); });
}

MUSTER_INLINE void Inbound::take_frame(ConnectionState& connection, FrameKind kind, std::string_view bytes,
                                       std::size_t wire_bytes) {
  Loop& loop = *connection.loop;
  const TimePoint now = loop.executor->now();
  if (kind == FrameKind::continuation) add_bytes(connection.part_bytes, wire_bytes);
  const bool whole = kind == FrameKind::text || kind == FrameKind::binary;
  const std::size_t paid = whole ? std::exchange(connection.part_bytes, 0U) : 0;
  const std::size_t cost = std::max(paid + wire_bytes, bytes.size());
  const bool many_bytes =
      connection.byte_budget.until(options_.byte_rate, static_cast<double>(cost), now, static_cast<double>(paid))
          .count() != 0;
  if (!charge_bytes(connection, cost - paid, now)) return;
  const bool many_frames = connection.frame_budget.until(options_.frame_rate, 1, now).count() != 0;
  connection.frame_budget.charge(options_.frame_rate, 1, now);
  if (many_frames && pacing_.exceeds_for_long(connection, now)) {
    ending_.end(connection, CloseReason::rate_limited, "Too many frames");
    return;
  }
  if (whole) {
    take_message(connection, kind, bytes, many_bytes);
  } else if (kind == FrameKind::ping) {
    std::string pong;
    loop.formats[connection.format].wire->append(FrameKind::pong, bytes, pong);
    connection.outbox.append_pong(pong, now);
    writer_.mark_dirty(connection);
  } else if (kind == FrameKind::pong) {
    connection.last_pong = now;
  }
  if (!connection.ended()) pacing_.keep_pace(connection, now);
}

/// `many_bytes`: more than its rate allows.
MUSTER_INLINE void Inbound::take_message(ConnectionState& connection, FrameKind kind, std::string_view bytes,
                                         bool many_bytes) {
  Loop& loop = *connection.loop;
  const TimePoint now = loop.executor->now();
  ++connection.counted.messages_in;
  connection.counted.bytes_in += bytes.size();
  loop.counters.messages_in.add();
  loop.counters.bytes_in.add(bytes.size());
  if (options_.max_message_bytes != 0 && bytes.size() > options_.max_message_bytes) {
    ending_.end(connection, CloseReason::message_too_big, {});
    return;
  }
  if (!connection.live() && ++connection.arrival->messages > options_.pre_auth_messages) {
    ending_.end(connection, CloseReason::policy, "Too much before authentication");
    return;
  }
  std::vector<Command> commands;
  commands.swap(loop.commands);
  commands.clear();
  const DecodeLimits limits{options_.json_nesting};
  Conversation* const conversation = connection.conversation();
  const auto fault = conversation != nullptr
                         ? conversation->decode(kind, bytes, limits, commands)
                         : loop.formats[connection.format].protocol->decode(kind, bytes, limits, commands);
  const auto messages_wait = connection.message_budget.until(options_.message_rate, 1, now);
  if (fault) {
    ending_.end(connection, *fault, {});
  } else if ((many_bytes || messages_wait.count() != 0) && pacing_.exceeds_for_long(connection, now)) {
    loop.counters.rate_limited.add();
    const auto wait = std::max(
        messages_wait, connection.byte_budget.until(options_.byte_rate, static_cast<double>(bytes.size()), now));
    for (const Command& command : commands) {
      writer_.tell_error(
          connection, &command.correlation,
          {errc::rate_limited, "Too many messages or bytes a second; wait as long as retry_after_ms says", wait});
    }
    if (++connection.refused_in_row >= options_.rate_limited_max && options_.rate_limited_max != 0) {
      ending_.end(connection, CloseReason::rate_limited, {});
    }
  } else {
    connection.message_budget.charge(options_.message_rate, 1, now);
    connection.refused_in_row = 0;
    for (Command& command : commands) {
      if (connection.ended() || connection.ends_soon) break;
      handle(connection, command);
    }
  }
  commands.clear();
  loop.commands.swap(commands);
}

MUSTER_INLINE void Inbound::handle(ConnectionState& connection, Command& command) {
  seating_.run(connection);
  // What the program has asked, its handlers may be waiting for.
  const bool overtakes = std::holds_alternative<command::Answer>(command.body) && connection.live();
  if (overtakes || (!connection.holds_commands() && !connection.waiting)) {
    if (!connection.ended() && !connection.ends_soon) run(connection, command);
    return;
  }
  connection.wait(std::move(command), connection.loop->executor->now());
  if (connection.live() && !connection.reads_for_answers(options_.waiting_commands))
    pacing_.pause(connection, Pause::commands, true);  // before that, the pre-authentication bounds hold
  // The transport hands over more than it may hold.
  if (connection.waiting_commands() > 2 * options_.waiting_commands) {
    ending_.end(connection, CloseReason::policy, "Too many commands at once");
  }
}

MUSTER_INLINE void Inbound::go_on(ConnectionState& connection) {
  if (connection.resuming) return;
  connection.resuming = true;
  for (;;) {
    seating_.run(connection);
    if (connection.ended() || connection.ends_soon || connection.holds_commands() || !connection.waiting) break;
    const TimePoint now = connection.loop->executor->now();
    pacing_.keep_pace(connection, now);
    if ((connection.pauses & static_cast<std::uint8_t>(Pause::rate)) != 0) break;
    auto next = connection.next_waiting();
    connection.loop->counters.command_wait.add(now - next.since);
    run(connection, next.command);
  }
  connection.resuming = false;
  if (!connection.ended() && !connection.waiting) pacing_.pause(connection, Pause::commands, false);
}

MUSTER_INLINE void Inbound::run(ConnectionState& connection, Command& command) {
  const bool first_steps = std::holds_alternative<command::Authenticate>(command.body) ||
                           std::holds_alternative<command::Resume>(command.body);
  if (!connection.live() && !first_steps) {
    writer_.tell_error(connection, &command.correlation,
                       {errc::auth_required, "The first message must be authenticate, with a token", {}});
    ending_.end(connection, CloseReason::auth_required, {});
    return;
  }
  if (!std::holds_alternative<command::Invalid>(command.body)) connection.invalid_in_row = 0;
  if (connection.rare && !connection.rare->previous_token_hash.empty()) {  // the answer to `resume` has arrived
    const std::string spent = std::exchange(connection.rare->previous_token_hash, {});
    sessions_.forget(spent);
  }
  commands_.run(connection, command);
}

MUSTER_INLINE void Inbound::read_on(ConnectionState& connection) {
  pacing_.keep_pace(connection, connection.loop->executor->now());
  go_on(connection);
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
