// Function: what it holds, how it moves, and what it costs.
#include "muster/function.hpp"

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/live_allocations.hpp"

using namespace muster;

namespace {

/// Counts how many of it there are, through copies and moves.
struct Counted {
  explicit Counted(int& count) : alive(&count) { ++*alive; }
  Counted(const Counted& other) : alive(other.alive) { ++*alive; }
  Counted(Counted&& other) noexcept : alive(other.alive) { ++*alive; }
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --*alive; }
  int* alive;
};

template <std::size_t Size>
struct Padded {
  Counted counted;
  std::array<char, Size> padding{};
  int operator()(int x) { return x + ++calls; }
  int calls = 0;
};

struct ThrowsWhenMoved {
  explicit ThrowsWhenMoved(int& count) : counted(count) {}
  ThrowsWhenMoved(const ThrowsWhenMoved&) = default;
  ThrowsWhenMoved(ThrowsWhenMoved&& other) noexcept(false) : counted(std::move(other.counted)) {}
  Counted counted;
  int operator()(int x) const { return x; }
};

}  // namespace

TEST_CASE("a Function that returns nothing takes a callable that returns something", "[function]") {
  int calls = 0;
  Function<void()> function([&calls] { return ++calls; });
  function();
  CHECK(calls == 1);
}

TEMPLATE_TEST_CASE("A Function calls, moves and destroys what it holds, small or large", "[function]", Padded<1>,
                   Padded<36>, Padded<37>, Padded<200>, ThrowsWhenMoved) {
  int alive = 0;
  {
    TestType callable = [&] {
      if constexpr (std::is_same_v<TestType, ThrowsWhenMoved>) {
        return TestType(alive);
      } else {
        return TestType{Counted(alive)};
      }
    }();
    REQUIRE(alive == 1);
    Function<int(int)> f(callable);
    CHECK(alive == 2);
    REQUIRE(f);
    const int first = f(10);
    CHECK((first == 10 || first == 11));
    Function<int(int)> g(std::move(f));
    CHECK(alive == 2);
    CHECK_FALSE(f);  // NOLINT: what a moved-from Function is, is part of its promise
    const int second = g(10);
    CHECK((second == first || second == first + 1));
    Function<int(int)> h(callable);
    CHECK(alive == 3);
    h = std::move(g);
    CHECK(alive == 2);
    CHECK_FALSE(g);
    CHECK(h);
    Function<int(int)>& itself = h;
    h = std::move(itself);
    CHECK(h);
    CHECK(alive == 2);
    h = nullptr;
    CHECK_FALSE(h);
    CHECK(alive == 1);
    Function<int(int)> last(std::move(callable));
    CHECK(alive == 2);
  }
  CHECK(alive == 0);
}

TEST_CASE("A Function of up to 56 bytes costs no allocation, a larger one costs one", "[function]") {
  struct Fits {
    std::array<char, 56> bytes{};
    void operator()() const {}
  };
  struct DoesNot {
    std::array<char, 57> bytes{};
    void operator()() const {}
  };
  const auto before = test::live_allocations.load();
  Function<void()> small{Fits{}};
  const auto with_small = test::live_allocations.load();
  Function<void()> large{DoesNot{}};
  const auto with_both = test::live_allocations.load();
  large = std::move(small);
  const auto after = test::live_allocations.load();
  CHECK(with_small == before);
  CHECK(with_both == before + 1);
  CHECK(after == before);
}

TEST_CASE("A Function keeps its state between calls, and takes it along when moved", "[function]") {
  Function<int()> count([n = 0]() mutable { return ++n; });
  CHECK(count() == 1);
  Function<int()> moved(std::move(count));
  CHECK(moved() == 2);
}

TEST_CASE("A Function takes what only moves, and passes on what only moves", "[function]") {
  auto owned = std::make_unique<int>(5);
  Function<std::unique_ptr<int>(std::unique_ptr<int>)> add(
      [owned = std::move(owned)](std::unique_ptr<int> more) { return std::make_unique<int>(*owned + *more); });
  auto moved = std::move(add);
  CHECK(*moved(std::make_unique<int>(2)) == 7);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Function<void()>>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<Function<void()>>);
}

TEST_CASE("A Function passes references on as references", "[function]") {
  int x = 1;
  Function<int&(int&)> same([](int& y) -> int& { return y; });
  same(x) = 5;
  CHECK(x == 5);
}

TEST_CASE("An empty Function is false", "[function]") {
  CHECK_FALSE(Function<void()>());
  CHECK_FALSE(Function<void()>(nullptr));
  Function<void()> f([] {});
  f = nullptr;
  f = nullptr;
  CHECK_FALSE(f);
}

TEST_CASE("A Function may be replaced while it runs elsewhere than in itself", "[function]") {
  auto f = std::make_shared<Function<int()>>();
  *f = [] { return 1; };
  Function<int()> running = std::move(*f);
  *f = [] { return 2; };
  CHECK(running() == 1);
  CHECK((*f)() == 2);
}
