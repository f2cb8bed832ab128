// TLS: how OpenSSL reaches a socket, and what all TLS sockets of a listener share.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "muster/thread_safety.hpp"
#include "muster/transports/websocketpp.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

struct FreeTls {
  void operator()(SSL* tls) const { SSL_free(tls); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Tls = std::unique_ptr<SSL, FreeTls>;
using TlsBio = std::unique_ptr<BIO, FreeTls>;

/// How OpenSSL reaches a socket. Its own socket BIO uses write(), which raises SIGPIPE; a library must not, nor may it
/// ignore the signal for the whole program.
class SocketBio {
 public:
  /// On this descriptor, which it does not own; none when memory is short.
  [[nodiscard]] static TlsBio make(int descriptor) {
    static const BIO_METHOD* const method = make_method();  // a constant, which sockets point to until the very end
    TlsBio bio(method != nullptr ? BIO_new(method) : nullptr);
    if (!bio) return nullptr;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): what it is given is the descriptor itself
    BIO_set_data(bio.get(), reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor)));
    BIO_set_init(bio.get(), 1);
    return bio;
  }

 private:
  static const BIO_METHOD* make_method() {
    BIO_METHOD* const method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "muster");
    if (method == nullptr) return nullptr;
    BIO_meth_set_write(method, [](BIO* bio, const char* data, int size) {
      return transfer(bio, BIO_FLAGS_WRITE, [&](int descriptor) {
        return ::send(descriptor, data, static_cast<std::size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
      });
    });
    BIO_meth_set_read(method, [](BIO* bio, char* data, int size) {
      return transfer(bio, BIO_FLAGS_READ, [&](int descriptor) {
        return ::recv(descriptor, data, static_cast<std::size_t>(size), MSG_DONTWAIT);
      });
    });
    BIO_meth_set_ctrl(method, [](BIO*, int command, long, void*) -> long { return command == BIO_CTRL_FLUSH ? 1 : 0; });
    return method;
  }

  template <class Call>
  static int transfer(BIO* bio, int retry, Call call) {
    BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    const auto n = call(static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio))));
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
      BIO_set_flags(bio, retry | BIO_FLAGS_SHOULD_RETRY);
    }
    return static_cast<int>(n);
  }
};

/// An idle connection then holds no record buffers, which are 34 KiB; and a write resumes from wherever its bytes are.
constexpr long tls_mode =
    SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER;

/// A certificate and its key.
class TlsContext {
 public:
  /// Throws std::runtime_error that names the file.
  TlsContext(const std::string& certificate_file, const std::string& key_file) { load(certificate_file, key_file); }

  /// From now on this certificate; sockets that are wrapped keep theirs. Throws as above, and then has changed nothing.
  /// Any thread.
  void load(const std::string& certificate_file, const std::string& key_file) {
    std::unique_ptr<SSL_CTX, FreeTls> context(SSL_CTX_new(TLS_server_method()));
    if (!context) throw std::bad_alloc();
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_options(context.get(),
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context.get(), tls_mode);
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
    must_open(certificate_file, "TLS certificate ");
    must_open(key_file, "TLS key ");
    // Nobody is there to be asked: without this OpenSSL would wait for a passphrase on the terminal.
    bool encrypted = false;
    SSL_CTX_set_default_passwd_cb_userdata(context.get(), &encrypted);
    SSL_CTX_set_default_passwd_cb(context.get(), [](char*, int, int, void* asked) {
      *static_cast<bool*>(asked) = true;
      return 0;
    });
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context.get(), certificate_file.c_str()) != 1) {
      fail("TLS certificate " + certificate_file);
    }
    if (SSL_CTX_use_PrivateKey_file(context.get(), key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context.get()) != 1) {
      if (encrypted) {
        throw std::runtime_error("TLS key " + key_file +
                                 " is encrypted, and nobody is there to be asked for its passphrase: "
                                 "decrypt it (openssl pkey -in " +
                                 key_file + " -out plain.pem), and let nobody else read it");
      }
      // Of another kind than the certificate's, or of the same kind and not its own.
      const int reason = ERR_GET_REASON(ERR_peek_error());
      const bool strange = reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH;
      fail("TLS key " + key_file + (strange ? " does not belong to certificate " + certificate_file : ""));
    }
    SSL_CTX_set_default_passwd_cb(context.get(), nullptr);
    SSL_CTX_set_default_passwd_cb_userdata(context.get(), nullptr);
    const CheckedLock lock(mutex_);
    context_.swap(context);
  }

  /// The TLS layer of one socket; none when memory is short.
  [[nodiscard]] Tls wrap(int descriptor) const {
    Tls tls;
    {
      const CheckedLock lock(mutex_);
      tls.reset(SSL_new(context_.get()));
    }
    TlsBio bio = tls ? SocketBio::make(descriptor) : nullptr;
    if (!bio) return nullptr;
    SSL_set_bio(tls.get(), bio.get(), bio.get());
    (void)bio.release();
    SSL_set_accept_state(tls.get());
    return tls;
  }

 private:
  static void must_open(const std::string& file, const char* what) {
    errno = 0;
    if (!std::ifstream(file))
      throw std::runtime_error(what + file + " cannot be read: " + std::generic_category().message(errno));
  }
  [[noreturn]] static void fail(const std::string& what) {
    const unsigned long code = ERR_get_error();
    const char* why = code != 0 ? ERR_reason_error_string(code) : nullptr;
    throw std::runtime_error(what + ": " + (why != nullptr ? why : "cannot be used"));
  }

  mutable CheckedMutex mutex_;
  std::unique_ptr<SSL_CTX, FreeTls> context_ MUSTER_GUARDED_BY(mutex_);  // sockets share it
};

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
