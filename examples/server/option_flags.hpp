// The table of flags: one line for each field of muster::Options and muster::RoomOptions.
#pragma once

#include <functional>
#include <muster/options.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "values.hpp"

namespace muster_server {

/// One flag, and the field of `Owner` behind it.
template <class Owner>
struct Flag {
  enum class Takes { one_value, several_values, nothing };

  std::string name;        ///< without the dashes; the field's name with dashes, a list's in the singular
  std::string value_name;  ///< what --help calls the value
  std::string help;
  std::function<Problem(Owner&, const std::string&)> read;
  std::function<std::string(const Owner&)> show;
  Takes takes = Takes::one_value;
};

template <class Owner>
struct FlagGroup {
  std::string title;
  std::vector<Flag<Owner>> flags;
};

/// Every field of Options but `room` and `rooms_by_prefix`.
[[nodiscard]] const std::vector<FlagGroup<muster::Options>>& option_flags();
/// Every field of RoomOptions.
[[nodiscard]] const std::vector<Flag<muster::RoomOptions>>& room_flags();

/// Adds to `options.rooms_by_prefix` what `PREFIX=FLAG=VALUE,FLAG=VALUE...` says, on top of `options.room`.
[[nodiscard]] Problem read_rooms_by_prefix(muster::Options& options, std::string_view text);

/// The sentence with the names of fields turned into their flags: the library speaks of `auth_timeout`, its user gave
/// `--auth-timeout`. Only whole words are fields: paths, and what is in double quotes, stay as somebody wrote them.
[[nodiscard]] std::string by_flag(std::string_view sentence);

}  // namespace muster_server
