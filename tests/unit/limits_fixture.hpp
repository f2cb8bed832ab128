// What the tests of limits and rates begin with.
#pragma once

#include <string>

#include "support/checked_sim.hpp"

namespace muster::test {

/// No rate but what a test sets, and no patience with who is beyond it.
inline Options unlimited() {
  Options options;
  options.message_rate = options.byte_rate = options.frame_rate = 0;
  options.rate_patience = 0ms;
  options.heartbeat = 0s;
  return options;
}

/// A ping command of exactly so many bytes.
inline std::string ping_of(std::size_t size) {
  const std::string head = R"({"type":"ping","payload":{"p":")";
  const std::string tail = R"("}})";
  return head + std::string(size - head.size() - tail.size(), 'x') + tail;
}

}  // namespace muster::test
