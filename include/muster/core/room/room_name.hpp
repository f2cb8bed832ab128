// Which names rooms may have.
#pragma once

#include <cstddef>
#include <string_view>

#include "muster/options.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Length of the character at `at`, if it is well formed (Unicode, table 3-7), no control character, and no separator
/// of lines (U+2028, U+2029); else 0.
[[nodiscard]] inline std::size_t visible_character(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const auto follows = [&](std::size_t i, unsigned least = 0x80, unsigned most = 0xbf) {
    return byte(i) >= least && byte(i) <= most;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  if (first >= 0xc2 && first <= 0xdf) return follows(1, first == 0xc2 ? 0xa0 : 0x80) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (first == 0xe2 && byte(1) == 0x80 && (byte(2) == 0xa8 || byte(2) == 0xa9)) return 0;
    return follows(1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf) && follows(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    return follows(1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

[[nodiscard]] inline bool valid_room_name(std::string_view name, const Options& options) {
  if (name.empty() || name.size() > options.room_name_bytes) return false;
  if (options.room_names == RoomNames::ascii) {
    for (const char c : name) {
      const bool may_be = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                          c == ':' || c == '.' || c == '-';
      if (!may_be) return false;
    }
    return true;
  }
  for (std::size_t at = 0; at < name.size();) {
    const std::size_t length = visible_character(name, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
