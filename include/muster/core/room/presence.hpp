// Dirty presence and awareness of a room: keys are marked, and the truth is read when they are flushed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>

#include "muster/core/base/when_needed.hpp"
#include "muster/core/room/history.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Who joined or left since the last flush. Used under the room's lock.
///
/// Everybody who was told a member list keeps it right: `seen` and `missed` are what newcomers of this window saw in
/// their own lists, so that a member who came and went within it is told as left to those who saw it, and not otherwise.
class PresenceBatch {
 public:
  /// There are too many members to tell each name: until the whole list is told again, only counts are.
  [[nodiscard]] bool lossy() const noexcept { return lossy_; }
  void set_lossy(bool lossy) noexcept { lossy_ = lossy; }

  // Where there is no memory for a name, the whole list is told next.
  void joined(ConnectionId id, const std::string& user) noexcept { change(id, user, true); }
  void left(ConnectionId id, const std::string& user) noexcept { change(id, user, false); }
  void changed(ConnectionId id, const std::string& user) noexcept {
    if (lossy_) return;
    try {
      const auto [at, added] = changes_.make().members.try_emplace(id);
      if (added) at->second.was_member = at->second.member = true;
      at->second.user = user;
      at->second.changed = true;
    } catch (...) {
      lose();
    }
  }
  /// Each after the other, as all edges of a user are told.
  void online(const std::string& user) noexcept { change(user, true); }
  void offline(const std::string& user) noexcept { change(user, false); }
  /// Something was to be told that is known no longer: the whole list is told next.
  void lose() noexcept { lossy_ = counts_ = true; }
  [[nodiscard]] bool empty() const noexcept { return !counts_ && changes_.read().empty(); }

  /// A newcomer is about to be told the member list as it is now.
  void list_told() {
    Changes* const changes = changes_.get();
    if (changes == nullptr) return;
    for (auto& [id, change] : changes->members) (change.member ? change.seen : change.missed) = true;
  }

  void flush(Notice& notice) {
    for (const auto& [id, change] : changes_.read().members) {
      if (change.member && (!change.was_member || change.missed)) {
        notice.joined.push_back({id, change.user});
      } else if (change.member && change.changed) {
        notice.changed.push_back({id, change.user});
      }
      if (!change.member && (change.was_member || change.seen)) notice.left.push_back({id, change.user});
    }
    for (const auto& [user, online] : changes_.read().users) (online ? notice.online : notice.offline).push_back(user);
    (void)drop();
  }
  /// Whether members came or went.
  bool drop() {
    const bool members = counts_ || !changes_.read().members.empty();
    counts_ = false;
    changes_.drop();
    return members;
  }

 private:
  struct Change {
    std::string user;
    bool was_member = false;
    bool member = false;
    bool seen = false;
    bool missed = false;
    bool changed = false;  ///< its profile
  };
  void change(ConnectionId id, const std::string& user, bool member) noexcept {
    if (lossy_) {
      counts_ = true;
      return;
    }
    try {
      const auto [at, added] = changes_.make().members.try_emplace(id);
      if (added) at->second.was_member = !member;
      at->second.changed = at->second.was_member && member;  // it may show another profile than before
      at->second.member = member;
      at->second.user = user;
    } catch (...) {
      lose();
    }
  }
  void change(const std::string& user, bool online) noexcept {
    if (lossy_) return;
    try {
      auto& users = changes_.make().users;
      const auto [at, added] = users.try_emplace(user, online);
      if (!added && at->second != online) users.erase(at);  // it is as it was
    } catch (...) {
      lose();
    }
  }
  struct Changes {
    std::map<ConnectionId, Change> members;
    std::map<std::string, bool> users;  ///< who came online, or went offline
    [[nodiscard]] bool empty() const noexcept { return members.empty() && users.empty(); }
  };
  WhenNeeded<Changes> changes_;
  bool lossy_ = false;
  bool counts_ = false;  ///< of members, while it is lossy
};

/// What a member could not be told because it was behind: newest per key, told when it has caught up. What it costs is
/// counted, here and in its connection's sum: distinct keys are no way to make a server remember without end.
class Missed {
 public:
  explicit Missed(std::size_t& sum) : sum_(sum) {}
  ~Missed() { sum_ -= bytes_; }
  Missed(const Missed&) = delete;
  Missed& operator=(const Missed&) = delete;

  [[nodiscard]] std::size_t size() const {
    return presence_.size() + users_.size() + awareness_.size() + latest_.size();
  }
  void note(const EntryPtr& entry, std::uint64_t& conflated) {
    if (entry->latest) {
      const auto [at, added] = latest_.try_emplace(entry->latest_key);
      if (added) {
        grow(key_bytes(at->first));
      } else {
        ++conflated;
        shrink(at->second->bytes());
      }
      at->second = entry;
      grow(entry->bytes());
      return;
    }
    const Notice& notice = *entry->notice;
    counts_ = counts_ || notice.counts_only;
    if (notice.whole) {
      list_told();
      uncount_users();
      users_.clear();
      whole_ = true;
      return;
    }
    for (const Member& member : notice.joined) note_member(member);
    for (const Member& member : notice.left) note_member(member);
    for (const Member& member : notice.changed) note_member(member, true);
    for (const std::string& user : notice.online) note_user(user, true);
    for (const std::string& user : notice.offline) note_user(user, false);
    for (const AwarenessEntry& changed : notice.awareness) {
      note_awareness(changed.client, changed.state.empty() ? changed.clock : 0);
    }
  }
  /// `removed_at`: the clock of a removal, or 0.
  void note_awareness(const std::string& client, std::uint64_t removed_at) {
    const auto [at, added] = awareness_.try_emplace(client);
    if (added) grow(key_bytes(client));
    at->second = std::max(at->second, removed_at);
  }

  [[nodiscard]] bool empty() const noexcept {
    return presence_.empty() && users_.empty() && awareness_.empty() && latest_.empty() && !counts_ && !whole_;
  }
  /// Who came or went, and which users: as they are by now is the caller's to find out.
  struct Who {
    std::string user;
    bool stayed = false;  ///< it has changed its profile, no more
  };
  struct Presence {
    std::map<ConnectionId, Who> members;
    std::map<std::string, bool> users;
    bool counts = false;
    bool whole = false;  ///< the whole list, whatever it knew before
    [[nodiscard]] bool empty() const noexcept { return members.empty() && users.empty() && !counts && !whole; }
  };
  /// The whole list is told now: what was missed of it is in there.
  void list_told() noexcept {
    uncount_members();
    presence_.clear();
    counts_ = whole_ = false;
  }
  [[nodiscard]] Presence take_presence() {
    Presence taken;
    uncount_members();
    uncount_users();
    taken.members.swap(presence_);
    taken.users.swap(users_);
    std::swap(taken.counts, counts_);
    std::swap(taken.whole, whole_);
    return taken;
  }
  /// Calls `tell` with each client id and its mark, which are forgotten then, until that answers false.
  template <class Tell>
  void take_awareness(Tell tell) {
    for (bool more = true; more && !awareness_.empty();) {
      const auto first = awareness_.extract(awareness_.begin());
      shrink(key_bytes(first.key()));
      more = tell(first.key(), first.mapped());
    }
  }
  template <class Tell>
  void take_latest(Tell tell) {
    for (bool more = true; more && !latest_.empty();) {
      const auto first = latest_.begin();
      const EntryPtr entry = std::move(first->second);
      shrink(key_bytes(first->first) + entry->bytes());
      latest_.erase(first);
      more = tell(*entry);
    }
  }

 private:
  /// With what a map's node adds.
  static std::size_t key_bytes(const std::string& key) noexcept { return key.size() + 96; }
  void grow(std::size_t size) {
    bytes_ += size;
    sum_ += size;
  }
  void shrink(std::size_t size) noexcept {
    bytes_ -= size;
    sum_ -= size;
  }
  void uncount_members() noexcept {
    for (const auto& [id, who] : presence_) shrink(key_bytes(who.user));
  }
  void uncount_users() noexcept {
    for (const auto& [user, online] : users_) shrink(key_bytes(user));
  }
  void note_member(const Member& member, bool stayed = false) {
    const auto [at, added] = presence_.try_emplace(member.connection, Who{member.user, stayed});
    if (added) return grow(key_bytes(member.user));
    at->second.stayed = at->second.stayed && stayed;
  }
  void note_user(const std::string& user, bool online) {
    if (users_.insert_or_assign(user, online).second) grow(key_bytes(user));
  }

  std::map<ConnectionId, Who> presence_;
  std::map<std::string, bool> users_;
  std::map<std::string, std::uint64_t> awareness_;
  std::map<std::string, EntryPtr> latest_;
  bool counts_ = false;
  bool whole_ = false;
  std::size_t bytes_ = 0;
  std::size_t& sum_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
