// ConnectionTable: connections by id, and authenticated ones by tenant and user. Each fact has one lock.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "muster/connection.hpp"
#include "muster/detail/mutex.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {

class ConnectionState;
using ConnectionPtr = std::shared_ptr<ConnectionState>;
using InfoPtr = std::shared_ptr<const ConnectionInfo>;

class ConnectionTable {
 public:
  /// By id. False: the id is taken.
  [[nodiscard]] bool insert(ConnectionId id, ConnectionPtr connection) {
    Shard& shard = shard_of(id);
    Lock lock(shard.mutex);
    return shard.entries.try_emplace(id, Entry{std::move(connection), nullptr}).second;
  }
  /// Publishes a connection's newest snapshot; the first makes it visible to lookups.
  void publish(ConnectionId id, InfoPtr info) {
    Shard& shard = shard_of(id);
    Lock lock(shard.mutex);
    const auto found = shard.entries.find(id);
    if (found == shard.entries.end()) return;
    if (!found->second.info) ++shard.authenticated;
    found->second.info = std::move(info);
  }
  void erase(ConnectionId id) {
    Shard& shard = shard_of(id);
    Lock lock(shard.mutex);
    const auto found = shard.entries.find(id);
    if (found == shard.entries.end()) return;
    if (found->second.info) --shard.authenticated;
    shard.entries.erase(found);
  }
  /// Pending ones included.
  [[nodiscard]] ConnectionPtr find(ConnectionId id) const {
    const Shard& shard = shard_of(id);
    Lock lock(shard.mutex);
    const auto found = shard.entries.find(id);
    return found == shard.entries.end() ? nullptr : found->second.connection;
  }
  [[nodiscard]] InfoPtr info(ConnectionId id) const {
    const Shard& shard = shard_of(id);
    Lock lock(shard.mutex);
    const auto found = shard.entries.find(id);
    return found == shard.entries.end() ? nullptr : found->second.info;
  }
  /// Authenticated ones after `after`, in the order of ids, at most `limit`.
  [[nodiscard]] std::vector<InfoPtr> page(ConnectionId after, std::size_t limit) const {
    std::vector<InfoPtr> found;
    for (std::size_t i = shard_index(after); i < shards_.size() && found.size() < limit; ++i) {
      const std::size_t begin = found.size();
      {
        Lock lock(shards_[i].mutex);
        for (const auto& [id, entry] : shards_[i].entries) {
          if (entry.info && after < id) found.push_back(entry.info);
        }
      }
      std::sort(found.begin() + static_cast<std::ptrdiff_t>(begin), found.end(),
                [](const InfoPtr& a, const InfoPtr& b) { return a->id < b->id; });
    }
    if (found.size() > limit) found.resize(limit);
    return found;
  }
  [[nodiscard]] std::pair<std::size_t, std::size_t> authenticated_and_pending() const {
    std::size_t authenticated = 0;
    std::size_t all = 0;
    for (const Shard& shard : shards_) {
      Lock lock(shard.mutex);
      authenticated += shard.authenticated;
      all += shard.entries.size();
    }
    return {authenticated, all - authenticated};
  }

 private:
  struct Entry {
    ConnectionPtr connection;
    InfoPtr info;
  };
  struct Shard {
    mutable Mutex mutex;
    std::unordered_map<ConnectionId, Entry> entries;
    std::size_t authenticated = 0;
  };
  // Ids are random, so their upper bits spread them, and shard after shard is the order of ids.
  static std::size_t shard_index(ConnectionId id) { return static_cast<std::size_t>(id.value() >> 58U); }
  [[nodiscard]] Shard& shard_of(ConnectionId id) { return shards_[shard_index(id)]; }
  [[nodiscard]] const Shard& shard_of(ConnectionId id) const { return shards_[shard_index(id)]; }
  std::array<Shard, 64> shards_;
};

/// The connections of each user of each tenant. A user is in it while it has one, or a session in its grace.
class UserTable {
 public:
  enum class Added : std::uint8_t { first, more, refused };

  /// Adds one, unless `limit` (0 = none) are there already; `oldest` then gets the first of them.
  [[nodiscard]] Added add(const UserKey& key, const ConnectionPtr& connection, std::size_t limit,
                          ConnectionPtr& oldest) {
    Shard& shard = shard_of(key);
    Lock lock(shard.mutex);
    User& user = shard.tenants[key.tenant][key.user];
    if (limit != 0 && user.connections.size() >= limit) {
      oldest = user.connections.front();
      return Added::refused;
    }
    const bool first = user.gone();
    user.connections.push_back(connection);
    if (first) ++shard.users;
    return first ? Added::first : Added::more;
  }
  /// True: it was the last.
  bool remove(const UserKey& key, const ConnectionPtr& connection) {
    return change(key, [&](User& user) {
      const auto at = std::find(user.connections.begin(), user.connections.end(), connection);
      if (at == user.connections.end()) return false;
      user.connections.erase(at);
      return true;
    });
  }
  /// Keeps a user with a connection present also when that one ends, for a session in its grace.
  void hold(const UserKey& key) {
    (void)change(key, [](User& user) {
      ++user.held;
      return true;
    });
  }
  /// True: nothing of the user is left.
  bool release(const UserKey& key) {
    return change(key, [](User& user) {
      --user.held;
      return true;
    });
  }
  [[nodiscard]] std::vector<ConnectionPtr> of(const UserKey& key) const {
    const Shard& shard = shard_of(key);
    Lock lock(shard.mutex);
    const auto* connections = find(shard, key);
    return connections == nullptr ? std::vector<ConnectionPtr>() : *connections;
  }
  [[nodiscard]] std::size_t count(const UserKey& key) const {
    const Shard& shard = shard_of(key);
    Lock lock(shard.mutex);
    const auto* connections = find(shard, key);
    return connections == nullptr ? 0 : connections->size();
  }
  /// With a connection, or in the grace of a session.
  [[nodiscard]] bool contains(const UserKey& key) const {
    const Shard& shard = shard_of(key);
    Lock lock(shard.mutex);
    return find(shard, key) != nullptr;
  }
  [[nodiscard]] std::vector<std::string> users_of(std::string_view tenant) const {
    std::vector<std::string> found;
    for (const Shard& shard : shards_) {
      Lock lock(shard.mutex);
      const auto at = shard.tenants.find(std::string(tenant));
      if (at == shard.tenants.end()) continue;
      for (const auto& entry : at->second) found.push_back(entry.first);
    }
    std::sort(found.begin(), found.end());
    return found;
  }
  [[nodiscard]] std::vector<ConnectionPtr> of_tenant(std::string_view tenant) const {
    std::vector<ConnectionPtr> found;
    for (const Shard& shard : shards_) {
      Lock lock(shard.mutex);
      const auto at = shard.tenants.find(std::string(tenant));
      if (at == shard.tenants.end()) continue;
      for (const auto& entry : at->second) found.insert(found.end(), entry.second.connections.begin(), entry.second.connections.end());
    }
    return found;
  }
  [[nodiscard]] std::size_t size() const {
    std::size_t users = 0;
    for (const Shard& shard : shards_) {
      Lock lock(shard.mutex);
      users += shard.users;
    }
    return users;
  }

 private:
  struct User {
    std::vector<ConnectionPtr> connections;
    std::size_t held = 0;
    [[nodiscard]] bool gone() const { return connections.empty() && held == 0; }
  };
  using Users = std::unordered_map<std::string, User>;
  struct Shard {
    mutable Mutex mutex;
    std::unordered_map<std::string, Users> tenants;
    std::size_t users = 0;
  };
  static const std::vector<ConnectionPtr>* find(const Shard& shard, const UserKey& key) {
    const auto tenant = shard.tenants.find(key.tenant);
    if (tenant == shard.tenants.end()) return nullptr;
    const auto user = tenant->second.find(key.user);
    return user == tenant->second.end() ? nullptr : &user->second.connections;
  }
  template <class Change>
  bool change(const UserKey& key, Change apply) {
    Shard& shard = shard_of(key);
    Lock lock(shard.mutex);
    const auto tenant = shard.tenants.find(key.tenant);
    if (tenant == shard.tenants.end()) return false;
    const auto user = tenant->second.find(key.user);
    if (user == tenant->second.end() || !apply(user->second) || !user->second.gone()) return false;
    tenant->second.erase(user);
    if (tenant->second.empty()) shard.tenants.erase(tenant);
    --shard.users;
    return true;
  }
  [[nodiscard]] Shard& shard_of(const UserKey& key) { return shards_[std::hash<UserKey>{}(key) % shards_.size()]; }
  [[nodiscard]] const Shard& shard_of(const UserKey& key) const {
    return shards_[std::hash<UserKey>{}(key) % shards_.size()];
  }
  std::array<Shard, 16> shards_;
};

}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
