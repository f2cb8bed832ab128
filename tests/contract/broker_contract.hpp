// What every Broker promises, as checks that any implementation can be run through.
//
// An implementation derives a BrokerFixture, and its test file says:
//
//   TEST_CASE("MyBroker is a broker", "[contract][broker]") {
//     muster::test::broker_contract([] { return std::make_unique<MyFixture>(); });
//   }
//
// Managers are played by a RecordingSink each, which finds fault.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "contract/broker_fixture.hpp"

namespace muster::test {

inline void broker_contract(const MakeBrokerFixture& make) {
  using Kind = BrokerState::Kind;
  using Strings = std::vector<std::string>;
  using Values = std::map<std::string, std::string>;
  using Known = std::optional<Position>;
  auto fixture = make();
  Broker& broker = fixture->seam();
  const RoomKey room{"acme", "canvas:1"};
  const RoomKey other{"acme", "canvas:2"};
  auto a = std::make_shared<RecordingSink>();
  auto b = std::make_shared<RecordingSink>();
  const Broker::NodeId node_a = broker.attach(a);
  const Broker::NodeId node_b = broker.attach(b);

  const auto message = [](const RoomKey& key, const std::string& bytes, Delivery delivery = Delivery::reliable()) {
    BrokerMessage made;
    made.room = key;
    made.data = text(bytes);
    made.delivery = std::move(delivery);
    made.from = ConnectionId(5);
    made.from_user = "ann";
    made.exclude = ConnectionId(6);
    return made;
  };
  const auto publish = [&](const RoomKey& key, const std::string& bytes) {
    const auto answer =
        ask<Result<Position>>(*fixture, [&](auto done) { broker.publish(message(key, bytes), std::move(done)); });
    REQUIRE(answer);
    return answer.value();
  };
  const auto subscribe = [&](Broker::NodeId node, const RoomKey& key, Known known = {}) {
    const auto answer =
        ask<Result<Position>>(*fixture, [&](auto done) { broker.subscribe(node, key, known, std::move(done)); });
    REQUIRE(answer);
    return answer.value();
  };
  const auto state = [](const RoomKey& key, Kind kind, const std::string& which, std::uint64_t version,
                        std::optional<std::string> value) {
    BrokerState made;
    made.room = key;
    made.kind = kind;
    made.key = which;
    made.user = "ann";
    made.owner = ConnectionId(5);
    made.owner_order = 50;
    made.version = version;
    if (value) made.value = json(std::move(*value));
    return made;
  };
  const auto has = [&](const std::shared_ptr<RecordingSink>& sink, const RoomKey& key, std::size_t count) {
    return fixture->run_until([&] { return sink->messages(key).size() >= count; });
  };
  // What was under way before this has arrived once a message published after it has.
  int settled = 0;
  const auto settle = [&](const std::shared_ptr<RecordingSink>& sink, const RoomKey& key) {
    const std::string last = "settled " + std::to_string(++settled);
    (void)publish(key, last);
    return fixture->run_until([&] {
      const auto got = sink->payloads(key);
      return !got.empty() && got.back() == last;
    });
  };

  SECTION("nodes have names of their own, and 0 is none") {
    CHECK(node_a != 0);
    CHECK(node_b != 0);
    CHECK(node_a != node_b);
  }

  SECTION("a message reaches every subscribed node, the publisher's too, as it was published") {
    const Position before = subscribe(node_a, room);
    (void)subscribe(node_b, room);
    const Position position = publish(room, "hello");
    CHECK(position.epoch == before.epoch);
    CHECK(position.seq == before.seq + 1);
    for (const auto& sink : {a, b}) {
      REQUIRE(has(sink, room, 1));
      const BrokerMessage got = sink->messages(room)[0];
      CHECK(got.position == position);
      CHECK(got.room == room);
      CHECK(got.data.view() == "hello");
      CHECK(got.data.kind() == PayloadKind::text);
      CHECK(got.delivery.kind() == Delivery::Kind::reliable);
      CHECK(got.from == ConnectionId(5));
      CHECK(got.from_user == "ann");
      CHECK(got.exclude == ConnectionId(6));
    }
  }

  SECTION("epochs are above 0 and below 2^53, and each room has its own order") {
    const Position first = subscribe(node_a, room);
    const Position second = subscribe(node_a, other);
    for (const Position position : {first, second}) {
      CHECK(position.epoch > 0);
      CHECK(position.epoch < std::uint64_t{1} << 53U);
    }
    CHECK(first.epoch != second.epoch);
    CHECK(publish(room, "1").seq == first.seq + 1);
    CHECK(publish(other, "1").seq == second.seq + 1);
    CHECK(publish(room, "2").seq == first.seq + 2);
  }

  SECTION("latest messages reach everyone and have no seq") {
    (void)subscribe(node_a, room);
    const Position first = publish(room, "1");
    const auto answer = ask<Result<Position>>(*fixture, [&](auto done) {
      broker.publish(message(room, "typing", Delivery::latest("ann")), std::move(done));
    });
    REQUIRE(answer);
    CHECK(answer.value().seq == 0);
    CHECK(publish(room, "2").seq == first.seq + 1);
    REQUIRE(has(a, room, 3));
    const auto got = a->messages(room);
    const auto typing = std::find_if(got.begin(), got.end(), [](const auto& one) { return one.position.seq == 0; });
    REQUIRE(typing != got.end());
    CHECK(typing->delivery.kind() == Delivery::Kind::latest);
    CHECK(typing->delivery.key() == "ann");
  }

  SECTION("a node that is not subscribed gets nothing") {
    (void)subscribe(node_a, room);
    (void)subscribe(node_b, other);
    (void)publish(room, "1");
    REQUIRE(has(a, room, 1));
    broker.unsubscribe(node_a, room);
    broker.unsubscribe(node_a, room);
    (void)publish(room, "2");
    REQUIRE(settle(b, other));
    CHECK(a->messages(room).size() == 1);
    CHECK(b->messages(room).empty());
  }

  SECTION("rooms of one name in two tenants have nothing in common") {
    const RoomKey elsewhere{"globex", room.name};
    (void)subscribe(node_a, room);
    (void)subscribe(node_b, elsewhere);
    (void)publish(room, "1");
    REQUIRE(settle(b, elsewhere));
    CHECK(b->messages(room).empty());
    CHECK(b->messages(elsewhere).size() == 1);
  }

  SECTION("who subscribes with the position it knows first gets what followed") {
    (void)subscribe(node_a, room);
    const Position one = publish(room, "1");
    (void)publish(room, "2");
    const Position three = publish(room, "3");
    CHECK(subscribe(node_b, room, one) == three);
    (void)publish(room, "4");
    REQUIRE(has(b, room, 3));
    CHECK(b->payloads(room) == Strings{"2", "3", "4"});
    CHECK(b->losses(room).empty());
  }

  SECTION("a subscription is answered before anything that it brings") {
    (void)subscribe(node_a, room);
    const Position one = publish(room, "1");
    (void)publish(room, "2");
    broker.replicate(node_a, state(room, Kind::member, "1", 1, "ann"));
    const bool knows = GENERATE(true, false);
    std::atomic<int> before{-1};
    broker.subscribe(node_b, room, knows ? Known(one) : Known(),
                     Reply<Result<Position>>([&](const auto&) { before = static_cast<int>(b->calls(room)); }));
    REQUIRE(settle(b, room));
    CHECK(before == 0);
    CHECK(b->states(room, Kind::member) == Values{{"1", "ann"}});
  }

  SECTION("who subscribes and knows nothing gets what comes from now on") {
    (void)subscribe(node_a, room);
    const Position one = publish(room, "1");
    CHECK(subscribe(node_b, room) == one);
    (void)publish(room, "2");
    REQUIRE(has(b, room, 1));
    CHECK(b->payloads(room) == Strings{"2"});
  }

  SECTION("who knows the latest position misses nothing and gets nothing twice") {
    (void)subscribe(node_a, room);
    const Position one = publish(room, "1");
    CHECK(subscribe(node_b, room, one) == one);
    (void)publish(room, "2");
    REQUIRE(has(b, room, 1));
    CHECK(b->payloads(room) == Strings{"2"});
    CHECK(b->losses(room).empty());
  }

  SECTION("a node that comes back gets what it missed") {
    (void)subscribe(node_a, room);
    (void)subscribe(node_b, room);
    const Position one = publish(room, "1");
    REQUIRE(has(b, room, 1));
    broker.unsubscribe(node_b, room);
    (void)publish(room, "2");
    (void)subscribe(node_b, room, one);
    (void)publish(room, "3");
    REQUIRE(has(b, room, 3));
    CHECK(b->payloads(room) == Strings{"1", "2", "3"});
  }

  SECTION("what the broker no longer has is named lost") {
    const std::size_t kept = fixture->history_messages();
    if (kept != 0) {
      (void)subscribe(node_a, room);
      const Position one = publish(room, "first");
      for (std::size_t i = 0; i < kept + 5; ++i) (void)publish(room, std::to_string(i));
      (void)subscribe(node_b, room, one);
      REQUIRE(has(b, room, kept));
      const auto losses = b->losses(room);
      REQUIRE(losses.size() == 1);
      CHECK(losses[0].first == one);
      CHECK(losses[0].second == Position{one.epoch, one.seq + 6});
      CHECK(b->messages(room).front().position == losses[0].second);
    }
  }

  SECTION("a position of another epoch means everything was lost") {
    (void)subscribe(node_a, room);
    const Position one = publish(room, "1");
    const Position unknown{one.epoch == 1 ? 2 : one.epoch - 1, 17};
    (void)subscribe(node_b, room, unknown);
    REQUIRE(settle(b, room));
    const auto losses = b->losses(room);
    REQUIRE(losses.size() == 1);
    CHECK(losses[0].first == unknown);
    CHECK(losses[0].second.epoch == one.epoch);
  }

  SECTION("a message that is lost on the way is named to everyone, in its place") {
    (void)subscribe(node_a, room);
    (void)subscribe(node_b, room);
    const Position one = publish(room, "1");
    if (fixture->lose_next(2)) {
      CHECK(publish(room, "2").seq == one.seq + 1);
      CHECK(publish(room, "3").seq == one.seq + 2);
      CHECK(publish(room, "4").seq == one.seq + 3);
      for (const auto& sink : {a, b}) {
        REQUIRE(has(sink, room, 2));
        CHECK(sink->payloads(room) == Strings{"1", "4"});
        const auto losses = sink->losses(room);
        REQUIRE_FALSE(losses.empty());
        CHECK(losses.front().first == one);
        CHECK(losses.back().second == Position{one.epoch, one.seq + 3});
      }
    }
  }

  SECTION("publishers in several threads: one order, the same for every node, each message once") {
    constexpr std::size_t threads = 4;
    constexpr std::size_t each = 200;
    const RoomKey rooms[] = {room, other};
    for (const RoomKey& key : rooms) {
      (void)subscribe(node_a, key);
      (void)subscribe(node_b, key);
    }
    std::vector<Question<Result<Position>>> answers(threads * each);
    std::vector<std::thread> publishing;
    for (std::size_t t = 0; t < threads; ++t) {
      publishing.emplace_back([&, t] {
        for (std::size_t i = 0; i < each; ++i) {
          broker.publish(message(rooms[i % 2], std::to_string(t) + ":" + std::to_string(i)),
                         answers[t * each + i].reply());
        }
      });
    }
    for (auto& thread : publishing) thread.join();
    for (const auto& answer : answers) {
      REQUIRE(fixture->run_until([&] { return answer.answers() == 1; }));
      REQUIRE(answer.answer());
    }
    for (const RoomKey& key : rooms) {
      REQUIRE(has(a, key, threads * each / 2));
      REQUIRE(has(b, key, threads * each / 2));
      CHECK(a->payloads(key) == b->payloads(key));
      auto sorted = a->payloads(key);
      std::sort(sorted.begin(), sorted.end());
      CHECK(std::unique(sorted.begin(), sorted.end()) == sorted.end());
      CHECK(sorted.size() == threads * each / 2);
    }
  }

  SECTION("what is replicated reaches the other nodes in the room, and not the one it came from") {
    (void)subscribe(node_a, room);
    (void)subscribe(node_b, room);
    broker.replicate(node_a, state(room, Kind::awareness, "c", 3, R"({"x":1})"));
    REQUIRE(fixture->run_until([&] { return b->state(room, Kind::awareness, "c").has_value(); }));
    const auto got = b->state(room, Kind::awareness, "c");
    CHECK(got->user == "ann");
    CHECK(got->owner == ConnectionId(5));
    CHECK(got->owner_order == 50);
    CHECK(got->version == 3);
    CHECK(got->value->view() == R"({"x":1})");
    REQUIRE(settle(a, room));
    CHECK(a->states(room, Kind::awareness).empty());
  }

  SECTION("kinds, keys and rooms are apart") {
    (void)subscribe(node_b, room);
    (void)subscribe(node_b, other);
    broker.replicate(node_a, state(room, Kind::awareness, "k", 1, "1"));
    broker.replicate(node_a, state(room, Kind::member, "k", 1, "2"));
    broker.replicate(node_a, state(room, Kind::member, "l", 1, "3"));
    broker.replicate(node_a, state(other, Kind::member, "k", 1, "4"));
    REQUIRE(settle(b, room));
    REQUIRE(settle(b, other));
    CHECK(b->states(room, Kind::awareness) == Values{{"k", "1"}});
    CHECK(b->states(room, Kind::member) == Values{{"k", "2"}, {"l", "3"}});
    CHECK(b->states(other, Kind::member) == Values{{"k", "4"}});
  }

  SECTION("of two versions the larger counts, whichever comes last") {
    (void)subscribe(node_b, room);
    broker.replicate(node_a, state(room, Kind::awareness, "c", 5, "new"));
    broker.replicate(node_a, state(room, Kind::awareness, "c", 4, "old"));
    REQUIRE(settle(b, room));
    CHECK(b->states(room, Kind::awareness) == Values{{"c", "new"}});
    broker.replicate(node_a, state(room, Kind::awareness, "c", 6, "newer"));
    REQUIRE(settle(b, room));
    CHECK(b->states(room, Kind::awareness) == Values{{"c", "newer"}});
  }

  SECTION("a removal reaches the others, and those who come later") {
    (void)subscribe(node_b, room);
    broker.replicate(node_a, state(room, Kind::awareness, "c", 5, "1"));
    broker.replicate(node_a, state(room, Kind::awareness, "c", 6, std::nullopt));
    REQUIRE(settle(b, room));
    CHECK(b->states(room, Kind::awareness).empty());
    REQUIRE(b->removed(room, Kind::awareness, "c"));
    CHECK(b->removed(room, Kind::awareness, "c")->version == 6);
    const auto late = std::make_shared<RecordingSink>();
    const auto node = broker.attach(late);
    (void)subscribe(node, room);
    REQUIRE(settle(late, room));
    CHECK(late->states(room, Kind::awareness).empty());
  }

  SECTION("later subscribers get the others' state as it is now, and not their own") {
    broker.replicate(node_a, state(room, Kind::member, "1", 1, "ann"));
    broker.replicate(node_a, state(room, Kind::awareness, "c", 1, "old"));
    broker.replicate(node_a, state(room, Kind::awareness, "c", 2, "new"));
    broker.replicate(node_b, state(room, Kind::member, "2", 1, "bob"));
    (void)subscribe(node_b, room);
    REQUIRE(settle(b, room));
    CHECK(b->states(room, Kind::member) == Values{{"1", "ann"}});
    CHECK(b->states(room, Kind::awareness) == Values{{"c", "new"}});
  }

  SECTION("when a node detaches, what it replicated is removed at the others, at version + 1") {
    (void)subscribe(node_b, room);
    (void)subscribe(node_b, other);
    broker.replicate(node_a, state(room, Kind::member, "1", 1, "ann"));
    broker.replicate(node_a, state(other, Kind::awareness, "c", 7, "x"));
    broker.replicate(node_b, state(room, Kind::member, "2", 1, "bob"));
    (void)subscribe(node_a, room);
    broker.detach(node_a);
    REQUIRE(settle(b, room));
    REQUIRE(settle(b, other));
    CHECK(b->states(room, Kind::member).empty());
    CHECK(b->states(other, Kind::awareness).empty());
    REQUIRE(b->removed(room, Kind::member, "1"));
    CHECK(b->removed(room, Kind::member, "1")->version == 2);
    REQUIRE(b->removed(other, Kind::awareness, "c"));
    CHECK(b->removed(other, Kind::awareness, "c")->version == 8);
    const std::size_t calls = a->calls(room);
    const auto late = std::make_shared<RecordingSink>();
    const auto node = broker.attach(late);
    (void)subscribe(node, room);
    REQUIRE(settle(late, room));
    CHECK(late->states(room, Kind::member) == Values{{"2", "bob"}});
    CHECK(a->calls(room) == calls);
    broker.detach(node_a);
    broker.replicate(node_a, state(room, Kind::member, "1", 9, "ghost"));
    REQUIRE(settle(b, room));
    CHECK(b->states(room, Kind::member).empty());
  }

  SECTION("a sink that is gone is no fault") {
    (void)subscribe(node_a, room);
    (void)subscribe(node_b, room);
    a.reset();
    (void)publish(room, "1");
    CHECK(has(b, room, 1));
    a = std::make_shared<RecordingSink>();
  }

  SECTION("a broker that cannot reach its back end says so, and then goes on") {
    (void)subscribe(node_a, room);
    (void)subscribe(node_b, room);
    const Position one = publish(room, "1");
    REQUIRE(has(b, room, 1));
    if (fixture->fail(true)) {
      const auto refused =
          ask<Result<Position>>(*fixture, [&](auto done) { broker.publish(message(room, "2"), std::move(done)); });
      REQUIRE_FALSE(refused);
      CHECK(refused.error().code == errc::unavailable);
      const auto not_subscribed =
          ask<Result<Position>>(*fixture, [&](auto done) { broker.subscribe(node_a, other, {}, std::move(done)); });
      REQUIRE_FALSE(not_subscribed);
      CHECK(not_subscribed.error().code == errc::unavailable);
      broker.replicate(node_a, state(room, Kind::awareness, "c", 1, "kept"));
      REQUIRE(fixture->fail(false));
    } else {
      broker.replicate(node_a, state(room, Kind::awareness, "c", 1, "kept"));
    }
    CHECK(publish(room, "3").seq == one.seq + 1);
    REQUIRE(has(b, room, 2));
    CHECK(b->payloads(room) == Strings{"1", "3"});
    CHECK(fixture->run_until([&] { return b->states(room, Kind::awareness) == Values{{"c", "kept"}}; }));
  }

  SECTION("random work on several threads and rooms breaks no promise, and ends in one truth") {
    const RoomKey rooms[] = {room, other, {"globex", "canvas:1"}};
    constexpr std::size_t threads = 3;
    std::vector<std::shared_ptr<RecordingSink>> sinks;
    std::vector<Broker::NodeId> nodes;
    for (std::size_t t = 0; t < threads; ++t) {
      sinks.push_back(std::make_shared<RecordingSink>());
      nodes.push_back(broker.attach(sinks.back()));
    }
    std::vector<std::thread> working;
    for (std::size_t t = 0; t < threads; ++t) {
      working.emplace_back([&, t] {
        std::mt19937_64 random(t);
        for (std::uint64_t i = 1; i <= 300; ++i) {
          const RoomKey& key = rooms[random() % 3];
          const Reply<Result<Position>> nobody([](const auto&) {});
          switch (random() % 5) {
            case 0:
              broker.subscribe(nodes[t], key, {}, nobody);
              break;
            case 1:
              broker.replicate(nodes[t], state(key, Kind::awareness, std::to_string(t), i, std::to_string(i)));
              break;
            default:
              broker.publish(message(key, std::to_string(i)), nobody);
          }
        }
        for (const RoomKey& key : rooms) {
          broker.subscribe(nodes[t], key, {}, Reply<Result<Position>>([](const auto&) {}));
          broker.replicate(nodes[t], state(key, Kind::awareness, std::to_string(t), 1000, "last"));
        }
      });
    }
    for (auto& thread : working) thread.join();
    for (std::size_t t = 0; t < threads; ++t) {
      Values expected{{"0", "last"}, {"1", "last"}, {"2", "last"}};
      expected.erase(std::to_string(t));
      for (const RoomKey& key : rooms) {
        CHECK(fixture->run_until([&] { return sinks[t]->states(key, Kind::awareness) == expected; }));
      }
    }
    for (const auto& sink : sinks) CHECK(sink->faults() == Strings{});
  }

  SECTION("a broker that goes before it has answered holds nobody") {
    const auto held = std::make_shared<int>(0);
    broker.publish(message(room, "1"), Reply<Result<Position>>([held](const auto&) {}));
    broker.subscribe(node_a, room, {}, Reply<Result<Position>>([held](const auto&) {}));
    fixture.reset();
    CHECK(held.use_count() == 1);
  }

  CHECK(a->faults() == Strings{});
  CHECK(b->faults() == Strings{});
}

}  // namespace muster::test
