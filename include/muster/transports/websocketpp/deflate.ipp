// permessage-deflate (RFC 7692): one inflater and one deflater per loop, whatever the number of connections; of a client
// that keeps its context the window alone. The only place that knows zlib.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "muster/thread_safety.hpp"
#include "muster/wire_format.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

/// What ends every flush and does not travel (RFC 7692, 7.2.1).
inline constexpr std::string_view deflate_tail{"\x00\x00\xff\xff", 4};

/// What a client that keeps its context may refer back to: the end of what it has compressed so far (RFC 7692, 7.2.2).
/// Holds as much as has come, up to the window.
class Window {
 public:
  explicit Window(int bits) : limit_(std::size_t{1} << static_cast<unsigned>(bits)) {}

  [[nodiscard]] std::string_view view() const noexcept { return {bytes_.get(), size_}; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  void append(std::string_view message) {
    message.remove_prefix(message.size() - std::min(message.size(), limit_));
    if (message.empty()) return;
    const std::size_t kept = std::min(size_, limit_ - message.size());
    const std::size_t size = kept + message.size();
    const char* const last = bytes_.get() + (size_ - kept);
    if (size > capacity_) {
      const std::size_t capacity = std::min(limit_, std::max(size, 2 * capacity_));
      std::unique_ptr<char[]> larger(new char[capacity]);
      if (kept != 0) std::memcpy(larger.get(), last, kept);
      bytes_ = std::move(larger);
      capacity_ = capacity;
    } else {
      std::memmove(bytes_.get(), last, kept);
    }
    size_ = size;
    std::memcpy(bytes_.get() + kept, message.data(), message.size());
  }

 private:
  const std::size_t limit_;
  std::unique_ptr<char[]> bytes_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

/// Inflates whole messages, one after another; nothing of one is left for the next. About 40 KiB once used, and what the
/// largest of the last messages took.
class Inflater {
 public:
  /// `beyond_window`: the message refers to what neither it nor its window has.
  enum class Result : std::uint8_t { done, too_big, beyond_window, damaged };
  struct Inflated {
    Result result = Result::damaged;
    std::string_view message;  ///< valid until the next call
  };

  Inflater() {
    if (inflateInit2(&stream_, -15) != Z_OK) throw std::bad_alloc();
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { inflateEnd(&stream_); }

  /// The message, `deflated` being what came of it followed by the tail, and `window` what was before it. Never makes more
  /// than `limit` + 1 bytes, whatever they stand for; work and memory go by what came in and what is made of it, not by the
  /// number of blocks.
  [[nodiscard]] Inflated inflate(std::string_view deflated, std::size_t limit, std::string_view window = {}) {
    if (inflateReset(&stream_) != Z_OK || deflated.size() > UINT32_MAX) return {};
    if (!window.empty() && inflateSetDictionary(&stream_, reinterpret_cast<const Bytef*>(window.data()),
                                                static_cast<uInt>(window.size())) != Z_OK) {
      return {};
    }
    if (capacity_ > kept_bytes) reserve(0, chunk);
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(deflated.data()));
    stream_.avail_in = static_cast<uInt>(deflated.size());
    std::size_t size = 0;
    for (;;) {
      if (size == capacity_) reserve(size, std::max(chunk, 2 * size));
      const std::size_t room = std::min<std::size_t>({capacity_ - size, limit + 1 - size, UINT32_MAX});
      stream_.next_out = reinterpret_cast<Bytef*>(buffer_.get() + size);
      stream_.avail_out = static_cast<uInt>(room);
      const int status = ::inflate(&stream_, Z_SYNC_FLUSH);
      size += room - stream_.avail_out;
      if (size > limit) return {Result::too_big, {}};
      const bool all_used = stream_.avail_in == 0;
      const Inflated whole{Result::done, {buffer_.get(), size}};
      if (status == Z_STREAM_END) {
        // A peer may mark a block as its last (RFC 7692, 7.2.3.5); what follows is a stream of its own.
        if (all_used) return whole;
        if (inflateReset(&stream_) != Z_OK) return {};
        continue;
      }
      if (status != Z_OK) return {refers_too_far() ? Result::beyond_window : Result::damaged, {}};
      // A whole message ends where a block does, as zlib says before it is asked for more, which it then has not.
      if (all_used && (stream_.data_type & 128) != 0) return whole;
      if (stream_.avail_out != 0) return {};
    }
  }

 private:
  static constexpr std::size_t chunk = 16 * 1024;
  static constexpr std::size_t kept_bytes = 64 * 1024;

  [[nodiscard]] bool refers_too_far() const {
    return stream_.msg != nullptr && std::string_view(stream_.msg) == "invalid distance too far back";
  }

  /// Not cleared: zlib writes what is read.
  void reserve(std::size_t size, std::size_t capacity) {
    std::unique_ptr<char[]> larger(new char[capacity]);
    if (size != 0) std::memcpy(larger.get(), buffer_.get(), size);
    buffer_ = std::move(larger);
    capacity_ = capacity;
  }

  z_stream stream_{};
  std::unique_ptr<char[]> buffer_;
  std::size_t capacity_ = 0;
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

  [[nodiscard]] std::uint32_t key() const noexcept override { return key_of(window_bits_, min_bytes_); }
  [[nodiscard]] static std::uint32_t key_of(int window_bits, std::size_t min_bytes) noexcept {
    return static_cast<std::uint32_t>(window_bits) << 28U |
           static_cast<std::uint32_t>(std::min<std::size_t>(min_bytes, max_min_bytes));
  }

  void append(FrameKind kind, std::string_view payload, std::string& out) const override {
    const bool data = kind == FrameKind::text || kind == FrameKind::binary;
    // Its own loop's thread is the only one that comes here often: the lock keeps the seam's promise, and is not waited for.
    const CheckedLock lock(mutex_);
    const bool smaller = data && payload.size() >= min_bytes_ && payload.size() <= UINT32_MAX / 2 && compress(payload);
    const std::size_t at = out.size();
    plain_.append(kind, smaller ? std::string_view(deflated_) : payload, out);
    if (smaller) out[at] = static_cast<char>(static_cast<unsigned char>(out[at]) | 0x40U);  // RSV1; RFC 7692, 6
    if (deflated_.capacity() > kept_bytes) deflated_ = {};
  }

 private:
  /// Whether `deflated_` is the message now, in fewer bytes.
  [[nodiscard]] bool compress(std::string_view payload) const MUSTER_REQUIRES(mutex_) {
    if (!deflater_) {
      auto made = std::make_unique<z_stream>();
      if (deflateInit2(made.get(), Z_DEFAULT_COMPRESSION, Z_DEFLATED, -window_bits_, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
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
  mutable CheckedMutex mutex_;
  mutable std::unique_ptr<z_stream> deflater_ MUSTER_GUARDED_BY(mutex_);
  mutable std::string deflated_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
