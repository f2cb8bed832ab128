#include "tls.hpp"

#include <openssl/err.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace muster::bench {
namespace {

/// Of what is handed to OpenSSL, and of what it gives back.
constexpr std::size_t max_piece = 1U << 30U;

[[noreturn]] void fail_tls(const char* what) {
  std::fprintf(stderr, "bench: %s:\n", what);
  ERR_print_errors_fp(stderr);
  std::exit(EXIT_FAILURE);
}

TlsContext context_with(const SSL_METHOD* method) {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes with write()
  TlsContext context(SSL_CTX_new(method));
  if (!context) fail_tls("SSL_CTX_new");
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  return context;
}

int keep_session(SSL* tls, SSL_SESSION* session) {
  static_cast<TlsSession*>(SSL_get_app_data(tls))->reset(session);
  return 1;  // ours from now on
}

Tls tls_on(SSL_CTX* context, int descriptor) {
  Tls tls(SSL_new(context));
  if (!tls || SSL_set_fd(tls.get(), descriptor) != 1) fail_tls("SSL_new");
  return tls;
}

/// What recv() and send() would return.
ssize_t outcome(const SSL* tls, int result) {
  const int error = SSL_get_error(tls, result);
  if (error == SSL_ERROR_ZERO_RETURN) return 0;
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
    errno = EAGAIN;
  } else {
    ERR_clear_error();
    errno = ECONNRESET;
  }
  return -1;
}

}  // namespace

TlsContext tls_of_server(const std::string& certificate_file, const std::string& key_file) {
  TlsContext context = context_with(TLS_server_method());
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);  // sessions are in their tickets
  if (SSL_CTX_use_certificate_chain_file(context.get(), certificate_file.c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(context.get(), key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    fail_tls("the certificate or its key cannot be used");
  }
  return context;
}

TlsContext tls_of_clients() {
  TlsContext context = context_with(TLS_client_method());
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context.get(), keep_session);
  return context;
}

Tls accept_tls(SSL_CTX* context, int descriptor) {
  Tls tls = tls_on(context, descriptor);
  SSL_set_accept_state(tls.get());
  return tls;
}

Tls connect_tls(SSL_CTX* context, int descriptor, TlsSession& session) {
  Tls tls = tls_on(context, descriptor);
  SSL_set_connect_state(tls.get());
  SSL_set_app_data(tls.get(), &session);
  if (session && SSL_set_session(tls.get(), session.get()) != 1) fail_tls("SSL_set_session");
  return tls;
}

void forget(Tls tls) {
  if (tls) SSL_set_shutdown(tls.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

ssize_t receive(int descriptor, SSL* tls, char* to, std::size_t size) {
  if (tls == nullptr) return ::recv(descriptor, to, size, 0);
  // As far as whole records fit: what OpenSSL kept of one would not wake anybody up.
  std::size_t got = 0;
  do {
    const int count = SSL_read(tls, to + got, static_cast<int>(std::min(size - got, max_piece)));
    if (count <= 0) return got > 0 ? static_cast<ssize_t>(got) : outcome(tls, count);
    got += static_cast<std::size_t>(count);
  } while (size - got >= SSL3_RT_MAX_PLAIN_LENGTH);
  return static_cast<ssize_t>(got);
}

ssize_t transmit(int descriptor, SSL* tls, const char* from, std::size_t size) {
  if (tls == nullptr) return ::send(descriptor, from, size, MSG_NOSIGNAL);
  std::size_t sent = 0;
  // In the records of 16 KiB that it makes, one each time.
  while (sent < size) {
    const int count = SSL_write(tls, from + sent, static_cast<int>(std::min(size - sent, max_piece)));
    if (count <= 0) return sent > 0 ? static_cast<ssize_t>(sent) : outcome(tls, count);
    sent += static_cast<std::size_t>(count);
  }
  return static_cast<ssize_t>(sent);
}

}  // namespace muster::bench
