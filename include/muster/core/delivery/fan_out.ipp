// Batches, slices and deliveries.
#pragma once

#include <algorithm>
#include <utility>

#include "muster/core/delivery/encode.hpp"
#include "muster/core/delivery/fan_out.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE void FanOut::post_flushes(const RoomPtr& room, const std::vector<RoomPartPtr>& parts) noexcept {
  for (const RoomPartPtr& part : parts) {
    bool posted = false;
    const bool well = part->loop->contain(
        "The executor", [&] { posted = part->loop->post([this, room, at = part.get()] { flush_part(room, *at); }); });
    if (posted) continue;
    Lock lock(room->mutex);
    RoomPart::Shared& shared = room->shared_of(*part);
    shared.flush_posted = false;  // what waits is told with the next publish, or by the sweep
    if (!well) continue;
    shared.pending.clear();  // its members are gone, and are taken out by the sweep
    shared.bytes = 0;
    room->count_waiting();
  }
}

MUSTER_INLINE void FanOut::flush_part(const RoomPtr& room, RoomPart& part) {
  if (part.batch) return;  // the last one is under way, and looks again
  // Most are through before the loop begins another, of whatever room.
  std::shared_ptr<Batch> fresh = std::exchange(part.loop->spare_batch, nullptr);
  const bool well = part.loop->contain("A flush", [&] {
    if (!fresh) fresh = std::make_shared<Batch>();
    fresh->encoded.resize(part.loop->formats.size());
  });
  {
    Lock lock(room->mutex);
    RoomPart::Shared& shared = room->shared_of(part);
    if (shared.pending.empty() || !well) {  // with the next publish, or by the sweep
      shared.flush_posted = false;
      part.loop->spare_batch = std::move(fresh);
      return;
    }
    fresh->entries.swap(shared.pending);
    fresh->bytes = shared.bytes;
    fresh->epoch = room->epoch;
  }
  part.batch = std::move(fresh);
  Batch& batch = *part.batch;
  batch.number = ++part.batches;
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
      excluded = sessions_.speaker(entry->exclude);
    }
    if (!excluded || excluded->loop != part.loop) continue;
    if (const Membership* membership = excluded->membership(room->key.name)) {
      if (membership->part == &part) membership->slot().excluded_batch = batch.number;
    }
  }
  run_slice(room, part);
}

/// How many turns what is published is gathered for after a batch for many.
inline constexpr std::size_t gathering_turns = 4;

/// How many members before its turn a member's state is asked for: their work is about as long as memory takes.
inline constexpr std::size_t prefetch_ahead = 4;

/// Serves members from the last to the first: a removal puts the last slot, served already, into an earlier place,
/// where meeting it again is harmless.
MUSTER_INLINE void FanOut::run_slice(const RoomPtr& room, RoomPart& part) {
  const TimePoint now = part.loop->executor->now();
  while (serve_slice(*room, part, now)) {
    const bool posted = part.loop->contain("The executor", [&] {
      (void)part.loop->post_at_turn_end([this, room = room, at = &part] { run_slice(room, *at); });
    });
    if (posted) return;
  }
  std::shared_ptr<Batch> batch = std::exchange(part.batch, nullptr);
  batch->entries.clear();
  batch->encoded.clear();
  // Writing to many takes long. What is published meanwhile, and read after it, goes in one batch: one write a member.
  constexpr std::size_t many = 64;
  const bool gathers = part.slots.size() >= many;
  bool again = false;
  {
    Lock lock(room->mutex);
    RoomPart::Shared& shared = room->shared_of(part);
    shared.bytes -= batch->bytes;
    room->count_waiting();
    // Where much is published to many, the next has room at once; of a small room nothing is kept.
    if (gathers && shared.pending.capacity() == 0) shared.pending.swap(batch->entries);
    again = shared.flush_posted = gathers || !shared.pending.empty();
  }
  std::vector<EntryPtr>().swap(batch->entries);
  part.loop->spare_batch = std::move(batch);
  if (!again) return;
  const bool posted = part.loop->contain("The executor", [&] {
    (void)part.loop->post_at_turn_end([this, room = room, at = &part] { flush_part(room, *at); },
                                      gathers ? gathering_turns : 0);
  });
  if (posted) return;
  Lock lock(room->mutex);
  room->shared_of(part).flush_posted = false;
}

/// False: all have been served. One who cannot be is closed: it would not know what it has missed.
MUSTER_INLINE bool FanOut::serve_slice(const RoomState& room, RoomPart& part, TimePoint now) noexcept {
  Batch& batch = *part.batch;
  std::size_t left = std::min(batch.unvisited, part.slots.size());
  for (std::size_t end = left - std::min(left, options_.fan_out_slice); left > end;) {
    try {
      while (left > end) {
        if (left > 2 * prefetch_ahead) part.slots[left - 1 - 2 * prefetch_ahead].connection->prefetch();
        if (left > prefetch_ahead) part.slots[left - 1 - prefetch_ahead].connection->prefetch_behind();
        deliver(part, part.slots[--left], room, now);
      }
    } catch (...) {
      ConnectionState& connection = *part.slots[left].connection;
      (void)connection.contain("A delivery", [] { throw; });
      writer_.end_soon(connection, CloseReason::internal_error);
    }
  }
  batch.unvisited = left;
  LoopCounters& counters = part.loop->counters;
  counters.deliveries.add(std::exchange(batch.deliveries, 0));
  counters.writes.add(std::exchange(batch.writes, 0));
  counters.bytes_out.add(std::exchange(batch.bytes_out, 0));
  return left > 0;
}

MUSTER_INLINE void FanOut::deliver(RoomPart& part, MemberSlot& slot, const RoomState& room, TimePoint now) {
  Batch& batch = *part.batch;
  if (slot.last_batch == batch.number) return;
  slot.last_batch = batch.number;
  ConnectionState& connection = *slot.connection;
  if (connection.ends_soon) return;
  // State alone does not queue behind a full pipe, where it would only grow old: the newest is told when there is room.
  const bool state_waits = batch.last_seq == 0 && connection.outbox.in_flight() && keeps_history(room.options());
  if (connection.behind || state_waits || (batch.first_seq != 0 && slot.next_seq < batch.first_seq)) {
    if (connection.behind) pressure_.look_at(connection);  // since a batch before this one
    connection.behind = true;
    catch_up_.note_missed(part, connection, room, 0);
    writer_.mark_dirty(connection);
    return;
  }
  const EncodedBatch& batch_encoded = encoded(part, room, connection.format);
  const bool from_the_start =
      slot.joined_serial < batch.first_serial && (batch.first_seq == 0 || slot.next_seq <= batch.first_seq);
  const bool whole = slot.excluded_batch != batch.number && from_the_start;
  // Its only room, and nothing before it: nothing else is on its way to it in this turn.
  if (whole && batch_encoded.blocks.size() == 1 && connection.memberships.size() == 1 && connection.outbox.idle()) {
    if (batch.last_seq != 0) slot.next_seq = batch.last_seq + 1;
    batch.deliveries += batch.messages;
    ++batch.writes;
    const BlockPtr& block = batch_encoded.blocks.front();
    const WriteResult result = connection.outbox.write_at_once(*connection.transport, block, now, part.loop->lent);
    if (result != WriteResult::done) {
      (void)writer_.wrote(connection, result, {});
      return;
    }
    connection.counted.bytes_out += block->bytes.size();
    batch.bytes_out += block->bytes.size();
    return;
  }
  std::uint64_t delivered = 0;
  std::size_t at = 0;
  for (std::uint32_t b = 0; b < batch_encoded.blocks.size(); ++b) {
    if (!writer_.takes_more(connection) && !writer_.makes_room(connection)) {
      if (connection.ends_soon) return;
      connection.behind = true;  // from here on by its cursor
      catch_up_.note_missed(part, connection, room, at);
      break;
    }
    const BlockPtr& block = batch_encoded.blocks[b];
    if (whole) {
      connection.outbox.append(block, 0, block->bytes.size(), now);
    }
    for (; at < batch.entries.size() && batch_encoded.frames[at].block == b; ++at) {
      const Entry& entry = *batch.entries[at];
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
      if (frame.end != frame.begin) connection.outbox.append(block, frame.begin, frame.end, now);
    }
  }
  batch.deliveries += delivered;
  writer_.mark_dirty(connection);
  if (!writer_.takes_more(connection)) pressure_.look_at(connection);
}

MUSTER_INLINE EncodedBatch& FanOut::encoded(RoomPart& part, const RoomState& room, std::uint8_t format) {
  Batch& batch = *part.batch;
  if (format >= batch.encoded.size()) batch.encoded.resize(part.loop->formats.size());
  EncodedBatch& into = batch.encoded[format];
  if (into.done) return into;
  into = {};  // there may be a part of it that failed
  into.frames.reserve(batch.entries.size());
  for (const EntryPtr& entry : batch.entries) {
    if (into.blocks.empty() || into.blocks.back()->bytes.size() >= block_bytes) {
      into.blocks.push_back(BlockPtr::make());
    }
    std::string& bytes = into.blocks.back()->bytes;
    const auto begin = static_cast<std::uint32_t>(bytes.size());
    encode_entry(*part.loop, part.loop->formats[format], room.key.name, batch.epoch, *entry, bytes);
    into.frames.push_back(
        {static_cast<std::uint32_t>(into.blocks.size() - 1), begin, static_cast<std::uint32_t>(bytes.size())});
  }
  part.loop->counters.blocks.add(into.blocks.size());
  for (const BlockPtr& block : into.blocks) block->count(bytes_.waiting());
  into.done = true;
  return into;
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
