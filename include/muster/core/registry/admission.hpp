// Admission: who may have a place among the connections, and what is said of those who may not. Any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "muster/connection_manager.hpp"
#include "muster/core/base/entropy.hpp"
#include "muster/core/base/life.hpp"
#include "muster/core/base/log_window.hpp"
#include "muster/core/connection/connection_state.hpp"
#include "muster/core/loop/failures.hpp"
#include "muster/core/registry/address_table.hpp"
#include "muster/core/registry/connection_table.hpp"
#include "muster/options.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

class Admission {
 public:
  Admission(const Life& life, const Options& options, Entropy& entropy, Failures& failures)
      : life_(life), options_(options), entropy_(entropy), failures_(failures) {}

  [[nodiscard]] Reservation reserve(const RemoteAddress& address);
  /// Who comes back for a session may be let in beyond the limits, until it is known whether it is who it says it is:
  /// one for each connection that there is, which is bounded. `ghost`: the session's, or null.
  [[nodiscard]] Reservation lend(const ConnectionPtr& ghost, const RemoteAddress& address);
  /// The place is the connection's, whose address is set, until it is taken back or released. One that is lent, or of
  /// another address, has to be kept: `prepare` for that may throw.
  void prepare(ConnectionState& connection, const Reservation& reservation);
  void take_over(ConnectionState& connection, Reservation reservation) noexcept;
  [[nodiscard]] Reservation take_back(ConnectionState& connection);
  void release(ConnectionState& connection) noexcept;
  /// Counts a connect of the address: how long until it may come (0: now).
  [[nodiscard]] std::chrono::milliseconds count_connect(const RemoteAddress& address, TimePoint now);
  /// It was one that comes back: many may at once, behind one address.
  void forgive_connect(const RemoteAddress& address);
  /// Counts a refusal, and says so in the log once a window.
  void refused(RefusedFor reason, const RemoteAddress& address, std::string_view what, TimePoint now);
  void prune(TimePoint now) { addresses_.prune(options_, now); }

  /// From here on nobody is let in.
  void close() noexcept { open_ = false; }
  [[nodiscard]] bool is_open() const noexcept { return open_; }
  [[nodiscard]] bool is_full() const noexcept {
    return options_.max_connections != 0 && taken_ >= options_.max_connections;
  }
  [[nodiscard]] std::size_t taken() const noexcept { return taken_; }
  [[nodiscard]] std::uint64_t count(RefusedFor reason) const noexcept {
    return refused_[static_cast<std::size_t>(reason)];
  }

 private:
  [[nodiscard]] Reservation place_of(const RemoteAddress& address, const ConnectionPtr& lender);
  void release_place(const AddressTable::Bytes& bytes, bool known) noexcept;

  const Life& life_;
  const Options& options_;
  Entropy& entropy_;
  Failures& failures_;
  AddressTable addresses_;
  LogWindow<std::pair<RefusedFor, AddressTable::Bytes>> told_;
  std::atomic<std::size_t> taken_{0};
  std::atomic<bool> open_{true};
  std::array<std::atomic<std::uint64_t>, refused_for_count> refused_{};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
