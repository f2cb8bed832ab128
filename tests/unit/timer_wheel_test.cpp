// The timer wheel against a list of deadlines, and what a tick may cost of very many.
#include "muster/core/base/timer_wheel.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "muster/core/base/random.hpp"
#include "support/catch.hpp"

using namespace muster;
using core::Timer;
using core::TimerWheel;
using std::chrono::milliseconds;

namespace {

const TimePoint start{std::chrono::hours(1)};

/// Timers that note when they fire.
struct Clock {
  struct One {
    explicit One(Clock& of) : clock(of) {}
    Clock& clock;
    Timer timer{this, [](void* self) { static_cast<One*>(self)->fire(); }};
    TimePoint deadline{};
    bool due = false;
    milliseconds again{0};

    void fire() {
      CHECK(due);
      // Not before, and in the first step that reaches it.
      CHECK(clock.to >= deadline);
      CHECK(clock.from < deadline);
      CHECK(deadline >= clock.last_fired);
      clock.last_fired = deadline;
      ++clock.fired;
      due = false;
      if (again.count() != 0) arm(clock.wheel_time(deadline) + again);
    }
    void arm(TimePoint when) {
      deadline = std::max(when, clock.from + milliseconds(1));
      due = true;
      clock.wheel.arm(timer, when);
    }
  };

  [[nodiscard]] TimePoint wheel_time(TimePoint at) const { return std::max(at, from); }
  void step(milliseconds by) {
    to = from + by;
    last_fired = {};
    wheel.advance(to);
    from = to;
  }

  TimerWheel wheel{start};
  TimePoint from = start, to = start, last_fired{};
  std::size_t fired = 0;
};

}  // namespace

TEST_CASE("A timer wheel fires each deadline in its tick, however far it was, and in their order") {
  Clock clock;
  core::Random random(7);
  std::vector<std::unique_ptr<Clock::One>> timers;
  for (int i = 0; i < 500; ++i) timers.push_back(std::make_unique<Clock::One>(clock));
  const std::int64_t reaches[] = {1, 60, 130, 4'000, 9'000, 300'000, 20'000'000, 40'000'000'000};
  for (int round = 0; round < 5000; ++round) {
    Clock::One& one = *timers[random() % timers.size()];
    switch (random() % 8) {
      case 0:
        one.timer.cancel();
        one.due = false;
        break;
      case 1:
      case 2:
      case 3:
        one.again = milliseconds(random() % 4 == 0 ? 1 + random() % 5000 : 0);
        one.arm(clock.from + milliseconds(1 + random() % static_cast<std::uint64_t>(reaches[random() % 8])));
        break;
      default:
        clock.step(milliseconds(random() % 16 == 0 ? random() % 30'000 : random() % 4));
    }
    for (const auto& timer : timers) REQUIRE((!timer->due || timer->deadline > clock.from));
  }
  CHECK(clock.fired > 300);
  // Whatever is left comes in the end.
  for (const auto& timer : timers) timer->again = {};
  for (int i = 0; i < 70 && clock.wheel.next(); ++i) clock.step(std::chrono::hours(24 * 20));
  for (const auto& timer : timers) CHECK_FALSE(timer->due);
  CHECK_FALSE(clock.wheel.next());
}

TEST_CASE("A timer wheel says when it has something to do, and sleeps until then") {
  Clock clock;
  Clock::One far(clock);
  far.arm(start + std::chrono::hours(30));
  int looks = 0;
  while (far.due) {
    const auto next = clock.wheel.next();
    REQUIRE(next);
    REQUIRE(*next > clock.from);
    clock.step(std::chrono::duration_cast<milliseconds>(*next - clock.from));
    ++looks;
  }
  CHECK(looks <= 6);  // once in each of its wheels
}

TEST_CASE("No tick of a timer wheel moves more than its share of very many timers") {
  Clock clock;
  constexpr std::size_t count = 30'000;
  std::vector<std::unique_ptr<Clock::One>> timers;
  for (std::size_t i = 0; i < count; ++i) {
    timers.push_back(std::make_unique<Clock::One>(clock));
    timers.back()->arm(start + milliseconds(1 + i));
    timers.back()->again = milliseconds(count);
  }
  for (std::size_t i = 0; i < count; ++i) clock.step(milliseconds(1));
  std::size_t most = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t before = clock.wheel.moved();
    clock.step(milliseconds(1));
    most = std::max(most, clock.wheel.moved() - before);
  }
  CHECK(clock.fired == 2 * count);
  CHECK(most < 20);  // one a tick and wheel; all at once it would be 4,096
}
