// The core's mutex in simulations: for one thread, it lets other executors run at every boundary of a locked section.
//
// seed_faults.py puts it in the place of muster/core/base/mutex.hpp.
#pragma once

#include "muster/thread_safety.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Called outside of every locked section; the simulator runs other executors' tasks here.
inline void (*simulation_yield)() = nullptr;

/// For one thread: locking twice is a bug of the core, and reported as such.
class MUSTER_CAPABILITY("mutex") Mutex {
 public:
  void lock() MUSTER_ACQUIRE() {
    if (simulation_yield != nullptr && held == 0) simulation_yield();
    if (locked_ || held != 0) simulation_fault("two locks are held together");
    locked_ = true;
    ++held;
  }
  void unlock() MUSTER_RELEASE() {
    locked_ = false;
    --held;
    if (simulation_yield != nullptr && held == 0) simulation_yield();
  }
  /// Locks held now: a callback or a post under one is a bug of the core.
  static inline int held = 0;
  /// Must not return.
  static inline void (*simulation_fault)(const char* what) = nullptr;

 private:
  bool locked_ = false;
};

using Lock = CheckedLock<Mutex>;

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
