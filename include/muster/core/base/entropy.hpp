// Entropy: ids, epochs and tokens that nobody can guess, and times that are spread.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include "muster/core/base/cipher.hpp"
#include "muster/core/base/random.hpp"
#include "muster/core/base/sha256.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// From the system's secrets, or all from one seed, for tests. Any thread.
class Entropy {
 public:
  explicit Entropy(std::optional<std::uint64_t> seed) {
    if (seed) {
      seed_ = *seed;
      secret_ = std::to_string(seed_) + "/";
      const auto low = static_cast<std::uint32_t>(seed_);
      const auto high = static_cast<std::uint32_t>(seed_ >> 32U);
      ids_ = Cipher({low, high, 1, 0});
      epochs_ = Cipher({low, high, 2, 0});
    } else {
      std::random_device device;
      seed_ = (std::uint64_t{device()} << 32U) ^ device();
      // 256 bits, so short that a token takes one block of SHA-256.
      for (int i = 0; i < 32; ++i) secret_.push_back(static_cast<char>(device()));
      ids_ = Cipher({device(), device(), device(), device()});
      epochs_ = Cipher({device(), device(), device(), device()});
    }
  }

  [[nodiscard]] ConnectionId id() {
    std::uint64_t value = 0;
    while (value == 0) value = ids_(next_id_++);
    return ConnectionId(value);
  }
  [[nodiscard]] std::uint64_t epoch() {
    constexpr std::uint64_t below_2_to_53 = (std::uint64_t{1} << 53U) - 1;
    return (epochs_(next_epoch_++) & below_2_to_53) | 1U;
  }
  [[nodiscard]] std::string token() { return to_hex(sha256(secret_ + std::to_string(next_token_++)), 16); }

  // What may be guessed.
  /// A time within the window: all who are told to come back later are not to come at once.
  [[nodiscard]] std::chrono::milliseconds within(std::chrono::milliseconds window) {
    const auto most = static_cast<std::uint64_t>(std::max<std::int64_t>(window.count(), 0));
    return std::chrono::milliseconds(static_cast<std::int64_t>(scatter(seed_ ^ next_draw_++) % (most + 1)));
  }
  [[nodiscard]] std::uint64_t seed() { return scatter(seed_ + next_draw_++ * 0x9e3779b97f4a7c15ULL); }

 private:
  std::uint64_t seed_ = 0;
  std::string secret_;
  Cipher ids_{{}};
  Cipher epochs_{{}};
  std::atomic<std::uint64_t> next_id_{1};
  std::atomic<std::uint64_t> next_epoch_{1};
  std::atomic<std::uint64_t> next_token_{1};
  std::atomic<std::uint64_t> next_draw_{1};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
