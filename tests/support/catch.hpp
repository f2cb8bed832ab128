// Catch2 for the tests, version 3 or 2, whichever was found.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

namespace muster::test {

// Runs the test cases as Catch2's own main() does, for an executable with a main() of its own.
int run_catch2(int argc, char** argv);

}  // namespace muster::test
