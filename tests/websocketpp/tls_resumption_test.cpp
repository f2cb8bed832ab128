// Sessions of TLS that come back with a ticket, and how TLS is spoken: versions and ciphers.
#include <sys/socket.h>

#include "muster/transports/websocketpp/tls.ipp"
#include "websocketpp/tls_fixture.hpp"

using namespace muster;
using test::connect;
using test::Fixture;
using test::message;
using test::RawClient;
using test::resumes;
using test::TlsClient;
using test::with;

namespace {

TimePoint now{std::chrono::hours(100)};

/// Makes a handshake over a pair of sockets; whether a session was resumed.
bool resumed(const muster::websocketpp::detail::TlsContext& context, TlsClient& client,
             const TlsClient::Session* session) {
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
  bool again = false;
  {
    const auto server = context.wrap(pair[0]);
    const std::unique_ptr<SSL, void (*)(SSL*)> peer(client.make(session), SSL_free);
    SSL_set_fd(peer.get(), pair[1]);
    int done = 0;
    for (int i = 0; i < 10 && done != 2; ++i) done = (SSL_connect(peer.get()) == 1) + (SSL_accept(server.get()) == 1);
    REQUIRE(done == 2);
    char none = 0;
    (void)SSL_read(peer.get(), &none, 1);  // the tickets
    again = SSL_session_reused(server.get()) == 1;
    SSL_set_shutdown(peer.get(), SSL_SENT_SHUTDOWN);  // or the session would be taken for a broken one
  }
  ::close(pair[0]);
  ::close(pair[1]);
  return again;
}

}  // namespace

TEST_CASE("a client that has a ticket resumes its TLS session, by TLS 1.2 and 1.3", "[websocketpp][tls]") {
  const test::Certificate certificate;
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  TlsClient client(version);
  Fixture f({}, with(certificate));
  CHECK_FALSE(resumes(f, client));
  REQUIRE(client.sessions.size() == 1);
  CHECK(resumes(f, client, &client.sessions.front()));
  f.clients.back()->send(test::text_frame("again"));
  CHECK(f.until([&] { return f.manager->messages(1) == 1; }));
  // By TLS 1.3 the next one has come; by 1.2 the first goes on to be good.
  CHECK(client.sessions.size() == (version == TLS1_3_VERSION ? 2U : 1U));
  CHECK(resumes(f, client, &client.sessions.back()));
}

TEST_CASE("tls_tickets says how many tickets a handshake gives, and none is no resumption", "[websocketpp][tls]") {
  const test::Certificate certificate;
  auto options = with(certificate);
  const std::size_t tickets = GENERATE(0U, 1U, 3U);
  options.tls_tickets = tickets;
  Fixture f({}, options);
  TlsClient newer(TLS1_3_VERSION);
  CHECK_FALSE(resumes(f, newer));
  CHECK(newer.sessions.size() == tickets);
  TlsClient older(TLS1_2_VERSION);
  CHECK_FALSE(resumes(f, older));
  REQUIRE(older.sessions.empty() == (tickets == 0));
  if (tickets != 0) CHECK(resumes(f, older, &older.sessions.front()));
}

TEST_CASE("tickets outlive a new certificate, and are worth nothing to another listener", "[websocketpp][tls]") {
  const test::Certificate certificate(7);
  const test::Certificate renewed(8);
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  TlsClient client(version);
  Fixture f({}, with(certificate));
  CHECK_FALSE(resumes(f, client));
  certificate.become(renewed);
  REQUIRE_FALSE(f.listener->reload_certificate());
  CHECK(resumes(f, client, &client.sessions.back()));

  Fixture other({}, with(certificate));
  CHECK_FALSE(resumes(other, client, &client.sessions.back()));
  CHECK(other.clients.back()->serial() == 8);
}

TEST_CASE("ticket keys change every two hours, and are forgotten after four", "[websocketpp][tls]") {
  const test::Certificate certificate;
  auto options = with(certificate);
  options.tls_tickets = 3;
  const muster::websocketpp::detail::TlsContext context(options, [] { return now; });
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  TlsClient client(version);
  CHECK_FALSE(resumed(context, client, nullptr));
  const std::vector<TlsClient::Session> old = std::move(client.sessions);
  REQUIRE(old.size() == (version == TLS1_3_VERSION ? 3U : 1U));  // those of TLS 1.3 are for once
  now += std::chrono::minutes(119);
  CHECK(resumed(context, client, &old.front()));
  now += std::chrono::minutes(120);  // there is a new key, and the old one still reads
  CHECK(resumed(context, client, &old[old.size() / 2]));
  TlsClient young(version);
  CHECK_FALSE(resumed(context, young, nullptr));
  now += std::chrono::minutes(1);
  CHECK_FALSE(resumed(context, client, &old.back()));
  CHECK(resumed(context, young, &young.sessions.front()));
}

TEST_CASE("tls_min_version 1.3 speaks no TLS 1.2", "[websocketpp][tls]") {
  const test::Certificate certificate;
  auto options = with(certificate);
  options.tls_min_version = muster::websocketpp::TlsVersion::tls_1_3;
  Fixture f({}, options);
  const TlsClient old(TLS1_2_VERSION);
  RawClient& refused = connect(f, old);
  CHECK(f.until([&] { return refused.ended(); }));
  CHECK(SSL_is_init_finished(refused.tls()) == 0);
  TlsClient young(TLS1_3_VERSION);
  CHECK_FALSE(resumes(f, young));
}

TEST_CASE("tls_ciphers and tls_ciphersuites say what is spoken", "[websocketpp][tls]") {
  const test::Certificate certificate;
  auto options = with(certificate);
  options.tls_ciphers = "ECDHE+CHACHA20:!aNULL";
  options.tls_ciphersuites = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
  Fixture f({}, options);
  TlsClient old(TLS1_2_VERSION);
  CHECK_FALSE(resumes(f, old));
  CHECK(std::string(SSL_get_cipher(f.clients.back()->tls())) == "ECDHE-ECDSA-CHACHA20-POLY1305");
  TlsClient young(TLS1_3_VERSION);
  CHECK_FALSE(resumes(f, young));
  CHECK(std::string(SSL_get_cipher(f.clients.back()->tls())) == "TLS_CHACHA20_POLY1305_SHA256");
}

TEST_CASE("ciphers that OpenSSL does not have are refused by name", "[websocketpp][tls]") {
  const test::Certificate certificate;
  auto options = with(certificate);
  options.tls_ciphers = "ECDHE+AESGCM:ECDHE-CHACHA:!aNULL";
  CHECK(message(options) == "websocketpp listener: tls_ciphers: OpenSSL has no \"ECDHE-CHACHA\"");
  options.tls_ciphers = "!ALL";
  CHECK(message(options) == "websocketpp listener: tls_ciphers: OpenSSL has no \"!ALL\"");
  options.tls_ciphers = "ECDHE+AESGCM:!aNULL:@SECLEVEL=2";
  CHECK(message(options).empty());
  options.tls_ciphersuites = "TLS_AES_128_GCM_SHA256:TLS_AES_129_GCM_SHA256";
  CHECK(message(options) == "websocketpp listener: tls_ciphersuites: OpenSSL has no \"TLS_AES_129_GCM_SHA256\"");
  options.tls_ciphersuites = "TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384";
  CHECK(message(options).find("TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384") != std::string::npos);
}

TEST_CASE("options of TLS that mean nothing together are refused", "[websocketpp][tls]") {
  const test::Certificate certificate;
  muster::websocketpp::ListenerOptions options;
  options.tls_ciphers = "HIGH";
  options.tls_ciphersuites = "TLS_AES_128_GCM_SHA256";
  options.tls_min_version = muster::websocketpp::TlsVersion::tls_1_3;
  for (const char* name : {"tls_ciphers", "tls_ciphersuites", "tls_min_version"}) {
    CHECK(message(options).find(std::string(name) + " needs tls_certificate_file") != std::string::npos);
  }
  options = with(certificate);
  options.tls_ciphers = "HIGH";
  options.tls_min_version = muster::websocketpp::TlsVersion::tls_1_3;
  options.tls_tickets = 17;
  CHECK(message(options).find("tls_ciphers are those of TLS 1.2") != std::string::npos);
  CHECK(message(options).find("tls_tickets must be at most 16") != std::string::npos);
}
