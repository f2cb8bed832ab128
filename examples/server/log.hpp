// The log: lines to standard error, written by a thread of their own, because a loop must not wait for a terminal.
// The thread begins with the first line.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <muster/observer.hpp>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace muster_server {

/// `2026-11-20T12:00:00.123Z info: text`, one line each; control characters in a text are written as `?`.
/// While standard error does not keep up, lines beyond `most_waiting` are dropped, and how many is said.
class StderrLog final : public muster::Observer {
 public:
  explicit StderrLog(muster::LogLevel least);
  StderrLog(const StderrLog&) = delete;
  StderrLog& operator=(const StderrLog&) = delete;
  /// Writes what waits.
  ~StderrLog() override;

  void log(muster::LogLevel level, std::string_view message) override;

  static constexpr std::size_t most_waiting = 1000;

 private:
  void write_lines();

  const muster::LogLevel least_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> waiting_;
  std::uint64_t dropped_ = 0;
  bool ending_ = false;
  std::thread writer_;
};

}  // namespace muster_server
