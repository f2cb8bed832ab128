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

  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, Function>>,
            class = decltype(static_cast<R>(std::declval<std::decay_t<F>&>()(std::declval<Args>()...)))>
  Function(F&& f) {
    using Held = std::decay_t<F>;
    if constexpr (fits<Held>) {
      ::new (static_cast<void*>(buffer_)) Held(static_cast<F&&>(f));
      table_ = &inside<Held>;
    } else {
      ::new (static_cast<void*>(buffer_)) void*(new Held(static_cast<F&&>(f)));
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
  R operator()(Args... args) { return table_->call(buffer_, static_cast<Args&&>(args)...); }

 private:
  static constexpr std::size_t capacity = 56;
  struct Table {
    R (*call)(void*, Args&&...);
    void (*move)(void*, void*) noexcept;
    void (*destroy)(void*) noexcept;
  };
  template <class Held>
  static constexpr bool fits = sizeof(Held) <= capacity &&
                               alignof(Held) <= alignof(void*) && noexcept(::new (static_cast<void*>(nullptr))
                                                                               Held(std::declval<Held>()));
  // Written without lambdas and std::forward: each of them is functions of its own for every callable there is.
  template <class Held, bool is_inside>
  static R call(void* at, Args&&... args) {
    Held& held = *static_cast<Held*>(is_inside ? at : *static_cast<void**>(at));
    if constexpr (std::is_void_v<R>) {
      static_cast<void>(held(static_cast<Args&&>(args)...));  // a callable may return what nobody wants
    } else {
      return held(static_cast<Args&&>(args)...);
    }
  }
  template <class Held>
  static void move_inside(void* from, void* to) noexcept {
    ::new (to) Held(static_cast<Held&&>(*static_cast<Held*>(from)));
    static_cast<Held*>(from)->~Held();
  }
  template <class Held>
  static void destroy_inside(void* at) noexcept {
    static_cast<Held*>(at)->~Held();
  }
  static void move_outside(void* from, void* to) noexcept { ::new (to) void*(*static_cast<void**>(from)); }
  template <class Held>
  static void destroy_outside(void* at) noexcept {
    delete static_cast<Held*>(*static_cast<void**>(at));
  }
  template <class Held>
  static constexpr Table inside{&call<Held, true>, &move_inside<Held>, &destroy_inside<Held>};
  template <class Held>
  static constexpr Table outside{&call<Held, false>, &move_outside, &destroy_outside<Held>};

  void take(Function& other) noexcept {
    table_ = other.table_;
    other.table_ = nullptr;
    if (table_ != nullptr) table_->move(other.buffer_, buffer_);
  }
  void reset() noexcept {
    const Table* const table = table_;
    table_ = nullptr;
    if (table != nullptr) table->destroy(buffer_);
  }

  const Table* table_ = nullptr;
  alignas(void*) unsigned char buffer_[capacity];
};

}  // namespace MUSTER_ABI
}  // namespace muster
