// Ending: how a connection ends, whatever the cause. Five steps, exactly once, and none waits for anything.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "muster/core/flows/sessions.hpp"
#include "muster/core/registry/connection_table.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// On the connection's executor, but for what says otherwise. All of it happens, or nothing for want of memory, and then
/// it is tried again; what a seam throws is contained.
class Ending {
 public:
  Ending(ConnectionTable& connections, UserTable& users, SessionTable& kept, const RoomTable& table,
         const Directory& directory, Loops& loops, Admission& admission, Hooks& hooks, Rooms& rooms, Writer& writer,
         StateFlush& state_flush, UserEdges& edges, Joining& joining, Sessions& sessions)
      : connections_(connections),
        users_(users),
        kept_(kept),
        table_(table),
        directory_(directory),
        loops_(loops),
        admission_(admission),
        hooks_(hooks),
        rooms_(rooms),
        writer_(writer),
        state_flush_(state_flush),
        edges_(edges),
        joining_(joining),
        sessions_(sessions) {}

  void end(ConnectionState& connection, CloseReason reason, std::string_view text, bool socket_gone = false) noexcept;
  /// Answers an opening with a refusal.
  void refuse(ConnectionState& connection, CloseReason reason, Error error) noexcept;
  /// The transport says so.
  void socket_closed(ConnectionState& connection, CloseReason cause);
  /// The socket is released: so is its place, and nothing of the connection is needed any more.
  void gone(ConnectionState& connection) noexcept;
  /// A connection that never was one of anybody.
  void forget(ConnectionState& connection) noexcept;

  // Any thread.
  bool remove(ConnectionId id, CloseReason reason, std::string text);
  bool kick(ConnectionId id, std::string text, bool reconnect);
  /// Its credentials hold no longer: neither do the sessions that were opened with them.
  std::size_t revoke(const UserKey& user);
  std::size_t revoke(ConnectionId id);
  std::size_t revoke_tenant(std::string_view tenant);
  void close_all(CloseReason reason, std::string text, Function<void(std::size_t)> done);
  /// Takes over what a stopped executor left: its connections go through the five steps here.
  void abandon(const LoopPtr& loop);
  void abandon_stopped(Loop& by);

  [[nodiscard]] std::uint64_t count(CloseReason reason) const noexcept {
    return closed_[static_cast<std::size_t>(reason)];
  }
  /// Connections of executors that stopped under them.
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

 private:
  struct Parting;
  void prepare_parting(ConnectionState& connection, Parting& parting);
  void dispose(ConnectionState& connection, CloseReason reason, std::string_view text) noexcept;
  void leave_part(Loop& loop, const RoomPtr& room) noexcept;

  ConnectionTable& connections_;
  UserTable& users_;
  SessionTable& kept_;
  const RoomTable& table_;
  const Directory& directory_;
  Loops& loops_;
  Admission& admission_;
  Hooks& hooks_;
  Rooms& rooms_;
  Writer& writer_;
  StateFlush& state_flush_;
  UserEdges& edges_;
  Joining& joining_;
  Sessions& sessions_;
  std::array<std::atomic<std::uint64_t>, close_reason_count> closed_{};
  std::atomic<std::uint64_t> lost_{0};
};

/// What a peer is told that may not come in. `protocol`: the one that was chosen, if any; `named`: by its subprotocol.
[[nodiscard]] inline Decision refusal(const Protocol* protocol, bool named, CloseReason reason, Error error) {
  Decision decision;
  decision.reason = reason;
  decision.error = std::move(error);
  if (protocol != nullptr) decision.close_code = protocol->close_code(reason);
  if (named) decision.subprotocol = std::string(protocol->name());
  return decision;
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
