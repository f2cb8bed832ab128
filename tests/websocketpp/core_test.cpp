// The adapter in front of the real core: what a client of muster.v1.json sees on a real socket.
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "muster/auth/allow_all.hpp"
#include "muster/auth/callback_authenticator.hpp"
#include "muster/auth/static_token_authenticator.hpp"
#include "muster/muster.hpp"
#include "muster/protocols/json_protocol.hpp"
#include "muster/transports/websocketpp.hpp"
#include "support/catch.hpp"
#include "support/document_protocol.hpp"
#include "support/recoded_protocol.hpp"
#include "support/wait_for.hpp"
#include "websocketpp/fixture.hpp"

using namespace muster;
using test::RawClient;
using test::wait_for;

namespace {

std::shared_ptr<IConnectionManager> make_manager(Options options = {},
                                                 std::shared_ptr<Authenticator> authenticator = nullptr) {
  if (!authenticator) {
    StaticTokenAuthenticator::Tokens tokens;
    tokens["ann-secret"].user = "ann";
    tokens["bob-secret"].user = "bob";
    authenticator = std::make_shared<StaticTokenAuthenticator>(std::move(tokens));
  }
  options.close_timeout = std::chrono::milliseconds(200);  // some clients here do not answer a close
  Components components;
  components.protocols = {std::make_shared<JsonProtocol>()};
  return make_connection_manager(std::move(options), std::move(authenticator), std::make_shared<AllowAll>(),
                                 std::move(components));
}

std::string bearer(const std::string& token) { return "Authorization: Bearer " + token + "\r\n"; }

int status(RawClient& client, std::string* whole = nullptr) {
  std::optional<std::string> head;
  REQUIRE(wait_for([&] {
    client.pump();
    return (head = client.take_head()) || client.ended();
  }));
  if (whole != nullptr) *whole = head.value_or("");
  return head ? std::stoi(head->substr(9, 3)) : 0;
}

/// Reads frames until one contains `words`; empty when it does not come.
std::string read_until(RawClient& client, const std::string& words) {
  std::string found;
  (void)wait_for([&] {
    client.pump();
    while (auto frame = client.take_frame()) {
      if (frame->payload.find(words) == std::string::npos) continue;
      found = frame->payload;
      return true;
    }
    return client.ended();
  });
  return found;
}

std::unique_ptr<RawClient> connect(std::uint16_t port, const std::string& user) {
  auto client = std::make_unique<RawClient>(port);
  client->send(RawClient::upgrade_request(bearer(user + "-secret")));
  REQUIRE(status(*client) == 101);
  CHECK(read_until(*client, "connection_ack").find("\"user_id\":\"" + user + "\"") != std::string::npos);
  return client;
}

}  // namespace

TEST_CASE("the upgrade on the page of muster.v1.json is answered as it stands there", "[websocketpp][core]") {
  std::ifstream file(MUSTER_PROTOCOL_PAGE);
  std::string request;
  std::string answer;
  std::string* part = nullptr;
  for (std::string line; std::getline(file, line);) {
    if (line == "```http") part = &request;
    if (part == nullptr || line == "```http") continue;
    if (line == "```") break;
    part->append(line + "\r\n");
    if (line.empty()) part = &answer;
  }
  REQUIRE_FALSE(answer.empty());
  Options options;
  options.allowed_hosts = {"example.org"};
  StaticTokenAuthenticator::Tokens tokens;
  tokens["ann-token"].user = "ann";
  muster::websocketpp::Server server(
      make_manager(options, std::make_shared<StaticTokenAuthenticator>(std::move(tokens))));
  server.start();
  RawClient client(server.port());
  client.send(request);
  std::string head;
  CHECK(status(client, &head) == 101);
  CHECK(head == answer + "\r\n");
}

TEST_CASE("a full server takes back who names its session, as often as it comes", "[websocketpp][core]") {
  Options options;
  options.max_connections = options.max_connections_per_user = 1;
  const auto manager = make_manager(options);
  muster::websocketpp::ServerOptions server_options;
  server_options.threads = 2;
  server_options.extra_sockets = 1;
  muster::websocketpp::Server server(manager, server_options);
  server.start();
  const auto of = [](const std::string& frame, const std::string& name) {
    const std::size_t at = frame.find('"' + name + "\":\"") + name.size() + 4;
    return frame.substr(at, frame.find('"', at) - at);
  };
  std::vector<std::unique_ptr<RawClient>> clients;
  std::string session;
  std::string token;
  for (int times = 0; times < 4; ++times) {
    int answer = 0;  // none: who was refused just now is not gone yet
    CHECK(wait_for([&] {
      clients.push_back(std::make_unique<RawClient>(server.port()));
      clients.back()->send(
          RawClient::upgrade_request(bearer("ann-secret"), session.empty() ? "/ws" : "/ws?resume=" + session));
      if ((answer = status(*clients.back())) == 0) clients.pop_back();
      return answer != 0;
    }));
    REQUIRE(answer == 101);
    RawClient& client = *clients.back();
    const std::string ack = read_until(client, "connection_ack");
    if (session.empty()) {
      session = of(ack, "connection");
      client.send(test::text_frame(R"({"type":"join","id":"1","payload":{"room":"r"}})"));
      CHECK_FALSE(read_until(client, "room_joined").empty());
    } else {
      client.send(test::text_frame(R"({"type":"resume","id":"1","payload":{"token":")" + token + R"(","rooms":{}}})"));
      CHECK(of(read_until(client, "resumed"), "connection") == session);
      CHECK(wait_for([&] { return clients[clients.size() - 2]->pump(), clients[clients.size() - 2]->ended(); }));
    }
    token = of(ack, "resume_token");
    CHECK(wait_for([&] { return manager->metrics().reserved == 1; }));
    RawClient other(server.port());
    other.send(RawClient::upgrade_request(bearer("bob-secret"), "/ws?resume=" + session));
    CHECK(status(other) == 503);
  }
}

TEST_CASE("two users on two loops share a room", "[websocketpp][core]") {
  const auto manager = make_manager();
  muster::websocketpp::ServerOptions options;
  options.threads = 2;
  muster::websocketpp::Server server(manager, options);
  server.start();
  const auto ann = connect(server.port(), "ann");
  const auto bob = connect(server.port(), "bob");
  for (RawClient* client : {ann.get(), bob.get()}) {
    client->send(test::text_frame(R"({"type":"join","id":1,"payload":{"room":"r"}})"));
    CHECK_FALSE(read_until(*client, "room_joined").empty());
  }
  for (int i = 0; i < 100; ++i) {
    ann->send(test::text_frame(R"({"type":"publish","payload":{"room":"r","data":)" + std::to_string(i) + "}}"));
  }
  for (int i = 0; i < 100; ++i) {
    REQUIRE_FALSE(read_until(*bob, "\"data\":" + std::to_string(i) + "}").empty());
  }
  bob->send(test::masked_frame(0x89, "are you there"));
  CHECK(read_until(*bob, "are you there") == "are you there");
  bob->send(test::close_frame(1000));
  CHECK(wait_for([&] { return manager->connection_count() == 1; }));
  server.stop();
  ann->pump();
  CHECK(manager->connection_count() == 0);
  CHECK(manager->metrics().reserved == 0);
}

TEST_CASE("a protocol with a name in its path is served beside another", "[websocketpp][core]") {
  StaticTokenAuthenticator::Tokens tokens;
  tokens["ann-secret"].user = "ann";
  Components components;
  components.protocols = {std::make_shared<JsonProtocol>(), std::make_shared<test::DocumentProtocol>()};
  muster::websocketpp::Server server(
      make_connection_manager({}, std::make_shared<StaticTokenAuthenticator>(std::move(tokens)),
                              std::make_shared<AllowAll>(), std::move(components)));
  server.start();
  RawClient ann(server.port());
  ann.send(RawClient::upgrade_request(bearer("ann-secret"), "/doc/plan%3A7?x=1"));
  REQUIRE(status(ann) == 101);
  ann.send(test::binary_frame("echo hello"));
  CHECK(read_until(ann, "joined") == "joined plan:7");
  CHECK(read_until(ann, "hello") == "echo hello");
  for (const char* path : {"/doc/", "/doc/plan/7", "/doc/%zz", "/doc/plan%"}) {
    INFO(path);
    RawClient lost(server.port());
    lost.send(RawClient::upgrade_request(bearer("ann-secret"), path));
    CHECK(status(lost) == 404);
  }
  (void)connect(server.port(), "ann");
}

TEST_CASE("the answer to the upgrade and the welcome arrive together", "[websocketpp][core]") {
  muster::websocketpp::Server server(make_manager(), {});
  server.start();
  for (int i = 0; i < 20; ++i) {
    RawClient client(server.port());
    client.send(RawClient::upgrade_request(bearer("ann-secret")));
    const std::string first = client.first_arrival();
    CHECK(first.find(" 101 ") != std::string::npos);
    CHECK(first.find("connection_ack") != std::string::npos);
  }
}

TEST_CASE("a close code that refuses is the chosen protocol's, under a subprotocol the client offered",
          "[websocketpp][core]") {
  const auto few_codes =
      std::make_shared<test::RecodedProtocol>("few.v1.json", [](CloseReason reason, std::uint16_t usual) {
        return reason == CloseReason::auth_failed ? std::uint16_t{1008} : usual;
      });
  Options options;
  options.refuse_with = RefuseWith::close_code;
  options.max_connections = 1;
  options.close_timeout = std::chrono::milliseconds(200);
  Components components;
  components.protocols = {std::make_shared<JsonProtocol>(), few_codes};
  const auto manager = make_connection_manager(
      options,
      std::make_shared<StaticTokenAuthenticator>(StaticTokenAuthenticator::Tokens{{"ann-secret", {"ann", "", {}, {}}}}),
      std::make_shared<AllowAll>(), components);
  muster::websocketpp::Server server(manager, {});
  server.start();
  std::string head;
  const auto refused = [&](const std::string& offered) {
    RawClient client(server.port());
    client.send(RawClient::upgrade_request("Sec-WebSocket-Protocol: " + offered + "\r\n"));
    REQUIRE(status(client, &head) == 101);
    std::uint16_t code = 0;
    REQUIRE(wait_for([&] {
      client.pump();
      const auto frame = client.take_frame();
      if (frame) code = frame->code();
      return frame || client.ended();
    }));
    client.send(test::close_frame(code));
    REQUIRE(wait_for([&] {
      client.pump();
      return client.ended() && manager->metrics().reserved <= manager->connection_count();
    }));
    return code;
  };
  const auto names = [&head](const std::string& subprotocol) {
    return head.find("Sec-WebSocket-Protocol: " + subprotocol + "\r\n") != std::string::npos;
  };
  CHECK(refused("muster.v1.json, bearer, guess") == 4002);
  CHECK(names("muster.v1.json"));
  CHECK(refused("few.v1.json, bearer, guess") == 1008);
  CHECK(names("few.v1.json"));
  CHECK(refused("bearer, guess") == 4002);
  CHECK(names("bearer"));
  const auto ann = connect(server.port(), "ann");  // the only place
  CHECK(refused("few.v1.json, bearer, ann-secret") == 1013);
  CHECK(names("few.v1.json"));
}

TEST_CASE("who may not come in is told by a status", "[websocketpp][core]") {
  Options options;
  options.max_connections = 2;
  options.auth_mode = AuthMode::upgrade_only;
  const auto manager = make_manager(options);
  muster::websocketpp::Server server(manager, {});
  server.start();
  const auto ask = [&](const std::string& extra, const std::string& target = "/ws") {
    RawClient client(server.port());
    client.send(RawClient::upgrade_request(extra, target));
    const int answer = status(client);
    client.cut();
    CHECK(wait_for([&] { return manager->metrics().reserved == manager->connection_count(); }));
    return answer;
  };
  CHECK(ask(bearer("wrong")) == 401);
  CHECK(ask("") == 401);
  CHECK(ask(bearer("ann-secret"), "/other") == 404);
  const auto ann = connect(server.port(), "ann");
  const auto bob = connect(server.port(), "bob");
  CHECK(ask(bearer("ann-secret")) == 503);
  CHECK(manager->is_full());
  bob->cut();
  CHECK(wait_for([&] { return !manager->is_full(); }));
  CHECK(ask("Sec-WebSocket-Protocol: muster.v1.json, bearer, ann-secret\r\n") == 101);
  server.stop();
}

TEST_CASE("the protocol that was offered is named", "[websocketpp][core]") {
  const auto manager = make_manager();
  muster::websocketpp::Server server(manager, {});
  server.start();
  const auto named = [&](const std::string& offered) {
    RawClient client(server.port());
    client.send(RawClient::upgrade_request("Sec-WebSocket-Protocol: " + offered + "\r\n"));
    std::string head;
    REQUIRE(status(client, &head) == 101);
    const std::size_t at = head.find("Sec-WebSocket-Protocol: ");
    return at == std::string::npos ? std::string() : head.substr(at + 24, head.find('\r', at) - at - 24);
  };
  CHECK(named("other, muster.v1.json, bearer, ann-secret") == "muster.v1.json");
  CHECK(named("bearer, ann-secret") == "bearer");
  CHECK(named("other").empty());
  server.stop();
}

TEST_CASE("an authenticator of another thread decides when it likes", "[websocketpp][core]") {
  std::vector<std::thread> threads;
  std::mutex mutex;
  auto authenticator = callback_authenticator([&](const Credentials& credentials, Reply<Authentication> done) {
    const std::lock_guard<std::mutex> lock(mutex);
    threads.emplace_back([token = credentials.token, done] { done(token == "good" ? accept("ann") : reject()); });
  });
  const auto manager = make_manager({}, authenticator);
  muster::websocketpp::ServerOptions options;
  options.threads = 2;
  muster::websocketpp::Server server(manager, options);
  server.start();
  for (int i = 0; i < 10; ++i) {
    RawClient client(server.port());
    client.send(RawClient::upgrade_request(bearer(i % 2 == 0 ? "good" : "bad")));
    CHECK(status(client) == (i % 2 == 0 ? 101 : 401));
  }
  server.stop();
  for (auto& thread : threads) thread.join();
  CHECK(manager->metrics().reserved == 0);
}

TEST_CASE("a client that does not read is closed, and nobody else notices", "[websocketpp][core]") {
  Options options;
  options.message_rate = 0;
  options.byte_rate = 0;
  options.unsent_hard_bytes = 128 * 1024;
  options.unsent_age = std::chrono::milliseconds(200);
  const auto manager = make_manager(options);
  muster::websocketpp::Server server(manager, {});
  server.start();
  const auto ann = connect(server.port(), "ann");
  const auto bob = connect(server.port(), "bob");
  for (RawClient* client : {ann.get(), bob.get()}) {
    client->send(test::text_frame(R"({"type":"join","payload":{"room":"r"}})"));
    CHECK_FALSE(read_until(*client, "room_joined").empty());
  }
  bob->stall(true);
  const std::string data(30'000, 'x');
  // One at a time: whoever reads is not behind, however late this thread or the server's gets its turn.
  CHECK(wait_for([&] {
    manager->publish({"", "r"}, json("\"" + data + "\""));
    CHECK_FALSE(read_until(*ann, data).empty());
    return manager->connection_count() == 1;
  }));
  CHECK(manager->connections_of({"", "ann"}).size() == 1);
  CHECK(wait_for([&] { return manager->metrics().reserved == 1; }));
  server.stop();
}

TEST_CASE("a program's own io_context carries everything", "[websocketpp][core]") {
  const std::size_t before = test::open_descriptors();
  {
    asio::io_context io(1);
    const auto manager = make_manager();
    muster::websocketpp::Listener listener(io, manager);
    std::thread running([&] { io.run(); });
    const auto ann = connect(listener.port(), "ann");
    ann->send(test::text_frame(R"({"type":"ping","id":7})"));
    CHECK_FALSE(read_until(*ann, "\"reply_to\":7").empty());
    manager->shutdown([&] {
      asio::post(io, [&] {
        listener.stop();
        io.stop();
      });
    });
    CHECK(wait_for([&] {
      ann->pump();
      if (auto frame = ann->take_frame(); frame && frame->opcode() == 8) {
        CHECK(frame->code() == 1001);
        ann->send(test::close_frame(1001));
      }
      return ann->ended();
    }));
    running.join();
    CHECK(manager->connection_count() == 0);
  }
  CHECK(test::open_descriptors() == before);
}

TEST_CASE("several threads of clients against several loops leave tables and descriptors empty",
          "[websocketpp][core]") {
  const std::size_t before = test::open_descriptors();
  {
    Options options;
    options.max_connections_per_ip = 0;
    options.connect_rate_per_ip = 0;
    options.max_connections = 20;
    const auto manager = make_manager(options);
    muster::websocketpp::ServerOptions server_options;
    server_options.threads = 2;
    muster::websocketpp::Server server(manager, server_options);
    server.start();
    std::vector<std::thread> storms;
    for (int t = 0; t < 4; ++t) {
      storms.emplace_back([port = server.port()] {
        for (int i = 0; i < 40; ++i) {
          RawClient client(port);
          client.send(RawClient::upgrade_request(bearer("ann-secret")) +
                      test::text_frame(R"({"type":"join","id":1,"payload":{"room":"r"}})") +
                      test::text_frame(R"({"type":"publish","id":2,"payload":{"room":"r","data":1}})"));
          if (i % 4 != 0) {
            (void)wait_for([&] {
              client.pump();
              return client.in.find("\"reply_to\":2") != std::string::npos || client.ended();
            });
          }
          i % 2 == 0 ? client.cut() : client.reset();
        }
      });
    }
    for (auto& storm : storms) storm.join();
    CHECK(wait_for([&] { return manager->metrics().reserved == 0; }));
    CHECK(manager->connection_count() == 0);
    server.stop();
  }
  CHECK(test::open_descriptors() == before);
}
