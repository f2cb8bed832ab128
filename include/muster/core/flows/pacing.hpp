// Pacing: reading slows down for who sends more than its rates allow, and stops while commands wait.
#pragma once

#include <chrono>

#include "muster/core/connection/connection_state.hpp"
#include "muster/options.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// On the connection's executor.
class Pacing {
 public:
  /// `read_on`: called with a connection whose time without reading is over.
  Pacing(const Options& options, Timer::Fire read_on) : options_(options), read_on_(read_on) {}

  void pause(ConnectionState& connection, Pause why, bool on);
  /// Reads no more from a connection that owes, until it does not.
  void keep_pace(ConnectionState& connection, TimePoint now);
  /// Notes that the connection is beyond a rate. True: it has been for too long, and is to be refused.
  [[nodiscard]] bool exceeds_for_long(ConnectionState& connection, TimePoint now);

 private:
  /// How long until the connection owes nothing to its rates (0: now).
  [[nodiscard]] std::chrono::milliseconds debt(ConnectionState& connection, TimePoint now) const;

  const Options& options_;
  const Timer::Fire read_on_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
