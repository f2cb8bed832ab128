// The seam that keeps what clients are doing right now.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "muster/config.hpp"
#include "muster/message.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Whose an entry is. `order` grows from connection to connection: of two of one user the larger is the newer.
struct AwarenessOwner {
  std::string user;
  ConnectionId connection;
  std::uint64_t order = 0;
};

/// The latest ephemeral state of one client id in one room.
struct AwarenessEntry {
  std::string client;
  AwarenessOwner owner;
  /// Grows with every change; what is not newer is stale.
  std::uint64_t clock = 0;
  Payload state;
  TimePoint refreshed_at{};
};

/// An entry that was removed: others are told null at `clock`.
struct AwarenessRemoval {
  RoomKey room;
  std::string client;
  std::uint64_t clock = 0;
  /// Whose it was.
  AwarenessOwner owner;
};

enum class AwarenessResult : std::uint8_t {
  accepted,
  stale,      ///< the clock is not newer: nothing changed, nobody is told
  not_owner,  ///< another user's, or the same user's newer connection's
  too_many    ///< a limit on entries is reached
};

struct AwarenessUpdate {
  AwarenessResult result = AwarenessResult::stale;
  /// The clock now stored (accepted), or the one that stands in the way.
  std::uint64_t clock = 0;
};

/// How many entries a room and a connection may have (0 = no limit). The check is one step with the insertion.
struct AwarenessLimits {
  std::size_t per_room = 0;
  std::size_t per_connection = 0;
};

/// (room, client id) -> latest state, clock, owner. Local and synchronous; a cluster replicates it by the Broker.
///
/// Threads: every method from any thread; each is atomic. Never calls back.
class AwarenessStore {
 public:
  virtual ~AwarenessStore() = default;

  /// Sets a client's state, for the connection that owns it, whose clock must be above the stored one; or for a newer
  /// connection of the same user, which takes the entry over at max(clock, stored + 1). An older connection of the
  /// user, and every other user, is not_owner. A client id nobody holds goes to the first who sets it: while it is
  /// remembered that the entry was removed, at max(clock, removal's clock + 1), so that others, who know the removal,
  /// take it; what the same connection said before the removal is stale.
  [[nodiscard]] virtual AwarenessUpdate set(const RoomKey& room, AwarenessEntry entry, AwarenessLimits limits) = 0;

  /// What `set` would answer to this, limits aside; changes nothing.
  [[nodiscard]] virtual AwarenessUpdate judge(const RoomKey& room, std::string_view client, const AwarenessOwner& owner,
                                              std::uint64_t clock) const = 0;

  /// Removes a client's state; who may is decided as in `set`. `accepted` carries the clock to tell others:
  /// max(clock, stored + 1), so a removal is never stale. An entry that does not exist is `stale`, at the clock it was
  /// removed with if that is remembered.
  [[nodiscard]] virtual AwarenessUpdate remove(const RoomKey& room, std::string_view client,
                                               const AwarenessOwner& owner, std::uint64_t clock) = 0;

  /// Removes what a connection owns in one room, or everywhere; each at stored clock + 1.
  [[nodiscard]] virtual std::vector<AwarenessRemoval> remove_all_for_connection(ConnectionId owner,
                                                                                const RoomKey& room) = 0;
  [[nodiscard]] virtual std::vector<AwarenessRemoval> remove_all_for_connection(ConnectionId owner) = 0;

  /// Drops an entry, or what is remembered of one that was removed, as if it had never been set: who owns it is at
  /// another node, from which nothing is heard any more. False when there is none.
  virtual bool forget(const RoomKey& room, std::string_view client) = 0;

  /// One entry into `found`; false when there is none.
  [[nodiscard]] virtual bool get(const RoomKey& room, std::string_view client, AwarenessEntry& found) const = 0;
  /// A room's entries, in the order of client ids.
  [[nodiscard]] virtual std::vector<AwarenessEntry> get_all(const RoomKey& room) const = 0;
  /// Removes and returns what was last refreshed at or before `refreshed_before`; each at stored clock + 1.
  [[nodiscard]] virtual std::vector<AwarenessRemoval> expire(TimePoint refreshed_before) = 0;
  /// Entries of all rooms.
  [[nodiscard]] virtual std::size_t size() const = 0;

 protected:
  AwarenessStore() = default;
  AwarenessStore(const AwarenessStore&) = default;
  AwarenessStore& operator=(const AwarenessStore&) = default;
};

}  // namespace MUSTER_ABI
}  // namespace muster
