// A second opinion on JSON: a plain recursive checker by RFC 8259, written without any of the library's code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace muster::test {

/// Strict: UTF-8 without surrogates, escaped surrogates in pairs only, one value and white space around it.
class JsonCheck {
 public:
  explicit JsonCheck(std::string_view text) : text_(text) {}

  /// Whether the text is one JSON value. For tests: it recurses.
  [[nodiscard]] bool holds() {
    white_space();
    if (!value(1)) return false;
    white_space();
    return at_ == text_.size();
  }
  /// The nesting of the deepest object or array, once `holds` is true.
  [[nodiscard]] std::size_t depth() const { return depth_; }

 private:
  [[nodiscard]] unsigned peek() const { return at_ < text_.size() ? static_cast<unsigned char>(text_[at_]) : 0x100U; }
  bool take(char wanted) {
    if (peek() != static_cast<unsigned char>(wanted)) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view wanted) {
    if (text_.substr(at_, wanted.size()) != wanted) return false;
    at_ += wanted.size();
    return true;
  }
  void white_space() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
  }
  bool digits() {
    const std::size_t from = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ != from;
  }
  bool number() {
    take('-');
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      return digits();
    }
    return true;
  }
  bool hexadecimal(std::uint32_t& unit) {
    unit = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const unsigned c = peek();
      if (c >= '0' && c <= '9') {
        unit = unit * 16 + (c - '0');
      } else if ((c | 0x20U) >= 'a' && (c | 0x20U) <= 'f') {
        unit = unit * 16 + ((c | 0x20U) - 'a' + 10);
      } else {
        return false;
      }
    }
    return true;
  }
  bool escape() {
    if (take('u')) {
      std::uint32_t unit = 0;
      std::uint32_t second = 0;
      if (!hexadecimal(unit)) return false;
      if (unit >= 0xdc00 && unit <= 0xdfff) return false;
      if (unit < 0xd800 || unit > 0xdbff) return true;
      return take('\\') && take('u') && hexadecimal(second) && second >= 0xdc00 && second <= 0xdfff;
    }
    return at_ < text_.size() && std::string_view("\"\\/bfnrt").find(text_[at_++]) != std::string_view::npos;
  }
  bool character() {
    const std::uint32_t first = peek();
    if (first < 0x20 || first > 0xff) return false;
    ++at_;
    if (first < 0x80) return true;
    const int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc0 ? 1 : -1;
    if (more < 0 || first > 0xf7) return false;
    std::uint32_t codepoint = first & (0x3fU >> static_cast<unsigned>(more));
    for (int i = 0; i < more; ++i, ++at_) {
      if ((peek() & 0x1c0U) != 0x80) return false;
      codepoint = (codepoint << 6U) | (peek() & 0x3fU);
    }
    constexpr std::uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    return codepoint >= least[more] && codepoint <= 0x10ffff && (codepoint < 0xd800 || codepoint > 0xdfff);
  }
  bool string() {
    if (!take('"')) return false;
    while (!take('"')) {
      if (take('\\') ? !escape() : !character()) return false;
    }
    return true;
  }
  bool members(char close, std::size_t level, bool named) {
    if (level > depth_) depth_ = level;
    white_space();
    if (take(close)) return true;
    for (;;) {
      white_space();
      if (named) {
        if (!string()) return false;
        white_space();
        if (!take(':')) return false;
        white_space();
      }
      if (!value(level + 1)) return false;
      white_space();
      if (take(close)) return true;
      if (!take(',')) return false;
    }
  }
  bool value(std::size_t level) {
    if (level > 2000) return false;
    if (take('{')) return members('}', level, true);
    if (take('[')) return members(']', level, false);
    if (peek() == '"') return string();
    return word("true") || word("false") || word("null") || number();
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
};

[[nodiscard]] inline bool is_json(std::string_view text) { return JsonCheck(text).holds(); }
[[nodiscard]] inline bool is_json_object(std::string_view text) {
  return is_json(text) && text.find_first_not_of(" \t\n\r") == text.find('{');
}

}  // namespace muster::test
