// RoomState: one room's truth under its lock, and its part on each executor.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "muster/core/base/byte_budget.hpp"
#include "muster/core/base/keep_first.hpp"
#include "muster/core/base/mutex.hpp"
#include "muster/core/base/one_or_more.hpp"
#include "muster/core/base/when_needed.hpp"
#include "muster/core/loop/block.hpp"
#include "muster/core/loop/loop.hpp"
#include "muster/core/room/history.hpp"
#include "muster/core/room/idempotency.hpp"
#include "muster/core/room/member_table.hpp"
#include "muster/core/room/paced_latest.hpp"
#include "muster/core/room/presence.hpp"
#include "muster/data.hpp"
#include "muster/options.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

class ConnectionState;

/// A crowd is told how many it is no more often than this.
inline constexpr std::chrono::seconds counts_interval{1};

/// The next `push_back` needs no memory. A long list does not keep as much again for it.
template <class T>
void make_room(std::vector<T>& list) {
  constexpr std::size_t is_long = 256;
  const std::size_t size = list.size();
  if (size == list.capacity()) list.reserve(size + (size < is_long ? std::max<std::size_t>(size, 1) : size / 4));
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
    std::uint32_t members = 0;
    bool flush_posted = false;
  };
  explicit RoomPart(LoopPtr on) : loop(std::move(on)) {}
  const LoopPtr loop;
  std::vector<MemberSlot> slots;
  /// The one that is under way, or null; and how many there were.
  std::shared_ptr<Batch> batch;
  std::uint32_t batches = 0;

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
      : key(std::move(room_key)), account(std::move(bytes_account)), epoch(first_epoch), options_(&room_options) {}
  ~RoomState() {
    account->change(held, 0);
    account->change_waiting(waiting, 0);
  }
  RoomState(const RoomState&) = delete;
  RoomState& operator=(const RoomState&) = delete;

  /// What holds for it now; stays as it is for as long as the room.
  [[nodiscard]] const RoomOptions& options() const noexcept { return *options_.load(std::memory_order_acquire); }
  void set_options(const RoomOptions& options) MUSTER_REQUIRES(mutex) {
    auto& own = own_options.make();
    auto same = std::find_if(own.begin(), own.end(), [&](const auto& before) { return *before == options; });
    if (same == own.end()) {
      same = own.insert(same, std::shared_ptr<const RoomOptions>(new RoomOptions(options)));
    }
    options_.store(same->get(), std::memory_order_release);
    history.trim(options);
    settle();
  }

  const RoomKey key;
  const ByteBudget::AccountPtr account;
  // The table's.
  RoomState* next_by_key = nullptr;
  std::shared_ptr<RoomState> in_table;  ///< itself

  mutable Mutex mutex;
  std::uint64_t epoch MUSTER_GUARDED_BY(mutex);
  std::uint64_t last_seq MUSTER_GUARDED_BY(mutex) = 0;
  std::uint64_t last_serial MUSTER_GUARDED_BY(mutex) = 0;
  std::uint64_t published MUSTER_GUARDED_BY(mutex) = 0;
  History history MUSTER_GUARDED_BY(mutex);
  WhenNeeded<IdempotencyKeys> keys MUSTER_GUARDED_BY(mutex);
  MemberTable members MUSTER_GUARDED_BY(mutex);
  std::size_t behind MUSTER_GUARDED_BY(mutex) = 0;  ///< of `members`, those whose connection is slow
  /// Members at other nodes of a broker.
  WhenNeeded<std::map<ConnectionId, Member>> remote_members MUSTER_GUARDED_BY(mutex);
  OneOrMore<RoomPartPtr> parts MUSTER_GUARDED_BY(mutex);
  std::size_t waiting MUSTER_GUARDED_BY(mutex) = 0;  ///< bytes that only `parts` hold
  PresenceBatch presence MUSTER_GUARDED_BY(mutex);
  WhenNeeded<PacedLatest> paced MUSTER_GUARDED_BY(mutex);
  TimePoint counts_due MUSTER_GUARDED_BY(mutex){};  ///< the next count, in a crowd, not before
  /// Client ids that changed, with the clock of a removal or 0.
  using Marks = std::map<std::string, std::uint64_t>;
  Marks awareness MUSTER_GUARDED_BY(mutex);
  std::size_t holders MUSTER_GUARDED_BY(mutex) = 0;  ///< with a broker: about to enter it; not retired meanwhile
  WhenNeeded<Data> data MUSTER_GUARDED_BY(mutex);    ///< of the program, while hooks know it to be open
  /// That it has had besides those of its kind: whoever reads may do so still.
  WhenNeeded<std::vector<std::shared_ptr<const RoomOptions>>> own_options MUSTER_GUARDED_BY(mutex);

  // Side by side, where they fill a word or two.
  bool counts_planned MUSTER_GUARDED_BY(mutex) = false;  ///< that a count is told at `counts_due`
  bool state_flush_due MUSTER_GUARDED_BY(mutex) = false;
  bool state_flush_running MUSTER_GUARDED_BY(mutex) = false;
  bool state_flush_again MUSTER_GUARDED_BY(mutex) = false;
  /// Of some users it could not be told that they have left; the sweep does.
  bool offline_untold MUSTER_GUARDED_BY(mutex) = false;
  bool subscribed MUSTER_GUARDED_BY(mutex) = false;
  bool unsubscribe_due MUSTER_GUARDED_BY(mutex) = false;  ///< the broker failed when it was told
  bool told_open MUSTER_GUARDED_BY(mutex) = false;        ///< the last edge that hooks were told
  bool telling MUSTER_GUARDED_BY(mutex) = false;
  bool has_data MUSTER_GUARDED_BY(mutex) = false;  ///< `data` may be used
  /// Out of the table: whoever still holds it looks again.
  bool retired MUSTER_GUARDED_BY(mutex) = false;
  /// Out of the table for good: another of its key takes its place.
  bool replaced MUSTER_GUARDED_BY(mutex) = false;

  /// What several threads use of a part of this room.
  [[nodiscard]] RoomPart::Shared& shared_of(RoomPart& part) const MUSTER_REQUIRES(mutex) { return part.shared_; }
  /// The part of an executor, made when there is none.
  [[nodiscard]] RoomPart& part_on(const LoopPtr& loop) MUSTER_REQUIRES(mutex) {
    for (const auto& part : parts) {
      if (part->loop == loop) return *part;
    }
    RoomPartPtr part = std::make_shared<RoomPart>(loop);
    parts.make_room();
    RoomPart& made = *part;
    parts.insert(parts.end(), std::move(part));
    return made;
  }
  /// A new member, known by `id`; or nothing has changed.
  void add_member(ConnectionId id, const std::shared_ptr<const Identity>& identity, PresenceScope scope)
      MUSTER_REQUIRES(mutex) {
    const bool news = members.add(id, identity);
    if (scope != PresenceScope::none)
      presence.joined(id, identity->user);  // what nobody is told would never be flushed
    if (news && scope == PresenceScope::shared_rooms) presence.online(identity->user);
  }
  /// A member is known by new credentials, or shows another profile. True: the others are to be told.
  [[nodiscard]] bool change_member(ConnectionId id, const std::shared_ptr<const Identity>& identity,
                                   PresenceScope scope) noexcept MUSTER_REQUIRES(mutex) {
    MemberEntry* const member = members.find(id);
    if (member == nullptr) return false;
    const bool changed = member->identity->profile != identity->profile && scope != PresenceScope::none;
    member->identity = identity;
    if (changed) presence.changed(id, identity->user);
    return changed && !presence.lossy();
  }
  /// Who it was.
  std::shared_ptr<const Identity> remove_member(MemberEntry& member, PresenceScope scope) noexcept
      MUSTER_REQUIRES(mutex) {
    if (scope != PresenceScope::none) presence.left(member.id, member.identity->user);
    return members.remove(member, scope == PresenceScope::shared_rooms);
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
    const std::size_t now_held = history.bytes() + keys.read().bytes();
    account->change(held.exchange(now_held), now_held);
    oldest = (history.empty() ? TimePoint::max() : history.oldest()).time_since_epoch().count();  // keys go last
    count_waiting();
  }
  /// Parts share their entries, and history has the last of them. Called after one of them changed.
  void count_waiting() MUSTER_REQUIRES(mutex) {
    std::size_t most = 0;
    for (const auto& part : parts) most = std::max(most, shared_of(*part).bytes);
    const std::size_t beyond = (most > history.bytes() ? most - history.bytes() : 0) + paced.read().bytes();
    if (beyond == waiting) return;
    account->change_waiting(waiting, beyond);
    waiting = beyond;
  }
  [[nodiscard]] std::size_t member_count() const MUSTER_REQUIRES(mutex) {
    return members.size() + remote_members.read().size();
  }
  /// Who is there, in the order of ids.
  [[nodiscard]] std::vector<Member> list() const MUSTER_REQUIRES(mutex) {
    std::vector<Member> all;
    all.reserve(member_count());
    members.for_each([&](const MemberEntry& member) {
      all.push_back({member.id, member.identity->user, member.identity->profile});
    });
    for (const auto& [id, member] : remote_members.read()) all.push_back(member);
    sort_by_id(all);
    return all;
  }
  /// Those behind `after`, as many as that, in the order of ids; `more` of them there are.
  [[nodiscard]] std::vector<Member> page(ConnectionId after, std::size_t limit, bool& more) const
      MUSTER_REQUIRES(mutex) {
    std::vector<ConnectionId> ids;
    more = false;
    const auto add = [&](ConnectionId id) {
      if (after < id && !keep_first(ids, limit, id, std::less<>())) more = true;
    };
    members.for_each([&](const MemberEntry& member) { add(member.id); });
    for (const auto& member : remote_members.read()) add(member.first);
    std::sort_heap(ids.begin(), ids.end(), std::less<>());
    std::vector<Member> page;
    page.reserve(ids.size());
    for (const ConnectionId id : ids) {
      if (const MemberEntry* const here = members.find(id)) {
        page.push_back({id, here->identity->user, here->identity->profile});
      } else {
        page.push_back(remote_members.read().find(id)->second);
      }
    }
    return page;
  }
  /// The list that a newcomer is told, and is kept informed of if the room `tells` anybody anything. False: it is told
  /// the count.
  [[nodiscard]] bool list_for_newcomer(std::vector<Member>& told, bool tells) MUSTER_REQUIRES(mutex) {
    presence.set_lossy((tells && presence.lossy()) || member_count() > options().presence_list_max);
    if (presence.lossy()) return false;
    told = list();
    presence.list_told();
    return true;
  }
  /// What changed since the last time, as all members are told it. A phase of counts ends with the whole list, not
  /// before the room is well below the bound again. True: a count is not to be told before `counts_due`, unless nobody
  /// `can_wait` for that.
  [[nodiscard]] bool flush_presence(Notice& notice, TimePoint now, bool can_wait) MUSTER_REQUIRES(mutex) {
    notice.member_count = member_count();
    const std::size_t below = options().presence_list_max - options().presence_list_max / 5;
    const bool was_lossy = presence.lossy();
    const bool is_lossy = notice.member_count > (was_lossy ? below : options().presence_list_max);
    presence.set_lossy(is_lossy);
    if (was_lossy && !is_lossy) {
      (void)presence.drop();
      notice.whole = true;
      notice.joined = list();
    } else if (is_lossy) {
      if (can_wait && now < counts_due) return !presence.empty();
      notice.counts_only = presence.drop();
      if (notice.counts_only) counts_due = now + counts_interval;
    } else {
      presence.flush(notice);
      show_profiles(notice.joined);
      show_profiles(notice.changed);
    }
    return false;
  }
  /// Of members, as they are now.
  void show_profiles(std::vector<Member>& shown) const MUSTER_REQUIRES(mutex) {
    for (Member& one : shown) {
      if (const MemberEntry* const here = members.find(one.connection)) {
        one.profile = here->identity->profile;
      } else if (const auto there = remote_members.read().find(one.connection); there != remote_members.read().end()) {
        one.profile = there->second.profile;
      }
    }
  }
  /// What its bound on `latest` lets through now, of what waits; with nobody there to be told, nothing waits.
  [[nodiscard]] std::size_t due_latest(std::size_t rate, TimePoint now) noexcept MUSTER_REQUIRES(mutex) {
    PacedLatest* const those = paced.get();
    if (those == nullptr) return 0;
    const std::size_t due = those->due(rate, options().awareness_interval, now);
    const bool is_idle = those->empty() && those->next() <= now;
    if (!is_idle && loop_of_a_member()) return due;
    paced.drop();
    count_waiting();
    return 0;
  }
  /// When a flush is to be planned for what waits then; nothing: no need, or it is planned.
  [[nodiscard]] std::optional<TimePoint> plan_latest(TimePoint now) noexcept MUSTER_REQUIRES(mutex) {
    PacedLatest* const those = paced.get();
    if (those == nullptr || (those->planned && *those->planned > now)) return std::nullopt;
    those->planned.reset();
    if (!those->empty()) those->planned = std::max(those->next(), now + options().awareness_interval);
    return those->planned;
  }
  /// The flush that this was could not be planned.
  void forget_latest_plan() noexcept MUSTER_REQUIRES(mutex) {
    if (PacedLatest* const those = paced.get()) those->planned.reset();
  }
  /// Null: none of its members has a connection here.
  [[nodiscard]] LoopPtr loop_of_a_member() const MUSTER_REQUIRES(mutex) {
    for (const auto& part : parts) {
      if (shared_of(*part).members != 0) return part->loop;
    }
    return nullptr;
  }
  void set_behind(ConnectionId id, bool is_behind) noexcept MUSTER_REQUIRES(mutex) {
    MemberEntry& member = *members.find(id);
    if (std::exchange(member.behind, is_behind) == is_behind) return;
    behind = is_behind ? behind + 1 : behind - 1;
  }
  /// Of whom `reach` counts, those who are slow.
  [[nodiscard]] std::size_t slow_among(ConnectionId exclude) const MUSTER_REQUIRES(mutex) {
    if (behind == 0 || !exclude) return behind;
    const MemberEntry* const excluded = members.find(exclude);
    return excluded == nullptr || !excluded->behind ? behind : behind - 1;
  }
  /// Members of this process whom a publish that excludes `exclude` goes to: those with a connection.
  [[nodiscard]] std::size_t reach(ConnectionId exclude) const MUSTER_REQUIRES(mutex) {
    std::size_t count = 0;
    for (const auto& part : parts) count += shared_of(*part).members;
    if (!exclude) return count;
    const MemberEntry* const excluded = members.find(exclude);
    return excluded == nullptr || !excluded->connected ? count : count - 1;
  }

 private:
  std::atomic<const RoomOptions*> options_;
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
