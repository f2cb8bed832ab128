// One accepted socket, plain or TLS: non-blocking reads, gather writes, and its end.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "muster/span.hpp"
#include "muster/transports/websocketpp.hpp"
#include "muster/transports/websocketpp/asio.ipp"
#include "muster/transports/websocketpp/tls.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

enum class IoStatus : std::uint8_t { done, read_again, write_again, end, failed };

/// How much the system keeps unsent of what is written to a socket, or to those that a listening one accepts; 0: as it
/// does. A system that has no such bound goes without.
MUSTER_INLINE void set_unsent_low_water(int descriptor, std::size_t bytes) noexcept {
#if defined(TCP_NOTSENT_LOWAT)
  const int value = static_cast<int>(std::min<std::size_t>(bytes, 1U << 30U));
  if (value != 0) (void)::setsockopt(descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, sizeof value);
#else
  (void)descriptor;
  (void)bytes;
#endif
}

/// What the system holds for a socket's peer: not sent, or not acknowledged.
MUSTER_INLINE std::size_t unsent_in_system(int descriptor) noexcept {
  int bytes = 0;
  return ::ioctl(descriptor, TIOCOUTQ, &bytes) == 0 && bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

/// A place in a list of spans that is being written.
struct Cursor {
  const Span* spans = nullptr;
  std::size_t count = 0;
  /// Bytes of the first span that are out already.
  std::size_t offset = 0;

  void advance(std::size_t bytes) {
    bytes += offset;
    while (count != 0 && bytes >= spans->size) {
      bytes -= spans->size;
      ++spans;
      --count;
    }
    offset = bytes;
  }
  [[nodiscard]] std::size_t left() const {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < count; ++i) bytes += spans[i].size;
    return bytes - offset;
  }
};

/// The descriptor of one socket, plain or TLS. Waiting for readiness is the socket's; here nothing waits.
class Stream {
 public:
  Stream(int descriptor, Tls tls) noexcept
      : tls_(std::move(tls)), descriptor_(descriptor), unfinished_(tls_ && SSL_has_pending(tls_.get()) != 0) {}
  Stream(Stream&& other) noexcept
      : tls_(std::move(other.tls_)),
        descriptor_(std::exchange(other.descriptor_, -1)),
        unfinished_(other.unfinished_),
        broken_(other.broken_) {}
  Stream& operator=(Stream&&) = delete;
  ~Stream() { release(); }

  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  [[nodiscard]] bool is_tls() const noexcept { return tls_ != nullptr; }

  /// What has come in before TLS, of which `take` removes as much as is called for.
  IoStatus peek(char* to, std::size_t size, std::size_t& got) { return receive(to, size, MSG_PEEK, got); }
  void take(char* to, std::size_t size) {
    std::size_t got = 0;
    (void)receive(to, size, 0, got);
  }

  /// One step of the TLS handshake. `refused` becomes what was wrong with the client's certificate, if it failed for that.
  IoStatus handshake(std::string& refused) {
    if (broken_) return IoStatus::failed;
    ERR_clear_error();
    const int result = SSL_accept(tls_.get());
    if (result == 1) return IoStatus::done;
    const int reason = ERR_GET_REASON(ERR_peek_last_error());
    const IoStatus status = tls_status(result);
    if (status == IoStatus::failed && reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
      refused = "The client has shown no certificate";
    } else if (status == IoStatus::failed && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
      refused = "The client's certificate is not good: ";
      refused += X509_verify_cert_error_string(SSL_get_verify_result(tls_.get()));
    }
    return status;
  }

  /// As ClientCertificate is shown.
  [[nodiscard]] std::optional<ClientCertificate> client_certificate() const { return verified_certificate(tls_.get()); }

  /// Reads what is there, up to `size`. `done` comes with at least one byte.
  IoStatus read(char* to, std::size_t size, std::size_t& got) {
    got = 0;
    unfinished_ = false;
    if (!tls_) return receive(to, size, 0, got);
    IoStatus status = broken_ ? IoStatus::failed : IoStatus::done;
    while (got < size && !broken_) {
      ERR_clear_error();
      std::size_t n = 0;
      const int result = SSL_read_ex(tls_.get(), to + got, size - got, &n);
      if (result != 1) {
        status = tls_status(result);
        break;
      }
      got += n;
    }
    if (got == 0) return status;
    unfinished_ = status != IoStatus::read_again;
    return IoStatus::done;
  }

  /// Reads what nobody wants to know.
  IoStatus discard(char* to, std::size_t size) {
    std::size_t got = 0;
    return broken_ ? receive(to, size, 0, got) : read(to, size, got);
  }

  /// After a `read` that was done: whether there may be more that readiness of the socket would not tell.
  [[nodiscard]] bool unfinished() const noexcept { return unfinished_; }

  /// Writes on from the cursor. `scratch` is where TLS gathers what a record takes.
  IoStatus write(Cursor& cursor, char* scratch) {
    if (tls_) return write_tls(cursor, scratch);
    return cursor.count == 1 ? write_one(cursor) : write_plain(cursor);
  }

  static constexpr std::size_t scratch_size = 16 * 1024;

  /// Nothing more will be written; the peer sees the end once it has read all.
  void shutdown_write() {
    if (tls_ && !broken_ && SSL_is_init_finished(tls_.get()) != 0) {
      ERR_clear_error();
      (void)SSL_shutdown(tls_.get());
    }
    (void)::shutdown(descriptor_, SHUT_WR);
  }

  /// Lets go of all it has.
  void release() noexcept {
    close(false);
    tls_.reset();
  }
  /// Releases the descriptor. With `reset` what is unsent is dropped, and the peer is told so.
  void close(bool reset) noexcept {
    if (descriptor_ < 0) return;
    const linger none{1, 0};
    if (reset) (void)::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    (void)::close(std::exchange(descriptor_, -1));
  }

 private:
  IoStatus receive(char* to, std::size_t size, int flags, std::size_t& got) {
    ssize_t n = 0;
    do n = ::recv(descriptor_, to, size, MSG_DONTWAIT | flags);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
      got = static_cast<std::size_t>(n);
      return IoStatus::done;
    }
    if (n == 0) return IoStatus::end;
    return errno == EAGAIN || errno == EWOULDBLOCK ? IoStatus::read_again : IoStatus::failed;
  }

  IoStatus write_plain(Cursor& cursor) {
    // 1024 is what Linux takes in one call (IOV_MAX).
    std::array<iovec, 1024> vectors;
    while (cursor.count != 0) {
      const std::size_t count = std::min(cursor.count, vectors.size());
      std::size_t asked = 0;
      for (std::size_t i = 0; i < count; ++i) {
        const std::size_t skip = i == 0 ? cursor.offset : 0;
        vectors[i].iov_base = const_cast<char*>(cursor.spans[i].data + skip);
        vectors[i].iov_len = cursor.spans[i].size - skip;
        asked += vectors[i].iov_len;
      }
      msghdr message{};
      message.msg_iov = vectors.data();
      message.msg_iovlen = count;
      const ssize_t n = ::sendmsg(descriptor_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0) {
        if (errno == EINTR) continue;
        return errno == EAGAIN || errno == EWOULDBLOCK ? IoStatus::write_again : IoStatus::failed;
      }
      cursor.advance(static_cast<std::size_t>(n));
      if (static_cast<std::size_t>(n) < asked) return IoStatus::write_again;
    }
    return IoStatus::done;
  }

  /// What a fan-out writes is most often one span, and `send` is the cheaper call.
  IoStatus write_one(Cursor& cursor) {
    const std::size_t size = cursor.spans->size - cursor.offset;
    ssize_t n = 0;
    do n = ::send(descriptor_, cursor.spans->data + cursor.offset, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? IoStatus::write_again : IoStatus::failed;
    cursor.advance(static_cast<std::size_t>(n));
    return static_cast<std::size_t>(n) < size ? IoStatus::write_again : IoStatus::done;
  }

  IoStatus write_tls(Cursor& cursor, char* scratch) {
    if (broken_) return IoStatus::failed;
    cursor.advance(0);
    while (cursor.count != 0) {
      // What fills a record by itself, or is all there is, need not be copied, which is up to a tenth of a write's CPU.
      const char* record = cursor.spans->data + cursor.offset;
      std::size_t size = std::min(cursor.spans->size - cursor.offset, scratch_size);
      if (cursor.count != 1 && size != scratch_size) {
        std::memcpy(scratch, record, size);
        record = scratch;
        for (std::size_t i = 1; i < cursor.count && size < scratch_size; ++i) {
          const std::size_t part = std::min(cursor.spans[i].size, scratch_size - size);
          std::memcpy(scratch + size, cursor.spans[i].data, part);
          size += part;
        }
      }
      ERR_clear_error();
      std::size_t n = 0;
      const int result = SSL_write_ex(tls_.get(), record, size, &n);
      if (result != 1) return tls_status(result);
      cursor.advance(n);
    }
    return IoStatus::done;
  }

  /// Behind SSL_ERROR_SSL and SSL_ERROR_SYSCALL nothing more may be asked of OpenSSL: SSL_get_error(3).
  IoStatus tls_status(int result) {
    switch (SSL_get_error(tls_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        return IoStatus::read_again;
      case SSL_ERROR_WANT_WRITE:
        return IoStatus::write_again;
      case SSL_ERROR_ZERO_RETURN:
        return IoStatus::end;
      default:
        broken_ = true;
        ERR_clear_error();
        return IoStatus::failed;
    }
  }

  Tls tls_;
  int descriptor_;
  bool unfinished_;
  bool broken_ = false;  // TLS has failed
};

/// Takes over an established TLS, which reads and writes this descriptor from now on: what it holds of the peer's is in
/// `decrypted`, what it has in hand of ours is out already. Throws std::invalid_argument where that is not so.
[[nodiscard]] MUSTER_INLINE Tls take_over(SSL* tls, int descriptor, std::string& decrypted) {
  BIO* const before = SSL_get_rbio(tls);
  if (before == nullptr || SSL_is_init_finished(tls) == 0) {
    throw std::invalid_argument("adopt: the handshake of this TLS is not made");
  }
  if (BIO_wpending(SSL_get_wbio(tls)) != 0) {
    throw std::invalid_argument("adopt: this TLS has bytes to send; wait until what is under way on it is done");
  }
  TlsBio writer = SocketBio::make(descriptor);
  TlsBio reader = SocketBio::make(descriptor);
  if (!writer || !reader || SSL_up_ref(tls) != 1) throw std::bad_alloc();
  Tls taken(tls);
  SSL_set_mode(tls, tls_mode);
  SSL_set_options(tls, SSL_OP_NO_RENEGOTIATION);
  // One of OpenSSL's own may be about to close the descriptor with itself.
  (void)BIO_set_close(before, BIO_NOCLOSE);
  (void)BIO_set_close(SSL_get_wbio(tls), BIO_NOCLOSE);
  SSL_set0_wbio(tls, writer.release());
  // What came in lies in a BIO of memory, as Asio's is, unless OpenSSL reads the descriptor itself.
  if ((static_cast<unsigned>(BIO_method_type(before)) & BIO_TYPE_DESCRIPTOR) == 0) {
    std::array<char, 4096> bytes;
    std::size_t size = 0;
    ERR_clear_error();
    while (SSL_read_ex(tls, bytes.data(), bytes.size(), &size) == 1) decrypted.append(bytes.data(), size);
    ERR_clear_error();  // that of a peer's is found again by whoever reads on
  }
  SSL_set0_rbio(tls, reader.release());
  return taken;
}

}  // namespace detail

MUSTER_INLINE AcceptedSocket::AcceptedSocket(int descriptor, ssl_st* tls) : descriptor_(descriptor) {
  if (descriptor < 0 || tls == nullptr) return;
  try {
    tls_ = detail::take_over(tls, descriptor, decrypted_).release();
  } catch (...) {
    ::close(descriptor);
    throw;
  }
}

MUSTER_INLINE AcceptedSocket::AcceptedSocket(AcceptedSocket&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      tls_(std::exchange(other.tls_, nullptr)),
      decrypted_(std::move(other.decrypted_)) {}

MUSTER_INLINE AcceptedSocket::~AcceptedSocket() {
  SSL_free(tls_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
