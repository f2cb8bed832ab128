// Authorizing: what a connection may do.
#pragma once

#include <memory>
#include <string>

#include "muster/authorizer.hpp"
#include "muster/core/flows/ending.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// On the connection's executor.
class Authorizing {
 public:
  Authorizing(const Options& options, Authorizer& authorizer, Questions& questions, Writer& writer, Ending& ending)
      : options_(options), authorizer_(authorizer), questions_(questions), writer_(writer), ending_(ending) {}

  /// `then` is told whether who has that identity may. What the connection's own has been told, and holds, is not asked.
  void ask(ConnectionState& connection, std::shared_ptr<const Identity> identity, Action action, std::string target,
           Function<void(ConnectionState&, Permission)> then);
  /// For a command: `then` is called if it may. If not, the client is told.
  void demand(ConnectionState& connection, Action action, std::string target, Correlation correlation,
              Function<void(ConnectionState&)> then);

 private:
  struct Asks;

  const Options& options_;
  Authorizer& authorizer_;
  Questions& questions_;
  Writer& writer_;
  Ending& ending_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
