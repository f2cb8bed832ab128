// Counts what operator new has given out and not got back. Included by one source of an executable: it replaces them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace muster::test {
inline std::atomic<std::ptrdiff_t> live_allocations{0};
}

// None of these is inlined: gcc would see one of malloc and new with the other of free and delete.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  void* const at = std::malloc(size == 0 ? 1 : size);
  if (at != nullptr) ++muster::test::live_allocations;
  return at;
}
[[gnu::noinline]] void* operator new(std::size_t size) {
  void* const at = operator new(size, std::nothrow);
  if (at == nullptr) throw std::bad_alloc();
  return at;
}
[[gnu::noinline]] void operator delete(void* at) noexcept {
  if (at == nullptr) return;
  --muster::test::live_allocations;
  std::free(at);
}
[[gnu::noinline]] void operator delete(void* at, std::size_t) noexcept { operator delete(at); }
