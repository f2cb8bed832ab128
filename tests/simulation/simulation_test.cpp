// Random histories: 1,000 seeds, each a whole life of a server in which nothing may be wrong.
//
//   --seeds N       how many (1000)             --first N    from which on (1)
//   --seed N        only this one, told in full
//   --mutant NAME   with this fault in the core; --expect-caught turns the outcome round
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "seeded_faults.hpp"
#include "simulation/history.hpp"

namespace {

using muster::test::History;

struct Arguments {
  std::uint64_t first = 1;
  std::uint64_t seeds = 1000;
  std::string mutant;
  bool expect_caught = false;
};

/// Runs one seed; every 50th twice, which must look the same. True: nothing was wrong.
bool run_seed(std::uint64_t seed, const std::string& mutant, bool in_full) {
  std::vector<std::string> faults;
  std::uint64_t trace = 0;
  {
    History history(seed);
    faults = history.run();
    trace = history.trace();
    if (in_full) std::printf("%s", history.summary().c_str());
  }
  if (faults.empty() && seed % 50 == 0) {
    History again(seed);
    (void)again.run();
    if (again.trace() != trace) faults.push_back("the same seed gave another trace");
  }
  if (faults.empty()) return true;
  std::printf("seed %llu:\n", static_cast<unsigned long long>(seed));
  for (const auto& fault : faults) std::printf("  %s\n", fault.c_str());
  std::printf("  again: simulation_test --seed %llu%s%s\n", static_cast<unsigned long long>(seed),
              mutant.empty() ? "" : " --mutant ", mutant.c_str());
  std::fflush(stdout);
  return false;
}

/// A seed that fails without the fault, too, has not caught it.
bool fails_without(std::uint64_t seed) {
  const auto fault = std::exchange(muster::seeded::active, muster::seeded::Fault::none);
  const bool fails = !History(seed).run().empty();
  muster::seeded::active = fault;
  if (fails) std::printf("  but it fails without the fault, too\n");
  return fails;
}

/// True: nothing was wrong in any seed.
bool run_all(const Arguments& arguments, bool stop_at_first) {
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t failed = 0;
  for (std::uint64_t seed = arguments.first; seed < arguments.first + arguments.seeds; ++seed) {
    if (run_seed(seed, arguments.mutant, arguments.seeds == 1)) continue;
    if (arguments.expect_caught && fails_without(seed)) continue;
    ++failed;
    if (stop_at_first || failed >= 10) break;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("%llu seeds, %llu failed, %.1f s\n", static_cast<unsigned long long>(arguments.seeds),
              static_cast<unsigned long long>(failed), took.count());
  return failed == 0;
}

/// A fault may end the process too; so it has one of its own.
bool is_caught(const Arguments& arguments) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) std::_Exit(run_all(arguments, true) && std::fflush(stdout) == 0 ? 0 : (std::fflush(stdout), 1));
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return false;
  return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int usage() {
  std::fprintf(stderr, "usage: simulation_test [--seed N | --first N --seeds N] [--mutant NAME [--expect-caught]]\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (const char* seed = std::getenv("MUSTER_SEED")) {
    arguments.first = std::strtoull(seed, nullptr, 10);
    arguments.seeds = 1;
  }
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--expect-caught") {
      arguments.expect_caught = true;
      continue;
    }
    if (i + 1 == argc) return usage();
    const char* value = argv[++i];
    if (flag == "--seed") {
      arguments.first = std::strtoull(value, nullptr, 10);
      arguments.seeds = 1;
    } else if (flag == "--seeds") {
      arguments.seeds = std::strtoull(value, nullptr, 10);
    } else if (flag == "--first") {
      arguments.first = std::strtoull(value, nullptr, 10);
    } else if (flag == "--mutant") {
      arguments.mutant = value;
    } else {
      return usage();
    }
  }
  if (!arguments.mutant.empty()) muster::seeded::active = muster::seeded::named(arguments.mutant);
  if (!arguments.expect_caught) return run_all(arguments, false) ? 0 : 1;
  const bool caught = is_caught(arguments);
  std::printf("%s: %s\n", arguments.mutant.c_str(), caught ? "caught" : "NOT CAUGHT");
  return caught ? 0 : 1;
}
