// Outcome: what the program is told of something it had done, once, whatever happens.
#pragma once

#include <memory>
#include <utility>

#include "muster/core/base/function_ref.hpp"
#include "muster/core/loop/loop.hpp"
#include "muster/error.hpp"
#include "muster/function.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// A `done` that is called exactly once: with what became of it or, where nobody came to say so, that the connection is
/// gone. What it throws is contained.
template <class T>
class Outcome {
 public:
  Outcome(std::shared_ptr<Loop> loop, Function<void(Result<T>)> done)
      : loop_(std::move(loop)), done_(std::move(done)) {}
  Outcome(Outcome&&) noexcept = default;
  Outcome(const Outcome&) = delete;
  Outcome& operator=(Outcome&&) = delete;
  Outcome& operator=(const Outcome&) = delete;
  ~Outcome() { gone(); }

  void tell(Result<T> result) noexcept {
    call([&](Function<void(Result<T>)>& done) { done(std::move(result)); });
  }
  void gone() noexcept {
    call([](Function<void(Result<T>)>& done) { done(Error{errc::not_found, "The connection is gone", {}}); });
  }

 private:
  void call(FunctionRef<void(Function<void(Result<T>)>&)> code) noexcept {
    Function<void(Result<T>)> done = std::move(done_);
    if (!done) return;
    const auto alive = loop_->life.lock();
    if (alive) return (void)loop_->contain("A done", [&] { code(done); });
    try {
      code(done);
    } catch (...) {  // nobody is there who could be told
    }
  }

  std::shared_ptr<Loop> loop_;
  Function<void(Result<T>)> done_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
