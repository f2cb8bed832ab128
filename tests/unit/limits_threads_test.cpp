// Limits that several threads reach at the same time: exact, whoever comes first.
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "muster/auth/allow_all.hpp"
#include "muster/connection_manager.hpp"
#include "muster/protocols/json_protocol.hpp"
#include "muster/testing/memory_transport.hpp"
#include "support/catch.hpp"
#include "support/thread_executor.hpp"

namespace muster::test {
namespace {

using namespace std::chrono_literals;

class TokenIsUser final : public Authenticator {
 public:
  void authenticate(const Credentials& who, Reply<Authentication> done) override { done(accept(who.token)); }
};

/// Three loops in threads of their own.
struct Threads {
  explicit Threads(Options options) {
    options.message_rate = options.byte_rate = options.frame_rate = 0;
    options.close_timeout = 100ms;
    Components components;
    components.protocols = {std::make_shared<JsonProtocol>()};
    manager = make_connection_manager(std::move(options), std::make_shared<TokenIsUser>(), std::make_shared<AllowAll>(),
                                      std::move(components));
    for (int i = 0; i < 3; ++i) executors.push_back(std::make_shared<ThreadExecutor>());
  }
  ~Threads() {
    std::atomic<bool> down{false};
    manager->shutdown([&down] { down = true; });
    CHECK(until([&] { return down.load(); }));
    for (const auto& executor : executors) executor->stop();
  }
  static bool until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + 20s;
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }
  std::shared_ptr<MemoryTransport> dial(std::size_t i, const std::string& user, RemoteAddress address = {}) {
    auto pipe = std::make_shared<MemoryTransport>(executors[i % executors.size()], 100ms);
    OpenRequest request;
    request.token = user;
    request.token_source = TokenSource::authorization_header;
    request.remote_address = address;
    pipe->open(manager, std::move(request), [this](const Decision&) { ++answered; });
    return pipe;
  }
  /// Runs `work(i)` for each i below `count`, in four threads at once.
  static void at_once(std::size_t count, const std::function<void(std::size_t)>& work) {
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t i = t; i < count; i += 4) work(i);
      });
    }
    for (auto& thread : threads) thread.join();
  }
  std::shared_ptr<IConnectionManager> manager;
  std::vector<std::shared_ptr<ThreadExecutor>> executors;
  std::atomic<std::size_t> answered{0};
};

TEST_CASE("max_connections never overshoots while several threads connect and go", "[limits][threads]") {
  Options options;
  options.max_connections = 10;
  Threads threads(options);
  std::atomic<std::size_t> held{0}, most{0};
  Threads::at_once(4, [&](std::size_t) {
    for (int i = 0; i < 5000; ++i) {
      const Reservation place = threads.manager->reserve({}, TimePoint{});
      if (!place) continue;
      const std::size_t now = ++held;
      std::size_t seen = most;
      while (seen < now && !most.compare_exchange_weak(seen, now)) {
      }
      std::vector<Reservation> more;
      for (int k = 0; k < 3; ++k) {
        more.push_back(threads.manager->reserve({}, TimePoint{}));
        if (more.back()) ++held;
      }
      for (Reservation& one : more) {
        if (one) --held;
      }
      --held;
    }
  });
  CHECK(most <= 10);
  CHECK(threads.manager->metrics().reserved == 0);
  const auto before = threads.manager->metrics().refused_capacity;
  std::vector<std::shared_ptr<MemoryTransport>> pipes(40);
  Threads::at_once(40, [&](std::size_t i) { pipes[i] = threads.dial(i, "user" + std::to_string(i)); });
  CHECK(Threads::until([&] { return threads.answered == 40; }));
  CHECK(threads.manager->connection_count() == 10);
  CHECK(threads.manager->metrics().refused_capacity == before + 30);
  CHECK(threads.manager->is_full());
}

TEST_CASE("max_connections_per_ip and connects per IP are exact while several threads connect", "[limits][threads]") {
  const bool by_rate = GENERATE(false, true);
  Options options;
  options.max_connections_per_ip = by_rate ? 0 : 7;
  options.connect_rate_per_ip = by_rate ? 7 : 0;
  Threads threads(options);
  std::vector<std::shared_ptr<MemoryTransport>> pipes(40);
  const auto here = RemoteAddress::v4(10, 0, 0, 1);
  Threads::at_once(40, [&](std::size_t i) { pipes[i] = threads.dial(i, "user" + std::to_string(i), here); });
  CHECK(Threads::until([&] { return threads.answered == 40; }));
  CHECK(threads.manager->connection_count() == 7);
  const Metrics metrics = threads.manager->metrics();
  CHECK((by_rate ? metrics.refused_rate : metrics.refused_per_ip) == 33);
}

TEST_CASE("max_connections_per_user is exact while one user connects from several threads", "[limits][threads]") {
  Options options;
  options.max_connections_per_user = 3;
  Threads threads(options);
  std::vector<std::shared_ptr<MemoryTransport>> pipes(30);
  Threads::at_once(30, [&](std::size_t i) { pipes[i] = threads.dial(i, "ann"); });
  CHECK(Threads::until([&] { return threads.answered == 30; }));
  CHECK(threads.manager->connection_count({"", "ann"}) == 3);
}

TEST_CASE("room members are exact while users on several loops join at once", "[limits][threads]") {
  Options options;
  options.room.room_capacity = 5;
  Threads threads(options);
  std::atomic<std::size_t> joined{0};
  threads.manager->on_joined([&](Connection&, const RoomKey&, const Joining&) { ++joined; });
  std::vector<std::shared_ptr<MemoryTransport>> pipes(30);
  Threads::at_once(30, [&](std::size_t i) {
    pipes[i] = threads.dial(i, "user" + std::to_string(i));
    pipes[i]->receive(R"({"type":"join","id":1,"payload":{"room":"r"}})");
  });
  CHECK(Threads::until([&] { return joined + threads.manager->metrics().errors == 30; }));
  CHECK(joined == 5);
  CHECK(threads.manager->room({"", "r"})->size() == 5);
}

TEST_CASE("history bytes in all hold while several threads publish into many rooms", "[limits][threads]") {
  Options options;
  options.total_bytes = 50'000;
  options.tenant_bytes = 0;
  options.rooms_created_per_minute = 0;
  Threads threads(options);
  const auto keeper = threads.dial(0, "keeper");
  for (int i = 0; i < 20; ++i) {
    keeper->receive(R"({"type":"join","payload":{"room":"r)" + std::to_string(i) + "\"}}");
  }
  REQUIRE(Threads::until([&] { return threads.manager->room_count() == 20; }));
  std::atomic<std::size_t> most{0};
  Threads::at_once(4, [&](std::size_t t) {
    const Payload payload = json("\"" + std::string(500, 'x') + "\"");
    for (std::size_t i = 0; i < 2000; ++i) {
      bool stored = false;  // or the keeper's executor is behind, and too much waits for it
      while (!stored) {
        threads.manager->publish({"", "r" + std::to_string((i * 7 + t) % 20)}, payload, Delivery::reliable(), {},
                                 [&](const Result<Published>& result) { stored = static_cast<bool>(result); });
      }
      const std::size_t now = threads.manager->metrics().history_bytes;
      std::size_t seen = most;
      while (seen < now && !most.compare_exchange_weak(seen, now)) {
      }
    }
  });
  CHECK(most <= options.total_bytes + 4 * 1000);  // each thread may be between adding and dropping
  CHECK(threads.manager->metrics().history_bytes <= options.total_bytes);
  CHECK(threads.manager->metrics().history_dropped > 7000);
  std::size_t held = 0;
  for (int i = 0; i < 20; ++i) held += threads.manager->room({"", "r" + std::to_string(i)})->counters().history_bytes;
  CHECK(held == threads.manager->metrics().history_bytes);
}

TEST_CASE("one idempotency_key said from several loops at once is one message", "[limits][threads]") {
  Threads threads({});
  std::vector<std::shared_ptr<MemoryTransport>> pipes(12);
  std::atomic<std::size_t> joined{0};
  threads.manager->on_joined([&](Connection&, const RoomKey&, const Joining&) { ++joined; });
  for (std::size_t i = 0; i < pipes.size(); ++i) {
    pipes[i] = threads.dial(i, "ann");
    pipes[i]->receive(R"({"type":"join","payload":{"room":"r"}})");
  }
  REQUIRE(Threads::until([&] { return joined == pipes.size(); }));
  const auto before = threads.manager->metrics().messages_in;
  Threads::at_once(pipes.size(), [&](std::size_t i) {
    for (int k = 0; k < 20; ++k) {
      pipes[i]->receive(R"({"type":"publish","payload":{"room":"r","data":1,"idempotency_key":"k)" + std::to_string(k) +
                        "\"}}");
    }
  });
  CHECK(Threads::until([&] { return threads.manager->metrics().messages_in == before + 20 * pipes.size(); }));
  std::atomic<std::size_t> through{0};
  for (const auto& executor : threads.executors) CHECK(executor->post([&] { ++through; }));
  CHECK(Threads::until([&] { return through == threads.executors.size(); }));
  CHECK(threads.manager->room({"", "r"})->position().seq == 20);
}

}  // namespace
}  // namespace muster::test
