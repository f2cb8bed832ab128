// The other side of permessage-deflate: what a client compresses and inflates, with zlib as clients use it.
#pragma once

#include <zlib.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace muster::test {

inline constexpr std::string_view deflate_tail{"\0\0\xff\xff", 4};

/// A client's compressor. What it has compressed before is its context for what comes.
class Compressor {
 public:
  explicit Compressor(int window_bits = 15, int level = Z_DEFAULT_COMPRESSION) {
    if (deflateInit2(&stream_, level, Z_DEFLATED, -window_bits, 8, Z_DEFAULT_STRATEGY) != Z_OK)
      throw std::runtime_error("deflateInit2");
  }
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;
  ~Compressor() { deflateEnd(&stream_); }

  /// The next message. `last`: its block is marked as the last one (RFC 7692, 7.2.3.5), and ends the context.
  std::string message(std::string_view text, bool last = false) {
    std::string out(deflateBound(&stream_, text.size()) + 64, '\0');
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream_.avail_in = static_cast<uInt>(text.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    deflate(&stream_, last ? Z_FINISH : Z_SYNC_FLUSH);
    out.resize(out.size() - stream_.avail_out);
    if (last) {
      deflateReset(&stream_);
      return out + std::string(1, '\0');
    }
    if (out.empty()) return std::string(1, '\0');  // an empty message behind another: the block of the tail (7.2.3.6)
    out.resize(out.size() - deflate_tail.size());
    return out;
  }

 private:
  z_stream stream_{};
};

/// A message as a client compresses it that keeps no context.
inline std::string deflated(std::string_view text, bool last = false, int level = Z_DEFAULT_COMPRESSION) {
  return Compressor(15, level).message(text, last);
}

/// What a server's compressed message says to a client whose window is `window_bits`.
inline std::string inflated(std::string payload, int window_bits = 15) {
  payload.append(deflate_tail);
  z_stream stream{};
  if (inflateInit2(&stream, -window_bits) != Z_OK) throw std::runtime_error("inflateInit2");
  stream.next_in = reinterpret_cast<Bytef*>(payload.data());
  stream.avail_in = static_cast<uInt>(payload.size());
  std::string out;
  int status = Z_OK;
  do {
    char bytes[4096];
    stream.next_out = reinterpret_cast<Bytef*>(bytes);
    stream.avail_out = sizeof bytes;
    status = ::inflate(&stream, Z_SYNC_FLUSH);
    out.append(bytes, sizeof bytes - stream.avail_out);
  } while (status == Z_OK && (stream.avail_in != 0 || stream.avail_out == 0));
  inflateEnd(&stream);
  if (status != Z_OK && status != Z_BUF_ERROR) throw std::runtime_error("inflate");
  return out;
}

}  // namespace muster::test
