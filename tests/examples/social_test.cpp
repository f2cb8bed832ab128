// The social example as a process: its events, what waits for who is away, how a client comes back, and how long
// delivery takes on real sockets.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "backoff.hpp"
#include "process.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::Process;
using namespace std::chrono_literals;

namespace {

std::string token(const std::string& user) { return "Authorization: Bearer " + user + "\r\n"; }
std::string inbox(const std::string& user) { return R"({"type":"join","payload":{"room":"inbox:)" + user + R"("}})"; }
std::string message(const std::string& to, const std::string& text) {
  return R"({"type":"message","payload":{"to":")" + to + R"(","text":")" + text + R"("}})";
}
/// Everything this connection was sent so far.
const std::string all_acknowledged = R"({"type":"ack","payload":{"queue_id":9007199254740991}})";

double milliseconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

}  // namespace

TEST_CASE("social tells its events, and keeps them for who is away", "[social]") {
  Process social({MUSTER_SOCIAL, "0"});
  const std::uint16_t port = social.port();
  Client ann(port, token("ann"));
  ann.send(inbox("ann"));
  ann.receive("room_joined");
  ann.send(message("bob", "hello"));
  ann.send(R"({"type":"pay","id":1,"payload":{"to":"bob","amount":5}})");
  ann.receive(R"("reply_to":1)");
  {
    Client bob(port, token("bob"));
    CHECK_THAT(bob.receive("MessageSent"), ContainsSubstring(R"("text":"hello")"));
    CHECK_THAT(bob.receive("PaymentReceived"), ContainsSubstring(R"("queue_id":)"));
    CHECK_THAT(ann.receive("users_online"), ContainsSubstring(R"("users":[")"));
    bob.send(all_acknowledged);
    bob.send(inbox("bob"));
    bob.receive("room_joined");
    ann.send(R"({"type":"typing","payload":{"to":"bob","typing":true}})");
    CHECK_THAT(bob.receive("TypingStarted"), ContainsSubstring(R"("by":"ann")"));
    bob.send(R"({"type":"read","payload":{"from":"ann","id":1}})");
    CHECK_THAT(ann.receive("MessageRead"), ContainsSubstring(R"("by":"bob")"));
    ann.send(R"({"type":"like","id":2,"payload":{"author":"bob"}})");
    CHECK_THAT(ann.receive(R"("reply_to":2)"), ContainsSubstring(R"("event":"Error")"));
    ann.send(inbox("bob"));
    CHECK_THAT(ann.receive("permission_denied"), ContainsSubstring("not your inbox"));
  }
  ann.send(message("bob", "still there?"));
  Client again(port, token("bob"));
  CHECK_THAT(again.receive("MessageSent"), ContainsSubstring("still there?"));  // and not what was acknowledged

  social.signal(SIGTERM);
  CHECK(ann.close_code() == 1001);
  CHECK(again.close_code() == 1001);
  const auto ended = social.wait();
  CHECK(ended.exit_code == 0);
  CHECK(ended.err.empty());
}

TEST_CASE("a client of social comes back by its backoff when the server does", "[social]") {
  auto social = std::make_unique<Process>(std::vector<std::string>{MUSTER_SOCIAL, "0"});
  const std::uint16_t port = social->port();
  auto ann = std::make_unique<Client>(port, token("ann"));
  ann->receive("connection_ack");
  social->signal(SIGTERM);
  CHECK(ann->close_code() == 1001);
  CHECK(social->wait().exit_code == 0);

  // Between the attempts a client waits as long as its backoff says; here that time is counted, not spent.
  std::mt19937 random(1);
  std::uniform_real_distribution<double> draw(0.0, 1.0);
  Backoff backoff;
  auto waited = 0ms;
  int refused = 0;
  for (ann.reset(); !ann && refused < 10;) {
    const auto wait = backoff.next(draw(random));
    CHECK(wait <= 500ms * (1 << refused));
    waited += wait;
    if (refused == 5) {
      social = std::make_unique<Process>(std::vector<std::string>{MUSTER_SOCIAL, std::to_string(port)});
      REQUIRE(social->port() == port);
    }
    try {
      ann = std::make_unique<Client>(port, token("ann"));
    } catch (const std::runtime_error&) {
      ++refused;
    }
  }
  REQUIRE(ann);
  CHECK(refused == 5);
  CHECK(waited > 1s);
  CHECK_THAT(ann->receive("connection_ack"), ContainsSubstring(R"("user_id":"ann")"));
}

TEST_CASE("social delivers within 500 ms under load", "[social]") {
  constexpr std::size_t users = 40;
  constexpr std::size_t rounds = 20;
  using Clock = std::chrono::steady_clock;
  Process social({MUSTER_SOCIAL, "0"});
  const std::uint16_t port = social.port();
  std::vector<std::unique_ptr<Client>> clients;
  for (std::size_t i = 0; i < users; ++i) {
    clients.push_back(std::make_unique<Client>(port, token("u" + std::to_string(i))));
    clients.back()->receive("connection_ack");
  }

  // The floor: one message at a time, from one client to another, with nothing else going on.
  std::vector<double> alone;
  for (std::size_t i = 0; i < 50; ++i) {
    const std::string text = "alone " + std::to_string(i) + ".";
    const auto start = Clock::now();
    clients[0]->send(message("u1", text));
    clients[1]->receive(text);
    alone.push_back(milliseconds(Clock::now() - start));
    clients[1]->send(all_acknowledged);
  }
  // The load: everyone writes to the next one at once. The time counts from before the first of them was sent.
  std::vector<double> loaded;
  for (std::size_t round = 0; round < rounds; ++round) {
    const std::string text = "round " + std::to_string(round) + ".";
    const auto start = Clock::now();
    for (std::size_t i = 0; i < users; ++i) clients[i]->send(message("u" + std::to_string((i + 1) % users), text));
    for (auto& client : clients) {
      client->receive(text);
      loaded.push_back(milliseconds(Clock::now() - start));
      client->send(all_acknowledged);
    }
  }
  const auto percentile = [](std::vector<double>& times, std::size_t percent) {
    std::sort(times.begin(), times.end());
    return times[(times.size() - 1) * percent / 100];
  };
  const double floor = percentile(alone, 50);
  const double p99 = percentile(loaded, 99);
  std::printf("delivery, %zu messages at once: p99 %.2f ms; one alone: median %.2f ms; ratio for each message %.2f\n",
              users, p99, floor, p99 / floor / users);
  CHECK(p99 < 500);
}
