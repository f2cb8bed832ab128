// adopt: sockets and TLS streams of Boost.Asio and Boost.Beast. No Asio beside them: a translation unit has one of the two.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <memory>
#include <optional>
#include <thread>

#include "muster/transports/websocketpp.hpp"
#include "support/catch.hpp"
#include "support/recording_manager.hpp"
#include "support/wait_for.hpp"
#include "websocketpp/certificate.hpp"
#include "websocketpp/raw_client.hpp"

using namespace muster;
using boost::asio::ip::tcp;
using muster::websocketpp::AcceptedSocket;
using test::RawClient;
using test::wait_for;
namespace beast = boost::beast;
namespace ssl = boost::asio::ssl;

namespace {

/// Makes a stream of what was accepted, over which a request has come.
using Accept = std::function<AcceptedSocket(tcp::socket, ssl::context&)>;

AcceptedSocket plain(tcp::socket socket, ssl::context&) { return AcceptedSocket(std::move(socket)); }

AcceptedSocket asio_tls(tcp::socket socket, ssl::context& context) {
  ssl::stream<tcp::socket> stream(std::move(socket), context);
  stream.handshake(ssl::stream_base::server);
  return AcceptedSocket(std::move(stream));
}

AcceptedSocket beast_tls(tcp::socket socket, ssl::context& context) {
  beast::ssl_stream<beast::tcp_stream> stream(std::move(socket), context);
  stream.handshake(ssl::stream_base::server);
  return {beast::get_lowest_layer(stream).release_socket().release(), stream.native_handle()};
}

}  // namespace

TEST_CASE("sockets and TLS streams of Boost's are adopted", "[websocketpp][adopt][boost]") {
  const auto [accept, tls] =
      GENERATE(table<Accept, bool>({{Accept(plain), false}, {Accept(asio_tls), true}, {Accept(beast_tls), true}}));
  const test::Certificate certificate;
  const auto manager = std::make_shared<test::RecordingManager>();
  manager->echo = true;
  muster::websocketpp::ServerOptions options;
  options.listen = false;
  muster::websocketpp::Server server(manager, options);
  server.start();
  boost::asio::io_context io(1);
  ssl::context context(ssl::context::tls_server);
  context.use_certificate_chain_file(certificate.certificate_file);
  context.use_private_key_file(certificate.key_file, ssl::context::pem);
  tcp::acceptor port(io, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));

  RawClient client(port.local_endpoint().port(), tls);
  client.send(RawClient::upgrade_request() + test::text_frame("hello"));
  std::thread program([&, &of_its_own = accept] { server.adopt(of_its_own(port.accept(), context), {}); });
  CHECK(wait_for([&] {
    client.pump();
    return client.take_head().has_value();
  }));
  std::optional<RawClient::Frame> frame;
  CHECK(wait_for([&] {
    client.pump();
    return (frame = client.take_frame()).has_value();
  }));
  program.join();
  REQUIRE(frame);
  CHECK(frame->payload == "hello");
  client.cut();
  CHECK(wait_for([&] { return manager->reserved() == 0; }));
  server.stop();
}
