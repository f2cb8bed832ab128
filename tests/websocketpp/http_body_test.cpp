// Bodies of plain requests: their framing, their bounds, and what two readers could read in two ways.
#include <cstdio>

#include "websocketpp/certificate.hpp"
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

/// Says what it was asked: method, body and size.
ListenerOptions echo() {
  ListenerOptions options;
  options.http = [](const HttpRequest& request) {
    HttpResponse response;
    response.body = request.method + ":" + request.body;
    return response;
  };
  return options;
}

std::string chunked(std::string_view chunks, std::string_view headers = {}) {
  return http_request("POST", "/", "Transfer-Encoding: chunked\r\n" + std::string(headers), chunks);
}

}  // namespace

TEST_CASE("a body of known length and one in chunks come to the handler alike", "[websocketpp][http]") {
  Fixture f({}, echo());
  RawClient& client = f.connect();
  client.send(http_post("/", "hello"));
  CHECK(next_answer(f, client).body == "POST:hello");
  client.send(chunked("5\r\nhello\r\n06 ; a=\"b\" ;c\r\n world\r\n0\r\n\r\n"));
  CHECK(next_answer(f, client).body == "POST:hello world");
  client.send(chunked("A\r\n0123456789\r\n0;last\r\nX-Sum: 1\r\nX-More:\r\n\r\n"));
  CHECK(next_answer(f, client).body == "POST:0123456789");  // trailers are passed over
  client.send(chunked("0\r\n\r\n"));
  CHECK(next_answer(f, client).body == "POST:");
  client.send(http_request("PUT", "/", "Content-Length: 0\r\n"));
  CHECK(next_answer(f, client).body == "PUT:");
  CHECK_FALSE(client.ended());
}

TEST_CASE("a body may come in pieces of any size", "[websocketpp][http]") {
  const bool tls = GENERATE(false, true);
  const std::size_t piece = GENERATE(1U, 3U, 1000U);
  ListenerOptions options = echo();
  const test::Certificate certificate;
  if (tls) options.tls_certificate_file = certificate.certificate_file;
  if (tls) options.tls_key_file = certificate.key_file;
  Fixture f({}, options);
  RawClient& client = f.connect(tls);
  const std::string all = chunked("5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nA: b\r\n\r\n") + http_post("/", "again");
  for (std::size_t at = 0; at < all.size(); at += piece) {
    client.send(all.substr(at, piece));
    (void)f.until([] { return false; }, std::chrono::milliseconds(piece == 1 ? 0 : 1));
  }
  CHECK(next_answer(f, client).body == "POST:hello world");
  CHECK(next_answer(f, client).body == "POST:again");
}

TEST_CASE("http_body_bytes is what a body may have, and one byte more is a 413", "[websocketpp][http]") {
  ListenerOptions options = echo();
  options.http_body_bytes = 100'000;
  Fixture f({}, options);
  const std::string most(100'000, 'x');
  for (const bool in_chunks : {false, true}) {
    INFO(in_chunks);
    const auto post = [&](const std::string& body) {
      if (!in_chunks) return http_post("/", body);
      return chunked("8000\r\n" + body.substr(0, 0x8000) + "\r\n" +
                     [&] {
                       char size[16];
                       std::snprintf(size, sizeof size, "%zx", body.size() - 0x8000);
                       return std::string(size);
                     }() +
                     "\r\n" + body.substr(0x8000) + "\r\n0\r\n\r\n");
    };
    RawClient& client = f.connect();
    client.send(post(most));
    CHECK(next_answer(f, client).body.size() == most.size() + 5);
    client.send(post(most + "y"));
    const auto answer = next_answer(f, client);
    CHECK(answer.status == 413);
    CHECK(answer.header("Connection") == "close");
    CHECK(f.until([&] { return client.ended(); }));
    CHECK_FALSE(client.was_reset());
  }
  // A length is believed before a byte of it is there, however long it says it is.
  for (const char* length : {"100001", "18446744073709551615", "18446744073709551616", "99999999999999999999999999"}) {
    INFO(length);
    CHECK(f.ask(http_request("POST", "/", "Content-Length: " + std::string(length) + "\r\n")) == 413);
  }
  CHECK(f.ask(chunked("186a1\r\n")) == 413);
  CHECK(f.ask(chunked("ffffffffffffffff\r\n")) == 413);
}

TEST_CASE("what two readers could read as two requests is refused and closed", "[websocketpp][http]") {
  struct Case {
    std::string headers;
    std::string body;
    int status;
  };
  const std::string te = "Transfer-Encoding: chunked\r\n";
  std::string trailers = "0\r\n";
  std::string extensions;
  for (int i = 0; i < 5000; ++i) {
    trailers += "A: b\r\n";
    extensions += "1;x\r\na\r\n";
  }
  const Case cases[] = {
      {te, trailers + "\r\n", 431},  // each is short, and all of them are not
      {te, extensions + "0\r\n\r\n", 431},
      {te + "Content-Length: 5\r\n", "0\r\n\r\n", 400},
      {"Content-Length: 5\r\n" + te, "0\r\n\r\n", 400},
      {"Content-Length: 5\r\nContent-Length: 5\r\n", "hello", 400},
      {"Content-Length: 5\r\nContent-Length: 6\r\n", "hello", 400},
      {"Content-Length: 5, 5\r\n", "hello", 400},
      {"Content-Length: +5\r\n", "hello", 400},
      {"Content-Length: -5\r\n", "hello", 400},
      {"Content-Length: 0x5\r\n", "hello", 400},
      {"Content-Length: \r\n", "", 400},
      {"Content-Length : 5\r\n", "hello", 400},
      {te + te, "0\r\n\r\n", 400},
      {"Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n", 400},
      {"Transfer-Encoding: ,\r\n", "", 400},
      {"Transfer-Encoding: \r\n", "", 400},
      {"Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n", 501},
      {"Transfer-Encoding: gzip\r\n", "", 501},
      {"Transfer-Encoding: identity\r\n", "", 501},
      {"Transfer-Encoding: xchunked\r\n", "", 501},
      {"Transfer-Encoding: chunked;q=1\r\n", "", 501},
      {te, "5\nhello\r\n0\r\n\r\n", 400},         // a line ends with CRLF
      {te, "5\r\nhello\n0\r\n\r\n", 400},         // also behind the data
      {te, "5\r\nhelloX", 400},                   // which is as long as was said
      {te, "5\r\nhello\rX", 400},                 //
      {te, "\r\nhello\r\n0\r\n\r\n", 400},        // there is a size
      {te, "+5\r\nhello\r\n0\r\n\r\n", 400},      // which is digits alone
      {te, "0x5\r\nhello\r\n0\r\n\r\n", 400},     //
      {te, "-1\r\nhello\r\n0\r\n\r\n", 400},      //
      {te, "5 \r\nhello\r\n0\r\n\r\n", 400},      //
      {te, " 5\r\nhello\r\n0\r\n\r\n", 400},      //
      {te, "5 5\r\nhello\r\n0\r\n\r\n", 400},     //
      {te, "00000000000000005\r\nhello", 400},    // not more than anybody needs
      {te, "10000000000000005\r\nhello", 400},    // nor what would wrap around
      {te, "5;a\rb\r\nhello\r\n0\r\n\r\n", 400},  // no extension has what others take for a line's end
      {te, "5;a\nb\r\nhello\r\n0\r\n\r\n", 400},  //
      {te, std::string("5;a\0b\r\n", 7), 400},
      {te, "0\r\nno trailer\r\n\r\n", 400},
      {te, "0\r\nA: b\nC: d\r\n\r\n", 400},
      {te, "0\r\n A: b\r\n\r\n", 400},
      {te, "0\r\n\n", 400},
      {te, "5;" + std::string(10'000, 'x'), 431},  // ends or not
      {te, "1;" + std::string(5'000, 'x') + "\r\na\r\n1;" + std::string(5'000, 'x') + "\r\n", 431},
      {te, "0\r\nA: " + std::string(5'000, 'x') + "\r\nB: " + std::string(5'000, 'x') + "\r\n", 431},
  };
  std::size_t called = 0;
  ListenerOptions options;
  options.http = [&](const HttpRequest&) { return ++called, HttpResponse(); };
  Fixture f({}, options);
  const std::string smuggled = http_request("GET", "/smuggled");
  for (const Case& c : cases) {
    INFO(c.headers << c.body.substr(0, 60));
    RawClient& client = f.connect();
    client.send(http_request("POST", "/", c.headers, c.body) + smuggled);
    CHECK(f.status(client) == c.status);
    CHECK(f.header("Connection") == "close");
    CHECK(f.until([&] { return client.ended(); }));
    CHECK(client.in.find("HTTP/1.1") == std::string::npos);
    CHECK(f.manager->refusals().back().reason == RefusedFor::request);
  }
  // HTTP/1.0 has no transfer codings.
  CHECK(f.ask("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == 400);
  CHECK(called == 0);
  CHECK(f.ask("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab") == 200);
  CHECK(called == 1);
}

TEST_CASE("who asks whether to send its body is told, before or instead", "[websocketpp][http]") {
  const std::string expects = "Expect: 100-Continue\r\n";
  ListenerOptions options = echo();
  options.routes.add("PUT", "/here", options.http);
  options.http = nullptr;
  Fixture f({}, options);
  RawClient& client = f.connect();
  client.send(http_request("PUT", "/here", expects + "Content-Length: 5\r\n"));
  CHECK(f.status(client) == 100);
  CHECK(f.head == "HTTP/1.1 100 Continue\r\n\r\n");
  f.settle();
  CHECK(client.in.empty());
  client.send("hello");
  CHECK(next_answer(f, client).body == "PUT:hello");
  // Whoever does not wait is not told to go on, and whoever sends no body neither.
  client.send(http_request("PUT", "/here", expects + "Content-Length: 5\r\n", "h"));
  f.settle();
  client.send("ello");
  CHECK(next_answer(f, client).status == 200);
  client.send(http_request("PUT", "/here", expects));
  CHECK(next_answer(f, client).status == 200);
  for (const auto& [request, status] :
       {std::pair(http_request("PUT", "/here", expects + "Content-Length: 100000\r\n"), 413),
        std::pair(http_request("PUT", "/there", expects + "Content-Length: 5\r\n"), 404),
        std::pair(http_request("POST", "/here", expects + "Content-Length: 5\r\n"), 405),
        std::pair(http_request("PUT", "/here", "Expect: a miracle\r\nContent-Length: 5\r\n"), 417)}) {
    INFO(request);
    CHECK(f.ask(request) == status);
    CHECK(f.header("Connection") == "close");
    CHECK(f.until([&] { return f.clients.back()->ended(); }));
  }
}

TEST_CASE("a body that takes too long is a 408, however it trickles", "[websocketpp][http]") {
  ListenerOptions options = echo();
  options.http_body_timeout = std::chrono::milliseconds(200);
  Fixture f({}, options);
  RawClient& client = f.connect();
  client.send(http_request("POST", "/", "Content-Length: 50000\r\n"));
  const auto start = std::chrono::steady_clock::now();
  while (client.in.find("\r\n\r\n") == std::string::npos && !client.ended()) {
    client.send("x");
    (void)f.until([] { return false; }, std::chrono::milliseconds(5));
  }
  CHECK(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(200));
  CHECK(f.status(client) == 408);
  CHECK(f.until([&] { return client.ended(); }));
}

TEST_CASE("who goes within its body is gone, and its place with it", "[websocketpp][http]") {
  std::size_t called = 0;
  ListenerOptions options;
  options.http = [&](const HttpRequest&) { return ++called, HttpResponse(); };
  options.http_sockets = 1;
  Fixture f({}, options);
  for (const bool reset : {false, true}) {
    RawClient& client = f.connect();
    client.send(http_request("POST", "/", "Content-Length: 5\r\n", "hell"));
    f.settle();
    CHECK(f.ask(http_post("/", "x")) == 503);  // there is no place for another's body
    reset ? client.reset() : client.end_sending();
    CHECK(f.until([&] { return reset || client.ended(); }));
    f.clients.back()->cut();
    f.settle();
    CHECK(called == 0);
  }
  RawClient& client = f.connect();
  client.send(http_post("/", "x"));
  CHECK(f.status(client) == 200);
}
