// Profiles: what the members of its rooms are shown of a connection.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "muster/core/flows/replicating.hpp"
#include "muster/core/flows/state_flush.hpp"
#include "muster/core/registry/directory.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// The same, with another profile.
[[nodiscard]] inline std::shared_ptr<const Identity> shown_as(const Identity& identity, Payload profile) {
  auto shown = std::make_shared<Identity>(identity);
  shown->profile = std::move(profile);
  return shown;
}

/// On the connection's executor, but for what takes a name: any thread.
class Profiles {
 public:
  Profiles(const Options& options, const UserTable& users, Directory& directory, Replicating& replicating,
           StateFlush& state_flush)
      : options_(options), users_(users), directory_(directory), replicating_(replicating), state_flush_(state_flush) {}

  [[nodiscard]] bool fits(const Payload& profile) const noexcept {
    return options_.profile_bytes == 0 || profile.view().size() <= options_.profile_bytes;
  }
  /// Throws std::invalid_argument for one that does not fit.
  void check(const Payload& profile) const;
  void set(ConnectionState& connection, Payload profile);
  std::size_t set(ConnectionId id, Payload profile);
  std::size_t set(const UserKey& user, Payload profile);
  /// A connection has its session's data: it shows what was set for that.
  static void restore(ConnectionState& connection, Directory& directory);

 private:
  [[nodiscard]] bool post(const ConnectionPtr& connection, const Payload& profile);

  const Options& options_;
  const UserTable& users_;
  Directory& directory_;
  Replicating& replicating_;
  StateFlush& state_flush_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
