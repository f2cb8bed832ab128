// What a command router must do: keep to its limits, close in good order, and let a program bring commands of its own.
// (Authentication and the commands themselves: command_router_test.cpp.)
//
// | requirement                                  | test                                                                |
// |----------------------------------------------|---------------------------------------------------------------------|
// | pool limit, a slot reused after removal      | the pool is limited, and a slot is reused after a removal           |
// | duplicate id refused                         | a duplicate connection id is refused                                |
// | rate limiter                                 | a client that sends too fast is told when to go on                  |
// | rate limiter, one client apart from another  | a client's rate is its own                                          |
// | rate limiter, clean-up                       | the rate limiter forgets addresses that are gone                    |
// | backpressure, a client that does not read    | a client that does not read costs bounded memory, and nobody else   |
// | backpressure, a client that sends too much   | a client whose commands wait is not read from                       |
// | metrics                                      | metrics count connections, messages, refusals and closes            |
// | graceful closure                             | a graceful closure answers what was asked, then closes              |
// | graceful closure of all                      | shutdown closes everyone with 1001, and says when it is done        |
// | broadcast to all                             | a broadcast reaches everyone who is authenticated                   |
// | custom handlers                              | a custom handler gets the payload, replies, and is authorised       |
// | custom handlers that fail                    | a custom handler that throws ends that connection only              |
#include <stdexcept>

#include "support/checked_sim.hpp"
#include "support/live_allocations.hpp"

namespace muster::test {
namespace {

TEST_CASE("the pool is limited, and a slot is reused after a removal", "[acceptance]") {
  Options options;
  options.max_connections = 3;
  CheckedSim sim(options);
  std::vector<Client> pool;
  for (int i = 0; i < 3; ++i) pool.push_back(sim.connect("u" + std::to_string(i)));
  CHECK(sim.manager().is_full());
  const auto refused = sim.connect("late");
  REQUIRE(refused.pipe().answer());
  CHECK(refused.pipe().answer()->reason == CloseReason::over_capacity);
  CHECK(refused.pipe().answer()->error.retry_after > 0ms);
  for (int round = 0; round < 20; ++round) {
    CHECK(sim.manager().remove(pool.front().id()));
    sim.run();
    CHECK_FALSE(sim.manager().is_full());
    pool.erase(pool.begin());
    pool.push_back(sim.connect("next"));
    CHECK(pool.back().is_open());
    CHECK(sim.manager().is_full());
  }
  CHECK(sim.manager().connection_count() == 3);
  CHECK(sim.manager().metrics().refused_capacity == 1);
}

TEST_CASE("a duplicate connection id is refused", "[acceptance]") {
  CheckedSim sim;
  Dial chosen;
  chosen.id = ConnectionId(77);
  const auto first = sim.connect("ann", chosen);
  CHECK(first.id() == ConnectionId(77));
  const auto second = sim.connect("bob", chosen);
  REQUIRE(second.pipe().answer());
  CHECK_FALSE(second.pipe().answer()->accepted);
  CHECK(second.pipe().answer()->error.code == errc::invalid_message);
  CHECK(sim.manager().find(ConnectionId(77))->user == "ann");
  CHECK(sim.manager().metrics().reserved == 1);
  first.hang_up();
  sim.run();
  CHECK(sim.connect("bob", chosen).is_open());  // free again
}

TEST_CASE("a client that sends too fast is told when to go on", "[acceptance]") {
  Options options;
  options.message_rate = 10;  // 20 at once
  options.rate_patience = 0ms;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.say("ping", "{}", 40);
  sim.run();
  CHECK(ann.count("pong") == 20);
  CHECK(ann.error() == "rate_limited");
  REQUIRE(ann.reply());
  const auto wait = ann.reply()->number("retry_after_ms");
  CHECK(wait > 0);
  CHECK(wait <= 101);
  sim.advance(std::chrono::milliseconds(wait));
  ann.say("ping", "{}");
  sim.run();
  CHECK(ann.count("pong") == 21);
  ann.say("ping", "{}", 100);  // who does not listen to that has to go
  sim.run();
  CHECK(ann.close_code() == 1008);
}

TEST_CASE("a client's rate is its own", "[acceptance]") {
  Options options;
  options.message_rate = 10;
  options.rate_patience = 0ms;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.say("ping", "{}", 40);
  bob.say("ping", "{}");
  sim.run();
  CHECK(bob.count("pong") == 1);
  CHECK(bob.count("error") == 0);
}

TEST_CASE("the rate limiter forgets addresses that are gone", "[acceptance]") {
  Options options;
  options.resume_window = 0s;
  options.presence_scope = PresenceScope::none;
  CheckedSim sim(options);
  const auto come_and_go = [&sim](std::uint8_t network) {
    for (int host = 0; host < 200; ++host) {
      auto pipe = std::make_shared<MemoryTransport>(sim.schedule.executors[0]);
      OpenRequest request;
      request.token = "ann";
      request.remote_address = RemoteAddress::v4(10, 0, network, static_cast<std::uint8_t>(host));
      pipe->open(sim.shared_manager(), std::move(request));
      sim.run();
      pipe->hang_up();
      sim.run();
    }
    sim.forget_story();
  };
  come_and_go(1);
  sim.advance(3min);
  const auto before = live_allocations.load();
  come_and_go(2);
  CHECK(live_allocations > before + 200);  // that they connected is remembered for a minute
  sim.advance(3min);
  CHECK(live_allocations < before + 20);
}

TEST_CASE("a client that does not read costs bounded memory, and nobody else", "[acceptance]") {
  Options options;
  options.unsent_soft_bytes = 2000;
  options.unsent_hard_bytes = 20000;
  options.message_rate = options.byte_rate = options.frame_rate = 0;
  CheckedSim sim(without_sessions(options));
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  const auto stuck = sim.connect("stuck");
  for (const auto& client : {ann, bob, stuck}) client.say("subscribe", R"({"topic":"news"})");
  sim.run();
  stuck.stall();
  const std::string data = quoted(std::string(500, 'x'));
  std::size_t most = 0;
  for (std::size_t i = 1; i <= 200; ++i) {
    ann.publish("news", data);
    sim.run();
    REQUIRE(bob.messages("news").size() == i);
    sim.manager().explain(stuck.id(), [&most](std::optional<Explanation> story) {
      if (story) most = std::max(most, story->counters.unsent_bytes);
    });
    sim.run();
  }
  CHECK(most > 500);
  CHECK(most <= 4000);  // the soft mark and a message: the rest is the room's history
  CHECK(stuck.is_open());
  sim.advance(options.unsent_age);
  CHECK(stuck.close_code() == 4008);
  CHECK(sim.manager().room({"", "news"})->size() == 2);
}

TEST_CASE("a client whose commands wait is not read from", "[acceptance]") {
  CheckedSim sim;
  sim.authorizer->answer = Answer::later(1s);
  const auto ann = sim.connect("ann");
  for (int i = 0; i < 30; ++i) ann.say("subscribe", R"({"topic":"news"})");
  sim.run();
  CHECK(ann.pipe().is_reading_paused());
  sim.authorizer->answer = Answer::now();
  sim.advance(1s);
  CHECK_FALSE(ann.pipe().is_reading_paused());
  CHECK(ann.count("ack") == 30);
}

TEST_CASE("metrics count connections, messages, refusals and closes", "[acceptance]") {
  Options options;
  options.max_connections = 2;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  sim.connect("cat");
  for (const auto& client : {ann, bob}) client.say("subscribe", R"({"topic":"news"})");
  sim.run();
  ann.publish("news", "1").publish("news", "2").say("dance", "{}");
  sim.run();
  bob.hang_up();
  sim.run();
  const Metrics metrics = sim.manager().metrics();
  CHECK(metrics.connections == 1);
  CHECK(metrics.connections_total == 2);
  CHECK(metrics.refused_capacity == 1);
  CHECK(metrics.users == 1);
  CHECK(metrics.rooms == 1);
  CHECK(metrics.messages_in == 5);
  CHECK(metrics.bytes_in > 5 * 20);
  CHECK(metrics.deliveries == 2);
  CHECK(metrics.errors == 1);
  CHECK(metrics.bytes_out > 0);
  CHECK(metrics.closed[static_cast<std::size_t>(CloseReason::normal)] == 1);
}

TEST_CASE("a graceful closure answers what was asked, then closes", "[acceptance]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.say("subscribe", R"({"topic":"news"})");
  sim.run();
  ann.say("ping", "{}");
  ann.executor()->loop().run_one();  // the ping is read; its answer is not written yet
  CHECK(sim.manager().remove(ann.id(), CloseReason::going_away, "See you"));
  sim.run();
  CHECK(ann.count("pong") == 1);
  CHECK(ann.close_code() == 1001);
  CHECK(ann.close_text() == "See you");
  CHECK_FALSE(ann.pipe().aborted());
  CHECK(sim.told("left ann news going_away") == 1);
  CHECK(sim.told("disconnected ann going_away") == 1);
  CHECK(sim.is_empty());
}

TEST_CASE("shutdown closes everyone with 1001, and says when it is done", "[acceptance]") {
  CheckedSim sim({}, 2);
  for (std::size_t i = 0; i < 8; ++i) sim.connect("u" + std::to_string(i), Dial().on(i % 2));
  const auto pending = sim.connect("pending", Dial().silent());
  bool done = false;
  sim.manager().shutdown([&done] { done = true; });
  sim.run();
  CHECK(done);
  for (const auto& client : sim.clients) CHECK(client.close_code() == 1001);
  const auto late = sim.connect("late");
  REQUIRE(late.pipe().answer());
  CHECK(describe(late.pipe().answer()->reason).http_status == 503);
  CHECK(sim.is_empty());
}

TEST_CASE("a broadcast reaches everyone who is authenticated", "[acceptance]") {
  CheckedSim sim({}, 3);
  std::vector<Client> clients;
  for (std::size_t i = 0; i < 12; ++i) {
    clients.push_back(sim.connect("u" + std::to_string(i), Dial().on(i % 3).of(i % 2 == 0 ? "" : "acme")));
  }
  const auto pending = sim.connect("pending", Dial().silent());
  CHECK(sim.manager().send_to_all(json(R"({"event":"maintenance"})")) == 12);
  sim.run();
  for (const auto& client : clients) {
    REQUIRE(client.count("direct") == 1);
    CHECK(client.last("direct")->value("data") == R"({"event":"maintenance"})");
  }
  CHECK(pending.log().empty());
}

TEST_CASE("a custom handler gets the payload, replies, and is authorised", "[acceptance]") {
  CheckedSim sim;
  sim.manager().on("echo", [](Connection& who, const Payload& what) { who.reply(what); });
  sim.manager().on("note", [](Connection&, const Payload&) {});
  sim.manager().on("announce", [&sim](Connection&, const Payload& what) { (void)sim.manager().send_to_all(what); });
  sim.authorizer->decide = [](const Access& access) {
    return access.action == Action::custom && access.target == "announce" && access.identity->user != "ann"
               ? Permission::deny("Ann alone may announce")
               : Permission::allow();
  };
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  bob.say("echo", R"({"x":1.5})");
  sim.run();
  REQUIRE(bob.reply());
  CHECK(bob.reply()->type() == "ack");
  CHECK(bob.reply()->value("x") == "1.5");
  bob.say("note", "{}");  // no reply of its own: the plain one
  sim.run();
  CHECK(bob.reply()->type() == "ack");
  bob.say("announce", R"({"x":1})");
  sim.run();
  CHECK(bob.reply()->text("code") == "permission_denied");
  CHECK(bob.reply()->text("message") == "Ann alone may announce");
  ann.say("announce", R"({"x":2})");
  sim.run();
  CHECK(bob.last("direct")->value("data") == R"({"x":2})");
}

TEST_CASE("a custom handler that throws ends that connection only", "[acceptance]") {
  CheckedSim sim;
  sim.manager().on("boom", [](Connection&, const Payload&) { throw std::runtime_error("boom"); });
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.say("boom", "{}");
  sim.run();
  CHECK(ann.close_code() == 1011);
  CHECK(bob.is_open());
  CHECK(sim.manager().metrics().callback_failures == 1);
}

}  // namespace
}  // namespace muster::test
