// Turn: at its end, who has something to write is fed and written to, once.
#pragma once

#include "muster/core/delivery/catch_up.hpp"
#include "muster/core/delivery/writer.hpp"
#include "muster/core/flows/queues.hpp"
#include "muster/core/outward/later.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// On the loop.
class Turn {
 public:
  Turn(Pressure& pressure, Writer& writer, CatchUp& catch_up, Queues& queues, Later& later)
      : pressure_(pressure), writer_(writer), catch_up_(catch_up), queues_(queues), later_(later) {}

  void end(Loop& loop);
  /// Its pipe has taken what was in flight.
  void writable(ConnectionState& connection);

 private:
  void go_on(ConnectionState& connection);
  /// Feeds and writes what can be written now.
  void flush(ConnectionState& connection);

  Pressure& pressure_;
  Writer& writer_;
  CatchUp& catch_up_;
  Queues& queues_;
  Later& later_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
