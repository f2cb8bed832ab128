// Seeded faults that the simulation tests must catch; in every other build they are compiled away.
#pragma once

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {

enum class Mutant {
  none,
  skip_leave,                ///< step 2 of a disconnect does not leave the rooms
  skip_awareness_removal,    ///< step 3 leaves the awareness entries
  null_twice,                ///< the null of a removed awareness entry is told twice
  ignore_generation,         ///< an answer for an abandoned command is taken
  capacity_outside_lock,     ///< room capacity is checked before the section that adds the member
  keep_reservation,          ///< the place of a closed socket is not given back
  ignore_exclude,            ///< an excluded connection gets the message
  ignore_cursor,             ///< a late joiner gets the batch from before it joined
  disconnected_before_left,  ///< on_disconnected runs before on_left
  skip_gap,                  ///< messages that history lost are not named
  skip_presence_left,        ///< a leave is not told to the others
  publish_to_retired_room,   ///< a publish or join into a room that was just retired is lost
  count
};

#if defined(MUSTER_SIMULATION)
inline Mutant active_mutant = Mutant::none;
[[nodiscard]] inline bool mutant(Mutant which) noexcept { return active_mutant == which; }
#else
[[nodiscard]] constexpr bool mutant(Mutant) noexcept { return false; }
#endif

}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
