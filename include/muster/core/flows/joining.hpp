// Joining: membership. Who enters a room, what a newcomer is told, and how it leaves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "muster/core/delivery/catch_up.hpp"
#include "muster/core/flows/rooms.hpp"
#include "muster/core/flows/user_edges.hpp"
#include "muster/core/registry/directory.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// On the connection's executor. What has begun is finished, whatever fails on the way.
class Joining {
 public:
  Joining(const Options& options, RoomTable& table, ByteBudget& bytes, Entropy& entropy, AwarenessStore& awareness,
          Directory& directory, Hooks& hooks, Replicating& replicating, Rooms& rooms, Writer& writer, CatchUp& catch_up,
          StateFlush& state_flush, UserEdges& edges)
      : options_(options),
        table_(table),
        bytes_(bytes),
        entropy_(entropy),
        awareness_(awareness),
        directory_(directory),
        hooks_(hooks),
        replicating_(replicating),
        rooms_(rooms),
        writer_(writer),
        catch_up_(catch_up),
        state_flush_(state_flush),
        edges_(edges) {}

  struct Entered {
    std::optional<Error> error;
    bool retired = false;
    Position position;
    std::vector<Member> members;
    std::size_t member_count = 0;
    bool list = true;
    RoomPart* part = nullptr;
    std::uint64_t serial = 0;
    bool flush_state = false;
    bool kept = false;           ///< its session had the seat still
    bool shows_another = false;  ///< profile than its session did
    bool opens = false;          ///< it is the first member
    bool recovered = false;      ///< what was published since the position is there
    std::uint64_t next_seq = 0;
    std::vector<EntryPtr> replay;  ///< from `next_seq` on, as much as is told at once
  };

  /// A program that has somebody seated.
  struct Program : Act {
    virtual void told(ConnectionState& connection, Result<void> result) = 0;
    bool moves = false;    ///< the connection gives up another seat for this one
    bool decides = false;  ///< the authorizer is not asked
  };
  /// Who is told what becomes of a seat: the client, as the answer to its command, or the program.
  struct By {
    Correlation correlation;
    std::shared_ptr<Program> program;
  };

  /// Why it cannot get a seat, as far as its name and what it has tell.
  [[nodiscard]] std::optional<Error> refuse_early(ConnectionState& connection, const std::string& room,
                                                  bool moves) const;
  /// Makes it a member and tells it so, or why not.
  void enter(ConnectionState& connection, const By& by, const RoomKey& key);
  /// Makes the connection a member, if the room takes it. With a position it goes on from there. With a broker the caller
  /// holds the room, and it is subscribed to.
  [[nodiscard]] Entered take_seat(ConnectionState& connection, const RoomPtr& room,
                                  std::optional<Position> from = std::nullopt);
  void tell_joined(ConnectionState& connection, const Correlation* correlation, const RoomPtr& room,
                   const Entered& entered, bool by_server);
  /// False: a hook threw.
  [[nodiscard]] bool after_joined(ConnectionState& connection, const RoomPtr& room, const Entered& entered);
  void tell_awareness(ConnectionState& connection, const Correlation* correlation, const RoomKey& key);

  /// Of a live connection. One that is not there stays out.
  void leave(ConnectionState& connection, const std::string& room);
  /// Takes the connection out of the room's fan-out; `then` does what else belongs to it before the hooks are called, and
  /// answers false where that has failed. False: that, or a hook threw.
  template <class Then>
  bool part_from_room(ConnectionState& connection, std::size_t index, std::optional<CloseReason> reason, bool keep_seat,
                      Then then) noexcept;
  /// Takes a member out that no connection speaks for, and tells the others.
  void give_up_seat(Loop& loop, const RoomPtr& room, ConnectionId member) noexcept;

 private:
  /// The room of this key, made when there is none. Null: the connection makes too many, and was told so.
  [[nodiscard]] RoomPtr room_for(ConnectionState& connection, const By& by, const RoomKey& key);
  void refuse(ConnectionState& connection, const By& by, Error error);
  [[nodiscard]] Entered admit(ConnectionState& connection, RoomState& room, std::optional<Position> from);
  void tell_rest(ConnectionState& connection, Membership& leaving);

  const Options& options_;
  RoomTable& table_;
  ByteBudget& bytes_;
  Entropy& entropy_;
  AwarenessStore& awareness_;
  Directory& directory_;
  Hooks& hooks_;
  Replicating& replicating_;
  Rooms& rooms_;
  Writer& writer_;
  CatchUp& catch_up_;
  StateFlush& state_flush_;
  UserEdges& edges_;
};

template <class Then>
bool Joining::part_from_room(ConnectionState& connection, std::size_t index, std::optional<CloseReason> reason,
                             bool keep_seat, Then then) noexcept {
  const Membership membership = std::move(connection.memberships[index]);
  connection.memberships.erase(connection.memberships.begin() + static_cast<std::ptrdiff_t>(index));
  const RoomPtr& room = membership.room;
  RoomPart& part = *membership.part;
  auto& slots = part.slots;
  if (membership.index + 1 != slots.size()) {  // the last slot takes its place
    slots[membership.index] = slots.back();
    slots[membership.index].connection->membership(room->key.name)->index = membership.index;
  }
  slots.pop_back();
  {
    Lock lock(room->mutex);
    --room->shared_of(part).members;
    if (connection.slow) room->set_behind(connection.member, false);
    room->members.find(connection.member)->connected = false;
  }
  bool well = then();
  if (membership.told) {
    well = hooks_.left(connection, room->key, {reason, keep_seat}) && well;
  }
  (void)connection.contain("The end of a room", [&] { rooms_.settle(*connection.loop, room); });
  return well;
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
