// The hot path: one encoding per executor and format, spans by cursor, one write per connection and turn.
#pragma once

#include <algorithm>

#include "muster/core/outward/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {

MUSTER_INLINE void ConnectionManager::flush_part(const RoomPtr& room, RoomPart& part) {
  core::Batch& batch = part.batch;
  if (!batch.entries.empty()) return;  // the last one is under way, and looks again
  const bool well = part.loop->contain("A flush", [&] { batch.encoded.assign(part.loop->formats.size(), {}); });
  {
    core::Lock lock(room->mutex);
    if (part.pending.empty() || !well) {  // with the next publish, or by the sweep
      part.flush_posted = false;
      return;
    }
    batch.entries.swap(part.pending);
    batch.bytes = part.bytes;
    batch.epoch = room->epoch;
  }
  ++batch.number;
  batch.first_serial = batch.entries.front()->serial;
  batch.first_seq = batch.last_seq = 0;
  batch.messages = 0;
  batch.has_unordered = false;
  batch.unvisited = part.slots.size();
  for (const EntryPtr& entry : batch.entries) {
    batch.messages += entry->notice ? 0 : 1;
    if (entry->seq == 0) {
      batch.has_unordered = true;
    } else {
      if (batch.first_seq == 0) batch.first_seq = entry->seq;
      batch.last_seq = entry->seq;
    }
    if (!entry->exclude) continue;
    // A connection that took another's session up leaves its own to whoever comes with the token.
    ConnectionPtr excluded = connections_.find(entry->exclude);
    if (!excluded || excluded->loop != part.loop || excluded->member != entry->exclude) {
      excluded = kept_sessions_.speaker(entry->exclude);
    }
    if (!excluded || excluded->loop != part.loop) continue;
    if (const Membership* membership = excluded->membership(room->key.name)) {
      if (membership->part == &part) membership->slot().excluded_batch = batch.number;
    }
  }
  run_slice(room, part);
}

/// How many members before its turn a member's state is asked for: their work is about as long as memory takes.
inline constexpr std::size_t prefetch_ahead = 4;

/// Serves members from the last to the first: a removal puts the last slot, served already, into an earlier place,
/// where meeting it again is harmless.
MUSTER_INLINE void ConnectionManager::run_slice(const RoomPtr& room, RoomPart& part) {
  core::Batch& batch = part.batch;
  const TimePoint now_here = part.loop->executor->now();
  while (serve_slice(*room, part, now_here)) {
    const bool posted = part.loop->contain("The executor", [&] {
      (void)post(part.loop, [room = room, at = &part](ConnectionManager& manager) { manager.run_slice(room, *at); });
    });
    if (posted) return;
  }
  batch.entries.clear();
  batch.encoded.clear();
  // Writing to many takes long. What is published meanwhile, and read after it, goes in one batch: one write a member.
  constexpr std::size_t many = 64;
  const bool gathers = part.slots.size() >= many;
  {
    core::Lock lock(room->mutex);
    part.bytes -= batch.bytes;
    room->count_waiting();
    part.flush_posted = gathers || !part.pending.empty();
    if (!part.flush_posted) return;
  }
  const bool posted = part.loop->contain("The executor", [&] {
    (void)post(
        part.loop, [room = room, at = &part](ConnectionManager& manager) { manager.flush_part(room, *at); },
        gathers ? 12 : 0);
  });
  if (posted) return;
  core::Lock lock(room->mutex);
  part.flush_posted = false;
}

/// False: all have been served. One who cannot be is closed: it would not know what it has missed.
MUSTER_INLINE bool ConnectionManager::serve_slice(const RoomState& room, RoomPart& part, TimePoint now_here) noexcept {
  core::Batch& batch = part.batch;
  std::size_t left = std::min(batch.unvisited, part.slots.size());
  for (std::size_t end = left - std::min(left, options_.fan_out_slice); left > end;) {
    try {
      while (left > end) {
        if (left > 2 * prefetch_ahead) part.slots[left - 1 - 2 * prefetch_ahead].connection->prefetch();
        if (left > prefetch_ahead) part.slots[left - 1 - prefetch_ahead].connection->prefetch_behind();
        deliver(part, part.slots[--left], room, now_here);
      }
    } catch (...) {
      ConnectionState& connection = *part.slots[left].connection;
      (void)connection.contain("A delivery", [] { throw; });
      doom(connection, CloseReason::internal_error);
    }
  }
  batch.unvisited = left;
  core::LoopCounters& counters = part.loop->counters;
  counters.deliveries.add(std::exchange(batch.deliveries, 0));
  counters.writes.add(std::exchange(batch.writes, 0));
  counters.bytes_out.add(std::exchange(batch.bytes_out, 0));
  return left > 0;
}

MUSTER_INLINE void ConnectionManager::deliver(RoomPart& part, core::MemberSlot& slot, const RoomState& room,
                                              TimePoint now_here) {
  core::Batch& batch = part.batch;
  if (slot.last_batch == batch.number) return;
  slot.last_batch = batch.number;
  ConnectionState& connection = *slot.connection;
  if (connection.doomed) return;
  // State alone does not queue behind a full pipe, where it would only grow old: the newest is told when there is room.
  const bool state_waits = batch.last_seq == 0 && connection.outbox.in_flight() && core::keeps_history(room.options);
  if (connection.behind || state_waits || (batch.first_seq != 0 && slot.next_seq < batch.first_seq)) {
    connection.behind = true;
    note_missed(part, connection, room, 0);
    mark_dirty(connection);
    return;
  }
  const core::EncodedBatch& batch_encoded = encoded(part, room, connection.format);
  const bool from_the_start =
      slot.joined_serial < batch.first_serial && (batch.first_seq == 0 || slot.next_seq <= batch.first_seq);
  const bool whole = slot.excluded_batch != batch.number && from_the_start;
  // Its only room, and nothing before it: nothing else is on its way to it in this turn.
  if (whole && batch_encoded.blocks.size() == 1 && connection.memberships.size() == 1 && connection.outbox.idle()) {
    if (batch.last_seq != 0) slot.next_seq = batch.last_seq + 1;
    batch.deliveries += batch.messages;
    ++batch.writes;
    const core::BlockPtr& block = batch_encoded.blocks.front();
    const WriteResult result = connection.outbox.write_at_once(*connection.transport, block, now_here, part.loop->lent);
    if (result != WriteResult::done) {
      (void)wrote(connection, result, {});
      return;
    }
    connection.counted.bytes_out += block->bytes.size();
    batch.bytes_out += block->bytes.size();
    return;
  }
  std::uint64_t delivered = 0;
  std::size_t at = 0;
  for (std::uint32_t b = 0; b < batch_encoded.blocks.size(); ++b) {
    if (connection.outbox.unsent() > options_.unsent_soft_bytes) {
      if (!connection.outbox.in_flight()) (void)write(connection);
      if (connection.doomed) return;
      if (connection.outbox.unsent() > options_.unsent_soft_bytes) {  // from here on by its cursor
        connection.behind = true;
        note_missed(part, connection, room, at);
        break;
      }
    }
    const core::BlockPtr& block = batch_encoded.blocks[b];
    if (whole) {
      connection.outbox.append(block, 0, block->bytes.size(), now_here);
    }
    for (; at < batch.entries.size() && batch_encoded.frames[at].block == b; ++at) {
      const core::Entry& entry = *batch.entries[at];
      const auto& frame = batch_encoded.frames[at];
      if (whole) {
        if (entry.seq != 0) slot.next_seq = entry.seq + 1;
        delivered += entry.notice ? 0 : 1;
        continue;
      }
      const bool owed = entry.serial > slot.joined_serial && (entry.seq == 0 || entry.seq >= slot.next_seq);
      if (entry.seq >= slot.next_seq) slot.next_seq = entry.seq + 1;
      if (!owed || entry.exclude == connection.member) continue;
      delivered += entry.notice ? 0 : 1;
      if (frame.end != frame.begin) connection.outbox.append(block, frame.begin, frame.end, now_here);
    }
  }
  batch.deliveries += delivered;
  mark_dirty(connection);
}

MUSTER_INLINE core::EncodedBatch& ConnectionManager::encoded(RoomPart& part, const RoomState& room,
                                                             std::uint8_t format) {
  core::Batch& batch = part.batch;
  if (format >= batch.encoded.size()) batch.encoded.resize(part.loop->formats.size());
  core::EncodedBatch& into = batch.encoded[format];
  if (into.done) return into;
  into = {};  // there may be a part of it that failed
  into.frames.reserve(batch.entries.size());
  for (const EntryPtr& entry : batch.entries) {
    if (into.blocks.empty() || into.blocks.back()->bytes.size() >= core::block_bytes) {
      into.blocks.push_back(core::BlockPtr::make());
    }
    std::string& bytes = into.blocks.back()->bytes;
    const auto begin = static_cast<std::uint32_t>(bytes.size());
    encode_entry(*part.loop, part.loop->formats[format], room.key.name, batch.epoch, *entry, bytes);
    into.frames.push_back(
        {static_cast<std::uint32_t>(into.blocks.size() - 1), begin, static_cast<std::uint32_t>(bytes.size())});
  }
  part.loop->counters.blocks.add(into.blocks.size());
  for (const core::BlockPtr& block : into.blocks) block->count(bytes_.waiting());
  into.done = true;
  return into;
}

MUSTER_INLINE void ConnectionManager::encode_event(Loop& loop, const core::Format& format, const Event& event,
                                                   const Correlation* correlation, std::string& bytes) {
  loop.text.clear();
  const auto kind = format.protocol->encode(event, correlation, loop.executor->wall_now(), loop.text);
  if (kind) format.wire->append(*kind, loop.text, bytes);
}

MUSTER_INLINE void ConnectionManager::encode_entry(Loop& loop, const core::Format& format, std::string_view room,
                                                   std::uint64_t epoch, const core::Entry& entry, std::string& bytes) {
  const auto add = [&](const Event& event) { encode_event(loop, format, event, nullptr, bytes); };
  if (!entry.notice) {
    event::RoomMessage message;
    message.room = room;
    message.position = {epoch, entry.seq};
    message.from = entry.from;
    message.from_user = entry.from_user;
    message.data = &entry.data;
    add(message);
    return;
  }
  const core::Notice& notice = *entry.notice;
  if (notice.presence()) {
    event::PresenceChanged presence;
    presence.room = room;
    presence.member_count = notice.member_count;
    if (!notice.counts_only && !notice.whole) {
      presence.joined = &notice.joined;
      presence.left = &notice.left;
    }
    std::size_t told = 0;
    do {
      if (notice.whole) {
        presence.members = notice.joined.data() + told;
        presence.count = std::min(core::members_per_frame, notice.joined.size() - told);
        told += presence.count;
        presence.more = told < notice.joined.size();
      }
      add(presence);
    } while (presence.more);
  }
  if (!notice.online.empty()) add(event::UsersOnline{&notice.online});
  if (!notice.offline.empty()) add(event::UsersOffline{&notice.offline});
  for (std::size_t i = 0; i < notice.awareness.size();) {
    const std::size_t count = core::chunk_length(notice.awareness, i);
    event::AwarenessChanged changed;
    changed.room = room;
    changed.entries = &notice.awareness[i];
    changed.count = count;
    add(changed);
    i += count;
  }
}

/// Appends what stands in the turn's block of replies from `begin` on.
MUSTER_INLINE void ConnectionManager::append_reply(ConnectionState& connection, std::size_t begin) {
  Loop& loop = *connection.loop;
  const std::size_t end = loop.replies->bytes.size();
  if (end == begin) return;
  connection.outbox.append(loop.replies, begin, end, loop.executor->now());
  mark_dirty(connection);
  hold_to_hard_mark(connection);
}

MUSTER_INLINE void ConnectionManager::hold_to_hard_mark(ConnectionState& connection) {
  if (connection.outbox.unsent() <= options_.unsent_hard_bytes) return;
  if (!connection.outbox.in_flight()) (void)write(connection);
  connection.outbox.recount(*connection.transport);
  if (connection.outbox.unsent() > options_.unsent_hard_bytes) doom(connection, CloseReason::slow_consumer);
}

/// Where this turn's replies go: one block for many connections, until something of it is written.
MUSTER_INLINE std::string& ConnectionManager::reply_bytes(Loop& loop) {
  if (loop.replies && loop.replies->bytes.size() >= core::block_bytes) seal_replies(loop);
  if (!loop.replies) loop.replies = core::BlockPtr::make();
  return loop.replies->bytes;
}

/// What is being written must not grow.
MUSTER_INLINE void ConnectionManager::seal_replies(Loop& loop) {
  if (!loop.replies) return;
  loop.replies->count(bytes_.waiting());
  loop.replies = {};
}

MUSTER_INLINE std::size_t ConnectionManager::tell(ConnectionState& connection, const Event& event,
                                                  const Correlation* correlation) {
  if (connection.ended() || connection.doomed) return 0;
  Loop& loop = *connection.loop;
  std::string& bytes = reply_bytes(loop);
  const std::size_t begin = bytes.size();
  encode_event(loop, loop.formats[connection.format], event, correlation, bytes);
  const std::size_t size = bytes.size() - begin;
  append_reply(connection, begin);
  return size;
}

MUSTER_INLINE void ConnectionManager::tell_direct(ConnectionState& connection, const Payload& payload) {
  event::DirectMessage message;
  message.data = &payload;
  (void)tell(connection, message);
}

MUSTER_INLINE void ConnectionManager::tell_entry(ConnectionState& connection, const RoomState& room,
                                                 std::uint64_t epoch, const core::Entry& entry) {
  if (connection.ended() || connection.doomed) return;
  Loop& loop = *connection.loop;
  std::string& bytes = reply_bytes(loop);
  const std::size_t begin = bytes.size();
  encode_entry(loop, loop.formats[connection.format], room.key.name, epoch, entry, bytes);
  append_reply(connection, begin);
}

MUSTER_INLINE void ConnectionManager::tell_error(ConnectionState& connection, const Correlation* correlation,
                                                 Error error) {
  connection.loop->counters.errors.add();
  event::Failure failure;
  failure.error = &error;
  tell(connection, failure, correlation);
}

MUSTER_INLINE void ConnectionManager::broadcast(const LoopPtr& loop, const std::optional<std::string>& tenant,
                                                const Event& event) {
  std::vector<core::BlockPtr> blocks(loop->formats.size());
  const TimePoint now_here = loop->executor->now();
  for (const ConnectionPtr& connection : loop->connections) {
    if (!connection->live() || connection->doomed || (tenant && connection->identity_->tenant != *tenant)) continue;
    const bool well = connection->contain("A broadcast", [&] {
      core::BlockPtr& block = blocks[connection->format];
      if (!block) {
        core::BlockPtr fresh = core::BlockPtr::make();
        encode_event(*loop, loop->formats[connection->format], event, nullptr, fresh->bytes);
        fresh->count(bytes_.waiting());
        block = std::move(fresh);
      }
      if (block->bytes.empty()) return;
      connection->outbox.append(block, 0, block->bytes.size(), now_here);
      mark_dirty(*connection);
      hold_to_hard_mark(*connection);
    });
    if (!well) doom(*connection, CloseReason::internal_error);
  }
}

MUSTER_INLINE void ConnectionManager::mark_dirty(ConnectionState& connection) {
  if (connection.dirty || connection.outbox.in_flight()) return;
  Loop& loop = *connection.loop;
  loop.dirty.push_back(&connection);
  connection.dirty = true;
  if (loop.write_posted) return;
  // Twice round: the first time comes before the flushes that the handler at hand still posts, the second after them.
  loop.write_posted = loop.contain("The executor", [&] {
    (void)post(
        connection.loop, [at = &loop](ConnectionManager& manager) { manager.write_dirty(*at); }, 1);
  });
  if (!loop.write_posted) loop.retry_soon();
}

MUSTER_INLINE void ConnectionManager::write_dirty(Loop& loop) {
  loop.write_posted = false;
  std::vector<ConnectionState*> dirty;
  dirty.swap(loop.dirty);
  for (std::size_t i = 0; i < dirty.size(); ++i) {
    // A write into a socket drives much out of the caches.
    if (i + 2 < dirty.size() && dirty[i + 2] != nullptr) dirty[i + 2]->prefetch();
    if (i + 1 < dirty.size() && dirty[i + 1] != nullptr) dirty[i + 1]->prefetch_behind();
    if (dirty[i] == nullptr) continue;
    ConnectionState& connection = *dirty[i];
    connection.dirty = false;
    if (!connection.contain("A write", [&] { flush_connection(connection); }))
      doom(connection, CloseReason::internal_error);
  }
  dirty.clear();
  if (loop.dirty.empty()) loop.dirty.swap(dirty);  // keep the memory
}

MUSTER_INLINE void ConnectionManager::flush_connection(ConnectionState& connection) {
  while (!connection.ended() && !connection.doomed && !connection.outbox.in_flight()) {
    while (connection.behind && !connection.outbox.has_queued() && !connection.doomed) {
      connection.behind = !feed(connection);
    }
    if (!connection.outbox.has_queued()) break;
    if (!write(connection)) break;
  }
  if (connection.queue_again && !connection.queue_loading && !connection.outbox.in_flight()) {
    deliver_more_of_queue(connection);
  }
}

MUSTER_INLINE bool ConnectionManager::write(ConnectionState& connection) {
  core::Outbox& outbox = connection.outbox;
  if (outbox.in_flight() || !outbox.has_queued()) return true;
  Loop& loop = *connection.loop;
  seal_replies(loop);
  core::Handed handed;
  const WriteResult result = outbox.write(*connection.transport, loop.lent, handed);
  return wrote(connection, result, handed);
}

MUSTER_INLINE bool ConnectionManager::wrote(ConnectionState& connection, WriteResult result, core::Handed handed) {
  Loop& loop = *connection.loop;
  connection.counted.bytes_out += handed.bytes;
  loop.counters.writes.add(handed.writes);
  loop.counters.bytes_out.add(handed.bytes);
  if (result == WriteResult::closed) {
    doom(connection, CloseReason::lost);
    return false;
  }
  if (result == WriteResult::pending && connection.live()) watch_write(connection);
  return true;
}

MUSTER_INLINE void ConnectionManager::watch_write(ConnectionState& connection) noexcept {
  connection.loop->arm(connection.guard_timer, connection.loop->executor->now() + options_.unsent_age / 8);
}

MUSTER_INLINE void ConnectionManager::writable(Connection& from) {
  auto& connection = static_cast<ConnectionState&>(from);
  if (!connection.outbox.in_flight()) return;
  guard(connection, "A write", [&] { write_on(connection); });
}

MUSTER_INLINE void ConnectionManager::write_on(ConnectionState& connection) {
  const std::size_t written = connection.outbox.batch_done();
  connection.counted.bytes_out += written;
  connection.loop->counters.bytes_out.add(written);
  if (connection.ended()) return;
  if (connection.live()) connection.guard_timer.cancel();
  if (connection.awaiting_pong) connection.ping_sent_at = connection.loop->executor->now();  // it goes out now
  flush_connection(connection);
}

}  // namespace MUSTER_ABI
}  // namespace muster
