// Commands about state: awareness, and who is there.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "muster/core/flows/commands.hpp"
#include "muster/core/outward/one_after_another.hpp"
#include "muster/core/room/history_page.hpp"

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
  if (refuse_large(connection, correlation, setting)) return;
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
        if (setting.state) {
          if (!passes(allowed, correlation, {room->key, *setting.state, PublicationKind::awareness, setting.client},
                      *setting.state) ||
              refuse_large(allowed, correlation, setting)) {
            return;
          }
          if (setting.state->empty()) setting.state.reset();
        }
        const AwarenessOwner owner{allowed.identity_->user, allowed.member, allowed.order};
        const std::uint64_t sent = setting.clock;
        AwarenessUpdate update;
        if (setting.state) {
          AwarenessEntry entry{setting.client, owner, setting.clock, std::move(*setting.state), loops_.read_clock()};
          update = awareness_.set(room->key, std::move(entry),
                                  {room->options().awareness_entries, options_.awareness_per_connection});
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

MUSTER_INLINE bool Commands::refuse_large(ConnectionState& connection, const Correlation& correlation,
                                          const command::AwarenessSet& setting) {
  const std::size_t limit = options_.awareness_state_bytes;
  if (!setting.state || limit == 0 || setting.state->view().size() <= limit) return false;
  writer_.tell_error(connection, &correlation,
                     {errc::too_large, "state may have " + std::to_string(limit) + " bytes", {}});
  return true;
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

/// What members alone may ask about their room.
MUSTER_INLINE void Commands::query_room(ConnectionState& connection, const Correlation& correlation, std::string name,
                                        Function<void(ConnectionState&, const Correlation&, RoomPtr)> answer) {
  const auto room_of = [this](ConnectionState& asker, const Correlation& of, const std::string& room) -> RoomPtr {
    const Membership* const membership = asker.membership(room);
    if (membership != nullptr) return membership->room;
    writer_.tell_error(asker, &of, {errc::not_in_room, "Join the room before asking about it", {}});
    return nullptr;
  };
  if (!room_of(connection, correlation, name)) return;
  std::string about = name;  // here, as for publish
  authorizing_.demand(
      connection, Action::query, std::move(about), correlation,
      [room_of, correlation, name = std::move(name), answer = std::move(answer)](ConnectionState& allowed) mutable {
        if (RoomPtr room = room_of(allowed, correlation, name)) answer(allowed, correlation, std::move(room));
      });
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::AwarenessQuery& query) {
  query_room(connection, correlation, std::move(query.room),
             [this](ConnectionState& asker, const Correlation& of, const RoomPtr& room) {
               joining_.tell_awareness(asker, &of, room->key);
             });
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::HistoryQuery& query) {
  constexpr std::size_t most_messages = 256;
  const std::size_t limit = query.limit == 0 ? most_messages : std::min(query.limit, most_messages);
  query_room(connection, correlation, std::move(query.room),
             [this, after = query.after, limit](ConnectionState& asker, const Correlation& of, const RoomPtr& room) {
               const HistoryPage page = history_page(*room, asker.loop->executor->now(), after, limit, asker.member);
               event::History history;
               history.room = room->key.name;
               history.epoch = page.epoch;
               history.messages = page.messages.data();
               history.count = page.messages.size();
               history.complete = page.complete;
               history.more = page.more;
               writer_.tell_asked(asker, history, &of);
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
  if (query.limit != 0) {
    query_room(connection, correlation, std::move(query.room),
               [this, after = query.after, limit = std::min(query.limit, members_per_frame)](
                   ConnectionState& asker, const Correlation& of, const RoomPtr& room) {
                 event::PresenceState state;
                 std::vector<Member> members;
                 {
                   Lock lock(room->mutex);
                   members = room->page(after, limit, state.more);
                 }
                 state.room = room->key.name;
                 state.members = &members;
                 writer_.tell_asked(asker, state, &of);
               });
    return;
  }
  query_room(connection, correlation, std::move(query.room),
             [this](ConnectionState& asker, const Correlation& of, const RoomPtr& room) {
               std::vector<event::UserPresence> users;
               {
                 Lock lock(room->mutex);
                 users.reserve(room->members.users() + room->remote_members.read().size());
                 room->members.for_each_user([&](const std::string& user, std::size_t connections) {
                   users.push_back({user, connections});
                 });
                 for (const auto& remote : room->remote_members.read()) users.push_back({remote.second.user, 1});
               }
               tell_presence(asker, of, room->key.name, std::move(users));
             });
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::ProfileSet& setting) {
  if (!options_.allow_profile) {
    writer_.tell_error(connection, &correlation,
                       {errc::permission_denied, "Clients may not change their profiles here", {}});
    return;
  }
  if (!profiles_.fits(setting.profile)) {
    writer_.tell_error(connection, &correlation,
                       {errc::too_large, "profile may have " + std::to_string(options_.profile_bytes) + " bytes", {}});
    return;
  }
  profiles_.set(connection, std::move(setting.profile));
  if (correlation.reply) writer_.tell(connection, event::Ack{}, &correlation);
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
