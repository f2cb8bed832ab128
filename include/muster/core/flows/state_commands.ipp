// Commands about state: awareness, and who is there.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "muster/core/flows/commands.hpp"
#include "muster/core/outward/one_after_another.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

struct Commands::UsersAsked : Steps {
  Correlation correlation;
  std::vector<std::string> users;
  std::vector<event::UserPresence> found;
};

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::ListSubscriptions&) {
  const auto rooms = connection.room_names();
  event::Subscriptions subscriptions;
  subscriptions.rooms = &rooms;
  writer_.tell_asked(connection, subscriptions, &correlation);
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::SessionInfo&) {
  const auto rooms = connection.room_names();
  event::SessionState state;
  state.connection = connection.member;
  state.user = connection.identity_->user;
  state.tenant = connection.identity_->tenant;
  state.rooms = &rooms;
  state.connected_at = connection.connected_at;
  writer_.tell_asked(connection, state, &correlation);
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::AwarenessSet& setting) {
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
        awareness_.judge(membership->room->key, setting.client,
                         {connection.identity_->user, connection.member, connection.order}, setting.clock);
    if (now_so.result == AwarenessResult::not_owner) return refuse_awareness(connection, correlation);
    if (now_so.result == AwarenessResult::stale) {
      return tell_stale(connection, correlation, membership->room->key, setting.client, its_own, now_so.clock);
    }
  }
  std::string about = setting.room;  // here, as for publish
  authorizing_.demand(
      connection, Action::awareness, std::move(about), correlation,
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
          AwarenessEntry entry{setting.client, owner, setting.clock, std::move(*setting.state), loops_.read_clock()};
          update = awareness_.set(room->key, std::move(entry),
                                  {room->options.awareness_entries, options_.awareness_per_connection});
        } else {
          update = awareness_.remove(room->key, setting.client, owner, setting.clock);
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

MUSTER_INLINE void Commands::refuse_awareness(ConnectionState& connection, const Correlation& correlation) {
  writer_.tell_error(connection, &correlation, {errc::not_owner, "client belongs to another session", {}});
}

/// Nothing is lost in silence: who said something old learns the clock that stands, and what stands under its own id.
MUSTER_INLINE void Commands::tell_stale(ConnectionState& connection, const Correlation& correlation,
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
  if (!awareness_.get(room, client, standing)) {
    standing.client = client;
    standing.clock = clock;
  }
  event::AwarenessChanged changed;
  changed.room = room.name;
  changed.entries = &standing;
  changed.count = 1;
  writer_.tell_asked(connection, changed);
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::AwarenessQuery& query) {
  const auto refuse = [this](ConnectionState& asker, const Correlation& of) {
    writer_.tell_error(asker, &of, {errc::not_in_room, "Join the room before asking about it", {}});
  };
  if (connection.membership(query.room) == nullptr) {
    refuse(connection, correlation);
    return;
  }
  authorizing_.demand(connection, Action::query, query.room, correlation,
                      [this, refuse, correlation, room = query.room](ConnectionState& allowed) {
                        if (allowed.membership(room) == nullptr) {
                          refuse(allowed, correlation);
                        } else {
                          joining_.tell_awareness(allowed, &correlation, {allowed.identity_->tenant, room});
                        }
                      });
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::PresenceQuery& query) {
  constexpr std::size_t most_users = 256;
  if (query.room.empty()) {
    if (query.users.size() > most_users) {
      writer_.tell_error(connection, &correlation,
                         {errc::too_large, "users may have " + std::to_string(most_users) + " entries", {}});
      return;
    }
    const std::shared_ptr<UsersAsked> asked(new UsersAsked());
    asked->correlation = correlation;
    asked->users = std::move(query.users);
    one_after_another(asked, [&] { query_next_user(connection, asked); });
    return;
  }
  if (connection.membership(query.room) == nullptr) {
    writer_.tell_error(connection, &correlation, {errc::not_in_room, "Join the room before asking about it", {}});
    return;
  }
  authorizing_.demand(
      connection, Action::query, query.room, correlation,
      [this, correlation, name = query.room](ConnectionState& allowed) {
        const Membership* membership = allowed.membership(name);
        if (membership == nullptr) {
          writer_.tell_error(allowed, &correlation, {errc::not_in_room, "Join the room before asking about it", {}});
          return;
        }
        std::vector<event::UserPresence> users;
        {
          Lock lock(membership->room->mutex);
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
MUSTER_INLINE void Commands::tell_presence(ConnectionState& connection, const Correlation& correlation,
                                           const std::string& room, std::vector<event::UserPresence> users) {
  std::map<std::string, std::size_t> connections;  // a user may be here and at other nodes
  for (const event::UserPresence& one : users) connections[one.user] += one.connections;
  users.clear();
  for (const auto& [user, count] : connections) users.push_back({user, count});
  event::PresenceState state;
  state.room = room;
  std::size_t told = 0;
  do {
    state.users = users.data() + told;
    state.count = std::min(members_per_frame, users.size() - told);
    told += state.count;
    state.more = told < users.size();
    writer_.tell_asked(connection, state, state.more ? nullptr : &correlation);
  } while (state.more && !connection.ends_soon);
}

/// Each user is a question of its own to the authorizer: who may know one need not know another.
MUSTER_INLINE void Commands::query_next_user(ConnectionState& connection, const std::shared_ptr<UsersAsked>& asked) {
  if (asked->found.size() == asked->users.size()) {
    event::PresenceState state;
    state.users = asked->found.data();
    state.count = asked->found.size();
    writer_.tell_asked(connection, state, &asked->correlation);
    return;
  }
  authorizing_.demand(connection, Action::query, asked->users[asked->found.size()], asked->correlation,
                      [this, asked](ConnectionState& allowed) {
                        const UserKey key{allowed.identity_->tenant, asked->users[asked->found.size()]};
                        const std::size_t connections = users_.count(key);
                        asked->found.push_back({key.user, connections, connections == 0 && users_.contains(key)});
                        one_after_another(asked, [&] { query_next_user(allowed, asked); });
                      });
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
