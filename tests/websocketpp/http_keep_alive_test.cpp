// More than one request on a socket (RFC 9112, 9.3): which sockets are kept, how long, and whose place they take.
#include "websocketpp/http_answer.hpp"

using namespace muster;
using muster::websocketpp::HttpRequest;
using muster::websocketpp::HttpResponse;
using muster::websocketpp::ListenerOptions;
using test::Fixture;
using test::http_post;
using test::http_request;
using test::next_answer;
using test::RawClient;

namespace {

/// Says the path; /large is a large body.
ListenerOptions says_path() {
  ListenerOptions options;
  options.http = [](const HttpRequest& request) {
    HttpResponse response;
    response.body = request.path == "/large" ? std::string(5'000'000, 'x') : request.path;
    return response;
  };
  return options;
}

/// Asks on this socket; whether it is kept behind the answer.
bool kept_behind(Fixture& f, RawClient& client, const std::string& request) {
  client.send(request);
  const auto answer = next_answer(f, client);
  REQUIRE(answer.status == 200);
  if (answer.header("Connection").empty()) return true;
  CHECK(answer.header("Connection") == "close");
  CHECK(f.until([&] { return client.ended(); }));
  CHECK_FALSE(client.was_reset());
  return false;
}

}  // namespace

TEST_CASE("pipelined requests are answered in their order, one at a time", "[websocketpp][http][keep-alive]") {
  std::size_t asked = 0;
  ListenerOptions options = says_path();
  options.http = [inner = options.http, &asked](const HttpRequest& request) { return ++asked, inner(request); };
  Fixture f({}, options);
  RawClient& client = f.connect(false, 4096);
  std::string requests;
  for (int i = 0; i < 200; ++i) {
    const std::string path = "/" + std::to_string(i);
    requests += i % 3 == 0   ? http_post(path, "body")
                : i % 3 == 1 ? "\r\n" + http_request("GET", path)
                             : http_request("POST", path, "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n");
  }
  client.send(requests);
  for (int i = 0; i < 200; ++i) CHECK(next_answer(f, client).body == "/" + std::to_string(i));
  CHECK(asked == 200);
  // Behind an answer that is not taken nothing is asked, so that nothing more is held.
  client.stall(true);
  client.send(http_request("GET", "/large") + http_request("GET", "/behind"));
  f.settle();
  CHECK(asked == 201);
  client.stall(false);
  CHECK(next_answer(f, client).body.size() == 5'000'000);
  CHECK(next_answer(f, client).body == "/behind");
}

TEST_CASE("a socket is kept as HTTP/1.1 says", "[websocketpp][http][keep-alive]") {
  Fixture f({}, says_path());
  RawClient& client = f.connect();
  CHECK(kept_behind(f, client, http_request("GET", "/")));
  CHECK(kept_behind(f, client, http_request("GET", "/", "Connection: keep-alive\r\n")));
  CHECK(f.manager->reserved() == 0);  // it takes no place of a connection's
  CHECK_FALSE(kept_behind(f, client, http_request("GET", "/", "Connection: x, Close\r\n")));
  CHECK_FALSE(kept_behind(f, f.connect(), "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  RawClient& pipelining = f.connect();
  CHECK_FALSE(
      kept_behind(f, pipelining, http_request("GET", "/", "Connection: close\r\n") + http_request("GET", "/x")));
  CHECK(pipelining.in.empty());
}

TEST_CASE("an error closes the socket, and what is behind it is not served", "[websocketpp][http][keep-alive]") {
  Fixture f({}, says_path());
  const std::string bad_ones[] = {"nonsense\r\n\r\n", "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
                                  http_request("GET", "/", "no header\r\n"), "GET /" + std::string(10'000, 'a')};
  for (const std::string& bad : bad_ones) {
    RawClient& client = f.connect();
    REQUIRE(kept_behind(f, client, http_request("GET", "/")));
    client.send(bad + http_request("GET", "/behind"));
    const auto answer = next_answer(f, client);
    CHECK(answer.status >= 400);
    CHECK(answer.header("Connection") == "close");
    CHECK(f.until([&] { return client.ended(); }));
    CHECK(client.in.empty());
  }
}

TEST_CASE("a socket is kept for http_idle_timeout, and a head begun has the handshake's time",
          "[websocketpp][http][keep-alive]") {
  Options core;
  ListenerOptions options = says_path();
  std::string more;
  SECTION("silent") { options.http_idle_timeout = std::chrono::milliseconds(100); }
  SECTION("slow") {
    core.handshake_timeout = std::chrono::milliseconds(100);
    more = "G";
  }
  Fixture f(core, options);
  RawClient& client = f.connect();
  REQUIRE(kept_behind(f, client, http_request("GET", "/")));
  const auto start = std::chrono::steady_clock::now();
  while (!client.ended() && std::chrono::steady_clock::now() - start < std::chrono::seconds(10)) {
    client.send(more);
    (void)f.until([] { return false; }, std::chrono::milliseconds(5));
  }
  CHECK(client.ended());
  CHECK(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(90));
  CHECK(client.in.empty());
}

TEST_CASE("without http_idle_timeout no socket is kept, and none beyond http_requests_per_socket",
          "[websocketpp][http][keep-alive]") {
  ListenerOptions options = says_path();
  SECTION("none") {
    options.http_idle_timeout = std::chrono::milliseconds(0);
    Fixture f({}, options);
    CHECK_FALSE(kept_behind(f, f.connect(), http_request("GET", "/")));
  }
  SECTION("three") {
    options.http_requests_per_socket = 3;
    Fixture f({}, options);
    RawClient& client = f.connect();
    CHECK(kept_behind(f, client, http_request("GET", "/")));
    CHECK(kept_behind(f, client, http_request("GET", "/")));
    CHECK_FALSE(kept_behind(f, client, http_request("GET", "/")));
  }
}

TEST_CASE("an upgrade may come on a socket that was kept, and needs a place", "[websocketpp][http][keep-alive]") {
  Fixture f({}, says_path());
  RawClient& client = f.connect();
  REQUIRE(kept_behind(f, client, http_request("GET", "/")));
  f.settle();
  REQUIRE(f.manager->reserved() == 0);
  SECTION("which there is") {
    client.send(RawClient::upgrade_request() + test::text_frame("hello"));
    CHECK(f.status(client) == 101);
    CHECK(f.until([&] { return f.manager->messages() == 1; }));
    CHECK(f.manager->reserved() == 1);
    client.cut();
    CHECK(f.until([&] { return f.manager->reserved() == 0; }));
  }
  SECTION("which there is not") {
    f.manager->places = 0;
    client.send(RawClient::upgrade_request());
    CHECK(f.status(client) == 503);
    CHECK(f.until([&] { return client.ended(); }));
    CHECK(f.manager->count() == 0);
  }
}

TEST_CASE("of a proxy's requests on one socket each is for whom it says", "[websocketpp][http][keep-alive]") {
  std::vector<std::string> seen;
  ListenerOptions options;
  options.http = [&](const HttpRequest& request) {
    seen.push_back(request.remote_address.text);
    return HttpResponse();
  };
  Options core;
  core.trusted_proxies = {"127.0.0.1"};
  Fixture f(core, options);
  RawClient& client = f.connect();
  CHECK(kept_behind(f, client, http_request("GET", "/", "X-Forwarded-For: 192.0.2.1\r\n")));
  CHECK(kept_behind(f, client, http_request("GET", "/", "X-Forwarded-For: 192.0.2.2\r\n")));
  CHECK(kept_behind(f, client, http_request("GET", "/")));
  CHECK(seen == std::vector<std::string>{"192.0.2.1", "192.0.2.2", "127.0.0.1"});
  client.send(RawClient::upgrade_request("X-Forwarded-For: 192.0.2.3\r\n"));
  CHECK(f.status(client) == 101);
  CHECK(f.manager->asked_for().back() == "192.0.2.3");
  CHECK(f.request().remote_address.text == "192.0.2.3");
}

TEST_CASE("where http_sockets is full the socket that is idle longest goes first", "[websocketpp][http][keep-alive]") {
  ListenerOptions options = says_path();
  options.http_sockets = 3;
  Fixture f({}, options);
  std::vector<RawClient*> idle;
  for (int i = 0; i < 3; ++i) {
    idle.push_back(&f.connect());
    REQUIRE(kept_behind(f, *idle.back(), http_request("GET", "/")));
  }
  REQUIRE(kept_behind(f, *idle[0], http_request("GET", "/")));  // the second is now the oldest
  idle[2]->send("GET /half");                                   // half a request is none
  RawClient& next = f.connect();
  REQUIRE(kept_behind(f, next, http_request("GET", "/")));
  CHECK(f.until([&] { return idle[1]->ended(); }));
  CHECK_FALSE(idle[0]->ended());
  CHECK_FALSE(idle[2]->ended());
  RawClient& another = f.connect();
  REQUIRE(kept_behind(f, another, http_request("GET", "/")));
  CHECK(f.until([&] { return idle[2]->ended(); }));
  // Whoever is being served loses nothing: without an idle socket the next is closed with its answer.
  for (RawClient* busy : {idle[0], &next, &another})
    busy->send(http_request("POST", "/", "Content-Length: 5\r\n", "hell"));
  f.settle();
  CHECK_FALSE(kept_behind(f, f.connect(), http_request("GET", "/")));
  for (RawClient* busy : {idle[0], &next, &another}) CHECK(kept_behind(f, *busy, "o"));
  for (const auto& client : f.clients) client->cut();
  CHECK(f.until([&] { return f.manager->reserved() == 0; }));
  // All three places are there again.
  for (int i = 0; i < 3; ++i) REQUIRE(kept_behind(f, f.connect(), http_request("GET", "/")));
  f.settle();
  CHECK_FALSE(f.clients[f.clients.size() - 3]->ended());
}

TEST_CASE("sockets of several loops give each other their places", "[websocketpp][http][keep-alive]") {
  muster::websocketpp::ServerOptions options;
  static_cast<ListenerOptions&>(options) = says_path();
  options.threads = 2;
  options.http_sockets = 2;
  muster::websocketpp::Server server(std::make_shared<test::RecordingManager>(), options);
  server.start();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 60; ++i) {
    clients.push_back(std::make_unique<RawClient>(server.port()));
    RawClient& client = *clients.back();
    client.send(http_request("GET", "/"));
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (client.in.find("\r\n\r\n/") == std::string::npos && std::chrono::steady_clock::now() < end) client.pump();
    CHECK(client.in.find("Connection: close") == std::string::npos);
  }
  std::size_t open = clients.size();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (open > 2 && std::chrono::steady_clock::now() < end) {
    open = 0;
    for (const auto& client : clients) {
      client->pump();
      open += client->ended() ? 0 : 1;
    }
  }
  CHECK(open == 2);
  server.stop();  // and does not wait for those that are idle
}
