// Report: what the benchmarks measured, as a table for people and as JSON for programs.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::bench {

/// What a figure has to be; the default: there is no target.
struct Target {
  enum class Kind : std::uint8_t { none, at_most, at_least };
  Kind kind = Kind::none;
  double value = 0;

  [[nodiscard]] bool holds(double measured) const {
    return kind == Kind::none || (kind == Kind::at_most ? measured <= value : measured >= value);
  }
};
[[nodiscard]] inline Target at_most(double value) { return {Target::Kind::at_most, value}; }
[[nodiscard]] inline Target at_least(double value) { return {Target::Kind::at_least, value}; }

class Report {
 public:
  using Figures = std::vector<std::pair<std::string, double>>;

  /// One line of the table, printed at once.
  void row(const std::string& what, double measured, const char* unit, Target target = {}) {
    static constexpr const char* signs[] = {"", "<= ", ">= "};
    const bool held = target.holds(measured);
    if (!held) ++missed_;
    const std::string wanted =
        target.kind == Target::Kind::none ? "" : signs[static_cast<int>(target.kind)] + text(target.value);
    std::printf("%-66s %11s %-6s %10s  %s\n", what.c_str(), text(measured).c_str(), unit, wanted.c_str(),
                target.kind == Target::Kind::none ? ""
                : held                            ? "ok"
                                                  : "over");
    std::fflush(stdout);
  }
  /// One object of the JSON array of this name.
  void add(const std::string& array, Figures figures) { arrays_[array].push_back(std::move(figures)); }

  [[nodiscard]] std::size_t missed() const { return missed_; }
  [[nodiscard]] bool write_json(const std::string& path) const {
    std::FILE* const file = std::fopen(path.c_str(), "w");
    if (file == nullptr) return false;
    std::fputs("{", file);
    const char* next_array = "\n";
    for (const auto& [name, objects] : arrays_) {
      std::fprintf(file, "%s  \"%s\": [", next_array, name.c_str());
      const char* next_object = "\n";
      for (const Figures& figures : objects) {
        std::fprintf(file, "%s    {", next_object);
        const char* next = "";
        for (const auto& [key, value] : figures) {
          std::fprintf(file, "%s\"%s\": %.10g", next, key.c_str(), value);
          next = ", ";
        }
        std::fputs("}", file);
        next_object = ",\n";
      }
      std::fputs("\n  ]", file);
      next_array = ",\n";
    }
    std::fputs("\n}\n", file);
    return std::fclose(file) == 0;
  }

 private:
  static std::string text(double value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, value >= 1000 ? "%.0f" : value >= 10 ? "%.1f" : "%.3g", value);
    return digits;
  }

  std::map<std::string, std::vector<Figures>> arrays_;
  std::size_t missed_ = 0;
};

/// Repetitions of one measurement. The minimum is what the work costs; the median also says how busy the machine was.
class Samples {
 public:
  void add(double value) {
    values_.push_back(value);
    sorted_ = false;
  }
  [[nodiscard]] double minimum() { return quantile(0); }
  [[nodiscard]] double median() { return quantile(0.5); }
  [[nodiscard]] double maximum() { return quantile(1); }
  /// 0 to 1; only when there are values.
  [[nodiscard]] double quantile(double share) {
    if (!std::exchange(sorted_, true)) std::sort(values_.begin(), values_.end());
    return values_[std::min(values_.size() - 1, static_cast<std::size_t>(share * static_cast<double>(values_.size())))];
  }
  [[nodiscard]] std::size_t count() const { return values_.size(); }

 private:
  std::vector<double> values_;
  bool sorted_ = false;
};

/// Nanoseconds that `work` takes.
template <class Work>
[[nodiscard]] double nanoseconds(Work work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
}

/// An order that no cache foresees.
template <class T>
void shuffle(std::vector<T>& values) {
  std::uint64_t random = 1;
  for (std::size_t i = values.size(); i > 1; --i) {
    random = random * 6364136223846793005ULL + 1442695040888963407ULL;
    std::swap(values[i - 1], values[(random >> 33U) % i]);
  }
}

struct Run {
  Report& report;
  /// Fewer repetitions, and no room above 10,000.
  bool quick = false;

  [[nodiscard]] std::vector<std::size_t> sizes() const {
    if (quick) return {1'000, 10'000};
    return {1'000, 10'000, 100'000};
  }
};

/// What a benchmark needs to be true of its own run: a number of something else than it says is worse than none.
void require(bool holds, const char* what);

// The benchmarks, each in the file of its name.
void fan_out(Run& run);
void membership(Run& run);
void disconnect(Run& run);    // membership.cpp
void join_latency(Run& run);  // loops.cpp
void two_loops(Run& run);     // loops.cpp
void awareness(Run& run);
void memory(Run& run);
void rooms(Run& run);
void idle(Run& run);

}  // namespace muster::bench
