// Data: what a program keeps with something of muster's, an object of each of its types.
#pragma once

#include <algorithm>
#include <memory>
#include <typeindex>
#include <utility>
#include <vector>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Objects of the program's, at most one of each type, known by that type alone: a part of a program that keeps its own
/// type here does not meet another's. Made when first asked for; those that are left end with this, in no order.
///
/// Threads: its owner's.
class Data {
 public:
  Data() = default;
  Data(Data&&) noexcept = default;
  Data& operator=(Data&&) noexcept = default;
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;
  ~Data() = default;

  /// The T, made as `T()` if there is none. It stays where it is until it is taken out or replaced.
  template <class T>
  [[nodiscard]] T& get() {
    T* const found = find<T>();
    return found != nullptr ? *found : emplace<T>();
  }
  /// Null: there is none.
  template <class T>
  [[nodiscard]] T* find() const noexcept {
    const Held* const held = find(typeid(T));
    return held != nullptr ? static_cast<T*>(held->object.get()) : nullptr;
  }
  /// A new T, in place of the one that is there.
  template <class T, class... Arguments>
  T& emplace(Arguments&&... arguments) {
    auto made = std::make_shared<T>(std::forward<Arguments>(arguments)...);
    T& object = *made;
    put(typeid(T), std::move(made));
    return object;
  }
  /// False: there was none.
  template <class T>
  bool erase() {
    return take(typeid(T)) != nullptr;
  }
  [[nodiscard]] bool empty() const noexcept { return held_.empty(); }
  /// Takes all that `other` has, in place of its own of these types.
  void merge(Data other) {
    held_.reserve(held_.size() + other.held_.size());
    for (Held& held : other.held_) put(held.type, std::move(held.object));
  }

  // The same for who knows a type by its index only.

  [[nodiscard]] std::shared_ptr<void> share(std::type_index type) const {
    const Held* const held = find(type);
    return held != nullptr ? held->object : nullptr;
  }
  void put(std::type_index type, std::shared_ptr<void> object) {
    const std::shared_ptr<void> former = take(type);  // ends last: it may look at this
    held_.push_back({type, std::move(object)});
  }
  /// Null: there was none.
  std::shared_ptr<void> take(std::type_index type) {
    const auto found = std::find_if(held_.begin(), held_.end(), [&](const Held& held) { return held.type == type; });
    if (found == held_.end()) return nullptr;
    std::shared_ptr<void> object = std::move(found->object);
    held_.erase(found);
    return object;
  }

 private:
  struct Held {
    std::type_index type;
    std::shared_ptr<void> object;
  };
  [[nodiscard]] const Held* find(std::type_index type) const noexcept {
    for (const Held& held : held_) {
      if (held.type == type) return &held;
    }
    return nullptr;
  }

  std::vector<Held> held_;
};

}  // namespace MUSTER_ABI
}  // namespace muster
