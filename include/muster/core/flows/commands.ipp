// What each client command does.
#pragma once

#include <algorithm>

#include "muster/core/outward/manager_calls.hpp"
#include "muster/core/room/room_name.hpp"

namespace muster {
inline namespace MUSTER_ABI {

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Invalid& invalid) {
  writer_.tell_error(connection, &correlation, std::move(invalid.error));
  if (++connection.invalid_in_row >= options_.invalid_messages_max && options_.invalid_messages_max != 0) {
    ending_.end(connection, CloseReason::policy, "Too many invalid messages");
  }
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Join& join) {
  if (!core::valid_room_name(join.room, options_)) {
    const bool ascii = options_.room_names == RoomNames::ascii;
    writer_.tell_error(connection, &correlation,
                       {errc::invalid_room,
                        "room must have 1 to " + std::to_string(options_.room_name_bytes) +
                            (ascii ? " of A-Z a-z 0-9 _ : . - (the server's option room_names = unicode allows more)"
                                   : " bytes of UTF-8 without control characters and line separators"),
                        {}});
    return;
  }
  if (options_.rooms_per_connection != 0 && connection.memberships.size() >= options_.rooms_per_connection &&
      connection.membership(join.room) == nullptr) {
    writer_.tell_error(
        connection, &correlation,
        {errc::too_many_rooms,
         "A connection may be in " + std::to_string(options_.rooms_per_connection) + " rooms; leave one first",
         {}});
    return;
  }
  authorize(connection, Action::join, join.room, correlation,
            [this, correlation, room = join.room](ConnectionState& allowed) mutable {
              joining_.enter(allowed, correlation, {allowed.identity_->tenant, std::move(room)});
            });
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Leave& leaving) {
  for (std::size_t i = 0; i < connection.memberships.size(); ++i) {
    if (connection.memberships[i].room->key.name == leaving.room) {
      joining_.leave(connection, i);
      break;
    }
  }
  if (!correlation.reply || connection.ended()) return;
  event::RoomLeft left;
  left.room = leaving.room;
  writer_.tell(connection, left, &correlation);
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::ListSubscriptions&) {
  const auto rooms = connection.room_names();
  event::Subscriptions subscriptions;
  subscriptions.rooms = &rooms;
  writer_.tell_asked(connection, subscriptions, &correlation);
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Publish& publishing) {
  if (connection.membership(publishing.room) == nullptr) {
    writer_.tell_error(connection, &correlation, {errc::not_in_room, "Join the room before publishing to it", {}});
    return;
  }
  if (!publishing.idempotency_key.empty() && options_.idempotency_keys == 0) {
    writer_.tell_error(connection, &correlation, {errc::not_supported, "idempotency_key is switched off here", {}});
    return;
  }
  if (publishing.idempotency_key.size() > options_.idempotency_key_bytes) {
    writer_.tell_error(
        connection, &correlation,
        {errc::too_large, "idempotency_key may have " + std::to_string(options_.idempotency_key_bytes) + " bytes", {}});
    return;
  }
  std::string about = publishing.room;  // not among the arguments, where the lambda may have taken it already
  authorize(
      connection, Action::publish, std::move(about), correlation,
      [this, correlation, publishing = std::move(publishing)](ConnectionState& allowed) mutable {
        if (allowed.membership(publishing.room) == nullptr) {
          writer_.tell_error(allowed, &correlation, {errc::not_in_room, "Join the room before publishing to it", {}});
          return;
        }
        const RoomKey key{allowed.identity_->tenant, std::move(publishing.room)};
        core::Draft draft{std::move(publishing.data),
                          std::move(publishing.delivery),
                          publishing.echo ? ConnectionId() : allowed.member,
                          allowed.member,
                          allowed.identity_->user,
                          std::move(publishing.idempotency_key)};
        const auto answer = [this](ConnectionState& publisher, const Correlation& of, const Result<Published>& result) {
          if (!result) {
            writer_.tell_error(publisher, &of, result.error());
          } else if (of.reply) {
            event::Ack ack;
            if (result.value().position.seq != 0) ack.position = result.value().position;
            writer_.tell(publisher, ack, &of);
          }
        };
        if (!replicating_.is_on()) {
          answer(allowed, correlation, publishing_.publish_here(key, std::move(draft)));
          return;
        }
        questions_.ask<Result<Published>>(
            allowed,
            [&](Reply<Result<Published>> reply) {
              publishing_.publish(key, std::move(draft), [reply](Result<Published> done) { reply(std::move(done)); });
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
    writer_.tell_error(connection, &correlation, {errc::permission_denied, "send is switched off here", {}});
    return;
  }
  std::string about = sending.user;  // here, as for publish
  authorize(connection, Action::send, std::move(about), correlation,
            [this, correlation, sending = std::move(sending)](ConnectionState& allowed) {
              const std::string from_user = allowed.identity_->user;
              if (sending.queued) {
                queues_.send(allowed, correlation, sending);
                return;
              }
              if (const auto full = rooms_.refuse_when_full({}))
                return writer_.tell_error(allowed, &correlation, *full);
              const auto targets = users_.of({allowed.identity_->tenant, sending.user});
              for (const ConnectionPtr& target : targets) {
                (void)post(target->loop, [target, data = sending.data, from = allowed.member, from_user,
                                          waiting = core::Waiting(bytes_.waiting(), sending.data.view().size())](
                                             ConnectionManager& on_loop) {
                  event::DirectMessage direct;
                  direct.from = from;
                  direct.from_user = from_user;
                  direct.data = &data;
                  if (target->live()) on_loop.writer_.tell(*target, direct);
                });
              }
              if (!correlation.reply) return;
              event::Ack ack;
              ack.delivered = targets.size();
              ack.queued = false;
              writer_.tell(allowed, ack, &correlation);
            });
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::AwarenessSet& setting) {
  if (setting.state && setting.state->empty()) setting.state.reset();
  const bool its_own = setting.client.empty();
  if (its_own) setting.client = to_string(connection.member);
  const Membership* membership = connection.membership(setting.room);
  if (membership == nullptr) {
    writer_.tell_error(connection, &correlation,
                       {errc::not_in_room, "Join the room before setting awareness in it", {}});
    return;
  }
  if (setting.state && options_.awareness_state_bytes != 0 &&
      setting.state->view().size() > options_.awareness_state_bytes) {
    writer_.tell_error(
        connection, &correlation,
        {errc::too_large, "state may have " + std::to_string(options_.awareness_state_bytes) + " bytes", {}});
    return;
  }
  // Who may not, or says nothing new, is told before the authorizer is asked.
  if (setting.state) {
    const AwarenessUpdate now_so =
        awareness_->judge(membership->room->key, setting.client,
                          {connection.identity_->user, connection.member, connection.order}, setting.clock);
    if (now_so.result == AwarenessResult::not_owner) return refuse_awareness(connection, correlation);
    if (now_so.result == AwarenessResult::stale) {
      return tell_stale(connection, correlation, membership->room->key, setting.client, its_own, now_so.clock);
    }
  }
  std::string about = setting.room;  // here, as for publish
  authorize(connection, Action::awareness, std::move(about), correlation,
            [this, correlation, setting = std::move(setting), its_own](ConnectionState& allowed) mutable {
              const Membership* member = allowed.membership(setting.room);
              if (member == nullptr) {
                writer_.tell_error(allowed, &correlation,
                                   {errc::not_in_room, "Join the room before setting awareness in it", {}});
                return;
              }
              const RoomPtr room = member->room;
              const AwarenessOwner owner{allowed.identity_->user, allowed.member, allowed.order};
              const std::uint64_t sent = setting.clock;
              AwarenessUpdate update;
              if (setting.state) {
                AwarenessEntry entry{setting.client, owner, setting.clock, std::move(*setting.state), loops_.now()};
                update = awareness_->set(room->key, std::move(entry),
                                         {room->options.awareness_entries, options_.awareness_per_connection});
              } else {
                update = awareness_->remove(room->key, setting.client, owner, setting.clock);
              }
              switch (update.result) {
                case AwarenessResult::accepted:
                  state_flush_.mark(*allowed.loop, room, setting.client, setting.state ? 0 : update.clock);
                  replicating_.state(*allowed.loop, room->key, setting.client, owner, setting.state ? 0 : update.clock);
                  break;
                case AwarenessResult::stale:
                  if (setting.state)
                    return tell_stale(allowed, correlation, room->key, setting.client, its_own, update.clock);
                  break;
                case AwarenessResult::not_owner:
                  return refuse_awareness(allowed, correlation);
                case AwarenessResult::too_many:
                  writer_.tell_error(allowed, &correlation, {errc::too_many, "Too many awareness entries", {}});
                  return;
              }
              if (!correlation.reply) return;
              event::Ack ack;
              if (setting.state && update.clock != sent) ack.clock = update.clock;
              writer_.tell(allowed, ack, &correlation);
            });
}

MUSTER_INLINE void ConnectionManager::refuse_awareness(ConnectionState& connection, const Correlation& correlation) {
  writer_.tell_error(connection, &correlation, {errc::not_owner, "client belongs to another session", {}});
}

/// Nothing is lost in silence: who said something old learns the clock that stands, and what stands under its own id.
MUSTER_INLINE void ConnectionManager::tell_stale(ConnectionState& connection, const Correlation& correlation,
                                                 const RoomKey& room, const std::string& client, bool its_own,
                                                 std::uint64_t clock) {
  if (correlation.reply) {
    event::Ack ack;
    ack.clock = clock;
    ack.stale = true;
    writer_.tell(connection, ack, &correlation);
  }
  if (!its_own && correlation.reply) return;
  AwarenessEntry standing;
  if (!awareness_->get(room, client, standing)) {
    standing.client = client;
    standing.clock = clock;
  }
  event::AwarenessChanged changed;
  changed.room = room.name;
  changed.entries = &standing;
  changed.count = 1;
  writer_.tell_asked(connection, changed);
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::AwarenessQuery& query) {
  const auto refuse = [this](ConnectionState& asker, const Correlation& of) {
    writer_.tell_error(asker, &of, {errc::not_in_room, "Join the room before asking about it", {}});
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
                joining_.tell_awareness(allowed, &correlation, {allowed.identity_->tenant, room});
              }
            });
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::PresenceQuery& query) {
  constexpr std::size_t most_users = 256;
  if (query.room.empty()) {
    if (query.users.size() > most_users) {
      writer_.tell_error(connection, &correlation,
                         {errc::too_large, "users may have " + std::to_string(most_users) + " entries", {}});
      return;
    }
    const auto asked = std::make_shared<UsersAsked>();
    asked->correlation = correlation;
    asked->users = std::move(query.users);
    one_after_another(connection, asked, &ConnectionManager::query_next_user);
    return;
  }
  if (connection.membership(query.room) == nullptr) {
    writer_.tell_error(connection, &correlation, {errc::not_in_room, "Join the room before asking about it", {}});
    return;
  }
  authorize(
      connection, Action::query, query.room, correlation,
      [this, correlation, name = query.room](ConnectionState& allowed) {
        const Membership* membership = allowed.membership(name);
        if (membership == nullptr) {
          writer_.tell_error(allowed, &correlation, {errc::not_in_room, "Join the room before asking about it", {}});
          return;
        }
        std::vector<event::UserPresence> users;
        {
          core::Lock lock(membership->room->mutex);
          users.reserve(membership->room->users.size() + membership->room->remote_members.size());
          for (const auto& [user, count] : membership->room->users) {
            if (count != 0) users.push_back({user, count});
          }
          for (const auto& remote : membership->room->remote_members) users.push_back({remote.second, 1});
        }
        tell_presence(allowed, correlation, name, std::move(users));
      });
}

/// In the order of users, and in chunks of which the last is the answer.
MUSTER_INLINE void ConnectionManager::tell_presence(ConnectionState& connection, const Correlation& correlation,
                                                    const std::string& room, std::vector<event::UserPresence> users) {
  std::sort(users.begin(), users.end(), [](const auto& a, const auto& b) { return a.user < b.user; });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < users.size(); ++i) {  // a user may be here and at other nodes
    if (i != 0 && users[i].user == users[kept - 1].user) {
      users[kept - 1].connections += users[i].connections;
    } else {
      if (kept != i) users[kept] = std::move(users[i]);
      ++kept;
    }
  }
  event::PresenceState state;
  state.room = room;
  std::size_t told = 0;
  do {
    state.users = users.data() + told;
    state.count = std::min(core::members_per_frame, kept - told);
    told += state.count;
    state.more = told < kept;
    writer_.tell_asked(connection, state, state.more ? nullptr : &correlation);
  } while (state.more && !connection.doomed);
}

/// Each user is a question of its own to the authorizer: who may know one need not know another.
MUSTER_INLINE void ConnectionManager::query_next_user(ConnectionState& connection,
                                                      const std::shared_ptr<UsersAsked>& asked) {
  if (asked->found.size() == asked->users.size()) {
    event::PresenceState state;
    state.users = asked->found.data();
    state.count = asked->found.size();
    writer_.tell_asked(connection, state, &asked->correlation);
    return;
  }
  authorize(connection, Action::query, asked->users[asked->found.size()], asked->correlation,
            [this, asked](ConnectionState& allowed) {
              const UserKey key{allowed.identity_->tenant, asked->users[asked->found.size()]};
              const std::size_t connections = users_.count(key);
              asked->found.push_back({key.user, connections, connections == 0 && users_.contains(key)});
              one_after_another(allowed, asked, &ConnectionManager::query_next_user);
            });
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::SessionInfo&) {
  const auto rooms = connection.room_names();
  event::SessionState state;
  state.connection = connection.member;
  state.user = connection.identity_->user;
  state.tenant = connection.identity_->tenant;
  state.rooms = &rooms;
  state.connected_at = connection.connected_at;
  writer_.tell_asked(connection, state, &correlation);
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::AcknowledgeQueue& acknowledged) {
  queues_.acknowledge(connection, correlation, acknowledged.queue_id);
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Ping& ping) {
  event::Pong pong;
  pong.payload = &ping.payload;
  writer_.tell(connection, pong, &correlation);
}

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Custom& custom) {
  const MessageHandler* const handler = hooks_.handler(custom.type);
  if (handler == nullptr) {
    writer_.tell_error(connection, &correlation,
                       {errc::unknown_message, "Unknown type \"" + custom.type.substr(0, 64) + "\"", {}});
    return;
  }
  authorize(connection, Action::custom, custom.type, correlation,
            [this, correlation, handler, payload = std::move(custom.payload)](ConnectionState& allowed) {
              allowed.handling = &correlation;
              const bool well = hooks_.handle(allowed, *handler, payload);
              const bool replied = allowed.handling == nullptr;
              allowed.handling = nullptr;
              if (!well) {
                ending_.end(allowed, CloseReason::internal_error, {});
              } else if (!replied && correlation.reply) {
                writer_.tell(allowed, event::Ack{}, &correlation);
              }
            });
}

}  // namespace MUSTER_ABI
}  // namespace muster
