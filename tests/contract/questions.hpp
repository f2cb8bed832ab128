// How the contracts ask an asynchronous seam: what a fixture must offer, and one question with its answer.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "muster/reply.hpp"
#include "support/catch.hpp"

namespace muster::test {

/// Owns one seam, and lets its answers come. Used by one thread.
template <class Seam>
class SeamFixture {
 public:
  virtual ~SeamFixture() = default;
  [[nodiscard]] virtual Seam& seam() = 0;
  /// Does what makes outstanding answers come; false: `done` did not hold in time. The default waits for those who
  /// answer by themselves.
  [[nodiscard]] virtual bool run_until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }
  /// Makes its back end unreachable, or reachable again; false: it cannot, and that part is not tested.
  [[nodiscard]] virtual bool fail(bool) { return false; }
};

/// The asker's end: keeps the answer, and counts how often one came.
template <class T>
class Question {
 public:
  [[nodiscard]] Reply<T> reply() {
    return Reply<T>([state = state_](T answer) {
      const std::lock_guard<std::mutex> lock(state->mutex);
      state->answer.emplace(std::move(answer));
      ++state->answers;
    });
  }
  [[nodiscard]] int answers() const {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    return state_->answers;
  }
  /// Only when there was one.
  [[nodiscard]] T answer() const {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    return *state_->answer;
  }

 private:
  struct State {
    std::mutex mutex;
    std::optional<T> answer;
    int answers = 0;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

/// Asks, and waits for the one answer.
template <class T, class Seam>
T ask(SeamFixture<Seam>& fixture, const std::function<void(Reply<T>)>& question) {
  Question<T> asked;
  question(asked.reply());
  REQUIRE(fixture.run_until([&asked] { return asked.answers() != 0; }));
  CHECK(asked.answers() == 1);
  return asked.answer();
}

/// Asks who answers inside the call.
template <class T>
T ask_now(const std::function<void(Reply<T>)>& question) {
  Question<T> asked;
  question(asked.reply());
  REQUIRE(asked.answers() == 1);
  return asked.answer();
}

}  // namespace muster::test
