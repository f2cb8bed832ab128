// Life: whether what the parts belong to is there still.
#pragma once

#include <memory>
#include <utility>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// The parts are members of the manager: a task or an answer that comes later holds a handle of this, and may use them
/// while it has it locked.
class Life {
 public:
  /// Once, before anything is asked for.
  void begin(std::weak_ptr<const void> owner) noexcept { owner_ = std::move(owner); }
  [[nodiscard]] std::weak_ptr<const void> handle() const noexcept { return owner_; }
  /// Likewise, and names the part: for what has to be small.
  template <class Part>
  [[nodiscard]] std::weak_ptr<Part> handle(Part* part) const noexcept {
    return std::shared_ptr<Part>(owner_.lock(), part);
  }

 private:
  std::weak_ptr<const void> owner_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
