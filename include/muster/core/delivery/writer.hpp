// Writer: what a connection is told, and its bytes on their way to the pipe. On the connection's executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "muster/core/base/byte_budget.hpp"
#include "muster/core/connection/connection_state.hpp"
#include "muster/core/delivery/pressure.hpp"
#include "muster/core/outward/later.hpp"
#include "muster/options.hpp"
#include "muster/protocol.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

class Writer {
 public:
  Writer(const Options& options, const ByteBudget& bytes, Pressure& pressure, Later& later)
      : options_(options), bytes_(bytes), pressure_(pressure), later_(later) {}

  /// Queues what stands in this turn's replies; returns the bytes it took.
  std::size_t tell(ConnectionState& connection, const Event& event, const Correlation* correlation = nullptr);
  /// Likewise, for what the client asked for: charged to its byte budget.
  void tell_asked(ConnectionState& connection, const Event& event, const Correlation* correlation = nullptr);
  void tell_direct(ConnectionState& connection, const Payload& payload);
  void tell_entry(ConnectionState& connection, const RoomState& room, std::uint64_t epoch, const Entry& entry);
  void tell_error(ConnectionState& connection, const Correlation* correlation, Error error);
  /// To all of a tenant, or of all tenants, on this loop.
  void broadcast(const LoopPtr& loop, const std::optional<std::string>& tenant, const Event& event);

  /// It has something to write at the end of this turn.
  void mark_dirty(ConnectionState& connection);
  /// What is being written must not grow.
  void seal_replies(Loop& loop);
  /// Hands over what is queued, unless something is in flight. False: the pipe is broken.
  bool write(ConnectionState& connection);
  /// What follows from a write; false as for `write`.
  bool wrote(ConnectionState& connection, WriteResult result, Handed handed);
  /// The soft mark: whether it is fed as things come. Who is beyond is fed from history, by its cursor.
  [[nodiscard]] bool takes_more(const ConnectionState& connection) const noexcept {
    return connection.outbox.unsent() <= options_.unsent_soft_bytes;
  }
  /// Likewise, once what waits has been handed over, if it may be. False, too, when it ends.
  [[nodiscard]] bool makes_room(ConnectionState& connection);
  /// The hard mark: ends it if more bytes wait for it than that.
  void hold_to_hard_mark(ConnectionState& connection, std::size_t bytes) noexcept;
  void watch_write(ConnectionState& connection) noexcept;
  /// Ends it after the work at hand, for causes found while writing or iterating.
  void end_soon(ConnectionState& connection, CloseReason reason, std::string text = {}) noexcept;

 private:
  [[nodiscard]] std::string& reply_bytes(Loop& loop);
  void append_reply(ConnectionState& connection, std::size_t begin);
  /// Holds what it has queued to the hard mark, once it is known how much of that has gone.
  void count_unsent(ConnectionState& connection);

  const Options& options_;
  const ByteBudget& bytes_;
  Pressure& pressure_;
  Later& later_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
