// What another process has used so far, by the system's own accounting.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <fstream>
#include <string>

#include "sockets.hpp"

namespace muster::bench {

class ProcessUsage {
 public:
  explicit ProcessUsage(pid_t process) : process_(process) {
    if (::clock_getcpuclockid(process, &clock_) != 0) fail("no such process to measure");
  }

  /// Of all its threads, user and system, in nanoseconds: not in the clock ticks of /proc/PID/stat.
  [[nodiscard]] std::uint64_t cpu_ns() const {
    timespec time{};
    if (::clock_gettime(clock_, &time) != 0) fail("the process to measure has ended");
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(time.tv_nsec);
  }

  /// Counted page by page: what /proc/PID/status says may lag behind.
  [[nodiscard]] std::int64_t resident_bytes() const { return kilobytes("smaps_rollup", "Rss:") * 1024; }
  /// The most that was ever resident.
  [[nodiscard]] std::int64_t peak_resident_bytes() const { return kilobytes("status", "VmHWM:") * 1024; }

 private:
  [[nodiscard]] std::int64_t kilobytes(const char* file, const std::string& name) const {
    std::ifstream lines("/proc/" + std::to_string(process_) + "/" + file);
    for (std::string line; std::getline(lines, line);) {
      if (line.compare(0, name.size(), name) == 0) return std::stoll(line.substr(name.size()));
    }
    fail("the memory of the process cannot be read");
  }

  pid_t process_;
  clockid_t clock_{};
};

}  // namespace muster::bench
