// What every AwarenessStore promises, as checks that any implementation can be run through.
//
//   TEST_CASE("MyStore is an awareness store", "[contract][awareness]") {
//     muster::test::awareness_store_contract([] { return std::make_unique<MyStore>(); });
//   }
//
// and, for what single examples do not find, in test cases of their own:
//
//   muster::test::awareness_store_against_model(make, seed, 100'000);   // random operations against a naive store
//   muster::test::awareness_store_under_threads(make);                  // limits and ownership when threads race
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "muster/awareness_store.hpp"
#include "support/catch.hpp"

namespace muster::test {

using MakeAwarenessStore = std::function<std::unique_ptr<AwarenessStore>()>;

namespace awareness {

inline constexpr AwarenessLimits no_limits{};
inline const RoomKey room{"acme", "canvas:1"};

inline TimePoint at(int seconds) { return TimePoint{} + std::chrono::seconds(seconds); }
inline AwarenessOwner owner(const std::string& user, std::uint64_t connection, std::uint64_t order) {
  return {user, ConnectionId(connection), order};
}
inline AwarenessEntry entry(const std::string& client, const AwarenessOwner& whose, std::uint64_t clock,
                            const std::string& state = "{}", TimePoint refreshed_at = at(0)) {
  return {client, whose, clock, json(state), refreshed_at};
}
inline bool is(AwarenessUpdate update, AwarenessResult result, std::uint64_t clock) {
  return update.result == result && update.clock == clock;
}
using Told = std::vector<std::tuple<std::string, std::string, std::uint64_t, std::string, std::uint64_t>>;
/// Removals in a comparable form and order, as room, client, clock, user and connection; a store may tell them in any
/// order.
inline Told told(const std::vector<AwarenessRemoval>& removals) {
  Told comparable;
  for (const auto& one : removals) {
    comparable.emplace_back(one.room.tenant + "/" + one.room.name, one.client, one.clock, one.owner.user,
                            one.owner.connection.value());
  }
  std::sort(comparable.begin(), comparable.end());
  return comparable;
}
inline std::vector<std::string> clients(const std::vector<AwarenessEntry>& entries) {
  std::vector<std::string> ids;
  for (const auto& one : entries) ids.push_back(one.client);
  return ids;
}

}  // namespace awareness

inline void awareness_store_contract(const MakeAwarenessStore& make) {
  using namespace awareness;
  using Result = AwarenessResult;
  using Strings = std::vector<std::string>;
  const auto store = make();
  const AwarenessOwner ann = owner("ann", 1, 10);
  const AwarenessOwner ann_newer = owner("ann", 2, 20);
  const AwarenessOwner bob = owner("bob", 3, 30);
  AwarenessEntry found;

  SECTION("an empty store knows nobody, and looking creates nothing") {
    CHECK_FALSE(store->get(room, "c", found));
    CHECK(store->get_all(room).empty());
    CHECK(store->remove_all_for_connection(ConnectionId(1)).empty());
    CHECK(store->remove_all_for_connection(ConnectionId(1), room).empty());
    CHECK(store->expire(at(1000)).empty());
    CHECK(is(store->remove(room, "c", ann, 5), Result::stale, 0));
    CHECK(store->size() == 0);
  }

  SECTION("a client id nobody holds goes to the first who sets it, at the clock it comes with") {
    CHECK(is(store->set(room, entry("c", ann, 7, R"({"x":1})", at(3)), no_limits), Result::accepted, 7));
    REQUIRE(store->get(room, "c", found));
    CHECK(found.client == "c");
    CHECK(found.owner.user == "ann");
    CHECK(found.owner.connection == ConnectionId(1));
    CHECK(found.owner.order == 10);
    CHECK(found.clock == 7);
    CHECK(found.state.view() == R"({"x":1})");
    CHECK(found.refreshed_at == at(3));
    CHECK(store->size() == 1);
    CHECK(is(store->set(room, entry("zero", bob, 0), no_limits), Result::accepted, 0));
  }

  SECTION("what is not newer is stale, and changes nothing") {
    REQUIRE(is(store->set(room, entry("c", ann, 7, "1", at(1)), no_limits), Result::accepted, 7));
    CHECK(is(store->set(room, entry("c", ann, 7, "2", at(2)), no_limits), Result::stale, 7));
    CHECK(is(store->set(room, entry("c", ann, 6, "2", at(2)), no_limits), Result::stale, 7));
    REQUIRE(store->get(room, "c", found));
    CHECK(found.state.view() == "1");
    CHECK(found.refreshed_at == at(1));
    CHECK(is(store->set(room, entry("c", ann, 8, "2", at(2)), no_limits), Result::accepted, 8));
    REQUIRE(store->get(room, "c", found));
    CHECK(found.state.view() == "2");
    CHECK(found.clock == 8);
    CHECK(found.refreshed_at == at(2));
    CHECK(store->size() == 1);
  }

  SECTION("another user neither writes nor removes") {
    REQUIRE(is(store->set(room, entry("c", ann, 7, "1"), no_limits), Result::accepted, 7));
    CHECK(is(store->set(room, entry("c", bob, 100, "2"), no_limits), Result::not_owner, 7));
    CHECK(is(store->remove(room, "c", bob, 100), Result::not_owner, 7));
    REQUIRE(store->get(room, "c", found));
    CHECK(found.owner.user == "ann");
    CHECK(found.state.view() == "1");
  }

  SECTION("a newer connection of the same user takes over, at max(clock, stored + 1)") {
    REQUIRE(is(store->set(room, entry("c", ann, 7), no_limits), Result::accepted, 7));
    SECTION("with an older clock: the stored one counts on") {
      CHECK(is(store->set(room, entry("c", ann_newer, 1, "2"), no_limits), Result::accepted, 8));
    }
    SECTION("with the same clock") {
      CHECK(is(store->set(room, entry("c", ann_newer, 7, "2"), no_limits), Result::accepted, 8));
    }
    SECTION("with a newer clock: that one") {
      CHECK(is(store->set(room, entry("c", ann_newer, 50, "2"), no_limits), Result::accepted, 50));
    }
    REQUIRE(store->get(room, "c", found));
    CHECK(found.owner.connection == ConnectionId(2));
    CHECK(found.owner.order == 20);
    CHECK(found.state.view() == "2");
    CHECK(found.clock >= 8);
    // From now on the older one has no say, and its exit says nothing.
    CHECK(is(store->set(room, entry("c", ann, 100), no_limits), Result::not_owner, found.clock));
    CHECK(is(store->remove(room, "c", ann, 100), Result::not_owner, found.clock));
    CHECK(store->remove_all_for_connection(ConnectionId(1)).empty());
    CHECK(store->remove_all_for_connection(ConnectionId(1), room).empty());
    CHECK(store->get(room, "c", found));
    CHECK(told(store->remove_all_for_connection(ConnectionId(2))) ==
          Told{{"acme/canvas:1", "c", found.clock + 1, "ann", 2}});
  }

  SECTION("a connection that is not newer does not take over") {
    REQUIRE(is(store->set(room, entry("c", ann, 7), no_limits), Result::accepted, 7));
    CHECK(is(store->set(room, entry("c", owner("ann", 9, 10), 100), no_limits), Result::not_owner, 7));
    CHECK(is(store->set(room, entry("c", owner("ann", 9, 9), 100), no_limits), Result::not_owner, 7));
  }

  SECTION("a removal is told at max(clock, stored + 1)") {
    REQUIRE(is(store->set(room, entry("c", ann, 7), no_limits), Result::accepted, 7));
    SECTION("with an older clock") { CHECK(is(store->remove(room, "c", ann, 0), Result::accepted, 8)); }
    SECTION("with a newer clock") { CHECK(is(store->remove(room, "c", ann, 12), Result::accepted, 12)); }
    SECTION("by a newer connection of the user") {
      CHECK(is(store->remove(room, "c", ann_newer, 7), Result::accepted, 8));
    }
    CHECK_FALSE(store->get(room, "c", found));
    CHECK(store->size() == 0);
    CHECK(is(store->remove(room, "c", ann, 100), Result::stale, 0));
    CHECK(store->remove_all_for_connection(ConnectionId(1)).empty());
    CHECK(is(store->set(room, entry("c", bob, 1), no_limits), Result::accepted, 1));
  }

  SECTION("a connection's exit removes what it owns, and nothing else, once") {
    const RoomKey other{"acme", "canvas:2"};
    REQUIRE(is(store->set(room, entry("c1", ann, 1), no_limits), Result::accepted, 1));
    REQUIRE(is(store->set(room, entry("c2", ann, 5), no_limits), Result::accepted, 5));
    REQUIRE(is(store->set(room, entry("d", bob, 6), no_limits), Result::accepted, 6));
    REQUIRE(is(store->set(other, entry("c1", ann, 9), no_limits), Result::accepted, 9));
    SECTION("in one room") {
      CHECK(told(store->remove_all_for_connection(ConnectionId(1), room)) ==
            Told{{"acme/canvas:1", "c1", 2, "ann", 1}, {"acme/canvas:1", "c2", 6, "ann", 1}});
      CHECK(store->remove_all_for_connection(ConnectionId(1), room).empty());
      CHECK(clients(store->get_all(room)) == Strings{"d"});
      CHECK(clients(store->get_all(other)) == Strings{"c1"});
      CHECK(told(store->remove_all_for_connection(ConnectionId(1))) == Told{{"acme/canvas:2", "c1", 10, "ann", 1}});
    }
    SECTION("everywhere") {
      CHECK(told(store->remove_all_for_connection(ConnectionId(1))) == Told{{"acme/canvas:1", "c1", 2, "ann", 1},
                                                                            {"acme/canvas:1", "c2", 6, "ann", 1},
                                                                            {"acme/canvas:2", "c1", 10, "ann", 1}});
      CHECK(store->remove_all_for_connection(ConnectionId(1)).empty());
    }
    CHECK(store->size() == 1);
    CHECK(clients(store->get_all(room)) == Strings{"d"});
    CHECK(store->get_all(other).empty());
  }

  SECTION("a room's entries come in the order of client ids") {
    for (const char* client : {"b", "10", "a", "9", ""}) {
      REQUIRE(is(store->set(room, entry(client, ann, 1), no_limits), Result::accepted, 1));
    }
    CHECK(clients(store->get_all(room)) == Strings{"", "10", "9", "a", "b"});
  }

  SECTION("rooms of one name in two tenants have nothing in common") {
    const RoomKey elsewhere{"globex", room.name};
    REQUIRE(is(store->set(room, entry("c", ann, 7), no_limits), Result::accepted, 7));
    CHECK_FALSE(store->get(elsewhere, "c", found));
    CHECK(is(store->set(elsewhere, entry("c", bob, 1), no_limits), Result::accepted, 1));
    CHECK(is(store->remove(elsewhere, "c", bob, 0), Result::accepted, 2));
    CHECK(store->get(room, "c", found));
  }

  SECTION("a full room takes changes but no new client") {
    const AwarenessLimits two{2, 0};
    REQUIRE(is(store->set(room, entry("c1", ann, 1), two), Result::accepted, 1));
    REQUIRE(is(store->set(room, entry("c2", bob, 1), two), Result::accepted, 1));
    CHECK(store->set(room, entry("c3", owner("eve", 4, 40), 1), two).result == Result::too_many);
    CHECK_FALSE(store->get(room, "c3", found));
    CHECK(is(store->set(room, entry("c1", ann, 2), two), Result::accepted, 2));
    CHECK(is(store->set(room, entry("c1", ann_newer, 2), two), Result::accepted, 3));
    CHECK(is(store->set({"acme", "canvas:2"}, entry("c3", ann, 1), two), Result::accepted, 1));
    REQUIRE(is(store->remove(room, "c2", bob, 1), Result::accepted, 2));
    CHECK(is(store->set(room, entry("c3", owner("eve", 4, 40), 1), two), Result::accepted, 1));
  }

  SECTION("a connection has at most its number of entries, in all rooms together") {
    const AwarenessLimits two{0, 2};
    const RoomKey other{"acme", "canvas:2"};
    REQUIRE(is(store->set(room, entry("c1", ann, 1), two), Result::accepted, 1));
    REQUIRE(is(store->set(other, entry("c1", ann, 1), two), Result::accepted, 1));
    CHECK(store->set(room, entry("c2", ann, 1), two).result == Result::too_many);
    CHECK(store->set(other, entry("c2", ann, 1), two).result == Result::too_many);
    CHECK(is(store->set(room, entry("c1", ann, 2), two), Result::accepted, 2));
    CHECK(is(store->set(room, entry("c2", bob, 1), two), Result::accepted, 1));
    SECTION("a removal makes room") {
      REQUIRE(is(store->remove(room, "c1", ann, 2), Result::accepted, 3));
      CHECK(is(store->set(other, entry("c2", ann, 1), two), Result::accepted, 1));
    }
    SECTION("so does an entry that a newer connection takes over, which counts against that one") {
      REQUIRE(is(store->set(room, entry("c1", ann_newer, 1), two), Result::accepted, 3));
      CHECK(is(store->set(other, entry("c2", ann, 1), two), Result::accepted, 1));
      REQUIRE(is(store->set(room, entry("c3", ann_newer, 1), two), Result::accepted, 1));
      CHECK(store->set(other, entry("c1", ann_newer, 9), two).result == Result::too_many);
      REQUIRE(store->get(other, "c1", found));
      CHECK(found.owner.connection == ConnectionId(1));
    }
  }

  SECTION("what nobody refreshed expires, and is told at stored clock + 1") {
    REQUIRE(is(store->set(room, entry("old", ann, 1, "1", at(10)), no_limits), Result::accepted, 1));
    REQUIRE(is(store->set(room, entry("kept", ann, 1, "1", at(5)), no_limits), Result::accepted, 1));
    REQUIRE(is(store->set({"acme", "r2"}, entry("old", bob, 4, "1", at(11)), no_limits), Result::accepted, 4));
    REQUIRE(is(store->set({"acme", "r2"}, entry("young", bob, 4, "1", at(12)), no_limits), Result::accepted, 4));
    REQUIRE(is(store->set(room, entry("kept", ann, 2, "1", at(20)), no_limits), Result::accepted, 2));
    CHECK(store->expire(at(9)).empty());
    CHECK(told(store->expire(at(11))) == Told{{"acme/canvas:1", "old", 2, "ann", 1}, {"acme/r2", "old", 5, "bob", 3}});
    CHECK(store->expire(at(11)).empty());
    CHECK(store->size() == 2);
    CHECK(told(store->remove_all_for_connection(ConnectionId(1))) == Told{{"acme/canvas:1", "kept", 3, "ann", 1}});
    CHECK(told(store->remove_all_for_connection(ConnectionId(3))) == Told{{"acme/r2", "young", 5, "bob", 3}});
  }

  SECTION("the largest clock does not wrap") {
    constexpr std::uint64_t largest = std::numeric_limits<std::uint64_t>::max();
    REQUIRE(is(store->set(room, entry("c", ann, largest), no_limits), Result::accepted, largest));
    CHECK(store->set(room, entry("c", ann_newer, 1), no_limits).clock == largest);
    CHECK(store->remove(room, "c", ann_newer, 1).clock == largest);
  }

  SECTION("what was read stays as it was") {
    REQUIRE(is(store->set(room, entry("c", ann, 1, "before"), no_limits), Result::accepted, 1));
    const auto all = store->get_all(room);
    REQUIRE(is(store->set(room, entry("c", ann, 2, "after"), no_limits), Result::accepted, 2));
    REQUIRE(all.size() == 1);
    CHECK(all[0].state.view() == "before");
    CHECK(all[0].clock == 1);
  }
}

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
    if (stored == nullptr) {
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
    return {AwarenessResult::accepted, clock};
  }
  [[nodiscard]] AwarenessUpdate remove(const RoomKey& room, std::string_view client, const AwarenessOwner& owner,
                                       std::uint64_t clock) override {
    const auto at = entries_.find({room, std::string(client)});
    if (at == entries_.end()) return {AwarenessResult::stale, 0};
    const AwarenessEntry stored = at->second;
    const bool may = stored.owner.user == owner.user &&
                     (stored.owner.connection == owner.connection || owner.order > stored.owner.order);
    if (!may) return {AwarenessResult::not_owner, stored.clock};
    entries_.erase(at);
    return {AwarenessResult::accepted, std::max(clock, stored.clock + 1)};
  }
  [[nodiscard]] std::vector<AwarenessRemoval> remove_all_for_connection(ConnectionId owner,
                                                                        const RoomKey& room) override {
    return remove_if([&](const auto& one) { return one.first.first == room && one.second.owner.connection == owner; });
  }
  [[nodiscard]] std::vector<AwarenessRemoval> remove_all_for_connection(ConnectionId owner) override {
    return remove_if([&](const auto& one) { return one.second.owner.connection == owner; });
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
        at = entries_.erase(at);
      } else {
        ++at;
      }
    }
    return removals;
  }
  Entries entries_;
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

/// Threads that race for the last places and for one client id; run it under ThreadSanitizer too.
inline void awareness_store_under_threads(const MakeAwarenessStore& make) {
  using namespace awareness;
  constexpr std::size_t threads = 4;
  const auto store = make();
  std::atomic<std::size_t> accepted{0};
  std::atomic<std::size_t> faults{0};
  std::atomic<std::size_t> started{0};
  const auto race = [&](const std::function<void(std::size_t)>& work) {
    started = 0;
    std::vector<std::thread> racing;
    for (std::size_t t = 0; t < threads; ++t) {
      racing.emplace_back([&, t] {
        for (++started; started < threads;) std::this_thread::yield();
        work(t);
      });
    }
    for (auto& thread : racing) thread.join();
  };

  SECTION("a room's limit is exact") {
    race([&](std::size_t t) {
      for (std::uint64_t i = 0; i < 100; ++i) {
        const auto who = owner("u" + std::to_string(t), 1 + t * 1000 + i, 1);
        const auto update = store->set(room, entry(std::to_string(t * 1000 + i), who, 1), {150, 0});
        if (update.result == AwarenessResult::accepted) ++accepted;
        if (store->get_all(room).size() > 150) ++faults;
      }
    });
    CHECK(accepted == 150);
    CHECK(store->get_all(room).size() == 150);
  }

  SECTION("a connection's limit is exact, whatever the rooms") {
    race([&](std::size_t t) {
      for (std::uint64_t i = 0; i < 100; ++i) {
        const RoomKey where{"acme", "room:" + std::to_string(t * 1000 + i)};
        if (store->set(where, entry("c", owner("ann", 1, 1), 1), {0, 16}).result == AwarenessResult::accepted) {
          ++accepted;
        }
      }
    });
    CHECK(accepted == 16);
    CHECK(store->size() == 16);
    CHECK(store->remove_all_for_connection(ConnectionId(1)).size() == 16);
  }

  SECTION("a client id that several users race for goes to one of them") {
    std::vector<std::atomic<std::size_t>> winners(100);
    race([&](std::size_t t) {
      for (std::size_t i = 0; i < winners.size(); ++i) {
        const auto who = owner("u" + std::to_string(t), t + 1, 1);
        if (store->set(room, entry(std::to_string(i), who, 1), no_limits).result == AwarenessResult::accepted) {
          ++winners[i];
        }
      }
    });
    CHECK(std::all_of(winners.begin(), winners.end(), [](const auto& count) { return count == 1; }));
  }

  SECTION("an entry is removed by one of those who may, and told once") {
    for (std::uint64_t i = 0; i < 200; ++i) {
      REQUIRE(is(store->set(room, entry(std::to_string(i), owner("ann", 1, 1), 1), no_limits),
                 AwarenessResult::accepted, 1));
    }
    std::atomic<std::size_t> removed{0};
    race([&](std::size_t t) {
      if (t == 0) {
        removed += store->remove_all_for_connection(ConnectionId(1)).size();
      } else if (t == 1) {
        removed += store->expire(at(100)).size();
      } else {
        for (std::uint64_t i = 0; i < 200; ++i) {
          const auto update = store->remove(room, std::to_string(i), owner("ann", 1, 1), 1);
          if (update.result == AwarenessResult::accepted) ++removed;
        }
      }
    });
    CHECK(removed == 200);
    CHECK(store->size() == 0);
  }

  SECTION("everything at once leaves nothing behind") {
    race([&](std::size_t t) {
      std::mt19937_64 random(t);
      AwarenessEntry found;
      for (std::uint64_t i = 0; i < 3000; ++i) {
        const RoomKey where{"acme", "room:" + std::to_string(random() % 3)};
        const auto who = owner("u" + std::to_string(random() % 2), 1 + random() % 6, random() % 4);
        const std::string client = std::to_string(random() % 5);
        switch (random() % 8) {
          case 0:
            (void)store->remove_all_for_connection(who.connection);
            break;
          case 1:
            (void)store->remove(where, client, who, i);
            break;
          case 2:
            (void)store->expire(at(static_cast<int>(i) - 100));
            break;
          case 3:
            if (store->get(where, client, found) && found.client != client) ++faults;
            break;
          case 4:
            if (store->get_all(where).size() > 4) ++faults;
            break;
          default:
            (void)store->set(where, entry(client, who, i, "{}", at(static_cast<int>(i))), {4, 3});
        }
      }
    });
    for (std::uint64_t connection = 1; connection <= 6; ++connection) {
      CHECK(store->remove_all_for_connection(ConnectionId(connection)).size() <= 3);
    }
    CHECK(store->size() == 0);
  }
  CHECK(faults == 0);
}

}  // namespace muster::test
