// Telling, marking and writing.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "muster/core/delivery/encode.hpp"
#include "muster/core/delivery/writer.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE std::size_t Writer::tell(ConnectionState& connection, const Event& event,
                                       const Correlation* correlation) {
  if (connection.ended() || connection.ends_soon) return 0;
  Loop& loop = *connection.loop;
  std::string& bytes = reply_bytes(loop);
  const std::size_t begin = bytes.size();
  encode_event(loop, loop.formats[connection.format], event, correlation, bytes);
  const std::size_t size = bytes.size() - begin;
  append_reply(connection, begin);
  return size;
}

MUSTER_INLINE void Writer::tell_asked(ConnectionState& connection, const Event& event, const Correlation* correlation) {
  const std::size_t size = tell(connection, event, correlation);
  connection.byte_budget.charge(options_.byte_rate, static_cast<double>(size), connection.loop->executor->now());
}

MUSTER_INLINE void Writer::tell_direct(ConnectionState& connection, const Payload& payload) {
  event::DirectMessage message;
  message.data = &payload;
  (void)tell(connection, message);
}

MUSTER_INLINE void Writer::tell_entry(ConnectionState& connection, const RoomState& room, std::uint64_t epoch,
                                      const Entry& entry) {
  if (connection.ended() || connection.ends_soon) return;
  Loop& loop = *connection.loop;
  std::string& bytes = reply_bytes(loop);
  const std::size_t begin = bytes.size();
  encode_entry(loop, loop.formats[connection.format], room.key.name, epoch, entry, bytes);
  append_reply(connection, begin);
}

MUSTER_INLINE void Writer::tell_error(ConnectionState& connection, const Correlation* correlation, Error error) {
  connection.loop->counters.errors.add();
  event::Failure failure;
  failure.error = &error;
  tell(connection, failure, correlation);
}

MUSTER_INLINE void Writer::broadcast(const LoopPtr& loop, const std::optional<std::string>& tenant,
                                     const Event& event) {
  std::vector<BlockPtr> blocks(loop->formats.size());
  const TimePoint now = loop->executor->now();
  for (const ConnectionPtr& connection : loop->connections) {
    if (!connection->live() || connection->ends_soon || (tenant && connection->identity_->tenant != *tenant)) continue;
    const bool well = connection->contain("A broadcast", [&] {
      BlockPtr& block = blocks[connection->format];
      if (!block) {
        BlockPtr fresh = BlockPtr::make();
        encode_event(*loop, loop->formats[connection->format], event, nullptr, fresh->bytes);
        fresh->count(bytes_.waiting());
        block = std::move(fresh);
      }
      if (block->bytes.empty()) return;
      connection->outbox.append(block, 0, block->bytes.size(), now);
      mark_dirty(*connection);
      count_unsent(*connection);
    });
    if (!well) end_soon(*connection, CloseReason::internal_error);
  }
}

/// Where this turn's replies go: one block for many connections, until something of it is written.
MUSTER_INLINE std::string& Writer::reply_bytes(Loop& loop) {
  if (loop.replies && loop.replies->bytes.size() >= block_bytes) seal_replies(loop);
  if (!loop.replies) loop.replies = BlockPtr::make();
  return loop.replies->bytes;
}

/// What is being written must not grow.
MUSTER_INLINE void Writer::seal_replies(Loop& loop) {
  if (!loop.replies) return;
  loop.replies->count(bytes_.waiting());
  loop.replies = {};
}

/// Appends what stands in the turn's block of replies from `begin` on.
MUSTER_INLINE void Writer::append_reply(ConnectionState& connection, std::size_t begin) {
  Loop& loop = *connection.loop;
  const std::size_t end = loop.replies->bytes.size();
  if (end == begin) return;
  connection.outbox.append(loop.replies, begin, end, loop.executor->now());
  mark_dirty(connection);
  count_unsent(connection);
}

MUSTER_INLINE bool Writer::makes_room(ConnectionState& connection) {
  if (takes_more(connection)) return true;
  if (!connection.outbox.in_flight()) (void)write(connection);
  return !connection.ends_soon && takes_more(connection);
}

MUSTER_INLINE void Writer::count_unsent(ConnectionState& connection) {
  if (takes_more(connection)) return;
  pressure_.look_at(connection);
  if (connection.outbox.unsent() <= options_.unsent_hard_bytes) return;
  if (!connection.outbox.in_flight()) (void)write(connection);
  connection.outbox.recount(*connection.transport);
  hold_to_hard_mark(connection, connection.outbox.unsent());
}

MUSTER_INLINE void Writer::hold_to_hard_mark(ConnectionState& connection, std::size_t bytes) noexcept {
  if (bytes > options_.unsent_hard_bytes) end_soon(connection, CloseReason::slow_consumer);
}

MUSTER_INLINE void Writer::mark_dirty(ConnectionState& connection) {
  if (connection.dirty || connection.outbox.in_flight()) return;
  Loop& loop = *connection.loop;
  loop.dirty.push_back(&connection);
  connection.dirty = true;
  if (loop.write_posted) return;
  loop.write_posted = loop.contain(
      "The executor", [&] { (void)loop.post_at_turn_end([later = &later_, at = &loop] { later->end_turn(*at); }); });
  if (!loop.write_posted) loop.retry_soon();
}

MUSTER_INLINE bool Writer::write(ConnectionState& connection) {
  Outbox& outbox = connection.outbox;
  if (outbox.in_flight() || !outbox.has_queued()) return true;
  Loop& loop = *connection.loop;
  seal_replies(loop);
  Handed handed;
  const WriteResult result = outbox.write(*connection.transport, loop.lent, handed);
  return wrote(connection, result, handed);
}

MUSTER_INLINE bool Writer::wrote(ConnectionState& connection, WriteResult result, Handed handed) {
  Loop& loop = *connection.loop;
  connection.counted.bytes_out += handed.bytes;
  loop.counters.writes.add(handed.writes);
  loop.counters.bytes_out.add(handed.bytes);
  if (result == WriteResult::closed) {
    end_soon(connection, CloseReason::lost);
    return false;
  }
  if (result == WriteResult::pending && connection.live()) {
    watch_write(connection);
    pressure_.look_at(connection);
  }
  return true;
}

MUSTER_INLINE void Writer::watch_write(ConnectionState& connection) noexcept {
  Loop& loop = *connection.loop;
  connection.deadlines.arm(loop, Deadline::guard, loop.executor->now() + options_.unsent_age / 8);
}

MUSTER_INLINE void Writer::end_soon(ConnectionState& connection, CloseReason reason, std::string text) noexcept {
  if (connection.ended() || std::exchange(connection.ends_soon, true)) return;
  const bool posted = connection.contain("The executor", [&] {
    (void)connection.loop->post([later = &later_, keep = connection.shared_from_this(), reason,
                                 text = std::move(text)] { later->end(*keep, reason, text); });
  });
  if (!posted) connection.put_off(reason, false);
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
