// Routes of plain HTTP: who answers what, and what is answered where nobody does.
#include <stdexcept>

#include "websocketpp/http_answer.hpp"

using namespace muster;
using muster::websocketpp::HttpHandler;
using muster::websocketpp::HttpRequest;
using muster::websocketpp::HttpResponder;
using muster::websocketpp::HttpResponse;
using muster::websocketpp::HttpRoutes;
using muster::websocketpp::ListenerOptions;
using test::Fixture;
using test::http_post;
using test::http_request;
using test::HttpAnswer;
using test::next_answer;
using test::RawClient;

namespace {

/// Says who answered, and what stood at the names.
HttpHandler named(std::string who) {
  return [who = std::move(who)](const HttpRequest& request) {
    HttpResponse response;
    response.body = who;
    for (const auto& [name, value] : request.names) response.body += " " + name + "=" + value;
    return response;
  };
}

HttpAnswer asked(Fixture& f, const std::string& request, bool to_head = false) {
  RawClient& client = f.connect();
  client.send(request);
  return next_answer(f, client, to_head);
}

}  // namespace

TEST_CASE("a route answers its method and path, and has what stood at its names", "[websocketpp][http][routes]") {
  ListenerOptions options;
  options.routes.add("GET", "/rooms", named("list"))
      .add("GET", "/rooms/all", named("all"))
      .add("GET", "/rooms/{room}", named("get"))
      .add("DELETE", "/rooms/{room}", named("delete"))
      .add("POST", "/rooms/{room}/members/{user}", [](HttpRequest request, HttpResponder respond) {
        HttpResponse response;
        response.body = std::string(request["room"]) + "|" + std::string(request["user"]) + "|" +
                        std::string(request["none"]) + "|" + request.query + "|" + request.body;
        respond(std::move(response));
      });
  Fixture f({}, options);
  CHECK(asked(f, http_request("GET", "/rooms?page=2")).body == "list");
  CHECK(asked(f, http_request("GET", "/rooms/all")).body == "all");
  CHECK(asked(f, http_request("GET", "/rooms/a%2fb")).body == "get room=a/b");
  CHECK(asked(f, http_request("DELETE", "/rooms/a")).body == "delete room=a");
  CHECK(asked(f, http_request("POST", "/rooms/a/members/b%20c?x=y", "Content-Length: 2\r\n", "hi")).body ==
        "a|b c||x=y|hi");
  const auto head = asked(f, http_request("HEAD", "/rooms/a"), true);
  CHECK(head.status == 200);
  CHECK(head.header("Content-Length") == "10");
}

TEST_CASE("another method is a 405 with those that are there, and another path a 404", "[websocketpp][http][routes]") {
  ListenerOptions options;
  options.routes.add("GET", "/rooms/{room}", named("get"))
      .add("PUT", "/rooms/{room}", named("put"))
      .add("POST", "/jobs", named("post"))
      .add("OPTIONS", "/asked", named("options"))
      .add("GET", "/asked", named("asked"));
  const bool falls_back = GENERATE(false, true);
  if (falls_back) options.http = named("fallback");
  Fixture f({}, options);
  const auto no_method = asked(f, http_request("DELETE", "/rooms/a"));
  CHECK(no_method.status == 405);
  CHECK(no_method.header("Allow") == "GET, HEAD, PUT, OPTIONS");
  CHECK(asked(f, http_request("HEAD", "/jobs"), true).status == 405);
  CHECK(asked(f, http_request("GET", "/jobs")).header("Allow") == "POST, OPTIONS");
  CHECK(asked(f, http_request("get", "/rooms/a")).status == 405);  // methods have a case
  const auto allowed = asked(f, http_request("OPTIONS", "/rooms/a"));
  CHECK(allowed.status == 204);
  CHECK(allowed.header("Allow") == "GET, HEAD, PUT, OPTIONS");
  CHECK(asked(f, http_request("OPTIONS", "/asked")).body == "options");
  for (const char* path : {"/", "/rooms", "/rooms/", "/rooms/a/", "/rooms/a/b", "/jobs/", "/rooms/%zz"}) {
    INFO(path);
    const auto nothing = asked(f, http_request("GET", path));
    CHECK(nothing.status == (falls_back ? 200 : 404));
    if (falls_back) CHECK(nothing.body == "fallback");
  }
  // Of what nobody answers, no body is waited for.
  const auto unread = asked(f, http_request("DELETE", "/rooms/a", "Content-Length: 5\r\n"));
  CHECK(unread.status == 405);
  CHECK(unread.header("Connection") == "close");
  // What is no request for a page is none for a route.
  CHECK(asked(f, http_request("GET", "/rooms/a", "Sec-WebSocket-Version: 13\r\n")).status == 426);
  CHECK(asked(f, RawClient::upgrade_request({}, "/rooms/a")).status == 101);
}

TEST_CASE("a route that cannot be meant is refused, and says why", "[routes]") {
  using Catch::Matchers::Contains;
  HttpRoutes routes;
  routes.add("GET", "/doc/{room}", named("get"));
  CHECK_THROWS_WITH(routes.add("GET", "doc", named("")), Contains("must begin with /"));
  CHECK_THROWS_WITH(routes.add("GET", "/a b", named("")), Contains("percent-encode"));
  CHECK_THROWS_WITH(routes.add("G T", "/", named("")), Contains("\"G T\" is no method"));
  CHECK_THROWS_WITH(routes.add("", "/", named("")), Contains("no method"));
  CHECK_THROWS_WITH(routes.add("HEAD", "/", named("")), Contains("HEAD is answered by the handler of GET"));
  CHECK_THROWS_WITH(routes.add("GET", "/", HttpHandler()), Contains("there is no handler"));
  CHECK_THROWS_WITH(routes.add("GET", "/doc/{id}", named("")), Contains("GET /doc/{room} was added before"));
  CHECK_THROWS_WITH(routes.add("GET", "/doc/list", named("")), Contains("GET /doc/list"));
  CHECK_THROWS_AS(routes.add("GET", "/doc/list", named("")), std::invalid_argument);
  routes.add("PUT", "/doc/list", named("")).add("GET", "/doc", named(""));
  CHECK(routes.find("GET", "/doc/list").route->path == "/doc/{room}");
  CHECK(routes.find("PUT", "/doc/list").route->path == "/doc/list");
  CHECK(routes.find("PUT", "/doc/a").allow == "GET, HEAD, OPTIONS");
}
