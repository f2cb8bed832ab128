// Which of many alike are worth a line in the log.
#pragma once

#include <chrono>
#include <cstddef>
#include <set>
#include <utility>

#include "muster/core/base/mutex.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Each key once in a window, and so many lines in all: no stranger fills a disk, by what it sends or from how many
/// addresses. Any thread.
template <class Key>
class LogWindow {
 public:
  struct Verdict {
    bool is_news = false;
    /// Of the window that has just ended: keys that had no line because there were too many; told once.
    std::size_t left_out = 0;
  };

  [[nodiscard]] Verdict look(const Key& key, TimePoint now) {
    Lock lock(mutex_);
    Verdict verdict;
    if (told_.empty() || now >= window_end_) {
      verdict.left_out = std::exchange(left_out_, 0);
      told_.clear();
      window_end_ = now + window;
    }
    if (told_.size() < most_lines) {
      verdict.is_news = told_.insert(key).second;
    } else if (told_.find(key) == told_.end()) {
      ++left_out_;
    }
    return verdict;
  }

  static constexpr std::chrono::seconds window{60};
  static constexpr std::size_t most_lines = 200;

 private:
  Mutex mutex_;
  std::set<Key> told_ MUSTER_GUARDED_BY(mutex_);
  TimePoint window_end_ MUSTER_GUARDED_BY(mutex_){};
  std::size_t left_out_ MUSTER_GUARDED_BY(mutex_) = 0;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
