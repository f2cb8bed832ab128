// Many clients that go, or come back, at once, and what that does to the others.
#pragma once

#include <cstddef>
#include <vector>

#include "clients.hpp"
#include "load_options.hpp"

namespace muster::bench {

class Storm {
 public:
  /// Keeps references to both. The clients are connected.
  Storm(const LoadOptions& options, Clients& clients);

  /// Returns once all have left or are back, or none of them has in the time of the deadline.
  void run();

  /// How many clients it is of.
  [[nodiscard]] std::size_t size() const { return in_storm_.size(); }
  [[nodiscard]] double seconds() const { return seconds_; }
  /// Frames of the others, and of the one of them that got most.
  [[nodiscard]] double frames_of_others() const;
  [[nodiscard]] double most_frames_of_others() const;
  /// Neither in the storm and where they should be, nor out of it and still there.
  [[nodiscard]] std::size_t lost() const;

 private:
  [[nodiscard]] bool leaves() const { return options_.storm == "leave"; }

  const LoadOptions& options_;
  Clients& clients_;
  std::vector<std::size_t> in_storm_;
  double seconds_ = 0;
};

}  // namespace muster::bench
