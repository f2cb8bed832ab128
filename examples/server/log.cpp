#include "log.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <system_error>
#include <thread>
#include <utility>

namespace muster_server {
namespace {

std::string_view name_of(muster::LogLevel level) {
  constexpr std::array<std::string_view, 4> names{"debug", "info", "warning", "error"};
  return names[static_cast<std::size_t>(level)];
}

std::string stamped(muster::LogLevel level, std::string_view message) {
  using namespace std::chrono;
  const auto since_epoch = duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  const auto seconds_since_epoch = static_cast<std::time_t>(since_epoch / 1000);
  std::tm calendar{};
  gmtime_r(&seconds_since_epoch, &calendar);
  std::array<char, 32> date{};
  const std::size_t size = std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S", &calendar);
  const std::string fraction = std::to_string(1000 + since_epoch % 1000).replace(0, 1, ".");
  std::string line = std::string(date.data(), size) + fraction + "Z " + std::string(name_of(level)) + ": ";
  const std::size_t text = line.size();
  line.append(message);
  // A peer's words may be part of a message: they must not make lines of their own.
  std::replace_if(
      line.begin() + static_cast<std::ptrdiff_t>(text), line.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return line + "\n";
}

/// By the descriptor: a lock of the C library's stream, held in a write that does not return, would stop exit().
void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // nobody is there to read it, or ever will be
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

StderrLog::StderrLog(muster::LogLevel least) : least_(least) {}

StderrLog::~StderrLog() {
  std::unique_lock<std::mutex> lock(lines_->mutex);
  lines_->ending = true;
  lines_->changed.notify_all();
  lines_->changed.wait_for(lock, last_words, [this] { return !lines_->writing; });
}

void StderrLog::log(muster::LogLevel level, std::string_view message) {
  if (level < least_) return;
  std::string line = stamped(level, message);
  {
    const std::lock_guard<std::mutex> lock(lines_->mutex);
    try {
      if (!lines_->writing) std::thread([lines = lines_] { write(*lines); }).detach();
      lines_->writing = true;
    } catch (const std::system_error&) {
      // No thread can be had now. The line waits for one.
    }
    if (lines_->waiting.size() >= most_waiting) {
      ++lines_->dropped;
      return;
    }
    lines_->waiting.push_back(std::move(line));
  }
  lines_->changed.notify_all();
}

void StderrLog::write(Lines& lines) {
  // Signals are the program's other threads' to take.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  std::unique_lock<std::mutex> lock(lines.mutex);
  for (;;) {
    lines.changed.wait(lock, [&lines] { return lines.ending || !lines.waiting.empty(); });
    if (lines.waiting.empty()) break;
    std::deque<std::string> taken;
    taken.swap(lines.waiting);
    const std::uint64_t dropped = std::exchange(lines.dropped, 0);
    lock.unlock();
    if (dropped != 0) {
      taken.push_back(stamped(muster::LogLevel::warning, std::to_string(dropped) + " lines were dropped here"));
    }
    for (const std::string& line : taken) write_all(line);
    lock.lock();
  }
  lines.writing = false;
  lines.changed.notify_all();
}

}  // namespace muster_server
