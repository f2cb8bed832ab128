// What every Executor promises, as checks that any implementation can be run through.
//
// An implementation derives an ExecutorFixture, and its test file says:
//
//   TEST_CASE("MyExecutor is an executor", "[contract][executor]") {
//     muster::test::executor_contract([] { return std::make_unique<MyExecutorFixture>(); });
//   }
//
// Each promise is a section with a fixture of its own. Nothing here needs more than muster/executor.hpp and Catch2.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "muster/executor.hpp"
#include "support/catch.hpp"

namespace muster::test {

/// One executor, and how to drive it. Used by one thread, which is none of the executor's own.
class ExecutorFixture {
 public:
  virtual ~ExecutorFixture() = default;
  [[nodiscard]] virtual std::shared_ptr<Executor> executor() = 0;
  /// Lets tasks run and time pass until `done` holds; false when it does not within `deadline` of the executor's time.
  /// `done` is safe to call from any thread.
  [[nodiscard]] virtual bool run_until(const std::function<bool()>& done,
                                       std::chrono::milliseconds deadline = std::chrono::seconds(10)) = 0;
  /// Whether it knows when a turn ends: it has a `post_at_turn_end` of its own.
  [[nodiscard]] virtual bool knows_turns() const { return false; }
  /// Stops the executor with whatever is queued, and returns when it has stopped.
  virtual void stop() = 0;
};
using MakeExecutorFixture = std::function<std::unique_ptr<ExecutorFixture>()>;

inline void executor_contract(const MakeExecutorFixture& make) {
  const auto fixture = make();
  const std::shared_ptr<Executor> executor = fixture->executor();
  REQUIRE(executor);
  std::atomic<bool> finished{false};
  const auto is_finished = [&finished] { return finished.load(); };

  SECTION("tasks run in the order they were posted") {
    std::vector<int> order;
    for (int i = 0; i < 1000; ++i) REQUIRE(executor->post([&order, i] { order.push_back(i); }));
    REQUIRE(executor->post([&finished] { finished = true; }));
    REQUIRE(fixture->run_until(is_finished));
    REQUIRE(order.size() == 1000);
    for (int i = 0; i < 1000; ++i) REQUIRE(order[static_cast<std::size_t>(i)] == i);
  }

  SECTION("a task is never run inside the call that hands it over, not even by another task") {
    bool ran_inside_post = false;
    bool ran_inside_schedule = false;
    bool inside = false;
    REQUIRE(executor->post([&] {
      inside = true;
      const bool posted = executor->post([&] { ran_inside_post = inside; });
      const bool scheduled =
          executor->schedule(executor->now() - std::chrono::seconds(1), [&] { ran_inside_schedule = inside; });
      inside = false;
      finished = posted && scheduled && executor->schedule(executor->now(), [] {});
    }));
    REQUIRE(fixture->run_until(is_finished));
    finished = false;
    REQUIRE(executor->schedule(executor->now(), [&finished] { finished = true; }));
    REQUIRE(fixture->run_until(is_finished));
    CHECK_FALSE(ran_inside_post);
    CHECK_FALSE(ran_inside_schedule);
  }

  SECTION("what a task posts runs after what was posted before") {
    std::vector<int> order;
    std::atomic<bool> go{false};
    REQUIRE(executor->post([&] {
      while (!go) std::this_thread::yield();  // until the next one is posted
      order.push_back(1);
      (void)executor->post([&] {
        order.push_back(3);
        finished = true;
      });
    }));
    REQUIRE(executor->post([&] { order.push_back(2); }));
    go = true;
    REQUIRE(fixture->run_until(is_finished));
    CHECK(order == std::vector<int>{1, 2, 3});
  }

  SECTION("what is for the end of a turn runs once, after what was posted before, in order") {
    std::vector<int> order;
    REQUIRE(executor->post([&] {
      (void)executor->post([&order] { order.push_back(1); });
      (void)executor->post_at_turn_end([&order] { order.push_back(2); });
      (void)executor->post_at_turn_end([&] {
        order.push_back(3);
        finished = true;
      });
    }));
    REQUIRE(fixture->run_until(is_finished));
    finished = false;
    REQUIRE(executor->post([&finished] { finished = true; }));
    REQUIRE(fixture->run_until(is_finished));
    CHECK(order == std::vector<int>{1, 2, 3});
  }

  if (fixture->knows_turns()) {
    SECTION("a turn ends after what its tasks still post, and later turns in their order") {
      std::vector<int> order;
      const auto log = [&order](int what) { return [&order, what] { order.push_back(what); }; };
      REQUIRE(executor->post([&] {
        (void)executor->post_at_turn_end(
            [&] {
              order.push_back(6);
              finished = true;
            },
            3);
        (void)executor->post_at_turn_end(log(5), 1);
        (void)executor->post_at_turn_end([&] {
          order.push_back(3);
          (void)executor->post(log(4));  // before any later turn ends
        });
        (void)executor->post([&] {
          order.push_back(1);
          (void)executor->post(log(2));
        });
      }));
      REQUIRE(fixture->run_until(is_finished));
      CHECK(order == std::vector<int>{1, 2, 3, 4, 5, 6});
    }

    SECTION("what waits for a turn runs at its end, whatever that turn has for its own end") {
      bool waited = false;
      std::size_t ends = 0;
      std::function<void()> again = [&] {
        if (!waited && ++ends < 100) (void)executor->post_at_turn_end(again);
        if (waited || ends == 100) finished = true;
      };
      REQUIRE(executor->post([&] {
        (void)executor->post_at_turn_end([&waited] { waited = true; }, 1);
        (void)executor->post_at_turn_end(again);
      }));
      REQUIRE(fixture->run_until(is_finished));
      CHECK(waited);
    }
  }

  SECTION("tasks of several threads run one at a time, and each thread's in order") {
    constexpr int threads = 4;
    constexpr int each = 500;
    std::atomic<int> running{0};
    std::atomic<int> ran{0};
    std::atomic<int> faults{0};
    std::vector<int> next(threads, 0);
    std::vector<std::thread> posting;
    for (std::size_t t = 0; t < threads; ++t) {
      posting.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) {
          const bool posted = executor->post([&, t, i] {
            if (++running != 1) ++faults;
            if (next[t]++ != i) ++faults;
            --running;
            ++ran;
          });
          if (!posted) ++faults;
        }
      });
    }
    for (auto& thread : posting) thread.join();
    CHECK(fixture->run_until([&ran] { return ran == threads * each; }));
    CHECK(ran == threads * each);
    CHECK(faults == 0);
  }

  SECTION("a scheduled task runs once, not before its time") {
    const TimePoint start = executor->now();
    const TimePoint when = start + std::chrono::milliseconds(30);
    std::atomic<int> times{0};
    TimePoint ran_at{};
    REQUIRE(executor->schedule(when, [&] {
      ran_at = executor->now();
      ++times;
    }));
    REQUIRE(executor->schedule(when + std::chrono::milliseconds(30), [&finished] { finished = true; }));
    REQUIRE(fixture->run_until(is_finished));
    CHECK(times == 1);
    CHECK(ran_at >= when);
  }

  SECTION("scheduled tasks run in the order of their times, whatever the order of the calls") {
    const TimePoint start = executor->now();
    std::vector<int> order;
    const int times[] = {50, 10, 30, 20, 40};
    for (const int time : times) {
      REQUIRE(executor->schedule(start + std::chrono::milliseconds(time), [&, time] {
        order.push_back(time);
        if (order.size() == 5) finished = true;
      }));
    }
    REQUIRE(fixture->run_until(is_finished));
    CHECK(order == std::vector<int>{10, 20, 30, 40, 50});
  }

  SECTION("a time in the past means soon") {
    REQUIRE(executor->schedule(TimePoint{}, [&finished] { finished = true; }));
    CHECK(fixture->run_until(is_finished));
    finished = false;
    REQUIRE(executor->schedule(TimePoint::min(), [&finished] { finished = true; }));
    CHECK(fixture->run_until(is_finished));
  }

  SECTION("a time that never comes holds nothing up") {
    REQUIRE(executor->schedule(TimePoint::max(), [] {}));
    REQUIRE(executor->post([&finished] { finished = true; }));
    CHECK(fixture->run_until(is_finished));
  }

  SECTION("clocks do not go back, and any thread may read them") {
    std::atomic<int> faults{0};
    const TimePoint first = executor->now();
    const WallTime wall_first = executor->wall_now();
    std::thread other([&] {
      if (executor->now() < first) ++faults;
      if (executor->wall_now() < wall_first - std::chrono::seconds(1)) ++faults;  // calendars may be set
    });
    other.join();
    REQUIRE(executor->schedule(first + std::chrono::milliseconds(20), [&finished] { finished = true; }));
    REQUIRE(fixture->run_until(is_finished));
    CHECK(faults == 0);
    CHECK(executor->now() >= first + std::chrono::milliseconds(20));
    CHECK(executor->wall_now() > wall_first);
  }

  SECTION("a task that has run lets go of what it held") {
    auto held = std::make_shared<int>(0);
    std::weak_ptr<int> watch = held;
    auto unique = std::make_unique<int>(7);  // tasks may be move-only
    std::atomic<int> seen{0};
    REQUIRE(executor->post([held = std::move(held), unique = std::move(unique), &seen] { seen = *unique; }));
    CHECK(fixture->run_until([&watch] { return watch.expired(); }));
    CHECK(seen == 7);
  }

  SECTION("once stopped it refuses tasks and destroys them unrun") {
    fixture->stop();
    std::atomic<bool> ran{false};
    const auto held = std::make_shared<int>(0);
    CHECK_FALSE(executor->post([&ran, held] { ran = true; }));
    CHECK_FALSE(executor->post_at_turn_end([&ran, held] { ran = true; }));
    CHECK_FALSE(executor->post_at_turn_end([&ran, held] { ran = true; }, 1));
    CHECK_FALSE(executor->schedule(executor->now(), [&ran, held] { ran = true; }));
    CHECK(held.use_count() == 1);
    CHECK_FALSE(ran);
  }

  SECTION("it may be stopped twice") {
    fixture->stop();
    fixture->stop();
    CHECK_FALSE(executor->post([] {}));
  }

  SECTION("tasks accepted and never run are destroyed when it stops") {
    const auto held = std::make_shared<int>(0);
    std::atomic<bool> ran{false};
    REQUIRE(executor->schedule(executor->now() + std::chrono::hours(24), [held, &ran] { ran = true; }));
    for (int i = 0; i < 10; ++i) REQUIRE(executor->post([held] { (void)held; }));
    for (std::size_t i = 0; i < 3; ++i) REQUIRE(executor->post_at_turn_end([held] { (void)held; }, i));
    fixture->stop();
    CHECK_FALSE(ran);
    CHECK(held.use_count() == 1);
  }

  SECTION("what a destroyed task held may still post: it is refused") {
    struct PostsWhenDestroyed {
      std::shared_ptr<Executor> executor;
      std::shared_ptr<std::atomic<int>> refused;
      PostsWhenDestroyed(std::shared_ptr<Executor> to, std::shared_ptr<std::atomic<int>> count)
          : executor(std::move(to)), refused(std::move(count)) {}
      PostsWhenDestroyed(const PostsWhenDestroyed&) = delete;
      PostsWhenDestroyed& operator=(const PostsWhenDestroyed&) = delete;
      ~PostsWhenDestroyed() {
        if (!executor->post([] {})) ++*refused;
        if (!executor->schedule(executor->now(), [] {})) ++*refused;
      }
    };
    const auto refused = std::make_shared<std::atomic<int>>(0);
    auto held = std::make_shared<PostsWhenDestroyed>(executor, refused);
    REQUIRE(executor->schedule(executor->now() + std::chrono::hours(24), [held = std::move(held)] {}));
    fixture->stop();
    CHECK(*refused == 2);
  }

  SECTION("stopped while threads post, it runs or destroys what it took, and runs nothing after it refused") {
    constexpr int threads = 3;
    std::atomic<bool> refused{false};
    std::atomic<int> ran{0};
    std::atomic<int> late{0};
    const auto held = std::make_shared<int>(0);
    std::vector<std::thread> posting;
    for (int t = 0; t < threads; ++t) {
      posting.emplace_back([&executor, &refused, &ran, &late, held] {
        while (executor->post([&refused, &ran, &late, held] {
          if (refused) ++late;
          ++ran;
        })) {
        }
        refused = true;
      });
    }
    CHECK(fixture->run_until([&ran] { return ran > 1000; }));
    fixture->stop();
    for (auto& thread : posting) thread.join();
    CHECK(late == 0);
    CHECK(held.use_count() == 1);
  }
}

}  // namespace muster::test
