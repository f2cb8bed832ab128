// Function: a move-only callable, for work that crosses threads and owns what it needs (std::function demands copies).
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {

template <class Signature>
class Function;

/// A callable that can be moved and not copied. Callables of up to 56 bytes that move without throwing are stored
/// inside and cost no allocation. Calling an empty Function is undefined; test it with `if (f)`.
template <class R, class... Args>
class Function<R(Args...)> {
 public:
  Function() noexcept = default;
  Function(std::nullptr_t) noexcept {}

  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, Function> &&
                                              std::is_invocable_r_v<R, std::decay_t<F>&, Args...>>>
  Function(F&& f) {
    using Held = std::decay_t<F>;
    if constexpr (fits<Held>) {
      ::new (static_cast<void*>(buffer_)) Held(std::forward<F>(f));
      table_ = &inside<Held>;
    } else {
      ::new (static_cast<void*>(buffer_)) Held*(new Held(std::forward<F>(f)));
      table_ = &outside<Held>;
    }
  }

  Function(Function&& other) noexcept { take(other); }
  Function& operator=(Function&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;
  ~Function() { reset(); }

  explicit operator bool() const noexcept { return table_ != nullptr; }
  R operator()(Args... args) { return table_->call(buffer_, std::forward<Args>(args)...); }

 private:
  static constexpr std::size_t capacity = 56;
  struct Table {
    R (*call)(void*, Args&&...);
    void (*move)(void*, void*) noexcept;
    void (*destroy)(void*) noexcept;
  };
  template <class Held>
  static constexpr bool fits = sizeof(Held) <= capacity &&
                               alignof(Held) <= alignof(void*) && std::is_nothrow_move_constructible_v<Held>;
  template <class Held>
  static R invoke(Held& held, Args&&... args) {
    if constexpr (std::is_void_v<R>) {
      static_cast<void>(held(std::forward<Args>(args)...));  // a callable may return what nobody wants
    } else {
      return held(std::forward<Args>(args)...);
    }
  }
  template <class Held>
  static constexpr Table inside{
      [](void* at, Args&&... args) -> R { return invoke(*static_cast<Held*>(at), std::forward<Args>(args)...); },
      [](void* from, void* to) noexcept {
        ::new (to) Held(std::move(*static_cast<Held*>(from)));
        static_cast<Held*>(from)->~Held();
      },
      [](void* at) noexcept { static_cast<Held*>(at)->~Held(); }};
  template <class Held>
  static constexpr Table outside{
      [](void* at, Args&&... args) -> R { return invoke(**static_cast<Held**>(at), std::forward<Args>(args)...); },
      [](void* from, void* to) noexcept { ::new (to) Held*(*static_cast<Held**>(from)); },
      [](void* at) noexcept { delete *static_cast<Held**>(at); }};

  void take(Function& other) noexcept {
    if (other.table_ != nullptr) {
      other.table_->move(other.buffer_, buffer_);
      table_ = std::exchange(other.table_, nullptr);
    }
  }
  void reset() noexcept {
    if (table_ != nullptr) std::exchange(table_, nullptr)->destroy(buffer_);
  }

  const Table* table_ = nullptr;
  alignas(void*) unsigned char buffer_[capacity];
};

}  // namespace MUSTER_ABI
}  // namespace muster
