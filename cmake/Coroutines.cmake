# Whether this compiler and its standard library have the coroutines of C++20: MUSTER_HAS_COROUTINES. Tests and examples of
# muster/coroutine.hpp are compiled as C++20 then, whatever the rest is compiled as.

include(CheckCXXSourceCompiles)

set(muster_required_flags "${CMAKE_REQUIRED_FLAGS}")
set(CMAKE_REQUIRED_FLAGS "${CMAKE_REQUIRED_FLAGS} ${CMAKE_CXX20_STANDARD_COMPILE_OPTION}")
check_cxx_source_compiles("
#include <coroutine>
#if !defined(__cpp_impl_coroutine) || !defined(__cpp_lib_coroutine)
#error
#endif
int main() { return std::noop_coroutine().done() ? 1 : 0; }" MUSTER_HAS_COROUTINES)
set(CMAKE_REQUIRED_FLAGS "${muster_required_flags}")
