// What comes in: budgets, then decoding, then one command after another, each of them authorised.
#pragma once

#include <algorithm>

#include "muster/detail/manager.hpp"

namespace muster {
inline namespace MUSTER_ABI {

MUSTER_INLINE void ConnectionManager::received(Connection& from, FrameKind kind, std::string_view bytes) {
  auto& connection = static_cast<ConnectionState&>(from);
  if (connection.ended() || connection.doomed) return;
  const ConnectionPtr keep = connection.shared_from_this();
  Loop& loop = *connection.loop;
  const TimePoint now_here = loop.executor->now();
  connection.last_inbound = now_here;
  if (connection.frame_budget.take(options_.frame_rate, 1, now_here).count() != 0) {
    disconnect(connection, CloseReason::policy, "Too many frames");
    return;
  }
  if (kind == FrameKind::ping) {
    std::string pong;
    loop.formats[connection.format].wire->append(FrameKind::pong, bytes, pong);
    connection.outbox.set_pong(std::move(pong), now_here);
    mark_dirty(connection);
    return;
  }
  if (kind == FrameKind::pong) connection.last_pong = now_here;
  if (kind == FrameKind::pong || kind == FrameKind::continuation) return;

  ++connection.counted.messages_in;
  connection.counted.bytes_in += bytes.size();
  loop.counters.messages_in.add();
  loop.counters.bytes_in.add(bytes.size());
  if (options_.max_message_bytes != 0 && bytes.size() > options_.max_message_bytes) {
    disconnect(connection, CloseReason::message_too_big, {});
    return;
  }
  if (!connection.live()) {
    connection.pre_auth_bytes += bytes.size();
    if (++connection.pre_auth_messages > options_.pre_auth_messages ||
        connection.pre_auth_bytes > options_.pre_auth_bytes) {
      disconnect(connection, CloseReason::policy, "Too much before authentication");
      return;
    }
  }
  std::vector<Command> commands;
  commands.swap(loop.commands);
  commands.clear();
  const auto fault =
      loop.formats[connection.format].protocol->decode(kind, bytes, {options_.json_nesting}, commands);
  if (fault) {
    disconnect(connection, *fault, {});
  } else {
    auto wait = connection.message_budget.take(options_.message_rate, 1, now_here);
    wait = std::max(wait, connection.byte_budget.take(options_.byte_rate, static_cast<double>(bytes.size()), now_here));
    if (wait.count() != 0) {
      loop.counters.rate_limited.add();
      for (const Command& command : commands) {
        tell_error(connection, &command.correlation,
                   {errc::rate_limited, "Too many messages or bytes a second; wait as long as retry_after_ms says",
                    wait});
      }
      if (++connection.refused_in_row >= options_.rate_limited_max && options_.rate_limited_max != 0) {
        disconnect(connection, CloseReason::policy, "Too many messages");
      }
    } else {
      connection.refused_in_row = 0;
      for (Command& command : commands) {
        if (connection.ended()) break;
        handle(connection, std::move(command));
      }
    }
  }
  commands.clear();
  loop.commands.swap(commands);
}

MUSTER_INLINE void ConnectionManager::handle(ConnectionState& connection, Command command) {
  if (!connection.question && connection.waiting.empty()) {
    run(connection, command);
    return;
  }
  connection.waiting.push_back(std::move(command));
  if (!connection.reading_paused && connection.live()) {  // before that, the pre-authentication bounds hold
    connection.reading_paused = true;
    connection.transport->pause_reading(true);
  }
  if (connection.waiting.size() > 2 * options_.waiting_commands) {  // the transport hands over more than it may hold
    disconnect(connection, CloseReason::policy, "Too many commands at once");
  }
}

MUSTER_INLINE void ConnectionManager::resume_commands(ConnectionState& connection) {
  if (connection.resuming) return;
  connection.resuming = true;
  while (!connection.ended() && !connection.question && !connection.waiting.empty()) {
    Command command = std::move(connection.waiting.front());
    connection.waiting.pop_front();
    run(connection, command);
  }
  connection.resuming = false;
  if (connection.reading_paused && connection.waiting.empty() && !connection.ended()) {
    connection.reading_paused = false;
    connection.transport->pause_reading(false);
  }
}

MUSTER_INLINE void ConnectionManager::run(ConnectionState& connection, Command& command) {
  const bool first_steps = std::holds_alternative<command::Authenticate>(command.body) ||
                           std::holds_alternative<command::Resume>(command.body);
  if (!connection.live() && !first_steps) {
    tell_error(connection, &command.correlation,
               {errc::auth_required, "The first message must be authenticate, with a token", {}});
    disconnect(connection, CloseReason::auth_required, {});
    return;
  }
  if (connection.live() && in_debt(connection, command.correlation)) return;
  if (!std::holds_alternative<command::Invalid>(command.body)) connection.invalid_in_row = 0;
  if (!connection.previous_token_hash.empty()) {  // the answer to `resume` has arrived
    const std::string spent = std::exchange(connection.previous_token_hash, {});
    if (!detail::mutant(detail::Mutant::keep_spent_token)) forget_session(spent);
  }
  std::visit([&](auto& body) { on_command(connection, command.correlation, body); }, command.body);
}

MUSTER_INLINE void ConnectionManager::authorize(ConnectionState& connection, Action action, std::string target,
                                                Correlation correlation, Function<void(ConnectionState&)> then) {
  ask<Permission>(
      connection,
      [&](Reply<Permission> reply) {
        authorizer_->authorize({connection.id_, connection.identity_, action, std::move(target)}, std::move(reply));
      },
      [this, correlation = std::move(correlation), then = std::move(then)](ConnectionState& asker,
                                                                           Permission answer) mutable {
        if (answer) {
          then(asker);
          return;
        }
        if (answer.unavailable()) {
          tell_error(asker, &correlation, {errc::unavailable, answer.message(), std::chrono::seconds(1)});
          return;
        }
        tell_error(asker, &correlation, {errc::permission_denied, answer.message(), {}});
        if (options_.close_on_permission_denied) disconnect(asker, CloseReason::permission_denied, {});
      },
      Permission::late("The authorisation service did not answer in time"));
}

}  // namespace MUSTER_ABI
}  // namespace muster
