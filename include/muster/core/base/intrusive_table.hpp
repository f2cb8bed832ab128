// IntrusiveTable: a hash table of objects that are somebody else's.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Chained through a pointer in each object, so that one costs that and, once there are some, a bucket at most.
/// `Key::of(object)` is what it is found by, which does not change while it is in here, and `Key::hash(key)`. Objects
/// leave it before they end.
///
/// Where many may have one key, a second pointer, `at`, keeps it from being looked for when it leaves.
template <class T, class Key, T* T::*next, T** T::*at = nullptr>
class IntrusiveTable {
 public:
  /// The next `insert` needs no memory.
  void make_room() {
    if (size_ < 2 * buckets_.size()) return;
    std::vector<T*> larger(buckets_.empty() ? 8 : 2 * buckets_.size());
    for (T* first : buckets_) {
      while (first != nullptr) {
        T& one = *first;
        first = one.*next;
        push(larger, one);
      }
    }
    buckets_.swap(larger);
  }
  /// Before those of the same key.
  void insert(T& object) {
    make_room();
    push(buckets_, object);
    ++size_;
  }
  void erase(T& object) noexcept {
    T** link = nullptr;
    if constexpr (at != nullptr) {
      link = object.*at;
      if (object.*next != nullptr) (object.*next)->*at = link;
    } else {
      link = &bucket(buckets_, Key::of(object));
      while (*link != &object) link = &((*link)->*next);
    }
    *link = object.*next;
    --size_;
  }
  /// The first of this key; null: there is none.
  template <class K>
  [[nodiscard]] T* find(const K& key) const noexcept {
    return buckets_.empty() ? nullptr : same(bucket(buckets_, key), key);
  }
  /// The next one of the same key.
  [[nodiscard]] T* find_next(const T& object) const noexcept { return same(object.*next, Key::of(object)); }
  template <class Each>
  void for_each(Each each) const {
    for (T* one : buckets_) {
      for (; one != nullptr; one = one->*next) each(*one);
    }
  }
  /// Lets go of all of them, each of which may end then.
  template <class End>
  void clear(End end) {
    for (T* one : buckets_) {
      while (one != nullptr) end(*std::exchange(one, one->*next));
    }
    buckets_.clear();
    size_ = 0;
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  template <class K>
  [[nodiscard]] static T* same(T* from, const K& key) noexcept {
    while (from != nullptr && !(Key::of(*from) == key)) from = from->*next;
    return from;
  }
  template <class Buckets, class K>
  [[nodiscard]] static auto& bucket(Buckets& buckets, const K& key) noexcept {
    return buckets[Key::hash(key) & (buckets.size() - 1)];  // as many as a power of two
  }
  static void push(std::vector<T*>& buckets, T& object) noexcept {
    T*& first = bucket(buckets, Key::of(object));
    if constexpr (at != nullptr) {
      object.*at = &first;
      if (first != nullptr) first->*at = &(object.*next);
    }
    object.*next = first;
    first = &object;
  }

  std::vector<T*> buckets_;
  std::size_t size_ = 0;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
