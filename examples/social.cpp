// A social application: messages, receipts, who is typing, payments, likes, and who is online. Its events: social.hpp.
//
//   social [port]    then, in two terminals: npx wscat -c ws://127.0.0.1:8080/ws -H "Authorization: Bearer ann"
//   > {"type":"join","payload":{"room":"inbox:ann"}}
//   > {"type":"message","id":1,"payload":{"to":"bob","text":"hello"}}
//
// Whoever comes with a token is the user of that name, to keep the example small: not for use.

#include "social.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <muster/auth/callback_authenticator.hpp>
#include <muster/muster.hpp>
#include <muster/protocols/json_protocol.hpp>
#include <muster/transports/websocketpp.hpp>
#include <string>

int main(int argc, char** argv) {
  // Signals are waited for below; the server's threads inherit that they are blocked.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  const auto users = muster::callback_authenticator([](const muster::Credentials& credentials, const auto& done) {
    muster::Identity who{credentials.token, "", {}, {}};
    if (who.user == "staff") who.roles.emplace_back("staff");
    done(muster::accept(std::move(who)));
  });
  const auto rules =
      muster::callback_authorizer([](const muster::Access& access, const auto& done) { done(Social::may(access)); });
  muster::Components components;
  components.protocols = {std::make_shared<muster::JsonProtocol>()};
  const auto manager = muster::make_connection_manager(Social::options(), users, rules, components);
  Social social(*manager);

  muster::websocketpp::ServerOptions options;
  options.port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 8080);
  muster::websocketpp::Server server(manager, options);
  server.start();
  std::printf("listening on http://127.0.0.1:%u\n", static_cast<unsigned>(server.port()));
  std::fflush(stdout);

  int signal = 0;
  sigwait(&ends, &signal);
  server.stop();  // everyone is told that the server is going away
}
