// WebSocket frames (RFC 6455, 5.2) for the bench: written whole, and found in what was read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace muster::bench {

enum class Opcode : std::uint8_t { text = 1, close = 8, ping = 9, pong = 10 };
enum class Sender { server, client };

/// A client masks with a key of zeros, which leaves the payload as it is: valid, and costs the load client nothing.
inline void append_frame(std::string& out, Sender sender, Opcode opcode, std::string_view payload) {
  const unsigned mask_bit = sender == Sender::client ? 0x80U : 0U;
  const std::uint64_t size = payload.size();
  const int digits = size < 126 ? 0 : size <= 0xffff ? 2 : 8;
  const unsigned short_size = digits == 0 ? static_cast<unsigned>(size) : digits == 2 ? 126U : 127U;
  out.push_back(static_cast<char>(0x80U | static_cast<unsigned>(opcode)));
  out.push_back(static_cast<char>(mask_bit | short_size));
  for (int shift = 8 * (digits - 1); shift >= 0; shift -= 8) out.push_back(static_cast<char>((size >> shift) & 0xffU));
  if (sender == Sender::client) out.append(4, '\0');
  out.append(payload);
}

struct Frame {
  Opcode opcode;
  bool compressed;  ///< RSV1: RFC 7692
  std::string_view payload;
  /// Of the frame in all, header included.
  std::size_t size;
};

/// The frame that `bytes` begin with, once it is there whole. The payload is not unmasked: the key is zeros.
inline std::optional<Frame> first_frame(std::string_view bytes) {
  if (bytes.size() < 2) return std::nullopt;
  const auto byte = [bytes](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
  std::uint64_t size = byte(1) & 0x7fU;
  std::size_t header = 2;
  if (size >= 126) {
    const std::size_t digits = size == 126 ? 2 : 8;
    if (bytes.size() < header + digits) return std::nullopt;
    size = 0;
    for (std::size_t i = 0; i < digits; ++i) size = size << 8U | byte(header + i);
    header += digits;
  }
  if ((byte(1) & 0x80U) != 0) header += 4;
  if (bytes.size() < header || bytes.size() - header < size) return std::nullopt;
  const auto length = static_cast<std::size_t>(size);
  return Frame{static_cast<Opcode>(byte(0) & 0x0fU), (byte(0) & 0x40U) != 0, bytes.substr(header, length),
               header + length};
}

}  // namespace muster::bench
