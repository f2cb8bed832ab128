// muster on the port of a Boost.Beast server: Beast accepts, reads each request and answers the program's own pages; who asks
// for an upgrade at /ws is handed over to muster, which has a loop and a thread of its own.
//
//   beast [port]    then, for instance: npx wscat -c ws://127.0.0.1:8080/ws -H "Authorization: Bearer ann-secret"
//   > {"type":"join","payload":{"room":"lobby"}}

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/version.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <muster/auth/allow_all.hpp>
#include <muster/auth/static_token_authenticator.hpp>
#include <muster/muster.hpp>
#include <muster/protocols/json_protocol.hpp>
#include <muster/transports/websocketpp.hpp>
#include <sstream>
#include <string>
#include <utility>

namespace beast = boost::beast;
namespace http = beast::http;
using boost::asio::ip::tcp;

// The program as it was: one connection and its requests, one after the other.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, muster::websocketpp::Server& muster) : stream_(std::move(socket)), muster_(muster) {}

  void read() {
    request_ = {};
    stream_.expires_after(std::chrono::seconds(30));
    http::async_read(stream_, buffer_, request_, [self = shared_from_this()](beast::error_code error, std::size_t) {
      if (!error) self->serve();
    });
  }

 private:
  void serve() {
    if (beast::websocket::is_upgrade(request_) && path() == "/ws") return hand_over();
    response_ = {};
    response_.version(request_.version());
    response_.set(http::field::content_type, "text/plain");
    const bool found = request_.method() == http::verb::get && path() == "/";
    response_.keep_alive(found && request_.keep_alive());
    response_.result(found ? http::status::ok : http::status::not_found);
    response_.body() = found ? "the program's own page\n" : "there is nothing here\n";
    response_.prepare_payload();
    http::async_write(stream_, response_, [self = shared_from_this()](beast::error_code error, std::size_t) {
      if (error) return;
      if (self->response_.keep_alive()) return self->read();
      beast::error_code ignored;
      self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    });
  }

  void hand_over() {
    std::ostringstream received;
    received << request_.base() << beast::buffers_to_string(buffer_.data());  // the head, and what was read behind it
    muster_.adopt(stream_.release_socket(), received.str());
  }

  [[nodiscard]] std::string path() const {
    const auto target = std::string(request_.target());
    return target.substr(0, target.find('?'));
  }

  beast::tcp_stream stream_;
  muster::websocketpp::Server& muster_;
  beast::flat_buffer buffer_;
  http::request<http::string_body> request_;
  http::response<http::string_body> response_;
};

void accept(tcp::acceptor& port, muster::websocketpp::Server& muster) {
  port.async_accept([&](beast::error_code error, tcp::socket socket) {
    if (error == boost::asio::error::operation_aborted) return;
    if (!error) std::make_shared<Session>(std::move(socket), muster)->read();
    accept(port, muster);
  });
}

int main(int argc, char** argv) try {
  boost::asio::io_context loop(1);
  boost::asio::signal_set signals(loop, SIGINT, SIGTERM);
  const auto number = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 8080);
  tcp::acceptor port(loop, tcp::endpoint(boost::asio::ip::address_v4::loopback(), number));

  // What muster adds: connections, rooms and presence for whoever comes to /ws with a token.
  muster::Components components;
  components.protocols = {std::make_shared<muster::JsonProtocol>()};
  muster::StaticTokenAuthenticator::Tokens tokens;
  tokens["ann-secret"].user = "ann";
  tokens["bob-secret"].user = "bob";
  auto manager =
      muster::make_connection_manager({}, std::make_shared<muster::StaticTokenAuthenticator>(std::move(tokens)),
                                      std::make_shared<muster::AllowAll>(), components);
  muster::websocketpp::ServerOptions options;
  options.listen = false;  // the port is Beast's
  muster::websocketpp::Server server(manager, options);
  server.start();
  accept(port, server);

  signals.async_wait([&](beast::error_code, int) { loop.stop(); });
  std::printf("listening on http://127.0.0.1:%u\n", static_cast<unsigned>(port.local_endpoint().port()));
  std::fflush(stdout);
  loop.run();
  port.close();
  server.stop();                         // everyone is told that the server is going away
} catch (const std::exception& error) {  // most often the port is taken
  std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
  return 1;
}
