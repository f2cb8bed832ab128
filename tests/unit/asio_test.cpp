// Asio's completion tokens for what a manager tells: callbacks, futures, and where they are called. C++17.
#include "muster/asio.hpp"

#include <asio/bind_executor.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/use_future.hpp>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("a callback gets an error code, and the value behind it", "[asio]") {
  CheckedSim sim(without_sessions());
  const auto ann = sim.connect("ann");
  std::optional<std::error_code> seated;
  std::optional<std::error_code> moved;
  std::size_t reached = 0;
  std::size_t connections = 0;
  std::optional<Explanation> explanation;
  bool is_down = false;
  const auto seat = async(sim.manager(), [&](std::error_code error) { seated = error; });
  seat.join(ann.id(), "r");
  sim.run();
  CHECK(seated == std::error_code());
  seated.reset();
  seat.leave(ann.id(), "bad name");
  async(sim.manager(), [&](std::error_code error) { moved = error; }).move(ann.id(), "q", "p");
  async(sim.manager(), [&](std::error_code error, Published published) {
    if (!error) reached = published.reached;
  }).publish({"", "r"}, json("1"));
  async(sim.manager(), [&](std::error_code, std::size_t count) { connections = count; }).join({"", "ann"}, "s");
  async(sim.manager(), [&](std::error_code, std::optional<Explanation> said) {
    explanation = std::move(said);
  }).explain(ann.id());
  sim.run();
  CHECK(seated == std::error_code());
  CHECK(moved == errc::not_in_room);
  CHECK(*moved == condition::invalid);
  CHECK(reached == 1);
  CHECK(connections == 1);
  REQUIRE(explanation);
  CHECK(explanation->info.user == "ann");
  async(sim.manager(), [&, only = std::make_unique<int>()](std::error_code) { is_down = true; }).shutdown();
  sim.advance(30s);
  CHECK(is_down);
}

TEST_CASE("a future throws the error", "[asio]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto futures = async(sim.manager(), asio::use_future);
  std::future<void> seated = futures.join(ann.id(), "r");
  std::future<void> moved = futures.move(ann.id(), "q", "p");
  sim.run();
  REQUIRE(seated.wait_for(10s) == std::future_status::ready);
  CHECK_NOTHROW(seated.get());
  std::future<Published> published = futures.publish({"", "r"}, json("1"));
  CHECK(published.get().reached == 1);
  try {
    moved.get();
    FAIL("it is not in that room");
  } catch (const std::system_error& error) {
    CHECK(error.code() == errc::not_in_room);
  }
}

TEST_CASE("a handler is posted to its executor, which does not run out of work before", "[asio]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  asio::io_context context;
  std::optional<std::error_code> seated;
  std::size_t reached = 0;
  async(sim.manager(), asio::bind_executor(context, [&](std::error_code error) { seated = error; }))
      .join(ann.id(), "s");
  async(sim.manager(),
        asio::bind_executor(context, [&](std::error_code, Published published) { reached = published.reached; }))
      .publish({"", "r"}, json("1"));
  CHECK(reached == 0);  // though it is answered inside the call
  CHECK(context.poll() == 1);
  CHECK(reached == 1);
  CHECK_FALSE(context.stopped());
  sim.run();
  CHECK_FALSE(seated);
  CHECK(context.poll() == 1);
  CHECK(seated == std::error_code());
  CHECK(context.stopped());
}

TEST_CASE("what a manager lets go of completes as unavailable", "[asio]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  std::optional<std::error_code> told;
  async(sim.manager(), [&](std::error_code error, const std::optional<Explanation>& explanation) {
    told = error;
    CHECK_FALSE(explanation);
  }).explain(ann.id());
  CHECK_FALSE(told);
  sim.schedule.executors[0]->loop().stop();
  CHECK(told == make_error_code(errc::unavailable));
}

TEST_CASE("of a done only the first call counts, and one that is never called answers by itself", "[asio]") {
  std::vector<Result<int>> answers;
  const auto receive = [&](Result<int> answer) { answers.push_back(std::move(answer)); };
  {
    const Done<int> done(receive);
    const Done<int> copy = done;
    copy(1);
    done(2);
  }
  REQUIRE(answers.size() == 1);
  CHECK(answers[0].value() == 1);
  {
    const Done<Result<int>> done(receive);
    const Done<Result<int>> copy = done;
    CHECK(answers.size() == 1);
  }
  REQUIRE(answers.size() == 2);
  CHECK(answers[1].error().code == errc::unavailable);
  Done<Result<int>> given(receive);
  given(Error{errc::too_many, "", {}});
  CHECK(answers[2].error().code == errc::too_many);
}

}  // namespace
}  // namespace muster::test
