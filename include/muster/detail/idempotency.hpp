// IdempotencyKeys: a room's publishes that had a key, so that one which is sent again is answered and not repeated.
#pragma once

#include <algorithm>
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
namespace detail {

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
    if (found->second->epoch == epoch && found->second->at + age > now) return &*found->second;
    remove(of, found->second);
    return nullptr;
  }

  /// The publish that had this key and is not answered yet, or null.
  [[nodiscard]] Publish* unanswered(const std::string& user, std::string_view key) {
    const auto of = users_.find(user);
    if (of == users_.end()) return nullptr;
    const auto found = of->second.by_key.find(key);
    return found == of->second.by_key.end() || found->second->answered ? nullptr : &*found->second;
  }

  /// Remembers a publish whose key is new. Of more than `limit` the oldest of some user goes.
  Publish& remember(const std::string& user, Publish publish, std::size_t limit, TimePoint::duration age) {
    const TimePoint now = publish.at;
    if (size_ >= limit) expire(now, age);
    while (size_ >= limit && size_ > 0) drop_oldest();
    const auto [of, added] = users_.try_emplace(user);
    if (added) bytes_ += user_bytes(of->first);
    auto& [by_age, by_key] = of->second;
    by_age.push_back(std::move(publish));
    by_key.emplace(by_age.back().key, std::prev(by_age.end()));
    bytes_ += key_bytes(by_age.back());
    ++size_;
    return by_age.back();
  }

  void forget(const std::string& user, std::string_view key) {
    const auto of = users_.find(user);
    if (of == users_.end()) return;
    const auto found = of->second.by_key.find(key);
    if (found != of->second.by_key.end()) remove(of, found->second);
  }

  void expire(TimePoint now, TimePoint::duration age) {
    for (auto of = users_.begin(); of != users_.end();) {
      const auto next = std::next(of);
      for (std::size_t left = of->second.by_age.size(); left > 0 && of->second.by_age.front().at + age <= now; --left) {
        remove(of, of->second.by_age.begin());  // the last one takes the user along
      }
      of = next;
    }
  }

  /// The oldest key of the user with the most. Only when there is one.
  void drop_oldest() {
    const auto most = std::max_element(users_.begin(), users_.end(), [](const auto& a, const auto& b) {
      return a.second.by_age.size() < b.second.by_age.size();
    });
    remove(most, most->second.by_age.begin());
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  struct User {
    std::list<Publish> by_age;
    std::unordered_map<std::string_view, std::list<Publish>::iterator> by_key;  ///< views of the list's keys
  };
  using Users = std::unordered_map<std::string, User>;

  /// With what the list, the map and the allocator add.
  static std::size_t key_bytes(const Publish& publish) { return sizeof(Publish) + publish.key.size() + 96; }
  static std::size_t user_bytes(const std::string& user) { return sizeof(User) + user.size() + 96; }

  void remove(Users::iterator of, std::list<Publish>::iterator which) {
    bytes_ -= key_bytes(*which);
    --size_;
    of->second.by_key.erase(which->key);
    of->second.by_age.erase(which);
    if (!of->second.by_age.empty()) return;
    bytes_ -= user_bytes(of->first);
    users_.erase(of);
  }

  Users users_;
  std::size_t size_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace detail
}  // namespace MUSTER_ABI
}  // namespace muster
