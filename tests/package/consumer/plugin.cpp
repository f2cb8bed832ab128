// A shared library that holds all of a server: muster's static libraries have to fit into it.
#include <memory>
#include <muster/auth/allow_all.hpp>
#include <muster/auth/allow_anonymous.hpp>
#include <muster/muster.hpp>
#include <muster/protocols/json_protocol.hpp>
#include <muster/transports/websocketpp.hpp>

/// The port that a server in here listened on.
int plugin_port() {
  muster::Components components;
  components.protocols = {std::make_shared<muster::JsonProtocol>()};
  const auto manager = muster::make_connection_manager({}, std::make_shared<muster::AllowAnonymous>(),
                                                       std::make_shared<muster::AllowAll>(), components);
  muster::websocketpp::Server server(manager, {});
  server.start();
  const int port = server.port();
  server.stop();
  return port;
}
