// Liveness: heartbeats over a virtual day, the sweep, and what admission allows.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("a client that answers pings lives through a day", "[liveness]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  std::size_t answered = 0;
  for (int second = 0; second < 24 * 3600; second += 5) {
    sim.advance(5s);
    if (ann.pings() != answered) {
      answered = ann.pings();
      ann.pong();
    }
  }
  CHECK(ann.is_open());
  CHECK(answered >= 2 * 60 * 24 - 2);
  CHECK(answered <= 2 * 60 * 24 + 1);
}

TEST_CASE("no answer to a ping within pong_timeout cuts the socket, and gives its place back at once", "[liveness]") {
  CheckedSim sim(without_sessions());
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.advance(30s);
  CHECK(ann.pings() == 1);
  CHECK(ann.is_open());
  sim.advance(10s);
  CHECK_FALSE(ann.is_open());
  CHECK(ann.close_code() == 0);
  CHECK(sim.manager().metrics().reserved == 0);
  CHECK(sim.told("left ann r heartbeat_timeout") == 1);
  CHECK(sim.told("disconnected ann heartbeat_timeout") == 1);
  sim.advance(5s);
  CHECK(sim.is_empty());
}

TEST_CASE("who is given up as lost is cut at once, without a close handshake", "[liveness]") {
  CheckedSim sim(without_sessions());
  const auto ann = sim.connect("ann");
  CHECK(sim.manager().remove(ann.id(), CloseReason::lost));
  sim.run();
  CHECK(ann.pipe().aborted());
  CHECK(ann.close_code() == 0);
  CHECK(sim.manager().metrics().reserved == 0);
}

TEST_CASE("a server that was held up hears its peers before it judges them", "[liveness]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto dead = sim.connect("dead");
  dead.vanish();
  auto& loop = sim.schedule.executors[0]->loop();
  while (ann.pings() == 0) sim.advance(1s);
  sim.schedule.clock->move_to(sim.now() + 20s);
  REQUIRE(loop.run_one());  // its timers are due, and what lies in its sockets has not been read
  ann.pong();
  sim.run();
  CHECK(ann.is_open());
  sim.advance(sim.manager().options().heartbeat + sim.manager().options().pong_timeout);
  CHECK_FALSE(dead.is_open());
}

TEST_CASE("a server that is a little late hears its peers before it judges them, too", "[liveness]") {
  Options options = without_sessions();
  options.heartbeat = 10s;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  auto& loop = sim.schedule.executors[0]->loop();
  while (ann.pings() == 0) sim.advance(1ms);
  sim.advance(options.pong_timeout - 1ms);
  sim.schedule.clock->move_to(sim.now() + 51ms);
  REQUIRE(loop.run_one());  // as above
  ann.pong();
  sim.advance(500ms);
  CHECK(ann.is_open());
  ann.vanish();
  sim.advance(options.heartbeat + options.pong_timeout);
  CHECK_FALSE(ann.is_open());
}

TEST_CASE("a half-open client is gone within heartbeat and pong timeout, and the others are told once", "[liveness]") {
  CheckedSim sim(without_sessions());
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("r").aware("r", "{}", 1, "a");
  bob.join("r");
  sim.advance(1s);
  ann.vanish();
  for (int second = 0; second < 40; ++second) {
    sim.advance(1s);
    bob.pong();
  }
  CHECK(bob.members("r") == Texts{"bob"});
  CHECK(bob.view("r").nulls_told == 1);
  CHECK_FALSE(sim.manager().contains(ann.id()));
  sim.advance(5s);
  CHECK(sim.manager().metrics().reserved == 1);
}

TEST_CASE("any frame is life", "[liveness]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  for (int i = 0; i < 100; ++i) {
    sim.advance(9s);
    ann.say("ping", "{}");
  }
  sim.run();
  CHECK(ann.is_open());
  CHECK(ann.count("pong") == 100);
}

TEST_CASE("the first heartbeats are spread over the interval", "[liveness]") {
  Options options;
  options.pong_timeout = options.heartbeat;
  CheckedSim sim(options);
  std::vector<Client> clients;
  for (int i = 0; i < 40; ++i) clients.push_back(sim.connect("u" + std::to_string(i)));
  std::size_t before_half = 0;
  sim.advance(15s);
  for (const auto& client : clients) before_half += client.pings();
  CHECK(before_half > 5);
  CHECK(before_half < 35);
  sim.advance(15s);
  for (const auto& client : clients) CHECK(client.pings() >= 1);
}

TEST_CASE("heartbeat 0 switches it off", "[liveness]") {
  Options options;
  options.heartbeat = 0s;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  sim.advance(24h);
  CHECK(ann.is_open());
  CHECK(ann.pings() == 0);
}

TEST_CASE("an idle day costs almost nothing", "[liveness]") {
  Options options;
  options.heartbeat = 0s;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto before = ann.executor()->posts();
  sim.advance(24h);
  CHECK(ann.executor()->posts() - before < 24 * 60 * 10);
}

TEST_CASE("a ping of the client is answered with a pong frame, ping messages with their payload", "[liveness]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.say("ping", R"({"n":[1,2]})");
  sim.run();
  REQUIRE(ann.reply());
  CHECK(ann.reply()->type() == "pong");
  CHECK(compact(ann.reply()->payload()) == R"({"n":[1,2]})");
  ann.pipe().receive("abc", FrameKind::ping);
  sim.run();
  CHECK(ann.pongs() == Texts{"abc"});
}

TEST_CASE("a sweep of a healthy server finds nothing", "[liveness]") {
  CheckedSim sim({}, 3);
  for (std::size_t i = 0; i < 6; ++i) sim.connect("u" + std::to_string(i), Dial().on(i % 3)).join("r");
  sim.run();
  std::optional<std::size_t> findings;
  sim.manager().sweep_now([&findings](std::size_t found) { findings = found; });
  sim.run();
  CHECK(findings == std::size_t{0});
  CHECK(sim.manager().metrics().sweep_findings == 0);
}

TEST_CASE("connections of an executor that stopped are found and taken out", "[liveness]") {
  CheckedSim sim({}, 2);
  const auto ann = sim.connect("ann", Dial().on(0));
  const auto bob = sim.connect("bob", Dial().on(1));
  ann.join("r").aware("r", "{}", 1, "a");
  bob.join("r");
  sim.advance(1s);
  ann.executor()->loop().stop();
  sim.manager().sweep_now(nullptr);
  sim.advance(1s);
  CHECK_FALSE(sim.manager().contains(ann.id()));
  CHECK(bob.members("r") == Texts{"bob"});
  CHECK(bob.awareness("r").empty());
  CHECK(sim.manager().metrics().lost == 1);
  CHECK(sim.manager().metrics().reserved == 1);
}

TEST_CASE("an executor that stopped is found by the next sweep, though nobody posts to it", "[liveness]") {
  CheckedSim sim(without_sessions(), 2);
  const auto ann = sim.connect("ann", Dial().on(0));
  const auto bob = sim.connect("bob", Dial().on(1));
  sim.advance(1s);
  ann.executor()->loop().stop();
  for (int second = 0; second < 60; ++second) {
    bob.pong();
    sim.advance(1s);
  }
  CHECK_FALSE(sim.manager().contains(ann.id()));
  CHECK(sim.manager().contains(bob.id()));
  CHECK(sim.told("offline ann") == 1);
  CHECK(sim.manager().metrics().lost == 1);
}

TEST_CASE("max_connections counts pending ones, and a place is free again when the socket is gone", "[admission]") {
  Options options;
  options.max_connections = 2;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto silent = sim.connect("silent", Dial().silent());
  CHECK(sim.manager().is_full());
  const auto cat = sim.connect("cat");
  REQUIRE(cat.pipe().answer());
  CHECK_FALSE(cat.pipe().answer()->accepted);
  CHECK(cat.pipe().answer()->reason == CloseReason::over_capacity);
  CHECK(cat.pipe().answer()->error.retry_after > 0ms);
  CHECK(sim.manager().metrics().refused_capacity == 1);
  ann.vanish();
  (void)sim.manager().remove(ann.id());
  sim.run();
  CHECK(sim.manager().connection_count() == 0);
  CHECK(sim.manager().is_full());  // its socket still waits for the peer
  silent.hang_up();
  sim.run();
  CHECK(sim.connect("cat").is_open());
}

TEST_CASE("max_connections_per_ip and the connect rate refuse 429, and say when to come back", "[admission]") {
  Options options;
  options.max_connections_per_ip = 2;
  options.connect_rate_per_ip = 3;
  options.connect_rate_window = 10s;
  options.heartbeat = 0s;
  CheckedSim sim(options);
  const auto here = RemoteAddress::v4(10, 0, 0, 1);
  const auto a = sim.connect("a", Dial().from(here));
  const auto b = sim.connect("b", Dial().from(here));
  const auto c = sim.connect("c", Dial().from(here));
  REQUIRE(c.pipe().answer());
  CHECK(describe(c.pipe().answer()->reason).http_status == 429);
  CHECK(sim.connect("d", Dial().from(RemoteAddress::v4(10, 0, 0, 2))).is_open());
  CHECK(sim.manager().metrics().refused_per_ip == 1);
  a.hang_up();
  sim.run();
  CHECK(sim.connect("e", Dial().from(here)).is_open());  // the refused attempt did not count
  b.hang_up();
  sim.run();
  const auto f = sim.connect("f", Dial().from(here));
  REQUIRE(f.pipe().answer());
  CHECK_FALSE(f.pipe().answer()->accepted);
  CHECK(f.pipe().answer()->error.retry_after == 10s);
  CHECK(sim.manager().metrics().refused_rate == 1);
  sim.advance(10s);
  CHECK(sim.connect("g", Dial().from(here)).is_open());
}

TEST_CASE("sockets that only ask for pages do not use up the connect rate", "[admission]") {
  Options options;
  options.connect_rate_per_ip = 2;
  CheckedSim sim(options);
  const auto here = RemoteAddress::v4(10, 0, 0, 1);
  for (int request = 0; request < 10; ++request) CHECK(sim.manager().reserve(here, sim.now()));
  CHECK(sim.connect("a", Dial().from(here)).is_open());
  CHECK(sim.connect("b", Dial().from(here)).is_open());
  CHECK_FALSE(sim.connect("c", Dial().from(here)).is_open());
}

TEST_CASE("messages and bytes beyond their rate are refused, and pass again later", "[rates]") {
  Options options;
  const bool by_bytes = GENERATE(false, true);
  options.message_rate = by_bytes ? 0 : 2;  // the burst is twice the rate
  options.byte_rate = by_bytes ? 60 : 0;
  options.rate_patience = 0ms;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.say("ping", "{}", 12);
  sim.run();
  CHECK(ann.count("pong") >= 2);
  CHECK(ann.count("pong") <= 4);
  CHECK(ann.count("error") >= 1);
  REQUIRE(ann.last("error"));
  CHECK(ann.last("error")->text("code") == "rate_limited");
  CHECK(ann.last("error")->number("retry_after_ms") > 0);
  sim.advance(20s);
  const auto before = ann.count("pong");
  ann.say("ping", "{}");
  sim.run();
  CHECK(ann.count("pong") == before + 1);
  CHECK(ann.is_open());
}

TEST_CASE("who goes on after refusals in a row, or sends frames without end, is closed 1008", "[rates]") {
  Options options;
  options.message_rate = 1;
  options.rate_limited_max = 5;
  options.frame_rate = 20;
  options.rate_patience = 0ms;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.say("ping", "{}", 10);
  sim.run();
  CHECK(ann.close_code() == 1008);
  const auto bob = sim.connect("bob");
  for (int i = 0; i < 50; ++i) bob.pong();
  sim.run();
  CHECK(bob.close_code() == 1008);
}

TEST_CASE("max_connections_per_user refuses the new one, or closes the oldest", "[admission]") {
  Options options;
  options.max_connections_per_user = 2;
  SECTION("reject_new") {
    CheckedSim sim(options);
    sim.connect("ann");
    sim.connect("ann");
    const auto third = sim.connect("ann");
    REQUIRE(third.pipe().answer());
    CHECK_FALSE(third.pipe().answer()->accepted);
    CHECK(sim.connect("bob").is_open());
  }
  SECTION("close_oldest") {
    options.user_limit_policy = UserLimitPolicy::close_oldest;
    CheckedSim sim(options);
    const auto first = sim.connect("ann");
    const auto second = sim.connect("ann");
    const auto third = sim.connect("ann");
    sim.run();
    CHECK(first.close_code() == 4005);
    CHECK(second.is_open());
    CHECK(third.is_open());
    CHECK(sim.manager().connection_count({"", "ann"}) == 2);
    CHECK(sim.told("offline ann") == 0);
  }
}

}  // namespace
}  // namespace muster::test
