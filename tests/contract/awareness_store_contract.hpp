// What every AwarenessStore promises, as checks that any implementation can be run through.
//
//   TEST_CASE("MyStore is an awareness store", "[contract][awareness]") {
//     muster::test::awareness_store_contract([] { return std::make_unique<MyStore>(); });
//   }
//
// and, for what single examples do not find, in test cases of their own:
//
//   muster::test::awareness_store_under_threads(make);                  // limits and ownership when threads race
//   muster::test::awareness_store_against_model(make, seed, 100'000);   // awareness_store_model.hpp: random operations
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
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
    CHECK(store->remove(room, "c", ann, 100).result == Result::stale);
    CHECK(store->remove_all_for_connection(ConnectionId(1)).empty());
    CHECK(store->set(room, entry("c", bob, 1), no_limits).result == Result::accepted);
  }

  SECTION("what is forgotten was never there, and may come again as it was") {
    CHECK_FALSE(store->forget(room, "c"));
    REQUIRE(is(store->set(room, entry("c", ann, 7), no_limits), Result::accepted, 7));
    const bool removed = GENERATE(false, true);
    if (removed) REQUIRE(is(store->remove(room, "c", ann, 7), Result::accepted, 8));
    CHECK(store->forget(room, "c"));
    CHECK_FALSE(store->forget(room, "c"));
    CHECK(store->size() == 0);
    CHECK(store->get_all(room).empty());
    CHECK(store->remove_all_for_connection(ann.connection).empty());
    CHECK(is(store->set(room, entry("c", ann, 7), no_limits), Result::accepted, 7));
    CHECK(is(store->set(room, entry("d", ann, 1), no_limits), Result::accepted, 1));
    CHECK(store->forget(room, "c"));
    CHECK(store->get_all(room).size() == 1);
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
