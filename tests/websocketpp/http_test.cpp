// Plain HTTP on the WebSocket port.
#include <sys/resource.h>

#include "websocketpp/fixture.hpp"

using namespace muster;
using test::Fixture;
using test::RawClient;

namespace {

/// One request for a socket of its own.
std::string get(std::string_view target, std::string_view method = "GET", std::string_view extra = {}) {
  return std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" +
         std::string(extra) + "\r\n";
}

std::string body(Fixture& f, RawClient& client) {
  CHECK(f.until([&] { return client.ended(); }));
  CHECK_FALSE(client.was_reset());
  return client.in;
}

}  // namespace

TEST_CASE("the hook answers what is no upgrade", "[websocketpp][http]") {
  muster::websocketpp::HttpRequest seen;
  muster::websocketpp::ListenerOptions listener;
  listener.http = [&](const muster::websocketpp::HttpRequest& request) {
    seen = request;
    muster::websocketpp::HttpResponse response;
    response.status = 201;
    response.content_type = "text/html";
    response.body = "hello";
    response.headers = {
        {"X-One", "1\r\nX-Forged: 2"}, {"Content-Length", "99"}, {"connection", "keep-alive"}, {"bad name", "x"}};
    return response;
  };
  Fixture f({}, listener);
  CHECK(f.ask(get("/a%20b?c=d&token=e", "GET", "X-Custom:  value \r\nx-custom: second\r\n")) == 201);
  CHECK(f.header("Content-Type") == "text/html");
  CHECK(f.header("Content-Length") == "5");
  CHECK(f.header("Connection") == "close");
  CHECK(f.header("X-One") == "1  X-Forged: 2");
  CHECK(f.head.find("\r\nX-Forged") == std::string::npos);
  CHECK(f.head.find("bad name") == std::string::npos);
  CHECK(f.head.find("keep-alive") == std::string::npos);
  CHECK(body(f, *f.clients.back()) == "hello");
  CHECK(seen.method == "GET");
  CHECK(seen.path == "/a%20b");
  CHECK(seen.query == "c=d&token=e");
  CHECK(seen.header("X-CUSTOM") == "value");
  CHECK(seen.header("nothing").empty());
  CHECK(seen.remote_address.text == "127.0.0.1");
  f.clients.back()->cut();
  CHECK(f.until([&] { return f.manager->reserved() == 0; }));
  CHECK(f.manager->count() == 0);
}

TEST_CASE("HEAD is asked as GET and answered without the body", "[websocketpp][http]") {
  muster::websocketpp::ListenerOptions listener;
  listener.http = [](const muster::websocketpp::HttpRequest& request) {
    muster::websocketpp::HttpResponse response;
    response.body = request.method;
    return response;
  };
  Fixture f({}, listener);
  CHECK(f.ask(get("/", "HEAD")) == 200);
  CHECK(f.header("Content-Length") == "3");
  CHECK(body(f, *f.clients.back()).empty());
}

TEST_CASE("a status without a body has none", "[websocketpp][http]") {
  muster::websocketpp::ListenerOptions listener;
  listener.http = [](const muster::websocketpp::HttpRequest&) {
    muster::websocketpp::HttpResponse response;
    response.status = 304;
    response.body = "not this";
    return response;
  };
  Fixture f({}, listener);
  CHECK(f.ask(get("/")) == 304);
  CHECK(f.head.find("Content-Length") == std::string::npos);
  CHECK(body(f, *f.clients.back()).empty());
}

TEST_CASE("a hook that fails is a 500 and nothing else", "[websocketpp][http]") {
  muster::websocketpp::ListenerOptions listener;
  listener.http = [](const muster::websocketpp::HttpRequest& request) {
    if (request.path == "/throw") throw 1;
    muster::websocketpp::HttpResponse response;
    response.status = 0;
    return response;
  };
  Fixture f({}, listener);
  CHECK(f.ask(get("/throw")) == 500);
  CHECK(f.ask(get("/zero")) == 500);
  CHECK(f.ask(RawClient::upgrade_request()) == 101);
}

TEST_CASE("requests that are not for us do not reach the hook", "[websocketpp][http]") {
  bool called = false;
  muster::websocketpp::ListenerOptions listener;
  listener.http = [&](const muster::websocketpp::HttpRequest&) {
    called = true;
    return muster::websocketpp::HttpResponse();
  };
  Fixture f({}, listener);
  CHECK(f.ask("GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n") == 403);
  CHECK(f.ask("GET / HTTP/1.1\r\n\r\n") == 400);
  CHECK(f.ask("GET /\r\n\r\n") == 400);
  CHECK_FALSE(called);
  CHECK(f.ask("GET / HTTP/1.0\r\n\r\n") == 200);  // a plain health check
  CHECK(called);
}

TEST_CASE("behind a head that was refused nothing is read", "[websocketpp][http]") {
  Fixture f;
  const std::string good = RawClient::upgrade_request();
  struct Case {
    std::string head;
    int status;
  };
  const Case cases[] = {
      {"GET /ws HTTP/1.1\r\nno header\r\n\r\n", 400},
      {"GET /ws\r\n\r\n", 400},
      {RawClient::upgrade_request({}, "/ws", "Sec-WebSocket-Key"), 400},
      {RawClient::upgrade_request("Origin: http://evil.example\r\n"), 403},
      {get("/ws"), 426},
      {"GET /" + std::string(100'000, 'a'), 431},
  };
  for (const Case& bad : cases) {
    INFO(bad.status << " for " << bad.head.substr(0, 100));
    RawClient& client = f.connect();
    client.send(bad.head + good);
    CHECK(f.status(client) == bad.status);
    client.send(good);
    for (const char byte : good) client.send({&byte, 1});
    f.settle();
    CHECK(client.all_sent());
    CHECK(client.in.find("HTTP/1.1") == std::string::npos);
    client.cut();
    CHECK(f.until([&] { return f.manager->reserved() == 0; }));
  }
  CHECK(f.manager->count() == 0);
}

TEST_CASE("a large answer arrives whole at a slow reader", "[websocketpp][http]") {
  std::string large(5'000'000, ' ');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>('a' + i % 26);
  muster::websocketpp::ListenerOptions listener;
  listener.http = [&](const muster::websocketpp::HttpRequest&) {
    muster::websocketpp::HttpResponse response;
    response.body = large;
    return response;
  };
  Fixture f({}, listener);
  RawClient& client = f.connect(false, 4096);
  client.send(get("/"));
  client.stall(true);
  f.settle();
  client.stall(false);
  CHECK(f.status(client) == 200);
  CHECK(body(f, client) == large);
}

TEST_CASE("an answer that nobody reads is given up after http_timeout", "[websocketpp][http]") {
  muster::websocketpp::ListenerOptions listener;
  listener.http_timeout = std::chrono::milliseconds(100);
  listener.http = [](const muster::websocketpp::HttpRequest&) {
    muster::websocketpp::HttpResponse response;
    response.body.assign(20'000'000, 'x');
    return response;
  };
  Fixture f({}, listener);
  RawClient& client = f.connect(false, 4096);
  client.send(get("/"));
  client.stall(true);
  CHECK(f.until([&] { return f.manager->asked_for().size() == 1; }));
  CHECK(f.until([&] { return f.manager->reserved() == 0; }));
}

namespace {

/// `size` bytes that tell their places; how many were asked for is counted.
muster::websocketpp::HttpResponse counted(std::uint64_t size, std::uint64_t& given, std::uint64_t ends_at) {
  muster::websocketpp::HttpResponse response;
  response.source_bytes = size;
  response.source = [&given, ends_at](char* to, std::size_t room) {
    std::size_t n = 0;
    for (; n < room && given < ends_at; ++n) to[n] = static_cast<char>('a' + given++ % 26);
    return n;
  };
  return response;
}

}  // namespace

TEST_CASE("a large body is asked for as the peer takes it, and arrives whole", "[websocketpp][http]") {
  constexpr std::uint64_t size = 40'000'001;
  std::uint64_t given = 0;
  muster::websocketpp::ListenerOptions listener;
  listener.http = [&](const muster::websocketpp::HttpRequest&) { return counted(size, given, size); };
  Fixture f({}, listener);
  RawClient& client = f.connect(false, 4096);
  client.stall(true);
  client.send(get("/"));
  CHECK(f.until([&] { return given != 0; }));
  f.settle();
  CHECK(given < 4'000'000);  // what the system holds for it, and a piece
  client.stall(false);
  CHECK(f.status(client) == 200);
  CHECK(f.header("Content-Length") == "40000001");
  const std::string whole = body(f, client);
  REQUIRE(whole.size() == size);
  bool in_order = true;
  for (std::size_t i = 0; i < size; ++i) in_order = in_order && whole[i] == static_cast<char>('a' + i % 26);
  CHECK(in_order);
}

TEST_CASE("a source is not asked for a HEAD, and one that ends early or throws is no whole answer",
          "[websocketpp][http]") {
  std::uint64_t given = 0;
  muster::websocketpp::ListenerOptions listener;
  listener.http = [&](const muster::websocketpp::HttpRequest& request) {
    auto response = counted(1'000'000, given, 100'000);
    if (request.path == "/throw") response.source = [](char*, std::size_t) -> std::size_t { throw 1; };
    if (request.path == "/empty") response.source_bytes = 0;
    return response;
  };
  Fixture f({}, listener);
  CHECK(f.ask(get("/", "HEAD")) == 200);
  CHECK(f.header("Content-Length") == "1000000");
  CHECK(body(f, *f.clients.back()).empty());
  CHECK(f.ask(get("/empty")) == 200);
  CHECK(body(f, *f.clients.back()).empty());
  CHECK(given == 0);
  for (const char* path : {"/", "/throw"}) {
    RawClient& client = f.connect();
    client.send(get(path));
    CHECK(f.until([&] { return client.ended(); }));
    CHECK(client.was_reset());
  }
  CHECK(f.ask(RawClient::upgrade_request()) == 101);
}

TEST_CASE("who takes an answer slowly gets it however long that takes", "[websocketpp][http]") {
  constexpr std::uint64_t size = 8'000'000;
  std::uint64_t given = 0;
  muster::websocketpp::ListenerOptions listener;
  listener.http_timeout = std::chrono::milliseconds(1000);
  const bool whole = GENERATE(false, true);
  listener.http = [&](const muster::websocketpp::HttpRequest&) {
    auto response = counted(size, given, size);
    if (!whole) return response;
    response.body.resize(size);
    (void)response.source(response.body.data(), size);
    response.source = nullptr;
    return response;
  };
  Fixture f({}, listener);
  RawClient& client = f.connect(false, 4096);
  client.send(get("/"));
  const auto start = std::chrono::steady_clock::now();
  std::size_t had = 0;
  while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(2500) && !client.ended()) {
    client.stall(true);
    (void)f.until([] { return false; }, std::chrono::milliseconds(100));
    client.stall(false);
    client.pump();
    CHECK(client.in.size() > had);
    had = client.in.size();
  }
  CHECK(f.status(client) == 200);
  CHECK(body(f, client).size() == size);
}

TEST_CASE("a peer that keeps the socket after its answer loses it", "[websocketpp][http]") {
  Options options;
  options.close_timeout = std::chrono::milliseconds(100);
  muster::websocketpp::ListenerOptions listener;
  listener.http_timeout = std::chrono::hours(1);  // for the writing alone
  listener.http = [](const muster::websocketpp::HttpRequest&) { return muster::websocketpp::HttpResponse(); };
  Fixture f(options, listener);
  CHECK(f.ask(get("/")) == 200);
  CHECK(f.until([&] { return f.manager->reserved() == 0; }));  // although the client never closes
}

TEST_CASE("health checks are answered when every place is taken", "[websocketpp][http]") {
  muster::websocketpp::ListenerOptions listener;
  listener.http = [](const muster::websocketpp::HttpRequest&) { return muster::websocketpp::HttpResponse(); };
  Fixture f({}, listener);
  f.manager->places = 1;
  (void)f.open();
  CHECK(f.ask(get("/healthz")) == 200);
  CHECK(f.ask(RawClient::upgrade_request()) == 503);
}

// Not under the sanitizers of memory: they look at pointers through a pipe, which takes descriptors too.
#if !defined(__SANITIZE_ADDRESS__)
TEST_CASE("without descriptors the acceptor waits, and goes on when there are some", "[websocketpp][http]") {
  Fixture f;
  f.listen();
  // As many clients as fit the accept queue, and no descriptor left for their other ends.
  std::vector<RawClient*> waiting;
  for (int i = 0; i < 3; ++i) waiting.push_back(&f.connect());
  rlimit old{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &old) == 0);
  rlimit none = old;
  const int highest = ::dup(0);
  none.rlim_cur = static_cast<rlim_t>(highest);
  ::close(highest);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  const auto start = std::chrono::steady_clock::now();
  std::size_t turns = 0;
  while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(250)) {
    turns += f.io.run_one_for(std::chrono::milliseconds(10));
    f.io.restart();
  }
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &old) == 0);
  CHECK(turns < 20);
  CHECK(f.manager->asked_for().empty());
  for (RawClient* client : waiting) {
    client->send(RawClient::upgrade_request());
    CHECK(f.status(*client) == 101);
  }
}
#endif
