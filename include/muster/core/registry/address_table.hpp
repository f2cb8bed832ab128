// AddressTable: what admission keeps of each address.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>
#include <utility>
#include <vector>

#include "muster/core/base/mutex.hpp"
#include "muster/options.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Sockets and connects of each address. IPv4 counts whole. IPv6 counts by /64, one host's usual share, and by the /56
/// and the /48 around it, what one customer is given (RFC 6177): these may have 4 and 16 times as much, so that nobody
/// has more limits by having more addresses.
///
/// A limited number of addresses without a socket is remembered: beyond it the one that connected the longest ago is
/// forgotten, which costs nobody else anything.
class AddressTable {
 public:
  /// As RemoteAddress holds it.
  using Bytes = std::array<std::uint8_t, 16>;

  /// The address of an IPv4 host, the /64 of an IPv6 one.
  [[nodiscard]] static Bytes host_of(const Bytes& address) { return keys_of(address).all[0].bytes; }

  explicit AddressTable(std::size_t remembered = 65536) : remembered_(remembered) {}

  /// Takes a place for a socket; `beyond`: whatever the limit. False: the address has as many as it may.
  [[nodiscard]] bool take_place(const Bytes& address, const Options& options, bool beyond = false) {
    if (options.max_connections_per_ip == 0) return true;
    const Keys keys = keys_of(address);
    Lock lock(mutex_);
    for (const Key& key : keys) {
      if (beyond) break;
      const auto found = entries_.find(key);
      if (found != entries_.end() && found->second.connections >= share(key, options.max_connections_per_ip))
        return false;
    }
    use(keys, [](Entry&) {});
    for (const Key& key : keys) ++entries_.find(key)->second.connections;
    return true;
  }
  /// Of one that was taken under the same options.
  void release(const Bytes& address, const Options& options) {
    if (options.max_connections_per_ip == 0) return;
    Lock lock(mutex_);
    for (const Key& key : keys_of(address)) {
      const auto found = entries_.find(key);
      --found->second.connections;
      rest(found);
    }
  }

  /// Counts a connect, or answers how long until one may come (0: counted); a refused one counts for nothing.
  [[nodiscard]] std::chrono::milliseconds count_connect(const Bytes& address, const Options& options, TimePoint now) {
    if (options.connect_rate_per_ip == 0) return std::chrono::milliseconds(0);
    const Keys keys = keys_of(address);
    Lock lock(mutex_);
    for (const Key& key : keys) {
      const auto found = entries_.find(key);
      if (found == entries_.end()) continue;
      auto& connects = found->second.connects;
      auto young = connects.begin();
      while (young != connects.end() && *young + options.connect_rate_window <= now) ++young;
      connects.erase(connects.begin(), young);
      if (connects.size() < share(key, options.connect_rate_per_ip)) continue;
      const auto wait = connects.front() + options.connect_rate_window - now;
      return std::max(std::chrono::ceil<std::chrono::milliseconds>(wait), std::chrono::milliseconds(1));
    }
    use(keys, [now](Entry& entry) { entry.connects.push_back(now); });
    for (const Key& key : keys) rest(entries_.find(key));
    return std::chrono::milliseconds(0);
  }
  /// The last connect of an address is not held against it.
  void forgive_connect(const Bytes& address) {
    Lock lock(mutex_);
    for (const Key& key : keys_of(address)) {
      const auto found = entries_.find(key);
      if (found != entries_.end() && !found->second.connects.empty()) found->second.connects.pop_back();
    }
  }

  /// Forgets a few of those that time has made meaningless.
  void prune(const Options& options, TimePoint now) {
    Lock lock(mutex_);
    for (std::size_t looked = 0; looked < 1024 && !resting_.empty(); ++looked) {
      const auto oldest = entries_.find(resting_.front());
      const auto& connects = oldest->second.connects;
      if (!connects.empty() && connects.back() + options.connect_rate_window > now) return;
      forget(oldest);
    }
  }

  [[nodiscard]] std::size_t size() const {
    Lock lock(mutex_);
    return entries_.size();
  }

 private:
  /// A network: the bytes of its prefix, and how many bytes these are.
  struct Key {
    Bytes bytes{};
    std::uint8_t length = 0;
    friend bool operator==(const Key& a, const Key& b) { return a.bytes == b.bytes && a.length == b.length; }
  };
  struct Keys {
    std::array<Key, 3> all;
    std::size_t count = 0;
    [[nodiscard]] const Key* begin() const { return all.data(); }
    [[nodiscard]] const Key* end() const { return all.data() + count; }
  };
  struct Hash {
    std::size_t operator()(const Key& key) const noexcept {
      std::uint64_t hash = 14695981039346656037ULL ^ key.length;  // FNV-1a
      for (const std::uint8_t byte : key.bytes) hash = (hash ^ byte) * 1099511628211ULL;
      return static_cast<std::size_t>(hash);
    }
  };
  struct Entry {
    std::size_t connections = 0;
    std::vector<TimePoint> connects;  ///< the oldest first
    bool rests = false;
    std::list<Key>::iterator place;  ///< in `resting_`, if it rests, or in `busy_`
  };
  using Entries = std::unordered_map<Key, Entry, Hash>;

  [[nodiscard]] static Keys keys_of(const Bytes& bytes) {
    Keys keys;
    const auto add = [&](std::uint8_t length) {
      Key& key = keys.all[keys.count++];
      key.length = length;
      std::copy_n(bytes.begin(), length, key.bytes.begin());
    };
    if (RemoteAddress::is_v4(bytes)) {
      add(16);
    } else {
      for (const std::uint8_t length : {std::uint8_t{8}, std::uint8_t{7}, std::uint8_t{6}}) add(length);
    }
    return keys;
  }
  [[nodiscard]] static std::size_t share(const Key& key, std::size_t limit) {
    const std::size_t times = key.length == 7 ? 4 : key.length == 6 ? 16 : 1;
    return limit > SIZE_MAX / times ? SIZE_MAX : limit * times;
  }

  /// All of them, or none that was not there before.
  template <class Change>
  void use(const Keys& keys, Change change) MUSTER_REQUIRES(mutex_) {
    try {
      for (const Key& key : keys) {
        auto at = entries_.find(key);
        if (at == entries_.end()) {
          std::list<Key> place(1, key);
          at = entries_.emplace(key, Entry{}).first;
          at->second.place = place.begin();
          busy_.splice(busy_.end(), place);
        } else if (std::exchange(at->second.rests, false)) {
          busy_.splice(busy_.end(), resting_, at->second.place);
        }
        change(at->second);
      }
    } catch (...) {
      for (const Key& key : keys) {
        const auto at = entries_.find(key);
        if (at != entries_.end()) rest(at);
      }
      throw;
    }
  }
  void rest(Entries::iterator at) noexcept MUSTER_REQUIRES(mutex_) {
    if (at->second.connections != 0 || std::exchange(at->second.rests, true)) return;
    resting_.splice(resting_.end(), busy_, at->second.place);
    if (at->second.connects.empty()) return forget(at);
    if (resting_.size() > remembered_) forget(entries_.find(resting_.front()));
  }
  void forget(Entries::iterator at) MUSTER_REQUIRES(mutex_) {
    resting_.erase(at->second.place);
    entries_.erase(at);
  }

  const std::size_t remembered_;
  mutable Mutex mutex_;
  Entries entries_ MUSTER_GUARDED_BY(mutex_);
  std::list<Key> busy_ MUSTER_GUARDED_BY(mutex_);     ///< addresses with a socket
  std::list<Key> resting_ MUSTER_GUARDED_BY(mutex_);  ///< those without; the one that came the longest ago first
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
