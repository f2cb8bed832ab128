// What a social application needs of delivery. (What it needs of its events: social_events_test.cpp.)
//
// | requirement                                 | test                                                                |
// |---------------------------------------------|---------------------------------------------------------------------|
// | offline delivery                            | what comes while a user is away is delivered first, in order        |
// | ack by queue_id                             | what is acknowledged by its queue_id never comes again              |
// | unacknowledged comes again                  | what is not acknowledged comes again                                |
// | one acknowledges for all devices            | one device acknowledges for all of a user's                         |
// | reconnect: the waits                        | the waits between attempts double up to a cap, and are drawn        |
// | reconnect: many at once                     | clients that lost one server do not come back together              |
// | reconnect: to a server that refuses         | a client that is refused comes back later and later, and gets in    |
// | reconnect: after a loss                     | a client that lost its connection is back before anybody noticed    |
// | stale clean-up: half-open                   | a half-open connection is gone within heartbeat and pong timeout    |
// | stale clean-up every 60 s                   | what is stale and said nothing is cleaned up within 60 s            |
// | stale clean-up finds nothing else           | the clean-up leaves who is well alone                               |
// | delivery within 500 ms under load           | under load each message costs no more turns than one alone          |
// | delivery within 500 ms with a slow store    | with a store that takes 100 ms delivery stays within 500 ms         |
// | delivery within 500 ms, on sockets          | tests/examples/social_test.cpp                                      |
#include "backoff.hpp"
#include "social_sim.hpp"

namespace muster::test {
namespace {

Texts said(const Client& client) {
  Texts texts;
  for (const Told& told : client.all("direct")) {
    const auto data = told.payload().FindMember("data");
    texts.push_back(Told::text(data->value, "text"));
  }
  return texts;
}
void say(const Client& from, const std::string& to, const std::string& text) {
  from.say("message", R"({"to":)" + quoted(to) + R"(,"text":)" + quoted(text) + "}");
}

TEST_CASE("what comes while a user is away is delivered first, in order", "[acceptance]") {
  SocialSim sim;
  const auto ann = sim.enter("ann");
  for (const char* text : {"one", "two", "three"}) say(ann, "bob", text);
  ann.say("like", R"({"author":"bob","post":"p7"})");
  sim.run();
  const auto bob = sim.dial("bob");
  bob.join("inbox:bob").say("ping", "{}");
  sim.run();
  CHECK(said(bob) == Texts{"one", "two", "three", ""});
  const Texts types = bob.types();
  REQUIRE(types.size() > 6);
  CHECK(Texts(types.begin(), types.begin() + 6) ==
        Texts{"connection_ack", "direct", "direct", "direct", "direct", "room_joined"});
  std::uint64_t last = 0;
  for (const Told& told : bob.all("direct")) {
    CHECK(told.number("queue_id") > last);
    last = told.number("queue_id");
  }
}

TEST_CASE("what is acknowledged by its queue_id never comes again", "[acceptance]") {
  SocialSim sim;
  const auto ann = sim.enter("ann");
  const auto bob = sim.enter("bob");
  for (const char* text : {"one", "two", "three"}) say(ann, "bob", text);
  sim.run();
  const auto second = bob.all("direct")[1].value("queue_id");
  bob.say("ack", R"({"queue_id":)" + second + "}");  // up to there
  sim.run();
  bob.hang_up();
  CHECK(said(sim.enter("bob")) == Texts{"three"});
  CHECK(sim.sessions->behind.queued_count() == 1);
}

TEST_CASE("what is not acknowledged comes again", "[acceptance]") {
  const auto how = GENERATE(CloseReason::normal, CloseReason::going_away, CloseReason::lost);
  SocialSim sim(without_heartbeat());
  const auto ann = sim.enter("ann");
  auto bob = sim.enter("bob");
  say(ann, "bob", "one");
  sim.run();
  for (int time = 0; time < 5; ++time) {
    CHECK(said(bob) == Texts{"one"});
    bob.hang_up(how);
    sim.advance(time % 2 == 0 ? 0s : 20s);
    bob = sim.enter("bob");
  }
  // Half-open: written, and never read.
  bob.vanish();
  say(ann, "bob", "two");
  sim.run();
  CHECK(said(bob) == Texts{"one"});
  CHECK(said(sim.enter("bob")) == Texts{"one", "two"});
}

TEST_CASE("one device acknowledges for all of a user's", "[acceptance]") {
  SocialSim sim({Social::options()}, 2);
  const auto ann = sim.enter("ann");
  const auto phone = sim.enter("bob");
  const auto laptop = sim.enter("bob", Dial().on(1));
  say(ann, "bob", "one");
  sim.run();
  CHECK(said(phone) == Texts{"one"});
  CHECK(said(laptop) == Texts{"one"});
  phone.say("ack", R"({"queue_id":)" + phone.last("direct")->value("queue_id") + "}");
  sim.run();
  CHECK(said(sim.enter("bob")).empty());
}

TEST_CASE("the waits between attempts double up to a cap, and are drawn", "[acceptance]") {
  constexpr double nearly_one = 0.999999;
  Backoff backoff(500ms, 30s);
  for (const auto longest : {500ms, 1000ms, 2000ms, 4000ms, 8000ms, 16000ms, 30000ms, 30000ms, 30000ms}) {
    Backoff drawn = backoff;
    CHECK(drawn.next(0) == 0ms);
    const auto wait = backoff.next(nearly_one);
    CHECK(wait < longest);
    CHECK(wait >= longest - 1ms);
  }
  CHECK(backoff.next(0.5) == 15s);
  CHECK(backoff.next(0, 5s) == 5s);  // never before the server said
  backoff.reset();
  CHECK(backoff.next(0.5) == 250ms);
  CHECK(Backoff(10s, 1s).next(nearly_one) < 1s);
}

TEST_CASE("clients that lost one server do not come back together", "[acceptance]") {
  Random random(7);
  constexpr std::size_t clients = 10'000;
  constexpr std::size_t slots = 20;
  std::array<std::size_t, slots> arrivals{};
  for (std::size_t i = 0; i < clients; ++i) {
    const auto wait = Backoff(1s, 30s).next(static_cast<double>(random.below(1'000'000)) / 1'000'000);
    ++arrivals[static_cast<std::size_t>(wait / (1000ms / slots))];
  }
  for (const std::size_t in_slot : arrivals) {
    CHECK(in_slot > clients / slots / 2);
    CHECK(in_slot < clients / slots * 3 / 2);
  }
}

TEST_CASE("a client that is refused comes back later and later, and gets in", "[acceptance]") {
  Options options = without_heartbeat();
  options.max_connections = 1;
  SocialSim sim(options);
  const auto bob = sim.connect("bob");
  Random random(3);
  Backoff backoff;
  const auto start = sim.now();
  std::size_t attempts = 0;
  for (;;) {
    const auto ann = sim.connect("ann");
    ++attempts;
    if (ann.is_open()) break;
    REQUIRE(ann.pipe().answer());
    REQUIRE(attempts < 50);
    const auto wait =
        backoff.next(static_cast<double>(random.below(1000)) / 1000, ann.pipe().answer()->error.retry_after);
    CHECK(wait >= ann.pipe().answer()->error.retry_after);  // as the server asked
    sim.advance(wait);
    if (sim.now() - start > 5min) bob.hang_up();
  }
  CHECK(attempts >= 5);
  CHECK(attempts <= 30);
  CHECK(sim.now() - start < 5min + 70s);
}

TEST_CASE("a client that lost its connection is back before anybody noticed", "[acceptance]") {
  SocialSim sim;
  const auto bob = sim.enter("bob");
  const auto ann = sim.enter("ann");
  sim.advance(1s);
  ann.hang_up(CloseReason::lost);
  sim.run();
  say(bob, "ann", "meanwhile");
  Random random(5);
  Backoff backoff;
  sim.advance(backoff.next(static_cast<double>(random.below(1000)) / 1000));
  const auto again = sim.connect("ann");
  again.resume_session(ann, {"inbox:ann"});
  sim.advance(15s);
  CHECK(again.resumed("inbox:ann") == "recovered");
  CHECK(said(again) == Texts{"meanwhile"});
  CHECK(told_users(bob, "users_offline").empty());
}

TEST_CASE("a half-open connection is gone within heartbeat and pong timeout", "[acceptance]") {
  SocialSim sim(without_sessions(Social::options()));
  const auto bob = sim.enter("bob");
  const auto ann = sim.enter("ann");
  ann.vanish();
  for (int second = 0; second < 40; ++second) {
    sim.advance(1s);
    bob.pong();
  }
  sim.advance(100ms);
  CHECK_FALSE(sim.manager().contains(ann.id()));
  CHECK(told_users(bob, "users_offline") == Texts{"ann"});
}

TEST_CASE("what is stale and said nothing is cleaned up within 60 s", "[acceptance]") {
  CHECK(Social::options().sweep_interval == 60s);
  SocialSim sim({Social::options()}, 2);
  const auto bob = sim.enter("bob");
  const auto ann = sim.enter("ann", Dial().on(1));
  sim.advance(1s);
  ann.executor()->loop().stop();  // its loop is gone, and took the news of it along
  for (int second = 0; second < 60; ++second) {
    bob.pong();
    sim.advance(1s);
  }
  CHECK_FALSE(sim.manager().contains(ann.id()));
  CHECK_FALSE(sim.manager().is_online({"", "ann"}));
  CHECK(sim.manager().metrics().reserved == 1);
  CHECK(sim.manager().room_count() == 1);
  CHECK(told_users(bob, "users_offline") == Texts{"ann"});
}

TEST_CASE("the clean-up leaves who is well alone", "[acceptance]") {
  SocialSim sim({Social::options()}, 3);
  std::vector<Client> clients;
  for (std::size_t i = 0; i < 12; ++i) clients.push_back(sim.enter("u" + std::to_string(i / 2), Dial().on(i % 3)));
  for (int second = 0; second < 600; ++second) {
    for (const auto& client : clients) client.pong();
    sim.advance(1s);
  }
  std::optional<std::size_t> findings;
  sim.manager().sweep_now([&findings](std::size_t found) { findings = found; });
  sim.run();
  CHECK(findings == std::size_t{0});
  CHECK(sim.manager().metrics().sweep_findings == 0);
  CHECK(sim.manager().connection_count() == 12);
  for (const auto& client : clients) CHECK(client.is_open());
}

/// How many turns of its executor (batches of ready work, what one poll of a socket would bring) pass until `done`.
template <class Done>
std::size_t turns_until(Sim& sim, Done done) {
  std::size_t turns = 0;
  while (!done() && sim.schedule.step()) ++turns;
  CHECK(done());
  return turns;
}

TEST_CASE("under load each message costs no more turns than one alone", "[acceptance]") {
  constexpr std::size_t users = 200;
  SocialSim sim;
  std::vector<Client> clients;
  for (std::size_t i = 0; i < users; ++i) clients.push_back(sim.enter("u" + std::to_string(i)));
  sim.advance(1s);
  const auto start = sim.now();
  say(clients[0], "u1", "alone");
  const std::size_t floor = turns_until(sim, [&] { return clients[1].count("direct") == 1; });
  sim.run();
  for (std::size_t i = 0; i < users; ++i) say(clients[i], "u" + std::to_string((i + 1) % users), "together");
  const std::size_t turns = turns_until(sim, [&] {
    return std::all_of(clients.begin(), clients.end(), [&](const Client& client) {
      return client.count("direct") == (client.name() == "u1" ? 2U : 1U);
    });
  });
  const double ratio = static_cast<double>(turns) / static_cast<double>(users) / static_cast<double>(floor);
  CAPTURE(floor, turns, ratio);
  CHECK(ratio <= 1.0);
  CHECK(sim.now() == start);  // nothing waited for a timer
}

TEST_CASE("with a store that takes 100 ms delivery stays within 500 ms", "[acceptance]") {
  SocialSim sim;
  std::vector<Client> clients;
  for (std::size_t i = 0; i < 50; ++i) clients.push_back(sim.enter("u" + std::to_string(i)));
  sim.advance(1s);
  sim.sessions->answer = Answer::later(100ms);
  for (int round = 0; round < 4; ++round) {
    for (std::size_t i = 0; i < 50; ++i) say(clients[i], "u" + std::to_string((i + 1) % 50), "hello");
  }
  sim.advance(500ms);
  for (const auto& client : clients) CHECK(client.count("direct") == 4);
  sim.sessions->answer = Answer::now();
}

}  // namespace
}  // namespace muster::test
