// Awareness and presence as members see them: keys are marked dirty, and the truth is read when they are flushed.
#pragma once

#include <algorithm>

#include "muster/detail/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// A room has something new to tell; null: the announcements have.
MUSTER_INLINE void ConnectionManager::schedule_state_flush(Loop& loop, const RoomPtr& room) {
  const auto interval = room ? room->options.awareness_interval : options_.room.awareness_interval;
  const TimePoint due = loop.executor->now() + interval;
  loop.state_flushes.emplace(due, room);
  if (interval == std::chrono::milliseconds(0)) {
    const LoopPtr shared = loop.shared_from_this();
    (void)post(shared, [shared](ConnectionManager& manager) {
      manager.run_state_flushes(*shared, shared->executor->now());
    });
  } else if (!loop.state_timer.armed() || loop.state_flushes.begin()->first >= due) {
    arm(loop, loop.state_timer, loop.state_flushes.begin()->first);
  }
}

MUSTER_INLINE void ConnectionManager::run_state_flushes(Loop& loop, TimePoint now_here) {
  while (!loop.state_flushes.empty() && loop.state_flushes.begin()->first <= now_here) {
    const RoomPtr room = loop.state_flushes.begin()->second;
    loop.state_flushes.erase(loop.state_flushes.begin());
    if (room) {
      flush_state(loop, room);
    } else {
      flush_announcements(loop);
    }
  }
  if (!loop.state_flushes.empty()) arm(loop, loop.state_timer, loop.state_flushes.begin()->first);
}

/// One at a time for each room, so that what was read later is told later.
MUSTER_INLINE void ConnectionManager::flush_state(Loop& loop, const RoomPtr& room) {
  std::map<std::string, std::uint64_t> dirty;
  {
    detail::Lock lock(room->mutex);
    if (room->state_flush_running) {  // the one that runs takes what came meanwhile
      room->state_flush_again = true;
      return;
    }
    room->state_flush_running = true;
    room->state_flush_due = false;
    dirty.swap(room->awareness);
  }
  for (;;) {
    auto notice = std::make_unique<detail::Notice>();
    for (const auto& [client, removed_at] : dirty) resolve_awareness(room->key, client, removed_at, notice->awareness);
    std::vector<RoomPart*> flushes;
    std::uint64_t conflated = 0;
    bool again = false;
    {
      detail::Lock lock(room->mutex);
      std::vector<AwarenessEntry> awareness = std::exchange(notice->awareness, {});
      room->flush_presence(*notice);
      const auto append = [&] {
        const auto entry = std::make_shared<detail::Entry>();
        entry->serial = ++room->last_serial;
        entry->notice = std::exchange(notice, std::make_unique<detail::Notice>());
        detail::append_pending(*room, entry, flushes, conflated);
      };
      if (notice->presence() || !notice->online.empty() || !notice->offline.empty()) append();
      for (std::size_t i = 0; i < awareness.size();) {  // one entry a frame, so that blocks are cut between them
        const std::size_t end = i + detail::chunk_length(awareness, i);
        for (; i < end; ++i) notice->awareness.push_back(std::move(awareness[i]));
        append();
      }
      again = std::exchange(room->state_flush_again, false);
      room->state_flush_running = again;
      dirty.clear();
      if (again) {
        dirty.swap(room->awareness);
        room->state_flush_due = false;
      }
    }
    post_flushes(room, flushes);
    if (!again) break;
  }
  (void)loop;
}

/// What to tell of a client id that was marked. A removal is told once, at the clock it was marked with.
MUSTER_INLINE void ConnectionManager::resolve_awareness(const RoomKey& key, const std::string& client,
                                                        std::uint64_t removed_at,
                                                        std::vector<AwarenessEntry>& changes) const {
  AwarenessEntry entry;
  const bool there = awareness_->get(key, client, entry);
  if (removed_at != 0 && (!there || entry.clock <= removed_at)) {
    AwarenessEntry removed;
    removed.client = client;
    removed.clock = removed_at;
    changes.push_back(removed);
    if (detail::mutant(detail::Mutant::null_twice)) changes.push_back(removed);
  }
  if (there) changes.push_back(std::move(entry));
}

MUSTER_INLINE void ConnectionManager::mark_awareness(Loop& loop, const RoomPtr& room, const std::string& client,
                                                     std::uint64_t removed_at) {
  bool schedule = false;
  {
    detail::Lock lock(room->mutex);
    std::uint64_t& mark = room->awareness[client];
    mark = std::max(mark, removed_at);
    schedule = !std::exchange(room->state_flush_due, true);
  }
  if (schedule) schedule_state_flush(loop, room);
}

MUSTER_INLINE void ConnectionManager::mark_removed(Loop& loop, const std::vector<AwarenessRemoval>& removals) {
  for (const AwarenessRemoval& removal : removals) {
    replicate_awareness(removal.room, removal.client, removal.owner, removal.clock);
    if (const RoomPtr room = rooms_.find(removal.room)) mark_awareness(loop, room, removal.client, removal.clock);
  }
}

MUSTER_INLINE void ConnectionManager::tell_awareness(ConnectionState& connection, const Correlation* correlation,
                                                     const RoomKey& key) {
  const std::vector<AwarenessEntry> entries = awareness_->get_all(key);
  std::size_t i = 0;
  do {
    const std::size_t count = detail::chunk_length(entries, i);
    event::AwarenessState state;
    state.room = key.name;
    state.entries = entries.data() + i;
    state.count = count;
    i += count;
    state.more = i < entries.size();
    tell_asked(connection, state, state.more ? nullptr : correlation);
    if (!state.more || connection.outbox.unsent() <= options_.unsent_soft_bytes) continue;
    if (!connection.outbox.in_flight()) (void)write(connection);
    if (connection.doomed) return;
    if (connection.outbox.unsent() <= options_.unsent_soft_bytes) continue;
    state.entries = nullptr;
    state.count = 0;
    state.more = false;
    tell_asked(connection, state, correlation);
    Membership* membership = connection.membership(key.name);  // the rest as updates, once it has taken this
    if (!membership->missed) membership->missed = std::make_unique<detail::Missed>(connection.missed_bytes);
    for (; i < entries.size(); ++i) {
      membership->missed->note_awareness(entries[i].client, 0);
      connection.byte_budget.charge(options_.byte_rate, static_cast<double>(detail::chunk_share(entries[i])),
                                    connection.loop->executor->now());
    }
    connection.behind = true;
  } while (i < entries.size());
}

/// A user came or went, for scopes wider than rooms.
MUSTER_INLINE void ConnectionManager::announce(Loop& loop, const UserKey& user, bool online) {
  if (options_.presence_scope != PresenceScope::tenant && options_.presence_scope != PresenceScope::all) return;
  bool schedule = false;
  {
    detail::Lock lock(announcements_mutex_);
    const auto [mark, added] = announcements_.try_emplace(user, !online);
    (void)mark, (void)added;  // remembers what was told before
    schedule = !std::exchange(announcements_due_, true);
  }
  if (schedule) schedule_state_flush(loop, nullptr);
}

MUSTER_INLINE void ConnectionManager::flush_announcements(Loop&) {
  std::map<UserKey, bool> dirty;
  {
    detail::Lock lock(announcements_mutex_);
    dirty.swap(announcements_);
    announcements_due_ = false;
  }
  const bool everywhere = options_.presence_scope == PresenceScope::all;
  std::map<std::optional<std::string>, std::pair<std::vector<std::string>, std::vector<std::string>>> changes;
  for (const auto& [user, was_online] : dirty) {
    const bool online = users_.contains(user);
    if (online == was_online) continue;
    auto& of_tenant = changes[everywhere ? std::nullopt : std::optional<std::string>(user.tenant)];
    (online ? of_tenant.first : of_tenant.second).push_back(user.user);
  }
  for (const auto& [tenant, users] : changes) {
    for (const LoopPtr& loop : loops()) {
      (void)post(loop, [loop, tenant = tenant, users = users](ConnectionManager& manager) {
        if (!users.first.empty()) manager.broadcast(loop, tenant, event::UsersOnline{&users.first});
        if (!users.second.empty()) manager.broadcast(loop, tenant, event::UsersOffline{&users.second});
      });
    }
  }
}

}  // namespace MUSTER_ABI
}  // namespace muster
