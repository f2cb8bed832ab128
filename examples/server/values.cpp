#include "values.hpp"

#include <charconv>
#include <limits>
#include <system_error>

namespace muster_server {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
constexpr std::array<Unit, 4> size_units{{{"GiB", 1U << 30U}, {"MiB", 1U << 20U}, {"KiB", 1U << 10U}, {"", 1}}};
constexpr std::array<Unit, 5> time_units{
    {{"d", 24U * 3600U * 1000U}, {"h", 3600U * 1000U}, {"m", 60U * 1000U}, {"s", 1000}, {"ms", 1}}};

// Ten years: as good as forever, and no sum of it and a clock overflows.
constexpr std::uint64_t longest = 3650ULL * 24U * 3600U * 1000U;

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

/// Splits "64KiB" into 64 and "KiB". False: it does not start with a number that fits.
bool split(std::string_view text, std::uint64_t& number, std::string_view& unit) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  unit = text.substr(static_cast<std::size_t>(end - text.data()));
  return error == std::errc();
}

template <class Units>
bool scale(const Units& units, std::string_view name, std::uint64_t most, std::uint64_t& number) {
  for (const Unit& unit : units) {
    if (unit.name != name) continue;
    if (number > most / unit.factor) return false;
    number *= unit.factor;
    return true;
  }
  return false;
}

template <class Units>
std::string show(const Units& units, std::uint64_t number) {
  for (const Unit& unit : units) {
    if (number != 0 && number % unit.factor == 0) return std::to_string(number / unit.factor) + std::string(unit.name);
  }
  return "0";
}

}  // namespace

Problem read_number(std::string_view text, std::uint64_t least, std::uint64_t most, std::uint64_t& value) {
  std::uint64_t number = 0;
  std::string_view rest;
  if (split(text, number, rest) && rest.empty() && number >= least && number <= most) {
    value = number;
    return {};
  }
  return "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most) + ", not " +
         quoted(text);
}

Problem read_count(std::string_view text, std::size_t& value) {
  std::uint64_t number = 0;
  std::string_view rest;
  if (!split(text, number, rest) || !rest.empty() || number > std::numeric_limits<std::uint32_t>::max()) {
    return "must be a whole number, at most 4294967295, not " + quoted(text);
  }
  value = number;
  return {};
}

Problem read_size(std::string_view text, std::size_t& value) {
  std::uint64_t number = 0;
  std::string_view unit;
  constexpr std::uint64_t most = std::uint64_t{1} << 50U;
  if (!split(text, number, unit) || !scale(size_units, unit == "B" ? "" : unit, most, number)) {
    return "must be a size as in 65536, 64KiB, 1MiB or 2GiB, not " + quoted(text);
  }
  value = number;
  return {};
}

Problem read_duration(std::string_view text, std::chrono::milliseconds& value) {
  std::uint64_t number = 0;
  std::string_view unit;
  if (!split(text, number, unit) || !scale(time_units, number == 0 && unit.empty() ? "ms" : unit, longest, number)) {
    return "must be a duration with its unit as in 500ms, 30s, 5m, 24h or 7d (at most 3650d), not " + quoted(text);
  }
  value = std::chrono::milliseconds(number);
  return {};
}

std::string show_size(std::size_t bytes) { return show(size_units, bytes); }

std::string show_duration(std::chrono::milliseconds duration) {
  return show(time_units, static_cast<std::uint64_t>(duration.count()));
}

}  // namespace muster_server
