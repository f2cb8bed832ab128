// permessage-deflate without context takeover (RFC 7692): one inflater and one deflater per loop, whatever the number of
// connections. The only place that knows zlib.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <string_view>

#include "muster/wire_format.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

/// What ends every flush and does not travel (RFC 7692, 7.2.1).
inline constexpr std::string_view deflate_tail{"\x00\x00\xff\xff", 4};

/// Inflates whole messages, one after another; nothing of one is left for the next. About 40 KiB once used.
class Inflater {
 public:
  enum class Result : std::uint8_t { done, too_big, damaged };

  Inflater() {
    if (inflateInit2(&stream_, -15) != Z_OK) throw std::bad_alloc();
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { inflateEnd(&stream_); }

  /// Replaces `out` by the message, `deflated` being what came of it followed by the tail. Never makes more than
  /// `limit` + 1 bytes, whatever they stand for.
  [[nodiscard]] Result inflate(std::string_view deflated, std::size_t limit, std::string& out) {
    out.clear();
    if (inflateReset(&stream_) != Z_OK || deflated.size() > UINT32_MAX) return Result::damaged;
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(deflated.data()));
    stream_.avail_in = static_cast<uInt>(deflated.size());
    for (;;) {
      const std::size_t size = out.size();
      const std::size_t room = std::min(chunk, limit + 1 - size);
      out.resize(size + room);
      stream_.next_out = reinterpret_cast<Bytef*>(&out[size]);
      stream_.avail_out = static_cast<uInt>(room);
      const int status = ::inflate(&stream_, Z_SYNC_FLUSH);
      out.resize(out.size() - stream_.avail_out);
      if (out.size() > limit) return Result::too_big;
      if (status == Z_STREAM_END) {
        // A peer may mark a block as its last (RFC 7692, 7.2.3.5); what follows is a stream of its own.
        if (stream_.avail_in == 0) return Result::done;
        if (inflateReset(&stream_) != Z_OK) return Result::damaged;
        continue;
      }
      if (status != Z_OK && status != Z_BUF_ERROR) return Result::damaged;
      // All is used, and nothing more was to be had: a whole message ends where a block does.
      if (stream_.avail_out != 0) return stream_.avail_in == 0 && (stream_.data_type & 128) != 0 ? Result::done : Result::damaged;
    }
  }

 private:
  static constexpr std::size_t chunk = 16 * 1024;
  z_stream stream_{};
};

/// Frames that are compressed where that makes them smaller. One object per loop, because it compresses with one
/// deflater: up to 256 KiB, made by the first message that is large enough.
class DeflateFormat final : public WireFormat {
 public:
  /// `window_bits`: 9 to 15, what the peer is able to look back. Messages below `min_bytes` stay as they are.
  DeflateFormat(int window_bits, std::size_t min_bytes)
      : window_bits_(window_bits), min_bytes_(std::min<std::size_t>(min_bytes, max_min_bytes)) {}
  DeflateFormat(const DeflateFormat&) = delete;
  DeflateFormat& operator=(const DeflateFormat&) = delete;
  ~DeflateFormat() override {
    if (deflater_) deflateEnd(deflater_.get());
  }

  [[nodiscard]] std::uint32_t key() const noexcept override {
    return static_cast<std::uint32_t>(window_bits_) << 28U | static_cast<std::uint32_t>(min_bytes_);
  }

  void append(FrameKind kind, std::string_view payload, std::string& out) const override {
    const bool data = kind == FrameKind::text || kind == FrameKind::binary;
    // Its own loop's thread is the only one that comes here often: the lock keeps the seam's promise, and is not waited for.
    const std::lock_guard<std::mutex> lock(mutex_);
    const bool smaller = data && payload.size() >= min_bytes_ && payload.size() <= UINT32_MAX / 2 && compress(payload);
    const std::size_t at = out.size();
    plain_.append(kind, smaller ? std::string_view(deflated_) : payload, out);
    if (smaller) out[at] = static_cast<char>(static_cast<unsigned char>(out[at]) | 0x40U);  // RSV1; RFC 7692, 6
    if (deflated_.capacity() > kept_bytes) deflated_ = {};
  }

 private:
  /// Whether `deflated_` is the message now, in fewer bytes.
  [[nodiscard]] bool compress(std::string_view payload) const {
    if (!deflater_) {
      auto made = std::make_unique<z_stream>();
      if (deflateInit2(made.get(), Z_DEFAULT_COMPRESSION, Z_DEFLATED, -window_bits_, 8, Z_DEFAULT_STRATEGY) != Z_OK) return false;
      deflater_ = std::move(made);
    } else if (deflateReset(deflater_.get()) != Z_OK) {
      return false;
    }
    // As much as is still worth it, and the tail that is cut off: what does not fit is sent as it is.
    deflated_.resize(payload.size() + deflate_tail.size());
    z_stream& stream = *deflater_;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(payload.data()));
    stream.avail_in = static_cast<uInt>(payload.size());
    stream.next_out = reinterpret_cast<Bytef*>(deflated_.data());
    stream.avail_out = static_cast<uInt>(deflated_.size());
    if (deflate(&stream, Z_SYNC_FLUSH) != Z_OK || stream.avail_in != 0 || stream.avail_out == 0) return false;
    deflated_.resize(deflated_.size() - stream.avail_out - deflate_tail.size());
    return deflated_.size() < payload.size();
  }

  static constexpr std::size_t max_min_bytes = (std::size_t{1} << 28U) - 1;
  static constexpr std::size_t kept_bytes = 256 * 1024;
  const int window_bits_;
  const std::size_t min_bytes_;
  const WebSocketFormat plain_;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<z_stream> deflater_;
  mutable std::string deflated_;
};

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
