// A naive AwarenessStore, and random operations that a store must answer as the naive one does.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "contract/awareness_store_contract.hpp"

namespace muster::test {

/// The same promises, kept in the simplest way: a list that is searched.
class NaiveAwarenessStore final : public AwarenessStore {
 public:
  [[nodiscard]] AwarenessUpdate set(const RoomKey& room, AwarenessEntry entry, AwarenessLimits limits) override {
    std::size_t in_room = 0;
    std::size_t of_connection = 0;
    AwarenessEntry* stored = nullptr;
    for (auto& [key, one] : entries_) {
      if (key.first == room) ++in_room;
      if (one.owner.connection == entry.owner.connection) ++of_connection;
      if (key == std::pair(room, entry.client)) stored = &one;
    }
    const auto removed = removals_.find({room, entry.client});
    if (stored == nullptr) {
      if (removed != removals_.end()) {
        const auto& [owner, clock, said] = removed->second;
        if (owner.user == entry.owner.user && owner.connection == entry.owner.connection &&
            owner.order == entry.owner.order && entry.clock <= said) {
          return {AwarenessResult::stale, clock};
        }
        entry.clock = std::max(entry.clock, clock + 1);
      }
      if (limits.per_room != 0 && in_room + 1 > limits.per_room) return {AwarenessResult::too_many, 0};
      if (limits.per_connection != 0 && of_connection + 1 > limits.per_connection) {
        return {AwarenessResult::too_many, 0};
      }
    } else if (stored->owner.user != entry.owner.user) {
      return {AwarenessResult::not_owner, stored->clock};
    } else if (stored->owner.connection == entry.owner.connection) {
      if (entry.clock <= stored->clock) return {AwarenessResult::stale, stored->clock};
    } else if (entry.owner.order <= stored->owner.order) {
      return {AwarenessResult::not_owner, stored->clock};
    } else {
      if (limits.per_connection != 0 && of_connection + 1 > limits.per_connection) {
        return {AwarenessResult::too_many, stored->clock};
      }
      entry.clock = std::max(entry.clock, stored->clock + 1);
    }
    const std::uint64_t clock = entry.clock;
    const std::string client = entry.client;
    entries_[{room, client}] = std::move(entry);
    removals_.erase({room, client});
    return {AwarenessResult::accepted, clock};
  }
  [[nodiscard]] AwarenessUpdate judge(const RoomKey& room, std::string_view client, const AwarenessOwner& owner,
                                      std::uint64_t clock) const override {
    NaiveAwarenessStore copy = *this;
    return copy.set(room, {std::string(client), owner, clock, {}, {}}, {});
  }
  [[nodiscard]] AwarenessUpdate remove(const RoomKey& room, std::string_view client, const AwarenessOwner& owner,
                                       std::uint64_t clock) override {
    const auto at = entries_.find({room, std::string(client)});
    if (at == entries_.end()) {
      const auto removed = removals_.find({room, std::string(client)});
      return {AwarenessResult::stale, removed == removals_.end() ? 0 : std::get<1>(removed->second)};
    }
    const AwarenessEntry stored = at->second;
    const bool may = stored.owner.user == owner.user &&
                     (stored.owner.connection == owner.connection || owner.order > stored.owner.order);
    if (!may) return {AwarenessResult::not_owner, stored.clock};
    entries_.erase(at);
    const std::uint64_t told = std::max(clock, stored.clock + 1);
    removals_.insert_or_assign({room, stored.client}, Removed{stored.owner, told, std::max(clock, stored.clock)});
    return {AwarenessResult::accepted, told};
  }
  [[nodiscard]] std::vector<AwarenessRemoval> remove_all_for_connection(ConnectionId owner,
                                                                        const RoomKey& room) override {
    return remove_if([&](const auto& one) { return one.first.first == room && one.second.owner.connection == owner; });
  }
  [[nodiscard]] std::vector<AwarenessRemoval> remove_all_for_connection(ConnectionId owner) override {
    return remove_if([&](const auto& one) { return one.second.owner.connection == owner; });
  }
  bool forget(const RoomKey& room, std::string_view client) override {
    const std::pair key(room, std::string(client));
    return entries_.erase(key) + removals_.erase(key) != 0;
  }
  [[nodiscard]] bool get(const RoomKey& room, std::string_view client, AwarenessEntry& found) const override {
    const auto at = entries_.find({room, std::string(client)});
    if (at != entries_.end()) found = at->second;
    return at != entries_.end();
  }
  [[nodiscard]] std::vector<AwarenessEntry> get_all(const RoomKey& room) const override {
    std::vector<AwarenessEntry> all;
    for (const auto& [key, one] : entries_) {
      if (key.first == room) all.push_back(one);
    }
    return all;
  }
  [[nodiscard]] std::vector<AwarenessRemoval> expire(TimePoint refreshed_before) override {
    return remove_if([&](const auto& one) { return one.second.refreshed_at <= refreshed_before; });
  }
  [[nodiscard]] std::size_t size() const override { return entries_.size(); }

 private:
  using Entries = std::map<std::pair<RoomKey, std::string>, AwarenessEntry>;
  template <class Condition>
  std::vector<AwarenessRemoval> remove_if(Condition condition) {
    std::vector<AwarenessRemoval> removals;
    for (auto at = entries_.begin(); at != entries_.end();) {
      if (condition(*at)) {
        removals.push_back({at->first.first, at->first.second, at->second.clock + 1, at->second.owner});
        removals_.insert_or_assign(at->first, Removed{at->second.owner, at->second.clock + 1, at->second.clock});
        at = entries_.erase(at);
      } else {
        ++at;
      }
    }
    return removals;
  }
  Entries entries_;
  using Removed = std::tuple<AwarenessOwner, std::uint64_t, std::uint64_t>;  ///< whose, told at, last changed by it at
  std::map<std::pair<RoomKey, std::string>, Removed> removals_;
};

/// Random operations on a few rooms, clients and connections: every answer is the naive store's.
inline void awareness_store_against_model(const MakeAwarenessStore& make, std::uint64_t seed, int operations) {
  using namespace awareness;
  const auto store = make();
  NaiveAwarenessStore model;
  std::mt19937_64 random(seed);
  const auto upto = [&random](std::uint64_t n) { return random() % n; };
  const auto same = [](const AwarenessEntry& a, const AwarenessEntry& b) {
    return a.client == b.client && a.owner.user == b.owner.user && a.owner.connection == b.owner.connection &&
           a.owner.order == b.owner.order && a.clock == b.clock && a.state.view() == b.state.view() &&
           a.refreshed_at == b.refreshed_at;
  };
  INFO("seed " << seed);
  for (int i = 0; i < operations; ++i) {
    const RoomKey where{upto(2) == 0 ? "acme" : "globex", "room:" + std::to_string(upto(3))};
    const std::string client = "c" + std::to_string(upto(6));
    const std::uint64_t connection = 1 + upto(8);
    // Two connections of each user; which is the newer one differs from the order of the ids.
    const AwarenessOwner who = owner("user" + std::to_string(connection % 4), connection, (connection * 5) % 9);
    const AwarenessLimits limits{4 * upto(2), 3 * upto(2)};
    const auto when = at(i / 50 + static_cast<int>(upto(20)));
    bool right = true;
    const std::uint64_t judged = upto(9);
    const auto theirs = model.judge(where, client, who, judged);
    const auto its = store->judge(where, client, who, judged);
    REQUIRE((its.result == theirs.result && its.clock == theirs.clock));
    switch (upto(12)) {
      case 0:
        right = told(store->remove_all_for_connection(who.connection)) ==
                told(model.remove_all_for_connection(who.connection));
        break;
      case 1:
        right = told(store->remove_all_for_connection(who.connection, where)) ==
                told(model.remove_all_for_connection(who.connection, where));
        break;
      case 2:
        if (upto(10) == 0) right = told(store->expire(when)) == told(model.expire(when));
        break;
      case 3:
      case 4: {
        const std::uint64_t clock = upto(20);
        const auto expected = model.remove(where, client, who, clock);
        right = is(store->remove(where, client, who, clock), expected.result, expected.clock);
        break;
      }
      case 5: {
        AwarenessEntry mine;
        AwarenessEntry expected;
        const bool there = model.get(where, client, expected);
        right = store->get(where, client, mine) == there && (!there || same(mine, expected));
        break;
      }
      case 6: {
        const auto mine = store->get_all(where);
        const auto expected = model.get_all(where);
        right = mine.size() == expected.size() && std::equal(mine.begin(), mine.end(), expected.begin(), same);
        break;
      }
      case 7:
        right = store->forget(where, client) == model.forget(where, client);
        break;
      default: {
        const auto next = entry(client, who, upto(20), std::to_string(i), when);
        const auto expected = model.set(where, next, limits);
        right = is(store->set(where, next, limits), expected.result, expected.clock);
      }
    }
    if (!right || store->size() != model.size()) FAIL("operation " << i << " differs from the naive store");
  }
  SUCCEED("every answer was the naive store's");
}

}  // namespace muster::test
