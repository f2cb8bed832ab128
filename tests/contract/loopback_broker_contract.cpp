// LoopbackBroker keeps the promises of a Broker, prompt or held back; and does what its controls say.
#include "contract/broker_contract.hpp"
#include "muster/memory/loopback_broker.hpp"
#include "support/delayed.hpp"

using namespace muster;

namespace {

constexpr std::size_t history = 8;

/// How what is on its way gets there.
enum class Travel { at_once, one_by_one, rooms_backwards, answers_late };

class LoopbackFixture final : public test::BrokerFixture {
 public:
  explicit LoopbackFixture(Travel travel) : travel_(travel) {
    if (travel == Travel::one_by_one || travel == Travel::rooms_backwards) broker_->hold();
    if (travel == Travel::answers_late) gate_->hold();
  }
  ~LoopbackFixture() override { gate_->drop(); }

  Broker& seam() override { return delayed_; }
  bool run_until(const std::function<bool()>& done) override {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      if (advance() == 0) std::this_thread::yield();  // other threads may still be at it
    }
    return true;
  }
  bool fail(bool fails) override {
    broker_->fail(fails);
    return true;
  }
  bool lose_next(std::size_t count) override {
    broker_->lose_next(count);
    return true;
  }
  std::size_t history_messages() const override { return history; }

 private:
  std::size_t advance() {
    if (travel_ == Travel::one_by_one) return broker_->release(1);
    if (travel_ == Travel::answers_late) return gate_->release_elsewhere();
    std::size_t released = 0;
    for (const char* name : {"canvas:2", "canvas:1"}) {
      for (const char* tenant : {"globex", "acme"}) released += broker_->release({tenant, name}, 100);
    }
    return released;
  }

  const Travel travel_;
  const std::shared_ptr<LoopbackBroker> broker_ =
      std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{history, 1024}, 1);
  const std::shared_ptr<test::Gate> gate_ = std::make_shared<test::Gate>();
  test::DelayedBroker delayed_{broker_, gate_};
};

std::function<std::unique_ptr<test::BrokerFixture>()> travelling(Travel travel) {
  return [travel] { return std::make_unique<LoopbackFixture>(travel); };
}

const RoomKey room{"acme", "canvas:1"};
const RoomKey other{"acme", "canvas:2"};

BrokerMessage message(const RoomKey& key, const std::string& bytes) {
  BrokerMessage made;
  made.room = key;
  made.data = text(bytes);
  return made;
}
Position position_of(const test::Question<Result<Position>>& question) {
  REQUIRE(question.answers() == 1);
  REQUIRE(question.answer());
  return question.answer().value();
}
Position subscribe(Broker& broker, Broker::NodeId node, const RoomKey& key, std::optional<Position> known = {}) {
  test::Question<Result<Position>> question;
  broker.subscribe(node, key, known, question.reply());
  return position_of(question);
}

}  // namespace

TEST_CASE("LoopbackBroker is a broker", "[contract][broker]") { test::broker_contract(travelling(Travel::at_once)); }
TEST_CASE("LoopbackBroker is a broker when deliveries come one by one", "[contract][broker]") {
  test::broker_contract(travelling(Travel::one_by_one));
}
TEST_CASE("LoopbackBroker is a broker when rooms overtake each other", "[contract][broker]") {
  test::broker_contract(travelling(Travel::rooms_backwards));
}
TEST_CASE("LoopbackBroker is a broker when its answers come late and from another thread", "[contract][broker]") {
  test::broker_contract(travelling(Travel::answers_late));
}

TEST_CASE("What a LoopbackBroker holds arrives when it is released, and in the order of each room", "[broker]") {
  LoopbackBroker broker;
  const auto sink = std::make_shared<test::RecordingSink>();
  const auto node = broker.attach(sink);
  (void)subscribe(broker, node, room);
  (void)subscribe(broker, node, other);
  broker.hold();
  test::Question<Result<Position>> first;
  broker.publish(message(room, "1"), first.reply());
  broker.publish(message(other, "2"), test::Question<Result<Position>>().reply());
  broker.publish(message(room, "3"), test::Question<Result<Position>>().reply());
  CHECK(first.answers() == 0);
  CHECK(broker.waiting() == 3);
  CHECK(sink->calls(room) == 0);
  SECTION("the oldest first") {
    CHECK(broker.release(2) == 2);
    CHECK(first.answers() == 1);
    CHECK(sink->payloads(room) == std::vector<std::string>{"1"});
    CHECK(sink->payloads(other) == std::vector<std::string>{"2"});
  }
  SECTION("or one room before the other") {
    CHECK(broker.release(other, 5) == 1);
    CHECK(sink->calls(room) == 0);
    CHECK(sink->payloads(other) == std::vector<std::string>{"2"});
  }
  SECTION("or all, and then no more is held") {
    broker.resume();
    CHECK(broker.waiting() == 0);
    broker.publish(message(room, "4"), test::Question<Result<Position>>().reply());
    CHECK(sink->payloads(room) == std::vector<std::string>{"1", "3", "4"});
  }
  SECTION("but not to a subscription that has ended, nor twice to one that began anew") {
    broker.unsubscribe(node, room);
    test::Question<Result<Position>> again;
    broker.subscribe(node, room, {}, again.reply());
    broker.resume();
    CHECK(position_of(again).seq == 2);
    CHECK(sink->calls(room) == 0);
  }
  SECTION("nor to a node that has left") {
    broker.detach(node);
    broker.resume();
    CHECK(sink->calls(room) == 0);
    CHECK(sink->calls(other) == 0);
  }
  CHECK(broker.release() + sink->faults().size() <= 3);
}

TEST_CASE("What a sink publishes while it is called comes after, in order", "[broker]") {
  LoopbackBroker broker;
  const auto a = std::make_shared<test::RecordingSink>();
  const auto b = std::make_shared<test::RecordingSink>();
  (void)subscribe(broker, broker.attach(a), room);
  (void)subscribe(broker, broker.attach(b), room);
  int left = 3;
  a->on_call = [&] {
    if (left-- > 0) broker.publish(message(room, "again"), test::Question<Result<Position>>().reply());
  };
  broker.publish(message(room, "once"), test::Question<Result<Position>>().reply());
  const std::vector<std::string> all{"once", "again", "again", "again"};
  CHECK(a->payloads(room) == all);
  CHECK(b->payloads(room) == all);
  CHECK(a->faults() == std::vector<std::string>{});
  CHECK(b->faults() == std::vector<std::string>{});
}

TEST_CASE("A node that subscribes again with what it knows gets what is on its way once", "[broker]") {
  LoopbackBroker broker;
  const auto sink = std::make_shared<test::RecordingSink>();
  const auto node = broker.attach(sink);
  const Position start = subscribe(broker, node, room);
  broker.hold();
  broker.publish(message(room, "1"), test::Question<Result<Position>>().reply());
  broker.subscribe(node, room, start, test::Question<Result<Position>>().reply());
  broker.resume();
  CHECK(sink->payloads(room) == std::vector<std::string>{"1"});
  CHECK(sink->faults() == std::vector<std::string>{});
}

TEST_CASE("State that is replicated while the broker fails travels when it works again", "[broker]") {
  LoopbackBroker broker;
  const auto sink = std::make_shared<test::RecordingSink>();
  const auto elsewhere = std::make_shared<test::RecordingSink>();
  (void)subscribe(broker, broker.attach(sink), room);
  const auto node = broker.attach(elsewhere);
  BrokerState state;
  state.room = room;
  state.key = "1";
  state.version = 1;
  state.value = text("ann");
  broker.fail(true);
  broker.replicate(node, state);
  CHECK(sink->calls(room) == 0);
  SECTION("what is true by then") {
    broker.fail(false);
    CHECK(sink->states(room, BrokerState::Kind::member).size() == 1);
  }
  SECTION("and not before what is held") {
    broker.hold();
    broker.fail(false);
    CHECK(sink->calls(room) == 0);
    broker.resume();
    CHECK(sink->states(room, BrokerState::Kind::member).size() == 1);
  }
}

TEST_CASE("LoopbackBroker keeps a number of rooms that nobody is in, the latest ones", "[broker][limits]") {
  LoopbackBroker broker(LoopbackBroker::Limits{8, 2}, 1);
  const auto sink = std::make_shared<test::RecordingSink>();
  const auto node = broker.attach(sink);
  const auto visit = [&](const std::string& name) {
    const Position position = subscribe(broker, node, {"acme", name});
    broker.unsubscribe(node, {"acme", name});
    return position.epoch;
  };
  const auto first = visit("1");
  const auto second = visit("2");
  CHECK(visit("1") == first);
  CHECK(visit("2") == second);
  (void)visit("3");
  CHECK(visit("2") == second);
  CHECK(visit("1") != first);
  SECTION("one that is in use is never among those that go") {
    (void)visit("used");
    const auto used = subscribe(broker, node, {"acme", "used"}).epoch;
    for (int i = 10; i < 20; ++i) (void)visit(std::to_string(i));
    CHECK(subscribe(broker, node, {"acme", "used"}).epoch == used);
  }
}

TEST_CASE("LoopbackBroker has the epochs that its seed gives", "[broker]") {
  LoopbackBroker one({}, 7);
  LoopbackBroker same({}, 7);
  LoopbackBroker another({}, 8);
  const auto sink = std::make_shared<test::RecordingSink>();
  const auto epoch = subscribe(one, one.attach(sink), room).epoch;
  CHECK(subscribe(same, same.attach(sink), room).epoch == epoch);
  CHECK(subscribe(another, another.attach(sink), room).epoch != epoch);
}
