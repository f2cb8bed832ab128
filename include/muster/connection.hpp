// One client link, as handlers and hooks see it; and the immutable snapshot of one that any thread may hold.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "muster/close_reason.hpp"
#include "muster/data.hpp"
#include "muster/error.hpp"
#include "muster/function.hpp"
#include "muster/message.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// A connection as it was at one moment. Copies are cheap.
struct ConnectionInfo {
  ConnectionId id;
  /// The id others know it by: that of its session's first connection.
  ConnectionId member;
  std::string user;
  std::string tenant;
  std::vector<std::string> roles;
  std::vector<std::string> rooms;
  Payload profile;
  std::string remote_address;
  ConnectionStatus status = ConnectionStatus::connecting;
  WallTime connected_at{};
};

class IConnectionManager;

/// One client link.
///
/// Ownership: the manager's; adapters share it until the socket is gone. Embedders get a reference in handlers and
/// hooks, valid for that call. What lasts is the id: with that the manager does the same from anywhere, or finds that the
/// connection is gone.
/// Errors: rooms, data, send, publish, join, leave, request, set_profile, reply and close throw std::logic_error outside of a call that was given the reference, as
/// from a task or a thread that a handler started, so that a reference that was kept is found at its first use and not
/// when the connection is gone.
/// Threads: those of handlers and hooks, on the connection's executor.
class Connection {
 public:
  virtual ~Connection() = default;

  /// The manager it belongs to: handlers and hooks need not keep it, which would keep it for ever.
  [[nodiscard]] virtual IConnectionManager& manager() noexcept = 0;
  [[nodiscard]] virtual ConnectionId id() const noexcept = 0;
  [[nodiscard]] virtual ConnectionStatus status() const noexcept = 0;
  /// Empty members until authenticated.
  [[nodiscard]] virtual const Identity& identity() const noexcept = 0;
  /// Each call makes its text.
  [[nodiscard]] virtual RemoteAddress remote_address() const = 0;
  [[nodiscard]] virtual std::vector<std::string> rooms() const = 0;
  /// Messages and bytes received, bytes written and bytes waiting to be written; while the pipe is full, those that the
  /// system holds are among them, where the transport tells.
  struct Counters {
    std::uint64_t messages_in = 0;
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
    std::size_t unsent_bytes = 0;
  };
  [[nodiscard]] virtual Counters counters() const noexcept = 0;

  /// The program's own objects, one of each of its types: `connection.data<Player>()` is this connection's Player, made
  /// by the first call. They end when `on_disconnected` has returned; where the session may resume they are kept for it,
  /// if there were any before that, as long as Options::resume_window, for at most `max_connections` such sessions of this manager. The connection that
  /// resumes it has them again once its client is told `resumed`, in place of what it had of the same types.
  ///
  /// Threads: as all of this, and so no two at a time; those that are kept may end in any thread.
  [[nodiscard]] virtual Data& data() = 0;
  template <class T>
  [[nodiscard]] T& data() {
    return data().template get<T>();
  }

  /// Queues a direct message behind what is queued already. Nothing is sent to a connection that is closing, as one is that
  /// is beyond Options::unsent_hard_bytes with it: that one ends, with slow_consumer, and what is queued is dropped.
  virtual void send(const Payload& payload) = 0;
  /// Publishes to a room of this connection's tenant, to everyone in it but this connection. Not authorised again, and
  /// membership is not required: this is the server speaking on the connection's behalf.
  virtual void publish(std::string_view room, const Payload& payload) = 0;
  /// Seats this connection in a room, or takes it out of one, after the current handler or hook has returned: see
  /// IConnectionManager. In on_connected: behind connection_ack, before whatever else the client is told, and before its
  /// first command.
  /// What becomes of it `done` is told; without one a refusal is logged.
  virtual void join(std::string room, Function<void(Result<void>)> done = nullptr) = 0;
  virtual void leave(std::string room) = 0;
  /// As IConnectionManager::request.
  virtual void request(std::string type, Payload data, std::chrono::milliseconds timeout,
                       Function<void(Result<Payload>)> done) = 0;
  /// As IConnectionManager::set_profile, at once.
  virtual void set_profile(Payload profile) = 0;
  /// Answers the command being handled, in place of the plain acknowledgement. The second reply to one, and a reply
  /// in a hook, do nothing.
  virtual void reply(const Payload& payload) = 0;
  /// Starts the disconnect flow, after the current handler has returned. An empty text: the reason's own.
  virtual void close(CloseReason reason, std::string_view text = {}) = 0;

 protected:
  Connection() = default;
  Connection(const Connection&) = default;
  Connection& operator=(const Connection&) = default;
};

}  // namespace MUSTER_ABI
}  // namespace muster
