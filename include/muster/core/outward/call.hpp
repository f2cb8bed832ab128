// Call: the time in which a handler or hook runs, and may use the Connection& that it was given.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "muster/core/connection/connection_state.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Lives on the stack around a call of the embedder's code. Each thread has its own, one inside the other: a reference
/// that another thread uses is found out too, without reading what may be changing.
class Call {
 public:
  explicit Call(ConnectionState& given) noexcept : given_(&given), loop_(given.loop.get()), outer_(innermost_) {
    innermost_ = this;
  }
  /// Of a hook that is given none.
  explicit Call(Loop& loop) noexcept : loop_(&loop), outer_(innermost_) { innermost_ = this; }
  ~Call() { innermost_ = outer_; }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  /// Throws std::logic_error unless this thread is in a call that was given `used`.
  static void expect(const Connection& used, const char* method, const char* instead) {
    for (const Call* call = innermost_; call != nullptr; call = call->outer_) {
      if (call->given_ == &used) return;
    }
    throw std::logic_error(std::string("Connection::") + method +
                           " outside of the handler or hook that was given the reference: keep its id(), and use " +
                           instead);
  }

  /// The one of this manager that this thread is in; null: none.
  [[nodiscard]] static const Call* of(const void* manager) noexcept {
    const Call* call = innermost_;
    while (call != nullptr && call->loop_->owner != manager) call = call->outer_;
    return call;
  }
  /// Expired: it has none, or it is gone.
  [[nodiscard]] std::weak_ptr<ConnectionState> connection() const {
    return given_ != nullptr ? given_->weak_from_this() : std::weak_ptr<ConnectionState>();
  }
  [[nodiscard]] std::shared_ptr<Loop> loop() const { return loop_->shared_from_this(); }

 private:
  ConnectionState* const given_ = nullptr;
  Loop* const loop_;
  const Call* const outer_;
  static inline thread_local const Call* innermost_ = nullptr;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
