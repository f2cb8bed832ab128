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
#include "muster/core/base/intrusive_table.hpp"
#include "muster/core/base/mutex.hpp"
#include "muster/core/base/one_or_more.hpp"
#include "muster/core/base/packed_strings.hpp"
#include "muster/core/connection/connection_state.hpp"
#include "muster/core/room/left_rooms.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// A connection as it was at one moment.
struct Snapshot {
  ConnectionPtr connection;
  std::shared_ptr<const Identity> identity;  ///< null: it is not authenticated yet
  ConnectionId member;
  PackedStrings rooms;
};

/// It holds none of them: their loops do, until after they were erased.
class ConnectionTable {
 public:
  /// By id. False: the id is taken.
  [[nodiscard]] bool insert(ConnectionState& connection) {
    Shard& shard = shard_of(connection.id_);
    Lock lock(shard.mutex);
    if (shard.entries.find(connection.id_) != nullptr) return false;
    shard.entries.insert(connection);
    return true;
  }
  // What others may read of it, on its executor.
  /// In which rooms it is; the first time makes it visible to lookups.
  void publish(ConnectionState& connection, PackedStrings rooms) {
    Shard& shard = shard_of(connection.id_);
    Lock lock(shard.mutex);
    if (!std::exchange(connection.published, true)) ++shard.authenticated;
    connection.published_rooms.swap(rooms);  // those of before end after the section
  }
  void set_identity(ConnectionState& connection, std::shared_ptr<const Identity> identity) noexcept {
    Lock lock(shard_of(connection.id_).mutex);
    connection.identity_.swap(identity);
  }
  void set_member(ConnectionState& connection, ConnectionId member) noexcept {
    Lock lock(shard_of(connection.id_).mutex);
    connection.member = member;
  }
  void erase(ConnectionState& connection) noexcept {
    Shard& shard = shard_of(connection.id_);
    Lock lock(shard.mutex);
    if (shard.entries.find(connection.id_) != &connection) return;
    if (connection.published) --shard.authenticated;
    shard.entries.erase(connection);
  }
  /// Pending ones included.
  [[nodiscard]] ConnectionPtr find(ConnectionId id) const {
    const Shard& shard = shard_of(id);
    Lock lock(shard.mutex);
    ConnectionState* const found = shard.entries.find(id);
    return found == nullptr ? nullptr : found->shared_from_this();
  }
  /// Null while it is not authenticated, as with those below.
  [[nodiscard]] ConnectionPtr known(ConnectionId id) const {
    return read(id, [](ConnectionState& one) { return one.shared_from_this(); });
  }
  [[nodiscard]] std::shared_ptr<const Identity> identity(ConnectionId id) const {
    return read(id, [](ConnectionState& one) { return one.identity_; });
  }
  /// What others know it as.
  [[nodiscard]] ConnectionId member(ConnectionId id) const {
    return read(id, [](ConnectionState& one) { return one.member; });
  }
  [[nodiscard]] Snapshot snapshot(ConnectionId id) const {
    return read(id, [](ConnectionState& one) {
      return Snapshot{one.shared_from_this(), one.identity_, one.member, one.published_rooms};
    });
  }
  /// Authenticated ones after `after`, in the order of ids, at most `limit`.
  [[nodiscard]] std::vector<ConnectionId> page(ConnectionId after, std::size_t limit) const {
    std::vector<ConnectionId> found;
    for (std::size_t i = shard_index(after); i < shards_.size() && found.size() < limit; ++i) {
      const std::size_t begin = found.size();
      {
        Lock lock(shards_[i].mutex);
        shards_[i].entries.for_each([&](const ConnectionState& one) {
          if (one.published && after < one.id_) found.push_back(one.id_);
        });
      }
      std::sort(found.begin() + static_cast<std::ptrdiff_t>(begin), found.end());
    }
    while (found.size() > limit) found.pop_back();
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
  struct Id {
    static ConnectionId of(const ConnectionState& connection) noexcept { return connection.id_; }
    static std::size_t hash(ConnectionId id) noexcept { return std::hash<ConnectionId>{}(id); }
  };
  struct Shard {
    mutable Mutex mutex;
    IntrusiveTable<ConnectionState, Id, &ConnectionState::next_by_id> entries MUSTER_GUARDED_BY(mutex);
    std::size_t authenticated MUSTER_GUARDED_BY(mutex) = 0;
  };
  /// Of one that is authenticated.
  template <class Read>
  [[nodiscard]] auto read(ConnectionId id, Read get) const -> decltype(get(std::declval<ConnectionState&>())) {
    const Shard& shard = shard_of(id);
    Lock lock(shard.mutex);
    ConnectionState* const found = shard.entries.find(id);
    if (found == nullptr || !found->published) return {};
    return get(*found);
  }
  // Ids are random, so their upper bits spread them, and shard after shard is the order of ids.
  static std::size_t shard_index(ConnectionId id) { return static_cast<std::size_t>(id.value() >> 58U); }
  [[nodiscard]] Shard& shard_of(ConnectionId id) { return shards_[shard_index(id)]; }
  [[nodiscard]] const Shard& shard_of(ConnectionId id) const { return shards_[shard_index(id)]; }
  std::array<Shard, 64> shards_;
};

/// The connections of each user of each tenant. A user is online while it has one, or a session in its grace.
class UserTable {
 public:
  /// What is to be told of a user who came or went: the truth as it is, if it is not what was told last. One caller at a
  /// time tells, until `next_edge` says `none`; others who change the user meanwhile get `none`.
  struct Edge {
    enum class Kind : std::uint8_t { none, online, offline };
    Kind kind = Kind::none;
    LeftRooms left;  ///< with `offline`
  };

  /// Adds one, unless `limit` (0 = none) are there already. Then it takes the place of `ghost`, if that is among them, or
  /// of the oldest, if it `may_replace`: `yields` counts no longer, and is to be closed. False: it was not added.
  /// One `on_trial` is beside the limit, and yields to nobody, until `end_trial`.
  [[nodiscard]] bool add(const UserKey& key, const ConnectionPtr& connection, std::size_t limit, bool may_replace,
                         const ConnectionPtr& ghost, ConnectionPtr& yields, bool on_trial = false) {
    Shard& shard = shard_of(key);
    Lock lock(shard.mutex);
    User& user = entry_of(shard, key);
    try {
      user.connections.make_room();
    } catch (...) {
      drop_if_unused(shard, key);
      throw;
    }
    if (!on_trial && limit != 0 && counted(user) >= limit) {
      const bool has_ghost = ghost && stays(user, ghost);
      if (!has_ghost && !may_replace) return false;
      yields = has_ghost ? ghost : user.connections.begin()[user.leaving];
      give_way(user, yields);
    }
    if (!user.online()) ++shard.users;
    user.connections.insert(user.connections.end() - (on_trial ? 0 : user.trials), connection);
    if (on_trial) ++user.trials;
    return true;
  }
  /// `newest` counts from now on. Who yields of a user that is beyond the limit with it: it, or the oldest.
  [[nodiscard]] ConnectionPtr end_trial(const UserKey& key, std::size_t limit, bool may_replace,
                                        const ConnectionPtr& newest) {
    Shard& shard = shard_of(key);
    Lock lock(shard.mutex);
    User& user = shard.tenants[key.tenant][key.user];
    const auto at = std::find(user.connections.end() - user.trials, user.connections.end(), newest);
    if (at == user.connections.end()) return nullptr;
    move_before(user.connections.end() - user.trials--, at);
    if (limit == 0 || counted(user) <= limit) return nullptr;
    ConnectionPtr yields = may_replace ? user.connections.begin()[user.leaving] : newest;
    give_way(user, yields);
    return yields;
  }
  [[nodiscard]] Edge remove(const UserKey& key, const ConnectionPtr& connection) {
    return change(key, [&](User& user) {
      const auto at = std::find(user.connections.begin(), user.connections.end(), connection);
      if (at == user.connections.end()) return;
      if (at - user.connections.begin() < static_cast<std::ptrdiff_t>(user.leaving)) --user.leaving;
      if (user.connections.end() - at <= static_cast<std::ptrdiff_t>(user.trials)) --user.trials;
      user.connections.erase(at);
    });
  }
  /// Keeps a user online who has a connection, also when that one ends, for a session in its grace.
  void hold(const UserKey& key) noexcept {
    Shard& shard = shard_of(key);
    Lock lock(shard.mutex);
    const auto tenant = shard.tenants.find(key.tenant);
    if (tenant == shard.tenants.end()) return;
    const auto at = tenant->second.find(key.user);
    if (at != tenant->second.end()) ++at->second.held;
  }
  [[nodiscard]] Edge release(const UserKey& key) {
    return change(key, [](User& user) { --user.held; });
  }

  /// What a connection that has ended leaves to those of its user that go on.
  template <class Rooms>
  void left_rooms(const UserKey& key, const Rooms& rooms) {
    Shard& shard = shard_of(key);
    Lock lock(shard.mutex);
    auto* const left = &shard.left;  // `rooms` calls it before it returns: under this lock
    rooms([&](const std::shared_ptr<RoomState>& room) { (*left)[key].add(room); });
  }
  [[nodiscard]] LeftRooms take_left_rooms(const UserKey& key) {
    Shard& shard = shard_of(key);
    Lock lock(shard.mutex);
    return take_left(shard, key);
  }

  /// The next edge of one whose change is to be told.
  [[nodiscard]] Edge first_edge(const UserKey& key) {
    return change(key, [](User&) {});
  }
  /// The next one, of who has told what it got.
  [[nodiscard]] Edge next_edge(const UserKey& key) {
    return change(key, [](User& user) { user.telling = false; });
  }
  [[nodiscard]] std::vector<ConnectionPtr> of(const UserKey& key) const {
    const Shard& shard = shard_of(key);
    Lock lock(shard.mutex);
    const User* user = find(shard, key);
    if (user == nullptr) return {};
    return {user->connections.begin(), user->connections.end()};
  }
  [[nodiscard]] std::size_t count(const UserKey& key) const {
    const Shard& shard = shard_of(key);
    Lock lock(shard.mutex);
    const User* user = find(shard, key);
    return user == nullptr ? 0 : user->connections.size();
  }
  /// With a connection, or in the grace of a session.
  [[nodiscard]] bool contains(const UserKey& key) const {
    const Shard& shard = shard_of(key);
    Lock lock(shard.mutex);
    const User* user = find(shard, key);
    return user != nullptr && user->online();
  }
  [[nodiscard]] std::vector<std::string> users_of(std::string_view tenant) const {
    std::vector<std::string> found;
    for (const Shard& shard : shards_) {
      Lock lock(shard.mutex);
      const auto at = shard.tenants.find(std::string(tenant));
      if (at == shard.tenants.end()) continue;
      for (const auto& entry : at->second) {
        if (entry.second.online()) found.push_back(entry.first);
      }
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
      for (const auto& entry : at->second) {
        for (const ConnectionPtr& connection : entry.second.connections) found.push_back(connection);
      }
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
    OneOrMore<ConnectionPtr> connections;  ///< the oldest first, but for those on trial
    std::uint32_t held = 0;
    std::uint16_t leaving = 0;  ///< the first of `connections`: they gave way to newer ones, and are being closed
    std::uint16_t trials = 0;   ///< the last of `connections`: they do not count yet
    bool told = false;          ///< the last edge that was told is that it came online
    bool telling = false;
    [[nodiscard]] bool online() const { return !connections.empty() || held != 0; }
  };
  /// How many count against the limit, and whether one does.
  [[nodiscard]] static std::size_t counted(const User& user) {
    return user.connections.size() - user.leaving - user.trials;
  }
  [[nodiscard]] static bool stays(const User& user, const ConnectionPtr& connection) {
    const auto end = user.connections.end() - user.trials;
    return std::find(user.connections.begin() + user.leaving, end, connection) != end;
  }
  static void give_way(User& user, const ConnectionPtr& connection) {
    const auto stay = user.connections.begin() + user.leaving++;
    move_before(stay, std::find(stay, user.connections.end(), connection));
  }
  static void move_before(ConnectionPtr* there, ConnectionPtr* at) {
    for (; at != there; --at) at->swap(*(at - 1));
  }
  using Users = std::unordered_map<std::string, User>;
  struct Shard {
    mutable Mutex mutex;
    std::unordered_map<std::string, Users> tenants MUSTER_GUARDED_BY(mutex);
    std::size_t users MUSTER_GUARDED_BY(mutex) = 0;  ///< online
    std::unordered_map<UserKey, LeftRooms> left MUSTER_GUARDED_BY(mutex);
  };
  static const User* find(const Shard& shard, const UserKey& key) MUSTER_REQUIRES(shard.mutex) {
    const auto tenant = shard.tenants.find(key.tenant);
    if (tenant == shard.tenants.end()) return nullptr;
    const auto user = tenant->second.find(key.user);
    return user == tenant->second.end() ? nullptr : &user->second;
  }
  [[nodiscard]] static User& entry_of(Shard& shard, const UserKey& key) MUSTER_REQUIRES(shard.mutex) {
    Users& users = shard.tenants[key.tenant];
    try {
      return users[key.user];
    } catch (...) {
      if (users.empty()) shard.tenants.erase(key.tenant);
      throw;
    }
  }
  static void drop_if_unused(Shard& shard, const UserKey& key) MUSTER_REQUIRES(shard.mutex) {
    const auto tenant = shard.tenants.find(key.tenant);
    const auto at = tenant->second.find(key.user);
    if (at->second.online() || at->second.told || at->second.telling) return;
    tenant->second.erase(at);
    if (tenant->second.empty()) shard.tenants.erase(tenant);
  }
  template <class Change>
  [[nodiscard]] Edge change(const UserKey& key, Change apply) {
    Shard& shard = shard_of(key);
    Lock lock(shard.mutex);
    const auto tenant = shard.tenants.find(key.tenant);
    if (tenant == shard.tenants.end()) return {};
    const auto at = tenant->second.find(key.user);
    if (at == tenant->second.end()) return {};
    User& user = at->second;
    const bool was_online = user.online();
    apply(user);
    if (was_online && !user.online()) --shard.users;
    if (user.telling) return {};
    user.telling = user.told != user.online();
    if (!user.telling) {
      if (user.online()) return {};
      tenant->second.erase(at);  // not before it was told that its user has gone
      if (tenant->second.empty()) shard.tenants.erase(tenant);
      return {};
    }
    user.told = !user.told;
    if (user.told) return {Edge::Kind::online, {}};
    return {Edge::Kind::offline, take_left(shard, key)};
  }
  [[nodiscard]] static LeftRooms take_left(Shard& shard, const UserKey& key) MUSTER_REQUIRES(shard.mutex) {
    if (shard.left.empty()) return {};
    const auto at = shard.left.find(key);
    if (at == shard.left.end()) return {};
    LeftRooms rooms = std::move(at->second);
    shard.left.erase(at);
    return rooms;
  }
  [[nodiscard]] Shard& shard_of(const UserKey& key) { return shards_[std::hash<UserKey>{}(key) % shards_.size()]; }
  [[nodiscard]] const Shard& shard_of(const UserKey& key) const {
    return shards_[std::hash<UserKey>{}(key) % shards_.size()];
  }
  std::array<Shard, 16> shards_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
