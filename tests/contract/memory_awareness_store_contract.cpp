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
  MemoryAwarenessStore store;
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

TEST_CASE("The naive awareness store is one too, so the model is right", "[contract][awareness]") {
  // But for the largest clock, which it has no answer to.
  test::awareness_store_against_model([] { return std::make_unique<test::NaiveAwarenessStore>(); }, 4, 1000);
}
