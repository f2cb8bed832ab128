// The seam that carries rooms between processes: it sequences messages and replicates state.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "muster/error.hpp"
#include "muster/message.hpp"
#include "muster/reply.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// One message of a room, on its way through a broker.
struct BrokerMessage {
  RoomKey room;
  /// Given by the broker; seq 0 for `latest` messages, which are not ordered.
  Position position;
  Payload data;
  Delivery delivery;
  ConnectionId from;
  std::string from_user;
  /// The connection that does not get it; 0: none.
  ConnectionId exclude;
};

/// What a manager replicates of a room, one key at a time; a newer version replaces an older one.
struct BrokerState {
  enum class Kind : std::uint8_t {
    member,    ///< key: connection id; value: its profile, or nothing
    awareness  ///< key: client id; value: the state
  };
  RoomKey room;
  Kind kind = Kind::member;
  std::string key;
  /// The user and connection the entry belongs to.
  std::string user;
  ConnectionId owner;
  std::uint64_t owner_order = 0;
  /// Of two versions of one key the larger counts (awareness: its clock).
  std::uint64_t version = 0;
  /// None: removed.
  std::optional<Payload> value;
};

/// Sequences and carries a room's messages between managers, and replicates members and awareness.
///
/// Ownership: shared by the managers that use it. Threads: every method from any thread; sinks are called from any
/// thread, one call at a time for each room. Order: a room's messages reach every sink in `seq` order, each once, or
/// the sink is told `lost`. Nothing waits: a broker that cannot reach its back end answers `unavailable`.
///
/// What managers do not promise on a broker yet: a session that resumes at another node than it dropped from is told as
/// left when its grace ends there; of what is lost in a quiet room members hear with its next message; at a new epoch they
/// are not told what they missed of the old one; of two nodes' connections of one user either may own a client id; a
/// publish with an idempotency key that is repeated at another node is a second message. Users are each node's own:
/// IConnectionManager::is_online, on_user_online, capacity and limits count what is connected there.
class Broker {
 public:
  /// A manager's end. Calls return soon and do not call back into the broker. One that throws, for want of memory, has
  /// changed nothing that the same call again would not put right.
  class Sink {
   public:
    virtual ~Sink() = default;
    virtual void on_message(const BrokerMessage& message) = 0;
    virtual void on_state(const BrokerState& state) = 0;
    /// Messages after `known` up to before `next` will not come: the manager names them to members as a gap.
    virtual void on_lost(const RoomKey& room, Position known, Position next) = 0;

   protected:
    Sink() = default;
    Sink(const Sink&) = default;
    Sink& operator=(const Sink&) = default;
  };
  /// One attached manager; 0 is none.
  using NodeId = std::uint64_t;

  virtual ~Broker() = default;

  /// Joins a manager. The sink is called until `detach` returns or it is destroyed, whichever is first.
  [[nodiscard]] virtual NodeId attach(std::weak_ptr<Sink> sink) = 0;
  /// Leaves: subscriptions end and the node's replicated state is removed at every other sink.
  virtual void detach(NodeId node) = 0;

  /// Gives the message its position and carries it to every subscribed sink, the publisher's included. `done` gets the
  /// position before or after the sinks get the message.
  virtual void publish(BrokerMessage message, Reply<Result<Position>> done) = 0;

  /// Starts carrying a room to this node. `done` is called first, with the room's position, when no call to the sink for an
  /// earlier subscription to it is under way: what reaches the sink before that is dropped. Then comes what followed the
  /// known position, if there is one, or that it is lost; and the others' state. The manager keeps the room until it is
  /// answered, if only with an error, or `done` is let go of.
  virtual void subscribe(NodeId node, RoomKey room, std::optional<Position> known, Reply<Result<Position>> done) = 0;
  virtual void unsubscribe(NodeId node, const RoomKey& room) = 0;

  /// Replicates one change to the other nodes that are subscribed to the room, and keeps it for later subscribers. Must
  /// not throw; a manager asks one that does up to three times.
  virtual void replicate(NodeId node, BrokerState state) = 0;

 protected:
  Broker() = default;
  Broker(const Broker&) = default;
  Broker& operator=(const Broker&) = default;
};

}  // namespace MUSTER_ABI
}  // namespace muster
