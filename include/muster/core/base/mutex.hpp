// The core's mutex and its lock.
#pragma once

#include "muster/thread_safety.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

using Mutex = CheckedMutex;
using Lock = CheckedLock<Mutex>;

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
