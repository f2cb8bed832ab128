// Mutual TLS: who is let in by its certificate, what is shown of it, and that what was not verified is not shown.
#include <asio/ip/tcp.hpp>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/wait_for.hpp"
#include "websocketpp/tls_fixture.hpp"

using namespace muster;
using muster::websocketpp::ListenerOptions;
using test::Certificate;
using test::connect;
using test::Fixture;
using test::message;
using test::RawClient;
using test::resumes;
using test::TlsClient;
using test::with;

namespace {

/// An authority, a server that asks for its certificates, and one that it has signed.
struct Mutual {
  explicit Mutual(bool required = true) {
    options = with(server);
    options.tls_client_ca_file = ca.certificate_file;
    options.tls_client_certificate_required = required;
  }
  Certificate server;
  Certificate ca{Certificate::Content{1, "Devices"}};
  Certificate device{content("device-7")};
  ListenerOptions options;

  [[nodiscard]] Certificate::Content content(const std::string& name, const std::string& alt_names = {}) const {
    Certificate::Content made;
    made.common_name = name;
    made.alt_names = alt_names;
    made.issuer = &ca;
    return made;
  }
};

/// Sends a request; whether it is let in. Else it has been told in TLS, and what in `alert`.
bool let_in(Fixture& f, const TlsClient& client, int* alert = nullptr) {
  RawClient& raw = connect(f, client);
  int said = 0;
  SSL_set_app_data(raw.tls(), &said);
  SSL_set_info_callback(raw.tls(), [](const SSL* tls, int where, int value) {
    if (where == SSL_CB_READ_ALERT) *static_cast<int*>(SSL_get_app_data(tls)) = value & 0xff;
  });
  raw.send(RawClient::upgrade_request());
  const int status = f.status(raw);
  SSL_set_info_callback(raw.tls(), nullptr);
  CHECK_FALSE(raw.was_reset());
  if (alert != nullptr) *alert = said;
  return status == 101;
}

}  // namespace

TEST_CASE("a client shows a certificate of the listener's CA, and the authenticator is shown what it says",
          "[websocketpp][tls]") {
  Mutual m;
  const Certificate ann(m.content("Ann \xc3\x84,Bob",
                                  "email:ann@acme.example,DNS:a.example,URI:spiffe://acme/ann,IP:192.0.2.7,"
                                  "IP:2001:db8::1,RID:1.2.3.4,DNS:two words"));
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  Fixture f({}, m.options);
  REQUIRE(let_in(f, TlsClient(version, ann)));
  const auto& shown = f.request().client_certificate;
  REQUIRE(shown);
  CHECK(shown->subject == "CN=Ann \\C3\\84\\,Bob");
  CHECK(shown->issuer == "CN=Devices");
  CHECK(shown->alt_names == std::vector<std::string>{"email:ann@acme.example", "DNS:a.example", "URI:spiffe://acme/ann",
                                                     "IP:192.0.2.7", "IP:2001:db8::1"});
  const auto left = shown->expires_at - std::chrono::system_clock::now();
  CHECK(left > std::chrono::hours(23));
  CHECK(left <= std::chrono::hours(24));
}

TEST_CASE("who shows no certificate, or not a good one, is refused in TLS and told so", "[websocketpp][tls]") {
  Mutual m;
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  Fixture f({}, m.options);
  int alert = 0;
  REQUIRE_FALSE(let_in(f, TlsClient(version), &alert));
  CHECK(alert == (version == TLS1_3_VERSION ? SSL_AD_CERTIFICATE_REQUIRED : SSL_AD_HANDSHAKE_FAILURE));
  CHECK(f.manager->refusals().back().what == "TLS: The client has shown no certificate");

  const Certificate stranger;
  REQUIRE_FALSE(let_in(f, TlsClient(version, stranger), &alert));
  CHECK(alert == SSL_AD_UNKNOWN_CA);

  auto content = m.content("late");
  content.ends_in_seconds = -60;
  const Certificate late(content);
  REQUIRE_FALSE(let_in(f, TlsClient(version, late), &alert));
  CHECK(alert == SSL_AD_CERTIFICATE_EXPIRED);
  CHECK(f.manager->refusals().back().what == "TLS: The client's certificate is not good: certificate has expired");

  content = m.content("server");
  content.extended_key_usage = "serverAuth";
  const Certificate server(content);
  REQUIRE_FALSE(let_in(f, TlsClient(version, server), &alert));
  CHECK(alert == SSL_AD_UNSUPPORTED_CERTIFICATE);
  for (const auto& refusal : f.manager->refusals()) CHECK(refusal.reason == RefusedFor::auth);
  CHECK(f.until([&] { return f.manager->reserved() == 0; }));
  CHECK(f.manager->count() == 0);
}

TEST_CASE("what a refused client has sent already does not tear the alert away", "[websocketpp][tls]") {
  Mutual m;
  Fixture f({}, m.options);
  const TlsClient client(TLS1_3_VERSION);  // whose handshake ends before the server has seen what it lacks
  RawClient& raw = connect(f, client);
  raw.send(RawClient::upgrade_request() + test::text_frame(std::string(30'000, 'x')));
  REQUIRE(f.until([&] {
    raw.stall(SSL_is_init_finished(raw.tls()) == 1);
    return f.manager->refusals().size() == 1 && raw.all_sent();
  }));
  f.settle();
  CHECK(f.manager->reserved() == 1);  // closed with that unread, it would reset the peer
  raw.stall(false);
  CHECK(f.until([&] { return raw.ended(); }));
  CHECK_FALSE(raw.was_reset());
  raw.cut();
  CHECK(f.until([&] { return f.manager->reserved() == 0; }));
}

TEST_CASE("a certificate of up to 32 KiB is read, and no longer one", "[websocketpp][tls]") {
  Mutual m;
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  const auto sized = [&](std::size_t names) {
    std::string all;
    for (std::size_t i = 0; i < names; ++i)
      all += (i == 0 ? "DNS:" : ",DNS:") + std::string(98, 'a');  // 100 bytes each
    return Certificate(m.content("much", all));
  };
  const Certificate large(sized(320));
  const Certificate larger(sized(330));
  Fixture f({}, m.options);
  CHECK(let_in(f, TlsClient(version, large)));
  CHECK(f.request().client_certificate->alt_names.size() == 320);
  RawClient& refused = connect(f, TlsClient(version, larger));
  refused.send(RawClient::upgrade_request());
  CHECK(f.status(refused) == 0);
}

TEST_CASE("where a certificate is not required, who shows none is let in without one, and a bad one is refused",
          "[websocketpp][tls]") {
  Mutual m(false);
  const Certificate stranger;
  Fixture f({}, m.options);
  CHECK(let_in(f, TlsClient()));
  CHECK_FALSE(f.request(0).client_certificate);
  CHECK(let_in(f, TlsClient(0, m.device)));
  REQUIRE(f.request(1).client_certificate);
  CHECK(f.request(1).client_certificate->subject == "CN=device-7");
  CHECK_FALSE(let_in(f, TlsClient(0, stranger)));
}

TEST_CASE("a listener without a client CA asks for no certificate, and shows none", "[websocketpp][tls]") {
  Mutual m;
  m.options.tls_client_ca_file.clear();
  Fixture f({}, m.options);
  CHECK(let_in(f, TlsClient(0, m.device)));
  CHECK_FALSE(f.request().client_certificate);
}

TEST_CASE("a session with a certificate is resumed, and shows it", "[websocketpp][tls]") {
  Mutual m;
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  TlsClient client(version, m.device);
  Fixture f({}, m.options);
  CHECK_FALSE(resumes(f, client));
  CHECK(resumes(f, client, &client.sessions.back()));
  REQUIRE(f.request(1).client_certificate);
  CHECK(f.request(1).client_certificate->subject == "CN=device-7");
}

TEST_CASE("the client CA is read again, and what another has verified is not resumed", "[websocketpp][tls]") {
  Mutual m;
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  TlsClient client(version, m.device);
  Fixture f({}, m.options);
  CHECK_FALSE(resumes(f, client));
  REQUIRE_FALSE(f.listener->reload_certificate());
  CHECK(resumes(f, client, &client.sessions.back()));  // it is the same

  const Certificate other(Certificate::Content{2, "Others"});
  std::filesystem::copy_file(other.certificate_file, m.ca.certificate_file,
                             std::filesystem::copy_options::overwrite_existing);
  REQUIRE_FALSE(f.listener->reload_certificate());
  RawClient& back = connect(f, client, &client.sessions.back());
  back.send(RawClient::upgrade_request());
  CHECK(f.status(back) == 0);
  CHECK(SSL_session_reused(back.tls()) == 0);

  std::ofstream(m.ca.certificate_file) << "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  const auto error = f.listener->reload_certificate();
  REQUIRE(error);
  CHECK(error->message.find("TLS client CA " + m.ca.certificate_file) == 0);
}

TEST_CASE("a session whose certificate has expired meanwhile is not resumed", "[websocketpp][tls]") {
  Mutual m;
  auto content = m.content("soon");
  content.ends_in_seconds = 2;
  const Certificate soon(content);
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  TlsClient client(version, soon);
  Fixture f({}, m.options);
  CHECK_FALSE(resumes(f, client));
  const auto end = f.request().client_certificate->expires_at;
  REQUIRE(test::wait_for([&] { return std::chrono::system_clock::now() > end + std::chrono::seconds(1); }));
  RawClient& back = connect(f, client, &client.sessions.back());
  back.send(RawClient::upgrade_request());
  CHECK(f.status(back) == 0);
}

TEST_CASE("the certificate of an adopted TLS is shown where the program has had it verified",
          "[websocketpp][tls][adopt]") {
  const Mutual m;
  const bool verifies = GENERATE(true, false);
  Fixture f;
  f.listen();
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  REQUIRE(SSL_CTX_use_certificate_chain_file(context.get(), m.server.certificate_file.c_str()) == 1);
  REQUIRE(SSL_CTX_use_PrivateKey_file(context.get(), m.server.key_file.c_str(), SSL_FILETYPE_PEM) == 1);
  if (verifies) REQUIRE(SSL_CTX_load_verify_locations(context.get(), m.ca.certificate_file.c_str(), nullptr) == 1);
  // One that is asked for and let pass whatever it is, is not verified.
  SSL_CTX_set_verify(
      context.get(), SSL_VERIFY_PEER, verifies ? nullptr : +[](int, X509_STORE_CTX*) { return 1; });
  asio::ip::tcp::acceptor port(f.io, {asio::ip::address_v4::loopback(), 0});
  const TlsClient client(0, m.device);
  f.clients.push_back(std::make_unique<RawClient>(port.local_endpoint().port(), client.make()));
  asio::ip::tcp::socket accepted = port.accept();
  accepted.native_non_blocking(true);
  SSL* const tls = SSL_new(context.get());
  SSL_set_fd(tls, accepted.native_handle());
  REQUIRE(f.until([&] { return SSL_accept(tls) == 1; }));
  f.clients.back()->send(RawClient::upgrade_request());
  f.listener->adopt({accepted.release(), tls}, {});
  SSL_free(tls);
  REQUIRE(f.status(*f.clients.back()) == 101);
  CHECK(f.request().client_certificate.has_value() == verifies);
}

TEST_CASE("HTTP handlers are shown the certificate too", "[websocketpp][tls]") {
  Mutual m(false);
  m.options.http = [](const muster::websocketpp::HttpRequest& request) {
    muster::websocketpp::HttpResponse response;
    response.body = request.client_certificate ? request.client_certificate->subject : "nobody";
    return response;
  };
  Fixture f({}, m.options);
  const auto ask = [&](RawClient& raw) {
    raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(f.status(raw) == 200);
    const std::size_t size = std::stoul(f.header("Content-Length"));
    CHECK(f.until([&] { return raw.in.size() == size; }));
    return std::exchange(raw.in, {});
  };
  RawClient& known = connect(f, TlsClient(0, m.device));
  CHECK(ask(known) == "CN=device-7");
  CHECK(ask(known) == "CN=device-7");
  CHECK(ask(connect(f, TlsClient())) == "nobody");
}

TEST_CASE("a client CA that cannot be used is named", "[websocketpp][tls]") {
  Mutual m;
  m.options.tls_client_ca_file = "/nowhere.pem";
  CHECK(message(m.options) == "TLS client CA /nowhere.pem cannot be read: No such file or directory");
  m.options.tls_client_ca_file = m.ca.key_file;
  CHECK(message(m.options).find("TLS client CA " + m.ca.key_file + ": ") == 0);
  ListenerOptions plain;
  plain.tls_client_ca_file = m.ca.certificate_file;
  CHECK(message(plain).find("tls_client_ca_file needs tls_certificate_file") != std::string::npos);
}
