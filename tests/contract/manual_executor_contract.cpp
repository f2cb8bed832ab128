// ManualExecutor keeps the promises of an Executor.
#include "contract/executor_contract.hpp"
#include "muster/testing/manual_executor.hpp"

using namespace muster;

namespace {

class ManualFixture final : public test::ExecutorFixture {
 public:
  std::shared_ptr<Executor> executor() override { return executor_; }
  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds deadline) override {
    const TimePoint end = executor_->now() + deadline;
    const auto give_up = std::chrono::steady_clock::now() + deadline;  // other threads may have to post yet
    while (!done()) {
      if (executor_->run_one()) continue;
      const auto next = executor_->next_time();
      if (next && *next <= end) {
        executor_->clock()->move_to(*next);
      } else if (std::chrono::steady_clock::now() < give_up) {
        std::this_thread::yield();
      } else {
        return false;
      }
    }
    return true;
  }
  bool knows_turns() const override { return true; }
  void stop() override { executor_->stop(); }

 private:
  std::shared_ptr<ManualExecutor> executor_ = std::make_shared<ManualExecutor>();
};

/// One that knows no turns.
class PlainExecutor final : public Executor {
 public:
  [[nodiscard]] bool post(Task task) override {
    ++posts;
    return loop.post(std::move(task));
  }
  [[nodiscard]] bool schedule(TimePoint when, Task task) override { return loop.schedule(when, std::move(task)); }
  [[nodiscard]] TimePoint now() const override { return loop.now(); }
  [[nodiscard]] WallTime wall_now() const override { return loop.wall_now(); }
  ManualExecutor loop;
  std::size_t posts = 0;
};

}  // namespace

TEST_CASE("an executor that knows no turns posts what is for the end of one anew, as often as there are turns",
          "[executor]") {
  PlainExecutor executor;
  std::vector<int> order;
  CHECK(executor.post_at_turn_end([&order] { order.push_back(3); }, 2));
  CHECK(executor.post_at_turn_end([&order] { order.push_back(2); }));
  CHECK(executor.post([&order] { order.push_back(1); }));
  CHECK(executor.loop.run_ready() == 4 + 2 + 1);
  CHECK(executor.posts == 4 + 2 + 1);
  CHECK(order == std::vector<int>{1, 2, 3});

  auto held = std::make_shared<int>(0);
  const std::weak_ptr<int> watch = held;
  CHECK(executor.post_at_turn_end([held = std::move(held)] { (void)held; }));
  CHECK(executor.loop.run_one());
  executor.loop.stop();
  CHECK(watch.expired());
  CHECK_FALSE(executor.post_at_turn_end([] {}));
}

TEST_CASE("ManualExecutor is an executor", "[contract][executor]") {
  test::executor_contract([] { return std::make_unique<ManualFixture>(); });
}

TEST_CASE("a ManualClock stands still until it is moved, starts in 2026, and never goes back", "[executor]") {
  ManualClock clock;
  const TimePoint start = clock.now();
  CHECK(start > TimePoint{});
  CHECK(clock.wall_now() == WallTime(std::chrono::seconds(1767225600)));
  const auto real = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() == real) std::this_thread::yield();
  CHECK(clock.now() == start);
  clock.move_to(start + std::chrono::seconds(1));
  CHECK(clock.now() == start + std::chrono::seconds(1));
  CHECK(clock.wall_now() == WallTime(std::chrono::seconds(1767225601)));
  clock.move_to(start);
  CHECK(clock.now() == start + std::chrono::seconds(1));
}

TEST_CASE("run_ready runs what is posted meanwhile, as many as it is told, and nothing from inside a task",
          "[executor]") {
  ManualExecutor executor;
  std::vector<std::size_t> inner;
  std::function<void()> again = [&] {
    inner.push_back(executor.run_ready());
    if (inner.size() < 5) (void)executor.post(again);
  };
  CHECK(executor.post(again));
  CHECK(executor.run_ready(2) == 2);
  CHECK(executor.run_ready() == 3);
  CHECK(executor.run_ready() == 0);
  CHECK(inner == std::vector<std::size_t>(5, 0));
}
