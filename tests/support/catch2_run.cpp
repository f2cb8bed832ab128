// Catch2's implementation: for version 2 all of it, so that it is compiled once for all tests.
#define CATCH_CONFIG_RUNNER
#include "support/catch.hpp"

int muster::test::run_catch2(int argc, char** argv) { return Catch::Session().run(argc, argv); }
