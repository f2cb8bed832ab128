// Each event of an entry, one after the other.
#pragma once

#include <algorithm>

#include "muster/core/delivery/encode.hpp"
#include "muster/core/room/room_state.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE void encode_event(Loop& loop, const Format& format, const Event& event, const Correlation* correlation,
                                std::string& bytes) {
  loop.text.clear();
  const auto kind = format.protocol->encode(event, correlation, loop.executor->wall_now(), loop.text);
  if (kind) format.wire->append(*kind, loop.text, bytes);
}

MUSTER_INLINE void encode_entry(Loop& loop, const Format& format, std::string_view room, std::uint64_t epoch,
                                const Entry& entry, std::string& bytes) {
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
  const Notice& notice = *entry.notice;
  if (notice.presence()) {
    event::PresenceChanged presence;
    presence.room = room;
    presence.member_count = notice.member_count;
    if (!notice.counts_only && !notice.whole) {
      presence.joined = &notice.joined;
      presence.left = &notice.left;
      if (!notice.changed.empty()) presence.changed = &notice.changed;
    }
    std::size_t told = 0;
    do {
      if (notice.whole) {
        presence.members = notice.joined.data() + told;
        presence.count = std::min(members_per_frame, notice.joined.size() - told);
        told += presence.count;
        presence.more = told < notice.joined.size();
      }
      add(presence);
    } while (presence.more);
  }
  if (!notice.online.empty()) add(event::UsersOnline{&notice.online});
  if (!notice.offline.empty()) add(event::UsersOffline{&notice.offline});
  for (std::size_t i = 0; i < notice.awareness.size();) {
    const std::size_t count = chunk_length(notice.awareness, i);
    event::AwarenessChanged changed;
    changed.room = room;
    changed.entries = &notice.awareness[i];
    changed.count = count;
    add(changed);
    i += count;
  }
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
