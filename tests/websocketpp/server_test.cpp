// Server: loops and threads of its own. Here clients run in the test's thread and the server in its own.
#include <asio/post.hpp>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <set>
#include <thread>

#include "muster/auth/allow_all.hpp"
#include "muster/auth/allow_anonymous.hpp"
#include "muster/protocols/json_protocol.hpp"
#include "support/wait_for.hpp"
#include "websocketpp/certificate.hpp"
#include "websocketpp/fixture.hpp"

using namespace muster;
using test::RawClient;
using test::RecordingManager;
using test::wait_for;

namespace {

std::unique_ptr<RawClient> open(std::uint16_t port, bool tls = false) {
  auto client = std::make_unique<RawClient>(port, tls);
  client->send(RawClient::upgrade_request());
  std::optional<std::string> head;
  REQUIRE(wait_for([&] {
    client->pump();
    return (head = client->take_head()) || client->ended();
  }));
  REQUIRE(head);
  REQUIRE(head->substr(9, 3) == "101");
  return client;
}

muster::websocketpp::ServerOptions threads(std::size_t count) {
  muster::websocketpp::ServerOptions options;
  options.threads = count;
  return options;
}

/// Its clients do not answer a close.
std::shared_ptr<RecordingManager> impatient_manager() {
  Options options;
  options.close_timeout = std::chrono::milliseconds(100);
  return std::make_shared<RecordingManager>(options);
}

}  // namespace

TEST_CASE("loops share the connections evenly", "[websocketpp][server]") {
  const auto manager = impatient_manager();
  muster::websocketpp::Server server(manager, threads(4));
  server.start();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 40; ++i) clients.push_back(open(server.port()));
  const auto counts = [&] {
    std::map<Executor*, std::size_t> count;
    for (std::size_t i = 0; i < manager->count(); ++i) {
      const auto seen = manager->with([i](auto& all) { return all[i]; });
      if (manager->closings(i).empty()) ++count[seen->executor.get()];
    }
    return count;
  };
  auto count = counts();
  CHECK(count.size() == 4);
  for (const auto& [executor, connections] : count) CHECK(connections == 10);

  // Those that go leave room where they were.
  Executor* const emptied = manager->with([](auto& all) { return all[0]->executor.get(); });
  for (std::size_t i = 0; i < 40; ++i) {
    if (manager->with([i](auto& all) { return all[i]->executor.get(); }) == emptied) clients[i]->cut();
  }
  CHECK(wait_for([&] { return manager->reserved() == 30; }));
  for (int i = 0; i < 10; ++i) clients.push_back(open(server.port()));
  count = counts();
  for (const auto& [executor, connections] : count) CHECK(connections == 10);
  server.stop();
}

TEST_CASE("messages echo from every loop", "[websocketpp][server]") {
  for (const bool tls : {false, true}) {
    const test::Certificate certificate;
    const auto manager = impatient_manager();
    manager->echo = true;
    auto options = threads(3);
    if (tls) {
      options.tls_certificate_file = certificate.certificate_file;
      options.tls_key_file = certificate.key_file;
    }
    muster::websocketpp::Server server(manager, options);
    server.start();
    std::vector<std::unique_ptr<RawClient>> clients;
    for (int i = 0; i < 12; ++i) clients.push_back(open(server.port(), tls));
    for (int round = 0; round < 20; ++round) {
      for (auto& client : clients) client->send(test::text_frame("round " + std::to_string(round)));
      for (auto& client : clients) {
        std::optional<RawClient::Frame> frame;
        REQUIRE(wait_for([&] {
          client->pump();
          return (frame = client->take_frame()) || client->ended();
        }));
        REQUIRE(frame);
        CHECK(frame->payload == "round " + std::to_string(round));
      }
    }
    server.stop();
  }
}

TEST_CASE("stop closes every connection with 1001, and leaves no descriptor and no thread", "[websocketpp][server]") {
  const std::size_t before = test::open_descriptors();
  {
    const auto manager = std::make_shared<RecordingManager>();
    muster::websocketpp::Server server(manager, threads(2));
    std::thread running([&] { server.run(); });
    std::vector<std::unique_ptr<RawClient>> clients;
    for (int i = 0; i < 10; ++i) clients.push_back(open(server.port()));
    RawClient half(server.port());
    half.send("GET ");
    CHECK(wait_for([&] { return manager->reserved() == 11; }));
    std::thread stopping([&] { server.stop(); });
    for (auto& client : clients) {
      std::optional<RawClient::Frame> frame;
      CHECK(wait_for([&] {
        client->pump();
        return (frame = client->take_frame()) || client->ended();
      }));
      REQUIRE(frame);
      CHECK(frame->code() == 1001);
      client->send(test::close_frame(1001));
    }
    stopping.join();
    running.join();
    server.stop();
    half.pump();
    CHECK(half.ended());
    CHECK_THROWS(RawClient(server.port()));
    CHECK_THROWS_AS(server.start(), std::logic_error);
    for (std::size_t i = 0; i < 10; ++i) CHECK(manager->closings(i).size() == 1);
    CHECK(manager->reserved() == 0);
    clients.clear();
    half.cut();
  }
  CHECK(test::open_descriptors() == before);
}

TEST_CASE("stop does not wait for peers beyond close_timeout", "[websocketpp][server]") {
  const auto manager = impatient_manager();
  muster::websocketpp::Server server(manager, threads(2));
  server.start();
  const auto silent = open(server.port());
  const auto start = std::chrono::steady_clock::now();
  server.stop();
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
  CHECK(manager->closings().size() == 1);
}

TEST_CASE("stop may be called on one of the server's loops", "[websocketpp][server]") {
  const auto manager = std::make_shared<RecordingManager>();
  muster::websocketpp::ServerOptions options = threads(2);
  muster::websocketpp::Server* self = nullptr;
  options.http = [&](const muster::websocketpp::HttpRequest&) {
    self->stop();
    return muster::websocketpp::HttpResponse();
  };
  muster::websocketpp::Server server(manager, options);
  self = &server;
  std::thread running([&] { server.run(); });
  RawClient client(server.port());
  client.send("GET /stop HTTP/1.1\r\nHost: localhost\r\n\r\n");
  running.join();
  CHECK_THROWS(RawClient(server.port()));
}

TEST_CASE("run serves the first loop in the calling thread, and one loop needs no other", "[websocketpp][server]") {
  const auto threads_now = [] {
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    return std::distance(begin(tasks), end(tasks));
  };
  const auto manager = std::make_shared<RecordingManager>();
  const auto before = threads_now();
  for (const std::size_t loops : {std::size_t{1}, std::size_t{3}}) {
    muster::websocketpp::Server server(manager, threads(loops));
    std::thread::id first;
    std::ptrdiff_t during = 0;
    asio::post(server.context(), [&] {
      first = std::this_thread::get_id();
      during = threads_now();
      server.stop();
    });
    server.run();
    CHECK(first == std::this_thread::get_id());
    if (loops == 1) CHECK(during <= before);  // a thread that was joined may still be listed before
    CHECK_THROWS_AS(server.run(), std::logic_error);
  }
}

TEST_CASE("run after start waits for the end", "[websocketpp][server]") {
  const auto manager = std::make_shared<RecordingManager>();
  muster::websocketpp::Server server(manager, threads(1));
  server.start();
  SECTION("an end to come") {
    asio::post(server.context(), [&] { server.stop(); });
  }
  SECTION("one that has come") { server.stop(); }
  server.run();
  CHECK_THROWS(RawClient(server.port()));
  CHECK_THROWS_AS(server.start(), std::logic_error);
}

TEST_CASE("a server that was never started goes quietly", "[websocketpp][server]") {
  const auto manager = std::make_shared<RecordingManager>();
  {
    muster::websocketpp::Server server(manager);
    CHECK(server.port() != 0);
  }
  {
    muster::websocketpp::Server server(manager);
    server.stop();
    server.stop();
  }
  CHECK(manager->is_ready());
}

TEST_CASE("what cannot be is said in words", "[websocketpp][server]") {
  const auto manager = std::make_shared<RecordingManager>();
  const auto message = [&](const muster::websocketpp::ServerOptions& options) -> std::string {
    try {
      muster::websocketpp::Server server(manager, options);
    } catch (const std::exception& error) {
      return error.what();
    }
    return {};
  };
  muster::websocketpp::Server first(manager);
  muster::websocketpp::ServerOptions options;
  options.port = first.port();
  CHECK(message(options).find("127.0.0.1:" + std::to_string(first.port())) != std::string::npos);
  CHECK_THROWS_AS(muster::websocketpp::Server(manager, options), std::system_error);
  options.port = 0;
  options.address = "203.0.113.1";  // RFC 5737: nobody's
  CHECK(message(options).find("203.0.113.1:0") != std::string::npos);
  CHECK(message(threads(0)).find("threads") != std::string::npos);
  options.address.clear();
  options.tls_key_file = "key.pem";
  options.proxy_protocol = true;
  const std::string all = message(options);  // all of it at once
  for (const char* field :
       {"address is empty", "tls_certificate_file and tls_key_file", "proxy_protocol needs trusted_proxies"}) {
    CHECK(all.find(field) != std::string::npos);
  }
  Options core;
  core.handshake_bytes = 65 * 1024;
  const auto large = std::make_shared<RecordingManager>(core);
  CHECK_THROWS_WITH(muster::websocketpp::Server(large, threads(1)),
                    Catch::Matchers::Contains("handshake_bytes must be at most 65536"));
  CHECK_THROWS_AS(muster::websocketpp::Server(nullptr, threads(1)), std::invalid_argument);
}

TEST_CASE("an io_context that two threads run is found out, and the way out is said", "[websocketpp][server]") {
  asio::io_context io;
  Components components;
  components.protocols = {std::make_shared<JsonProtocol>()};
  auto manager =
      make_connection_manager({}, std::make_shared<AllowAnonymous>(), std::make_shared<AllowAll>(), components);
  std::mutex mutex;
  std::condition_variable changed;
  std::string caught;
  bool inside = false;
  manager->on_connected([&](Connection&) {  // one thread is in a handler ...
    std::unique_lock<std::mutex> lock(mutex);
    inside = true;
    changed.notify_all();
    changed.wait_for(lock, std::chrono::seconds(20), [&] { return !caught.empty(); });
  });
  muster::websocketpp::Listener listener(io, manager, {});
  std::vector<std::thread> pool;
  const auto join_pool = [&] {
    pool.emplace_back([&] {
      try {
        io.run();
      } catch (const std::logic_error& error) {
        const std::lock_guard<std::mutex> lock(mutex);
        caught = error.what();
        changed.notify_all();
      }
    });
  };
  join_pool();
  RawClient first(listener.port());
  first.send(RawClient::upgrade_request());
  CHECK(wait_for([&] {
    const std::lock_guard<std::mutex> lock(mutex);
    return inside;
  }));
  join_pool();
  RawClient second(listener.port());  // ... when another comes to one
  {
    std::unique_lock<std::mutex> lock(mutex);
    CHECK(changed.wait_for(lock, std::chrono::seconds(20), [&] { return !caught.empty(); }));
    CHECK(caught.find("two threads run this io_context") != std::string::npos);
  }
  io.stop();
  for (std::thread& thread : pool) thread.join();
}

TEST_CASE("clients that come and go on several loops leave nothing behind", "[websocketpp][server]") {
  const std::size_t before = test::open_descriptors();
  {
    const auto manager = std::make_shared<RecordingManager>();
    manager->echo = true;
    muster::websocketpp::Server server(manager, threads(3));
    server.start();
    std::vector<std::thread> storms;
    for (int t = 0; t < 3; ++t) {
      storms.emplace_back([port = server.port(), t] {
        for (int i = 0; i < 60; ++i) {
          RawClient client(port);
          client.send(RawClient::upgrade_request() + test::text_frame("hello"));
          if (i % 3 == t) {
            (void)wait_for([&] {
              client.pump();
              return client.in.size() > 100 || client.ended();
            });
          }
          i % 2 == 0 ? client.cut() : client.reset();
        }
      });
    }
    for (auto& storm : storms) storm.join();
    CHECK(wait_for([&] { return manager->reserved() == 0; }));
    for (std::size_t i = 0; i < manager->count(); ++i) CHECK(manager->closings(i).size() <= 1);
    server.stop();
  }
  CHECK(test::open_descriptors() == before);
}
