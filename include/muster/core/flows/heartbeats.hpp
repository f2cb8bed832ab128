// Heartbeats: who is silent, and who does not take what is sent.
#pragma once

#include "muster/core/flows/ending.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// On the connection's executor.
class Heartbeats {
 public:
  Heartbeats(const Options& options, Writer& writer, Ending& ending)
      : options_(options), writer_(writer), ending_(ending) {}

  /// From now on it is asked whether it is alive, as its protocol does that; when first is left to chance, so that not all
  /// are at once.
  void begin(ConnectionState& connection);
  /// The next heartbeat, or the end of who has not answered the last one.
  void beat(ConnectionState& connection);
  /// Ends who has not authenticated in time, or does not take what is sent.
  void check(ConnectionState& connection);

 private:
  const Options& options_;
  Writer& writer_;
  Ending& ending_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
