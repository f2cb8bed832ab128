// serve: the end of most examples here, as chat.cpp has it in full: listen, say where, and end with SIGINT or SIGTERM.
#pragma once

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <muster/connection_manager.hpp>
#include <muster/transports/websocketpp.hpp>
#include <utility>

/// The port is the first argument, or 8080. Returns what main() does: 0 when a signal has ended the server and every
/// connection is closed, 1 when it cannot listen, which it says.
/// `begin` gets the server before it starts; what it returns is kept until the server has stopped. Called before any thread
/// that must not be interrupted was started: the server's inherit that the signals are blocked, which are waited for here.
template <class Begin>
[[nodiscard]] int serve(std::shared_ptr<muster::IConnectionManager> manager, int argc, char** argv, Begin begin) try {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  muster::websocketpp::ServerOptions options;
  options.port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 8080);
  muster::websocketpp::Server server(std::move(manager), options);
  [[maybe_unused]] const auto kept = begin(server);
  server.start();
  std::printf("listening on http://127.0.0.1:%u\n", static_cast<unsigned>(server.port()));
  std::fflush(stdout);

  int signal = 0;
  sigwait(&ends, &signal);
  server.stop();  // everyone is told that the server is going away
  return 0;
} catch (const std::exception& error) {  // most often the port is taken
  std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
  return 1;
}
[[nodiscard]] inline int serve(std::shared_ptr<muster::IConnectionManager> manager, int argc, char** argv) {
  return serve(std::move(manager), argc, argv, [](muster::websocketpp::Server&) { return 0; });
}
