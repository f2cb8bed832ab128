// Places, decisions and refusals: what comes of an upgrade that is in order.
#include <thread>

#include "websocketpp/fixture.hpp"

using namespace muster;
using test::Fixture;
using test::RawClient;

TEST_CASE("a refusal by the core is an HTTP status and says why", "[websocketpp][admission]") {
  struct Case {
    CloseReason reason;
    Error error;
    int status;
    const char* retry_after;
  };
  const auto in = [](int ms) { return std::chrono::milliseconds(ms); };
  const Case cases[] = {
      {CloseReason::auth_failed, {errc::auth_failed, "The token is not valid", {}}, 401, ""},
      {CloseReason::auth_required, {errc::auth_required, "A token is needed", {}}, 401, ""},
      {CloseReason::permission_denied, {errc::permission_denied, "Not you", {}}, 403, ""},
      {CloseReason::policy, {errc::rate_limited, "Too many", in(12'300)}, 429, "13"},
      {CloseReason::over_capacity, {errc::unavailable, "Full", in(500)}, 503, "1"},
      {CloseReason::internal_error, {errc::internal, "Say \"that\"\n", {}}, 500, ""},
      {CloseReason::protocol_error, {errc::not_found, "Nothing here", {}}, 404, ""},
  };
  Fixture f;
  for (const Case& c : cases) {
    INFO(c.error.message);
    f.manager->decide = [&](const OpenRequest&) { return test::RecordingManager::refused(c.reason, c.error); };
    CHECK(f.ask(RawClient::upgrade_request()) == c.status);
    CHECK(f.header("Retry-After") == c.retry_after);
    CHECK(f.header("Content-Type") == "application/json");
    CHECK(f.header("WWW-Authenticate") == (c.status == 401 ? "Bearer" : ""));
    RawClient& client = *f.clients.back();
    CHECK(f.manager->reserved() >= 1);  // until the client lets the socket go
    CHECK(f.until([&] { return client.ended(); }));
    CHECK(client.in.size() == std::stoul(f.header("Content-Length")));
    if (c.status == 500) CHECK(client.in == "{\"error\":\"internal\",\"message\":\"Say \\\"that\\\"\\u000a\"}\n");
    client.cut();
  }
  CHECK(f.until([&] { return f.manager->reserved() == 0; }));
}

TEST_CASE("a refusal may be a close code, which browsers can see", "[websocketpp][admission]") {
  Options options;
  options.refuse_with = RefuseWith::close_code;
  Fixture f(options);
  SECTION("of the core's") {
    f.manager->decide = [](const OpenRequest&) {
      return test::RecordingManager::refused(CloseReason::auth_failed,
                                             {errc::auth_failed, "The token is not valid", {}});
    };
  }
  SECTION("for want of a place") { f.manager->places = 0; }
  const bool full = f.manager->places == 0;
  RawClient& client = f.connect();
  client.send(RawClient::upgrade_request() + test::text_frame("ignored"));
  REQUIRE(f.status(client) == 101);
  const auto frame = f.frame(client);
  REQUIRE(frame);
  CHECK(frame->first == 0x88);
  CHECK(frame->code() == (full ? 1013 : 4002));
  CHECK(frame->payload.substr(2) == (full ? "The server is full" : "The token is not valid"));
  client.send(test::close_frame(frame->code()));
  CHECK(f.until([&] { return client.ended(); }));
  CHECK(f.until([&] { return f.manager->reserved() == 0; }));
}

TEST_CASE("the core may take its time to answer", "[websocketpp][admission]") {
  Fixture f;
  f.manager->hold = true;
  RawClient& client = f.connect();
  client.send(RawClient::upgrade_request() + test::text_frame("early"));
  REQUIRE(f.until([&] { return f.manager->count() == 1; }));
  f.settle();
  CHECK(client.in.empty());

  SECTION("yes, said by another thread") {
    std::thread other(
        [&] { CHECK(f.seen()->executor->post([&] { f.manager->answer(0, test::RecordingManager::accepted()); })); });
    other.join();
    CHECK(f.status(client) == 101);
    CHECK(f.until([&] { return f.manager->messages() == 1; }));
    CHECK(f.manager->message(0) == "early");
  }
  SECTION("no") {
    f.manager->answer(
        0, test::RecordingManager::refused(CloseReason::permission_denied, {errc::permission_denied, "No", {}}));
    CHECK(f.status(client) == 403);
    CHECK(f.until([&] { return client.ended(); }));
    CHECK_FALSE(client.was_reset());
    CHECK(f.manager->messages() == 0);
  }
  SECTION("never: the handshake's own deadline is not the core's") {
    client.send(std::string(20'000, 'x'));
    f.settle();
    CHECK_FALSE(client.ended());
    CHECK(f.manager->cancelled() == 0);
  }
  SECTION("too late: the peer has gone") {
    SECTION("in peace") { client.cut(); }
    SECTION("with a reset") { client.reset(); }
    CHECK(f.until([&] { return f.manager->cancelled() == 1; }));
    CHECK(f.until([&] { return f.manager->reserved() == 0; }));
    CHECK(f.manager->closings().empty());
  }
}

TEST_CASE("a socket holds its place from accept until its descriptor is closed", "[websocketpp][admission]") {
  const std::size_t before = test::open_descriptors();
  {
    Fixture f;
    RawClient& client = f.connect();
    CHECK(f.until([&] { return f.manager->reserved() == 1; }));  // before it has said a word
    client.send(RawClient::upgrade_request());
    CHECK(f.status(client) == 101);
    CHECK(f.manager->reserved() == 1);
    client.cut();
    CHECK(f.until([&] { return f.manager->reserved() == 0; }));
    CHECK(f.manager->closings() == std::vector<CloseReason>{CloseReason::lost});
  }
  CHECK(test::open_descriptors() == before);
}

TEST_CASE("without a place the peer is told so, and few of them at a time", "[websocketpp][admission]") {
  muster::websocketpp::ListenerOptions listener;
  listener.extra_sockets = 2;
  Fixture f({}, listener);
  f.manager->places = 1;
  (void)f.open();
  CHECK(f.ask(RawClient::upgrade_request()) == 503);
  CHECK(f.header("Retry-After") == "7");
  RawClient& refused = *f.clients.back();
  CHECK(f.until([&] { return refused.ended(); }));
  refused.cut();
  f.settle();

  RawClient& first = f.connect();
  RawClient& second = f.connect();
  RawClient& third = f.connect();
  CHECK(f.until([&] { return third.ended(); }));
  CHECK_FALSE(first.ended());
  CHECK_FALSE(second.ended());
  first.send(RawClient::upgrade_request());
  CHECK(f.status(first) == 503);
  CHECK(f.manager->count() == 1);
}
