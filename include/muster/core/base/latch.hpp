// Latch: what is to happen when the last of many has been done.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

#include "muster/function.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Shared by those who have something to do; calls `done`, with what they counted, when the last of them lets go of it.
class Latch {
 public:
  explicit Latch(Function<void(std::size_t)> done) : done_(std::move(done)) {}
  ~Latch() {
    if (done_) done_(count_.load());
  }
  Latch(const Latch&) = delete;
  Latch& operator=(const Latch&) = delete;
  void count(std::size_t amount = 1) { count_ += amount; }

 private:
  Function<void(std::size_t)> done_;
  std::atomic<std::size_t> count_{0};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
