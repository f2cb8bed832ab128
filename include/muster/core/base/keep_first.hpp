// keep_first: of many, the first few in an order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Adds it to `heap`, which has the first `limit` of those it was given, the last of them on top; std::sort_heap puts them
/// in order. False: one was left out.
template <class T, class Less>
bool keep_first(std::vector<T>& heap, std::size_t limit, const T& item, Less less) {
  if (heap.size() >= limit) {
    if (limit == 0 || !less(item, heap.front())) return false;
    std::pop_heap(heap.begin(), heap.end(), less);
    heap.back() = item;
    std::push_heap(heap.begin(), heap.end(), less);
    return false;
  }
  heap.push_back(item);
  std::push_heap(heap.begin(), heap.end(), less);
  return true;
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
