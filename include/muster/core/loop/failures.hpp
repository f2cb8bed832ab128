// Failures: what is said of code that threw.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "muster/core/base/log_window.hpp"
#include "muster/observer.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Whoever was shown the token may quote it, and logs have more readers than it is meant for.
[[nodiscard]] inline std::string without(std::string text, std::string_view token) {
  constexpr std::string_view hidden = "[token]";
  for (std::size_t at = 0; !token.empty() && (at = text.find(token, at)) != std::string::npos; at += hidden.size()) {
    text.replace(at, token.size(), hidden);
  }
  return text;
}

/// Any thread.
class Failures {
 public:
  explicit Failures(std::shared_ptr<Observer> observer) : observer_(std::move(observer)) {}

  void log(LogLevel level, const std::string& message) const {
    if (observer_) observer_->log(level, message);
  }
  /// `secret` is kept out of the log.
  void report(TimePoint now, ConnectionId of, const char* where, const char* thrown,
              const std::string* secret) noexcept {
    try {
      std::string what = thrown;
      if (secret != nullptr) what = without(std::move(what), *secret);
      // One cause, told for each connection of a storm, would hide the others.
      const auto verdict = told_.look(where + what, now);
      if (verdict.left_out != 0) {
        log(LogLevel::error,
            std::to_string(verdict.left_out) + " failures of the last minute have no line of their own");
      }
      if (!verdict.is_news) return;
      log(LogLevel::error, where + (of ? " of connection " + to_string(of) : std::string()) + " threw: " + what);
    } catch (...) {  // it is counted; there is no memory for more, or the log fails itself
    }
  }

 private:
  const std::shared_ptr<Observer> observer_;
  LogWindow<std::string> told_;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
