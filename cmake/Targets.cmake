# How muster's own targets are made.

include(GNUInstallDirs)

# Warnings and sanitizers for a target of this project. Always PRIVATE: neither may reach a consumer.
function(muster_own_target target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
                         $<$<CXX_COMPILER_ID:Clang,AppleClang>:-Wthread-safety>)
  if(MUSTER_WARNINGS_AS_ERRORS)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(MUSTER_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${MUSTER_SANITIZE} -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=${MUSTER_SANITIZE})
    if(MUSTER_SANITIZE MATCHES "undefined")
      # A finding must fail the test that made it.
      target_compile_options(${target} PRIVATE -fno-sanitize-recover=undefined)
    endif()
  endif()
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
endfunction()

# muster_add_library(<component> SOURCE <file> [DEPENDS <targets>] [HEADER_ONLY_NAME <name>])
# One component, twice: muster::<component> compiled from SOURCE, and its header-only twin,
# muster::<component>_header_only unless named otherwise. Every component but the core stands on the core.
function(muster_add_library component)
  cmake_parse_arguments(arg "" "SOURCE;HEADER_ONLY_NAME" "DEPENDS" ${ARGN})
  if(component STREQUAL "muster")
    set(compiled muster)
    set(core "")
    set(core_header_only "")
  else()
    set(compiled muster_${component})
    set(core muster)
    set(core_header_only muster_header_only)
  endif()
  if(NOT arg_HEADER_ONLY_NAME)
    set(arg_HEADER_ONLY_NAME ${component}_header_only)
  endif()
  set(header_only muster_${arg_HEADER_ONLY_NAME})

  # STATIC unless BUILD_SHARED_LIBS says otherwise.
  add_library(${compiled} ${arg_SOURCE})
  add_library(muster::${component} ALIAS ${compiled})
  muster_own_target(${compiled})
  target_compile_definitions(${compiled} PUBLIC MUSTER_COMPILED)
  target_compile_features(${compiled} PUBLIC cxx_std_17)
  target_include_directories(${compiled} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                                $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${compiled} PUBLIC ${core} ${arg_DEPENDS})
  # A shared library of somebody's may hold it. Calls within it stay direct, as in a program.
  if(NOT DEFINED CMAKE_POSITION_INDEPENDENT_CODE)
    set_target_properties(${compiled} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_compile_options(${compiled} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fno-semantic-interposition>)
  endif()
  # Another project builds of it what it links.
  if(NOT MUSTER_TOP_LEVEL AND NOT MUSTER_INSTALL)
    set_target_properties(${compiled} PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
  # Before 1.0 a minor version may change the ABI.
  set_target_properties(${compiled} PROPERTIES
    EXPORT_NAME ${component} VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})

  add_library(${header_only} INTERFACE)
  add_library(muster::${arg_HEADER_ONLY_NAME} ALIAS ${header_only})
  target_compile_features(${header_only} INTERFACE cxx_std_17)
  target_include_directories(${header_only} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                                      $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${header_only} INTERFACE ${core_header_only} ${arg_DEPENDS})
  set_target_properties(${header_only} PROPERTIES EXPORT_NAME ${arg_HEADER_ONLY_NAME})
endfunction()
