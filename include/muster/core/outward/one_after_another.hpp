// Several questions, one after another: their number is the client's, so an answer inside the call must not go deeper.
#pragma once

#include <memory>
#include <utility>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// What such a series keeps derives from this.
struct Steps {
  bool inside = false;
  bool again = false;
};

/// Takes the next step, or lets the caller further out take it. Each step asks, and goes on with this; or ends.
template <class Next>
void one_after_another(const std::shared_ptr<Steps>& steps, Next next) {
  steps->again = true;
  if (std::exchange(steps->inside, true)) return;
  while (std::exchange(steps->again, false)) next();
  steps->inside = false;
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
