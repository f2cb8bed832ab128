// Uses one function of the target under test, so that its library has to be there and to fit the headers.
// Argument: the version that the package says it is.
#include <muster/muster.hpp>

#if defined(USES_json) || defined(USES_json_header_only)
#include <muster/protocols/json_protocol.hpp>
#endif
#if defined(USES_websocketpp) || defined(USES_websocketpp_header_only)
#include <muster/transports/websocketpp.hpp>
#endif
#if defined(USES_jwt) || defined(USES_jwt_header_only)
#include <muster/auth/jwt_authenticator.hpp>
#endif

#include <iostream>
#include <string>

#if defined(USES_header_only) || defined(USES_json_header_only) || defined(USES_websocketpp_header_only) || \
    defined(USES_jwt_header_only)
#ifdef MUSTER_COMPILED
#error "a header-only target must not define MUSTER_COMPILED"
#endif
#elif !defined(MUSTER_COMPILED)
#error "a compiled target must define MUSTER_COMPILED"
#endif

#if defined(USES_plugin)
int plugin_port();
#endif

int main(int argc, char** argv) {
  short arguments = argc;  // a narrowing and, below, a shadowed name: muster's own warnings would refuse both
  if (arguments == 2) {
    std::string arguments = argv[1];
    const std::string version = std::to_string(MUSTER_VERSION_MAJOR) + "." + std::to_string(MUSTER_VERSION_MINOR) +
                                "." + std::to_string(MUSTER_VERSION_PATCH);
    if (arguments != version) {
      std::cerr << "the package is " << arguments << ", its headers are " << version << "\n";
      return 1;
    }
  }

  const muster::Options options;
  auto* volatile core = &muster::make_connection_manager;
  std::cout << sizeof(options) << (core != nullptr ? " core" : "");
#if defined(USES_json) || defined(USES_json_header_only)
  const muster::JsonProtocol protocol;
  std::cout << " json";
#endif
#if defined(USES_websocketpp) || defined(USES_websocketpp_header_only)
  std::cout << " websocketpp " << sizeof(muster::websocketpp::ServerOptions);
#endif
#if defined(USES_jwt) || defined(USES_jwt_header_only)
  const muster::JwtAuthenticator jwt({{{muster::JwtAlgorithm::HS256, std::string(32, 'k')}}});
  std::cout << " jwt";
#endif
#if defined(USES_plugin)
  if (plugin_port() == 0) return 1;
  std::cout << " plugin";
#endif
  std::cout << "\n";
}
