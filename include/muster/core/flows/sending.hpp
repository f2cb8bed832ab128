// Sending: messages to connections and users, of no room.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "muster/connection_manager.hpp"
#include "muster/core/flows/queues.hpp"
#include "muster/core/registry/directory.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Any thread. Each answers how many connections it is on its way to.
class Sending {
 public:
  Sending(const ConnectionTable& connections, const UserTable& users, const Directory& directory, const Loops& loops,
          Writer& writer, Queues& queues)
      : connections_(connections),
        users_(users),
        directory_(directory),
        loops_(loops),
        writer_(writer),
        queues_(queues) {}

  std::size_t to(ConnectionId id, const Payload& payload);
  std::size_t to_user(const UserKey& user, const Payload& payload);
  std::size_t to_user(const UserKey& user, const Payload& payload, const Delivery& delivery, QueuedDone done);
  std::size_t to_users(const std::vector<UserKey>& users, const Payload& payload);
  std::size_t to_tenant(std::string_view tenant, const Payload& payload);
  std::size_t to_all(const Payload& payload);
  /// A room's message without a seq, to one member.
  std::size_t in_room(ConnectionId id, std::string room, const Payload& payload);

 private:
  const ConnectionTable& connections_;
  const UserTable& users_;
  const Directory& directory_;
  const Loops& loops_;
  Writer& writer_;
  Queues& queues_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
