// The seam that keeps what a room's content is made of: a log of updates, whole, for protocols whose rooms are documents.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "muster/error.hpp"
#include "muster/message.hpp"
#include "muster/reply.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// One update of a room. Offsets grow within a room, by one or more.
struct LogUpdate {
  std::uint64_t offset = 0;
  Payload data;
};

/// What a room's log holds.
struct LogSize {
  std::uint64_t last_offset = 0;  ///< 0: it is empty
  std::size_t updates = 0;
  std::size_t bytes = 0;  ///< of their data
};

/// What was read of a log, in order.
struct LogPart {
  std::vector<LogUpdate> updates;
  bool more = false;  ///< there is more behind the last of them
};

/// Each room's updates from the first on, for content that is the sum of them: documents of a CRDT (Yjs), a whiteboard's
/// strokes. A room's history, by comparison, is a window of its newest messages. To apply an update twice has to do no
/// harm: who reads on after a `replace` is given the sum.
///
/// Threads: every method from any thread; each is atomic. Answers inside the call or later, from any thread; the asker has
/// its own deadline. Errors: `unavailable` when the back end does not answer, others as said.
class RoomLog {
 public:
  virtual ~RoomLog() = default;

  /// Appends under the next offset; answers what the log then holds. `too_large`, and nothing is appended, when the room's
  /// log may not grow by that much: `replace` makes room.
  virtual void append(RoomKey room, Payload update, Reply<Result<LogSize>> done) = 0;
  /// The updates behind `after`, as many as have no more than `bytes` together, but one at least. A room of which there is
  /// no log has none.
  virtual void read(RoomKey room, std::uint64_t after, std::size_t bytes, Reply<Result<LogPart>> done) = 0;
  /// Puts `sum`, which says what all updates up to `through` say together, in their place, at the offset `through`: in one
  /// step, so that whoever reads has either. Updates behind it stay. `not_found`, and nothing is changed, when there is no
  /// update at `through`: another sum has gone further, or the log was erased.
  virtual void replace(RoomKey room, std::uint64_t through, Payload sum, Reply<Result<LogSize>> done) = 0;
  /// Erases a room's log. It is no error when there is none. What is appended afterwards lies behind every offset before.
  virtual void erase(RoomKey room, Reply<Result<void>> done) = 0;

 protected:
  RoomLog() = default;
  RoomLog(const RoomLog&) = default;
  RoomLog& operator=(const RoomLog&) = default;
};

}  // namespace MUSTER_ABI
}  // namespace muster
