// A named channel of a tenant: who is in it, and how to tell them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <typeindex>
#include <vector>

#include "muster/error.hpp"
#include "muster/function.hpp"
#include "muster/message.hpp"
#include "muster/options.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// What became of a publish.
struct Published {
  /// seq 0: a `latest` message, or nobody was there and the room keeps no history.
  Position position;
  /// Members of this process it goes to.
  std::size_t reached = 0;
  /// Those of them that are slow, as was known then: they get it later, from history, or are told a gap. See
  /// IConnectionManager::on_slow.
  std::size_t behind = 0;
};
using PublishDone = Function<void(Result<Published>)>;

struct RoomCounters {
  std::uint64_t published = 0;
  std::size_t history_messages = 0;
  std::size_t history_bytes = 0;
};

/// What a room's history holds behind a position.
struct HistoryPage {
  /// Of the seqs; 0: there is no room.
  std::uint64_t epoch = 0;
  /// In order, without holes.
  std::vector<HistoryMessage> messages;
  /// Nothing is missing between the position and the first of them.
  bool complete = true;
  /// There is more behind the last of them.
  bool more = false;
};

/// One of the rooms there are.
struct RoomInfo {
  RoomKey key;
  std::size_t members = 0;
  Position position;
};

/// A handle to a room by its key. It never dangles: a room exists while it has members or unexpired history, and a
/// handle to one that does not exist is a handle to an empty room. Looking never creates; publishing into a room
/// without members does nothing unless the room keeps history. It does not keep the manager: after that has gone it is
/// a handle to an empty room, and publishing answers `unavailable`.
///
/// Threads: every method from any thread, callbacks included.
class Room {
 public:
  virtual ~Room() = default;

  [[nodiscard]] virtual const RoomKey& key() const noexcept = 0;
  /// What holds for it: what was set, or what Options say for its name.
  [[nodiscard]] virtual RoomOptions options() const = 0;
  /// From now on, and until the room ends: who has a seat keeps it, and of its history goes what is too much. What was set
  /// before is kept as long as the room, for who reads it still: for options that change now and then. A room that
  /// is made anew begins with what Options say; on_room_opened is where to set others. False: there is no such room.
  /// Throws std::invalid_argument that names every problem of them.
  virtual bool set_options(const RoomOptions& options) = 0;
  /// Connections in the room.
  [[nodiscard]] virtual std::size_t size() const = 0;
  /// A snapshot, in the order of connection ids.
  [[nodiscard]] virtual std::vector<Member> members() const = 0;
  /// Likewise those behind `after`, at most `limit`: pages of a room that is large.
  [[nodiscard]] virtual std::vector<Member> members(ConnectionId after, std::size_t limit) const = 0;
  /// The latest position; {0, 0} for a room that does not exist.
  [[nodiscard]] virtual Position position() const = 0;
  [[nodiscard]] virtual RoomCounters counters() const = 0;

  /// What its history holds behind `after`, at most `limit` messages and about 64 KiB of them. Of the order that the
  /// room has now where the epoch is 0; a position of another order, as {0, 0}: from the oldest on. Messages of every member, also those that went to some only.
  [[nodiscard]] virtual HistoryPage history(Position after, std::size_t limit) const = 0;

  /// Publishes to all members but `exclude`. `done`, if given, is called once, before or after this returns, from any
  /// thread, when a broker has answered, which has no deadline here; `unavailable` when it does not take it, or when too
  /// much waits for connections that are behind (`Options::total_bytes`).
  virtual void publish(const Payload& payload, Delivery delivery = Delivery::reliable(), ConnectionId exclude = {},
                       PublishDone done = nullptr) = 0;
  /// Sends to the members that `chosen` picks, without a seq. Returns how many. `chosen` runs in this call.
  virtual std::size_t send_to(const std::function<bool(const Member&)>& chosen, const Payload& payload) = 0;

  /// The program's own object of this type, one for the room: made as `T()` by the first who asks while the room is open,
  /// which it is from its on_room_opened until its on_room_emptied has returned; then it is let go of. Null: the room is
  /// not open. Members may be on several executors: what they do with it at the same time T has to order.
  template <class T>
  [[nodiscard]] std::shared_ptr<T> data() {
    return std::static_pointer_cast<T>(
        share(typeid(T), [] { return std::static_pointer_cast<void>(std::make_shared<T>()); }));
  }

 protected:
  /// `data`, by the type's index. `make` is called under no lock; of two made at once one is kept.
  [[nodiscard]] virtual std::shared_ptr<void> share(std::type_index type, std::shared_ptr<void> (*make)()) = 0;

  Room() = default;
  Room(const Room&) = default;
  Room& operator=(const Room&) = default;
};

}  // namespace MUSTER_ABI
}  // namespace muster
