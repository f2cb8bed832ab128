// Draining: a deploy's end of all connections, spread over time, and with the word when to come back.
#pragma once

#include <chrono>

#include "muster/connection_manager.hpp"
#include "muster/core/flows/ending.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Any thread, but for what says otherwise.
class Draining {
 public:
  Draining(Entropy& entropy, const Loops& loops, const Life& life, Hooks& hooks, Admission& admission, Writer& writer,
           Sessions& sessions, Ending& ending)
      : entropy_(entropy),
        loops_(loops),
        life_(life),
        hooks_(hooks),
        admission_(admission),
        writer_(writer),
        sessions_(sessions),
        ending_(ending) {}

  void drain(std::chrono::milliseconds deadline, std::chrono::milliseconds reconnect_window,
             Function<void(Drained)> done);
  /// Closes those whose time has come. On the loop.
  void close_next(Loop& loop);
  void shut_down(Function<void()> done);

 private:
  void let_go(Function<void()> done);

  Entropy& entropy_;
  const Loops& loops_;
  const Life& life_;
  Hooks& hooks_;
  Admission& admission_;
  Writer& writer_;
  Sessions& sessions_;
  Ending& ending_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
