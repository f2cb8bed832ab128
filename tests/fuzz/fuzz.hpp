// What every fuzz target shares: how input becomes decisions, how a broken promise ends the process, and what is held.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MUSTER_FUZZ_ASAN
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define MUSTER_FUZZ_ASAN
#endif
#if defined(MUSTER_FUZZ_ASAN)
// As <sanitizer/allocator_interface.h> has it, which not every g++ brings.
extern "C" std::size_t __sanitizer_get_current_allocated_bytes();
#else
#include <malloc.h>
#endif

namespace muster::fuzz {

// A target defines these two.

/// One input, whatever it is. What it breaks ends the process.
void run(std::string_view input);
/// What the fuzzer begins with, and what the other builds run.
[[nodiscard]] std::vector<std::string> seeds();

/// A promise that every input keeps.
inline void must(bool holds, std::string_view promise) {
  if (holds) return;
  std::fprintf(stderr, "BROKEN: %.*s\n", static_cast<int>(promise.size()), promise.data());
  std::abort();
}

/// The same for an amount, which a report then names.
inline void at_most(std::size_t amount, std::size_t bound, std::string_view promise) {
  if (amount > bound) std::fprintf(stderr, "%zu, and at most %zu were promised\n", amount, bound);
  must(amount <= bound, promise);
}

/// Bytes on the heap now.
[[nodiscard]] inline std::size_t held_bytes() {
#if defined(MUSTER_FUZZ_ASAN)
  return __sanitizer_get_current_allocated_bytes();
#else
  const auto now = mallinfo2();
  return now.uordblks + now.hblkhd;
#endif
}

/// The input from its beginning, as decisions. When it is used up, everything is 0.
class Choices {
 public:
  explicit Choices(std::string_view input) : rest_(input) {}

  [[nodiscard]] bool done() const { return rest_.empty(); }
  unsigned byte() {
    if (rest_.empty()) return 0;
    const auto first = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    return first;
  }
  unsigned below(unsigned bound) { return byte() % bound; }
  std::uint64_t number(int bytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8U | byte();
    return value;
  }
  std::string_view bytes(std::size_t most) {
    const std::string_view taken = rest_.substr(0, most);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  /// So many bytes as the next byte says.
  std::string_view some() { return bytes(byte()); }
  /// Up to the end of the line, without it.
  std::string_view line() {
    const std::string_view taken = rest_.substr(0, rest_.find('\n'));
    rest_.remove_prefix(std::min(taken.size() + 1, rest_.size()));
    return taken;
  }
  std::string_view rest() { return bytes(rest_.size()); }

 private:
  std::string_view rest_;
};

/// The same bytes alone in memory, so that a sanitizer sees who reads beyond them.
class Alone {
 public:
  explicit Alone(std::string_view bytes) : bytes_(bytes.begin(), bytes.end()) { bytes_.shrink_to_fit(); }
  [[nodiscard]] std::string_view view() const { return {bytes_.data(), bytes_.size()}; }

 private:
  std::vector<char> bytes_;
};

}  // namespace muster::fuzz
