// Answering: commands whose handlers answer later.
#pragma once

#include "muster/core/flows/ending.hpp"
#include "muster/core/outward/hooks.hpp"
#include "muster/core/outward/questions.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// On the connection's executor.
class Answering {
 public:
  /// `late`: what the timer of a command that is served in order calls.
  Answering(const Options& options, Hooks& hooks, Writer& writer, Ending& ending, Later& later, Timer::Fire late)
      : options_(options), hooks_(hooks), writer_(writer), ending_(ending), later_(later), late_(late) {}

  /// Has the handler serve the command, and sees to it that it is answered once.
  void serve(ConnectionState& connection, const Correlation& correlation, const Handler& handler,
             const Payload& payload);
  /// The deadline of the one that is served in order has passed.
  void expire(ConnectionState& connection);

 private:
  class UnderWay;

  const Options& options_;
  Hooks& hooks_;
  Writer& writer_;
  Ending& ending_;
  Later& later_;
  const Timer::Fire late_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
