// Seeded faults that the simulation tests must catch; in every other build they are compiled away.
#pragma once

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

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
  skip_handover,             ///< a session is claimed while another connection speaks for it
  give_up_kept_places,       ///< a dropped session's places are given up at once
  clear_kept_awareness,      ///< a dropped session's awareness is removed at once
  grace_never_ends,          ///< what a dropped session kept is never given up
  keep_spent_token,          ///< the token that resumed a session stays good
  keep_user_hold,            ///< a resumed session's user stays held
  replay_one_twice,          ///< a resumed member gets the last message it knew again
  call_gap_recovered,        ///< a resumed room is called recovered whatever was lost
  acknowledge_nothing,       ///< an acknowledged message stays in the queue
  acknowledge_one_more,      ///< and one that was not acknowledged goes
  skip_queue_on_connect,     ///< a new connection does not get its queue
  ignore_expiry,             ///< expired credentials do not close
  count
};

#if defined(MUSTER_SIMULATION)
inline Mutant active_mutant = Mutant::none;
[[nodiscard]] inline bool mutant(Mutant which) noexcept { return active_mutant == which; }
#else
[[nodiscard]] constexpr bool mutant(Mutant) noexcept { return false; }
#endif

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
