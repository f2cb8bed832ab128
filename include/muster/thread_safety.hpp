// For muster's own code: what is touched only under which lock, as clang checks it (-Wthread-safety). Other compilers see
// a std::mutex. Clang looks into no constructor, destructor or catch block.
#pragma once

#include <mutex>

#include "muster/config.hpp"

#if defined(__clang__)
#define MUSTER_THREAD_SAFETY(attribute) __attribute__((attribute))
#else
#define MUSTER_THREAD_SAFETY(attribute)
#endif

// Of classes: something that can be held, and what holds it while it lives.
#define MUSTER_CAPABILITY(kind) MUSTER_THREAD_SAFETY(capability(kind))
#define MUSTER_SCOPED_CAPABILITY MUSTER_THREAD_SAFETY(scoped_lockable)
// Of fields: touched only while it is held. Of functions: called only while it is, or while it is not, held.
#define MUSTER_GUARDED_BY(mutex) MUSTER_THREAD_SAFETY(guarded_by(mutex))
#define MUSTER_REQUIRES(mutex) MUSTER_THREAD_SAFETY(requires_capability(mutex))
#define MUSTER_EXCLUDES(mutex) MUSTER_THREAD_SAFETY(locks_excluded(mutex))
// Of functions that take it and give it back; without an argument, the object itself.
#define MUSTER_ACQUIRE(...) MUSTER_THREAD_SAFETY(acquire_capability(__VA_ARGS__))
#define MUSTER_RELEASE(...) MUSTER_THREAD_SAFETY(release_capability(__VA_ARGS__))

namespace muster {
inline namespace MUSTER_ABI {

/// std::mutex, of which the standard library does not say that it can be held.
class MUSTER_CAPABILITY("mutex") CheckedMutex {
 public:
  void lock() MUSTER_ACQUIRE() { mutex_.lock(); }
  void unlock() MUSTER_RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

/// std::lock_guard likewise.
template <class Held>
class MUSTER_SCOPED_CAPABILITY CheckedLock {
 public:
  explicit CheckedLock(Held& mutex) MUSTER_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~CheckedLock() MUSTER_RELEASE() { mutex_.unlock(); }
  CheckedLock(const CheckedLock&) = delete;
  CheckedLock& operator=(const CheckedLock&) = delete;

 private:
  Held& mutex_;
};

}  // namespace MUSTER_ABI
}  // namespace muster
