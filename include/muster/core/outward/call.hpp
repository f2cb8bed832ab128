// Call: the time in which a handler or hook may use the Connection& that it was given.
#pragma once

#include <stdexcept>
#include <string>

#include "muster/connection.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Lives on the stack around a call of the embedder's code. Each thread has its own, one inside the other: a reference
/// that another thread uses is found out too, without reading what may be changing.
class Call {
 public:
  explicit Call(const Connection& given) noexcept : given_(&given), outer_(innermost_) { innermost_ = this; }
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

 private:
  const Connection* const given_;
  const Call* const outer_;
  static inline thread_local const Call* innermost_ = nullptr;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
