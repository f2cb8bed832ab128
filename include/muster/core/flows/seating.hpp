// Seating: the seats that the program gives and takes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "muster/connection_manager.hpp"
#include "muster/core/flows/authorizing.hpp"
#include "muster/core/outward/outcome.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// A change of seats: out of a room, into one, or both.
struct SeatChange {
  std::optional<std::string> from;
  std::optional<std::string> to;
  bool authorized = false;
  bool only_if_there = false;  ///< who is not in `from` is left alone

  [[nodiscard]] static SeatChange into(std::string room, JoinAs as) { return {{}, std::move(room), as.authorized}; }
  [[nodiscard]] static SeatChange out_of(std::string room) { return {std::move(room), {}}; }
  [[nodiscard]] static SeatChange over(std::string from, std::string to, JoinAs as) {
    return {std::move(from), std::move(to), as.authorized};
  }
};

/// Any thread, unless a connection is given: then its own.
class Seating {
 public:
  Seating(const UserTable& users, const Directory& directory, Writer& writer, Joining& joining,
          Authorizing& authorizing, Later& later)
      : users_(users),
        directory_(directory),
        writer_(writer),
        joining_(joining),
        authorizing_(authorizing),
        later_(later) {}

  void change(ConnectionId id, SeatChange change, SeatDone done);
  void change(const UserKey& user, SeatChange change, SeatsDone done);
  /// By a handler or hook.
  void change(ConnectionState& connection, SeatChange change, SeatDone done = nullptr);

  /// Does what the program asked for, until that has to wait.
  void run(ConnectionState& connection);
  /// Behind what the program asked for.
  void then(ConnectionState& connection, Function<void(ConnectionState&)> act);

 private:
  struct Asked;
  void post(const ConnectionPtr& connection, SeatChange change, SeatDone done);
  void begin(ConnectionState& connection, const std::shared_ptr<Asked>& asked);
  void leave(ConnectionState& connection, const std::string& room);

  const UserTable& users_;
  const Directory& directory_;
  Writer& writer_;
  Joining& joining_;
  Authorizing& authorizing_;
  Later& later_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
