// What the JSON reader and writer both ask of text: how far it can be copied as it is.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {
namespace json_protocol {

/// The length of the UTF-8 sequence at `p` (RFC 3629, 4); 0: there is none.
[[nodiscard]] inline std::size_t sequence_length(const char* p, const char* end) noexcept {
  const auto byte = [p](std::size_t i) { return static_cast<unsigned char>(p[i]); };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xc0U) == 0x80U; };
  const auto left = static_cast<std::size_t>(end - p);
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  if (first < 0xe0) return left >= 2 && continues(1) ? 2 : 0;
  if (first < 0xf0) {
    if (left < 3 || !continues(1) || !continues(2)) return 0;
    if (first == 0xe0 && byte(1) < 0xa0) return 0;  // could be shorter
    if (first == 0xed && byte(1) > 0x9f) return 0;  // a surrogate
    return 3;
  }
  if (left < 4 || !continues(1) || !continues(2) || !continues(3)) return 0;
  if (first == 0xf0 && byte(1) < 0x90) return 0;  // could be shorter
  if (first == 0xf4 && byte(1) > 0x8f) return 0;  // beyond U+10FFFF
  return 4;
}

/// Which bytes may stand in a JSON string as they are, by themselves (RFC 8259, 7).
[[nodiscard]] constexpr std::array<bool, 256> make_plain_ascii() noexcept {
  std::array<bool, 256> plain{};
  for (std::size_t byte = 0x20; byte < 0x80; ++byte) plain[byte] = byte != '"' && byte != '\\';
  return plain;
}
inline constexpr std::array<bool, 256> plain_ascii = make_plain_ascii();

/// The first byte that may not stand in a JSON string as it is: a quote, a backslash, a control character, or one that
/// begins no UTF-8 sequence; or `end`.
[[nodiscard]] inline const char* plain_end(const char* p, const char* end) noexcept {
  constexpr std::uint64_t ones = 0x0101010101010101U;
  constexpr std::uint64_t highs = 0x8080808080808080U;
  for (;;) {
    // Eight bytes at once, as long as all are plain ASCII: what a byte is below, or equal to, turns up as a borrow into
    // its highest bit (Warren, Hacker's Delight, 6-1).
    while (end - p >= 8) {
      std::uint64_t word;
      std::memcpy(&word, p, 8);
      const std::uint64_t quotes = word ^ (ones * '"');
      const std::uint64_t backslashes = word ^ (ones * '\\');
      if (((word | (word - ones * 0x20) | (quotes - ones) | (backslashes - ones)) & highs) != 0) break;
      p += 8;
    }
    while (p != end && plain_ascii[static_cast<unsigned char>(*p)]) ++p;
    if (p == end || static_cast<unsigned char>(*p) < 0x80) return p;
    const std::size_t length = sequence_length(p, end);
    if (length == 0) return p;
    p += length;
  }
}

}  // namespace json_protocol
}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
