// Later: what the core does behind the work at hand.
#pragma once

#include <string>

#include "muster/close_reason.hpp"
#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

class ConnectionState;
struct Loop;

/// The three calls that run upwards, from posted tasks only: once a turn, once a broken connection, once a late answer.
class Later {
 public:
  virtual ~Later() = default;
  /// Everybody has said what is to be said in this turn.
  virtual void end_turn(Loop& loop) = 0;
  virtual void end(ConnectionState& connection, CloseReason reason, const std::string& text) noexcept = 0;
  /// What it asked is answered: its commands go on.
  virtual void go_on(ConnectionState& connection) = 0;

 protected:
  Later() = default;
  Later(const Later&) = default;
  Later& operator=(const Later&) = default;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
