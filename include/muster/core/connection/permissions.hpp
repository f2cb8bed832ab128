// Permissions: answers of the authorizer that hold for a while, of one connection. On its executor.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "muster/authorizer.hpp"
#include "muster/options.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// All of one identity.
class Permissions {
 public:
  static constexpr std::size_t longest_target = 256;

  [[nodiscard]] bool empty() const noexcept { return kept_.empty(); }
  /// Null: it has to be asked.
  [[nodiscard]] const Permission* find(Action action, std::string_view target, TimePoint now) const noexcept {
    for (const Kept& one : kept_) {
      if (one.action == action && one.target == target) return now < one.until ? &one.answer : nullptr;
    }
    return nullptr;
  }
  /// In place of an older answer to the same, or of the one that ends first where `limit` are kept.
  void keep(Action action, const std::string& target, const Permission& answer, TimePoint now, std::size_t limit) {
    if (limit == 0 || answer.unavailable() || target.size() > longest_target) return;
    const TimePoint until = now + std::min(answer.holds_for(), detail::forever);
    auto place = std::find_if(kept_.begin(), kept_.end(),
                              [&](const Kept& one) { return one.action == action && one.target == target; });
    if (place == kept_.end() && kept_.size() >= limit) {
      place =
          std::min_element(kept_.begin(), kept_.end(), [](const Kept& a, const Kept& b) { return a.until < b.until; });
    }
    Kept fresh{until, action, target, answer};
    if (place != kept_.end()) {
      *place = std::move(fresh);
    } else {
      kept_.push_back(std::move(fresh));
    }
  }
  void clear() noexcept { kept_.clear(); }

 private:
  struct Kept {
    TimePoint until;
    Action action = Action::join;
    std::string target;
    Permission answer;
  };
  std::vector<Kept> kept_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
