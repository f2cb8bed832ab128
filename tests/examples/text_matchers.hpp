// What a text contains, begins and ends with, under the names of Catch2 3 also for Catch2 2.
#pragma once

#include <string>

#include "support/catch.hpp"

namespace muster::test {

using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;
#if CATCH_VERSION_MAJOR >= 3
using Catch::Matchers::ContainsSubstring;
#else
inline auto ContainsSubstring(const std::string& part) { return Catch::Matchers::Contains(part); }
#endif

}  // namespace muster::test
