// Numbers that spread what would come at once. They can be guessed: what must not be is drawn with a Cipher.
#pragma once

#include <cstdint>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// A bijection of 64 bits that leaves no pattern (the finalizer of SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
[[nodiscard]] inline std::uint64_t scatter(std::uint64_t z) noexcept {
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31U);
}

/// SplitMix64.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}
  [[nodiscard]] std::uint64_t operator()() noexcept { return scatter(state_ += 0x9e3779b97f4a7c15ULL); }

 private:
  std::uint64_t state_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
