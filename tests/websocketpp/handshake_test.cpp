// What an upgrade must look like, what is answered when it does not, and what the core is told.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "websocketpp/certificate.hpp"
#include "websocketpp/fixture.hpp"

using namespace muster;
using test::Fixture;
using test::RawClient;

namespace {

muster::websocketpp::ListenerOptions listening(bool tls, const test::Certificate& certificate) {
  muster::websocketpp::ListenerOptions options;
  if (tls) options.tls_certificate_file = certificate.certificate_file;
  if (tls) options.tls_key_file = certificate.key_file;
  return options;
}

std::string request(std::string_view extra = {}, std::string_view target = "/ws", std::string_view without = {}) {
  return RawClient::upgrade_request(extra, target, without);
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("an upgrade is answered as RFC 6455 says", "[websocketpp][handshake]") {
  Fixture f;
  CHECK(f.ask(request()) == 101);
  CHECK(f.header("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");  // RFC 6455, 1.3
  CHECK(f.header("Upgrade") == "websocket");
  CHECK(f.header("Connection") == "Upgrade");
  CHECK(f.header("Sec-WebSocket-Protocol").empty());
  CHECK(f.header("Sec-WebSocket-Extensions").empty());
  CHECK(f.header("Server").empty());
  CHECK(f.request().path == "/ws");
}

TEST_CASE("a request that is no proper upgrade never reaches the core", "[websocketpp][handshake]") {
  struct Case {
    const char* what;
    std::string request;
    int status;
  };
  const Case cases[] = {
      {"no upgrade", request({}, "/ws", "Upgrade"), 426},
      {"version 8", replaced(request(), "Version: 13", "Version: 8"), 426},
      {"version 0", replaced(request(), "Version: 13", "Version: 0"), 426},
      {"version 130", replaced(request(), "Version: 13", "Version: 130"), 426},
      {"no version", request({}, "/ws", "Sec-WebSocket-Version"), 426},
      {"two versions", request("Sec-WebSocket-Version: 13\r\n"), 400},
      {"no key", request({}, "/ws", "Sec-WebSocket-Key"), 400},
      {"a short key", replaced(request(), "dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400},
      {"two keys", request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400},
      {"no host", request({}, "/ws", "Host"), 400},
      {"two hosts", request("Host: localhost\r\n"), 400},
      {"two hosts, one of another case", request("hOST: localhost\r\n"), 400},
      {"two authorizations", request("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), 400},
      {"two origins", request("Origin: http://localhost\r\nOrigin: http://localhost\r\n"), 400},
      {"no connection", request({}, "/ws", "Connection"), 400},
      {"not GET", replaced(request(), "GET", "POST"), 400},
      {"HTTP/1.0", replaced(request(), "HTTP/1.1", "HTTP/1.0"), 400},
      {"HTTP/2.0", replaced(request(), "HTTP/1.1", "HTTP/2.0"), 505},
      {"a body", request("Content-Length: 5\r\n") + "hello", 400},
      {"a chunked body", request("Transfer-Encoding: chunked\r\n"), 400},
      {"a folded header", request("X-A: b\r\n c\r\n"), 400},
      {"a space before a colon", request("X-A : b\r\n"), 400},
      {"a nameless header", request(": b\r\n"), 400},
      {"a line feed alone", request("X-A: b\nX-B: c\r\n"), 400},
      {"a zero byte", request(std::string("X-A: \0\r\n", 8)), 400},
      {"no HTTP at all", "\x16\x03\x01\x02 hello\r\n\r\n", 400},
      {"two words", "GET /\r\n\r\n", 400},
      {"an empty target", replaced(request(), "GET /ws", "GET "), 400},
      {"a target that is no path", replaced(request(), "GET /ws", "GET ws"), 400},
      {"a star", replaced(request(), "GET /ws", "GET *"), 400},
      {"a fragment", request({}, "/ws#x"), 400},
      {"an absolute target of another host", request({}, "http://other.example/ws"), 400},
      {"an absolute target of another port", request({}, "http://localhost:81/ws"), 400},
      {"an absolute target with user-info", request({}, "http://localhost:x@localhost/ws"), 400},
      {"an absolute target of another scheme", request({}, "ftp://localhost/ws"), 400},
      {"an absolute target without a host", request({}, "http:///ws"), 400},
      {"two lengths", request("Content-Length: 0\r\nContent-Length: 0\r\n"), 400},
      {"two lengths in one", request("Content-Length: 0, 0\r\n"), 400},
      {"a length that is no number", request("Content-Length: -0\r\n"), 400},
      {"no length", request("Content-Length:\r\n"), 400},
      {"a length and chunks", request("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"a malformed subprotocol", request("Sec-WebSocket-Protocol: a b\r\n"), 400},
  };
  Fixture f;
  for (const Case& c : cases) {
    INFO(c.what);
    CHECK(f.ask(c.request) == c.status);
    CHECK(f.header("Connection").substr(0, 5) == "close");
    if (c.status == 426) CHECK(f.header("Sec-WebSocket-Version") == "13");
    if (c.status == 426) CHECK(f.header("Upgrade") == "websocket");
    RawClient& client = *f.clients.back();
    CHECK(f.until([&] { return client.ended(); }));
    CHECK_FALSE(client.was_reset());
    client.cut();
  }
  CHECK(f.manager->count() == 0);
  CHECK(f.until([&] { return f.manager->reserved() == 0; }));
}

TEST_CASE("what differs only in form is the same upgrade", "[websocketpp][handshake]") {
  Fixture f;
  CHECK(f.ask("\r\n" + request()) == 101);
  CHECK(f.ask(replaced(request(), "Upgrade: websocket", "UPGRADE:   h2c, WebSocket  ")) == 101);
  CHECK(f.ask(replaced(request(), "keep-alive, Upgrade", "uPGRADE")) == 101);
  CHECK(f.ask(request({}, "http://localhost/ws?a=b")) == 101);
  CHECK(f.request(3).path == "/ws");
  CHECK(f.request(3).query == "a=b");
  CHECK(f.ask(replaced(request({}, "HTTPS://LOCALHOST:8443?a=b"), "Host: localhost", "Host: localhost:8443")) == 101);
  CHECK(f.request(4).path == "/");
  CHECK(f.request(4).query == "a=b");
  CHECK(f.ask(request("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")) == 101);
  CHECK(f.header("Sec-WebSocket-Extensions").empty());
}

TEST_CASE("a request may arrive byte by byte", "[websocketpp][handshake]") {
  Fixture f;
  RawClient& client = f.connect();
  const std::string whole = request() + test::text_frame("hello");
  for (const char c : whole) {
    client.send(std::string_view(&c, 1));
    f.io.poll();
  }
  CHECK(f.status(client) == 101);
  CHECK(f.until([&] { return f.manager->messages() == 1; }));
}

TEST_CASE("a request may be cut anywhere, with frames right behind it", "[websocketpp][handshake]") {
  Fixture f;
  f.manager->echo = true;
  const std::string whole = request() + test::text_frame("one") + test::text_frame("two");
  for (std::size_t cut = 1; cut < whole.size(); cut += 7) {
    RawClient& client = f.connect();
    client.send(whole.substr(0, cut));
    f.settle();
    client.send(whole.substr(cut));
    REQUIRE(f.status(client) == 101);
    CHECK(f.frame(client)->payload == "one");
    CHECK(f.frame(client)->payload == "two");
    client.cut();
  }
}

TEST_CASE("a head beyond handshake_bytes is refused", "[websocketpp][handshake]") {
  Options options;
  options.handshake_bytes = 1000;
  Fixture f(options);
  CHECK(f.ask(request("X-A: " + std::string(500, 'a') + "\r\n")) == 101);
  CHECK(f.ask(request("X-A: " + std::string(1000, 'a') + "\r\n")) == 431);
  CHECK(f.ask("GET /" + std::string(100'000, 'a')) == 431);
  CHECK(f.manager->count() == 1);
}

TEST_CASE("a handshake has handshake_timeout in all, however busy the peer is", "[websocketpp][handshake]") {
  Options options;
  options.handshake_timeout = std::chrono::milliseconds(150);
  Fixture f(options);
  RawClient& silent = f.connect();
  RawClient& slow = f.connect();
  const auto start = std::chrono::steady_clock::now();
  const std::string head = request("X-A: " + std::string(4000, 'a') + "\r\n");
  std::size_t sent = 0;
  CHECK(f.until([&] {
    if (!slow.ended() && sent < head.size() - 1) slow.send(head.substr(sent++, 1));
    return silent.ended() && slow.ended();
  }));
  CHECK(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(150));
  CHECK(f.until([&] { return f.manager->reserved() == 0; }));
  CHECK(f.manager->count() == 0);
}

TEST_CASE("Host must be this server's", "[websocketpp][handshake]") {
  const auto host = [](const std::string& name) { return replaced(request(), "Host: localhost", "Host: " + name); };
  SECTION("on loopback: loopback names") {
    Fixture f;
    for (const char* good : {"localhost", "LOCALHOST:8080", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:9000"}) {
      INFO(good);
      CHECK(f.ask(host(good)) == 101);
    }
    for (const char* bad :
         {"example.com", "localhost.example.com", "10.0.0.1", "127.0.0.1.example.com", "[::2]", "evil:80"}) {
      INFO(bad);
      CHECK(f.ask(host(bad)) == 403);
    }
    for (const char* wrong :
         {"localhost:x@evil.example", "x@localhost", "localhost:", "localhost:80:80", "localhost:http", "[::1]evil",
          "[::1", "[localhost]", "localhost, evil", "localhost/x", ":80"}) {
      INFO(wrong);
      CHECK(f.ask(host(wrong)) == (std::string(wrong) == "localhost:" ? 101 : 400));  // RFC 3986, 3.2.3: an empty port
    }
  }
  SECTION("on loopback: what is listed as well") {
    Options options;
    options.allowed_hosts = {"example.com", "other.example:8080"};
    Fixture f(options);
    CHECK(f.ask(host("example.com:443")) == 101);
    CHECK(f.ask(host("other.example:8080")) == 101);
    CHECK(f.ask(host("other.example")) == 403);
    CHECK(f.ask(host("localhost")) == 101);
  }
  SECTION("elsewhere: any") {
    muster::websocketpp::ListenerOptions listener;
    listener.address = "0.0.0.0";
    Fixture f({}, listener);
    CHECK(f.ask(host("example.com")) == 101);
  }
  SECTION("elsewhere with a list: those") {
    Options options;
    options.allowed_hosts = {"example.com"};
    muster::websocketpp::ListenerOptions listener;
    listener.address = "0.0.0.0";
    Fixture f(options, listener);
    CHECK(f.ask(host("Example.com")) == 101);
    CHECK(f.ask(host("localhost")) == 403);
  }
}

TEST_CASE("a page may connect to its own host, or where it is listed", "[websocketpp][handshake]") {
  const auto origin = [](const std::string& value) { return request("Origin: " + value + "\r\n"); };
  SECTION("by default its own") {
    Fixture f;
    CHECK(f.ask(origin("http://localhost")) == 101);
    CHECK(f.request().origin == "http://localhost");
    CHECK(f.ask(origin("https://localhost:3000")) == 101);
    CHECK(f.ask(origin("http://evil.example")) == 403);
    CHECK(f.ask(origin("http://localhost.evil.example")) == 403);
    CHECK(f.ask(origin("null")) == 403);
    CHECK(f.ask(origin("localhost")) == 403);
    for (const char* wrong :
         {"http://localhost:x@evil.example", "http://localhost@localhost", "http://localhost:80/@evil",
          "http://localhost:evil.example", "http://localhost, http://localhost"}) {
      INFO(wrong);
      CHECK(f.ask(origin(wrong)) == 403);
    }
    CHECK(f.manager->count() == 2);
    CHECK(f.ask(origin("http://localhost:3000/")) == 101);
  }
  SECTION("listed ones") {
    Options options;
    options.allowed_origins = {"https://app.example", "other.example", "third.example:8443"};
    Fixture f(options);
    CHECK(f.ask(origin("https://app.example")) == 101);
    CHECK(f.ask(origin("http://app.example")) == 403);
    CHECK(f.ask(origin("http://other.example:1234")) == 101);
    CHECK(f.ask(origin("https://third.example:8443")) == 101);
    CHECK(f.ask(origin("https://third.example")) == 403);
    CHECK(f.ask(origin("null")) == 403);
    CHECK(f.ask(origin("http://localhost")) == 101);
  }
  SECTION("every host below a domain") {
    Options options;
    options.allowed_origins = {"*.app.example", "*.other.example:8443"};
    Fixture f(options);
    CHECK(f.ask(origin("https://www.app.example")) == 101);
    CHECK(f.ask(origin("https://a.b.APP.example:3000")) == 101);
    CHECK(f.ask(origin("https://app.example")) == 403);
    CHECK(f.ask(origin("https://evilapp.example")) == 403);
    CHECK(f.ask(origin("https://www.app.example.evil.example")) == 403);
    CHECK(f.ask(origin("https://.app.example")) == 403);
    CHECK(f.ask(origin("https://x.other.example:8443")) == 101);
    CHECK(f.ask(origin("https://x.other.example")) == 403);
  }
  SECTION("every page") {
    Options options;
    options.allowed_origins = {"*"};
    Fixture f(options);
    CHECK(f.ask(origin("http://anything.example")) == 101);
    CHECK(f.ask(origin("null")) == 101);
  }
}

TEST_CASE("the token is found where it may be, in order, and nowhere else", "[websocketpp][handshake]") {
  Options options;
  options.auth_cookie = "session";
  options.auth_query = true;
  Fixture f(options);
  const auto ask = [&](std::string_view extra, std::string_view target = "/ws") -> const OpenRequest& {
    REQUIRE(f.ask(request(extra, target)) == 101);
    return f.request(f.manager->count() - 1);
  };
  const std::string all =
      "Origin: http://localhost\r\nCookie: a=b; session=from-cookie\r\nSec-WebSocket-Protocol: muster.v1.json, bearer, "
      "from-protocol\r\n";

  const OpenRequest& first = ask("Authorization: bearer from-header\r\n" + all, "/ws?x=1&token=from-query&y=2");
  CHECK(first.token == "from-header");
  CHECK(first.token_source == TokenSource::authorization_header);
  CHECK(first.query == "x=1&y=2");
  CHECK(first.subprotocols == std::vector<std::string>{"muster.v1.json", "bearer"});

  const OpenRequest& back = ask(all, "/ws?x=1&resume=00000000000000ff&y=2");
  CHECK(back.resumes == ConnectionId(255));
  CHECK(back.query == "x=1&y=2");
  CHECK_FALSE(ask(all, "/ws?resume=nobody").resumes);

  const OpenRequest& second = ask(all, "/ws?token=from-query");
  CHECK(second.token == "from-protocol");
  CHECK(second.token_source == TokenSource::subprotocol);
  CHECK(second.query.empty());

  const std::string cookie = "Cookie: a=b; session=\"from-cookie\"\r\n";
  const OpenRequest& third = ask("Origin: http://localhost\r\n" + cookie, "/ws?token=from%2Dquery");
  CHECK(third.token == "from-query");
  CHECK(third.token_source == TokenSource::query);

  const OpenRequest& fourth = ask("Origin: http://localhost\r\n" + cookie);
  CHECK(fourth.token == "from-cookie");
  CHECK(fourth.token_source == TokenSource::cookie);

  const OpenRequest& none = ask("Authorization: Basic dTpw\r\nSec-WebSocket-Protocol: bearer\r\n");
  CHECK(none.token.empty());
  CHECK(none.token_source == TokenSource::none);
  CHECK(none.subprotocols == std::vector<std::string>{"bearer"});

  // Without an Origin a cookie proves nothing; where something else does, nobody asks it to.
  CHECK(f.ask(request(cookie)) == 403);
  CHECK(ask(cookie, "/ws?token=from-query").token == "from-query");
  CHECK(ask("Sec-WebSocket-Protocol: bearer, from-protocol\r\n" + cookie).token == "from-protocol");
  CHECK(ask("Authorization: Bearer from-header\r\n" + cookie).token == "from-header");
}

TEST_CASE("where only a message proves anything a cookie is no reason for a refusal", "[websocketpp][handshake]") {
  Options options;
  options.auth_cookie = "session";
  options.auth_mode = AuthMode::message_only;
  Fixture f(options);
  CHECK(f.ask(request("Cookie: session=from-cookie\r\n")) == 101);
  CHECK(f.request().token.empty());
}

TEST_CASE("cookies and queries carry no token unless they are switched on", "[websocketpp][handshake]") {
  Fixture f;
  REQUIRE(f.ask(request("Origin: http://localhost\r\nCookie: session=secret\r\n", "/ws?token=secret&a=b")) == 101);
  CHECK(f.request().token.empty());
  CHECK(f.request().query == "a=b");
}

TEST_CASE("the subprotocol of the decision is named, if it was offered", "[websocketpp][handshake]") {
  Fixture f;
  f.manager->decide = [](const OpenRequest& open) {
    Decision decision = test::RecordingManager::accepted();
    decision.subprotocol = open.subprotocols.empty() ? "muster.v1.json" : open.subprotocols.back();
    return decision;
  };
  CHECK(f.ask(request("Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: muster.v1.json\r\n")) == 101);
  CHECK(f.header("Sec-WebSocket-Protocol") == "muster.v1.json");
  CHECK(f.request().subprotocols == std::vector<std::string>{"other", "muster.v1.json"});
  CHECK(f.ask(request()) == 101);
  CHECK(f.header("Sec-WebSocket-Protocol").empty());
}

TEST_CASE("X-Forwarded-For is believed of trusted proxies only", "[websocketpp][handshake]") {
  const auto from = [](Fixture& f, std::string_view forwarded) {
    REQUIRE(f.ask(request(forwarded)) == 101);
    return f.request(f.manager->count() - 1).remote_address;
  };
  SECTION("of nobody by default") {
    Fixture f;
    const RemoteAddress address = from(f, "X-Forwarded-For: 10.1.1.1\r\n");
    CHECK(address.text == "127.0.0.1");
    CHECK(address.bytes == RemoteAddress::v4(127, 0, 0, 1).bytes);
    CHECK(f.manager->asked_for() == std::vector<std::string>{"127.0.0.1"});
  }
  SECTION("walked from the right, the first that is not trusted wins") {
    Options options;
    options.trusted_proxies = {"127.0.0.0/8", "10.0.0.0/9", "2001:db8::/32"};
    Fixture f(options);
    CHECK(from(f, "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\n").text == "2.2.2.2");
    CHECK(from(f, "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.127.0.1\r\n").text == "2.2.2.2");
    CHECK(from(f, "X-Forwarded-For: 2.2.2.2, 10.128.0.1\r\n").text == "10.128.0.1");
    CHECK(from(f, "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 10.0.0.1\r\n").text == "1.1.1.1");
    CHECK(from(f, "X-Forwarded-For: 2.2.2.2:4711\r\n").text == "2.2.2.2");
    CHECK(from(f, "X-Forwarded-For: ::ffff:2.2.2.2\r\n").bytes == RemoteAddress::v4(2, 2, 2, 2).bytes);
    CHECK(from(f, "X-Forwarded-For: 2.2.2.2, [2001:db8::7]:80\r\n").text == "2.2.2.2");
    CHECK(from(f, "X-Forwarded-For: 2001:db9::1\r\n").text == "2001:db9::1");
    CHECK(from(f, "X-Forwarded-For: 2.2.2.2, nonsense\r\n").text == "127.0.0.1");
    CHECK(from(f, "X-Forwarded-For: 10.0.0.1\r\n").text == "10.0.0.1");
    CHECK(from(f, "").text == "127.0.0.1");
    // The place was asked for without an address first, then in the name of the address.
    CHECK(f.manager->asked_for().at(0).empty());
    CHECK(f.manager->asked_for().at(1) == "2.2.2.2");
  }
  SECTION("a list that makes no sense is said so") {
    Options options;
    options.trusted_proxies = {"10.0.0.0/33"};
    Fixture f(options);
    CHECK_THROWS_AS(f.listen(), std::invalid_argument);
  }
}

TEST_CASE("accepted sockets send without delay", "[websocketpp][handshake]") {
  Fixture f;
  (void)f.open();
  int found = 0;
  for (int descriptor = 0; descriptor < 1024; ++descriptor) {
    sockaddr_in here{};
    sockaddr_in peer{};
    socklen_t size = sizeof here;
    if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&here), &size) != 0 || here.sin_family != AF_INET ||
        ntohs(here.sin_port) != f.listener->port()) {
      continue;
    }
    size = sizeof peer;
    if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &size) != 0) continue;  // the listener's own
    ++found;
    int no_delay = 0;
    size = sizeof no_delay;
    CHECK(::getsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size) == 0);
    CHECK(no_delay != 0);
  }
  CHECK(found == 1);
}

TEST_CASE("the first batch goes with the answer, and beyond what the socket takes behind it",
          "[websocketpp][handshake]") {
  const test::Certificate certificate;
  std::string batch;
  for (std::uint32_t i = 0; batch.size() < 16'000'000; ++i) batch += std::to_string(i) + ' ';
  for (const bool tls : {false, true}) {
    CAPTURE(tls);
    Fixture f({}, listening(tls, certificate));
    WriteResult result = WriteResult::closed;
    f.manager->on_open = [&](Transport&) { result = f.manager->write(0, batch, 3); };
    RawClient& client = f.connect(tls, 4096);
    client.send(RawClient::upgrade_request());
    CHECK(f.status(client) == 101);
    CHECK(f.until([&] { return client.in.size() >= batch.size(); }, std::chrono::seconds(60)));
    CHECK(result == WriteResult::pending);
    CHECK(client.in == batch);
    CHECK(f.manager->writables() == 1);
    CHECK(f.manager->faults().empty());
  }
}

TEST_CASE("what ends before its first batch has its answer first, unless it is aborted", "[websocketpp][handshake]") {
  const test::Certificate certificate;
  for (const bool tls : {false, true}) {
    CAPTURE(tls);
    Fixture f({}, listening(tls, certificate));
    f.manager->on_open = [](Transport& transport) { transport.close(4000, "gone"); };
    RawClient& closed = f.open({}, tls);
    CHECK(f.frame(closed)->code() == 4000);
    closed.cut();
    f.manager->on_open = [](Transport& transport) { transport.abort(); };
    RawClient& aborted = f.connect(tls);
    aborted.send(RawClient::upgrade_request());
    CHECK(f.status(aborted) == 0);
    CHECK(f.until([&] { return f.manager->reserved() == 0; }));
    CHECK(f.manager->closings(0).size() == 1);
    CHECK(f.manager->closings(1).size() == 1);
  }
}
