// The core's mutex: std::mutex, or in the simulation tests one that lets other executors run at every boundary.
#pragma once

#include <mutex>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

#if defined(MUSTER_SIMULATION)
/// Called outside of every locked section; the simulator runs other executors' tasks here.
inline void (*simulation_yield)() = nullptr;

/// For one thread: locking twice is a bug of the core, and reported as such.
class Mutex {
 public:
  void lock() {
    if (simulation_yield != nullptr && held == 0) simulation_yield();
    if (locked_ || held != 0) simulation_fault("two locks are held together");
    locked_ = true;
    ++held;
  }
  void unlock() {
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
#else
using Mutex = std::mutex;
#endif

using Lock = std::lock_guard<Mutex>;

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
