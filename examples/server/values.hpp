// How flags write their values (durations, sizes, counts, choices), and how --help writes them back.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace muster_server {

/// What is wrong with a value, as half a sentence after the flag's name; empty: nothing.
using Problem = std::string;

/// The names of an enumeration's values, in the order --help shows them.
template <class Value, std::size_t count>
using Names = std::array<std::pair<std::string_view, Value>, count>;

/// A whole number from `least` to `most`. `value` changes only when nothing is wrong, here and below.
[[nodiscard]] Problem read_number(std::string_view text, std::uint64_t least, std::uint64_t most, std::uint64_t& value);
[[nodiscard]] Problem read_count(std::string_view text, std::size_t& value);
/// Bytes, or a number with a unit of 1024: `65536`, `64KiB`, `1MiB`, `2GiB`.
[[nodiscard]] Problem read_size(std::string_view text, std::size_t& value);
/// A number with its unit: `500ms`, `30s`, `5m`, `24h`, `7d`. Only 0 needs none: of two readers of a bare 30 one thinks
/// of seconds.
[[nodiscard]] Problem read_duration(std::string_view text, std::chrono::milliseconds& value);

/// In the largest unit that divides it, so that a value shown can be read again.
[[nodiscard]] std::string show_size(std::size_t bytes);
[[nodiscard]] std::string show_duration(std::chrono::milliseconds duration);

/// One of the names; shared-rooms is taken for shared_rooms.
template <class Value, std::size_t count>
[[nodiscard]] Problem read_choice(std::string_view text, const Names<Value, count>& names, Value& value) {
  std::string wanted(text);
  std::replace(wanted.begin(), wanted.end(), '-', '_');
  std::string known;
  for (const auto& [name, named] : names) {
    if (name == wanted) {
      value = named;
      return {};
    }
    known.append(known.empty() ? "" : ", ").append(name);
  }
  return "must be one of " + known + ", not \"" + std::string(text) + "\"";
}

template <class Value, std::size_t count>
[[nodiscard]] std::string show_choice(Value value, const Names<Value, count>& names) {
  for (const auto& [name, named] : names) {
    if (named == value) return std::string(name);
  }
  return {};
}

}  // namespace muster_server
