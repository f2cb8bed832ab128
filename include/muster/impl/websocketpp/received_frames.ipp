// Counts fragments: frames that do not end their message, of which websocketpp tells nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

/// Follows the headers of a client's frames (RFC 6455, 5.2), however they are cut. Whether they are valid is
/// websocketpp's to say; after one that is not, nothing is read any more.
class FragmentCounter {
 public:
  /// How many of the frames whose header ends in these bytes do not end their message. Without them a peer could send
  /// empty fragments for ever, and no limit would notice.
  [[nodiscard]] std::size_t scan(std::string_view bytes) noexcept {
    std::size_t found = 0;
    while (!bytes.empty()) {
      if (payload_left_ != 0) {
        const auto skipped = static_cast<std::size_t>(std::min<std::uint64_t>(payload_left_, bytes.size()));
        payload_left_ -= skipped;
        bytes.remove_prefix(skipped);
        continue;
      }
      const auto byte = static_cast<std::uint8_t>(bytes.front());
      bytes.remove_prefix(1);
      switch (have_++) {
        case 0:
          final_ = (byte & 0x80U) != 0;
          break;
        case 1: {
          const unsigned length = byte & 0x7fU;
          length_bytes_ = length == 127 ? 8 : length == 126 ? 2 : 0;
          header_bytes_ = 2 + length_bytes_ + ((byte & 0x80U) != 0 ? 4 : 0);
          length_ = length_bytes_ == 0 ? length : 0;
          break;
        }
        default:
          if (have_ <= 2 + length_bytes_) length_ = length_ << 8U | byte;
      }
      if (have_ < 2 || have_ != header_bytes_) continue;
      have_ = 0;
      payload_left_ = length_;
      if (!final_) ++found;
    }
    return found;
  }

 private:
  std::uint64_t payload_left_ = 0;
  std::uint64_t length_ = 0;
  unsigned have_ = 0;
  unsigned header_bytes_ = 0;
  unsigned length_bytes_ = 0;
  bool final_ = false;
};

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
