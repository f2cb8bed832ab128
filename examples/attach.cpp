// muster on a websocketpp server that was there before it: the program's own echo at /echo and its page at / stay, and
// /ws becomes muster's.
//
//   attach [port]    then, for instance: npx wscat -c ws://127.0.0.1:8080/ws -H "Authorization: Bearer ann-secret"
//   > {"type":"join","payload":{"room":"lobby"}}

// After a header of the standard library, as with Asio.
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <muster/auth/allow_all.hpp>
#include <muster/auth/static_token_authenticator.hpp>
#include <muster/muster.hpp>
#include <muster/protocols/json_protocol.hpp>
#include <muster/transports/websocketpp_attach.hpp>
#include <string>
#include <system_error>
#include <utility>
#include <websocketpp/config/asio_no_tls.hpp>
#include <websocketpp/server.hpp>

using Server = websocketpp::server<websocketpp::config::asio>;

// The program as it was: an endpoint with its handlers.
void set_up(Server& server, asio::io_context& loop) {
  server.clear_access_channels(websocketpp::log::alevel::all);
  server.clear_error_channels(websocketpp::log::elevel::all);
  server.init_asio(&loop);
  server.set_reuse_addr(true);
  server.set_message_handler([&server](websocketpp::connection_hdl from, const Server::message_ptr& message) {
    std::error_code gone;
    server.send(from, message->get_payload(), message->get_opcode(), gone);
  });
  server.set_http_handler([&server](websocketpp::connection_hdl from) {
    const Server::connection_ptr connection = server.get_con_from_hdl(std::move(from));
    connection->set_status(websocketpp::http::status_code::ok);
    connection->set_body("the program's own page\n");
  });
}

int main(int argc, char** argv) try {
  asio::io_context loop(1);
  Server server;
  set_up(server, loop);

  // What muster adds: connections, rooms and presence for whoever comes to /ws with a token.
  muster::Components components;
  components.protocols = {std::make_shared<muster::JsonProtocol>()};
  muster::StaticTokenAuthenticator::Tokens tokens;
  tokens["ann-secret"].user = "ann";
  tokens["bob-secret"].user = "bob";
  auto manager =
      muster::make_connection_manager({}, std::make_shared<muster::StaticTokenAuthenticator>(std::move(tokens)),
                                      std::make_shared<muster::AllowAll>(), components);
  muster::websocketpp::AttachOptions options;
  options.path = "/ws";
  options.other_paths = [&server](websocketpp::connection_hdl who) {  // the program's validate handler, if it has one
    return server.get_con_from_hdl(std::move(who))->get_resource() == "/echo";
  };
  muster::websocketpp::attach(server, manager, options);  // before start_accept

  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 8080);
  std::error_code taken;
  server.listen(asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), port), taken);
  if (taken) throw std::system_error(taken, "cannot listen on 127.0.0.1:" + std::to_string(port));
  server.start_accept();

  asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](const asio::error_code&, int) {
    std::error_code ignored;
    server.stop_listening(ignored);
    manager->shutdown([&] { asio::post(loop, [&] { loop.stop(); }); });
  });

  asio::error_code error;
  std::printf("listening on http://127.0.0.1:%u\n", static_cast<unsigned>(server.get_local_endpoint(error).port()));
  std::fflush(stdout);
  loop.run();
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
  return 1;
}
