// A broadcast server as programs on websocketpp have it, which muster is measured against: the stock configuration on
// Asio, a set of connections, and each message sent to each of them. One room; no limits, no authentication.
// usage: muster_bench_plain_server [PORT]

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <set>
#include <websocketpp/config/asio_no_tls.hpp>
#include <websocketpp/server.hpp>

#include "sockets.hpp"

namespace muster::bench {
namespace {

class PlainServer {
 public:
  explicit PlainServer(std::uint16_t port) {
    server_.clear_access_channels(::websocketpp::log::alevel::all);
    server_.clear_error_channels(::websocketpp::log::elevel::all);
    server_.init_asio();
    server_.set_reuse_addr(true);
    // As every other server here has it; a socket of Asio's does not by itself.
    server_.set_socket_init_handler([](const ::websocketpp::connection_hdl&, asio::ip::tcp::socket& socket) {
      asio::error_code ignored;
      socket.set_option(asio::ip::tcp::no_delay(true), ignored);
    });
    server_.set_open_handler([this](::websocketpp::connection_hdl connection) {
      connections_.insert(connection);
      ::websocketpp::lib::error_code ignored;
      server_.send(connection, R"({"type":"room_joined"})", ::websocketpp::frame::opcode::text, ignored);
    });
    server_.set_close_handler([this](::websocketpp::connection_hdl connection) { connections_.erase(connection); });
    server_.set_message_handler([this](const ::websocketpp::connection_hdl&, const Server::message_ptr& message) {
      for (const auto& connection : connections_) {
        ::websocketpp::lib::error_code ignored;
        server_.send(connection, message->get_payload(), message->get_opcode(), ignored);
      }
    });
    server_.listen(asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), port));
    server_.start_accept();
  }

  [[nodiscard]] unsigned port() {
    asio::error_code error;
    return server_.get_local_endpoint(error).port();
  }

  void run() { server_.run(); }

 private:
  using Server = ::websocketpp::server<::websocketpp::config::asio>;
  Server server_;
  std::set<::websocketpp::connection_hdl, std::owner_less<::websocketpp::connection_hdl>> connections_;
};

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  muster::bench::raise_file_limit();
  muster::bench::PlainServer server(static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0));
  std::printf("listening on http://127.0.0.1:%u\n", server.port());
  std::fflush(stdout);
  server.run();
}
