// Clients that try to make the server work or remember much for little: each finds a bound, and a line says what it cost.
#include <malloc.h>

#include <asio/io_context.hpp>
#include <cstdio>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "muster/auth/allow_all.hpp"
#include "muster/auth/static_token_authenticator.hpp"
#include "muster/muster.hpp"
#include "muster/protocols/json_protocol.hpp"
#include "muster/transports/websocketpp.hpp"
#include "support/catch.hpp"
#include "websocketpp/deflating.hpp"
#include "websocketpp/fixture.hpp"

using namespace muster;
using namespace std::chrono_literals;
using test::RawClient;

namespace {

/// Memory in use, in bytes; 0 where a sanitizer's allocator keeps it to itself.
std::size_t memory() { return mallinfo2().uordblks; }
double cpu_ms() { return 1000.0 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// A server with the real core, and its clients, all in this thread.
class Server {
 public:
  explicit Server(Options options = {}) {
    StaticTokenAuthenticator::Tokens tokens;
    tokens["ann-secret"].user = "ann";
    tokens["bob-secret"].user = "bob";
    options.close_timeout = 200ms;
    Components components;
    components.protocols = {std::make_shared<JsonProtocol>()};
    manager = make_connection_manager(std::move(options), std::make_shared<StaticTokenAuthenticator>(std::move(tokens)),
                                      std::make_shared<AllowAll>(), std::move(components));
    muster::websocketpp::ListenerOptions listening;
    listening.deflate = true;
    listening.deflate_client_window_bits = 15;
    listener = std::make_unique<muster::websocketpp::Listener>(io, manager, listening);
  }
  ~Server() {
    bool down = false;
    manager->shutdown([&down] { down = true; });
    CHECK(until([&] { return down; }));
    listener->stop();
    CHECK(manager->metrics().reserved == 0);
    io.restart();
    io.poll();
  }

  bool until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + 20s;
    for (;;) {
      for (const auto& client : clients) {
        client->pump();
        if (!keep) client->in.clear();
      }
      if (done()) return true;
      if (std::chrono::steady_clock::now() > end) return false;
      if (io.poll() == 0) io.run_one_for(1ms);
      io.restart();
    }
  }
  RawClient& socket(int receive_buffer = 0) {
    clients.push_back(std::make_unique<RawClient>(listener->port(), false, receive_buffer));
    return *clients.back();
  }
  RawClient& connect(const std::string& user = "ann", int receive_buffer = 0, const std::string& more = {}) {
    RawClient& client = socket(receive_buffer);
    const auto before = manager->connection_count();
    client.send(RawClient::upgrade_request("Authorization: Bearer " + user + "-secret\r\n" + more));
    REQUIRE(until([&] { return manager->connection_count() == before + 1; }));
    (void)until([&, n = 0]() mutable { return ++n > 3; });
    client.in.clear();
    return client;
  }
  /// Waits until the server has read everything and has nothing more to do.
  void settle(RawClient& client) {
    CHECK(until([&] { return client.all_sent() || client.ended(); }));
    auto seen = manager->metrics().messages_in;
    int quiet = 0;
    CHECK(until([&] {
      const auto now = manager->metrics().messages_in;
      quiet = now == seen ? quiet + 1 : 0;
      seen = now;
      return quiet > 20 || client.ended();
    }));
  }
  [[nodiscard]] std::size_t closed(CloseReason reason) const {
    return manager->metrics().closed[static_cast<std::size_t>(reason)];
  }

  asio::io_context io{1};
  std::shared_ptr<IConnectionManager> manager;
  std::unique_ptr<muster::websocketpp::Listener> listener;
  std::vector<std::unique_ptr<RawClient>> clients;
  bool keep = false;  ///< what clients get
};

/// From its making to `report`: what an attack sent, what the server holds for it, and what both sides computed.
class Cost {
 public:
  explicit Cost(const Server& server)
      : server_(server), memory_(memory()), cpu_(cpu_ms()), before_(server.manager->metrics()) {}
  void report(const char* attack, std::size_t sent, const std::string& bound) {
    const auto now = server_.manager->metrics();
    held = memory() > memory_ ? memory() - memory_ : 0;
    out = now.bytes_out - before_.bytes_out;
    std::printf("| %-36s | %8zu B sent | %8zu B answered | %8zu B held | %7.1f ms | %s |\n", attack, sent, out, held,
                cpu_ms() - cpu_, bound.c_str());
    std::fflush(stdout);
  }
  std::size_t held = 0;
  std::size_t out = 0;

 private:
  const Server& server_;
  const std::size_t memory_;
  const double cpu_;
  const Metrics before_;
};

std::string say(const std::string& type, const std::string& payload) {
  return test::text_frame(R"({"type":")" + type + R"(","id":1,"payload":)" + payload + "}");
}

/// Sends `count` frames as fast as the server takes them; the bytes sent.
std::size_t flood(Server& server, RawClient& client, std::size_t count,
                  const std::function<std::string(std::size_t)>& frame) {
  std::size_t sent = 0;
  for (std::size_t i = 0; i < count && !client.ended(); ++i) {
    const std::string bytes = frame(i);
    sent += bytes.size();
    client.send(bytes);
    if (i % 50 == 49) (void)server.until([&] { return client.all_sent() || client.ended(); });
  }
  server.settle(client);
  return sent;
}

}  // namespace

TEST_CASE("invented users in presence_query are told offline, and leave nothing", "[websocketpp][hostile]") {
  Options options;
  options.message_rate = 10;  // however slowly the flood comes here, it is more
  options.rate_patience = 0ms;
  Server server(options);
  RawClient& client = server.connect();
  Cost cost(server);
  const auto sent = flood(server, client, 300, [](std::size_t i) {
    std::string users;
    for (std::size_t u = 0; u < 256; ++u) users += (u == 0 ? "\"u" : ",\"u") + std::to_string(i * 256 + u) + "\"";
    return say("presence_query", R"({"users":[)" + users + "]}");
  });
  cost.report("invented users in presence_query", sent, "message_rate, byte_rate");
  const Metrics metrics = server.manager->metrics();
  CHECK(metrics.users <= 1);
  CHECK(metrics.rate_limited > 0);
  CHECK(server.manager->online_users("").size() <= 1);
  CHECK(cost.held < 1'000'000);
}

TEST_CASE("invented users in send reach nobody, and leave nothing", "[websocketpp][hostile]") {
  Options options;
  options.allow_send = true;
  options.message_rate = 10;
  options.rate_patience = 0ms;
  Server server(options);
  RawClient& client = server.connect();
  Cost cost(server);
  const auto sent = flood(server, client, 2000, [](std::size_t i) {
    return say("send", R"({"user":"nobody)" + std::to_string(i) + R"(","data":"hello"})");
  });
  cost.report("invented users in send", sent, "message_rate, then closed 1008");
  CHECK(server.manager->metrics().users <= 1);  // its own session waits for it
  CHECK(server.closed(CloseReason::rate_limited) == 1);
  CHECK(cost.held < 1'000'000);
}

TEST_CASE("churned rooms end at rooms_created_per_minute", "[websocketpp][hostile]") {
  Options options;
  options.message_rate = 0;
  Server server(options);
  RawClient& client = server.connect();
  Cost cost(server);
  const auto sent = flood(server, client, 1000, [](std::size_t i) {
    const std::string room = R"({"room":"r)" + std::to_string(i) + "\"";
    return say("join", room + "}") + say("publish", room + R"(,"data":1})") + say("leave", room + "}");
  });
  cost.report("churned rooms, each with a message", sent, "60 rooms a minute, history_age");
  CHECK(server.manager->room_count() <= 60);
  CHECK(server.manager->metrics().rate_limited > 0);
  CHECK(cost.held < 2'000'000);
}

TEST_CASE("one-byte fragments end at frame_rate", "[websocketpp][hostile]") {
  const bool empty = GENERATE(false, true);
  Options options;
  options.rate_patience = 0ms;
  Server server(options);
  RawClient& client = server.connect();
  Cost cost(server);
  client.send(test::masked_frame(0x01, "{"));
  const auto sent =
      flood(server, client, 100'000, [empty](std::size_t) { return test::masked_frame(0x00, empty ? "" : " "); });
  cost.report(empty ? "empty fragments" : "one-byte fragments", sent, "closed 1008 after the burst of frames");
  CHECK(server.closed(CloseReason::rate_limited) == 1);
  CHECK(server.manager->metrics().messages_in == 0);
  CHECK(cost.held < 1'000'000);
}

TEST_CASE("unread pongs do not pile up", "[websocketpp][hostile]") {
  Options options;
  options.frame_rate = 0;
  options.unsent_age = 1h;
  Server server(options);
  RawClient& client = server.connect("ann", 4096);
  client.stall(true);
  Cost cost(server);
  const auto sent =
      flood(server, client, 60'000, [](std::size_t) { return test::masked_frame(0x89, std::string(125, 'p')); });
  cost.report("unread pongs, without frame_rate", sent, "one pong waits, the newest");
  CHECK(server.manager->connection_count() == 1);
  CHECK(cost.held < 1'000'000);
  client.cut();
}

TEST_CASE("deep JSON is refused without being followed", "[websocketpp][hostile]") {
  Options options;
  options.byte_rate = 0;
  Server server(options);
  RawClient& client = server.connect();
  Cost cost(server);
  const std::string deep = R"({"type":"publish","id":1,"payload":{"room":"r","data":)" + std::string(65'000, '[');
  const auto sent = flood(server, client, 20, [&deep](std::size_t) { return test::text_frame(deep); });
  cost.report("deep JSON, 65,000 levels", sent, "invalid_message, closed 1008 after ten");
  CHECK(server.closed(CloseReason::policy) == 1);
  CHECK(cost.held < 1'000'000);
}

TEST_CASE("giant lengths are refused by their header", "[websocketpp][hostile]") {
  Server server;
  Cost cost(server);
  std::size_t sent = 0;
  for (const char* head : {"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\1\2\3\4",
                           "\x82\xff\0\0\0\0\xff\xff\xff\xff\1\2\3\4", "\x81\xff\0\0\0\0\0\1\0\1\1\2\3\4"}) {
    RawClient& client = server.connect();
    client.send(std::string(head, 14));
    sent += 14;
    CHECK(server.until([&] { return server.manager->connection_count() == 0; }));
    client.cut();
  }
  cost.report("giant lengths", sent, "closed 1009 before a byte is stored");
  CHECK(server.closed(CloseReason::message_too_big) == 3);
  CHECK(cost.held < 1'000'000);
}

TEST_CASE("an unfinished message before authentication ends at pre_auth_bytes", "[websocketpp][hostile]") {
  Server server;
  RawClient& client = server.socket();
  client.send(RawClient::upgrade_request());
  REQUIRE(server.until([&] { return server.manager->pending_count() == 1; }));
  Cost cost(server);
  const std::string message = test::text_frame(std::string(60'000, ' '));
  const bool at_once = GENERATE(true, false);
  const std::size_t piece = at_once ? 60'000 : 1000;
  std::size_t sent = 0;
  for (; sent < 60'000 && server.closed(CloseReason::policy) == 0; sent += piece) {
    client.send(message.substr(sent, piece));
    (void)server.until([&, n = 0]() mutable { return ++n > 3; });
  }
  cost.report("unfinished message, no token", sent, "pre_auth_bytes, closed 1008");
  CHECK(server.until([&] { return server.closed(CloseReason::policy) == 1; }));
  if (!at_once) CHECK(sent <= 18'000);
  CHECK(cost.held < 200'000);
}

TEST_CASE("compressed messages come in no faster than byte_rate, on the wire and inflated", "[websocketpp][hostile]") {
  Options options;
  options.byte_rate = 10 * 1024;
  options.invalid_messages_max = 0;
  options.message_rate = options.frame_rate = 0;
  Server server(options);
  RawClient& client = server.connect("ann", 0, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
  const bool empty = GENERATE(true, false);
  std::string payload;
  if (empty) {  // 50,000 bytes of blocks that stand for nothing
    for (int i = 0; i < 10'000; ++i) payload.append("\0\0\0\xff\xff", 5);
    payload.push_back('\0');
  } else {  // some hundred bytes that stand for 50,000
    payload = test::deflated(std::string(50'000, ' '));
  }
  const std::string message = test::masked_frame(0xc1, payload);
  Cost cost(server);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 40; ++i) client.send(message);
  CHECK(server.until([&] { return std::chrono::steady_clock::now() - start > 1s; }));
  const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  cost.report(empty ? "empty blocks" : "compressed spaces", 40 * message.size(), "byte_rate");
  // The burst, the rate, and the message that was there before it was known what it would cost.
  const auto most = (20.0 * 1024 + 10.0 * 1024 * seconds) / 50'000 + 1;
  CHECK(static_cast<double>(server.manager->metrics().messages_in) <= most);
  CHECK(server.manager->connection_count() == 1);
}

TEST_CASE("clients that keep their context are held for with a window each", "[websocketpp][hostile]") {
  constexpr std::size_t count = 50;
  Options options;
  options.max_connections_per_ip = options.connect_rate_per_ip = options.byte_rate = 0;
  options.heartbeat = std::chrono::milliseconds(0);  // these clients answer no ping, and a busy machine takes its time
  Server server(options);
  const auto connect = [&server]() -> RawClient& {
    return server.connect("ann", 0, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
  };
  std::vector<RawClient*> clients;
  for (std::size_t i = 0; i < count; ++i) clients.push_back(&connect());
  std::string noise(60'000, ' ');
  for (std::uint32_t i = 0, x = 1; i < noise.size(); ++i)
    noise[i] = static_cast<char>('a' + ((x = x * 1664525U + 1013904223U) >> 28U));
  const auto message = [&noise](std::size_t at) {
    return R"({"type":"session_info","more":")" + noise.substr(at, 10'000) + "\"}";
  };
  const auto fill = [&](RawClient& client) {
    test::Compressor compressor;
    for (std::size_t at = 0; at < noise.size(); at += 10'000) {
      client.send(test::masked_frame(0xc1, compressor.message(message(at))));
      server.settle(client);
    }
  };
  fill(connect());                     // what the loop has of its own
  for (RawClient* client : clients) {  // and the clients, who are in this process
    client->send(test::text_frame(message(0)));
    server.settle(*client);
  }
  Cost cost(server);
  for (RawClient* client : clients) fill(*client);
  cost.report("contexts kept by 50 clients", count * noise.size(), "32 KiB each, at deflate_client_window_bits = 15");
  CHECK(server.manager->metrics().messages_in == (count + 1) * 6 + count);
  CHECK(cost.held < count * 33 * 1024);
}

TEST_CASE("half handshakes end at handshake_timeout, and their places come back", "[websocketpp][hostile]") {
  const std::size_t before = test::open_descriptors();
  {
    Options options;
    options.handshake_timeout = 300ms;
    options.max_connections = 50;
    options.max_connections_per_ip = 0;
    options.connect_rate_per_ip = 0;
    Server server(options);
    Cost cost(server);
    const std::string half = RawClient::upgrade_request("X-Long: " + std::string(6000, 'x') + "\r\n").substr(0, 6000);
    for (int i = 0; i < 50; ++i) server.socket().send(half);
    CHECK(server.until([&] { return server.manager->metrics().reserved == 50; }));
    cost.report("half handshakes, 50 sockets", 50 * half.size(), "closed at handshake_timeout");
    CHECK(cost.held < 50 * 40'000);
    CHECK(server.until([&] { return server.manager->metrics().reserved == 0; }));
    CHECK(server.manager->pending_count() == 0);
    for (const auto& client : server.clients) client->cut();
    server.connect();  // and who means it comes in
  }
  CHECK(test::open_descriptors() == before);
}

TEST_CASE("asking for a large awareness state in a loop costs no more than byte_rate", "[websocketpp][hostile]") {
  Options options;
  options.awareness_per_connection = 0;
  options.message_rate = 0;
  options.byte_rate = 200'000;
  Server server(options);
  RawClient& owner = server.connect("bob");
  owner.send(say("join", R"({"room":"r"})"));
  for (int i = 0; i < 60; ++i) {
    owner.send(say("awareness_update", R"({"room":"r","client":"c)" + std::to_string(i) +
                                           R"(","clock":1,"state":{"x":")" + std::string(3000, 'x') + "\"}}"));
  }
  server.settle(owner);
  REQUIRE(server.manager->metrics().awareness_entries == 60);
  RawClient& client = server.connect();
  client.send(say("join", R"({"room":"r"})"));
  server.settle(client);
  const auto start = std::chrono::steady_clock::now();
  Cost cost(server);
  const auto sent = flood(server, client, 2000, [](std::size_t) { return say("awareness_query", R"({"room":"r"})"); });
  const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  cost.report("awareness_query in a loop, 180 KB each", sent, "byte_rate");
  CHECK(static_cast<double>(cost.out) < 2 * 200'000 + 200'000 * seconds + 2 * 200'000);
}

TEST_CASE("idempotency keys without end are bounded by their number", "[websocketpp][hostile]") {
  Options options;
  options.message_rate = 0;
  options.byte_rate = 0;
  options.frame_rate = 0;
  options.room.history_messages = 0;
  Server server(options);
  RawClient& client = server.connect();
  client.send(say("join", R"({"room":"r"})"));
  server.settle(client);
  Cost cost(server);
  const auto sent = flood(server, client, 5000, [](std::size_t i) {
    return say("publish",
               R"({"room":"r","data":1,"idempotency_key":")" + std::string(50, 'k') + std::to_string(i) + "\"}");
  });
  cost.report("idempotency keys without end", sent, "1,024 keys a room");
  CHECK(server.manager->metrics().history_bytes < 1024 * 400);
  CHECK(cost.held < 1'500'000);
}
