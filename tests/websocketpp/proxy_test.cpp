// The PROXY protocol: what a trusted proxy says before a connection's own bytes, and what comes of anything else.
#include "muster/transports/websocketpp/proxy_header.ipp"
#include "websocketpp/certificate.hpp"
#include "websocketpp/fixture.hpp"

using namespace muster;
using muster::websocketpp::detail::ProxyHeader;
using test::Fixture;
using test::RawClient;

namespace {

std::string binary(char command, char family, const std::string& rest) {
  std::string header("\r\n\r\n\0\r\nQUIT\n", 12);
  header += command;
  header += family;
  header += static_cast<char>(rest.size() >> 8U);
  header += static_cast<char>(rest.size() & 0xffU);
  return header + rest;
}
const std::string v4_rest("\xc0\x00\x02\x07\xc0\x00\x02\x01\x30\x39\x01\xbb", 12);
const std::string v6_rest =
    std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + '\7' + std::string(16, '\1') + "ABCD";
const std::string tlvs(3000, 't');

/// Whom a whole header names; "" for nobody, "bad" for none.
std::string named(const std::string& header) {
  ProxyHeader whole;
  const std::size_t used = whole.read(header + "GET / HTTP/1.1");
  ProxyHeader cut;
  std::size_t taken = 0;
  for (const char c : header) taken += cut.read({&c, 1});
  CHECK(cut.state() == whole.state());
  CHECK(taken == used);
  if (whole.state() == ProxyHeader::State::bad) {
    CHECK(whole.read("PROXY UNKNOWN\r\n") == 0);  // dead after its fault
    CHECK(whole.state() == ProxyHeader::State::bad);
    return "bad";
  }
  CHECK(whole.state() == ProxyHeader::State::done);
  CHECK(used == header.size());
  return whole.source() ? whole.source()->to_string() : "";
}

Options trusting() {
  Options options;
  options.trusted_proxies = {"127.0.0.0/8"};
  return options;
}

muster::websocketpp::ListenerOptions listening() {
  muster::websocketpp::ListenerOptions options;
  options.proxy_protocol = true;
  return options;
}

}  // namespace

TEST_CASE("a PROXY header says for whom it speaks", "[websocketpp][proxy]") {
  CHECK(named("PROXY TCP4 192.0.2.7 192.0.2.1 12345 443\r\n") == "192.0.2.7");
  CHECK(named("PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n") == "2001:db8::7");
  CHECK(named("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n") == "::ffff:192.0.2.7");
  CHECK(named("PROXY UNKNOWN\r\n").empty());
  CHECK(named("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n").empty());
  CHECK(named(binary(0x21, 0x11, v4_rest)) == "192.0.2.7");
  CHECK(named(binary(0x21, 0x11, v4_rest + tlvs)) == "192.0.2.7");
  CHECK(named(binary(0x21, 0x21, v6_rest)) == "2001:db8::7");
  CHECK(named(binary(0x21, 0x21, v6_rest + std::string(65535 - 36, 't'))) == "2001:db8::7");
  CHECK(named(binary(0x20, 0x00, "")).empty());  // a health check of the proxy's own
  CHECK(named(binary(0x20, 0x11, v4_rest)).empty());
  CHECK(named(binary(0x21, 0x00, "whatever")).empty());             // it does not know
  CHECK(named(binary(0x21, 0x31, std::string(216, 'u'))).empty());  // a local socket
}

TEST_CASE("what is no PROXY header is none from its first wrong byte on", "[websocketpp][proxy]") {
  for (const char* line :
       {"GET / HTTP/1.1\r\n", "\x16\x03\x01", "PROXY TCP4 192.0.2.7 192.0.2.1 12345\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n", "PROXY TCP5 192.0.2.7 192.0.2.1 1 2\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n", "PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n", "PROXY TCP4 192.0.2.7 192.0.2.1 -1 2\r\n",
        "PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n", "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n",
        "PROXY TCP6 fe80::1%1 ::1 1 2\r\n", "PROXY UNKNOWNS\r\n", "PROXY \r\n", "proxy UNKNOWN\r\n"}) {
    INFO(line);
    CHECK(named(line) == "bad");
  }
  CHECK(named("PROXY UNKNOWN " + std::string(100, 'x') + "\r\n") == "bad");  // beyond 107
  CHECK(named(binary(0x31, 0x11, v4_rest)) == "bad");
  CHECK(named(binary(0x22, 0x11, v4_rest)) == "bad");
  CHECK(named(binary(0x21, 0x41, v4_rest)) == "bad");
  CHECK(named(binary(0x21, 0x13, v4_rest)) == "bad");
  CHECK(named(binary(0x21, 0x11, v4_rest.substr(1))) == "bad");
  CHECK(named(binary(0x21, 0x21, v6_rest.substr(1))) == "bad");
  CHECK(named(std::string("\r\n\r\n\0\r\nQUIT\r", 12)) == "bad");
}

TEST_CASE("who is behind a proxy that speaks PROXY is limited and told by its own address", "[websocketpp][proxy]") {
  const test::Certificate certificate;
  const bool tls = GENERATE(false, true);
  auto settings = listening();
  if (tls) settings.tls_certificate_file = certificate.certificate_file;
  if (tls) settings.tls_key_file = certificate.key_file;
  for (const std::string& header :
       {std::string("PROXY TCP4 192.0.2.7 192.0.2.1 12345 443\r\n"), binary(0x21, 0x11, v4_rest + tlvs)}) {
    for (std::size_t cut : {std::size_t{0}, std::size_t{1}, std::size_t{20}, header.size()}) {
      Fixture f(trusting(), settings);
      RawClient& client = f.connect(tls);
      client.send_raw(header.substr(0, cut));
      for (int i = 0; i < 20; ++i) {  // without the client, which would begin with TLS
        f.io.run_one_for(std::chrono::milliseconds(1));
        f.io.restart();
      }
      client.send_raw(header.substr(cut));
      client.send(RawClient::upgrade_request("X-Forwarded-For: 203.0.113.9\r\n") + test::text_frame("hello"));
      CHECK(f.status(client) == 101);
      CHECK(f.request().remote_address.text == "192.0.2.7");  // it is no proxy: what it says of others is not believed
      CHECK(f.manager->asked_for() == std::vector<std::string>{"", "192.0.2.7"});
      CHECK(f.until([&] { return f.manager->messages() == 1; }));
    }
  }
}

TEST_CASE("a proxy that speaks for itself is itself", "[websocketpp][proxy]") {
  Fixture f(trusting(), listening());
  CHECK(f.ask(binary(0x20, 0x00, "") + RawClient::upgrade_request()) == 101);
  CHECK(f.request().remote_address.text == "127.0.0.1");
  CHECK(f.ask("PROXY UNKNOWN\r\n" + RawClient::upgrade_request("X-Forwarded-For: 203.0.113.9\r\n")) == 101);
  CHECK(f.request(1).remote_address.text == "203.0.113.9");
}

TEST_CASE("a trusted proxy without a PROXY header is closed, and the log says why", "[websocketpp][proxy]") {
  Fixture f(trusting(), listening());
  CHECK(f.ask(RawClient::upgrade_request()) == 0);
  REQUIRE(f.manager->refusals().size() == 1);
  CHECK(f.manager->refusals()[0].address == "127.0.0.1");
  CHECK(f.manager->refusals()[0].what.find("proxy_protocol is on") == 0);
  CHECK(f.until([&] { return f.manager->reserved() == 0; }));
}

TEST_CASE("of anybody else a PROXY header is neither read nor needed", "[websocketpp][proxy]") {
  Options options;
  options.trusted_proxies = {"192.0.2.0/24"};
  Fixture f(options, listening());
  CHECK(f.ask(RawClient::upgrade_request()) == 101);
  CHECK(f.ask("PROXY TCP4 192.0.2.7 192.0.2.1 12345 443\r\n" + RawClient::upgrade_request()) == 505);
  Fixture nobody({}, listening());
  CHECK_THROWS_AS(nobody.listen(), std::invalid_argument);
}
