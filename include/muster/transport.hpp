// The seam to one client's outbound pipe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "muster/config.hpp"
#include "muster/span.hpp"

namespace muster {
inline namespace MUSTER_ABI {

enum class WriteResult : std::uint8_t {
  done,     ///< every byte was taken; nothing is held
  pending,  ///< the transport holds this batch; IConnectionManager::writable follows when it is through
  closed    ///< the pipe is broken; IConnectionManager::closed follows, or has been called already
};

/// One client's outbound pipe. What comes in goes the other way: the adapter that owns the pipe calls
/// IConnectionManager::open, received, writable and closed.
///
/// Ownership: shared by adapter and core until both let go.
/// Threads: called on the connection's executor only.
/// Re-entrance: no method calls back into the manager before it returns; what happened is told from a later task.
class Transport {
 public:
  virtual ~Transport() = default;

  /// Writes the spans, in order, as one gather write of whole frames. At most one batch is outstanding: after
  /// `pending` the core does not write again before `writable`. The bytes belong to the core and stay valid until
  /// this answers done, until `writable`, or until `closed`.
  [[nodiscard]] virtual WriteResult write(const Span* spans, std::size_t count) = 0;

  /// Bytes on their way that the peer has not got: of the batch that is pending, and what the system keeps beyond it. They
  /// count against the marks of unsent bytes. None: not known, and the whole batch counts until it is through. Asked only
  /// while a batch is pending, and not for every write.
  [[nodiscard]] virtual std::optional<std::size_t> unsent() const { return std::nullopt; }

  /// Starts a graceful end: the batch in flight, then a close frame with this code and text (at most 123 bytes; RFC
  /// 6455, 5.5.1), then waits for the peer's, for at most its own close timeout, and releases the socket. Then
  /// IConnectionManager::closed. Called at most once; nothing is written after it.
  virtual void close(std::uint16_t code, std::string_view text) = 0;

  /// Releases the socket at once, whatever is in flight. Then IConnectionManager::closed. May follow `close`.
  virtual void abort() = 0;

  /// Stops or restarts reading, so that what a peer makes us hold stays bounded. Bytes already read may still arrive.
  virtual void pause_reading(bool pause) = 0;

 protected:
  Transport() = default;
  Transport(const Transport&) = default;
  Transport& operator=(const Transport&) = default;
};

}  // namespace MUSTER_ABI
}  // namespace muster
