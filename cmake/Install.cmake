# What `cmake --install` puts where: headers, libraries, the CMake package and the pkg-config files.

include(CMakePackageConfigHelpers)

set(MUSTER_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/muster)

install(DIRECTORY include/muster DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.hpp" PATTERN "*.ipp")

# In the folders that they have here, so that the links between the documents hold.
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR})
foreach(document core/README.md protocols/json_protocol.md)
  get_filename_component(folder ${document} DIRECTORY)
  install(FILES include/muster/${document} DESTINATION ${CMAKE_INSTALL_DOCDIR}/include/muster/${folder})
endforeach()

# Each component has a targets file of its own, so that an absent dependency of one does not spoil the others.
install(TARGETS muster muster_header_only EXPORT muster_core)
install(EXPORT muster_core NAMESPACE muster:: DESTINATION ${MUSTER_CMAKE_DIR} FILE muster-core-targets.cmake)
foreach(component json websocketpp jwt)
  if(TARGET muster_${component})
    install(TARGETS muster_${component} muster_${component}_header_only EXPORT muster_${component})
    install(EXPORT muster_${component} NAMESPACE muster:: DESTINATION ${MUSTER_CMAKE_DIR}
            FILE muster-${component}-targets.cmake)
  endif()
endforeach()

configure_package_config_file(cmake/muster-config.cmake.in muster-config.cmake INSTALL_DESTINATION ${MUSTER_CMAKE_DIR})
write_basic_package_version_file(muster-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/muster-config.cmake" "${PROJECT_BINARY_DIR}/muster-config-version.cmake"
              cmake/FindAsio.cmake cmake/FindLibjwt.cmake cmake/FindRapidJSON.cmake cmake/FindWebsocketpp.cmake
        DESTINATION ${MUSTER_CMAKE_DIR})

# muster_install_pkgconfig(<name> <library> <what it is> REQUIRES <packages> CFLAGS <flags> LIBS <flags>)
# Requires rather than Requires.private: a static library needs them at the consumer's link, after itself.
function(muster_install_pkgconfig name library description)
  cmake_parse_arguments(arg "" "REQUIRES;CFLAGS;LIBS" "" ${ARGN})
  file(RELATIVE_PATH to_prefix "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
  configure_file(cmake/muster.pc.in ${name}.pc @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/${name}.pc" DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

muster_install_pkgconfig(muster muster "${PROJECT_DESCRIPTION}" CFLAGS "-DMUSTER_COMPILED -pthread" LIBS "-pthread")
if(TARGET muster_json)
  muster_install_pkgconfig(muster-json muster_json "muster's JSON protocol" REQUIRES "muster = ${PROJECT_VERSION}")
endif()
if(TARGET muster_websocketpp)
  muster_install_pkgconfig(muster-websocketpp muster_websocketpp "muster's WebSocket transport, on websocketpp and Asio"
                           REQUIRES "muster = ${PROJECT_VERSION}, openssl, zlib" CFLAGS "-DASIO_STANDALONE -DASIO_DISABLE_STD_ALIGNED_ALLOC")
endif()
if(TARGET muster_jwt)
  muster_install_pkgconfig(muster-jwt muster_jwt "muster's JWT authenticator, on libjwt"
                           REQUIRES "muster = ${PROJECT_VERSION}, libjwt, libcrypto")
endif()
