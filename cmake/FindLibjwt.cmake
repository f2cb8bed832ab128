# Finds libjwt 1 (or 2). Defines the target Libjwt::Libjwt.

# Before 1.16 it compares an HMAC in a time that depends on it (CVE-2024-25189), unless the distribution has mended that,
# as Debian 12 has.
find_path(Libjwt_INCLUDE_DIR NAMES jwt.h)
find_library(Libjwt_LIBRARY NAMES jwt)
mark_as_advanced(Libjwt_INCLUDE_DIR Libjwt_LIBRARY)

# Version 3 has another interface, and is not found.
if(Libjwt_INCLUDE_DIR)
  file(STRINGS "${Libjwt_INCLUDE_DIR}/jwt.h" Libjwt_INTERFACE REGEX "jwt_get_grants_json" LIMIT_COUNT 1)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libjwt REQUIRED_VARS Libjwt_LIBRARY Libjwt_INCLUDE_DIR Libjwt_INTERFACE)

if(Libjwt_FOUND AND NOT TARGET Libjwt::Libjwt)
  add_library(Libjwt::Libjwt UNKNOWN IMPORTED)
  set_target_properties(Libjwt::Libjwt PROPERTIES IMPORTED_LOCATION "${Libjwt_LIBRARY}"
                                                  INTERFACE_INCLUDE_DIRECTORIES "${Libjwt_INCLUDE_DIR}")
endif()
