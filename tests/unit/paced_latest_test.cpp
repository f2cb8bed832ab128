// latest_bytes_per_second: state of many senders, of which a member is told no more than it may be.
#include <algorithm>
#include <string>
#include <vector>

#include "muster/memory/loopback_broker.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

Options pace_of(std::size_t bytes) {
  Options options = without_sessions();
  options.heartbeat = 0s;
  options.room.room_capacity = 0;
  options.room.latest_bytes_per_second = bytes;
  options.max_connections_per_ip = options.connect_rate_per_ip = 0;
  options.message_rate = options.byte_rate = options.frame_rate = 0;
  return options;
}

std::vector<Client> crowd_of(Sim& sim, std::size_t members) {
  std::vector<Client> all;
  for (std::size_t i = 0; i < members; ++i) all.push_back(sim.member("u" + std::to_string(i), "r"));
  sim.advance(1s);
  return all;
}

std::vector<std::string> told(const Client& client) {
  std::vector<std::string> data;
  for (const Told& message : client.all("message")) data.push_back(message.value("data"));
  return data;
}

TEST_CASE("a room tells each member so many bytes of state a second, and starves no key", "[latest]") {
  CheckedSim sim(pace_of(4000));
  const auto all = crowd_of(sim, 41);
  const Client& reader = all.back();
  const std::size_t before = told(reader).size();
  constexpr int seconds = 20;
  for (int tick = 0; tick < 10 * seconds; ++tick) {
    // One who publishes ten times as often as the others, under one key: it has one place.
    for (int i = 0; i < 10; ++i) all[0].publish_latest("r", std::to_string(1000 * tick), "k0");
    for (std::size_t i = 1; i < 40; ++i) {
      all[i].publish_latest("r", std::to_string(1000 * tick + static_cast<int>(i)), "k" + std::to_string(i));
    }
    sim.advance(100ms);
  }
  const auto data = told(reader);
  const std::size_t count = data.size() - before;
  // Each is a few bytes and its envelope of 128: 4,000 bytes are some thirty.
  CHECK(count <= seconds * 31 + 35);
  CHECK(count >= seconds * 29 - 35);
  std::vector<int> of_each(40);
  for (std::size_t i = before; i < data.size(); ++i) ++of_each[std::stoul(data[i]) % 1000];
  CHECK(*std::max_element(of_each.begin(), of_each.end()) - *std::min_element(of_each.begin(), of_each.end()) <= 2);
  CHECK(reader.count("gap") == 0);

  // Once they are quiet, everybody is told the newest of each.
  sim.advance(3s);
  std::vector<std::string> newest(40);
  for (const std::string& one : told(reader)) newest[std::stoul(one) % 1000] = one;
  for (std::size_t i = 0; i < 40; ++i)
    CHECK(newest[i] == std::to_string(1000 * (10 * seconds - 1) + static_cast<int>(i)));
  const Histogram waited = sim.manager().metrics().latest_wait;
  CHECK(waited.count() >= count);
  CHECK(waited.sum >= std::chrono::milliseconds(500) * static_cast<int>(count));
  CHECK(sim.manager().metrics().conflated > 1000);
}

TEST_CASE("state below its pace is told with the next interval, and messages at once", "[latest]") {
  CheckedSim sim(pace_of(100'000));
  const auto all = crowd_of(sim, 3);
  all[0].publish_latest("r", "1", "a");
  all[0].publish("r", "2");
  sim.run();
  CHECK(told(all[1]) == Texts{"2"});
  sim.advance(50ms);
  CHECK(told(all[1]) == Texts{"2", "1"});
  CHECK(told(all[0]).empty());  // its own
  sim.advance(10s);
  CHECK(told(all[1]).size() == 2);
}

TEST_CASE("with eight seconds' worth of keys waiting, one more is refused, and nothing of what waits is lost",
          "[latest]") {
  CheckedSim sim(pace_of(1000));
  const auto all = crowd_of(sim, 2);
  std::size_t refused = 0, taken = 0;
  for (int i = 0; i < 200; ++i) {
    all[0].publish_latest("r", std::to_string(i), "key-" + std::to_string(i));
    sim.run();
    const auto answer = all[0].reply();
    REQUIRE(answer);
    (answer->type() == "error" ? refused : taken) += 1;
    if (answer->type() == "error") CHECK(answer->text("code") == "rate_limited");
  }
  CHECK(taken >= 55);
  CHECK(refused >= 100);
  all[0].publish_latest("r", "1000", "key-0");  // a key that waits has its place
  sim.run();
  CHECK(all[0].reply()->type() != "error");
  sim.advance(12s);
  CHECK(told(all[1]).size() == taken);
  CHECK(told(all[1]).front() == "1000");
}

TEST_CASE("members end with the newest of a key, whoever published it and whatever bound there is by then",
          "[latest]") {
  CheckedSim sim(pace_of(200));
  const auto all = crowd_of(sim, 4);
  const auto publish = [&](std::size_t who, const char* data, const char* key) {
    all[who].publish_latest("r", data, key);
    sim.run();
  };
  publish(0, "0", "other");
  sim.advance(100ms);
  publish(0, "1", "k");
  publish(1, "2", "k");
  publish(0, "3", "k");
  sim.advance(20s);
  CHECK(told(all[2]) == Texts{"0", "3"});
  CHECK(told(all[1]) == Texts{"0", "3"});
  CHECK(told(all[0]).empty());

  SECTION("lifted while some wait") {
    publish(0, "4", "other");
    publish(0, "5", "k");
    RoomOptions without = sim.options().room;
    without.latest_bytes_per_second = 0;
    REQUIRE(sim.manager().room({"", "r"})->set_options(without));
    publish(1, "6", "k");
    sim.advance(60ms);
    CHECK(told(all[2]) == Texts{"0", "3", "4", "6"});
    publish(0, "7", "k");
    CHECK(told(all[2]).back() == "7");  // at once again
  }
}

TEST_CASE("what waits for its pace holds up nothing else of its room", "[latest]") {
  Options options = pace_of(100);
  options.room.presence_list_max = 2;
  CheckedSim sim(options);
  const auto all = crowd_of(sim, 4);
  sim.advance(3s);
  all[0].publish_latest("r", "\"" + std::string(3000, 'x') + "\"", "large");
  sim.advance(100ms);
  all[0].publish_latest("r", "1", "waits");
  sim.advance(60ms);
  REQUIRE(told(all[1]).size() == 1);
  all[0].aware("r", R"({"x":1})", 1);
  sim.advance(60ms);
  CHECK(all[1].awareness("r").size() == 1);
}

TEST_CASE("a crowd's count is told in its second, also where state waits for longer", "[latest]") {
  Options options = pace_of(1000);
  options.room.presence_list_max = 2;
  Sim sim(options);  // one that sweeps nothing, which would tell it too
  const auto all = crowd_of(sim, 4);
  sim.advance(3s);
  const auto one = sim.member("one", "r");
  sim.advance(100ms);
  const auto two = sim.connect("two");
  two.join("r");
  all[0].publish_latest("r", "\"" + std::string(6000, 'x') + "\"", "large");
  all[0].publish_latest("r", "1", "waits");  // six seconds, planned by the flush that finds the count too early
  sim.run();
  sim.advance(1100ms);
  CHECK(all[1].view("r").member_count == 6);
}

TEST_CASE("what waits is bounded in bytes, and counts as waiting", "[latest]") {
  CheckedSim sim(pace_of(1000));
  const auto all = crowd_of(sim, 2);
  for (int i = 0; i < 40; ++i) all[0].publish_latest("r", "1", std::to_string(i));
  sim.run();
  const std::uint64_t small = sim.manager().metrics().waiting_bytes;
  CHECK(small > 40 * 128);
  for (int i = 0; i < 40; ++i) {
    all[0].publish_latest("r", "\"" + std::string(3000, 'x') + "\"", std::to_string(i));
    sim.run();
  }
  CHECK(sim.manager().metrics().waiting_bytes <= 8000);
  all[1].leave("r");
  all[0].leave("r");
  sim.advance(2s);
  CHECK(sim.manager().room_count() == 0);
  CHECK(sim.manager().metrics().waiting_bytes == 0);
}

TEST_CASE("with nobody there nothing waits for whoever comes next", "[latest]") {
  Options options = pace_of(100);
  options.room.history_messages = 10;
  CheckedSim sim(options);
  const auto all = crowd_of(sim, 2);
  all[0].publish("r", "0");  // the room stays, for its history
  for (int i = 1; i < 6; ++i) all[0].publish_latest("r", std::to_string(i), std::to_string(i));
  sim.run();
  for (const Client& one : all) one.leave("r");
  sim.advance(1s);
  const auto late = sim.member("late", "r");
  sim.advance(20s);
  CHECK(told(late).empty());
}

TEST_CASE("what is published at other nodes is bounded as well", "[latest]") {
  Options options = pace_of(1000);
  options.message_rate = 0;
  Sim sim(Setup{options, 1, 2, std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{}, 1), 1});
  const auto here = sim.connect("here");
  const auto there = sim.connect("there", Dial().at(1));
  here.join("r");
  there.join("r");
  sim.advance(1s);
  for (int i = 0; i < 200; ++i) {
    there.publish_latest("r", std::to_string(i), std::to_string(i));
    sim.run();
  }
  CHECK(there.error() == "rate_limited");
  for (const std::size_t node : {0U, 1U}) CHECK(sim.manager(node).metrics().waiting_bytes <= 8000);
}

TEST_CASE("who joins while state waits is told what goes out from then on", "[latest]") {
  CheckedSim sim(pace_of(300));
  const auto all = crowd_of(sim, 2);
  for (int i = 0; i < 6; ++i) all[0].publish_latest("r", std::to_string(i), std::to_string(i));
  sim.advance(100ms);
  const std::size_t before = told(all[1]).size();
  CHECK(before < 6);
  const auto late = sim.member("late", "r");
  sim.advance(10s);
  CHECK(told(all[1]).size() == 6);
  CHECK(told(late).size() == 6 - before);
}

}  // namespace
}  // namespace muster::test
