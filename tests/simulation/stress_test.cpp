// Real threads: executors, and threads that are none of them, do everything at once; in the end nothing may be left.
#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "muster/connection_manager.hpp"
#include "muster/protocols/json_protocol.hpp"
#include "muster/testing/memory_transport.hpp"
#include "support/catch.hpp"
#include "support/frames.hpp"
#include "support/room_view.hpp"
#include "support/schedule.hpp"
#include "support/thread_executor.hpp"

namespace muster::test {
namespace {

using namespace std::chrono_literals;

/// The token is the user; some answers come from another thread.
class StressAuthenticator final : public Authenticator {
 public:
  explicit StressAuthenticator(std::shared_ptr<Executor> elsewhere) : elsewhere_(std::move(elsewhere)) {}
  void authenticate(const Credentials& credentials, Reply<Authentication> done) override {
    if (++asked_ % 3 != 0) return done(accept(credentials.token));
    (void)elsewhere_->post([done, user = credentials.token] { done(accept(user)); });
  }

 private:
  std::shared_ptr<Executor> elsewhere_;
  std::atomic<std::size_t> asked_{0};
};
class StressAuthorizer final : public Authorizer {
 public:
  explicit StressAuthorizer(std::shared_ptr<Executor> elsewhere) : elsewhere_(std::move(elsewhere)) {}
  void authorize(const Access&, Reply<Permission> done) override {
    if (++asked_ % 5 != 0) return done(Permission::allow());
    (void)elsewhere_->post([done] { done(Permission::allow()); });
  }

 private:
  std::shared_ptr<Executor> elsewhere_;
  std::atomic<std::size_t> asked_{0};
};

struct Stress {
  Stress() {
    for (int i = 0; i < 3; ++i) executors.push_back(std::make_shared<ThreadExecutor>());
    elsewhere = std::make_shared<ThreadExecutor>();
    Options options;
    options.max_connections = 60;
    options.room.room_capacity = 6;
    options.room.history_messages = 16;
    options.room.history_age = 100ms;
    options.room.awareness_interval = 2ms;
    options.unsent_soft_bytes = 2000;
    options.unsent_hard_bytes = 200000;
    options.message_rate = options.byte_rate = options.frame_rate = 0;
    options.rooms_created_per_minute = 0;
    options.total_bytes = 12'000;
    options.tenant_bytes = 8000;
    options.idempotency_keys = 8;
    options.idempotency_age = 50ms;
    options.close_timeout = 200ms;
    options.fan_out_slice = 2;
    Components components;
    components.protocols = {std::make_shared<JsonProtocol>()};
    manager = make_connection_manager(options, std::make_shared<StressAuthenticator>(elsewhere),
                                      std::make_shared<StressAuthorizer>(elsewhere), std::move(components));
    manager->on_connected([this](Connection&) { ++connected; });
    manager->on_joined([this](Connection& connection, const RoomKey& room, const Joining&) {
      ++joined;
      connection.publish(room.name, json("0"));
    });
    manager->on_left([this](Connection&, const RoomKey&, const Leaving&) { ++left; });
    manager->on_disconnected([this](Connection&, CloseReason) { ++disconnected; });
    manager->on_user_online([this](const UserKey&) { ++online; });
    manager->on_user_offline([this](const UserKey&) { ++offline; });
  }

  std::shared_ptr<MemoryTransport> dial(Random& random) {
    auto pipe = std::make_shared<MemoryTransport>(random.pick(executors), 200ms);
    OpenRequest request;
    request.token = "user" + std::to_string(random.below(8));
    request.token_source = TokenSource::authorization_header;
    pipe->open(manager, std::move(request));
    return pipe;
  }

  /// One thread's work: peers that come, talk, stall, break and go; and a program that looks and interferes.
  void work(std::uint64_t seed, std::chrono::steady_clock::time_point until) {
    Random random(seed);
    std::vector<std::shared_ptr<MemoryTransport>> pipes;
    std::vector<FrameReader> readers;
    std::uint64_t clock = 0;
    while (std::chrono::steady_clock::now() < until) {
      if (pipes.size() < 12) pipes.push_back(dial(random));
      const std::size_t at = random.below(pipes.size());
      auto& pipe = pipes[at];
      const std::string room = "r" + std::to_string(random.below(4));
      const std::string head = R"({"room":")" + room + "\"";
      const auto say = [&pipe](const std::string& type, const std::string& payload) {
        pipe->receive(R"({"type":")" + type + R"(","id":1,"payload":)" + payload + "}}");
      };
      const auto connection = pipe->connection();
      const ConnectionId id = connection ? connection->id() : ConnectionId();
      switch (random.below(24)) {
        default:
          say("publish", head + R"(,"data":1)");
          break;
        case 17:
        case 18:
          say("publish", head + R"(,"data":5,"idempotency_key":"k)" + std::to_string(random.below(20)) + "\"");
          break;
        case 0:
        case 1:
        case 2:
        case 3:
          say("join", head);
          break;
        case 4:
          say("leave", head);
          break;
        case 5:
        case 6:
          ++clock;
          say("awareness_update", head + R"(,"state":{"x":1},"clock":)" + std::to_string(clock));
          break;
        case 7:
          pipe->stall();
          break;
        case 8:
        case 9:
          pipe->resume();
          break;
        case 10:
          if (random.one_in(4)) pipe->fail_write(3);
          break;
        case 11:
          if (random.one_in(4)) pipe->hang_up(random.one_in(2) ? CloseReason::normal : CloseReason::lost);
          break;
        case 12:
          if (random.one_in(4)) (void)manager->remove(id);
          break;
        case 13:
          manager->publish({"", room}, json("2"), Delivery::reliable(), id);
          break;
        case 14:
          (void)manager->send_to_all(json("3"));
          (void)manager->send(id, json("4"));
          break;
        case 15:
          (void)manager->connections_in({"", room});
          (void)manager->connections({}, 20);
          (void)manager->metrics();
          manager->explain(id, [](std::optional<Explanation>) {});
          break;
        case 16: {
          const auto members = manager->room({"", room})->members();
          std::vector<std::string> users;
          for (const Member& member : members) users.push_back(member.user);
          std::sort(users.begin(), users.end());
          users.erase(std::unique(users.begin(), users.end()), users.end());
          if (users.size() > 6) ++overshot;
          if (manager->metrics().reserved > 60) ++overshot;
          if (manager->metrics().history_bytes > 8000 + 4000) ++overshot;  // some are between adding and dropping
          break;
        }
      }
      (void)pipe->take_written();
      if (pipe->is_gone()) pipes.erase(pipes.begin() + static_cast<std::ptrdiff_t>(at));
      if (random.one_in(16)) std::this_thread::yield();
    }
    for (const auto& pipe : pipes) pipe->resume();
  }

  std::vector<std::shared_ptr<ThreadExecutor>> executors;
  std::shared_ptr<ThreadExecutor> elsewhere;
  std::shared_ptr<IConnectionManager> manager;
  std::atomic<std::size_t> connected{0}, joined{0}, left{0}, disconnected{0}, online{0}, offline{0}, overshot{0};
};

TEST_CASE("seven threads at once leave nothing behind", "[stress]") {
  Stress stress;
  const auto until = std::chrono::steady_clock::now() + 6s;
  std::vector<std::thread> threads;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([&stress, seed, until] { stress.work(seed, until); });
  }
  for (auto& thread : threads) thread.join();

  std::promise<void> down;
  stress.manager->shutdown([&down] { down.set_value(); });
  REQUIRE(down.get_future().wait_for(20s) == std::future_status::ready);
  const Metrics now = stress.manager->metrics();
  CHECK(now.connections == 0);
  CHECK(now.pending == 0);
  CHECK(now.reserved == 0);
  CHECK(now.users == 0);
  CHECK(now.awareness_entries == 0);
  for (int i = 0; i < 4; ++i) CHECK(stress.manager->connections_in({"", "r" + std::to_string(i)}).empty());
  CHECK(now.sweep_findings == 0);
  CHECK(stress.overshot == 0);
  for (auto& executor : stress.executors) executor->stop();
  stress.elsewhere->stop();
  CHECK(stress.connected > 20);
  CHECK(stress.joined > 20);
  CHECK(stress.connected == stress.disconnected);
  CHECK(stress.joined == stress.left);
  CHECK(stress.online == stress.offline);
}

TEST_CASE("executors that stop under a busy server leave no crash and no leak", "[stress]") {
  for (std::uint64_t round = 1; round <= 5; ++round) {
    Stress stress;
    const auto until = std::chrono::steady_clock::now() + 300ms;
    std::thread worker([&stress, round, until] { stress.work(round, until); });
    std::thread other([&stress, round, until] { stress.work(round + 100, until); });
    const auto half = std::chrono::steady_clock::now() + 100ms;
    while (std::chrono::steady_clock::now() < half) (void)stress.manager->connection_count();
    stress.executors[0]->stop();
    worker.join();
    other.join();
    std::promise<void> down;
    stress.manager->shutdown([&down] { down.set_value(); });
    CHECK(down.get_future().wait_for(20s) == std::future_status::ready);
    CHECK(stress.manager->connection_count() == 0);
    CHECK(stress.manager->metrics().reserved == 0);
    for (auto& executor : stress.executors) executor->stop();
    stress.elsewhere->stop();
  }
}

}  // namespace
}  // namespace muster::test
