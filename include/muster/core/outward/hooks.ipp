// What is said of the embedder's code that threw.
#pragma once

#include "muster/core/outward/hooks.hpp"

namespace muster {
inline namespace MUSTER_ABI {

MUSTER_INLINE void core::Hooks::report(Loop& loop, ConnectionId of, const char* where, const char* thrown,
                                       const std::string* secret) noexcept {
  loop.counters.callback_failures.add();
  try {
    std::string what = thrown;
    if (secret != nullptr) what = without(std::move(what), *secret);
    // One cause, told for each connection of a storm, would hide the others.
    const auto verdict = failures_told_.look(where + what, loop.executor->now());
    if (verdict.left_out != 0) {
      log(LogLevel::error, std::to_string(verdict.left_out) + " failures of the last minute have no line of their own");
    }
    if (!verdict.is_news) return;
    log(LogLevel::error, where + (of ? " of connection " + to_string(of) : std::string()) + " threw: " + what);
  } catch (...) {  // it is counted; there is no memory for more, or the log fails itself
  }
}

}  // namespace MUSTER_ABI
}  // namespace muster
