// A WebSocket client that is nothing but a socket: it sends what the test says, however wrong, and keeps what it gets.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::test {

/// One masked frame, as clients send them (RFC 6455, 5.2, 5.3). `first` is the first byte: fin, rsv and opcode.
inline std::string masked_frame(std::uint8_t first, std::string_view payload, std::uint32_t mask = 0x12345678U) {
  std::string out(1, static_cast<char>(first));
  const std::uint64_t size = payload.size();
  const int digits = size < 126 ? 0 : size <= 0xffff ? 2 : 8;
  out.push_back(static_cast<char>(0x80U | (digits == 0 ? static_cast<unsigned>(size) : digits == 2 ? 126U : 127U)));
  for (int shift = 8 * (digits - 1); shift >= 0; shift -= 8) out.push_back(static_cast<char>((size >> shift) & 0xffU));
  char key[4];
  for (int i = 0; i < 4; ++i) key[i] = static_cast<char>((mask >> (24 - 8 * i)) & 0xffU);
  out.append(key, 4);
  for (std::size_t i = 0; i < payload.size(); ++i) out.push_back(static_cast<char>(payload[i] ^ key[i % 4]));
  return out;
}

inline std::string text_frame(std::string_view payload) { return masked_frame(0x81, payload); }
inline std::string binary_frame(std::string_view payload) { return masked_frame(0x82, payload); }
inline std::string close_frame(std::uint16_t code, std::string_view text = {}) {
  std::string payload{static_cast<char>(code >> 8U), static_cast<char>(code & 0xffU)};
  return masked_frame(0x88, payload.append(text));
}

/// Never blocks: `pump` moves what can be moved, and tests pump until what they wait for is there.
class RawClient {
 public:
  /// Connects to this port on 127.0.0.1. `receive_buffer` makes a peer that takes little at a time.
  explicit RawClient(std::uint16_t port, bool with_tls = false, int receive_buffer = 0)
      : descriptor_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (descriptor_ < 0) throw std::runtime_error("socket");
    if (receive_buffer != 0) ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    const int on = 1;
    ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      ::close(descriptor_);
      throw std::runtime_error("connect");
    }
    if (with_tls) {
      context_.reset(SSL_CTX_new(TLS_client_method()));
      secure(SSL_new(context_.get()));
    }
  }
  /// Connects with this TLS, which becomes its own.
  RawClient(std::uint16_t port, SSL* tls) : RawClient(port) { secure(tls); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  ~RawClient() { cut(); }

  /// The upgrade's request. `extra` are whole header lines; a header that `without` names is left out.
  static std::string upgrade_request(std::string_view extra = {}, std::string_view target = "/ws",
                                     std::string_view without = {}) {
    std::string request = "GET " + std::string(target) + " HTTP/1.1\r\n";
    for (const std::string_view line : {"Host: localhost", "Upgrade: websocket", "Connection: keep-alive, Upgrade",
                                        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}) {
      if (without.empty() || line.substr(0, without.size() + 1) != std::string(without) + ":")
        request.append(line).append("\r\n");
    }
    return request.append(extra).append("\r\n");
  }

  void send(std::string_view bytes) {
    out_.append(bytes);
    pump();
  }
  /// Before TLS.
  void send_raw(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) throw std::runtime_error("send");
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  void stall(bool on) { stalled_ = on; }
  /// No more from us; what comes is still read.
  void end_sending() { ::shutdown(descriptor_, SHUT_WR); }
  /// Gone, without a word.
  void cut() {
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
    ended_ = true;
  }
  /// Gone, and the other side is told that nothing arrived.
  void reset() {
    const linger now{1, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    cut();
  }

  void pump() {
    if (descriptor_ < 0) return;
    if (tls_) {
      if (!SSL_is_init_finished(tls_.get())) (void)SSL_do_handshake(tls_.get());
      while (!out_.empty() && SSL_is_init_finished(tls_.get())) {
        const int n = SSL_write(tls_.get(), out_.data(), static_cast<int>(std::min<std::size_t>(out_.size(), 1 << 20)));
        if (n <= 0) break;
        out_.erase(0, static_cast<std::size_t>(n));
      }
      char bytes[16 * 1024];
      for (int n = 0;
           wire_out_.size() < sizeof bytes && (n = BIO_read(SSL_get_wbio(tls_.get()), bytes, sizeof bytes)) > 0;) {
        wire_out_.append(bytes, static_cast<std::size_t>(n));
      }
    }
    std::string& wire = tls_ ? wire_out_ : out_;
    std::size_t sent = 0;
    while (sent < wire.size()) {
      const ssize_t n = ::send(descriptor_, wire.data() + sent, wire.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n <= 0) {
        if (n < 0 && errno != EAGAIN) sent = wire.size();
        break;
      }
      sent += static_cast<std::size_t>(n);
    }
    wire.erase(0, sent);
    if (!stalled_) read_all();
  }

  /// Everything received that was not taken yet.
  std::string in;
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] bool was_reset() const { return reset_; }
  /// The serial number of the certificate that TLS was shown; 0: none yet.
  [[nodiscard]] long serial() const {
    X509* const shown = tls_ ? SSL_get0_peer_certificate(tls_.get()) : nullptr;
    return shown != nullptr ? ASN1_INTEGER_get(X509_get0_serialNumber(shown)) : 0;
  }
  /// Null: plain.
  [[nodiscard]] SSL* tls() const { return tls_.get(); }
  [[nodiscard]] bool all_sent() const { return out_.empty() && wire_out_.empty(); }

  /// What has arrived the moment that anything has, without taking it; empty after ten seconds. Spins, to be the first.
  [[nodiscard]] std::string first_arrival() const {
    if (!in.empty()) return in;  // it came as soon as the request was sent
    char bytes[16 * 1024];
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < end) {
      const ssize_t n = ::recv(descriptor_, bytes, sizeof bytes, MSG_DONTWAIT | MSG_PEEK);
      if (n > 0) return {bytes, static_cast<std::size_t>(n)};
    }
    return {};
  }

  /// The head of an HTTP answer, taken from `in`.
  std::optional<std::string> take_head() {
    const std::size_t end = in.find("\r\n\r\n");
    if (end == std::string::npos) return std::nullopt;
    std::string head = in.substr(0, end + 4);
    in.erase(0, end + 4);
    return head;
  }

  struct Frame {
    unsigned first = 0;
    std::string payload;
    [[nodiscard]] unsigned opcode() const { return first & 0x0fU; }
    [[nodiscard]] std::uint16_t code() const {
      return payload.size() < 2 ? std::uint16_t{0}
                                : static_cast<std::uint16_t>(static_cast<unsigned char>(payload[0]) << 8U |
                                                             static_cast<unsigned char>(payload[1]));
    }
  };
  /// One whole frame, taken from `in`.
  std::optional<Frame> take_frame() {
    const auto byte = [this](std::size_t i) { return static_cast<unsigned char>(in[i]); };
    if (in.size() < 2) return std::nullopt;
    std::uint64_t size = byte(1) & 0x7fU;
    std::size_t header = 2;
    if (size >= 126) {
      const std::size_t digits = size == 126 ? 2 : 8;
      if (in.size() < 2 + digits) return std::nullopt;
      size = 0;
      for (std::size_t i = 0; i < digits; ++i) size = size << 8U | byte(2 + i);
      header += digits;
    }
    if (in.size() - header < size || in.size() < header) return std::nullopt;
    Frame frame{byte(0), in.substr(header, static_cast<std::size_t>(size))};
    in.erase(0, header + static_cast<std::size_t>(size));
    return frame;
  }

 private:
  void secure(SSL* tls) {
    tls_.reset(tls);
    SSL_set_bio(tls, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(tls);
  }
  void read_all() {
    char bytes[64 * 1024];
    for (;;) {
      const ssize_t n = ::recv(descriptor_, bytes, sizeof bytes, MSG_DONTWAIT);
      if (n < 0 && errno == EAGAIN) break;
      if (n <= 0) {
        ended_ = true;
        reset_ = n < 0;
        break;
      }
      if (tls_) {
        BIO_write(SSL_get_rbio(tls_.get()), bytes, static_cast<int>(n));
      } else {
        in.append(bytes, static_cast<std::size_t>(n));
      }
    }
    if (!tls_) return;
    for (int n = 0; (n = SSL_read(tls_.get(), bytes, sizeof bytes)) > 0;) in.append(bytes, static_cast<std::size_t>(n));
  }

  struct Free {
    void operator()(SSL* tls) const { SSL_free(tls); }
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  int descriptor_;
  std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL, Free> tls_;
  std::string out_;
  std::string wire_out_;
  bool stalled_ = false;
  bool ended_ = false;
  bool reset_ = false;
};

}  // namespace muster::test
