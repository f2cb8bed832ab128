// MemoryAwarenessStore keeps the promises of an AwarenessStore.
#include "contract/awareness_store_model.hpp"
#include "muster/memory/memory_awareness_store.hpp"
#include "support/live_allocations.hpp"

using namespace muster;

namespace {
std::unique_ptr<AwarenessStore> make() { return std::make_unique<MemoryAwarenessStore>(); }
}  // namespace

TEST_CASE("MemoryAwarenessStore is an awareness store", "[contract][awareness]") {
  test::awareness_store_contract(make);
}

TEST_CASE("MemoryAwarenessStore answers random operations as a naive store does", "[contract][awareness]") {
  for (const std::uint64_t seed : {1U, 2U, 3U}) test::awareness_store_against_model(make, seed, 100'000);
}

TEST_CASE("MemoryAwarenessStore is exact when threads race", "[contract][awareness]") {
  test::awareness_store_under_threads(make);
}

TEST_CASE("MemoryAwarenessStore keeps nothing of empty rooms and of connections that own nothing",
          "[contract][awareness]") {
  MemoryAwarenessStore store(100);
  const auto fill_and_empty = [&store](std::uint64_t from) {
    for (std::uint64_t i = from; i < from + 1000; ++i) {
      const RoomKey room{"acme", "a room with a long name, number " + std::to_string(i)};
      const AwarenessOwner owner{"ann", ConnectionId(i), 1};
      REQUIRE(store.set(room, {"c", owner, 1, json("1"), {}}, {}).result == AwarenessResult::accepted);
      if (i % 3 == 0) REQUIRE(store.remove(room, "c", owner, 1).result == AwarenessResult::accepted);
      if (i % 3 == 1) REQUIRE(store.remove_all_for_connection(owner.connection).size() == 1);
    }
    REQUIRE_FALSE(store.expire({}).empty());
    REQUIRE(store.size() == 0);
  };
  fill_and_empty(1);
  const auto before = test::live_allocations.load();
  fill_and_empty(5000);
  CHECK(test::live_allocations < before + 50);  // the test's own records
}

TEST_CASE("MemoryAwarenessStore remembers removals: who comes back is newer than what others know",
          "[contract][awareness]") {
  using namespace test::awareness;
  using Result = AwarenessResult;
  MemoryAwarenessStore store(2);
  const AwarenessOwner ann = owner("ann", 1, 10);
  REQUIRE(store.set(room, entry("c", ann, 7), {}).result == Result::accepted);
  SECTION("its connection went, and another of the user's comes with an older clock") {
    REQUIRE(store.remove_all_for_connection(ConnectionId(1)).size() == 1);  // told at 8
    CHECK(is(store.set(room, entry("c", owner("ann", 2, 20), 3), {}), Result::accepted, 9));
  }
  SECTION("another user takes the id") {
    REQUIRE(store.remove_all_for_connection(ConnectionId(1)).size() == 1);
    CHECK(is(store.set(room, entry("c", owner("bob", 3, 30), 1), {}), Result::accepted, 9));
  }
  SECTION("the same connection goes on after its entry expired") {
    REQUIRE(store.expire(at(1000)).size() == 1);
    CHECK(is(store.set(room, entry("c", ann, 7), {}), Result::stale, 8));
    CHECK(is(store.set(room, entry("c", ann, 8), {}), Result::accepted, 9));
  }
  SECTION("what it said before it removed the entry itself is stale") {
    REQUIRE(is(store.remove(room, "c", ann, 9), Result::accepted, 9));
    CHECK(is(store.set(room, entry("c", ann, 9), {}), Result::stale, 9));
    CHECK(is(store.remove(room, "c", ann, 10), Result::stale, 9));
    CHECK(is(store.set(room, entry("c", ann, 10), {}), Result::accepted, 10));
  }
  SECTION("only so many") {
    REQUIRE(is(store.remove(room, "c", ann, 9), Result::accepted, 9));
    for (const char* client : {"d", "e"}) {
      REQUIRE(is(store.set(room, entry(client, ann, 1), {}), Result::accepted, 1));
      REQUIRE(is(store.remove(room, client, ann, 2), Result::accepted, 2));
    }
    CHECK(is(store.set(room, entry("c", ann, 1), {}), Result::accepted, 1));
    CHECK(is(store.set(room, entry("e", ann, 1), {}), Result::stale, 2));
  }
}

TEST_CASE("The naive awareness store is one too, so the model is right", "[contract][awareness]") {
  // But for the largest clock, which it has no answer to.
  test::awareness_store_against_model([] { return std::make_unique<test::NaiveAwarenessStore>(); }, 4, 1000);
}
