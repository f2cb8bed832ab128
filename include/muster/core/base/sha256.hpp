// SHA-256 (FIPS 180-4), so that tokens are kept as hashes only and random ones come from one secret.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

using Digest = std::array<std::uint8_t, 32>;

[[nodiscard]] inline Digest sha256(std::string_view message) {
  constexpr std::array<std::uint32_t, 64> k{
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
      0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
      0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
      0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
      0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
      0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
      0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
      0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
  std::array<std::uint32_t, 8> h{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  const auto rotate = [](std::uint32_t x, unsigned by) { return (x >> by) | (x << (32 - by)); };

  // Whole blocks as they stand, then one or two with what is left, a bit, and the length.
  const std::size_t whole = message.size() / 64 * 64;
  std::array<char, 128> padded{};
  const std::size_t left = message.copy(padded.data(), 64, whole);
  padded[left] = '\x80';
  const std::size_t ending = left < 56 ? 64 : 128;
  const std::uint64_t bits = std::uint64_t{message.size()} * 8;
  for (std::size_t i = 0; i < 8; ++i) padded[ending - 1 - i] = static_cast<char>(bits >> (8 * i));

  for (std::size_t block = 0; block < whole + ending; block += 64) {
    const char* const bytes = block < whole ? message.data() + block : padded.data() + (block - whole);
    std::array<std::uint32_t, 64> w{};
    for (std::size_t i = 0; i < 64; ++i) {
      w[i / 4] = (w[i / 4] << 8U) | static_cast<std::uint8_t>(bytes[i]);
    }
    for (std::size_t i = 16; i < 64; ++i) {
      const std::uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >> 3U);
      const std::uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >> 10U);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    auto v = h;
    for (std::size_t i = 0; i < 64; ++i) {
      const std::uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
      const std::uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
      const std::uint32_t t1 = v[7] + s1 + choice + k[i] + w[i];
      const std::uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
      const std::uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
      v = {t1 + s0 + majority, v[0], v[1], v[2], v[3] + t1, v[4], v[5], v[6]};
    }
    for (std::size_t i = 0; i < 8; ++i) h[i] += v[i];
  }
  Digest digest{};
  for (std::size_t i = 0; i < 32; ++i) digest[i] = static_cast<std::uint8_t>(h[i / 4] >> (24 - 8 * (i % 4)));
  return digest;
}

/// The first `bytes` of a digest in lower-case hexadecimal digits.
[[nodiscard]] inline std::string to_hex(const Digest& digest, std::size_t bytes = 32) {
  static constexpr auto digits = [] {
    std::array<std::array<char, 2>, 256> of{};
    for (std::size_t i = 0; i < 256; ++i) of[i] = {"0123456789abcdef"[i >> 4U], "0123456789abcdef"[i & 15U]};
    return of;
  }();
  std::string text(2 * bytes, '0');
  for (std::size_t i = 0; i < bytes; ++i) std::memcpy(&text[2 * i], digits[digest[i]].data(), 2);
  return text;
}

/// The digest that `to_hex` wrote; nothing for anything else.
[[nodiscard]] inline std::optional<Digest> parse_digest(std::string_view text) noexcept {
  static constexpr auto values = [] {
    std::array<std::uint8_t, 256> of{};
    for (auto& value : of) value = 0xff;
    for (std::uint8_t i = 0; i < 16; ++i) of[static_cast<unsigned char>("0123456789abcdef"[i])] = i;
    return of;
  }();
  Digest digest{};
  if (text.size() != 2 * digest.size()) return std::nullopt;
  unsigned all = 0;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const unsigned high = values[static_cast<unsigned char>(text[2 * i])];
    const unsigned low = values[static_cast<unsigned char>(text[2 * i + 1])];
    digest[i] = static_cast<std::uint8_t>(high << 4U | low);
    all |= high | low;
  }
  if (all > 0xf) return std::nullopt;
  return digest;
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
