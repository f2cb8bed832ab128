// What the calling thread has taken from the heap; support/counted_allocations.hpp counts it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace muster::test {

struct Allocations {
  /// Of operator new.
  std::uint64_t calls = 0;
  /// What the heap has set aside for them: somewhat more than they asked for.
  std::ptrdiff_t bytes_in_use = 0;
};
[[nodiscard]] Allocations allocations();

}  // namespace muster::test
