// muster_bench_core: what the core costs on transports that take everything at once. See CMakeLists.txt for how to run it.
#include <malloc.h>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "report.hpp"
#include "support/counted_allocations.hpp"

namespace muster::bench {

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

namespace {

struct Benchmark {
  const char* name;
  const char* what;
  void (*run)(Run&);
};
constexpr Benchmark benchmarks[] = {
    {"fan_out", "publish and flush, for each member", fan_out},
    {"membership", "join, leave, and lookups by connection and by user", membership},
    {"disconnect", "a disconnect, whatever the size of its room", disconnect},
    {"join_latency", "joins while a broadcast runs", join_latency},
    {"two_loops", "deliveries on two loops against one", two_loops},
    {"awareness", "an awareness storm, batched and not", awareness},
    {"memory", "bytes for each connection", memory},
    {"rooms", "bytes for each room", rooms},
    {"idle", "heartbeats of many who say nothing", idle},
};

int usage(std::FILE* to, int status) {
  std::fputs("usage: muster_bench_core [--quick] [--only NAME]... [--json FILE]\n", to);
  for (const Benchmark& benchmark : benchmarks) std::fprintf(to, "  %-13s %s\n", benchmark.name, benchmark.what);
  return status;
}

int main(int count, char** arguments) {
  Report report;
  Run run{report};
  std::string json;
  std::string only;  // names, each between commas
  for (int i = 1; i < count; ++i) {
    const std::string_view argument = arguments[i];
    const bool has_value = i + 1 < count;
    if (argument == "--help") return usage(stdout, 0);
    if (argument == "--quick") {
      run.quick = true;
    } else if (argument == "--json" && has_value) {
      json = arguments[++i];
    } else if (argument == "--only" && has_value) {
      const std::string name = arguments[++i];
      bool known = false;
      for (const Benchmark& benchmark : benchmarks) known = known || name == benchmark.name;
      if (!known) return usage(stderr, 2);
      only += "," + name + ",";
    } else {
      return usage(stderr, 2);
    }
  }

#if !defined(__OPTIMIZE__)
  std::puts("This build is not optimised: its numbers say nothing about the library.");
#endif
  // In a process that never had a second thread, libstdc++ counts shared pointers without atomic operations.
  std::thread([] {}).join();
  // What was freed is kept: pages that come and go with the turns of a benchmark are not the library's cost.
  (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);

  std::printf("%-66s %11s %-6s %10s\n", "what", "measured", "", "target");
  for (const Benchmark& benchmark : benchmarks) {
    if (!only.empty() && only.find("," + std::string(benchmark.name) + ",") == std::string::npos) continue;
    benchmark.run(run);
  }
  std::printf("%zu over their target\n", report.missed());
  if (!json.empty() && !report.write_json(json)) {
    std::fprintf(stderr, "muster_bench_core: cannot write %s\n", json.c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace muster::bench

int main(int count, char** arguments) {
  try {
    return muster::bench::main(count, arguments);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "muster_bench_core: %s\n", failure.what());
    return 1;
  }
}
