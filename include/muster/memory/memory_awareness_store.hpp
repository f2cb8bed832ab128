// MemoryAwarenessStore: awareness kept in this process.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "muster/awareness_store.hpp"
#include "muster/config.hpp"
#include "muster/core/base/mutex.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// An AwarenessStore in memory. A take-over counts against the new owner's limit; what `remove_all_for_connection` and
/// `expire` return is in the order of rooms and client ids. Clocks end at 2^64 - 1 and do not wrap.
///
/// One mutex: what limits and ownership compare may lie in different rooms. Sections are short all the same: entries
/// are immutable and copied outside, and the entries of one age are neighbours, so nothing searches the whole store.
class MemoryAwarenessStore final : public AwarenessStore {
 public:
  /// `remembered`: removals of which the clock is remembered, the newest of all rooms; at most about 500 bytes each.
  explicit MemoryAwarenessStore(std::size_t remembered = 10'000) : remembered_(remembered) {}

  [[nodiscard]] AwarenessUpdate set(const RoomKey& room, AwarenessEntry entry, AwarenessLimits limits) override {
    const auto next = std::make_shared<AwarenessEntry>(std::move(entry));
    Shared before;  // destroyed after the section
    const core::Lock lock(mutex_);
    const auto in = rooms_.find(room);
    const Place* known = in == rooms_.end() ? nullptr : find(in->second, next->client);
    if (known != nullptr) {
      const AwarenessUpdate update = judge(**known, next->owner, next->clock);
      if (update.result != AwarenessResult::accepted) return update;
      next->clock = update.clock;
    }
    const bool is_new = known == nullptr || (*known)->removed_at != 0;
    if (is_new && in != rooms_.end() && reached(in->second.live, limits.per_room))
      return {AwarenessResult::too_many, 0};
    const bool changes_hands = is_new || (*known)->entry->owner.connection != next->owner.connection;
    if (changes_hands && reached(owned_by(next->owner.connection), limits.per_connection)) {
      return {AwarenessResult::too_many, is_new ? 0 : (*known)->entry->clock};
    }
    // What needs memory comes first, and leaves nothing where it finds none.
    Place place;
    InRoom* there = in == rooms_.end() ? nullptr : &in->second;
    if (known == nullptr) {
      Aged fresh(1, Stored{room, next});
      place = fresh.begin();
      if (there == nullptr) there = &rooms_[room];
      try {
        there->places.emplace(next->client, place);
        own(next->owner.connection, *place);
      } catch (...) {
        there->places.erase(next->client);
        if (there->places.empty()) rooms_.erase(room);
        throw;
      }
      by_age_.splice(by_age_.end(), fresh);
    } else {
      place = *known;
      if (changes_hands) own(next->owner.connection, *place);
      if (changes_hands && !is_new) disown(place->entry->owner.connection, *place);
      before = std::exchange(place->entry, next);
      if (is_new) by_age_.splice(by_age_.end(), removed_, place);
      place->removed_at = 0;
    }
    if (is_new) ++there->live;
    sort_by_age(place);
    return {AwarenessResult::accepted, next->clock};
  }

  [[nodiscard]] AwarenessUpdate judge(const RoomKey& room, std::string_view client, const AwarenessOwner& owner,
                                      std::uint64_t clock) const override {
    const core::Lock lock(mutex_);
    const auto in = rooms_.find(room);
    const Place* known = in == rooms_.end() ? nullptr : find(in->second, client);
    return known == nullptr ? AwarenessUpdate{AwarenessResult::accepted, clock} : judge(**known, owner, clock);
  }

  [[nodiscard]] AwarenessUpdate remove(const RoomKey& room, std::string_view client, const AwarenessOwner& owner,
                                       std::uint64_t clock) override {
    Aged forgotten;
    const core::Lock lock(mutex_);
    const auto in = rooms_.find(room);
    const Place* known = in == rooms_.end() ? nullptr : find(in->second, client);
    if (known == nullptr) return {AwarenessResult::stale, 0};
    Stored& stored = **known;
    if (stored.removed_at != 0) return {AwarenessResult::stale, stored.removed_at};
    if (!is_owner(stored.entry->owner, owner) && !takes_over(stored.entry->owner, owner)) {
      return {AwarenessResult::not_owner, stored.entry->clock};
    }
    const std::uint64_t told = std::max(clock, after(stored.entry->clock));
    remember_removal(*known, told, std::max(clock, stored.entry->clock), forgotten);
    return {AwarenessResult::accepted, told};
  }

  [[nodiscard]] std::vector<AwarenessRemoval> remove_all_for_connection(ConnectionId owner,
                                                                        const RoomKey& room) override {
    return remove_owned(owner, &room);
  }
  [[nodiscard]] std::vector<AwarenessRemoval> remove_all_for_connection(ConnectionId owner) override {
    return remove_owned(owner, nullptr);
  }

  bool forget(const RoomKey& room, std::string_view client) override {
    Aged forgotten;
    const core::Lock lock(mutex_);
    const auto in = rooms_.find(room);
    const Place* known = in == rooms_.end() ? nullptr : find(in->second, client);
    if (known == nullptr) return false;
    const Place place = *known;
    const bool is_there = place->removed_at == 0;
    if (is_there) disown(place->entry->owner.connection, *place);
    if (is_there) --in->second.live;
    forgotten.splice(forgotten.end(), is_there ? by_age_ : removed_, place);
    drop(in, client);
    return true;
  }

  [[nodiscard]] bool get(const RoomKey& room, std::string_view client, AwarenessEntry& found) const override {
    Shared entry;
    {
      const core::Lock lock(mutex_);
      const auto in = rooms_.find(room);
      const Place* known = in == rooms_.end() ? nullptr : find(in->second, client);
      if (known == nullptr || (*known)->removed_at != 0) return false;
      entry = (*known)->entry;
    }
    found = *entry;
    return true;
  }

  [[nodiscard]] std::vector<AwarenessEntry> get_all(const RoomKey& room) const override {
    std::vector<Shared> shared;
    {
      const core::Lock lock(mutex_);
      const auto in = rooms_.find(room);
      if (in == rooms_.end()) return {};
      shared.reserve(in->second.live);
      for (const auto& [client, place] : in->second.places) {
        if (place->removed_at == 0) shared.push_back(place->entry);
      }
    }
    std::vector<AwarenessEntry> entries;
    entries.reserve(shared.size());
    for (const Shared& entry : shared) entries.push_back(*entry);
    return entries;
  }

  [[nodiscard]] std::vector<AwarenessRemoval> expire(TimePoint refreshed_before) override {
    Aged forgotten;
    std::vector<AwarenessRemoval> expired;
    {
      const core::Lock lock(mutex_);
      for (const Stored& stored : by_age_) {
        if (stored.entry->refreshed_at > refreshed_before) break;
        expired.push_back(removal_of(stored));
      }
      for (const AwarenessRemoval& told : expired) remove_now(by_age_.begin(), told.clock, forgotten);
    }
    std::sort(expired.begin(), expired.end(), [](const AwarenessRemoval& a, const AwarenessRemoval& b) {
      return a.room != b.room ? a.room < b.room : a.client < b.client;
    });
    return expired;
  }

  [[nodiscard]] std::size_t size() const override {
    const core::Lock lock(mutex_);
    return by_age_.size();
  }

 private:
  using Shared = std::shared_ptr<const AwarenessEntry>;
  /// An entry, or what is remembered of one that was removed.
  struct Stored {
    RoomKey room;
    Shared entry;
    std::uint64_t removed_at = 0;  ///< the clock that others were told; 0: it is there
    std::uint64_t said = 0;        ///< if removed: the newest clock that its owner has used
  };
  struct ByKey {
    bool operator()(const Stored* a, const Stored* b) const {
      return a->room != b->room ? a->room < b->room : a->entry->client < b->entry->client;
    }
  };
  using Aged = std::list<Stored>;
  using Place = Aged::iterator;
  struct InRoom {
    std::map<std::string, Place, std::less<>> places;  ///< of removed ones, too
    std::size_t live = 0;
  };

  static bool reached(std::size_t count, std::size_t limit) { return limit != 0 && count >= limit; }
  static std::uint64_t after(std::uint64_t clock) {
    return clock == std::numeric_limits<std::uint64_t>::max() ? clock : clock + 1;
  }
  static bool is_owner(const AwarenessOwner& stored, const AwarenessOwner& owner) {
    return stored.user == owner.user && stored.connection == owner.connection && stored.order == owner.order;
  }
  static bool takes_over(const AwarenessOwner& stored, const AwarenessOwner& owner) {
    return stored.user == owner.user && owner.order > stored.order;
  }
  static const Place* find(const InRoom& in, std::string_view client) {
    const auto at = in.places.find(client);
    return at == in.places.end() ? nullptr : &at->second;
  }
  [[nodiscard]] static AwarenessUpdate judge(const Stored& stored, const AwarenessOwner& owner, std::uint64_t clock) {
    const AwarenessEntry& entry = *stored.entry;
    if (stored.removed_at != 0) {
      if (is_owner(entry.owner, owner) && clock <= stored.said) return {AwarenessResult::stale, stored.removed_at};
      return {AwarenessResult::accepted, std::max(clock, after(stored.removed_at))};
    }
    if (is_owner(entry.owner, owner)) {
      if (clock <= entry.clock) return {AwarenessResult::stale, entry.clock};
      return {AwarenessResult::accepted, clock};
    }
    if (!takes_over(entry.owner, owner)) return {AwarenessResult::not_owner, entry.clock};
    return {AwarenessResult::accepted, std::max(clock, after(entry.clock))};
  }

  [[nodiscard]] std::size_t owned_by(ConnectionId owner) const MUSTER_REQUIRES(mutex_) {
    const auto owned = owners_.find(owner);
    return owned == owners_.end() ? 0 : owned->second.size();
  }

  // Clocks of several executors differ by little, so the right neighbour is near the end.
  void sort_by_age(Place place) MUSTER_REQUIRES(mutex_) {
    auto at = by_age_.end();
    while (at != by_age_.begin()) {
      const auto previous = std::prev(at);
      if (previous != place && previous->entry->refreshed_at <= place->entry->refreshed_at) break;
      at = previous;
    }
    if (at != place) by_age_.splice(at, by_age_, place);
  }

  void own(ConnectionId owner, const Stored& stored) MUSTER_REQUIRES(mutex_) {
    auto& owned = owners_[owner];
    try {
      owned.insert(&stored);
    } catch (...) {
      if (owned.empty()) owners_.erase(owner);
      throw;
    }
  }
  void disown(ConnectionId owner, const Stored& stored) MUSTER_REQUIRES(mutex_) {
    const auto owned = owners_.find(owner);
    owned->second.erase(&stored);
    if (owned->second.empty()) owners_.erase(owned);
  }

  /// Takes an entry out; its place remembers that. What is remembered no longer goes to `forgotten`.
  void remember_removal(Place place, std::uint64_t removed_at, std::uint64_t said, Aged& forgotten)
      MUSTER_REQUIRES(mutex_) {
    disown(place->entry->owner.connection, *place);
    --rooms_.find(place->room)->second.live;
    place->removed_at = std::max<std::uint64_t>(removed_at, 1);
    place->said = said;
    removed_.splice(removed_.end(), by_age_, place);
    if (place->entry->state.view().size() > small_state) strip(*place);
    while (removed_.size() > remembered_) {
      drop(rooms_.find(removed_.front().room), removed_.front().entry->client);
      forgotten.splice(forgotten.end(), removed_, removed_.begin());
    }
  }
  void drop(std::unordered_map<RoomKey, InRoom>::iterator in, std::string_view client) MUSTER_REQUIRES(mutex_) {
    in->second.places.erase(in->second.places.find(client));
    if (in->second.places.empty()) rooms_.erase(in);
  }
  /// A state that nobody is told any more need not be kept.
  static void strip(Stored& stored) {
    try {
      const AwarenessEntry& whole = *stored.entry;
      stored.entry = std::make_shared<AwarenessEntry>(AwarenessEntry{whole.client, whole.owner, whole.clock, {}, {}});
    } catch (const std::bad_alloc&) {  // it is kept then
    }
  }
  [[nodiscard]] static AwarenessRemoval removal_of(const Stored& stored) {
    const AwarenessEntry& entry = *stored.entry;
    return {stored.room, entry.client, after(entry.clock), entry.owner};
  }
  void remove_now(Place place, std::uint64_t told, Aged& forgotten) MUSTER_REQUIRES(mutex_) {
    const std::uint64_t said = place->entry->clock;
    remember_removal(place, told, said, forgotten);
  }

  [[nodiscard]] std::vector<AwarenessRemoval> remove_owned(ConnectionId owner, const RoomKey* room) {
    Aged forgotten;
    std::vector<AwarenessRemoval> removed;
    const core::Lock lock(mutex_);
    const auto owned = owners_.find(owner);
    if (owned == owners_.end()) return {};
    removed.reserve(owned->second.size());
    for (const Stored* stored : owned->second) {
      if (room == nullptr || stored->room == *room) removed.push_back(removal_of(*stored));
    }
    for (const AwarenessRemoval& told : removed) {
      remove_now(*find(rooms_.find(told.room)->second, told.client), told.clock, forgotten);
    }
    return removed;
  }

  static constexpr std::size_t small_state = 256;

  const std::size_t remembered_;
  mutable core::Mutex mutex_;
  Aged by_age_ MUSTER_GUARDED_BY(mutex_);   ///< from the least to the most recently refreshed
  Aged removed_ MUSTER_GUARDED_BY(mutex_);  ///< from the first to the last removed
  std::unordered_map<RoomKey, InRoom> rooms_ MUSTER_GUARDED_BY(mutex_);
  std::unordered_map<ConnectionId, std::set<const Stored*, ByKey>> owners_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace MUSTER_ABI
}  // namespace muster
