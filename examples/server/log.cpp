#include "log.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>
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

}  // namespace

StderrLog::StderrLog(muster::LogLevel least) : least_(least) {}

StderrLog::~StderrLog() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  if (writer_.joinable()) writer_.join();
}

void StderrLog::log(muster::LogLevel level, std::string_view message) {
  if (level < least_) return;
  std::string line = stamped(level, message);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (waiting_.size() >= most_waiting) {
      ++dropped_;
      return;
    }
    if (!writer_.joinable()) writer_ = std::thread([this] { write_lines(); });
    waiting_.push_back(std::move(line));
  }
  changed_.notify_one();
}

void StderrLog::write_lines() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    std::deque<std::string> lines;
    lines.swap(waiting_);
    const std::uint64_t dropped = std::exchange(dropped_, 0);
    lock.unlock();
    if (dropped != 0) {
      lines.push_back(stamped(muster::LogLevel::warning, std::to_string(dropped) + " lines were dropped here"));
    }
    for (const std::string& line : lines) std::fputs(line.c_str(), stderr);
    lock.lock();
  }
}

}  // namespace muster_server
