// Whom a turn has made dirty.
#pragma once

#include <vector>

#include "muster/core/flows/turn.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE void Turn::end(Loop& loop) {
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
    if (!connection.contain("A write", [&] { flush(connection); }))
      writer_.end_soon(connection, CloseReason::internal_error);
  }
  dirty.clear();
  if (loop.dirty.empty()) loop.dirty.swap(dirty);  // keep the memory
}

MUSTER_INLINE void Turn::flush(ConnectionState& connection) {
  while (!connection.ended() && !connection.ends_soon && !connection.outbox.in_flight()) {
    while (connection.behind && !connection.outbox.has_queued() && !connection.ends_soon) {
      connection.behind = !catch_up_.feed(connection);
    }
    if (!connection.outbox.has_queued()) break;
    if (!writer_.write(connection)) break;
  }
  if (connection.slow) pressure_.look_at(connection);
  if (connection.queue_again && !connection.queue_loading && !connection.outbox.in_flight()) {
    queues_.deliver_more(connection);
  }
}

MUSTER_INLINE void Turn::writable(ConnectionState& connection) {
  if (!connection.outbox.in_flight()) return;
  guard(later_, connection, "A write", [&] { go_on(connection); });
}

MUSTER_INLINE void Turn::go_on(ConnectionState& connection) {
  const std::size_t written = connection.outbox.flight_done();
  connection.counted.bytes_out += written;
  connection.loop->counters.bytes_out.add(written);
  if (connection.ended()) return;
  if (connection.live()) connection.deadlines.cancel(Deadline::guard);
  if (connection.awaiting_pong) connection.ping_sent_at = connection.loop->executor->now();  // it goes out now
  flush(connection);
  pressure_.look_at(connection);
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
