// A named channel of a tenant: who is in it, and how to tell them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
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
};
using PublishDone = Function<void(Result<Published>)>;

struct RoomCounters {
  std::uint64_t published = 0;
  std::size_t history_messages = 0;
  std::size_t history_bytes = 0;
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
  [[nodiscard]] virtual const RoomOptions& options() const noexcept = 0;
  /// Connections in the room.
  [[nodiscard]] virtual std::size_t size() const = 0;
  /// A snapshot, in the order of connection ids.
  [[nodiscard]] virtual std::vector<Member> members() const = 0;
  /// The latest position; {0, 0} for a room that does not exist.
  [[nodiscard]] virtual Position position() const = 0;
  [[nodiscard]] virtual RoomCounters counters() const = 0;

  /// Publishes to all members but `exclude`. `done`, if given, is called once, before or after this returns, from any
  /// thread, when a broker has answered, which has no deadline here; `unavailable` when it does not take it, or when too
  /// much waits for connections that are behind (`Options::total_bytes`).
  virtual void publish(const Payload& payload, Delivery delivery = Delivery::reliable(), ConnectionId exclude = {},
                       PublishDone done = nullptr) = 0;
  /// Sends to the members that `chosen` picks, without a seq. Returns how many. `chosen` runs in this call.
  virtual std::size_t send_to(const std::function<bool(const Member&)>& chosen, const Payload& payload) = 0;

 protected:
  Room() = default;
  Room(const Room&) = default;
  Room& operator=(const Room&) = default;
};

}  // namespace MUSTER_ABI
}  // namespace muster
