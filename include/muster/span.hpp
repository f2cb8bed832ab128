// Span: a view of bytes to be written, owned elsewhere.
#pragma once

#include <cstddef>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {

struct Span {
  const char* data = nullptr;
  std::size_t size = 0;
};

}  // namespace MUSTER_ABI
}  // namespace muster
