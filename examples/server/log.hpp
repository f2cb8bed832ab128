// The log: lines to standard error, written by a thread of their own, because a loop must not wait for a terminal.
// The thread begins with the first line.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <muster/observer.hpp>
#include <mutex>
#include <string>
#include <string_view>

namespace muster_server {

/// `2026-11-20T12:00:00.123Z info: text`, one line each; control characters in a text are written as `?`.
/// While standard error does not keep up, lines beyond `most_waiting` are dropped, and how many is said.
class StderrLog final : public muster::Observer {
 public:
  explicit StderrLog(muster::LogLevel least);
  StderrLog(const StderrLog&) = delete;
  StderrLog& operator=(const StderrLog&) = delete;
  /// Writes what waits, as far as standard error takes it within `last_words`: an end does not wait for a reader.
  ~StderrLog() override;

  void log(muster::LogLevel level, std::string_view message) override;

  static constexpr std::size_t most_waiting = 1000;
  static constexpr std::chrono::seconds last_words{1};

 private:
  /// Shared with the writer, which may be left behind in a write that does not return.
  struct Lines {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::string> waiting;
    std::uint64_t dropped = 0;
    bool writing = false;  ///< the thread is there
    bool ending = false;
  };
  static void write(Lines& lines);

  const muster::LogLevel least_;
  const std::shared_ptr<Lines> lines_ = std::make_shared<Lines>();
};

}  // namespace muster_server
