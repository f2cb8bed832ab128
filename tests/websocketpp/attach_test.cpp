// What is attach's own: whose request it is, refusals before and after the upgrade, and how much is handed over.
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/recording_manager.hpp"
#include "websocketpp/raw_client.hpp"
#include "websocketpp/stock_server.hpp"

using namespace muster;
using muster::websocketpp::AttachOptions;
using test::RawClient;
using test::RecordingManager;

namespace {

/// A stock server with a program's own handlers, attached; and its clients.
struct StockFixture {
  explicit StockFixture(Options core = {}) : manager(std::make_shared<RecordingManager>(std::move(core))) {
    test::prepare(server, io);
    server.set_http_handler([this](::websocketpp::connection_hdl who) {
      const auto connection = server.get_con_from_hdl(std::move(who));
      connection->set_status(::websocketpp::http::status_code::ok);
      connection->set_body("own page");
    });
    server.set_message_handler(
        [this](const ::websocketpp::connection_hdl&, const test::PlainStock::message_ptr& message) {
          own.push_back(message->get_payload());
        });
  }
  RawClient& connect(const std::string& request) {
    if (port == 0) {
      muster::websocketpp::attach(server, manager, options);
      port = test::start(server);
    }
    clients.push_back(std::make_unique<RawClient>(port));
    clients.back()->send(request);
    return *clients.back();
  }
  RawClient& open(std::string_view extra = {}) {
    RawClient& client = connect(RawClient::upgrade_request(extra));
    REQUIRE(status(client) == 101);
    return client;
  }
  bool until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      for (const auto& client : clients) client->pump();
      if (io.poll() == 0) io.run_one_for(std::chrono::milliseconds(1));
      io.restart();
    }
    return true;
  }
  void settle() {
    for (int i = 0; i < 100; ++i) {
      io.poll();
      io.restart();
    }
  }
  int status(RawClient& client) {
    std::optional<std::string> taken;
    REQUIRE(until([&] { return (taken = client.take_head()) || client.ended(); }));
    head = taken.value_or("");
    return head.size() > 12 ? std::stoi(head.substr(9, 3)) : 0;
  }
  std::optional<RawClient::Frame> frame(RawClient& client) {
    std::optional<RawClient::Frame> taken;
    (void)until([&] { return (taken = client.take_frame()) || client.ended(); });
    return taken;
  }
  std::shared_ptr<RecordingManager::Seen> seen(std::size_t i = 0) {
    return manager->with([i](auto& all) { return all.at(i); });
  }

  std::shared_ptr<RecordingManager> manager;
  AttachOptions options;
  asio::io_context io{1};
  test::PlainStock server;
  std::uint16_t port = 0;
  std::vector<std::unique_ptr<RawClient>> clients;
  std::vector<std::string> own;
  std::string head;
};

}  // namespace

TEST_CASE("attach takes its path, and leaves the program the others and plain HTTP", "[attach]") {
  StockFixture f;
  std::vector<std::string> asked;
  f.options.other_paths = [&](::websocketpp::connection_hdl who) {
    asked.push_back(f.server.get_con_from_hdl(std::move(who))->get_resource());
    return asked.back() == "/own";
  };
  RawClient& ours = f.open();
  RawClient& own = f.connect(RawClient::upgrade_request({}, "/own"));
  CHECK(f.status(own) == 101);
  CHECK(f.status(f.connect(RawClient::upgrade_request({}, "/elsewhere"))) == 400);
  RawClient& page = f.connect("GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(f.status(page) == 200);
  CHECK(f.until([&] { return page.in == "own page"; }));
  CHECK(asked == std::vector<std::string>{"/own", "/elsewhere"});
  ours.send(test::text_frame("to muster"));
  own.send(test::text_frame("to the program"));
  CHECK(f.until([&] { return f.manager->messages() == 1 && f.own.size() == 1; }));
  CHECK(f.manager->message(0) == "to muster");
  CHECK(f.own[0] == "to the program");
  CHECK(f.manager->count() == 1);
}

TEST_CASE("attach reads an upgrade as the listener does", "[attach]") {
  Options core;
  core.auth_query = true;
  core.auth_cookie = "session";
  StockFixture f(core);
  f.options.path.clear();
  RawClient& client = f.connect(RawClient::upgrade_request(
      "Sec-WebSocket-Protocol: one, bearer, secret\r\nOrigin: http://localhost\r\n", "/any?a=1&token=x"));
  CHECK(f.status(client) == 101);
  const OpenRequest& request = f.seen()->request;
  CHECK(request.path == "/any");
  CHECK(request.query == "a=1");
  CHECK(request.token == "secret");
  CHECK(request.token_source == TokenSource::subprotocol);
  CHECK(request.subprotocols == std::vector<std::string>{"one", "bearer"});
  CHECK(request.origin == "http://localhost");
  CHECK(request.remote_address.text == "127.0.0.1");
}

TEST_CASE("attach refuses what the listener refuses, with the same status", "[attach]") {
  struct Case {
    std::string request;
    int status;
  };
  const Case cases[] = {
      {RawClient::upgrade_request("Origin: http://evil.example\r\n"), 403},
      {"GET /ws HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
       "13\r\n"
       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
       403},
      {"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
       "8\r\n"
       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
       426},
      {"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
       "13\r\n"
       "Sec-WebSocket-Key: short\r\n\r\n",
       400},
  };
  StockFixture f;
  for (const Case& c : cases) {
    INFO(c.request);
    CHECK(f.status(f.connect(c.request)) == c.status);
  }
  CHECK(f.manager->count() == 0);
}

TEST_CASE("who is refused inside the call gets the status, and when to come back", "[attach]") {
  StockFixture f;
  f.manager->decide = [](const OpenRequest&) {
    return RecordingManager::refused(CloseReason::policy, {errc::unavailable, "Too many", std::chrono::seconds(7)});
  };
  CHECK(f.status(f.connect(RawClient::upgrade_request())) == 429);
  CHECK(f.head.find("Retry-After: 7") != std::string::npos);
  f.manager->decide = [](const OpenRequest&) {
    return RecordingManager::refused(CloseReason::policy, {errc::not_found, "Nothing is served at this path", {}});
  };
  CHECK(f.status(f.connect(RawClient::upgrade_request())) == 404);
}

TEST_CASE("who is refused later, or may not see a status, gets the reason's close code", "[attach]") {
  Options core;
  SECTION("later") {}
  SECTION("as the options say") { core.refuse_with = RefuseWith::close_code; }
  const bool later = core.refuse_with != RefuseWith::close_code;
  StockFixture f(core);
  f.manager->hold = later;
  f.manager->decide = [](const OpenRequest&) {
    return RecordingManager::refused(CloseReason::auth_failed, {errc::auth_failed, "Who are you", {}});
  };
  RawClient& client = f.open();
  if (later) f.manager->answer(0, f.manager->decide(f.seen()->request));
  const auto frame = f.frame(client);
  REQUIRE(frame);
  CHECK(frame->code() == 4002);
  CHECK(frame->payload.substr(2) == "Who are you");
  client.send(test::close_frame(4002));
  CHECK(f.until([&] { return client.ended(); }));
  CHECK(f.manager->closings().empty());
}

TEST_CASE("what a client says before the late answer is kept for it", "[attach]") {
  StockFixture f;
  f.manager->hold = true;
  RawClient& client = f.open();
  std::string sent;
  for (int i = 0; i < 1000; ++i) sent += test::text_frame("early " + std::to_string(i) + std::string(1000, ' '));
  client.send(sent);
  f.settle();
  CHECK(f.manager->messages() == 0);
  f.manager->answer(0, RecordingManager::accepted());
  REQUIRE(f.until([&] { return f.manager->messages() == 1000; }));
  CHECK(f.manager->message(999).substr(0, 9) == "early 999");
}

TEST_CASE("the subprotocol is the core's choice, or the option's when the core answers later", "[attach]") {
  StockFixture f;
  f.manager->decide = [](const OpenRequest&) {
    auto decision = RecordingManager::accepted();
    decision.subprotocol = "two";
    return decision;
  };
  (void)f.open("Sec-WebSocket-Protocol: one, two\r\n");
  CHECK(f.head.find("Sec-WebSocket-Protocol: two\r\n") != std::string::npos);
  f.manager->hold = true;
  (void)f.open("Sec-WebSocket-Protocol: one, muster.v1.json\r\n");
  CHECK(f.head.find("Sec-WebSocket-Protocol: muster.v1.json\r\n") != std::string::npos);
  (void)f.open("Sec-WebSocket-Protocol: one\r\n");
  CHECK(f.head.find("Sec-WebSocket-Protocol") == std::string::npos);
}

TEST_CASE("what is handed over to a client that does not read is bounded", "[attach]") {
  StockFixture f;
  f.options.handed_over_bytes = 10'000;
  RawClient& client = f.open();
  client.stall(true);
  const auto frame_of = [](std::size_t size) {
    std::string frame;
    WebSocketFormat{}.append(FrameKind::binary, std::string(size, 'x'), frame);
    return frame;
  };
  // In one turn, in which nothing leaves: the first fits, the second does not, and is the last.
  CHECK(f.manager->write(0, frame_of(6'000)) == WriteResult::done);
  CHECK(f.manager->write(0, frame_of(6'000)) == WriteResult::pending);
  REQUIRE(f.until([&] { return f.seen()->writables == 1; }));  // the kernel has taken it
  client.stall(false);
  CHECK(f.until([&] { return client.in.size() == 2 * frame_of(6'000).size(); }));
}

TEST_CASE("the system keeps little for a client that does not read, and it is told", "[attach]") {
  StockFixture f;
  const bool bounded = GENERATE(true, false);
  if (!bounded) f.options.unsent_low_water_bytes = 0;
  RawClient& client = f.open();
  client.stall(true);
  std::string frame;
  WebSocketFormat{}.append(FrameKind::binary, std::string(16'000, 'x'), frame);
  std::size_t taken = 0;
  for (std::size_t pending = 0; taken < 16'000'000; taken += frame.size()) {
    if (f.manager->write(0, frame) != WriteResult::pending) continue;
    ++pending;
    f.settle();
    if (f.seen()->writables != pending) break;
  }
  CHECK((taken < 1'000'000) == bounded);
  CHECK((f.seen()->transport->unsent() < 1'000'000U) == bounded);
  CHECK(f.seen()->transport->unsent() > f.options.handed_over_bytes);
}

TEST_CASE("a fault that websocketpp finds ends the connection, and is told", "[attach]") {
  StockFixture f;
  f.server.set_max_message_size(100);
  RawClient& client = f.open();
  client.send(test::text_frame(std::string(101, 'x')));
  CHECK(f.frame(client)->code() == 1009);
  CHECK(f.until([&] { return f.manager->closings().size() == 1; }));
  CHECK(f.manager->closings() == std::vector<CloseReason>{CloseReason::message_too_big});
  CHECK(f.manager->reserved() == 0);
}

TEST_CASE("a pause that ends behind a fault does not read on", "[attach]") {
  Options core;
  core.close_timeout = std::chrono::minutes(1);
  StockFixture f(core);
  RawClient& client = f.open();
  // What it does not take holds the close frame back, and so the end.
  client.stall(true);
  std::string much;
  WebSocketFormat{}.append(FrameKind::binary, std::string(16 * 1024 * 1024, 'x'), much);
  REQUIRE(f.manager->write(0, std::move(much)) == WriteResult::pending);
  f.seen()->transport->pause_reading(true);
  const std::string reserved_opcode = test::masked_frame(0x83, "");
  client.send(test::text_frame("before") + reserved_opcode + test::text_frame("behind"));
  std::string ping;
  WebSocketFormat{}.append(FrameKind::ping, {}, ping);
  REQUIRE(f.until([&] { return f.manager->write(0, ping) == WriteResult::closed; }));
  client.send(test::text_frame("later"));
  f.seen()->transport->pause_reading(false);
  f.settle();
  CHECK(f.manager->messages() == 1);
  CHECK(f.manager->closings().empty());
  client.stall(false);
  CHECK(f.until([&] { return !f.manager->closings().empty(); }));
  CHECK(f.manager->closings() == std::vector<CloseReason>{CloseReason::protocol_error});
  CHECK(f.manager->messages() == 1);
}

TEST_CASE("a close of the core's ends a pause, so that the answer is read", "[attach]") {
  Options core;
  core.close_timeout = std::chrono::minutes(1);
  StockFixture f(core);
  RawClient& client = f.open();
  f.seen()->transport->pause_reading(true);
  client.send(test::text_frame("one"));
  f.settle();
  f.seen()->transport->close(1000, "enough");
  CHECK(f.frame(client)->code() == 1000);
  client.send(test::close_frame(1000));
  CHECK(f.until([&] { return client.ended(); }));
  CHECK(f.until([&] { return f.manager->closings() == std::vector<CloseReason>{CloseReason::normal}; }));
}

TEST_CASE("a close frame without a code is a goodbye", "[attach]") {
  StockFixture f;
  f.open().send(test::masked_frame(0x88, ""));
  CHECK(f.until([&] { return !f.manager->closings().empty(); }));
  CHECK(f.manager->closings() == std::vector<CloseReason>{CloseReason::normal});
}

TEST_CASE("a text in fragments that ends inside a character is a fault", "[attach]") {
  StockFixture f;
  RawClient& client = f.open();
  client.send(test::masked_frame(0x01, "abc\xf0\x9f") + test::masked_frame(0x80, "\x98"));
  CHECK(f.frame(client)->code() == 1007);
  CHECK(f.manager->failures() == std::vector<CloseReason>{CloseReason::invalid_utf8});
  CHECK(f.manager->messages() == 0);
}

TEST_CASE("the loop may end with connections open, paused, or being asked about", "[attach]") {
  const auto manager = std::make_shared<RecordingManager>();
  {
    StockFixture f;
    f.manager = manager;
    RawClient& paused = f.open();
    f.seen()->transport->pause_reading(true);
    paused.send(test::text_frame("one") + test::text_frame("two"));
    manager->hold = true;
    (void)f.open();
    (void)f.connect("GET /ws HTTP/1.1\r\n");
    f.settle();
  }
  manager->with([](auto& seen) {
    for (auto& one : seen) {
      if (one->transport && one->connection) {
        const Span span{"x", 1};
        CHECK(one->transport->write(&span, 1) == WriteResult::closed);
        one->transport->pause_reading(false);
        one->transport->close(1001, "gone");
        one->transport->abort();
      }
    }
    return 0;
  });
  CHECK(manager.use_count() == 1);  // nothing of the adapter is left
}

TEST_CASE("what attach cannot work with is said", "[attach]") {
  StockFixture f;
  CHECK_THROWS_WITH(muster::websocketpp::attach(f.server, nullptr), "websocketpp attach: a manager is needed");
  AttachOptions none;
  none.handed_over_bytes = 0;
  CHECK_THROWS_WITH(muster::websocketpp::attach(f.server, f.manager, none),
                    "websocketpp attach: handed_over_bytes must be above 0");
}
