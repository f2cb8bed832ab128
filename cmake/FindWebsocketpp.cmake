# Finds websocketpp. Defines the target Websocketpp::Websocketpp.

# Its own package is asked without a version, because its version file accepts only the exact one, and only once,
# because including it a second time defines its target again. Where there is no package, the header is enough.
if(NOT TARGET websocketpp::websocketpp)
  find_package(websocketpp CONFIG QUIET)
endif()
if(TARGET websocketpp::websocketpp)
  get_target_property(Websocketpp_hint websocketpp::websocketpp INTERFACE_INCLUDE_DIRECTORIES)
endif()
find_path(Websocketpp_INCLUDE_DIR NAMES websocketpp/version.hpp HINTS ${Websocketpp_hint} ${WEBSOCKETPP_INCLUDE_DIR})
mark_as_advanced(Websocketpp_INCLUDE_DIR)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Websocketpp REQUIRED_VARS Websocketpp_INCLUDE_DIR)

if(Websocketpp_FOUND AND NOT TARGET Websocketpp::Websocketpp)
  add_library(Websocketpp::Websocketpp INTERFACE IMPORTED)
  set_target_properties(Websocketpp::Websocketpp PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${Websocketpp_INCLUDE_DIR}")
endif()
