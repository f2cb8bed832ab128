// The seam that turns a message's bytes into frames on the wire, and the plain WebSocket framing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Frames as WebSocket knows them (RFC 6455, 5.2); the values are its opcodes. What is written is never fragmented.
enum class FrameKind : std::uint8_t { continuation = 0, text = 1, binary = 2, ping = 9, pong = 10 };

/// Message bytes -> frames. Immutable and shared by many connections; called from any thread.
class WireFormat {
 public:
  virtual ~WireFormat() = default;

  /// Two formats of one key write the same bytes for the same message: what is encoded for one serves the other.
  [[nodiscard]] virtual std::uint32_t key() const noexcept = 0;

  /// Appends one whole frame to `out`.
  virtual void append(FrameKind kind, std::string_view payload, std::string& out) const = 0;

 protected:
  WireFormat() = default;
  WireFormat(const WireFormat&) = default;
  WireFormat& operator=(const WireFormat&) = default;
};

/// Unmasked, unfragmented, uncompressed: what a server sends (RFC 6455, 5.2).
class WebSocketFormat final : public WireFormat {
 public:
  [[nodiscard]] std::uint32_t key() const noexcept override { return 1; }

  void append(FrameKind kind, std::string_view payload, std::string& out) const override {
    const std::uint64_t size = payload.size();
    out.push_back(static_cast<char>(0x80U | static_cast<unsigned>(kind)));
    const auto big_endian = [&out, size](int bytes) {
      for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
        out.push_back(static_cast<char>((size >> shift) & 0xffU));
    };
    if (size < 126) {
      big_endian(1);
    } else if (size <= 0xffff) {
      out.push_back(126);
      big_endian(2);
    } else {
      out.push_back(127);
      big_endian(8);
    }
    out.append(payload);
  }
};

}  // namespace MUSTER_ABI
}  // namespace muster
