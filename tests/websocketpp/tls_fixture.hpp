// What tests of TLS share: listeners with a certificate, and clients with sessions and certificates of their own.
#pragma once

#include <openssl/ssl.h>

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "websocketpp/certificate.hpp"
#include "websocketpp/fixture.hpp"

namespace muster::test {

inline websocketpp::ListenerOptions with(const Certificate& certificate) {
  websocketpp::ListenerOptions options;
  options.tls_certificate_file = certificate.certificate_file;
  options.tls_key_file = certificate.key_file;
  return options;
}

/// What a listener with these options says; empty: it listens.
inline std::string message(const websocketpp::ListenerOptions& options) {
  Fixture f({}, options);
  try {
    f.listen();
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

/// What all connections of one client share: versions, its certificate, and the sessions it may resume.
class TlsClient {
 public:
  /// `version`: the only one it speaks, TLS1_2_VERSION or TLS1_3_VERSION; 0: any.
  explicit TlsClient(int version = 0) : context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
    SSL_CTX_set_min_proto_version(context_.get(), version);
    SSL_CTX_set_max_proto_version(context_.get(), version);
    SSL_CTX_set_app_data(context_.get(), this);
    SSL_CTX_set_session_cache_mode(context_.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context_.get(), [](SSL* tls, SSL_SESSION* session) {
      static_cast<TlsClient*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(tls)))
          ->sessions.emplace_back(session, SSL_SESSION_free);
      return 1;
    });
  }
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;
  /// Its connections may live on.
  ~TlsClient() { SSL_CTX_sess_set_new_cb(context_.get(), nullptr); }

  /// One that shows this certificate.
  TlsClient(int version, const Certificate& certificate) : TlsClient(version) {
    if (SSL_CTX_use_certificate_chain_file(context_.get(), certificate.certificate_file.c_str()) != 1 ||
        SSL_CTX_use_PrivateKey_file(context_.get(), certificate.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
      throw std::runtime_error(certificate.certificate_file);
    }
  }

  using Session = std::unique_ptr<SSL_SESSION, void (*)(SSL_SESSION*)>;
  /// For one connection, which is the caller's. `resumes`: as whom it comes back.
  [[nodiscard]] SSL* make(const Session* resumes = nullptr) const {
    SSL* const tls = SSL_new(context_.get());
    if (resumes != nullptr) SSL_set_session(tls, resumes->get());
    return tls;
  }
  [[nodiscard]] SSL_CTX* context() const { return context_.get(); }

  /// Those that servers have given it, the newest last.
  std::vector<Session> sessions;

 private:
  const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
};

/// Connects as this client.
inline RawClient& connect(Fixture& f, const TlsClient& client, const TlsClient::Session* session = nullptr) {
  f.listen();
  f.clients.push_back(std::make_unique<RawClient>(f.port(), client.make(session)));
  return *f.clients.back();
}

/// Opens a connection; whether its session was resumed. Tickets of TLS 1.3 have come when this returns.
inline bool resumes(Fixture& f, const TlsClient& client, const TlsClient::Session* session = nullptr) {
  RawClient& raw = connect(f, client, session);
  raw.send(RawClient::upgrade_request());
  REQUIRE(f.status(raw) == 101);
  return SSL_session_reused(raw.tls()) == 1;
}

}  // namespace muster::test
