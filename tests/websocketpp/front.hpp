// Front: a program's own port on Asio, plain or TLS, which reads as much of a request as the test says and hands the socket on.
#pragma once

#include <array>
#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ssl/context.hpp>
#include <asio/ssl/stream.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "muster/transports/websocketpp.hpp"
#include "websocketpp/certificate.hpp"

namespace muster::test {

/// What a program's own port shows.
struct FrontTls {
  explicit FrontTls(const Certificate& certificate) {
    context.use_certificate_chain_file(certificate.certificate_file);
    context.use_private_key_file(certificate.key_file, asio::ssl::context::pem);
  }
  asio::ssl::context context{asio::ssl::context::tls_server};
};

class Front {
 public:
  using Hand = std::function<void(websocketpp::AcceptedSocket, std::string)>;
  using Tcp = asio::ip::tcp;
  using TlsStream = asio::ssl::stream<Tcp::socket>;
  static constexpr std::size_t whole_head = static_cast<std::size_t>(-1);

  Front(asio::io_context& io, const Certificate* certificate, Hand hand)
      : acceptor_(io, Tcp::endpoint(asio::ip::address_v4::loopback(), 0)), hand_(std::move(hand)) {
    if (certificate != nullptr) tls_ = std::make_unique<FrontTls>(*certificate);
    accept();
  }

  [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
  void close() { acceptor_.close(); }

  /// Of each request at least so much is read, in pieces of `piece`, unless its head has ended before.
  std::size_t at_least = whole_head;
  std::size_t piece = 4096;

 private:
  void accept() {
    acceptor_.async_accept([this](const asio::error_code& error, Tcp::socket socket) {
      if (error) return;
      if (tls_) {
        secure(std::make_shared<TlsStream>(std::move(socket), tls_->context));
      } else {
        read(std::make_shared<Tcp::socket>(std::move(socket)), std::make_shared<std::string>());
      }
      accept();
    });
  }

  void secure(const std::shared_ptr<TlsStream>& stream) {
    stream->async_handshake(asio::ssl::stream_base::server, [this, stream](const asio::error_code& error) {
      if (!error) read(stream, std::make_shared<std::string>());
    });
  }

  template <class Stream>
  void read(std::shared_ptr<Stream> stream, std::shared_ptr<std::string> received) {
    if (received->size() >= at_least || received->find("\r\n\r\n") != std::string::npos) {
      return hand_(std::move(*stream), std::move(*received));
    }
    const auto bytes = std::make_shared<std::string>(std::min(piece, at_least - received->size()), '\0');
    stream->async_read_some(asio::buffer(bytes->data(), bytes->size()),
                            [this, stream, received, bytes](const asio::error_code& error, std::size_t size) {
                              if (error) return;
                              received->append(*bytes, 0, size);
                              read(stream, received);
                            });
  }

  Tcp::acceptor acceptor_;
  std::unique_ptr<FrontTls> tls_;
  Hand hand_;
};

}  // namespace muster::test
