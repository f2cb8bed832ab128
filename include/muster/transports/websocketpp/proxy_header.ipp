// The PROXY protocol, versions 1 and 2: what a proxy says before a connection's own bytes of whom it speaks for.
#pragma once

#include <algorithm>
#include <array>
#include <asio/ip/address.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

/// Reads one header, however it is cut. After its first fault it takes nothing more. Source: "The PROXY protocol, versions
/// 1 & 2", haproxy.org, 2.1 and 2.2. What follows the addresses in version 2 (TLVs) is passed over, not kept.
class ProxyHeader {
 public:
  enum class State : std::uint8_t { reading, done, bad };

  /// Takes the header's bytes from the beginning of `bytes`; how many that were.
  std::size_t read(std::string_view bytes) {
    std::size_t used = 0;
    while (state_ == State::reading && used < bytes.size()) {
      if (size_ < kept_.size() && (size_ < first_size || size_ < total_)) {
        kept_[size_++] = bytes[used++];
        take_one();
      } else {
        const std::size_t skipped = std::min(total_ - size_, bytes.size() - used);
        size_ += skipped;
        used += skipped;
        if (size_ == total_) finish_binary();
      }
    }
    return used;
  }

  [[nodiscard]] State state() const noexcept { return state_; }
  /// Once it is done: for whom; none: the proxy speaks for itself (a health check), or does not know.
  [[nodiscard]] const asio::ip::address* source() const noexcept { return has_source_ ? &source_ : nullptr; }

 private:
  static constexpr std::string_view text_start = "PROXY ";
  static constexpr std::string_view binary_start{"\r\n\r\n\0\r\nQUIT\n", 12};
  static constexpr std::size_t first_size = 16;  // of version 2, after which the length is known
  static constexpr std::size_t longest_line = 107;

  void take_one() {
    const std::string_view seen(kept_.data(), size_);
    const bool binary = kept_[0] == binary_start[0];
    const std::string_view start = binary ? binary_start : text_start;
    const std::size_t common = std::min(size_, start.size());
    if (seen.substr(0, common) != start.substr(0, common)) return fail();
    if (!binary) {
      total_ = longest_line;
      if (kept_[size_ - 1] == '\n') return finish_text(seen);
      if (size_ == longest_line) fail();
    } else if (size_ == first_size) {
      const auto byte = [this](std::size_t at) { return static_cast<unsigned char>(kept_[at]); };
      total_ = first_size + (std::size_t{byte(14)} << 8U) + byte(15);
      const unsigned family = byte(13) >> 4U;
      const unsigned kind = byte(13) & 0x0fU;
      if ((byte(12) & 0xf0U) != 0x20 || (byte(12) & 0x0fU) > 1 || family > 3 || kind > 2) return fail();
      if (size_ == total_) finish_binary();
    } else if (size_ == total_) {
      finish_binary();
    }
  }

  void fail() { state_ = State::bad; }

  /// "PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n", or UNKNOWN and whatever comes behind it.
  void finish_text(std::string_view line) {
    if (line.size() < 2 || line[line.size() - 2] != '\r') return fail();
    std::string_view rest = line.substr(text_start.size(), line.size() - text_start.size() - 2);
    if (rest == "UNKNOWN" || rest.substr(0, 8) == "UNKNOWN ") return done();
    std::array<std::string_view, 5> words;  // a fifth that holds a space is no port
    for (std::size_t i = 0; i < words.size(); ++i) {
      words[i] = rest.substr(0, i + 1 < words.size() ? rest.find(' ') : rest.size());
      rest.remove_prefix(std::min(words[i].size() + 1, rest.size()));
    }
    const bool is_v6 = words[0] == "TCP6";
    const auto read_address = [is_v6](std::string_view word, asio::ip::address& address) {
      asio::error_code error;
      address = asio::ip::make_address(std::string(word), error);
      return !error && address.is_v6() == is_v6 && word.find('%') == std::string_view::npos;
    };
    const auto is_port = [](std::string_view word) {
      return !word.empty() && word.size() <= 5 && word.find_first_not_of("0123456789") == std::string_view::npos &&
             (word.size() < 5 || word <= "65535");
    };
    asio::ip::address source;
    asio::ip::address target;
    if ((!is_v6 && words[0] != "TCP4") || !read_address(words[1], source) || !read_address(words[2], target) ||
        !is_port(words[3]) || !is_port(words[4])) {
      return fail();
    }
    done(source);
  }

  void finish_binary() {
    const unsigned family = static_cast<unsigned char>(kept_[13]) >> 4U;
    const bool speaks_for_itself = (kept_[12] & 1) == 0;
    const bool is_stream = (kept_[13] & 0x0f) == 1;
    if (speaks_for_itself || !is_stream || (family != 1 && family != 2)) return done();
    const std::size_t length = family == 1 ? 12 : 36;  // two addresses, two ports
    if (total_ - first_size < length) return fail();
    const char* const from = kept_.data() + first_size;
    if (family == 1) {
      asio::ip::address_v4::bytes_type bytes;
      std::memcpy(bytes.data(), from, bytes.size());
      done(asio::ip::address_v4(bytes));
    } else {
      asio::ip::address_v6::bytes_type bytes;
      std::memcpy(bytes.data(), from, bytes.size());
      done(asio::ip::address_v6(bytes));
    }
  }
  void done() { state_ = State::done; }
  void done(const asio::ip::address& source) {
    source_ = source;
    has_source_ = true;
    done();
  }

  State state_ = State::reading;
  std::array<char, longest_line> kept_{};
  std::size_t size_ = 0;  // of what was read
  std::size_t total_ = longest_line;
  bool has_source_ = false;
  asio::ip::address source_;
};

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
