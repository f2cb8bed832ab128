// Who is turned away: told to the core by reason, with what was offered and what would admit it. Probes are not.
#include "websocketpp/fixture.hpp"

using namespace muster;
using test::Fixture;
using test::RawClient;

namespace {

std::string get(const std::string& target, const std::string& host = "localhost", const std::string& extra = {}) {
  return "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + extra + "\r\n";
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

muster::websocketpp::ListenerOptions with_probes() {
  muster::websocketpp::ListenerOptions options;
  options.http = [](const muster::websocketpp::HttpRequest&) { return muster::websocketpp::HttpResponse(); };
  options.probe_paths = {"/healthz", "/readyz"};
  return options;
}

}  // namespace

TEST_CASE("a refusal of the adapter's is told, and names what was offered and what would admit it",
          "[websocketpp][refusals]") {
  struct Case {
    std::string request;
    int status;
    RefusedFor reason;
    std::vector<std::string> words;
  };
  const std::string upgrade = RawClient::upgrade_request();
  const Case cases[] = {
      {replaced(upgrade, "Host: localhost", "Host: app.example:8443"),
       403,
       RefusedFor::host,
       {"app.example:8443", "allowed_hosts", "--allowed-host NAME", "--behind-proxy"}},
      {get("/", "app.example"), 403, RefusedFor::host, {"app.example"}},
      {RawClient::upgrade_request("Origin: https://app.example\r\n"),
       403,
       RefusedFor::origin,
       {"https://app.example", "localhost", "allowed_origins", "--allowed-origin NAME"}},
      {RawClient::upgrade_request("Origin: https://a\xff.example\r\n"), 403, RefusedFor::origin, {"a?.example"}},
      {RawClient::upgrade_request("Cookie: session=secret\r\n"), 403, RefusedFor::origin, {"Origin"}},
      {replaced(upgrade, "Version: 13", "Version: 8"), 426, RefusedFor::request, {"Sec-WebSocket-Version"}},
      {"nonsense\r\n\r\n", 400, RefusedFor::request, {"not HTTP"}},
      {replaced(upgrade, "Upgrade: websocket\r\n", ""),
       426,
       RefusedFor::request,
       {"no Upgrade header", "proxy may have removed it"}},
      {replaced(upgrade, "Connection: keep-alive, Upgrade", "Connection: close"),
       400,
       RefusedFor::request,
       {"proxy may have removed it"}},
  };
  Options options;
  options.auth_cookie = "session";
  Fixture f(options, with_probes());
  std::size_t told = 0;
  for (const Case& c : cases) {
    INFO(c.request);
    CHECK(f.ask(c.request) == c.status);
    RawClient& client = *f.clients.back();
    CHECK(f.until([&] { return client.ended(); }));
    const auto refusals = f.manager->refusals();
    REQUIRE(refusals.size() == ++told);
    CHECK(refusals.back().reason == c.reason);
    CHECK(refusals.back().address == "127.0.0.1");
    for (const std::string& word : c.words) {
      CHECK(refusals.back().what.find(word) != std::string::npos);
      CHECK(client.in.find(word) != std::string::npos);  // the client is told as well
    }
    CHECK(refusals.back().what.find("secret") == std::string::npos);
  }
}

TEST_CASE("what is said of a proxy without Upgrade needs no hook", "[websocketpp][refusals]") {
  Fixture f;
  CHECK(f.ask(get("/ws")) == 426);
  CHECK(f.header("Upgrade") == "websocket");
  CHECK(f.manager->refusals().size() == 1);
}

TEST_CASE("a probe is answered whatever its Host, and is no refusal where there is no place",
          "[websocketpp][refusals]") {
  Fixture f({}, with_probes());
  for (const char* host : {"10.1.2.3:8080", "app.example", "a b"}) CHECK(f.ask(get("/healthz", host)) == 200);
  CHECK(f.ask("GET /readyz HTTP/1.1\r\n\r\n") == 200);
  CHECK(f.ask("HEAD /readyz HTTP/1.0\r\n\r\n") == 200);
  f.manager->places = 0;
  CHECK(f.ask(get("/healthz")) == 200);
  CHECK(f.manager->refusals().empty());
  // Not so what only looks like one.
  CHECK(f.ask(get("/healthz/x", "app.example")) == 403);
  CHECK(f.ask(replaced(RawClient::upgrade_request({}, "/healthz"), "localhost", "app.example")) == 403);
  CHECK(f.ask(RawClient::upgrade_request()) == 503);
  REQUIRE(f.manager->refusals().size() == 3);
  CHECK(f.manager->refusals()[2].reason == RefusedFor::capacity);
  CHECK(f.manager->count() == 0);
}

TEST_CASE("who is closed unanswered for want of sockets is counted, too", "[websocketpp][refusals]") {
  muster::websocketpp::ListenerOptions listener;
  listener.extra_sockets = 0;
  Fixture f({}, listener);
  f.manager->places = 0;
  RawClient& client = f.connect();
  CHECK(f.until([&] { return client.ended(); }));
  REQUIRE(f.manager->refusals().size() == 1);
  CHECK(f.manager->refusals()[0].reason == RefusedFor::capacity);
}
