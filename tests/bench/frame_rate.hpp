// How many frames a second each of many clients gets, in the second in which it is most.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace muster::bench {

class FrameRate {
 public:
  /// How many frames all have got and how many clients those are, `seconds` after the start; ever later.
  void note(double seconds, std::uint64_t frames, std::size_t clients) {
    const auto slot = static_cast<std::size_t>(seconds * slots_in_second);
    if (slot >= slots_.size()) slots_.resize(slot + 1);
    slots_[slot].frames += frames - frames_;
    slots_[slot].client_seconds += (seconds - noted_) * static_cast<double>(clients);
    frames_ = frames;
    noted_ = seconds;
  }

  /// Of the busiest second that is over. A client that was there for a part of it counts as such a part.
  [[nodiscard]] double highest() const {
    double highest = 0;
    for (std::size_t begin = 0; begin + slots_in_second < slots_.size(); ++begin) {
      double frames = 0;
      double client_seconds = 0;
      for (std::size_t slot = begin; slot < begin + slots_in_second; ++slot) {
        frames += static_cast<double>(slots_[slot].frames);
        client_seconds += slots_[slot].client_seconds;
      }
      if (client_seconds > 0) highest = std::max(highest, frames / client_seconds);
    }
    return highest;
  }

 private:
  static constexpr std::size_t slots_in_second = 10;
  struct Slot {
    std::uint64_t frames = 0;
    double client_seconds = 0;
  };
  std::vector<Slot> slots_;
  std::uint64_t frames_ = 0;
  double noted_ = 0;
};

}  // namespace muster::bench
