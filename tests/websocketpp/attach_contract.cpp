// attach keeps the promises of a Transport on a stock server, plain and over TLS.
#include "websocketpp/socket_fixture.hpp"
#include "websocketpp/stock_server.hpp"

using namespace muster;
using test::SocketFixture;

TEST_CASE("an attached stock server is a transport", "[contract][transport][attach]") {
  test::transport_contract([](const auto& manager) {
    return std::make_unique<SocketFixture>(false, [&](asio::io_context& io) {
      const auto server = std::make_shared<test::PlainStock>();
      test::prepare(*server, io);
      muster::websocketpp::attach(*server, manager);
      return SocketFixture::Listening(server, test::start(*server));
    });
  });
}

TEST_CASE("an attached stock server is a transport over TLS", "[contract][transport][attach][tls]") {
  const test::Certificate certificate;
  test::transport_contract([&](const auto& manager) {
    return std::make_unique<SocketFixture>(true, [&](asio::io_context& io) {
      const auto server = std::make_shared<test::TlsStock>();
      test::prepare(*server, io);
      test::use(*server, certificate);
      muster::websocketpp::attach(*server, manager);
      return SocketFixture::Listening(server, test::start(*server));
    });
  });
}
