// ManualExecutor keeps the promises of an Executor.
#include "contract/executor_contract.hpp"

#include "muster/memory/manual_executor.hpp"

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
  void stop() override { executor_->stop(); }

 private:
  std::shared_ptr<ManualExecutor> executor_ = std::make_shared<ManualExecutor>();
};

}  // namespace

TEST_CASE("ManualExecutor is an executor", "[contract][executor]") {
  test::executor_contract([] { return std::make_unique<ManualFixture>(); });
}
