// What is read of a room's history by who asks for it.
#pragma once

#include <cstddef>
#include <vector>

#include "muster/core/room/room_state.hpp"
#include "muster/room.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

inline constexpr std::size_t history_page_bytes = 64 * 1024;

/// At most `limit` messages behind `after`, and about `history_page_bytes` of them. `reader`: without those that it was
/// excluded from, unless they are its own; 0: all.
[[nodiscard]] inline HistoryPage history_page(RoomState& room, TimePoint now, Position after, std::size_t limit,
                                              ConnectionId reader = {}) {
  HistoryPage page;
  std::uint64_t last_seq = 0;
  bool more = true;
  for (bool first = true; more && (first || page.messages.empty()); first = false) {
    std::vector<EntryPtr> entries;
    {
      Lock lock(room.mutex);
      room.history.expire(now, room.options());
      room.settle();
      page.epoch = room.epoch;
      last_seq = room.last_seq;
      if ((after.epoch != 0 && after.epoch != room.epoch) || after.seq > last_seq) after.seq = 0;
      room.history.read(after.seq + 1, history_page_bytes, entries);
    }
    page.complete =
        page.complete && (after.seq == last_seq || (!entries.empty() && entries.front()->seq == after.seq + 1));
    for (const EntryPtr& entry : entries) {
      if (page.messages.size() == limit) break;
      after.seq = entry->seq;
      if (reader && entry->exclude == reader && entry->from != reader) continue;
      page.messages.push_back({entry->seq, entry->data, entry->from, entry->from_user});
    }
    more = !entries.empty() && after.seq < last_seq && limit != 0;
    page.more = !entries.empty() && after.seq < last_seq;
    after.epoch = page.epoch;
  }
  return page;
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
