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
  Answering(const Options& options, Hooks& hooks, Questions& questions, Writer& writer, Ending& ending)
      : options_(options), hooks_(hooks), questions_(questions), writer_(writer), ending_(ending) {}

  /// Has the handler serve the command, and sees to it that it is answered once.
  void serve(ConnectionState& connection, const Correlation& correlation, const Handler& handler,
             const Payload& payload);

 private:
  class UnderWay;

  const Options& options_;
  Hooks& hooks_;
  Questions& questions_;
  Writer& writer_;
  Ending& ending_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
