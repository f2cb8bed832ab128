// CheckedSim: a Sim for a test case, which fails the case when anything was wrong by the end of it.
#pragma once

#include "support/catch.hpp"
#include "support/sim.hpp"

namespace muster::test {

class CheckedSim : public Sim {
 public:
  using Sim::Sim;
  ~CheckedSim() {
    run();
    CHECK(wrong() == Texts{});
  }
};

}  // namespace muster::test
