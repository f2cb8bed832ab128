// Answers of plain HTTP that take their time, and bodies that are not all there yet.
#include <thread>

#include "websocketpp/http_answer.hpp"

using namespace muster;
using muster::websocketpp::body_not_now;
using muster::websocketpp::HttpRequest;
using muster::websocketpp::HttpResponder;
using muster::websocketpp::HttpResponse;
using muster::websocketpp::ListenerOptions;
using test::Fixture;
using test::http_post;
using test::http_request;
using test::next_answer;
using test::RawClient;

namespace {

struct Kept {
  std::vector<HttpRequest> requests;
  std::vector<HttpResponder> responders;
};

ListenerOptions keeps_responders(Kept& kept) {
  ListenerOptions options;
  const auto keep = [&kept](HttpRequest request, HttpResponder respond) {
    kept.requests.push_back(std::move(request));
    kept.responders.push_back(std::move(respond));
  };
  options.routes.add("GET", "/{name}", keep).add("POST", "/{name}", keep);
  return options;
}

HttpResponse text_of(std::string body) {
  HttpResponse response;
  response.body = std::move(body);
  return response;
}

/// A body without an end that is known, of what `queue` has, up to an empty string.
struct Queue {
  std::vector<std::string> pieces;
  std::size_t asked = 0;

  HttpResponse response() {
    HttpResponse response;
    response.source_bytes = HttpResponse::unknown_bytes;
    response.source = [this](char* to, std::size_t size) -> std::size_t {
      ++asked;
      if (pieces.empty()) return body_not_now;
      std::string& next = pieces.front();
      const std::size_t n = std::min(size, next.size());
      next.copy(to, n);
      next.erase(0, n);
      if (next.empty()) pieces.erase(pieces.begin());
      return n;
    };
    return response;
  }
};

}  // namespace

TEST_CASE("a handler may answer after it has returned, from any thread, and in the order of the requests",
          "[websocketpp][http][responder]") {
  Kept kept;
  Fixture f({}, keeps_responders(kept));
  RawClient& client = f.connect();
  client.send(http_post("/first", "body") + http_request("GET", "/second"));
  REQUIRE(f.until([&] { return kept.responders.size() == 1; }));
  f.settle();
  CHECK(kept.responders.size() == 1);  // the second waits for the first's answer
  CHECK(client.in.empty());
  CHECK(kept.requests[0].body == "body");
  CHECK(kept.requests[0]["name"] == "first");
  std::thread([&] { kept.responders[0](text_of("one")); }).join();
  CHECK(next_answer(f, client).body == "one");
  REQUIRE(f.until([&] { return kept.responders.size() == 2; }));
  kept.responders[0](text_of("again"));  // has answered
  kept.responders[1](text_of("two"));
  CHECK(next_answer(f, client).body == "two");
  CHECK(client.in.empty());
  CHECK_FALSE(client.ended());
}

TEST_CASE("a responder that is let go of answers 500, as does a handler that throws",
          "[websocketpp][http][responder]") {
  Kept kept;
  ListenerOptions options = keeps_responders(kept);
  options.routes.add("GET", "/throw/{name}", [&](HttpRequest request, HttpResponder respond) {
    if (request["name"] == "kept") kept.responders.push_back(std::move(respond));
    throw 1;
  });
  options.routes.add("GET", "/", [](HttpRequest, HttpResponder respond) {
    HttpResponse response;
    response.status = 99;
    respond(std::move(response));
  });
  Fixture f({}, options);
  RawClient& client = f.connect();
  client.send(http_request("GET", "/x"));
  REQUIRE(f.until([&] { return kept.responders.size() == 1; }));
  SECTION("destroyed") {
    std::thread([&] { kept.responders.clear(); }).join();
  }
  SECTION("assigned to") { kept.responders[0] = HttpResponder(nullptr); }
  CHECK(next_answer(f, client).status == 500);
  CHECK(f.ask(http_request("GET", "/throw/lost")) == 500);
  CHECK(f.ask(http_request("GET", "/throw/kept")) == 500);
  CHECK(f.ask(http_request("GET", "/")) == 500);
  if (!kept.responders.empty()) kept.responders.back()(text_of("too late"));
  f.settle();
  CHECK(f.clients.back()->in.find("too late") == std::string::npos);
}

TEST_CASE("an answer that takes too long is a 503, and does nothing when it comes", "[websocketpp][http][responder]") {
  Kept kept;
  Options core;
  ListenerOptions options = keeps_responders(kept);
  SECTION("as the listener says") { options.http_answer_timeout = std::chrono::milliseconds(100); }
  SECTION("as the core says") { core.answer_timeout = std::chrono::milliseconds(100); }
  Fixture f(core, options);
  RawClient& client = f.connect();
  client.send(http_request("GET", "/x"));
  const auto late = next_answer(f, client);
  CHECK(late.status == 503);
  CHECK(late.header("Retry-After") == "1");
  client.send(http_request("GET", "/y"));
  REQUIRE(f.until([&] { return kept.responders.size() == 2; }));
  kept.responders[0](text_of("too late"));  // is not taken for the answer of the next
  f.settle();
  CHECK(client.in.empty());
  kept.responders[1](text_of("in time"));
  CHECK(next_answer(f, client).body == "in time");
}

TEST_CASE("an answer to a peer that has gone does nothing", "[websocketpp][http][responder]") {
  Kept kept;
  {
    Fixture f({}, keeps_responders(kept));
    RawClient& gone = f.connect();
    gone.send(http_request("GET", "/x"));
    REQUIRE(f.until([&] { return kept.responders.size() == 1; }));
    const std::size_t descriptors = test::open_descriptors();
    gone.reset();
    CHECK(f.until([&] { return test::open_descriptors() == descriptors - 2; }));  // long before the answer
    kept.responders[0](text_of("x"));
    f.settle();
    // One that has only ended its side still gets it.
    RawClient& half = f.connect();
    half.send(http_request("GET", "/y"));
    half.end_sending();
    REQUIRE(f.until([&] { return kept.responders.size() == 2; }));
    f.settle();
    kept.responders[1](text_of("y"));
    const auto answer = next_answer(f, half);
    CHECK(answer.body == "y");
    CHECK(answer.header("Connection") == "close");
    CHECK(f.until([&] { return half.ended(); }));
    f.connect().send(http_request("GET", "/z"));
    REQUIRE(f.until([&] { return kept.responders.size() == 3; }));
  }
  kept.responders[2](text_of("the loop is gone, too"));
  (void)kept.responders[2].waker();
}

TEST_CASE("what is pipelined behind an answer that takes its time is bounded", "[websocketpp][http][responder]") {
  Kept kept;
  Fixture f({}, keeps_responders(kept));
  RawClient& client = f.connect();
  client.send(http_request("GET", "/x"));
  REQUIRE(f.until([&] { return kept.responders.size() == 1; }));
  std::string flood;
  for (int i = 0; i < 200'000; ++i) flood += "GET /y HTTP/1.1\r\nHost: localhost\r\n\r\n";
  client.send(flood);
  f.settle();
  CHECK_FALSE(client.all_sent());
  kept.responders[0](text_of("x"));
  CHECK(next_answer(f, client).body == "x");
  REQUIRE(f.until([&] { return kept.responders.size() == 2; }));
  kept.responders[1](text_of("y"));
  CHECK(next_answer(f, client).body == "y");
}

TEST_CASE("a body of unknown size goes out in chunks, and to HTTP/1.0 until the end",
          "[websocketpp][http][responder]") {
  std::vector<std::string> pieces = {"hello ", std::string(100'000, 'x'), "end", ""};
  std::string whole;
  for (const std::string& piece : pieces) whole += piece;
  Queue queue;
  ListenerOptions options;
  options.http = [&](const HttpRequest& request) {
    queue.pieces = pieces;
    auto response = queue.response();
    if (request.path == "/304") response.status = 304;
    if (request.path == "/throw") response.source = [](char*, std::size_t) -> std::size_t { throw 1; };
    return response;
  };
  Fixture f({}, options);
  RawClient& client = f.connect();
  client.send(http_request("GET", "/"));
  const auto answer = next_answer(f, client);
  CHECK(answer.header("Transfer-Encoding") == "chunked");
  CHECK(answer.header("Content-Length").empty());
  CHECK(answer.body == whole);
  const std::size_t asked = queue.asked;
  client.send(http_request("HEAD", "/"));
  CHECK(next_answer(f, client, true).header("Transfer-Encoding") == "chunked");
  client.send(http_request("GET", "/304"));
  CHECK(next_answer(f, client).status == 304);
  CHECK(queue.asked == asked);
  client.send(http_request("GET", "/"));
  CHECK(next_answer(f, client).body == whole);  // and the socket goes on

  CHECK(f.ask("GET / HTTP/1.0\r\n\r\n") == 200);
  CHECK(f.head.find("chunked") == std::string::npos);
  CHECK(f.header("Connection") == "close");
  CHECK(f.until([&] { return f.clients.back()->ended(); }));
  CHECK(f.clients.back()->in == whole);

  client.send(http_request("GET", "/throw"));
  CHECK(f.until([&] { return client.ended(); }));
  CHECK(client.was_reset());
  CHECK(client.in.find("\r\n0\r\n") == std::string::npos);  // a part is not taken for the whole
}

TEST_CASE("a source that has nothing now is asked again when it is woken", "[websocketpp][http][responder]") {
  Queue queue;
  std::function<void()> wake;
  ListenerOptions options;
  options.http_timeout = std::chrono::milliseconds(50);  // is for the peer, not for the source
  options.routes.add("GET", "/events", [&](HttpRequest, HttpResponder respond) {
    wake = respond.waker();
    respond(queue.response());
  });
  Fixture f({}, options);
  RawClient& client = f.connect();
  client.send(http_request("GET", "/events") + http_request("GET", "/nothing"));
  CHECK(f.status(client) == 200);
  REQUIRE(f.until([&] { return queue.asked == 1; }));
  (void)f.until([] { return false; }, std::chrono::milliseconds(100));
  CHECK(queue.asked == 1);  // nobody asks in vain
  CHECK_FALSE(client.ended());
  queue.pieces = {"one"};
  std::thread([&] {
    wake();
    wake();
  }).join();
  REQUIRE(f.until([&] { return client.in == "3\r\none\r\n"; }));
  f.settle();
  SECTION("up to its end") {
    queue.pieces = {""};
    wake();
    CHECK(f.until([&] { return client.in.rfind("3\r\none\r\n0\r\n\r\nHTTP/1.1 404", 0) == 0; }));
    wake();  // has nothing to wake
    f.settle();
    CHECK_FALSE(client.ended());
  }
  SECTION("unless the peer has gone, which is noticed") {
    client.end_sending();
    CHECK(f.until([&] { return client.ended(); }));
    wake();
    f.settle();
  }
}

TEST_CASE("who has no place of any kind is answered at once or not at all", "[websocketpp][http][responder]") {
  Kept kept;
  ListenerOptions options = keeps_responders(kept);
  options.http_sockets = 1;
  Fixture f({}, options);
  f.manager->places = 0;
  f.connect().send(http_request("GET", "/x"));
  REQUIRE(f.until([&] { return kept.responders.size() == 1; }));
  CHECK(f.ask(http_request("GET", "/y")) == 503);
  CHECK(f.ask(http_request("GET", "/y/z")) == 404);
  CHECK(kept.responders.size() == 1);
}
