// Awareness and presence as members see them: keys are marked dirty, and the truth is read when they are flushed.
#pragma once

#include <algorithm>

#include "muster/core/outward/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// A room has something new to tell; null: the announcements have. Where that fails it is told with what changes next,
/// or by the sweep.
MUSTER_INLINE void ConnectionManager::schedule_state_flush(Loop& loop, const RoomPtr& room) noexcept {
  const auto interval = room ? room->options.awareness_interval : options_.room.awareness_interval;
  const TimePoint due = loop.executor->now() + interval;
  auto planned = loop.state_flushes.end();
  const bool well = loop.contain("The executor", [&] {
    planned = loop.state_flushes.emplace(due, room);
    if (interval != std::chrono::milliseconds(0)) return;
    const LoopPtr shared = loop.shared_from_this();
    (void)post(shared, [shared](ConnectionManager& manager) { manager.run_due_flushes(*shared); });
  });
  if (!well) {
    if (planned != loop.state_flushes.end()) loop.state_flushes.erase(planned);
    core::Lock lock(room ? room->mutex : announcements_mutex_);
    (room ? room->state_flush_due : announcements_due_) = false;
  } else if (interval != std::chrono::milliseconds(0) &&
             (!loop.state_timer.armed() || loop.state_flushes.begin()->first >= due)) {
    loop.arm(loop.state_timer, loop.state_flushes.begin()->first);
  }
}

MUSTER_INLINE void ConnectionManager::run_state_flushes(Loop& loop, TimePoint now_here) noexcept {
  while (!loop.state_flushes.empty() && loop.state_flushes.begin()->first <= now_here) {
    const RoomPtr room = loop.state_flushes.begin()->second;
    loop.state_flushes.erase(loop.state_flushes.begin());
    if (room) {
      flush_state(loop, room);
    } else {
      (void)loop.contain("An announcement", [&] { flush_announcements(loop); });
    }
  }
  if (!loop.state_flushes.empty()) loop.arm(loop.state_timer, loop.state_flushes.begin()->first);
}
MUSTER_INLINE void ConnectionManager::run_due_flushes(Loop& loop) { run_state_flushes(loop, loop.executor->now()); }

/// One at a time for each room, so that what was read later is told later. What fails is still to be told: with what
/// changes next, or by the sweep.
MUSTER_INLINE void ConnectionManager::flush_state(Loop& loop, const RoomPtr& room) noexcept {
  core::RoomState::Marks dirty;
  {
    core::Lock lock(room->mutex);
    if (room->state_flush_running) {  // the one that runs takes what came meanwhile
      room->state_flush_again = true;
      return;
    }
    room->state_flush_running = true;
    room->state_flush_due = false;
    dirty.swap(room->awareness);
  }
  for (bool again = true; again;) {
    if (loop.contain("A flush", [&] { again = flush_state_once(room, dirty); })) continue;
    core::Lock lock(room->mutex);
    room->take_back(dirty);
    room->state_flush_running = room->state_flush_again = false;
    return;
  }
}

/// Takes `dirty`, or throws and has done nothing. True: it is to be done again with what came meanwhile.
MUSTER_INLINE bool ConnectionManager::flush_state_once(const RoomPtr& room, core::RoomState::Marks& dirty) {
  std::vector<AwarenessEntry> awareness;
  for (const auto& [client, removed_at] : dirty)
    core::resolve_awareness(*awareness_, room->key, client, removed_at, awareness);
  std::vector<std::shared_ptr<core::Entry>> entries;
  for (std::size_t i = 0; i < awareness.size();) {  // one entry a frame, so that blocks are cut between them
    auto changed = std::make_unique<core::Notice>();
    const std::size_t end = i + core::chunk_length(awareness, i);
    for (; i < end; ++i) changed->awareness.push_back(std::move(awareness[i]));
    entries.push_back(std::make_shared<core::Entry>());
    entries.back()->notice = std::move(changed);
  }
  const auto presence = std::make_shared<core::Entry>();
  auto notice = std::make_unique<core::Notice>();
  std::vector<core::RoomPartPtr> flushes;
  std::uint64_t conflated = 0;
  bool again = false;
  {
    core::Lock lock(room->mutex);
    core::prepare_pending(*room, entries.size() + 1, flushes);
    room->flush_presence(*notice);
    const auto append = [&](const std::shared_ptr<core::Entry>& entry) {
      entry->serial = ++room->last_serial;
      core::append_pending(*room, entry, flushes, conflated);
    };
    const bool news = notice->presence() || !notice->online.empty() || !notice->offline.empty();
    presence->notice = std::move(notice);
    if (news) append(presence);
    for (const auto& entry : entries) append(entry);
    again = std::exchange(room->state_flush_again, false);
    room->state_flush_running = again;
    dirty.clear();
    if (again) {
      dirty.swap(room->awareness);
      room->state_flush_due = false;
    }
  }
  fan_out_.post_flushes(room, flushes);
  return again;
}

MUSTER_INLINE void ConnectionManager::mark_awareness(Loop& loop, const RoomPtr& room, const std::string& client,
                                                     std::uint64_t removed_at) {
  bool schedule = false;
  {
    core::Lock lock(room->mutex);
    std::uint64_t& mark = room->awareness[client];
    mark = std::max(mark, removed_at);
    schedule = !std::exchange(room->state_flush_due, true);
  }
  if (schedule) schedule_state_flush(loop, room);
}

/// Memory for what `clear_awareness` is about to do: what a connection owns, in one room or in all.
MUSTER_INLINE core::Clearings ConnectionManager::clearing_for(Loop& loop, ConnectionId owner, const RoomPtr& room) {
  core::Clearings clearing;
  clearing.swap(loop.spare_clearing);
  if (clearing.empty()) clearing.emplace_back();
  clearing.front().owner = owner;
  clearing.front().room = room;
  return clearing;
}

MUSTER_INLINE void ConnectionManager::clear_awareness(Loop& loop, core::Clearings& clearing) noexcept {
  loop.clearings.splice(loop.clearings.end(), clearing);
  clear_awareness(loop);
}

/// As much as one task is to do. The rest in another, and what fails when it is tried again.
MUSTER_INLINE void ConnectionManager::clear_awareness(Loop& loop) noexcept {
  bool failed = false;
  std::size_t left = sweep_slice;
  for (std::size_t listed = loop.clearings.size(); listed > 0 && left > 0; --listed) {
    core::Clearing& first = loop.clearings.front();
    bool done = false;
    const bool well = loop.contain("Clearing awareness", [&] { done = clear_some(loop, first, left); });
    failed = failed || !well;
    if (!done) {
      if (!well) loop.clearings.splice(loop.clearings.end(), loop.clearings, loop.clearings.begin());
      continue;
    }
    first = {};
    if (loop.spare_clearing.empty()) {
      loop.spare_clearing.splice(loop.spare_clearing.begin(), loop.clearings, loop.clearings.begin());
    } else {
      loop.clearings.pop_front();
    }
  }
  if (failed) loop.retry_soon();
  if (left > 0 || loop.clearings.empty()) return;
  const LoopPtr shared = loop.shared_from_this();
  const bool goes_on = loop.contain("The executor", [&] {
    (void)post(shared, [shared](ConnectionManager& manager) { manager.clear_awareness(*shared); });
  });
  if (!goes_on) loop.retry_soon();
}

/// False: `left` is used up.
MUSTER_INLINE bool ConnectionManager::clear_some(Loop& loop, core::Clearing& clearing, std::size_t& left) {
  if (!clearing.removed) {
    clearing.removals = clearing.room ? awareness_->remove_all_for_connection(clearing.owner, clearing.room->key)
                                      : awareness_->remove_all_for_connection(clearing.owner);
    clearing.removed = true;
  }
  for (; clearing.told < clearing.removals.size(); ++clearing.told, --left) {
    if (left == 0) return false;
    const AwarenessRemoval& removal = clearing.removals[clearing.told];
    if (const RoomPtr room = rooms_.find(removal.room)) mark_awareness(loop, room, removal.client, removal.clock);
    replicating_.state(loop, removal.room, removal.client, removal.owner, removal.clock);
  }
  return true;
}

MUSTER_INLINE void ConnectionManager::tell_awareness(ConnectionState& connection, const Correlation* correlation,
                                                     const RoomKey& key) {
  const std::vector<AwarenessEntry> entries = awareness_->get_all(key);
  std::size_t i = 0;
  do {
    const std::size_t count = core::chunk_length(entries, i);
    event::AwarenessState state;
    state.room = key.name;
    state.entries = entries.data() + i;
    state.count = count;
    i += count;
    state.more = i < entries.size();
    writer_.tell_asked(connection, state, state.more ? nullptr : correlation);
    if (!state.more || connection.outbox.unsent() <= options_.unsent_soft_bytes) continue;
    if (!connection.outbox.in_flight()) (void)writer_.write(connection);
    if (connection.doomed) return;
    if (connection.outbox.unsent() <= options_.unsent_soft_bytes) continue;
    state.entries = nullptr;
    state.count = 0;
    state.more = false;
    writer_.tell_asked(connection, state, correlation);
    Membership* membership = connection.membership(key.name);  // the rest as updates, once it has taken this
    if (!membership->missed) membership->missed = std::make_unique<core::Missed>(connection.missed_bytes);
    for (; i < entries.size(); ++i) {
      membership->missed->note_awareness(entries[i].client, 0);
      connection.byte_budget.charge(options_.byte_rate, static_cast<double>(core::chunk_share(entries[i])),
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
    core::Lock lock(announcements_mutex_);
    const auto [mark, added] = announcements_.try_emplace(user, !online);
    (void)mark, (void)added;  // remembers what was told before
    schedule = !std::exchange(announcements_due_, true);
  }
  if (schedule) schedule_state_flush(loop, nullptr);
}

MUSTER_INLINE void ConnectionManager::flush_announcements(Loop&) {
  std::map<UserKey, bool> dirty;
  {
    core::Lock lock(announcements_mutex_);
    dirty.swap(announcements_);
    announcements_due_ = false;
  }
  try {
    tell_announcements(dirty);
  } catch (...) {  // with what changes next, or by the sweep
    core::Lock lock(announcements_mutex_);
    dirty.merge(announcements_);  // what was told before stands in the older
    dirty.swap(announcements_);
    throw;
  }
}

MUSTER_INLINE void ConnectionManager::tell_announcements(const std::map<UserKey, bool>& dirty) {
  const bool everywhere = options_.presence_scope == PresenceScope::all;
  std::map<std::optional<std::string>, std::pair<std::vector<std::string>, std::vector<std::string>>> changes;
  for (const auto& [user, was_online] : dirty) {
    const bool online = users_.contains(user);
    if (online == was_online) continue;
    auto& of_tenant = changes[everywhere ? std::nullopt : std::optional<std::string>(user.tenant)];
    (online ? of_tenant.first : of_tenant.second).push_back(user.user);
  }
  for (const auto& [tenant, users] : changes) {
    for (const LoopPtr& loop : loops_.all()) {
      (void)post(loop, [loop, tenant = tenant, users = users](ConnectionManager& manager) {
        if (!users.first.empty()) manager.writer_.broadcast(loop, tenant, event::UsersOnline{&users.first});
        if (!users.second.empty()) manager.writer_.broadcast(loop, tenant, event::UsersOffline{&users.second});
      });
    }
  }
}

}  // namespace MUSTER_ABI
}  // namespace muster
