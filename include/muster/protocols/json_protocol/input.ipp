// The message as RapidJSON reads it: an input stream and an encoding by its concepts.
#pragma once

#include <rapidjson/encodings.h>
#include <rapidjson/rapidjson.h>

#include <cstddef>
#include <cstring>
#include <string_view>

#include "muster/protocols/json_protocol/text.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {
namespace json_protocol {
namespace rapid = RAPIDJSON_NAMESPACE;

/// The end of the JSON number at `p` (RFC 8259, 6), or `p` when there is none.
[[nodiscard]] inline const char* number_end(const char* const p, const char* const end) noexcept {
  const auto digits = [end](const char* from) {
    while (from != end && *from >= '0' && *from <= '9') ++from;
    return from;
  };
  const char* at = p;
  if (at != end && *at == '-') ++at;
  const char* next = at != end && *at == '0' ? at + 1 : digits(at);
  if (next == at) return p;
  at = next;
  if (at != end && *at == '.') {
    next = digits(at + 1);
    if (next == at + 1) return p;
    at = next;
  }
  if (at != end && (*at == 'e' || *at == 'E')) {
    ++at;
    if (at != end && (*at == '+' || *at == '-')) ++at;
    next = digits(at);
    if (next == at) return p;
    at = next;
  }
  return at;
}

/// RapidJSON's input stream, over bytes that need no terminator.
///
/// Numbers are checked here, and RapidJSON is shown a 0 for each. Its own arithmetic (1.1) refuses what a double cannot
/// hold, and overflows an int, which then indexes a table, for some small exponents.
class Input {
 public:
  using Ch = char;

  explicit Input(std::string_view message) noexcept
      : begin_(message.data()), at_(begin_), end_(begin_ + message.size()), token_(begin_) {
    look();
  }

  [[nodiscard]] Ch Peek() const noexcept { return next_; }
  Ch Take() noexcept {
    const Ch taken = next_;
    if (at_ != end_) ++at_;
    look();
    return taken;
  }
  [[nodiscard]] std::size_t Tell() const noexcept { return static_cast<std::size_t>(at_ - begin_); }

  // Writing in place, which the concept names and this parser does not do.
  Ch* PutBegin() noexcept { return nullptr; }
  void Put(Ch) noexcept {}
  void Flush() noexcept {}
  std::size_t PutEnd(Ch*) noexcept { return 0; }

  /// RapidJSON calls this before every token, and finds it by its argument.
  friend void SkipWhitespace(Input& input) noexcept { input.next_token(); }

  /// Steps over the part of a string that needs no attention; empty when the next byte is not UTF-8.
  [[nodiscard]] std::string_view take_plain() noexcept {
    const char* const from = at_;
    at_ = plain_end(at_, end_);
    look();
    return {from, static_cast<std::size_t>(at_ - from)};
  }

  /// Where the current token begins.
  [[nodiscard]] std::size_t token() const noexcept { return static_cast<std::size_t>(token_ - begin_); }
  [[nodiscard]] std::string_view text(std::size_t from, std::size_t to) const noexcept {
    return {begin_ + from, to - from};
  }
  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(end_ - begin_); }
  [[nodiscard]] bool at_end() const noexcept { return at_ == end_; }

  /// Whether anybody wants what the next string says.
  bool wanted = true;

 private:
  void look() noexcept { next_ = at_ != end_ ? *at_ : '\0'; }
  void next_token() noexcept {
    while (at_ != end_ && *at_ <= ' ' && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
    token_ = at_;
    look();
    if (next_ != '-' && (next_ < '0' || next_ > '9')) return;
    const char* const after = number_end(at_, end_);
    if (after == at_ || (after != end_ && (*after == '.' || *after == 'e' || *after == 'E'))) {
      next_ = no_token;
    } else {
      at_ = after - 1;
      next_ = '0';
    }
  }

  /// Begins nothing in JSON.
  static constexpr Ch no_token = '\x01';

  const char* begin_;
  const char* at_;
  const char* end_;
  const char* token_;
  Ch next_ = '\0';
};

/// UTF-8 by RapidJSON's encoding concept, in runs instead of single characters; what nobody wants is not copied.
struct Utf8 : rapid::UTF8<char> {
  /// Never part of UTF-8: stands for half a surrogate pair, which RapidJSON 1.1 lets through.
  static constexpr char lone_surrogate = '\xff';

  template <class Output>
  static void Encode(Output& out, unsigned codepoint) {
    if (codepoint >= 0xd800 && codepoint <= 0xdfff) {
      out.Put(lone_surrogate);
    } else {
      rapid::UTF8<char>::Encode(out, codepoint);
    }
  }

  /// In place, which this parser does not do.
  static bool Validate(Input&, Input&) { return false; }
  template <class Output>
  static bool Validate(Input& input, Output& out) {
    const std::string_view run = input.take_plain();
    if (run.empty()) return false;
    if (input.wanted) std::memcpy(out.Push(static_cast<rapid::SizeType>(run.size())), run.data(), run.size());
    return true;
  }
};

}  // namespace json_protocol
}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
