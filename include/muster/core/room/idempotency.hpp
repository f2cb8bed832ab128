// IdempotencyKeys: a room's publishes that had a key, so that one which is sent again is answered and not repeated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "muster/room.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Used under the room's lock. A key is its user's own: another user's same key is another key.
///
/// When there are too many, the user with the most forgets its oldest, so that one who floods the room with keys
/// shortens its own memory only (longest queue drop; Suter, Lakshman, Stiliadis, Choudhury, 1999).
class IdempotencyKeys {
 public:
  struct Publish {
    std::string key;
    /// Of the room then: under another epoch it is another order, and the key is new.
    std::uint64_t epoch = 0;
    Position position;
    bool answered = true;
    TimePoint at{};
    /// Who sent it again before the first was answered.
    std::vector<PublishDone> waiting;
  };

  /// The publish that had this key, not older than `age`; null: it is new.
  [[nodiscard]] Publish* find(const std::string& user, std::string_view key, std::uint64_t epoch, TimePoint now,
                              TimePoint::duration age) {
    const auto of = users_.find(user);
    if (of == users_.end()) return nullptr;
    const auto found = of->second.by_key.find(key);
    if (found == of->second.by_key.end()) return nullptr;
    Publish& publish = found->second->publish;
    if (publish.epoch == epoch && publish.at + age > now) return &publish;
    remove(found->second);
    return nullptr;
  }

  /// The publish that had this key and is not answered yet, or null.
  [[nodiscard]] Publish* unanswered(const std::string& user, std::string_view key) {
    const auto of = users_.find(user);
    if (of == users_.end()) return nullptr;
    const auto found = of->second.by_key.find(key);
    return found == of->second.by_key.end() || found->second->publish.answered ? nullptr : &found->second->publish;
  }

  /// Remembers a publish whose key is new. Of more than `limit` the oldest of some user goes.
  Publish& remember(const std::string& user, Publish publish, std::size_t limit, TimePoint::duration age) {
    const TimePoint now = publish.at;
    if (size_ >= limit) expire(now, age);
    while (size_ >= limit && size_ > 0) drop_oldest();
    // What needs memory comes first, and leaves nothing where it finds none.
    std::list<Node> fresh;
    fresh.push_back({std::move(publish), nullptr, {}});
    std::list<Node*> place(1, &fresh.front());
    const auto [of, added] = users_.try_emplace(user);
    try {
      of->second.by_key.emplace(fresh.front().publish.key, fresh.begin());
    } catch (...) {
      if (added) users_.erase(of);
      throw;
    }
    if (added) bytes_ += user_bytes(of->first);
    bytes_ += key_bytes(fresh.front().publish);
    ++size_;
    fresh.front().of = &*of;
    fresh.front().place = place.begin();
    of->second.by_age.splice(of->second.by_age.end(), place);
    by_age_.splice(by_age_.end(), fresh);
    return by_age_.back().publish;
  }

  void forget(const std::string& user, std::string_view key) {
    const auto of = users_.find(user);
    if (of == users_.end()) return;
    const auto found = of->second.by_key.find(key);
    if (found != of->second.by_key.end()) remove(found->second);
  }

  /// Constant work beside what ends.
  void expire(TimePoint now, TimePoint::duration age) {
    while (!by_age_.empty() && by_age_.front().publish.at + age <= now) remove(by_age_.begin());
  }

  /// The oldest key of the user with the most. Only when there is one.
  void drop_oldest() {
    auto most = users_.begin();
    for (auto at = users_.begin(); at != users_.end(); ++at) {
      if (at->second.by_age.size() > most->second.by_age.size()) most = at;
    }
    remove(most->second.by_key.find(most->second.by_age.front()->publish.key)->second);
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  struct User;
  using Users = std::unordered_map<std::string, User>;
  struct Node {
    Publish publish;
    Users::value_type* of = nullptr;
    std::list<Node*>::iterator place;  ///< in its user's `by_age`
  };
  struct User {
    std::list<Node*> by_age;
    std::unordered_map<std::string_view, std::list<Node>::iterator> by_key;  ///< views of the list's keys
  };

  /// With what the list, the map and the allocator add.
  static std::size_t key_bytes(const Publish& publish) { return sizeof(Node) + publish.key.size() + 128; }
  static std::size_t user_bytes(const std::string& user) { return sizeof(User) + user.size() + 96; }

  void remove(std::list<Node>::iterator which) {
    auto& [user, of] = *which->of;
    bytes_ -= key_bytes(which->publish);
    --size_;
    of.by_key.erase(which->publish.key);
    of.by_age.erase(which->place);
    by_age_.erase(which);
    if (!of.by_age.empty()) return;
    bytes_ -= user_bytes(user);
    users_.erase(users_.find(user));
  }

  std::list<Node> by_age_;  ///< all users'
  Users users_;
  std::size_t size_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
