// A second reader of a client's frames, as RFC 6455 and 7692 say it, which has everything at once and is in no hurry.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace muster::fuzz {

class PlainFrames {
 public:
  PlainFrames(std::size_t limit, bool compressed) : limit_(limit), compressed_(compressed) {}

  void read(std::string_view stream) {
    while (!faulted_ && !stream.empty() && frame(stream)) {
    }
  }

  /// The opcode as a digit, z for compressed, and the payload.
  [[nodiscard]] const std::vector<std::string>& messages() const { return messages_; }
  [[nodiscard]] bool faulted() const { return faulted_; }

  /// Whether a whole close frame ends behind `from`, whatever else is wrong with the frames.
  [[nodiscard]] static bool close_behind(std::string_view stream, std::size_t from) {
    std::size_t at = 0;
    for (Header header; header.read(stream.substr(at)) && header.whole;) {
      if ((header.size >> 63U) != 0 || header.size > stream.size() - at - header.bytes) return false;
      at += header.bytes + static_cast<std::size_t>(header.size);
      if (header.opcode() == 8 && at > from) return true;
    }
    return false;
  }

 private:
  struct Header {
    unsigned first = 0;
    bool masked = false;
    unsigned short_size = 0;
    std::uint64_t size = 0;
    std::size_t bytes = 0;
    bool whole = false;
    unsigned char mask[4] = {};

    [[nodiscard]] unsigned opcode() const { return first & 0x0fU; }
    /// False: its first two bytes are not there.
    bool read(std::string_view stream) {
      const auto byte = [stream](std::size_t i) { return static_cast<unsigned char>(stream[i]); };
      whole = false;
      if (stream.size() < 2) return false;
      first = byte(0);
      masked = (byte(1) & 0x80U) != 0;
      short_size = byte(1) & 0x7fU;
      const std::size_t digits = short_size < 126 ? 0 : short_size == 126 ? 2 : 8;
      bytes = 2 + digits + (masked ? 4 : 0);
      if (stream.size() < bytes) return true;
      whole = true;
      size = digits == 0 ? short_size : 0;
      for (std::size_t i = 0; i < digits; ++i) size = size << 8U | byte(2 + i);
      for (std::size_t i = 0; masked && i < 4; ++i) mask[i] = byte(2 + digits + i);
      return true;
    }
  };

  bool fault() {
    faulted_ = true;
    return false;
  }

  /// What the first two bytes have wrong.
  [[nodiscard]] bool is_wrong(const Header& header) const {
    const unsigned opcode = header.opcode();
    const bool control = opcode >= 8;
    const bool fin = (header.first & 0x80U) != 0;
    if ((header.first & 0x30U) != 0 || (opcode > 2 && opcode < 8) || opcode > 10 || !header.masked) return true;
    if ((header.first & 0x40U) != 0 && (!compressed_ || control || opcode == 0)) return true;
    if (control) return !fin || header.short_size > 125;
    return (opcode == 0) != begun_;
  }

  bool frame(std::string_view& stream) {
    Header header;
    if (!header.read(stream)) return false;
    if (is_wrong(header)) return fault();
    if (!header.whole) return false;
    const bool control = header.opcode() >= 8;
    if (header.short_size == 126 && header.size < 126) return fault();
    if (header.short_size == 127 && (header.size < 65536 || (header.size >> 63U) != 0)) return fault();
    if (!control) {
      if (header.opcode() != 0) {
        begun_ = true;
        opcode_ = header.opcode();
        packed_ = (header.first & 0x40U) != 0;
        data_.clear();
      }
      const std::size_t limit = packed_ ? limit_ + limit_ / 256 + 64 : limit_;
      if (header.size > limit - data_.size()) return fault();
    }
    stream.remove_prefix(header.bytes);
    const std::size_t there = std::min<std::uint64_t>(header.size, stream.size());
    std::string payload(stream.substr(0, there));
    for (std::size_t i = 0; i < there; ++i)
      payload[i] = static_cast<char>(static_cast<unsigned char>(payload[i]) ^ header.mask[i % 4]);
    stream.remove_prefix(there);
    const bool ends = there == header.size;
    if (control) {
      if (ends) messages_.push_back(std::string(1, static_cast<char>('0' + header.opcode())) + " " + payload);
      return ends;
    }
    data_ += payload;
    const bool last = ends && (header.first & 0x80U) != 0;
    if (opcode_ == 1 && !packed_ && !is_text(data_, last)) return fault();
    if (last) {
      messages_.push_back(std::string(1, static_cast<char>('0' + opcode_)) + (packed_ ? "z" : " ") + data_);
      begun_ = false;
    }
    return ends;
  }

  /// UTF-8 (RFC 3629), or the beginning of it where it is not all there.
  [[nodiscard]] static bool is_text(std::string_view text, bool whole) {
    for (std::size_t i = 0; i < text.size();) {
      const auto byte = [text](std::size_t at) { return static_cast<unsigned char>(text[at]); };
      const unsigned lead = byte(i);
      const std::size_t more = lead < 0x80   ? 0
                               : lead < 0xc2 ? 9
                               : lead < 0xe0 ? 1
                               : lead < 0xf0 ? 2
                               : lead < 0xf5 ? 3
                                             : 9;
      if (more == 9) return false;
      for (std::size_t n = 1; n <= more; ++n) {
        if (i + n == text.size()) return !whole;
        const unsigned next = byte(i + n);
        unsigned least = 0x80;
        unsigned most = 0xbf;
        if (n == 1 && lead == 0xe0) least = 0xa0;
        if (n == 1 && lead == 0xed) most = 0x9f;
        if (n == 1 && lead == 0xf0) least = 0x90;
        if (n == 1 && lead == 0xf4) most = 0x8f;
        if (next < least || next > most) return false;
      }
      i += 1 + more;
    }
    return true;
  }

  const std::size_t limit_;
  const bool compressed_;
  std::vector<std::string> messages_;
  bool faulted_ = false;
  bool begun_ = false;
  unsigned opcode_ = 0;
  bool packed_ = false;
  std::string data_;
};

}  // namespace muster::fuzz
