// MemoryAwarenessStore: awareness kept in this process.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
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
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "muster/awareness_store.hpp"
#include "muster/config.hpp"
#include "muster/detail/mutex.hpp"
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
  /// `tombstones`: how many removals are remembered, the newest of all rooms; about 250 bytes each.
  explicit MemoryAwarenessStore(std::size_t tombstones = 10'000) : most_tombstones_(tombstones) {}

  [[nodiscard]] AwarenessUpdate set(const RoomKey& room, AwarenessEntry entry, AwarenessLimits limits) override {
    const auto next = std::make_shared<AwarenessEntry>(std::move(entry));
    Shared before;  // destroyed after the section
    const detail::Lock lock(mutex_);
    const auto in = rooms_.find(room);
    if (in != rooms_.end()) {
      if (const auto at = in->second.find(next->client); at != in->second.end()) {
        return replace(at->second, next, limits, before);
      }
    }
    const auto tombstone = tombstones_.find({room, next->client});
    if (tombstone != tombstones_.end()) {
      const Tombstone& removed = tombstone->second;
      if (is_owner(removed.owner, next->owner) && next->clock <= removed.said) {
        return {AwarenessResult::stale, removed.clock};
      }
      next->clock = std::max(next->clock, after(removed.clock));
    }
    if (in != rooms_.end()) {
      if (reached(in->second.size(), limits.per_room)) return {AwarenessResult::too_many, 0};
    }
    if (reached(owned_by(next->owner.connection), limits.per_connection)) return {AwarenessResult::too_many, 0};
    const Place place = by_age_.insert(by_age_.end(), Stored{room, next});
    rooms_[room].emplace(next->client, place);
    owners_[next->owner.connection].insert(&*place);
    sort_by_age(place);
    if (tombstone != tombstones_.end()) tombstones_.erase(tombstone);
    return {AwarenessResult::accepted, next->clock};
  }

  [[nodiscard]] AwarenessUpdate remove(const RoomKey& room, std::string_view client, const AwarenessOwner& owner,
                                       std::uint64_t clock) override {
    Aged removed;
    const detail::Lock lock(mutex_);
    const auto in = rooms_.find(room);
    const auto absent = [&]() -> AwarenessUpdate {
      const auto tombstone = tombstones_.find({room, std::string(client)});
      return {AwarenessResult::stale, tombstone == tombstones_.end() ? 0 : tombstone->second.clock};
    };
    if (in == rooms_.end()) return absent();
    const auto at = in->second.find(client);
    if (at == in->second.end()) return absent();
    const AwarenessEntry& stored = *at->second->entry;
    if (!is_owner(stored.owner, owner) && !takes_over(stored.owner, owner)) {
      return {AwarenessResult::not_owner, stored.clock};
    }
    const std::uint64_t told = std::max(clock, after(stored.clock));
    const std::uint64_t said = std::max(clock, stored.clock);
    take(at->second, removed);
    bury(removed.front(), told, said);
    return {AwarenessResult::accepted, told};
  }

  [[nodiscard]] std::vector<AwarenessRemoval> remove_all_for_connection(ConnectionId owner,
                                                                        const RoomKey& room) override {
    return remove_owned(owner, &room);
  }
  [[nodiscard]] std::vector<AwarenessRemoval> remove_all_for_connection(ConnectionId owner) override {
    return remove_owned(owner, nullptr);
  }

  [[nodiscard]] bool get(const RoomKey& room, std::string_view client, AwarenessEntry& found) const override {
    Shared entry;
    {
      const detail::Lock lock(mutex_);
      const auto in = rooms_.find(room);
      if (in == rooms_.end()) return false;
      const auto at = in->second.find(client);
      if (at == in->second.end()) return false;
      entry = at->second->entry;
    }
    found = *entry;
    return true;
  }

  [[nodiscard]] std::vector<AwarenessEntry> get_all(const RoomKey& room) const override {
    std::vector<Shared> shared;
    {
      const detail::Lock lock(mutex_);
      const auto in = rooms_.find(room);
      if (in == rooms_.end()) return {};
      shared.reserve(in->second.size());
      for (const auto& entry : in->second) shared.push_back(entry.second->entry);
    }
    std::vector<AwarenessEntry> entries;
    entries.reserve(shared.size());
    for (const Shared& entry : shared) entries.push_back(*entry);
    return entries;
  }

  [[nodiscard]] std::vector<AwarenessRemoval> expire(TimePoint refreshed_before) override {
    Aged expired;
    {
      const detail::Lock lock(mutex_);
      while (!by_age_.empty() && by_age_.front().entry->refreshed_at <= refreshed_before) {
        take(by_age_.begin(), expired);
        bury(expired.back());
      }
    }
    expired.sort(ByKey{});
    return removals(expired);
  }

  [[nodiscard]] std::size_t size() const override {
    const detail::Lock lock(mutex_);
    return by_age_.size();
  }

 private:
  using Shared = std::shared_ptr<const AwarenessEntry>;
  struct Stored {
    RoomKey room;
    Shared entry;
  };
  struct ByKey {
    bool operator()(const Stored& a, const Stored& b) const {
      return std::tie(a.room, a.entry->client) < std::tie(b.room, b.entry->client);
    }
    bool operator()(const Stored* a, const Stored* b) const { return (*this)(*a, *b); }
  };
  /// From the least to the most recently refreshed.
  using Aged = std::list<Stored>;
  using Place = Aged::iterator;

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

  // All below: locked, but for `removals`.

  [[nodiscard]] std::size_t owned_by(ConnectionId owner) const {
    const auto owned = owners_.find(owner);
    return owned == owners_.end() ? 0 : owned->second.size();
  }

  [[nodiscard]] AwarenessUpdate replace(Place place, const std::shared_ptr<AwarenessEntry>& next,
                                        AwarenessLimits limits, Shared& before) {
    const AwarenessEntry& stored = *place->entry;
    if (is_owner(stored.owner, next->owner)) {
      if (next->clock <= stored.clock) return {AwarenessResult::stale, stored.clock};
    } else if (!takes_over(stored.owner, next->owner)) {
      return {AwarenessResult::not_owner, stored.clock};
    } else if (stored.owner.connection != next->owner.connection &&
               reached(owned_by(next->owner.connection), limits.per_connection)) {
      return {AwarenessResult::too_many, stored.clock};
    } else {
      next->clock = std::max(next->clock, after(stored.clock));
      disown(*place);
      owners_[next->owner.connection].insert(&*place);
    }
    before = std::exchange(place->entry, next);
    sort_by_age(place);
    return {AwarenessResult::accepted, next->clock};
  }

  // Clocks of several executors differ by little, so the right neighbour is near the end.
  void sort_by_age(Place place) {
    auto at = by_age_.end();
    while (at != by_age_.begin()) {
      const auto previous = std::prev(at);
      if (previous != place && previous->entry->refreshed_at <= place->entry->refreshed_at) break;
      at = previous;
    }
    if (at != place) by_age_.splice(at, by_age_, place);
  }

  void disown(const Stored& stored) {
    const auto owned = owners_.find(stored.entry->owner.connection);
    owned->second.erase(&stored);
    if (owned->second.empty()) owners_.erase(owned);
  }

  void take(Place place, Aged& taken) {
    disown(*place);
    const auto in = rooms_.find(place->room);
    in->second.erase(place->entry->client);
    if (in->second.empty()) rooms_.erase(in);
    taken.splice(taken.end(), by_age_, place);
  }

  [[nodiscard]] std::vector<AwarenessRemoval> remove_owned(ConnectionId owner, const RoomKey* room) {
    Aged taken;
    {
      const detail::Lock lock(mutex_);
      const auto owned = owners_.find(owner);
      if (owned == owners_.end()) return {};
      std::vector<Place> places;
      for (const Stored* stored : owned->second) {
        if (room == nullptr || stored->room == *room) {
          places.push_back(rooms_.find(stored->room)->second.find(stored->entry->client)->second);
        }
      }
      for (const Place place : places) {
        take(place, taken);
        bury(taken.back());
      }
    }
    return removals(taken);
  }

  /// Remembers a removal at `clock`, of what its owner last changed at `said`.
  void bury(const Stored& stored, std::uint64_t clock, std::uint64_t said) noexcept {
    if (most_tombstones_ == 0) return;
    try {
      const std::pair<RoomKey, std::string> key{stored.room, stored.entry->client};
      buried_.emplace_back(++burials_, key);
      tombstones_.insert_or_assign(key, Tombstone{stored.entry->owner, clock, said, burials_});
    } catch (const std::bad_alloc&) {  // then it is not remembered
    }
    while (buried_.size() > most_tombstones_) {
      const auto oldest = tombstones_.find(buried_.front().second);
      if (oldest != tombstones_.end() && oldest->second.number == buried_.front().first) tombstones_.erase(oldest);
      buried_.pop_front();
    }
  }
  void bury(const Stored& stored) noexcept { bury(stored, after(stored.entry->clock), stored.entry->clock); }

  static std::vector<AwarenessRemoval> removals(const Aged& taken) {
    std::vector<AwarenessRemoval> told;
    told.reserve(taken.size());
    for (const Stored& stored : taken) {
      told.push_back({stored.room, stored.entry->client, after(stored.entry->clock), stored.entry->owner});
    }
    return told;
  }

  struct Tombstone {
    AwarenessOwner owner;
    std::uint64_t clock;
    std::uint64_t said;
    std::uint64_t number;  ///< in `buried_`
  };

  const std::size_t most_tombstones_;
  mutable detail::Mutex mutex_;
  std::map<std::pair<RoomKey, std::string>, Tombstone> tombstones_;
  std::deque<std::pair<std::uint64_t, std::pair<RoomKey, std::string>>> buried_;  ///< the oldest first
  std::uint64_t burials_ = 0;
  Aged by_age_;
  std::unordered_map<RoomKey, std::map<std::string, Place, std::less<>>> rooms_;
  std::unordered_map<ConnectionId, std::set<const Stored*, ByKey>> owners_;
};

}  // namespace MUSTER_ABI
}  // namespace muster
