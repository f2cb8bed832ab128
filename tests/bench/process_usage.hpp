// What another process has used so far, by the system's own accounting.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <set>
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

/// What the system holds, unsent or not acknowledged, in the sockets of this port for peers at those ports, in bytes.
[[nodiscard]] inline std::int64_t unsent_in_kernel(unsigned port, const std::set<unsigned>& peers) {
  std::ifstream table("/proc/net/tcp");
  std::string line;
  std::getline(table, line);  // its head
  std::int64_t bytes = 0;
  while (std::getline(table, line)) {
    unsigned own = 0, peer = 0, queued = 0;
    if (std::sscanf(line.c_str(), " %*u: %*8x:%x %*8x:%x %*x %x:", &own, &peer, &queued) != 3) continue;
    if (own == port && peers.count(peer) != 0) bytes += queued;
  }
  return bytes;
}

}  // namespace muster::bench
