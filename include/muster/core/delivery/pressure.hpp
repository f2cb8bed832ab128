// Pressure: which connections do not keep up, as their rooms count them and hooks are told. On the connection's executor.
#pragma once

#include "muster/core/connection/connection_state.hpp"
#include "muster/core/outward/hooks.hpp"
#include "muster/core/outward/later.hpp"
#include "muster/options.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

class Pressure {
 public:
  Pressure(const Options& options, Hooks& hooks, Later& later) : options_(options), hooks_(hooks), later_(later) {}

  /// It may be slow now, or no more: that is found out after the work at hand.
  void look_at(ConnectionState& connection) noexcept {
    if (connection.weighed || connection.slow == is_slow(connection)) return;
    connection.weighed = connection.contain("The executor", [&] {
      (void)connection.loop->post([this, keep = connection.shared_from_this()] { weigh(*keep); });
    });
  }

 private:
  /// Who is slow stays so until its pipe is free.
  [[nodiscard]] bool is_slow(const ConnectionState& connection) const noexcept {
    const bool full = connection.outbox.in_flight();
    if (connection.slow) return full || connection.behind;
    return full && (connection.behind || connection.outbox.unsent() > options_.unsent_soft_bytes);
  }
  void weigh(ConnectionState& connection);

  const Options& options_;
  Hooks& hooks_;
  Later& later_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
