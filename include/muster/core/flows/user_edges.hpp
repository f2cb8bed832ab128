// UserEdges: who came online and who went offline, told once and from the truth.
#pragma once

#include <vector>

#include "muster/core/flows/state_flush.hpp"
#include "muster/core/outward/hooks.hpp"
#include "muster/core/registry/connection_table.hpp"
#include "muster/core/room/left_rooms.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// On the loop that is given.
class UserEdges {
 public:
  UserEdges(const Options& options, UserTable& users, Hooks& hooks, StateFlush& state_flush)
      : options_(options), users_(users), hooks_(hooks), state_flush_(state_flush) {}

  /// Tells hooks and clients that a user came online or went offline, if that is so and they were told otherwise.
  /// False: a hook threw. `former`, `left`: rooms that were told that it is online, and that the connection that ends is
  /// in no more.
  bool tell(Loop& loop, const UserKey& user, UserTable::Edge edge, const std::vector<RoomPtr>& former = {},
            LeftRooms left = {}) noexcept;
  /// Scope shared_rooms: tells a room that the user was in, if it was told that it is online.
  void tell_offline(Loop& loop, const UserKey& user, const RoomPtr& room) noexcept;
  /// That some of its users have gone could not be noted where it is looked up; the sweep looks.
  static void leave_untold(const RoomPtr& room) noexcept;

 private:
  const Options& options_;
  UserTable& users_;
  Hooks& hooks_;
  StateFlush& state_flush_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
