# Installs the build tree BUILD into PREFIX, looks for what must not be in an installed package, and makes
# PREFIX_without_json: the same installation as if it had been built with MUSTER_JSON=OFF.

file(REMOVE_RECURSE "${PREFIX}" "${PREFIX}_without_json")
execute_process(COMMAND ${CMAKE_COMMAND} --install "${BUILD}" --prefix "${PREFIX}" OUTPUT_QUIET RESULT_VARIABLE result)
if(result)
  message(FATAL_ERROR "cmake --install failed")
endif()

file(GLOB_RECURSE files "${PREFIX}/*.cmake" "${PREFIX}/*.pc")
if(NOT files)
  message(FATAL_ERROR "nothing was installed in ${PREFIX}")
endif()
foreach(file IN LISTS files)
  file(STRINGS "${file}" leaks REGEX "-W(all|extra|error|conversion|shadow|pedantic)|-fsanitize|${SOURCE}/|${BUILD}/")
  if(leaks)
    message(FATAL_ERROR "${file}: warnings, sanitizers or build directories leak to consumers: ${leaks}")
  endif()
endforeach()

file(COPY "${PREFIX}/" DESTINATION "${PREFIX}_without_json")
file(GLOB_RECURSE json "${PREFIX}_without_json/muster-json-targets*.cmake")
file(REMOVE ${json})
