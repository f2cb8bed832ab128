// IntrusiveTable: a hash table of objects that are somebody else's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Chained through a pointer in each object, so that one costs that and, once there are some, a bucket at most. Two need
/// no memory but the table's own.
/// `Key::of(object)` is what it is found by, which does not change while it is in here, and `Key::hash(key)`. Objects
/// leave it before they end.
///
/// Where many may have one key, a second pointer, `at`, keeps it from being looked for when it leaves.
template <class T, class Key, T* T::*next, T** T::*at = nullptr>
class IntrusiveTable {
 public:
  IntrusiveTable() noexcept {}
  ~IntrusiveTable() { drop_buckets(); }
  IntrusiveTable(const IntrusiveTable&) = delete;
  IntrusiveTable& operator=(const IntrusiveTable&) = delete;

  /// The next `insert` needs no memory.
  void make_room() {
    if (size_ / 2 <= mask_) return;
    const std::uint32_t mask = mask_ == 0 ? 7 : 2 * mask_ + 1;
    T** const larger = new T* [std::size_t{mask} + 1] {};
    for (std::size_t i = 0; i <= mask_; ++i) {
      for (T* one = buckets()[i]; one != nullptr;) push(larger, mask, *std::exchange(one, one->*next));
    }
    drop_buckets();
    many_ = larger;
    mask_ = mask;
  }
  /// Before those of the same key.
  void insert(T& object) {
    make_room();
    push(buckets(), mask_, object);
    ++size_;
  }
  void erase(T& object) noexcept {
    T** link = nullptr;
    if constexpr (at != nullptr) {
      link = object.*at;
      if (object.*next != nullptr) (object.*next)->*at = link;
    } else {
      link = &buckets()[Key::hash(Key::of(object)) & mask_];
      while (*link != &object) link = &((*link)->*next);
    }
    *link = object.*next;
    --size_;
  }
  /// The first of this key; null: there is none.
  template <class K>
  [[nodiscard]] T* find(const K& key) const noexcept {
    return same(buckets()[Key::hash(key) & mask_], key);
  }
  /// The next one of the same key.
  [[nodiscard]] T* find_next(const T& object) const noexcept { return same(object.*next, Key::of(object)); }
  template <class Each>
  void for_each(Each each) const {
    for (std::size_t i = 0; i <= mask_; ++i) {
      for (T* one = buckets()[i]; one != nullptr; one = one->*next) each(*one);
    }
  }
  /// In parts: what is in here all the while is met once, as long as there are as many buckets.
  [[nodiscard]] std::size_t bucket_count() const noexcept { return std::size_t{mask_} + 1; }
  template <class Each>
  void for_bucket(std::size_t index, Each each) const {
    for (T* one = buckets()[index]; one != nullptr; one = one->*next) each(*one);
  }
  /// Lets go of all of them, each of which may end then.
  template <class End>
  void clear(End end) {
    for (std::size_t i = 0; i <= mask_; ++i) {
      for (T* one = buckets()[i]; one != nullptr;) end(*std::exchange(one, one->*next));
    }
    drop_buckets();
    size_ = 0;
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  template <class K>
  [[nodiscard]] static T* same(T* from, const K& key) noexcept {
    while (from != nullptr && !(Key::of(*from) == key)) from = from->*next;
    return from;
  }
  static void push(T** buckets, std::uint32_t mask, T& object) noexcept {
    T*& first = buckets[Key::hash(Key::of(object)) & mask];
    if constexpr (at != nullptr) {
      object.*at = &first;
      if (first != nullptr) first->*at = &(object.*next);
    }
    object.*next = first;
    first = &object;
  }
  [[nodiscard]] T** buckets() noexcept { return mask_ == 0 ? &one_ : many_; }
  [[nodiscard]] T* const* buckets() const noexcept { return mask_ == 0 ? &one_ : many_; }
  void drop_buckets() noexcept {
    if (mask_ != 0) delete[] many_;
    one_ = nullptr;
    mask_ = 0;
  }

  union {
    T* one_ = nullptr;  ///< the only bucket
    T** many_;
  };
  std::uint32_t size_ = 0;
  std::uint32_t mask_ = 0;  ///< of as many buckets as a power of two
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
