// Counts what operator new gives out to a thread. Included by one source of an executable: it replaces them.
#pragma once

#include <malloc.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "support/allocations.hpp"

namespace muster::test {
inline thread_local Allocations counted_allocations;
Allocations allocations() { return counted_allocations; }
}  // namespace muster::test

// None of these is inlined: gcc would see one of malloc and new with the other of free and delete.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  void* const at = std::malloc(size == 0 ? 1 : size);
  if (at == nullptr) return at;
  ++muster::test::counted_allocations.calls;
  muster::test::counted_allocations.bytes_in_use += static_cast<std::ptrdiff_t>(malloc_usable_size(at));
  return at;
}
[[gnu::noinline]] void* operator new(std::size_t size) {
  void* const at = operator new(size, std::nothrow);
  if (at == nullptr) throw std::bad_alloc();
  return at;
}
[[gnu::noinline]] void operator delete(void* at) noexcept {
  if (at == nullptr) return;
  muster::test::counted_allocations.bytes_in_use -= static_cast<std::ptrdiff_t>(malloc_usable_size(at));
  std::free(at);
}
[[gnu::noinline]] void operator delete(void* at, std::size_t) noexcept { operator delete(at); }
