// Who holds no place: probes, refusals and plain HTTP have budgets of their own, and none of them starves another.
#include "websocketpp/fixture.hpp"

using namespace muster;
using test::Fixture;
using test::RawClient;

namespace {

const std::string probe = "GET /healthz HTTP/1.1\r\nHost: 10.1.2.3\r\n\r\n";
const std::string download = "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Each path but /large is answered shortly; that has no end that anybody would live to see.
muster::websocketpp::ListenerOptions with_few_seats() {
  muster::websocketpp::ListenerOptions options;
  options.extra_sockets = 4;
  options.refused_sockets = 4;
  options.http_sockets = 2;
  options.probe_paths = {"/healthz"};
  options.http = [](const muster::websocketpp::HttpRequest& request) {
    muster::websocketpp::HttpResponse response;
    if (request.path != "/large") return response;
    response.source_bytes = std::uint64_t{1} << 40U;
    response.source = [](char*, std::size_t size) { return size; };
    return response;
  };
  return options;
}

/// As many answers of this status as there are clients from `first` on; they keep their sockets.
std::size_t answered(Fixture& f, std::size_t first, const std::string& status) {
  (void)f.until([&] {
    return std::all_of(f.clients.begin() + static_cast<std::ptrdiff_t>(first), f.clients.end(), [](const auto& client) {
      return client->ended() || client->in.find("\r\n\r\n") != std::string::npos;
    });
  });
  return static_cast<std::size_t>(
      std::count_if(f.clients.begin() + static_cast<std::ptrdiff_t>(first), f.clients.end(),
                    [&](const auto& client) { return client->in.rfind("HTTP/1.1 " + status, 0) == 0; }));
}

}  // namespace

TEST_CASE("in a storm on a full server every probe and everyone refused is answered", "[websocketpp][storm]") {
  Options options;
  options.close_timeout = std::chrono::hours(1);  // whoever keeps its socket keeps its place
  options.refuse_with = GENERATE(RefuseWith::http_status, RefuseWith::close_code);
  Fixture f(options, with_few_seats());
  f.manager->places = 0;
  for (int i = 0; i < 150; ++i) f.connect().send(RawClient::upgrade_request() + test::text_frame("early"));
  for (int i = 0; i < 30; ++i) f.connect().send(probe);
  const std::size_t told = answered(f, 0, "503") + answered(f, 0, "101");
  CHECK(told == 150);
  CHECK(answered(f, 0, "200") == 30);
  CHECK(f.manager->refusals().size() == 150);
}

TEST_CASE("whoever says nothing takes no probe's place for longer than the handshake may take",
          "[websocketpp][storm]") {
  Options options;
  options.handshake_timeout = std::chrono::milliseconds(100);
  Fixture f(options, with_few_seats());
  f.manager->places = 0;
  for (int i = 0; i < 4; ++i) (void)f.connect();
  f.settle();
  CHECK(f.until(
      [&] { return std::all_of(f.clients.begin(), f.clients.end(), [](const auto& one) { return one->ended(); }); }));
  f.connect().send(probe);
  CHECK(answered(f, 4, "200") == 1);
}

TEST_CASE("plain HTTP gives its place back once it is known to be that", "[websocketpp][storm]") {
  Fixture f({}, with_few_seats());
  f.manager->places = 1;
  for (int i = 0; i < 2; ++i) {
    RawClient& reader = f.connect(false, 4096);
    reader.send(download);
    CHECK(f.status(reader) == 200);
    reader.stall(true);
    CHECK(f.until([&] { return f.manager->reserved() == 0; }));
  }
  SECTION("so that connections come in") { CHECK(f.ask(RawClient::upgrade_request()) == 101); }
  SECTION("unless there is too much of it: then it keeps its place") {
    RawClient& third = f.connect(false, 4096);
    third.send(download);
    CHECK(f.status(third) == 200);
    third.stall(true);
    CHECK(f.manager->reserved() == 1);
    // Who has no place at all gets no download, and a probe all the same.
    CHECK(f.ask(download) == 503);
    CHECK(f.ask(probe) == 200);
    CHECK(f.ask(RawClient::upgrade_request()) == 503);
    f.clients[0]->cut();
    f.clients[2]->cut();
    CHECK(f.until([&] { return f.manager->reserved() == 0; }));
    CHECK(f.ask(RawClient::upgrade_request()) == 101);
  }
}

TEST_CASE("a port of plain HTTP takes no place and opens no connection", "[websocketpp][storm]") {
  auto listener = with_few_seats();
  listener.plain_http_only = true;
  Fixture f({}, listener);
  f.manager->places = 0;
  for (int i = 0; i < 20; ++i) f.connect().send(probe);
  CHECK(answered(f, 0, "200") == 20);
  CHECK(f.ask(RawClient::upgrade_request()) == 404);
  CHECK(f.manager->asked_for().empty());
  REQUIRE(f.manager->refusals().size() == 1);
  CHECK(f.manager->refusals()[0].reason == RefusedFor::path);
}
