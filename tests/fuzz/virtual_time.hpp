// The monotonic clock of this process, in the target's hands: what is linked with virtual_time.cpp waits for nothing.
#pragma once

#include <chrono>

namespace muster::fuzz {

/// Sets the clock to what a process finds at its beginning, long after the machine's.
void reset_clock();
/// The clock stands still but for this.
void advance_clock(std::chrono::milliseconds by);

}  // namespace muster::fuzz
