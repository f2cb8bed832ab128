// MemberTable: who has a seat in a room, by connection and by user.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "muster/core/base/intrusive_table.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

struct MemberEntry {
  ConnectionId id;  ///< what others know it as
  std::shared_ptr<const Identity> identity;
  MemberEntry* next_by_id = nullptr;
  MemberEntry* next_by_user = nullptr;
  MemberEntry** at_by_user = nullptr;
  bool connected = true;  ///< or its session is in its grace, and keeps the seat
  bool behind = false;
  bool gone = false;  ///< no member: it stands for a user that others still know to be online
};

/// Of each user it has members, for capacity and for user presence, or one entry that stands for it until `forget_user`.
class MemberTable {
 public:
  MemberTable() = default;
  ~MemberTable() {
    by_user_.clear([](MemberEntry& entry) { delete &entry; });
  }
  MemberTable(const MemberTable&) = delete;
  MemberTable& operator=(const MemberTable&) = delete;

  /// Or nothing has changed. True: nobody knew its user to be online.
  bool add(ConnectionId id, const std::shared_ptr<const Identity>& identity) {
    std::unique_ptr<MemberEntry> entry(new MemberEntry{id, identity});
    by_id_.make_room();
    by_user_.make_room();
    MemberEntry* const before = by_user_.find(identity->user);
    if (before == nullptr || before->gone) ++users_;
    if (before != nullptr && before->gone) drop(*before);
    by_id_.insert(*entry);
    by_user_.insert(*entry.release());
    return before == nullptr;
  }
  /// Who it was. `keep_user`: others know its user to be online, if this is the last of it.
  std::shared_ptr<const Identity> remove(MemberEntry& member, bool keep_user) noexcept {
    std::shared_ptr<const Identity> identity = member.identity;
    by_id_.erase(member);
    const MemberEntry* const first = by_user_.find(identity->user);
    const bool is_last = first == &member && by_user_.find_next(member) == nullptr;
    if (is_last) --users_;
    if (is_last && keep_user) {
      member.gone = true;
      member.connected = false;
    } else {
      drop(member);
    }
    return identity;
  }
  /// False: it was known to be offline, or has a member.
  bool forget_user(const std::string& user) noexcept {
    MemberEntry* const entry = by_user_.find(user);
    if (entry == nullptr || !entry->gone) return false;
    drop(*entry);
    return true;
  }

  [[nodiscard]] MemberEntry* find(ConnectionId id) const noexcept { return by_id_.find(id); }
  [[nodiscard]] bool has_user(const std::string& user) const noexcept {
    const MemberEntry* const entry = by_user_.find(user);
    return entry != nullptr && !entry->gone;
  }
  [[nodiscard]] std::size_t size() const noexcept { return by_id_.size(); }
  [[nodiscard]] bool empty() const noexcept { return by_id_.size() == 0; }
  /// That have a member.
  [[nodiscard]] std::size_t users() const noexcept { return users_; }
  template <class Each>
  void for_each(Each each) const {
    by_id_.for_each([&](const MemberEntry& member) { each(member); });
  }
  /// With how many members each has.
  template <class Each>
  void for_each_user(Each each) const {
    by_user_.for_each([&](const MemberEntry& entry) {
      const std::string& user = entry.identity->user;
      if (entry.gone || by_user_.find(user) != &entry) return;
      std::size_t count = 0;
      for (const MemberEntry* one = &entry; one != nullptr; one = by_user_.find_next(*one)) ++count;
      each(user, count);
    });
  }
  /// Users that others still know to be online.
  template <class Each>
  void for_each_gone(Each each) const {
    by_user_.for_each([&](const MemberEntry& entry) {
      if (entry.gone) each(entry.identity->user);
    });
  }

 private:
  struct Id {
    static ConnectionId of(const MemberEntry& entry) noexcept { return entry.id; }
    static std::size_t hash(ConnectionId id) noexcept { return std::hash<ConnectionId>{}(id); }
  };
  struct User {
    static const std::string& of(const MemberEntry& entry) noexcept { return entry.identity->user; }
    static std::size_t hash(const std::string& user) noexcept { return std::hash<std::string>{}(user); }
  };
  void drop(MemberEntry& entry) noexcept {
    by_user_.erase(entry);
    delete &entry;
  }

  IntrusiveTable<MemberEntry, Id, &MemberEntry::next_by_id> by_id_;
  IntrusiveTable<MemberEntry, User, &MemberEntry::next_by_user, &MemberEntry::at_by_user> by_user_;
  std::size_t users_ = 0;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
