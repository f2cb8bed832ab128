// Continuation: how a handler or hook goes on later, where it ran.
#pragma once

#include <memory>

#include "muster/config.hpp"
#include "muster/function.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Goes on with what a handler or hook has begun, on its executor and with its rules: its manager is there while a task
/// runs, and what that throws is counted, logged, and closes the connection, where there is one still, with internal_error.
/// Made by IConnectionManager::continuation; coroutine.hpp is built on it.
///
/// Ownership: shared; it keeps the executor, and neither the manager nor the connection. Threads: any.
class Continuation {
 public:
  virtual ~Continuation() = default;

  /// Runs `task` later, whatever has become of the connection. Where that cannot be, as the executor has stopped or the
  /// manager is gone, `task` is destroyed unrun, here or on the executor.
  virtual void post(Function<void()> task) = 0;

 protected:
  Continuation() = default;
  Continuation(const Continuation&) = default;
  Continuation& operator=(const Continuation&) = default;
};

}  // namespace MUSTER_ABI
}  // namespace muster
