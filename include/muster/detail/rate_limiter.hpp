// Rates: a token bucket and a window for one connection, and the table of addresses that admission keeps.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "muster/detail/mutex.hpp"
#include "muster/options.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {

/// Tokens come at `rate` a second up to a burst of twice that. A rate of 0 is no limit.
class TokenBucket {
 public:
  /// How long until `amount` is there (0: now). `paid`: what was charged of it already. More than a burst counts as one.
  [[nodiscard]] std::chrono::milliseconds until(std::size_t rate, double amount, TimePoint now, double paid = 0) {
    if (rate == 0) return std::chrono::milliseconds(0);
    fill(rate, now);
    const double wanted = std::max(std::min(amount, 2 * static_cast<double>(rate)) - paid, 0.0);
    if (tokens_ >= wanted) return std::chrono::milliseconds(0);
    const double seconds = std::min((wanted - tokens_) / static_cast<double>(rate), longest_seconds);
    return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000) + 1);
  }
  /// Takes `amount` whatever there is: what is owed then must come in before anything is there again.
  void charge(std::size_t rate, double amount, TimePoint now) {
    if (rate == 0) return;
    fill(rate, now);
    tokens_ -= amount;
  }
  /// Whether anything was owed when it was last asked for or charged.
  [[nodiscard]] bool owes() const noexcept { return tokens_ < 0; }
  /// How long until nothing is owed (0: now).
  [[nodiscard]] std::chrono::milliseconds debt(std::size_t rate, TimePoint now) { return until(rate, 0, now); }

 private:
  void fill(std::size_t rate, TimePoint now) {
    const double burst = 2 * static_cast<double>(rate);
    if (last_ == TimePoint{}) {
      tokens_ = burst;
    } else {
      const double seconds = std::chrono::duration<double>(now - last_).count();
      tokens_ = std::min(burst, tokens_ + seconds * static_cast<double>(rate));
    }
    last_ = now;
  }
  static constexpr double longest_seconds = 86'400;  // of what is waited for at once
  double tokens_ = 0;
  TimePoint last_{};
};

/// So many in any window of time, for what is rare enough that each can be remembered: exact.
class RateWindow {
 public:
  /// Counts one, or answers how long until one may come (0: counted). A limit of 0 is no limit.
  [[nodiscard]] std::chrono::milliseconds take(std::size_t limit, std::chrono::milliseconds window, TimePoint now) {
    if (limit == 0) return std::chrono::milliseconds(0);
    const auto young = std::find_if(times_.begin(), times_.end(), [&](TimePoint at) { return at + window > now; });
    times_.erase(times_.begin(), young);
    if (times_.size() >= limit) return std::chrono::ceil<std::chrono::milliseconds>(times_.front() + window - now);
    times_.push_back(now);
    return std::chrono::milliseconds(0);
  }
  /// The last one did not happen.
  void give_back() {
    if (!times_.empty()) times_.pop_back();
  }

 private:
  std::vector<TimePoint> times_;  // the oldest first
};

/// Sockets and connects of each address: IPv4 whole, IPv6 by /64, one host's usual share (RFC 6177).
class AddressTable {
 public:
  using Key = std::array<std::uint8_t, 16>;

  [[nodiscard]] static Key key_of(const RemoteAddress& address) {
    Key key = address.bytes;
    const bool mapped = std::all_of(key.begin(), key.begin() + 10, [](std::uint8_t b) { return b == 0; }) &&
                        key[10] == 0xff && key[11] == 0xff;
    if (!mapped) std::fill(key.begin() + 8, key.end(), std::uint8_t{0});
    return key;
  }

  /// Takes a place for a socket. False: the address has as many as it may, or the table is full.
  [[nodiscard]] bool take_place(const Key& key, const Options& options, TimePoint now) {
    Lock lock(mutex_);
    Entry* entry = find_or_add(key, options, now);
    if (entry == nullptr) return false;
    if (options.max_connections_per_ip != 0 && entry->connections >= options.max_connections_per_ip) return false;
    ++entry->connections;
    return true;
  }

  /// Counts a connect, or answers how long until one may come (0: counted); a refused one counts for nothing.
  [[nodiscard]] std::chrono::milliseconds count_connect(const Key& key, const Options& options, TimePoint now) {
    if (options.connect_rate_per_ip == 0) return std::chrono::milliseconds(0);
    Lock lock(mutex_);
    Entry* entry = find_or_add(key, options, now);
    if (entry == nullptr) return options.connect_rate_window;
    forget_old(*entry, options, now);
    if (entry->connects.size() >= options.connect_rate_per_ip) {
      const auto wait =
          std::chrono::ceil<std::chrono::milliseconds>(entry->connects.front() + options.connect_rate_window - now);
      return std::max(wait, std::chrono::milliseconds(1));
    }
    entry->connects.push_back(now);
    return std::chrono::milliseconds(0);
  }

  void release(const Key& key) {
    Lock lock(mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end()) return;
    --found->second.connections;
    if (found->second.connections == 0 && found->second.connects.empty()) entries_.erase(found);
  }

  void prune(const Options& options, TimePoint now) {
    Lock lock(mutex_);
    prune_locked(options, now);
  }

  [[nodiscard]] std::size_t size() const {
    Lock lock(mutex_);
    return entries_.size();
  }

 private:
  static constexpr std::size_t bound = 65536;
  struct Entry {
    std::size_t connections = 0;
    std::deque<TimePoint> connects;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const noexcept {
      std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a
      for (const std::uint8_t byte : key) hash = (hash ^ byte) * 1099511628211ULL;
      return static_cast<std::size_t>(hash);
    }
  };
  /// Null: the table is full, and nothing in it is old.
  Entry* find_or_add(const Key& key, const Options& options, TimePoint now) {
    if (entries_.size() >= bound && entries_.find(key) == entries_.end()) prune_locked(options, now);
    if (entries_.size() >= bound && entries_.find(key) == entries_.end()) return nullptr;
    return &entries_[key];
  }
  static void forget_old(Entry& entry, const Options& options, TimePoint now) {
    while (!entry.connects.empty() && entry.connects.front() + options.connect_rate_window <= now) {
      entry.connects.pop_front();
    }
  }
  void prune_locked(const Options& options, TimePoint now) {
    for (auto at = entries_.begin(); at != entries_.end();) {
      forget_old(at->second, options, now);
      at = at->second.connections == 0 && at->second.connects.empty() ? entries_.erase(at) : std::next(at);
    }
  }

  mutable Mutex mutex_;
  std::unordered_map<Key, Entry, Hash> entries_;
};

}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
