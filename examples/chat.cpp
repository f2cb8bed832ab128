// The smallest useful server: whoever joins the room "chat" hears who comes, who goes and what the others say.
//
//   chat [port]      then, for instance: npx wscat -c ws://127.0.0.1:8080/ws
//   > {"type":"join","payload":{"room":"chat"}}
//   > {"type":"say","payload":{"words":"hello"}}

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <muster/auth/allow_all.hpp>
#include <muster/auth/allow_anonymous.hpp>
#include <muster/muster.hpp>
#include <muster/protocols/json_protocol.hpp>
#include <muster/transports/websocketpp.hpp>
#include <string>

int main(int argc, char** argv) try {
  // Signals are waited for below; the server's threads inherit that they are blocked.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  // Who may connect, and who may do what, are always said.
  muster::Components components;
  components.protocols = {std::make_shared<muster::JsonProtocol>()};
  auto manager = muster::make_connection_manager({}, std::make_shared<muster::AllowAnonymous>(),
                                                 std::make_shared<muster::AllowAll>(), components);

  // A message type of our own, and two hooks. A connection publishes to everyone in the room but itself.
  manager->on("say", [](muster::Connection& speaker, const muster::Payload& what) { speaker.publish("chat", what); });
  manager->on_joined([](muster::Connection& who, const muster::RoomKey& room, const muster::Joining&) {
    who.publish(room.name, muster::json("{\"came\":\"" + who.identity().user + "\"}"));
  });
  manager->on_left([](muster::Connection& who, const muster::RoomKey& room, const muster::Leaving&) {
    who.publish(room.name, muster::json("{\"went\":\"" + who.identity().user + "\"}"));
  });

  muster::websocketpp::ServerOptions options;
  options.port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 8080);
  muster::websocketpp::Server server(manager, options);
  server.start();
  std::printf("listening on http://127.0.0.1:%u\n", static_cast<unsigned>(server.port()));
  std::fflush(stdout);

  int signal = 0;
  sigwait(&ends, &signal);
  server.stop();                         // everyone is told that the server is going away
} catch (const std::exception& error) {  // most often the port is taken
  std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
  return 1;
}
