// TLS on the sockets of the floor server and the load client: OpenSSL as it comes, and nothing that it does not do by
// itself.
#pragma once

#include <openssl/ssl.h>
#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <string>

namespace muster::bench {

struct FreeTls {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* tls) const { SSL_free(tls); }
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
using TlsContext = std::unique_ptr<SSL_CTX, FreeTls>;
using Tls = std::unique_ptr<SSL, FreeTls>;
using TlsSession = std::unique_ptr<SSL_SESSION, FreeTls>;

/// Ends the program where it cannot be made, and so do the others.
[[nodiscard]] TlsContext tls_of_server(const std::string& certificate_file, const std::string& key_file);

/// Believes any certificate. Keeps the newest session of each connection where `connect_tls` was told to.
[[nodiscard]] TlsContext tls_of_clients();

[[nodiscard]] Tls accept_tls(SSL_CTX* context, int descriptor);

/// Resumes the session if there is one. `session` outlives the connection.
[[nodiscard]] Tls connect_tls(SSL_CTX* context, int descriptor, TlsSession& session);

/// Its session may be resumed, although nobody said goodbye.
void forget(Tls tls);

/// As recv() and send() without a `tls`, and like them with one: EAGAIN where it waits for the peer, 0 at the end. A
/// handshake that is not done yet goes on in either.
[[nodiscard]] ssize_t receive(int descriptor, SSL* tls, char* to, std::size_t size);
[[nodiscard]] ssize_t transmit(int descriptor, SSL* tls, const char* from, std::size_t size);

/// Nothing can be sent before something was read.
[[nodiscard]] inline bool waits_for_peer(const SSL* tls) { return tls != nullptr && SSL_want_read(tls); }

}  // namespace muster::bench
