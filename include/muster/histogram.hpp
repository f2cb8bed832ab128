// Histogram: how long something took, in buckets of which the bounds are fixed.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// How often something took how long. A snapshot; those of several managers can be added up bucket by bucket.
struct Histogram {
  /// The upper bounds of all buckets but the last, which has none: a time that is equal to a bound counts below it.
  static constexpr std::array<std::chrono::microseconds, 19> bounds = [] {
    std::array<std::chrono::microseconds, 19> all{};
    std::int64_t decade = 10;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const std::int64_t steps[] = {1, 2, 5};
      all[i] = std::chrono::microseconds(decade * steps[i % 3]);
      if (i % 3 == 2) decade *= 10;
    }
    return all;
  }();  // 10, 20 and 50 us, 100 us, and so on, to 10 s

  /// Of each bucket alone; whoever wants them cumulative, as Prometheus does, adds them up.
  std::array<std::uint64_t, bounds.size() + 1> counts{};
  std::chrono::nanoseconds sum{0};

  [[nodiscard]] static constexpr std::size_t bucket_of(std::chrono::nanoseconds time) noexcept {
    std::size_t bucket = 0;
    while (bucket < bounds.size() && time > bounds[bucket]) ++bucket;
    return bucket;
  }
  [[nodiscard]] constexpr std::uint64_t count() const noexcept {
    std::uint64_t all = 0;
    for (const std::uint64_t of_bucket : counts) all += of_bucket;
    return all;
  }
};

}  // namespace MUSTER_ABI
}  // namespace muster
