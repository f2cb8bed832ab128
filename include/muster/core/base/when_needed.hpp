// WhenNeeded: what most owners never have, for a pointer.
#pragma once

#include <memory>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

template <class T>
class WhenNeeded {
 public:
  /// Made, if it is not there.
  [[nodiscard]] T& make() {
    if (!made_) made_.reset(new T());
    return *made_;
  }
  /// Null: it is not there.
  [[nodiscard]] T* get() noexcept { return made_.get(); }
  /// An empty one where there is none.
  [[nodiscard]] const T& read() const noexcept {
    static const T none;
    return made_ ? *made_ : none;
  }
  void drop() noexcept { made_.reset(); }

 private:
  std::unique_ptr<T> made_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
