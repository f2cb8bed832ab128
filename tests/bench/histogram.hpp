// Times in microseconds, counted in buckets of under 1 % each: quantiles of any number of them, in a fixed space.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace muster::bench {

class Histogram {
 public:
  void add(std::uint64_t microseconds) {
    ++buckets_[bucket_of(std::min(microseconds, limit - 1))];
    ++count_;
    max_ = std::max(max_, microseconds);
  }

  [[nodiscard]] std::uint64_t max() const { return max_; }

  /// The least value that this share of them does not exceed, within 1 %; 0 without any.
  [[nodiscard]] std::uint64_t quantile(double share) const {
    const auto rank = static_cast<std::uint64_t>(share * static_cast<double>(count_));
    std::uint64_t passed = 0;
    for (std::size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
      passed += buckets_[bucket];
      if (passed > rank) return std::min(max_, upper_end(bucket));
    }
    return max_;
  }

 private:
  // Below `linear` each value has its own bucket; above, each power of two has `linear / 2`.
  static constexpr std::uint64_t linear = 256;
  static constexpr std::uint64_t limit = std::uint64_t{1} << 32U;

  static unsigned shift_of(std::uint64_t value) {
    unsigned shift = 0;
    while (value >> shift >= linear) ++shift;
    return shift;
  }
  static std::size_t bucket_of(std::uint64_t value) {
    const unsigned shift = shift_of(value);
    return static_cast<std::size_t>(shift * (linear / 2) + (value >> shift));
  }
  static std::uint64_t upper_end(std::size_t bucket) {
    if (bucket < linear) return bucket;
    const std::uint64_t shift = (bucket - linear / 2) / (linear / 2);
    return ((bucket - shift * (linear / 2) + 1) << shift) - 1;
  }

  std::vector<std::uint64_t> buckets_ = std::vector<std::uint64_t>(bucket_of(limit - 1) + 1);
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace muster::bench
