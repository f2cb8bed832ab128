// Places, and refusals.
#pragma once

#include <memory>
#include <string>

#include "muster/core/registry/admission.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Which option a limit has, and what is to be known of it; for the log.
[[nodiscard]] constexpr std::string_view option_behind(RefusedFor reason) noexcept {
  switch (reason) {
    case RefusedFor::capacity:
      return "; the limit is max_connections";
    case RefusedFor::per_ip:
      return "; the limit is max_connections_per_ip, and a proxy through which many come is named in trusted_proxies "
             "(muster_server: --behind-proxy ADDRESS)";
    case RefusedFor::rate:
      return "; the limit is connect_rate_per_ip, and a proxy through which many come is named in trusted_proxies "
             "(muster_server: --behind-proxy ADDRESS)";
    default:
      return "";
  }
}

MUSTER_INLINE void Admission::refused(RefusedFor reason, const RemoteAddress& address, std::string_view what,
                                      TimePoint now) {
  ++refused_[static_cast<std::size_t>(reason)];
  const auto verdict = told_.look({reason, AddressTable::host_of(address.bytes)}, now);
  if (verdict.left_out != 0) {
    failures_.log(LogLevel::info,
                  std::to_string(verdict.left_out) + " refusals of the last minute have no line of their own");
  }
  if (!verdict.is_news) return;
  failures_.log(LogLevel::info, "refused " + (address.is_known() ? address.text : "a peer") + " (" +
                                    std::string(to_string(reason)) + "): " + std::string(what) +
                                    std::string(option_behind(reason)));
}

MUSTER_INLINE Reservation Admission::reserve(const RemoteAddress& address) {
  const auto refuse = [](CloseReason reason, const char* message, std::chrono::milliseconds retry_after) {
    return Reservation(reason, Error{errc::unavailable, message, retry_after});
  };
  if (!open_) {
    return refuse(CloseReason::going_away, "The server is shutting down", entropy_.within(options_.reconnect_window));
  }
  std::size_t taken = taken_.load();
  do {
    if (options_.max_connections != 0 && taken >= options_.max_connections) {
      return refuse(CloseReason::over_capacity, "The server has no free connection",
                    entropy_.within(options_.reconnect_window));
    }
  } while (!taken_.compare_exchange_weak(taken, taken + 1));

  bool has_place = true;
  try {
    if (address.is_known()) has_place = addresses_.take_place(address.bytes, options_);
  } catch (...) {
    --taken_;
    throw;
  }
  if (!has_place) {
    --taken_;
    return refuse(CloseReason::policy, "Too many connections from this address", std::chrono::seconds(1));
  }
  return place_of(address, nullptr);
}

/// What a connection's place is known by is its address; one that has none is known by zeros.
[[nodiscard]] inline bool is_known(const AddressTable::Bytes& bytes) noexcept { return bytes != AddressTable::Bytes{}; }

MUSTER_INLINE Reservation Admission::place_of(const RemoteAddress& address, const ConnectionPtr& lender) {
  const auto bytes = address.bytes;
  const bool known = address.is_known();
  Reservation place([weak = life_.handle(this), bytes, known, of = std::weak_ptr<ConnectionState>(lender)] {
    if (const auto ghost = of.lock()) ghost->lends = false;
    if (const auto self = weak.lock()) self->release_place(bytes, known);
  });
  if (!lender && known == is_known(bytes)) place.by_ = this;
  place.of_ = bytes;
  return place;
}

MUSTER_INLINE void Admission::release_place(const AddressTable::Bytes& bytes, bool known) noexcept {
  if (known) addresses_.release(bytes, options_);
  --taken_;
}

MUSTER_INLINE void Admission::prepare(ConnectionState& connection, const Reservation& reservation) {
  if (reservation.by_ == this && reservation.of_ == connection.address) return;
  connection.seldom().reservation = std::make_unique<Reservation>();
}

MUSTER_INLINE void Admission::take_over(ConnectionState& connection, Reservation reservation) noexcept {
  if (connection.rare && connection.rare->reservation) {
    *connection.rare->reservation = std::move(reservation);
  } else {
    connection.has_place = true;
    reservation.release_ = nullptr;
  }
}

MUSTER_INLINE Reservation Admission::take_back(ConnectionState& connection) {
  if (!connection.has_place) {
    return connection.rare && connection.rare->reservation ? std::move(*connection.rare->reservation) : Reservation();
  }
  Reservation place = place_of({connection.address, {}}, nullptr);
  connection.has_place = false;
  return place;
}

MUSTER_INLINE void Admission::release(ConnectionState& connection) noexcept {
  if (connection.rare) connection.rare->reservation.reset();
  if (std::exchange(connection.has_place, false)) release_place(connection.address, is_known(connection.address));
}

MUSTER_INLINE Reservation Admission::lend(const ConnectionPtr& ghost, const RemoteAddress& address) {
  if (!ghost || ghost->lends.exchange(true)) return {};
  try {
    if (address.is_known()) (void)addresses_.take_place(address.bytes, options_, true);
  } catch (...) {
    ghost->lends = false;
    throw;
  }
  ++taken_;
  return place_of(address, ghost);
}

MUSTER_INLINE std::chrono::milliseconds Admission::count_connect(const RemoteAddress& address, TimePoint now) {
  if (!address.is_known()) return std::chrono::milliseconds(0);
  return addresses_.count_connect(address.bytes, options_, now);
}

MUSTER_INLINE void Admission::forgive_connect(const RemoteAddress& address) {
  if (address.is_known()) addresses_.forgive_connect(address.bytes);
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
