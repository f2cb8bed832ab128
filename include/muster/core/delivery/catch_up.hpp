// CatchUp: members that fell behind, or come back, are fed from history by their cursor, and told what they missed
// newest per key. On the connection's executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "muster/awareness_store.hpp"
#include "muster/core/delivery/writer.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// What is to be told of a client's state that changed: its removal at a clock, and what stands. Any thread.
void resolve_awareness(const AwarenessStore& store, const RoomKey& key, const std::string& client,
                       std::uint64_t removed_at, std::vector<AwarenessEntry>& changes);

class CatchUp {
 public:
  CatchUp(const Options& options, const AwarenessStore& awareness, Writer& writer)
      : options_(options), awareness_(awareness), writer_(writer) {}

  /// State a member that is behind cannot be told now, of the part's batch from entry `from` on.
  void note_missed(RoomPart& part, ConnectionState& connection, const RoomState& room, std::size_t from);
  /// From history and from what was missed, up to the soft mark. False: more is owed.
  bool feed(ConnectionState& connection);
  /// What history holds from the member's cursor on; what it no longer holds, up to `last`, is a gap.
  void tell_history(ConnectionState& connection, const Membership& membership, Position last,
                    const std::vector<EntryPtr>& entries);
  /// Likewise, of one room.
  bool feed_room(ConnectionState& connection, Membership& membership);

 private:
  /// What was missed, up to the soft mark. False: more is owed.
  bool tell_missed(ConnectionState& connection, Membership& membership);

  const Options& options_;
  const AwarenessStore& awareness_;
  Writer& writer_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
