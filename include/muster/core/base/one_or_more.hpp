// OneOrMore: a list of pointers that mostly has one.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// One costs no memory but its own. A null one is none.
template <class Pointer>
class OneOrMore {
 public:
  [[nodiscard]] bool empty() const noexcept { return begin() == end(); }
  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(end() - begin()); }
  [[nodiscard]] Pointer* begin() noexcept { return more_ ? more_->data() : &one_; }
  [[nodiscard]] Pointer* end() noexcept { return more_ ? more_->data() + more_->size() : &one_ + (one_ ? 1 : 0); }
  [[nodiscard]] const Pointer* begin() const noexcept { return const_cast<OneOrMore&>(*this).begin(); }
  [[nodiscard]] const Pointer* end() const noexcept { return const_cast<OneOrMore&>(*this).end(); }

  /// The next `insert` needs no memory.
  void make_room() {
    if (empty()) return;
    if (!more_) {
      auto more = std::make_unique<std::vector<Pointer>>();
      more->reserve(2);
      more->push_back(std::move(one_));
      one_ = nullptr;
      more_ = std::move(more);
    } else if (more_->size() == more_->capacity()) {
      more_->reserve(2 * more_->size());
    }
  }
  void insert(const Pointer* before, Pointer pointer) noexcept {
    if (more_) {
      more_->insert(more_->begin() + (before - begin()), std::move(pointer));
    } else {
      one_ = std::move(pointer);
    }
  }
  void erase(const Pointer* at) noexcept {
    if (more_) {
      more_->erase(more_->begin() + (at - begin()));
      if (more_->empty()) more_.reset();
    } else {
      one_ = nullptr;
    }
  }

 private:
  Pointer one_{};
  std::unique_ptr<std::vector<Pointer>> more_;  ///< all of them
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
