// Paths with names in them, as protocols and routes have: /doc/{room}. For the core and its adapters.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {

using PathNames = std::vector<std::pair<std::string, std::string>>;

/// Takes the next segment, what stands before the next slash, out of `path`.
[[nodiscard]] inline std::string_view next_segment(std::string_view& path) noexcept {
  const std::size_t slash = std::min(path.find('/'), path.size());
  const std::string_view segment = path.substr(0, slash);
  path.remove_prefix(std::min(slash + 1, path.size()));
  return segment;
}
[[nodiscard]] inline bool is_name(std::string_view segment) noexcept {
  return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

/// What a percent-encoded text says (RFC 3986, 2.1); nothing: it is not one.
[[nodiscard]] inline std::optional<std::string> percent_decoded(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded.push_back(text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) return std::nullopt;
    decoded.push_back(static_cast<char>(high << 4 | low));
    i += 2;
  }
  return decoded;
}

/// What stands at the names of `pattern`; nothing: `path` is another. Of two patterns: whether the first matches all that
/// the second does.
[[nodiscard]] inline std::optional<PathNames> match_path(std::string_view pattern, std::string_view path) {
  PathNames names;
  // Not of one that has names: nobody comes to "{room}" without one.
  if (pattern == path && pattern.find('{') == std::string_view::npos) return names;
  if (std::count(pattern.begin(), pattern.end(), '/') != std::count(path.begin(), path.end(), '/')) return std::nullopt;
  while (!pattern.empty()) {
    const std::string_view expected = next_segment(pattern), found = next_segment(path);
    if (!is_name(expected)) {
      if (expected != found) return std::nullopt;
      continue;
    }
    auto value = percent_decoded(found);
    if (!value || value->empty()) return std::nullopt;
    names.emplace_back(expected.substr(1, expected.size() - 2), std::move(*value));
  }
  if (!path.empty()) return std::nullopt;
  return names;
}

/// Empty: nothing is wrong with it.
[[nodiscard]] inline std::string problem_of_path(std::string_view pattern) {
  const std::string whole = "\"" + std::string(pattern) + "\"";
  if (pattern.empty() || pattern.front() != '/') return "the path " + whole + " must begin with /";
  for (const char c : pattern) {
    if (c > ' ' && c < 0x7f && c != '?' && c != '#') continue;
    return "the path " + whole + " is none that a request can have: percent-encode it, and leave the query out";
  }
  std::vector<std::string_view> names;
  while (!pattern.empty()) {
    const std::string_view segment = next_segment(pattern);
    if (segment.find_first_of("{}") == std::string_view::npos) continue;
    const std::string_view name = is_name(segment) ? segment.substr(1, segment.size() - 2) : std::string_view();
    if (name.empty() || name.find_first_of("{}") != std::string_view::npos) {
      return "in the path " + whole + " braces must be around a name that is a segment of its own, as in /doc/{room}";
    }
    for (const std::string_view other : names) {
      if (other == name) return "the path " + whole + " has the name " + std::string(name) + " twice";
    }
    names.push_back(name);
  }
  return {};
}

}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
