// Planning, reading and telling what changed.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "muster/core/flows/state_flush.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// A room has something new to tell; null: the announcements have. Where that fails it is told with what changes next,
/// or by the sweep.
MUSTER_INLINE void StateFlush::plan(Loop& loop, const RoomPtr& room) noexcept {
  const auto interval = room ? room->options().awareness_interval : options_.room.awareness_interval;
  plan_at(loop, room, loop.executor->now() + interval);
}

MUSTER_INLINE void StateFlush::plan_at(Loop& loop, const RoomPtr& room, TimePoint due) noexcept {
  const bool at_once = due <= loop.executor->now();
  auto planned = loop.state_flushes.end();
  const bool well = loop.contain("The executor", [&] {
    planned = loop.state_flushes.emplace(due, room);
    if (!at_once) return;
    const LoopPtr shared = loop.shared_from_this();
    (void)shared->post([this, shared] { run_due(*shared); });
  });
  if (!well) {
    if (planned != loop.state_flushes.end()) loop.state_flushes.erase(planned);
    if (room) {
      Lock lock(room->mutex);
      room->state_flush_due = room->counts_planned = false;
      room->forget_latest_plan();
    } else {
      Lock lock(announcements_mutex_);
      announcements_due_ = false;
    }
  } else if (!at_once && (!loop.state_timer.armed() || loop.state_flushes.begin()->first >= due)) {
    loop.arm(loop.state_timer, loop.state_flushes.begin()->first);
  }
}

MUSTER_INLINE void StateFlush::plan_latest(const LoopPtr& loop, const RoomPtr& room, TimePoint due) noexcept {
  bool posted = false;
  (void)loop->contain("The executor",
                      [&] { posted = loop->post([this, loop, room, due] { plan_at(*loop, room, due); }); });
  if (posted) return;
  Lock lock(room->mutex);
  room->forget_latest_plan();
}

MUSTER_INLINE void StateFlush::run(Loop& loop, TimePoint now) noexcept {
  while (!loop.state_flushes.empty() && loop.state_flushes.begin()->first <= now) {
    const RoomPtr room = loop.state_flushes.begin()->second;
    loop.state_flushes.erase(loop.state_flushes.begin());
    if (room) {
      flush(loop, room);
    } else {
      (void)loop.contain("An announcement", [&] { flush_announcements(loop); });
    }
  }
  if (!loop.state_flushes.empty()) loop.arm(loop.state_timer, loop.state_flushes.begin()->first);
}

MUSTER_INLINE void StateFlush::run_due(Loop& loop) { run(loop, loop.executor->now()); }

/// One at a time for each room, so that what was read later is told later. What fails is still to be told: with what
/// changes next, or by the sweep.
MUSTER_INLINE void StateFlush::flush(Loop& loop, const RoomPtr& room) noexcept {
  RoomState::Marks dirty;
  {
    Lock lock(room->mutex);
    if (room->state_flush_running) {  // the one that runs takes what came meanwhile
      room->state_flush_again = true;
      return;
    }
    room->state_flush_running = true;
    room->state_flush_due = false;
    dirty.swap(room->awareness);
  }
  for (bool again = true; again;) {
    if (loop.contain("A flush", [&] { again = flush_once(loop, room, dirty); })) continue;
    Lock lock(room->mutex);
    room->take_back(dirty);
    room->state_flush_running = room->state_flush_again = false;
    return;
  }
}

/// Takes `dirty`, or throws and has done nothing. True: it is to be done again with what came meanwhile.
MUSTER_INLINE bool StateFlush::flush_once(Loop& loop, const RoomPtr& room, RoomState::Marks& dirty) {
  std::vector<AwarenessEntry> awareness;
  for (const auto& [client, removed_at] : dirty)
    resolve_awareness(awareness_, room->key, client, removed_at, awareness);
  std::vector<std::shared_ptr<Entry>> entries;
  for (std::size_t i = 0; i < awareness.size();) {  // one entry a frame, so that blocks are cut between them
    auto changed = std::make_unique<Notice>();
    const std::size_t end = i + chunk_length(awareness, i);
    for (; i < end; ++i) changed->awareness.push_back(std::move(awareness[i]));
    entries.push_back(std::make_shared<Entry>());
    entries.back()->notice = std::move(changed);
  }
  const auto presence = std::make_shared<Entry>();
  auto notice = std::make_unique<Notice>();
  std::vector<RoomPartPtr> flushes;
  std::uint64_t conflated = 0;
  bool again = false;
  std::optional<TimePoint> counts_due, latest_due;
  const TimePoint now = loop.executor->now();
  {
    Lock lock(room->mutex);
    const std::size_t rate = loop.abandoned ? 0 : room->options().latest_bytes_per_second;
    std::size_t latest = room->due_latest(rate, now);
    prepare_pending(*room, entries.size() + 1 + latest, flushes);
    const bool counts_wait = room->flush_presence(*notice, now, !loop.abandoned);
    if (counts_wait && !std::exchange(room->counts_planned, true)) counts_due = room->counts_due;
    if (!counts_wait) room->counts_planned = false;
    const auto append = [&](const std::shared_ptr<Entry>& entry) MUSTER_REQUIRES(room->mutex) {
      entry->serial = ++room->last_serial;
      append_pending(*room, entry, flushes, conflated);
    };
    const bool news = notice->presence() || !notice->online.empty() || !notice->offline.empty();
    presence->notice = std::move(notice);
    if (news) append(presence);
    for (const auto& entry : entries) append(entry);
    for (; latest > 0; --latest) {
      const PacedLatest::Waiting next = room->paced.get()->take(rate);
      append(next.newest);
      loop.counters.latest_wait.add(now - next.since);
    }
    latest_due = room->plan_latest(now);
    again = std::exchange(room->state_flush_again, false);
    room->state_flush_running = again;
    dirty.clear();
    if (again) {
      dirty.swap(room->awareness);
      room->state_flush_due = false;
    }
  }
  fan_out_.post_flushes(room, flushes);
  if (counts_due) plan_at(loop, room, *counts_due);
  if (latest_due) plan_at(loop, room, *latest_due);
  return again;
}

MUSTER_INLINE void StateFlush::mark(Loop& loop, const RoomPtr& room, const std::string& client,
                                    std::uint64_t removed_at) {
  bool schedule = false;
  {
    Lock lock(room->mutex);
    std::uint64_t& mark = room->awareness[client];
    mark = std::max(mark, removed_at);
    schedule = !std::exchange(room->state_flush_due, true);
  }
  if (schedule) plan(loop, room);
}

/// Memory for what `clear_awareness` is about to do: what a connection owns, in one room or in all.
MUSTER_INLINE Clearings StateFlush::clearing_for(Loop& loop, ConnectionId owner, const RoomPtr& room) {
  Clearings clearing;
  clearing.swap(loop.spare_clearing);
  if (clearing.empty()) clearing.emplace_back();
  clearing.front().owner = owner;
  clearing.front().room = room;
  return clearing;
}

MUSTER_INLINE void StateFlush::clear_awareness(Loop& loop, Clearings& clearing) noexcept {
  loop.clearings.splice(loop.clearings.end(), clearing);
  clear_awareness(loop);
}

/// As much as one task is to do. The rest in another, and what fails when it is tried again.
MUSTER_INLINE void StateFlush::clear_awareness(Loop& loop) noexcept {
  bool failed = false;
  std::size_t left = task_slice;
  for (std::size_t listed = loop.clearings.size(); listed > 0 && left > 0; --listed) {
    Clearing& first = loop.clearings.front();
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
  const bool goes_on =
      loop.contain("The executor", [&] { (void)shared->post([this, shared] { clear_awareness(*shared); }); });
  if (!goes_on) loop.retry_soon();
}

/// False: `left` is used up.
MUSTER_INLINE bool StateFlush::clear_some(Loop& loop, Clearing& clearing, std::size_t& left) {
  if (!clearing.removed) {
    clearing.removals = clearing.room ? awareness_.remove_all_for_connection(clearing.owner, clearing.room->key)
                                      : awareness_.remove_all_for_connection(clearing.owner);
    clearing.removed = true;
  }
  for (; clearing.told < clearing.removals.size(); ++clearing.told, --left) {
    if (left == 0) return false;
    const AwarenessRemoval& removal = clearing.removals[clearing.told];
    if (const RoomPtr room = table_.find(removal.room)) mark(loop, room, removal.client, removal.clock);
    replicating_.state(loop, removal.room, removal.client, removal.owner, removal.clock);
  }
  return true;
}

/// A user came or went, for scopes wider than rooms.
MUSTER_INLINE void StateFlush::announce(Loop& loop, const UserKey& user, bool online) {
  if (options_.presence_scope != PresenceScope::tenant && options_.presence_scope != PresenceScope::all) return;
  bool schedule = false;
  {
    Lock lock(announcements_mutex_);
    const auto [mark, added] = announcements_.try_emplace(user, !online);
    (void)mark, (void)added;  // remembers what was told before
    schedule = !std::exchange(announcements_due_, true);
  }
  if (schedule) plan(loop, nullptr);
}

MUSTER_INLINE void StateFlush::flush_announcements(Loop&) {
  std::map<UserKey, bool> dirty;
  {
    Lock lock(announcements_mutex_);
    dirty.swap(announcements_);
    announcements_due_ = false;
  }
  try {
    tell_announcements(dirty);
  } catch (...) {  // with what changes next, or by the sweep
    Lock lock(announcements_mutex_);
    dirty.merge(announcements_);  // what was told before stands in the older
    dirty.swap(announcements_);
    throw;
  }
}

MUSTER_INLINE void StateFlush::tell_announcements(const std::map<UserKey, bool>& dirty) {
  const bool everywhere = options_.presence_scope == PresenceScope::all;
  for (auto at = dirty.begin(); at != dirty.end();) {  // tenant after tenant
    const auto tenant = everywhere ? std::nullopt : std::optional<std::string>(at->first.tenant);
    std::vector<std::string> came, went;
    for (; at != dirty.end() && (everywhere || at->first.tenant == *tenant); ++at) {
      const auto& [user, was_online] = *at;
      const bool online = users_.contains(user);
      if (online != was_online) (online ? came : went).push_back(user.user);
    }
    if (came.empty() && went.empty()) continue;
    for (const LoopPtr& loop : loops_.all()) {
      (void)loop->post([this, loop, tenant, came, went] {
        if (!came.empty()) writer_.broadcast(loop, tenant, event::UsersOnline{&came});
        if (!went.empty()) writer_.broadcast(loop, tenant, event::UsersOffline{&went});
      });
    }
  }
}

MUSTER_INLINE void StateFlush::announce_rest(Loop& loop) {
  bool announce = false;
  {
    Lock lock(announcements_mutex_);
    announce = !announcements_.empty() && !std::exchange(announcements_due_, true);
  }
  if (announce) plan(loop, nullptr);
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
