// muster on the port of a program that was there before it, and that is no websocketpp server: it accepts, reads a request's
// head, answers its own page at / itself, and hands the socket of whoever asks for /ws over to muster.
//
//   adopt [port]    then, for instance: npx wscat -c ws://127.0.0.1:8080/ws -H "Authorization: Bearer ann-secret"
//   > {"type":"join","payload":{"room":"lobby"}}

#include <array>
#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/read_until.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>
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
#include <string>
#include <string_view>
#include <utility>

using asio::ip::tcp;

// The program as it was: one connection, from its request to the answer.
class Visitor : public std::enable_shared_from_this<Visitor> {
 public:
  Visitor(tcp::socket socket, muster::websocketpp::Listener& muster)
      : socket_(std::move(socket)), deadline_(socket_.get_executor()), muster_(muster) {}

  void serve() {
    deadline_.expires_after(std::chrono::seconds(10));
    deadline_.async_wait([self = weak_from_this()](const asio::error_code& error) {
      const auto visitor = self.lock();
      if (!error && visitor) visitor->socket_.close();
    });
    asio::async_read_until(socket_, asio::dynamic_buffer(received_, 8192), "\r\n\r\n",
                           [self = shared_from_this()](const asio::error_code& error, std::size_t) {
                             if (!error) self->answer();
                           });
  }

 private:
  void answer() {
    const std::string_view target = std::string_view(received_).substr(received_.find(' ') + 1);
    if (target.rfind("/ws ", 0) == 0 || target.rfind("/ws?", 0) == 0) {
      // All that was read goes along: the head, and what a client in a hurry has sent behind it.
      return muster_.adopt(std::move(socket_), std::move(received_));
    }
    const bool found = received_.rfind("GET / ", 0) == 0;
    const std::string body = found ? "the program's own page\n" : "there is nothing here\n";
    answer_ = std::string("HTTP/1.1 ") + (found ? "200 OK" : "404 Not Found") +
              "\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(body.size()) +
              "\r\n\r\n" + body;
    asio::async_write(socket_, asio::buffer(answer_),
                      [self = shared_from_this()](const asio::error_code&, std::size_t) {
                        asio::error_code ignored;
                        self->socket_.shutdown(tcp::socket::shutdown_send, ignored);
                      });
  }

  tcp::socket socket_;
  asio::steady_timer deadline_;
  muster::websocketpp::Listener& muster_;
  std::string received_;
  std::string answer_;
};

void accept(tcp::acceptor& port, muster::websocketpp::Listener& muster) {
  port.async_accept([&](const asio::error_code& error, tcp::socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (!error) std::make_shared<Visitor>(std::move(socket), muster)->serve();
    accept(port, muster);
  });
}

int main(int argc, char** argv) try {
  asio::io_context loop(1);
  const auto number = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 8080);
  tcp::acceptor port(loop, tcp::endpoint(asio::ip::address_v4::loopback(), number));

  // What muster adds: connections, rooms and presence for whoever comes to /ws with a token.
  muster::Components components;
  components.protocols = {std::make_shared<muster::JsonProtocol>()};
  muster::StaticTokenAuthenticator::Tokens tokens;
  tokens["ann-secret"].user = "ann";
  tokens["bob-secret"].user = "bob";
  auto manager =
      muster::make_connection_manager({}, std::make_shared<muster::StaticTokenAuthenticator>(std::move(tokens)),
                                      std::make_shared<muster::AllowAll>(), components);
  muster::websocketpp::ListenerOptions options;
  options.listen = false;  // the port is the program's
  muster::websocketpp::Listener listener(loop, manager, options);
  accept(port, listener);

  asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](const asio::error_code&, int) {
    port.close();
    manager->shutdown([&] { asio::post(loop, [&] { loop.stop(); }); });
  });

  std::printf("listening on http://127.0.0.1:%u\n", static_cast<unsigned>(port.local_endpoint().port()));
  std::fflush(stdout);
  loop.run();
} catch (const std::exception& error) {  // most often the port is taken
  std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
  return 1;
}
