// A keyed permutation of 64 bits: counted numbers become ones that nobody without the key can continue.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// XTEA (Needham and Wheeler, "Tea extensions", 1997): 64 rounds, a key of 128 bits. No two blocks become the same.
class Cipher {
 public:
  using Key = std::array<std::uint32_t, 4>;

  explicit Cipher(const Key& key) : key_(key) {}

  [[nodiscard]] std::uint64_t operator()(std::uint64_t block) const noexcept {
    constexpr std::uint32_t delta = 0x9e3779b9U;
    auto high = static_cast<std::uint32_t>(block >> 32U);
    auto low = static_cast<std::uint32_t>(block);
    std::uint32_t sum = 0;
    for (int i = 0; i < 32; ++i) {
      high += (((low << 4U) ^ (low >> 5U)) + low) ^ (sum + key_[sum & 3U]);
      sum += delta;
      low += (((high << 4U) ^ (high >> 5U)) + high) ^ (sum + key_[(sum >> 11U) & 3U]);
    }
    return (std::uint64_t{high} << 32U) | low;
  }

 private:
  Key key_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
