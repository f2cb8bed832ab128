// RoomState: one room's truth under its lock, and its part on each executor.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "muster/core/base/byte_budget.hpp"
#include "muster/core/base/mutex.hpp"
#include "muster/core/loop/block.hpp"
#include "muster/core/loop/loop.hpp"
#include "muster/core/room/history.hpp"
#include "muster/core/room/idempotency.hpp"
#include "muster/core/room/presence.hpp"
#include "muster/options.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

class ConnectionState;

/// The next `push_back` needs no memory.
template <class T>
void make_room(std::vector<T>& list) {
  if (list.size() == list.capacity()) list.reserve(list.empty() ? 1 : 2 * list.size());
}

/// A member as the fan-out sees it: dense, one after another. `next_seq` only grows, and alone decides what is owed.
struct MemberSlot {
  ConnectionState* connection = nullptr;
  std::uint64_t next_seq = 0;
  /// The room's serial when it joined: nothing up to it is owed.
  std::uint64_t joined_serial = 0;
  std::uint32_t last_batch = 0;
  /// The batch that has messages this member is excluded from.
  std::uint32_t excluded_batch = 0;
};

/// Where the frames of a batch's entries are, for one (protocol, wire format).
struct EncodedBatch {
  struct Frame {
    std::uint32_t block = 0;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;  ///< end == begin: this protocol does not tell it
  };
  std::vector<BlockPtr> blocks;
  std::vector<Frame> frames;
  bool done = false;
};

/// What one flush hands to the members of one executor, in slices.
struct Batch {
  std::vector<EntryPtr> entries;
  std::uint32_t number = 0;
  std::uint64_t epoch = 0;
  std::uint64_t first_serial = 0;
  std::uint64_t first_seq = 0;  ///< of the ordered ones; 0: there are none
  std::uint64_t last_seq = 0;
  std::uint64_t messages = 0;  ///< without the notices
  std::size_t bytes = 0;
  bool has_unordered = false;
  std::size_t unvisited = 0;          ///< members [0, unvisited) are still to be served; served from the end
  std::vector<EncodedBatch> encoded;  ///< by the executor's formats
  // What the slice at hand has come to: the executor's counters get it at its end.
  std::uint64_t deliveries = 0;
  std::uint64_t writes = 0;
  std::uint64_t bytes_out = 0;
};

/// The members of a room on one executor. Slots and batch belong to the executor; the rest to the room's lock, under
/// which RoomState::shared_of hands it out.
struct RoomPart {
  struct Shared {
    std::vector<EntryPtr> pending;
    std::size_t bytes = 0;  ///< of `pending`, and of the batch on its way
    std::size_t members = 0;
    bool flush_posted = false;
  };
  explicit RoomPart(LoopPtr on) : loop(std::move(on)) {}
  const LoopPtr loop;
  std::vector<MemberSlot> slots;
  Batch batch;

 private:
  friend struct RoomState;
  Shared shared_;
};

/// Shared with whoever is about to post its flush: its executor may stop meanwhile, and be forgotten.
using RoomPartPtr = std::shared_ptr<RoomPart>;

inline void sort_by_id(std::vector<Member>& members) {
  std::sort(members.begin(), members.end(),
            [](const Member& a, const Member& b) { return a.connection < b.connection; });
}

struct RoomState : ByteHolder {
  RoomState(RoomKey room_key, const RoomOptions& room_options, std::uint64_t first_epoch,
            ByteBudget::AccountPtr bytes_account)
      : key(std::move(room_key)), options(room_options), account(std::move(bytes_account)), epoch(first_epoch) {}
  ~RoomState() {
    account->change(held, 0);
    account->change_waiting(waiting, 0);
  }
  RoomState(const RoomState&) = delete;
  RoomState& operator=(const RoomState&) = delete;

  const RoomKey key;
  const RoomOptions& options;
  const ByteBudget::AccountPtr account;

  mutable Mutex mutex;
  std::uint64_t epoch MUSTER_GUARDED_BY(mutex);
  std::uint64_t last_seq MUSTER_GUARDED_BY(mutex) = 0;
  std::uint64_t last_serial MUSTER_GUARDED_BY(mutex) = 0;
  std::uint64_t published MUSTER_GUARDED_BY(mutex) = 0;
  History history MUSTER_GUARDED_BY(mutex);
  IdempotencyKeys keys MUSTER_GUARDED_BY(mutex);
  struct MemberEntry {
    std::string user;
    /// Null: its session is in its grace, and keeps the seat.
    RoomPart* part = nullptr;
  };
  /// By what others know them as.
  std::unordered_map<ConnectionId, MemberEntry> members MUSTER_GUARDED_BY(mutex);
  /// Members of each user, for capacity and for user presence. 0: the others know it to be online, but it has left.
  std::unordered_map<std::string, std::size_t> users MUSTER_GUARDED_BY(mutex);
  std::size_t present_users MUSTER_GUARDED_BY(mutex) = 0;  ///< of those that have a member
  /// Members at other nodes of a broker.
  std::map<ConnectionId, std::string> remote_members MUSTER_GUARDED_BY(mutex);
  std::vector<RoomPartPtr> parts MUSTER_GUARDED_BY(mutex);
  std::size_t waiting MUSTER_GUARDED_BY(mutex) = 0;  ///< bytes that only `parts` hold
  PresenceBatch presence MUSTER_GUARDED_BY(mutex);
  /// Client ids that changed, with the clock of a removal or 0.
  using Marks = std::map<std::string, std::uint64_t>;
  Marks awareness MUSTER_GUARDED_BY(mutex);
  bool state_flush_due MUSTER_GUARDED_BY(mutex) = false;
  bool state_flush_running MUSTER_GUARDED_BY(mutex) = false;
  bool state_flush_again MUSTER_GUARDED_BY(mutex) = false;
  /// Of some of `users` it could not be told that they have left; the sweep does.
  bool offline_untold MUSTER_GUARDED_BY(mutex) = false;
  bool subscribed MUSTER_GUARDED_BY(mutex) = false;
  bool unsubscribe_due MUSTER_GUARDED_BY(mutex) = false;  ///< the broker failed when it was told
  bool told_open MUSTER_GUARDED_BY(mutex) = false;        ///< the last edge that hooks were told
  bool telling MUSTER_GUARDED_BY(mutex) = false;
  /// Out of the table: whoever still holds it looks again.
  bool retired MUSTER_GUARDED_BY(mutex) = false;

  /// What several threads use of a part of this room.
  [[nodiscard]] RoomPart::Shared& shared_of(RoomPart& part) const MUSTER_REQUIRES(mutex) { return part.shared_; }
  /// The part of an executor, made when there is none.
  [[nodiscard]] RoomPart& part_on(const LoopPtr& loop) MUSTER_REQUIRES(mutex) {
    for (const auto& part : parts) {
      if (part->loop == loop) return *part;
    }
    parts.push_back(std::shared_ptr<RoomPart>(new RoomPart(loop)));
    return *parts.back();
  }
  /// A new member, known by `id`; or nothing has changed.
  void add_member(ConnectionId id, const std::string& user, RoomPart& part, PresenceScope scope)
      MUSTER_REQUIRES(mutex) {
    const auto [of_user, news] = users.try_emplace(user);
    try {
      members.emplace(id, MemberEntry{user, &part});
    } catch (...) {
      if (news) users.erase(of_user);
      throw;
    }
    if (++of_user->second == 1) ++present_users;
    if (scope != PresenceScope::none) presence.joined(id, user);  // what nobody is told would never be flushed
    if (news && scope == PresenceScope::shared_rooms) presence.online(user);
  }
  /// Its user.
  std::string remove_member(std::unordered_map<ConnectionId, MemberEntry>::iterator member,
                            PresenceScope scope) noexcept MUSTER_REQUIRES(mutex) {
    std::string user = std::move(member->second.user);
    const auto of_user = users.find(user);
    if (--of_user->second == 0) {
      --present_users;
      if (scope != PresenceScope::shared_rooms) users.erase(of_user);
    }
    if (scope != PresenceScope::none) presence.left(member->first, user);
    members.erase(member);
    return user;
  }
  /// These could not be told, and still are to be.
  void take_back(Marks& marks) noexcept MUSTER_REQUIRES(mutex) {
    awareness.merge(marks);
    for (const auto& [client, removed_at] : marks) {  // marked again since
      std::uint64_t& mark = awareness.find(client)->second;
      mark = std::max(mark, removed_at);
    }
  }
  /// Charges what history and keys have become, after they changed.
  void settle() MUSTER_REQUIRES(mutex) {
    const std::size_t now_held = history.bytes() + keys.bytes();
    account->change(held.exchange(now_held), now_held);
    oldest = (history.empty() ? TimePoint::max() : history.oldest()).time_since_epoch().count();  // keys go last
    count_waiting();
  }
  /// Parts share their entries, and history has the last of them. Called after one of them changed.
  void count_waiting() MUSTER_REQUIRES(mutex) {
    std::size_t most = 0;
    for (const auto& part : parts) most = std::max(most, shared_of(*part).bytes);
    const std::size_t beyond = most > history.bytes() ? most - history.bytes() : 0;
    if (beyond == waiting) return;
    account->change_waiting(waiting, beyond);
    waiting = beyond;
  }
  [[nodiscard]] std::size_t member_count() const MUSTER_REQUIRES(mutex) {
    return members.size() + remote_members.size();
  }
  /// Who is there, in the order of ids.
  [[nodiscard]] std::vector<Member> list() const MUSTER_REQUIRES(mutex) {
    std::vector<Member> all;
    all.reserve(member_count());
    for (const auto& [id, member] : members) all.push_back({id, member.user});
    for (const auto& [id, user] : remote_members) all.push_back({id, user});
    sort_by_id(all);
    return all;
  }
  /// The list that a newcomer is told, and is kept informed of if the room `tells` anybody anything. False: it is told
  /// the count.
  [[nodiscard]] bool list_for_newcomer(std::vector<Member>& told, bool tells) MUSTER_REQUIRES(mutex) {
    presence.set_lossy((tells && presence.lossy()) || member_count() > options.presence_list_max);
    if (presence.lossy()) return false;
    told = list();
    presence.list_told();
    return true;
  }
  /// What changed since the last time, as all members are told it. A phase of counts ends with the whole list, not
  /// before the room is well below the bound again.
  void flush_presence(Notice& notice) MUSTER_REQUIRES(mutex) {
    notice.member_count = member_count();
    const std::size_t below = options.presence_list_max - options.presence_list_max / 5;
    const bool was_lossy = presence.lossy();
    const bool is_lossy = notice.member_count > (was_lossy ? below : options.presence_list_max);
    presence.set_lossy(is_lossy);
    if (was_lossy && !is_lossy) {
      (void)presence.drop();
      notice.whole = true;
      notice.joined = list();
    } else if (is_lossy) {
      notice.counts_only = presence.drop();
    } else {
      presence.flush(notice);
    }
  }
  /// Members of this process whom a publish that excludes `exclude` goes to: those with a connection.
  [[nodiscard]] std::size_t reach(ConnectionId exclude) const MUSTER_REQUIRES(mutex) {
    std::size_t count = 0;
    for (const auto& part : parts) count += shared_of(*part).members;
    if (!exclude) return count;
    const auto excluded = members.find(exclude);
    return excluded == members.end() || excluded->second.part == nullptr ? count : count - 1;
  }
};
using RoomPtr = std::shared_ptr<RoomState>;

/// Makes room for `entries` more in what each executor with members has pending.
inline void prepare_pending(RoomState& room, std::size_t entries, std::vector<RoomPartPtr>& flushes)
    MUSTER_REQUIRES(room.mutex) {
  flushes.reserve(room.parts.size());
  for (const auto& part : room.parts) {
    RoomPart::Shared& shared = room.shared_of(*part);
    const std::size_t needed = shared.pending.size() + entries;
    if (shared.members != 0 && needed > shared.pending.capacity()) {
      shared.pending.reserve(std::max(needed, 2 * shared.pending.capacity()));
    }
  }
}

/// Appends an entry to what every executor with members has pending; `flushes` gets the parts whose executor is to be
/// told, after the lock. Called after `prepare_pending`, so that it cannot fail.
inline void append_pending(RoomState& room, const EntryPtr& entry, std::vector<RoomPartPtr>& flushes,
                           std::uint64_t& conflated) noexcept MUSTER_REQUIRES(room.mutex) {
  const std::size_t bytes = entry->bytes();
  for (const auto& part : room.parts) {
    RoomPart::Shared& shared = room.shared_of(*part);
    if (shared.members == 0) continue;
    if (entry->latest) {  // of two unsent states with one key only the newer is of use
      constexpr std::ptrdiff_t look_back = 32;
      const auto end = shared.pending.end();
      for (auto old = end - std::min(look_back, end - shared.pending.begin()); old != end; ++old) {
        const Entry& other = **old;
        if (!other.latest || other.latest_key != entry->latest_key || other.exclude != entry->exclude) continue;
        shared.bytes -= other.bytes();
        shared.pending.erase(old);
        ++conflated;
        break;
      }
    }
    shared.bytes += bytes;
    shared.pending.push_back(entry);  // by serial: who joined in between is owed what is behind its own
    if (!shared.flush_posted) {
      shared.flush_posted = true;
      flushes.push_back(part);
    }
  }
  room.count_waiting();
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
