// Lets one allocation of the calling thread fail. Included by one source of an executable: it replaces operator new.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

namespace muster::test {

/// While one lives, the `nth` allocation from its beginning on fails (0: none does).
class FailingAllocation {
 public:
  explicit FailingAllocation(std::size_t nth) {
    left() = nth;
    fired() = false;
  }
  ~FailingAllocation() { left() = 0; }
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;

  [[nodiscard]] static bool& fired() {
    static thread_local bool has = false;
    return has;
  }
  [[gnu::noinline]] static void hit() { fired() = true; }
  [[nodiscard]] static bool is_next() {
    if (left() == 0 || --left() != 0) return false;
    hit();
    return true;
  }

 private:
  static std::size_t& left() {
    static thread_local std::size_t allocations = 0;
    return allocations;
  }
};

}  // namespace muster::test

// None of these is inlined: gcc would see one of malloc and new with the other of free and delete.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return muster::test::FailingAllocation::is_next() ? nullptr : std::malloc(size == 0 ? 1 : size);
}
[[gnu::noinline]] void* operator new(std::size_t size) {
  void* const at = operator new(size, std::nothrow);
  if (at == nullptr) throw std::bad_alloc();
  return at;
}
[[gnu::noinline]] void operator delete(void* at) noexcept { std::free(at); }
[[gnu::noinline]] void operator delete(void* at, std::size_t) noexcept { operator delete(at); }
