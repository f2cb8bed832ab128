// Dirty presence and awareness of a room: keys are marked, and the truth is read when they are flushed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>

#include "muster/detail/history.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace detail {

/// Who joined or left since the last flush. Used under the room's lock.
///
/// Everybody who was told a member list keeps it right: `seen` and `missed` are what newcomers of this window saw in
/// their own lists, so that a member who came and went within it is told as left to those who saw it, and not otherwise.
class PresenceBatch {
 public:
  void joined(ConnectionId id, const std::string& user) { change(id, user, true); }
  void left(ConnectionId id, const std::string& user) { change(id, user, false); }
  void online(const std::string& user) { users_[user] = true; }
  void offline(const std::string& user) { users_[user] = false; }

  /// A newcomer is about to be told the member list as it is now.
  void list_told() {
    for (auto& [id, change] : changes_) (change.member ? change.seen : change.missed) = true;
  }

  [[nodiscard]] bool empty() const noexcept { return changes_.empty() && users_.empty(); }

  void flush(Notice& notice, bool counts_only, std::size_t member_count) {
    notice.counts_only = counts_only && !changes_.empty();
    notice.member_count = member_count;
    if (!notice.counts_only) {
      for (auto& [id, change] : changes_) {
        if (change.member && (!change.was_member || change.missed)) notice.joined.push_back({id, change.user});
        if (!change.member && (change.was_member || change.seen)) notice.left.push_back({id, change.user});
      }
    }
    for (auto& [user, online] : users_) (online ? notice.online : notice.offline).push_back(user);
    changes_.clear();
    users_.clear();
  }

 private:
  struct Change {
    std::string user;
    bool was_member = false;
    bool member = false;
    bool seen = false;
    bool missed = false;
  };
  void change(ConnectionId id, const std::string& user, bool member) {
    const auto [at, added] = changes_.try_emplace(id);
    if (added) at->second.was_member = !member;
    at->second.user = user;
    at->second.member = member;
  }
  std::map<ConnectionId, Change> changes_;
  std::map<std::string, bool> users_;
};

/// What a member could not be told because it was behind: newest per key, told when it has caught up.
struct Missed {
  std::map<ConnectionId, std::string> presence;
  std::map<std::string, bool> users;
  /// Client ids, with the clock of a removal or 0.
  std::map<std::string, std::uint64_t> awareness;
  std::map<std::string, EntryPtr> latest;
  bool counts = false;

  void note(const EntryPtr& entry, std::uint64_t& conflated) {
    if (entry->latest) {
      if (!latest.insert_or_assign(entry->latest_key, entry).second) ++conflated;
      return;
    }
    const Notice& notice = *entry->notice;
    for (const Member& member : notice.joined) presence[member.connection] = member.user;
    for (const Member& member : notice.left) presence[member.connection] = member.user;
    counts = counts || notice.counts_only;
    for (const std::string& user : notice.online) users[user] = true;
    for (const std::string& user : notice.offline) users[user] = false;
    for (const AwarenessEntry& changed : notice.awareness) {
      std::uint64_t& removed_at = awareness[changed.client];
      if (changed.state.empty()) removed_at = std::max(removed_at, changed.clock);
    }
  }
};

}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
