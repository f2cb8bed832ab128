# Finds Asio without Boost. Defines the target Asio::Asio and Asio_VERSION.

find_path(Asio_INCLUDE_DIR NAMES asio.hpp asio/version.hpp)
mark_as_advanced(Asio_INCLUDE_DIR)

if(Asio_INCLUDE_DIR AND EXISTS "${Asio_INCLUDE_DIR}/asio/version.hpp")
  file(STRINGS "${Asio_INCLUDE_DIR}/asio/version.hpp" Asio_version_line REGEX "#define ASIO_VERSION [0-9]+")
  if(Asio_version_line MATCHES "ASIO_VERSION ([0-9]+)")
    # ASIO_VERSION is major * 100000 + minor * 100 + patch.
    math(EXPR Asio_major "${CMAKE_MATCH_1} / 100000")
    math(EXPR Asio_minor "${CMAKE_MATCH_1} / 100 % 1000")
    math(EXPR Asio_patch "${CMAKE_MATCH_1} % 100")
    set(Asio_VERSION "${Asio_major}.${Asio_minor}.${Asio_patch}")
  endif()
endif()

find_package(Threads QUIET)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Asio REQUIRED_VARS Asio_INCLUDE_DIR Threads_FOUND VERSION_VAR Asio_VERSION)

if(Asio_FOUND AND NOT TARGET Asio::Asio)
  add_library(Asio::Asio INTERFACE IMPORTED)
  set_target_properties(Asio::Asio PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${Asio_INCLUDE_DIR}"
    # Asio 1.22 chooses how it allocates by what was included before it, so that one translation unit could free what
    # another allocated in the other way; with this they all choose the same.
    INTERFACE_COMPILE_DEFINITIONS "ASIO_STANDALONE;ASIO_DISABLE_STD_ALIGNED_ALLOC"
    INTERFACE_LINK_LIBRARIES Threads::Threads)
endif()
