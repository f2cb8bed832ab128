// FunctionRef: a callable that somebody else owns, for as long as a call takes.
#pragma once

#include <memory>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

template <class Signature>
class FunctionRef;

/// For parameters: what takes one need not be a template, so that its body is compiled once and not for each caller.
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  FunctionRef(const F& code) noexcept : code_(std::addressof(code)), call_(&call<F>) {}

  R operator()(Args... args) const { return call_(code_, static_cast<Args&&>(args)...); }

 private:
  template <class F>
  static R call(const void* code, Args... args) {
    return (*static_cast<const F*>(code))(static_cast<Args&&>(args)...);
  }

  const void* code_;
  R (*call_)(const void*, Args...);
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
