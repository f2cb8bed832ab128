// What clients ask: one command after another, each authorised before it does anything.
#pragma once

#include <algorithm>

#include "muster/detail/manager.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {

/// 1 to `limit` of [A-Za-z0-9_:.-].
inline bool valid_room_name(std::string_view name, std::size_t limit) {
  return !name.empty() && name.size() <= limit && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ':' ||
           c == '.' || c == '-';
  });
}

}  // namespace detail

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
  if (kind == FrameKind::pong) return;

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
  if (!std::holds_alternative<command::Invalid>(command.body)) connection.invalid_in_row = 0;
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

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Invalid& invalid) {
  tell_error(connection, &correlation, std::move(invalid.error));
  if (++connection.invalid_in_row >= options_.invalid_messages_max && options_.invalid_messages_max != 0) {
    disconnect(connection, CloseReason::policy, "Too many invalid messages");
  }
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Authenticate& authenticate) {
  if (connection.live()) {
    tell_error(connection, &correlation,
               {errc::not_supported, "Authenticating again is not supported yet; connect again instead", {}});
    return;
  }
  if (authenticate.token.empty() && authenticator_->needs_token()) {
    tell_error(connection, &correlation, {errc::auth_required, "authenticate needs a token", {}});
    disconnect(connection, CloseReason::auth_required, {});
    return;
  }
  if (options_.auth_mode == AuthMode::upgrade_only) {
    tell_error(connection, &correlation, {errc::auth_required, "The token must come with the upgrade", {}});
    disconnect(connection, CloseReason::auth_required, {});
    return;
  }
  connection.credentials.token = std::move(authenticate.token);
  connection.credentials.source = TokenSource::message;
  ask<Authentication>(
      connection,
      [&](Reply<Authentication> reply) {
        authenticator_->authenticate(connection.credentials, std::move(reply));
      },
      [this, correlation](ConnectionState& asker, Authentication answer) {
        const auto refuse = [&](const Error& error, CloseReason reason) {
          ++counters_.refused_auth;
          event::AuthResult result;
          result.error = error.message;
          tell(asker, result, &correlation);
          disconnect(asker, reason, {});
        };
        if (!answer) {
          const bool late = answer.error().code == errc::unavailable;
          refuse(answer.error(), late ? CloseReason::over_capacity : CloseReason::auth_failed);
          return;
        }
        bool first = false;
        if (const auto error = establish(asker, std::move(answer.value()), first)) {
          refuse(*error, error->code == errc::too_many ? CloseReason::policy : CloseReason::auth_failed);
          return;
        }
        event::AuthResult result;
        const auto identity = asker.identity_;
        result.identity = identity.get();
        tell(asker, result, &correlation);
        welcome(asker, first);
      },
      Error{errc::unavailable, "The authentication service did not answer in time", options_.reconnect_window});
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Resume&) {
  tell_error(connection, &correlation,
             {errc::not_supported, "Sessions cannot be resumed yet; authenticate and join again", {}});
  if (!connection.live()) disconnect(connection, CloseReason::auth_required, {});
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Join& join) {
  if (!detail::valid_room_name(join.room, options_.room_name_bytes)) {
    tell_error(connection, &correlation,
               {errc::invalid_room,
                "room must have 1 to " + std::to_string(options_.room_name_bytes) + " of A-Z a-z 0-9 _ : . -",
                {}});
    return;
  }
  if (options_.rooms_per_connection != 0 && connection.memberships.size() >= options_.rooms_per_connection &&
      connection.membership(join.room) == nullptr) {
    tell_error(connection, &correlation,
               {errc::too_many_rooms,
                "A connection may be in " + std::to_string(options_.rooms_per_connection) + " rooms; leave one first",
                {}});
    return;
  }
  authorize(connection, Action::join, join.room, correlation,
            [this, correlation, room = join.room](ConnectionState& allowed) mutable {
              enter(allowed, correlation, {allowed.identity_->tenant, std::move(room)});
            });
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Leave& leaving) {
  for (std::size_t i = 0; i < connection.memberships.size(); ++i) {
    if (connection.memberships[i].room->key.name == leaving.room) {
      leave(connection, i, std::nullopt);
      break;
    }
  }
  if (!correlation.reply || connection.ended()) return;
  event::RoomLeft left;
  left.room = leaving.room;
  tell(connection, left, &correlation);
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::ListSubscriptions&) {
  const auto rooms = connection.rooms();
  event::Subscriptions subscriptions;
  subscriptions.rooms = &rooms;
  tell(connection, subscriptions, &correlation);
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Publish& publishing) {
  if (connection.membership(publishing.room) == nullptr) {
    tell_error(connection, &correlation, {errc::not_in_room, "Join the room before publishing to it", {}});
    return;
  }
  if (!publishing.idempotency_key.empty()) {
    tell_error(connection, &correlation, {errc::not_supported, "idempotency_key is not supported yet", {}});
    return;
  }
  authorize(
      connection, Action::publish, publishing.room, correlation,
      [this, correlation, publishing = std::move(publishing)](ConnectionState& allowed) mutable {
        if (allowed.membership(publishing.room) == nullptr) {
          tell_error(allowed, &correlation, {errc::not_in_room, "Join the room before publishing to it", {}});
          return;
        }
        const RoomKey key{allowed.identity_->tenant, std::move(publishing.room)};
        Draft draft{std::move(publishing.data), std::move(publishing.delivery),
                    publishing.echo ? ConnectionId() : allowed.id_, allowed.id_, allowed.identity_->user};
        const auto answer = [this](ConnectionState& publisher, const Correlation& of, const Result<Published>& result) {
          if (!result) {
            tell_error(publisher, &of, result.error());
          } else if (of.reply) {
            event::Ack ack;
            if (result.value().position.seq != 0) ack.position = result.value().position;
            tell(publisher, ack, &of);
          }
        };
        if (!broker_) {
          answer(allowed, correlation, publish_here(key, std::move(draft)));
          return;
        }
        ask<Result<Published>>(
            allowed,
            [&](Reply<Result<Published>> reply) {
              publish_draft(key, std::move(draft), [reply](Result<Published> done) { reply(std::move(done)); });
            },
            [correlation, answer](ConnectionState& publisher, Result<Published> result) {
              answer(publisher, correlation, result);
            },
            Error{errc::unavailable, "The broker did not answer in time", std::chrono::seconds(1)});
      });
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Send& sending) {
  if (!options_.allow_send) {
    tell_error(connection, &correlation, {errc::permission_denied, "send is switched off here", {}});
    return;
  }
  if (sending.queued) {
    tell_error(connection, &correlation, {errc::not_supported, "Offline queues are not supported yet", {}});
    return;
  }
  authorize(connection, Action::send, sending.user, correlation,
            [this, correlation, sending = std::move(sending)](ConnectionState& allowed) {
              const std::string from_user = allowed.identity_->user;
              const auto targets = users_.of({allowed.identity_->tenant, sending.user});
              for (const ConnectionPtr& target : targets) {
                (void)post(target->loop, [target, data = sending.data, from = allowed.id_,
                                          from_user](ConnectionManager& on_loop) {
                  event::DirectMessage direct;
                  direct.from = from;
                  direct.from_user = from_user;
                  direct.data = &data;
                  if (target->live()) on_loop.tell(*target, direct);
                });
              }
              if (!correlation.reply) return;
              event::Ack ack;
              ack.delivered = targets.size();
              ack.queued = false;
              tell(allowed, ack, &correlation);
            });
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::AwarenessSet& setting) {
  const Membership* membership = connection.membership(setting.room);
  if (membership == nullptr) {
    tell_error(connection, &correlation, {errc::not_in_room, "Join the room before setting awareness in it", {}});
    return;
  }
  if (setting.state && options_.awareness_state_bytes != 0 &&
      setting.state->view().size() > options_.awareness_state_bytes) {
    tell_error(connection, &correlation,
               {errc::too_large,
                "state may have " + std::to_string(options_.awareness_state_bytes) + " bytes",
                {}});
    return;
  }
  authorize(
      connection, Action::awareness, setting.room, correlation,
      [this, correlation, setting = std::move(setting)](ConnectionState& allowed) mutable {
        const Membership* member = allowed.membership(setting.room);
        if (member == nullptr) {
          tell_error(allowed, &correlation, {errc::not_in_room, "Join the room before setting awareness in it", {}});
          return;
        }
        const RoomPtr room = member->room;
        const AwarenessOwner owner{allowed.identity_->user, allowed.id_, allowed.order};
        if (setting.client.empty()) setting.client = to_string(allowed.id_);
        AwarenessUpdate update;
        if (setting.state) {
          AwarenessEntry entry{setting.client, owner, setting.clock, std::move(*setting.state), now()};
          update = awareness_->set(room->key, std::move(entry),
                                   {room->options.awareness_entries, options_.awareness_per_connection});
        } else {
          update = awareness_->remove(room->key, setting.client, owner, setting.clock);
        }
        switch (update.result) {
          case AwarenessResult::accepted:
            mark_awareness(*allowed.loop, room, setting.client, setting.state ? 0 : update.clock);
            replicate_awareness(room->key, setting.client, owner, setting.state ? 0 : update.clock);
            break;
          case AwarenessResult::stale:
            break;
          case AwarenessResult::not_owner:
            tell_error(allowed, &correlation, {errc::not_owner, "client belongs to another session", {}});
            return;
          case AwarenessResult::too_many:
            tell_error(allowed, &correlation, {errc::too_many, "Too many awareness entries", {}});
            return;
        }
        if (correlation.reply) tell(allowed, event::Ack{}, &correlation);
      });
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::AwarenessQuery& query) {
  const auto refuse = [this](ConnectionState& asker, const Correlation& of) {
    tell_error(asker, &of, {errc::not_in_room, "Join the room before asking about it", {}});
  };
  if (connection.membership(query.room) == nullptr) {
    refuse(connection, correlation);
    return;
  }
  authorize(connection, Action::query, query.room, correlation,
            [this, refuse, correlation, room = query.room](ConnectionState& allowed) {
              if (allowed.membership(room) == nullptr) {
                refuse(allowed, correlation);
              } else {
                tell_awareness(allowed, &correlation, {allowed.identity_->tenant, room});
              }
            });
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::PresenceQuery& query) {
  constexpr std::size_t most_users = 256;
  if (query.room.empty()) {
    if (query.users.size() > most_users) {
      tell_error(connection, &correlation,
                 {errc::too_large, "users may have " + std::to_string(most_users) + " entries", {}});
      return;
    }
    query_users(connection, correlation, std::move(query.users), 0, {});
    return;
  }
  if (connection.membership(query.room) == nullptr) {
    tell_error(connection, &correlation, {errc::not_in_room, "Join the room before asking about it", {}});
    return;
  }
  authorize(connection, Action::query, query.room, correlation,
            [this, correlation, name = query.room](ConnectionState& allowed) {
              const Membership* membership = allowed.membership(name);
              if (membership == nullptr) {
                tell_error(allowed, &correlation, {errc::not_in_room, "Join the room before asking about it", {}});
                return;
              }
              std::vector<event::UserPresence> users;
              {
                detail::Lock lock(membership->room->mutex);
                std::map<std::string, std::size_t> counts;
                for (const auto& [user, count] : membership->room->users) counts[user] += count;
                for (const auto& remote : membership->room->remote_members) ++counts[remote.second];
                for (const auto& [user, count] : counts) users.push_back({user, count});
              }
              event::PresenceState state;
              state.users = &users;
              tell(allowed, state, &correlation);
            });
}

/// Each user is a question of its own to the authorizer: who may know one need not know another.
MUSTER_INLINE void ConnectionManager::query_users(ConnectionState& connection, Correlation correlation,
                                                  std::vector<std::string> users, std::size_t next,
                                                  std::vector<event::UserPresence> found) {
  if (next == users.size()) {
    event::PresenceState state;
    state.users = &found;
    tell(connection, state, &correlation);
    return;
  }
  std::string user = users[next];
  authorize(connection, Action::query, user, correlation,
            [this, correlation, users = std::move(users), next, found = std::move(found)](
                ConnectionState& allowed) mutable {
              found.push_back({users[next], users_.count({allowed.identity_->tenant, users[next]})});
              query_users(allowed, correlation, std::move(users), next + 1, std::move(found));
            });
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::AcknowledgeQueue&) {
  tell_error(connection, &correlation, {errc::not_supported, "Offline queues are not supported yet", {}});
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::SessionInfo&) {
  const auto rooms = connection.rooms();
  event::SessionState state;
  state.connection = connection.id_;
  state.user = connection.identity_->user;
  state.tenant = connection.identity_->tenant;
  state.rooms = &rooms;
  state.connected_at = connection.connected_at;
  tell(connection, state, &correlation);
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Ping& ping) {
  event::Pong pong;
  pong.payload = &ping.payload;
  tell(connection, pong, &correlation);
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Custom& custom) {
  const auto handler = handlers_.find(custom.type);
  if (handler == handlers_.end()) {
    tell_error(connection, &correlation, {errc::unknown_message, "Unknown type \"" + custom.type.substr(0, 64) + "\"", {}});
    return;
  }
  authorize(connection, Action::custom, custom.type, correlation,
            [this, correlation, &serve = handler->second, payload = std::move(custom.payload)](ConnectionState& allowed) {
              allowed.handling = &correlation;
              const bool well = contain(allowed, "A message handler", [&] { serve(allowed, payload); });
              const bool replied = allowed.handling == nullptr;
              allowed.handling = nullptr;
              if (!well) {
                disconnect(allowed, CloseReason::internal_error, {});
              } else if (!replied && correlation.reply) {
                tell(allowed, event::Ack{}, &correlation);
              }
            });
}

}  // namespace MUSTER_ABI
}  // namespace muster
