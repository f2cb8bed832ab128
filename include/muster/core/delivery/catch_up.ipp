// Feeding, by cursor and by key.
#pragma once

#include <algorithm>
#include <utility>

#include "muster/core/delivery/catch_up.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// What to tell of a client id that was marked. A removal is told once, at the clock it was marked with.
MUSTER_INLINE void resolve_awareness(const AwarenessStore& store, const RoomKey& key, const std::string& client,
                                     std::uint64_t removed_at, std::vector<AwarenessEntry>& changes) {
  AwarenessEntry entry;
  const bool there = store.get(key, client, entry);
  if (removed_at != 0 && (!there || entry.clock <= removed_at)) {
    AwarenessEntry removed;
    removed.client = client;
    removed.clock = removed_at;
    changes.push_back(removed);
  }
  if (there) changes.push_back(std::move(entry));
}

/// State a member that is behind cannot be told now is remembered by key; messages are owed by its cursor.
MUSTER_INLINE void CatchUp::note_missed(RoomPart& part, ConnectionState& connection, const RoomState& room,
                                        std::size_t from) {
  const Batch& batch = *part.batch;
  if (!batch.has_unordered) return;
  Membership* membership = connection.membership(room.key.name);
  std::uint64_t conflated = 0;
  for (std::size_t i = from; i < batch.entries.size(); ++i) {
    const EntryPtr& entry = batch.entries[i];
    if (entry->seq != 0 || entry->exclude == connection.member || entry->serial <= membership->slot().joined_serial) {
      continue;
    }
    if (!membership->missed) membership->missed = std::make_unique<Missed>(connection.missed_bytes);
    membership->missed->note(entry, conflated);
  }
  part.loop->counters.conflated.add(conflated);
  writer_.hold_to_hard_mark(connection, connection.missed_bytes);
}

MUSTER_INLINE bool CatchUp::feed(ConnectionState& connection) {
  bool whole = true;
  for (Membership& membership : connection.memberships) {
    whole = feed_room(connection, membership) && whole;
    if (connection.ends_soon) return true;
  }
  return whole;
}

MUSTER_INLINE bool CatchUp::feed_room(ConnectionState& connection, Membership& membership) {
  const RoomState& room = *membership.room;
  MemberSlot& slot = membership.slot();
  if (!writer_.takes_more(connection)) return false;
  const std::size_t room_left = options_.unsent_soft_bytes - connection.outbox.unsent() + 1;
  std::vector<EntryPtr> entries;
  std::uint64_t last = 0;
  std::uint64_t epoch = 0;
  {
    Lock lock(room.mutex);
    last = room.last_seq;
    epoch = room.epoch;
    if (slot.next_seq <= last) {
      room.history.read(slot.next_seq, room_left, entries);
    }
  }
  if (slot.next_seq <= last) {
    tell_history(connection, membership, {epoch, last}, entries);
    if (connection.ends_soon) return true;
    if (slot.next_seq <= last) return false;
  }
  return !membership.missed || tell_missed(connection, membership);
}

/// What history holds from the member's cursor on; what it no longer holds, up to `last`, is a gap.
MUSTER_INLINE void CatchUp::tell_history(ConnectionState& connection, const Membership& membership, Position last,
                                         const std::vector<EntryPtr>& entries) {
  const RoomState& room = *membership.room;
  MemberSlot& slot = membership.slot();
  const std::uint64_t first = entries.empty() ? last.seq + 1 : entries.front()->seq;
  if (first > slot.next_seq) {
    event::Gap gap{room.key.name, slot.next_seq, first - 1};
    slot.next_seq = first;
    connection.loop->counters.gaps.add();
    writer_.tell(connection, gap);
  }
  for (const EntryPtr& entry : entries) {
    slot.next_seq = entry->seq + 1;
    if (entry->exclude == connection.member) continue;
    connection.loop->counters.deliveries.add();
    writer_.tell_entry(connection, room, last.epoch, *entry);
    if (connection.ends_soon) return;
  }
}

MUSTER_INLINE bool CatchUp::tell_missed(ConnectionState& connection, Membership& membership) {
  Missed& missed = *membership.missed;
  RoomState& room = *membership.room;
  const auto more_fits = [&] { return !connection.ends_soon && writer_.takes_more(connection); };
  auto presence = missed.take_presence();
  std::uint64_t epoch = 0;
  Notice notice;
  {
    Lock lock(room.mutex);
    epoch = room.epoch;
    notice.member_count = room.member_count();
    notice.counts_only = room.presence.lossy();
    notice.whole = presence.whole && !room.presence.lossy();
    if (notice.whole) notice.joined = room.list();
    if (!room.presence.lossy()) {
      if (notice.whole) presence.members.clear();
      for (const auto& [id, who] : presence.members) {
        const bool member = room.members.find(id) != nullptr || room.remote_members.read().count(id) != 0;
        (!member ? notice.left : who.stayed ? notice.changed : notice.joined).push_back({id, who.user});
      }
      if (!notice.whole) room.show_profiles(notice.joined);
      room.show_profiles(notice.changed);
      for (const auto& [user, online] : presence.users) (online ? notice.online : notice.offline).push_back(user);
      // It is told what the others are told in their next batch only: whoever changes back until then must be named.
      if (notice.whole || !presence.members.empty()) room.presence.list_told();
    }
  }
  const auto tell_notice = [&] {
    Entry told;
    told.notice = std::make_unique<Notice>(std::exchange(notice, {}));
    writer_.tell_entry(connection, room, epoch, told);
  };
  if (!presence.empty() && (notice.presence() || !notice.online.empty() || !notice.offline.empty())) tell_notice();
  std::size_t size = 0;
  missed.take_awareness([&](const std::string& client, std::uint64_t removed_at) {
    resolve_awareness(awareness_, room.key, client, removed_at, notice.awareness);
    if (!notice.awareness.empty()) size += chunk_share(notice.awareness.back());
    if (size < chunk_bytes) return true;
    size = 0;
    tell_notice();
    return more_fits();
  });
  if (!notice.awareness.empty()) tell_notice();
  if (more_fits()) {
    missed.take_latest([&](const Entry& latest) {
      writer_.tell_entry(connection, room, epoch, latest);
      return more_fits();
    });
  }
  if (!missed.empty()) return false;
  membership.missed.reset();
  return true;
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
