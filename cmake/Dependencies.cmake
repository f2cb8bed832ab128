# Finds what muster's components depend on. Nothing is ever downloaded or vendored.

list(APPEND CMAKE_MODULE_PATH "${CMAKE_CURRENT_LIST_DIR}")

# muster_need(<package> [PACKAGE <debian package>] [OPTION <option that switches the need off>])
# A macro, so that what find_package() sets is seen by the caller.
macro(muster_need name)
  cmake_parse_arguments(muster_need "" "PACKAGE;OPTION" "" ${ARGN})
  find_package(${name} QUIET)
  if(NOT ${name}_FOUND)
    set(muster_need_hint ".")
    if(muster_need_PACKAGE)
      set(muster_need_hint ". Install it (Debian: apt install ${muster_need_PACKAGE})")
    endif()
    if(muster_need_OPTION)
      string(APPEND muster_need_hint " or configure with -D${muster_need_OPTION}=OFF")
    endif()
    message(FATAL_ERROR "muster: ${name} was not found${muster_need_hint}")
  endif()
endmacro()
