// The core's mutex and its lock.
#pragma once

#include <mutex>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

using Mutex = std::mutex;
using Lock = std::lock_guard<Mutex>;

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
