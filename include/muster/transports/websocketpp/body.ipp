// The body of a request: how it is framed, and its bytes (RFC 9112, 6 and 7).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "muster/transports/websocketpp/request.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

struct Framing {
  bool chunked = false;
  std::uint64_t bytes = 0;  ///< where it is not; as many as can be told, if there are more
};

/// Of a head that `parse_head` has accepted: there is one length at most, and never beside a transfer coding.
[[nodiscard]] inline std::optional<Refusal> read_framing(const HttpRequest& request, Framing& framing) {
  for (const char c : request.header("Content-Length")) {
    const auto digit = static_cast<std::uint64_t>(c - '0');
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    framing.bytes = framing.bytes > (most - digit) / 10 ? most : framing.bytes * 10 + digit;
  }
  const std::size_t lines = count_headers(request, "Transfer-Encoding");
  if (lines == 0) return std::nullopt;
  std::size_t codings = 0;
  bool unknown = false;
  (void)any_header_element(request, "Transfer-Encoding", ',', [&](std::string_view coding) {
    ++codings;
    unknown = unknown || !equal_ignoring_case(coding, "chunked");
    return false;
  });
  if (unknown) return Refusal{501, "Of transfer codings chunked alone is known here", errc::not_supported};
  if (lines != 1 || codings != 1) return Refusal{400, "The length of the request's body is not clear"};
  framing.chunked = true;
  return std::nullopt;
}

/// Takes a body from its framing. Strict, as heads are: line ends are CRLF, and a size is nothing but digits, or two readers
/// see two ends.
class BodyReader {
 public:
  enum class State : std::uint8_t { reading, done, refused };

  /// No body.
  BodyReader() = default;
  /// Of at most `limit` bytes. `aside`: what its chunks may have beside their sizes, and its trailers, together.
  BodyReader(const Framing& framing, std::size_t limit, std::size_t aside)
      : part_(framing.chunked ? Part::size : Part::whole), limit_(limit), aside_(aside), left_(framing.bytes) {
    if (framing.chunked || framing.bytes != 0) state_ = State::reading;
    if (framing.bytes > limit) too_large();
  }

  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] const Refusal& refusal() const noexcept { return refusal_; }
  [[nodiscard]] std::string take() { return std::move(body_); }
  /// How much may be asked of the socket, lest what is behind the body is taken: of chunks nobody knows, `most` then.
  [[nodiscard]] std::size_t wanted(std::size_t most) const {
    return part_ == Part::whole ? static_cast<std::size_t>(std::min<std::uint64_t>(left_, most)) : most;
  }

  /// Takes what is the body's from the front of `bytes`.
  State read(std::string_view& bytes) {
    while (state_ == State::reading && !bytes.empty()) {
      switch (part_) {
        case Part::whole:
          take_data(bytes);
          if (left_ == 0) state_ = State::done;
          break;
        case Part::size:
          if (take_line(bytes)) begin_chunk();
          break;
        case Part::data:
          take_data(bytes);
          if (left_ == 0) part_ = Part::data_end;
          break;
        case Part::data_end:
          if (!take_line(bytes)) break;
          part_ = Part::size;
          break;
        case Part::trailers:
          if (take_line(bytes)) end_trailer();
          break;
      }
    }
    return state_;
  }

 private:
  enum class Part : std::uint8_t { whole, size, data, data_end, trailers };

  void take_data(std::string_view& bytes) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
    body_.append(bytes.substr(0, size));
    bytes.remove_prefix(size);
    left_ -= size;
  }

  /// Whether `line_` is a whole one now, without its end.
  bool take_line(std::string_view& bytes) {
    if (std::exchange(line_is_whole_, false)) line_.clear();
    const std::size_t end = std::min(bytes.find('\n'), bytes.size());
    const bool whole = end != bytes.size();
    line_.append(bytes.substr(0, end));
    bytes.remove_prefix(whole ? end + 1 : end);
    // What is no line's end behind a chunk's data is known by its first byte.
    if (part_ == Part::data_end ? line_ != "\r" : whole && (line_.empty() || line_.back() != '\r')) return refuse();
    if (line_.size() > aside_ + most_digits) return too_much_aside();
    if (!whole) return false;
    line_.pop_back();
    line_is_whole_ = true;
    for (const char c : line_) {
      if ((static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7f) return refuse();
    }
    return true;
  }

  void begin_chunk() {
    std::uint64_t size = 0;
    std::size_t digits = 0;
    for (; digits < line_.size(); ++digits) {
      const char c = lower(line_[digits]);
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
      if (digit < 0) break;
      size = size << 4U | static_cast<unsigned>(digit);
    }
    // What is known of no extension is passed over (RFC 9112, 7.1.1).
    const std::string_view extensions = trim(std::string_view(line_).substr(digits));
    const bool lying = !extensions.empty() && extensions.front() != ';';
    const bool padded = extensions.empty() && digits != line_.size();
    if (digits == 0 || digits > most_digits || lying || padded) return (void)refuse();
    if (!spend(line_.size() - digits)) return;
    if (size > limit_ - body_.size()) return (void)too_large();
    left_ = size;
    part_ = size == 0 ? Part::trailers : Part::data;
  }

  void end_trailer() {
    if (line_.empty()) {
      state_ = State::done;
      return;
    }
    const std::size_t colon = line_.find(':');
    if (colon == std::string::npos || !is_token(std::string_view(line_).substr(0, colon))) return (void)refuse();
    (void)spend(line_.size());
  }

  bool spend(std::size_t bytes) {
    if (bytes > aside_) return too_much_aside();
    aside_ -= bytes;
    return true;
  }

  bool refuse() { return refuse({400, "The chunks of the request's body are malformed"}); }
  bool too_large() { return refuse({413, "The request's body is too long", errc::too_large}); }
  bool too_much_aside() { return refuse({431, "The request's body has too much beside it", errc::too_large}); }
  bool refuse(Refusal refusal) {
    state_ = State::refused;
    refusal_ = std::move(refusal);
    std::string().swap(body_);
    std::string().swap(line_);
    return false;
  }

  static constexpr std::size_t most_digits = 16;

  State state_ = State::done;
  Part part_ = Part::whole;
  bool line_is_whole_ = false;
  std::size_t limit_ = 0;
  std::size_t aside_ = 0;
  std::uint64_t left_ = 0;  // of the body, or of the chunk
  std::string line_;
  std::string body_;
  Refusal refusal_;
};

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
