# Finds Catch2, 3 or else 2.13. Defines the target muster_catch2, with a main(), catch_discover_tests(), and muster_catch2_arguments for it.

set(muster_catch2_arguments "")
find_package(Catch2 3 QUIET)
if(NOT Catch2_FOUND)
  find_package(Catch2 2.13 QUIET)
  # Version 2 needs to be told that a name which matches no test case is a failure.
  set(muster_catch2_arguments --warn NoTests)
endif()
if(NOT Catch2_FOUND)
  message(FATAL_ERROR "muster: Catch2 3 or 2.13 was not found. Install it (Debian: apt install catch2) "
                      "or configure with -DMUSTER_BUILD_TESTS=OFF.")
endif()
include(Catch)

add_library(muster_catch2 STATIC ${PROJECT_SOURCE_DIR}/tests/support/catch2_run.cpp
                                 ${PROJECT_SOURCE_DIR}/tests/support/catch2_main.cpp)
# Not optimised and not sanitized: version 2 is large, and none of it is under test.
target_compile_options(muster_catch2 PRIVATE -O0)
target_include_directories(muster_catch2 PRIVATE "${PROJECT_SOURCE_DIR}/tests")
target_compile_features(muster_catch2 PUBLIC cxx_std_17)
target_link_libraries(muster_catch2 PUBLIC Catch2::Catch2)
