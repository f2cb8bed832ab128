// A websocketpp server as programs have them: the stock endpoint, plain or over TLS, on a loop of the test's own.
#pragma once

#include <asio/io_context.hpp>
#include <asio/ssl/context.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <websocketpp/config/asio.hpp>
#include <websocketpp/server.hpp>

#include "muster/transports/websocketpp_attach.hpp"
#include "websocketpp/certificate.hpp"

namespace muster::test {

using PlainStock = ::websocketpp::server<::websocketpp::config::asio>;
using TlsStock = ::websocketpp::server<::websocketpp::config::asio_tls>;

template <class Server>
void prepare(Server& server, asio::io_context& io) {
  server.clear_access_channels(::websocketpp::log::alevel::all);
  server.clear_error_channels(::websocketpp::log::elevel::all);
  server.init_asio(&io);
  server.set_reuse_addr(true);
}

inline void use(TlsStock& server, const Certificate& certificate) {
  server.set_tls_init_handler([&certificate](const ::websocketpp::connection_hdl&) {
    auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
    context->use_certificate_chain_file(certificate.certificate_file);
    context->use_private_key_file(certificate.key_file, asio::ssl::context::pem);
    return context;
  });
}

/// Listens on a free port of the loopback; which one.
template <class Server>
std::uint16_t start(Server& server) {
  server.listen(asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  server.start_accept();
  asio::error_code error;
  return server.get_local_endpoint(error).port();
}

}  // namespace muster::test
