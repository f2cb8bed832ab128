// Directory: who is connected, as whom, and who speaks for which session. Any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "muster/core/connection/connection_state.hpp"
#include "muster/core/registry/connection_table.hpp"
#include "muster/core/registry/session_table.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

class Directory {
 public:
  Directory(ConnectionTable& connections, UserTable& users, SessionTable& sessions)
      : connections_(connections), users_(users), sessions_(sessions) {}

  /// By its own id, or by the one that others know it as.
  [[nodiscard]] ConnectionPtr locate(ConnectionId id) const;
  /// Likewise. Null also while it is not authenticated.
  [[nodiscard]] ConnectionPtr known(ConnectionId id) const;
  /// The connection of the session that this one of user `key` comes back for.
  [[nodiscard]] ConnectionPtr ghost_of(const ConnectionState& connection, const UserKey& key) const;

  [[nodiscard]] std::optional<ConnectionInfo> find(ConnectionId id) const;
  [[nodiscard]] std::vector<ConnectionInfo> page(ConnectionId after, std::size_t limit) const;
  [[nodiscard]] std::vector<ConnectionInfo> of(const UserKey& user) const { return infos(users_.of(user)); }
  [[nodiscard]] std::vector<ConnectionInfo> of_tenant(std::string_view tenant) const {
    return infos(users_.of_tenant(tenant));
  }
  /// In the order of ids.
  [[nodiscard]] std::vector<ConnectionInfo> in(const RoomState& room) const;

  // On its executor.
  /// In which rooms it is now; the first makes it visible to lookups.
  void publish(ConnectionState& connection);
  void set_identity(ConnectionState& connection, std::shared_ptr<const Identity> identity) noexcept {
    connections_.set_identity(connection, std::move(identity));
  }
  void set_member(ConnectionState& connection, ConnectionId member) noexcept {
    connections_.set_member(connection, member);
  }

 private:
  [[nodiscard]] std::vector<ConnectionInfo> infos(const std::vector<ConnectionPtr>& connections) const;

  ConnectionTable& connections_;
  UserTable& users_;
  SessionTable& sessions_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
