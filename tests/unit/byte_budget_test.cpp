// Bytes in all and of one tenant: what rooms keep of their past goes, the oldest first, and is counted.
#include "muster/core/base/byte_budget.hpp"

#include <algorithm>

#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

const std::string kilobyte = quoted(std::string(1000, 'x'));

Options roomy() {
  Options options;
  options.message_rate = options.byte_rate = options.frame_rate = 0;
  options.rooms_created_per_minute = 0;
  options.heartbeat = 0s;
  return options;
}

RoomCounters counters(Sim& sim, const std::string& tenant, const std::string& room) {
  return sim.manager().room({tenant, room})->counters();
}

TEST_CASE("history bytes in all: at total_bytes nothing goes, beyond it the oldest", "[limits]") {
  Options options = roomy();
  options.total_bytes = 20'000;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.join("old").join("new");
  for (int i = 0; i < 8; ++i) {
    ann.publish("old", kilobyte);
    sim.advance(1ms);
  }
  const auto each = counters(sim, "", "old").history_bytes / 8;
  const auto fit = options.total_bytes / each;
  for (std::size_t i = 8; i < fit; ++i) {
    ann.publish("new", kilobyte);
    sim.advance(1ms);
  }
  CHECK(sim.manager().metrics().history_bytes == fit * each);
  CHECK(sim.manager().metrics().history_dropped == 0);
  for (std::size_t more = 1; more <= 6; ++more) {
    ann.publish("new", kilobyte);
    sim.advance(1ms);
    CHECK(counters(sim, "", "old").history_messages == 8 - more);
    CHECK(sim.manager().metrics().history_dropped == more);
    CHECK(sim.manager().metrics().history_bytes <= options.total_bytes);
  }
}

TEST_CASE("history bytes per tenant: one that has too much drops its own, and nobody else's", "[limits]") {
  Options options = roomy();
  options.tenant_bytes = 10'000;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann", Dial().of("a"));
  const auto bob = sim.connect("bob", Dial().of("b"));
  bob.join("r");
  for (int i = 0; i < 5; ++i) bob.publish("r", kilobyte);
  sim.run();
  ann.join("r").join("s");
  for (int i = 0; i < 100; ++i) {
    ann.publish(i % 2 == 0 ? "r" : "s", kilobyte);
    sim.advance(1ms);
  }
  CHECK(counters(sim, "b", "r").history_messages == 5);
  const auto held = counters(sim, "a", "r").history_bytes + counters(sim, "a", "s").history_bytes;
  CHECK(held <= options.tenant_bytes);
  CHECK(held > options.tenant_bytes / 2);
  CHECK(sim.manager().metrics().history_dropped > 80);
}

TEST_CASE("history bytes: what expires or ends is given back", "[limits]") {
  Options options = roomy();
  options.room.history_age = 10s;
  options.idempotency_age = 10s;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.join("r").publish("r", kilobyte, R"(,"idempotency_key":"k")");
  sim.run();
  CHECK(sim.manager().metrics().history_bytes > counters(sim, "", "r").history_bytes);  // the key counts, too
  sim.advance(70s);                                                                     // a sweep has passed
  CHECK(sim.manager().metrics().history_bytes == 0);
  ann.publish("r", kilobyte);
  ann.leave("r");
  sim.run();
  CHECK(sim.manager().metrics().history_bytes > 0);  // the room is there for its history
  sim.advance(130s);
  CHECK(sim.manager().metrics().history_bytes == 0);
  CHECK(sim.manager().room_count() == 0);
}

TEST_CASE("history that went for the byte budget is named to who was behind as a gap", "[limits]") {
  Options options = roomy();
  options.total_bytes = 10'000;
  options.unsent_soft_bytes = 1000;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  for (const Client* client : {&ann, &bob}) client->join("r").join("other");
  sim.run();
  bob.stall();
  for (int i = 0; i < 5; ++i) {
    ann.publish("r", kilobyte);
    sim.run();
  }
  for (int i = 0; i < 20; ++i) {
    ann.publish("other", kilobyte);
    sim.advance(1ms);
  }
  bob.resume();
  sim.run();
  CHECK(bob.view("r").stays.back().known == 5);
  CHECK(bob.view("other").stays.back().known == 20);
  CHECK_FALSE(bob.view("r").stays.back().gaps.empty());
}

TEST_CASE("blocks that wait for slow peers count in all: history goes first", "[limits]") {
  Options options = roomy();
  options.total_bytes = 150'000;
  options.unsent_age = 1h;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("r");
  for (int i = 0; i < 40; ++i) ann.publish("r", kilobyte);
  sim.run();
  CHECK(counters(sim, "", "r").history_messages == 40);
  CHECK(sim.manager().metrics().waiting_bytes == 0);  // nobody waits
  bob.stall();
  for (int i = 0; i < 150; ++i) {
    (void)sim.manager().send(bob.id(), json(kilobyte));
    sim.run();
  }
  // All but the block that is still being filled.
  CHECK(sim.manager().metrics().waiting_bytes > 100'000);
  CHECK(counters(sim, "", "r").history_messages == 40);
  ann.publish("r", kilobyte);  // who adds history finds that there is no room for it
  sim.run();
  CHECK(counters(sim, "", "r").history_messages < 25);
  for (int i = 0; i < 150; ++i) (void)sim.manager().send(bob.id(), json(kilobyte));
  ann.publish("r", kilobyte).publish("r", kilobyte);
  sim.run();
  CHECK(counters(sim, "", "r").history_messages == 0);
  bob.resume();
  sim.run();
  CHECK(sim.manager().metrics().waiting_bytes == 0);
  CHECK(bob.count("direct") == 300);
}

TEST_CASE("what waits for an executor that stands still is counted, and bounded", "[limits]") {
  Options options = roomy();
  options.total_bytes = 100'000;
  options.room.history_messages = GENERATE(std::size_t{0}, std::size_t{20}, std::size_t{1000});
  CheckedSim sim(options, 2);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob", Dial().on(1));
  ann.join("r");
  bob.join("r");
  sim.run();
  std::size_t stored = 0;
  std::size_t refused = 0;
  const auto publish = [&](Delivery delivery) {
    sim.manager().publish({"", "r"}, json(kilobyte), std::move(delivery), {}, [&](const Result<Published>& result) {
      if (!result) CHECK(result.error().code == errc::unavailable);
      ++(result ? stored : refused);
    });
  };
  for (int i = 0; i < 500; ++i) publish(i % 2 == 0 ? Delivery::reliable() : Delivery::latest(std::to_string(i)));
  const Metrics full = sim.manager().metrics();
  CHECK(stored > 60);
  CHECK(refused > 300);
  CHECK(full.refused_when_full == refused);
  CHECK(full.waiting_bytes + full.history_bytes <= options.total_bytes + 3000);
  CHECK(full.waiting_bytes > options.total_bytes);
  sim.run();
  CHECK(sim.manager().metrics().waiting_bytes == 0);
  CHECK(ann.messages("r").size() == bob.messages("r").size());
  const std::size_t before = stored;
  publish(Delivery::reliable());
  CHECK(stored == before + 1);
  sim.run();
}

TEST_CASE("a client's publishes and sends are answered unavailable while too much waits", "[limits]") {
  Options options = roomy();
  options.total_bytes = 50'000;
  options.allow_send = true;
  options.room.history_messages = 0;
  CheckedSim sim(options, 2);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob", Dial().on(1));
  ann.join("r");
  bob.join("r");
  sim.run();
  for (int i = 0; i < 100; ++i) ann.say("send", R"({"user":"bob","data":)" + kilobyte + "}");
  while (sim.schedule.executors[0]->loop().run_one()) {
  }
  CHECK(sim.manager().metrics().waiting_bytes < 60'000);
  CHECK(sim.manager().metrics().waiting_bytes > 50'000);
  CHECK(ann.error() == "unavailable");
  ann.publish("r", kilobyte);
  while (sim.schedule.executors[0]->loop().run_one()) {
  }
  CHECK(ann.error() == "unavailable");
  const auto refused = sim.manager().metrics().refused_when_full;
  CHECK(refused > 40);
  sim.run();
  CHECK(bob.count("direct") == 101 - refused);
  CHECK(sim.manager().metrics().waiting_bytes == 0);
  ann.publish("r", kilobyte);
  sim.run();
  CHECK(bob.messages("r").size() == 1);
}

TEST_CASE("a room that was there for its history only ends with it", "[limits]") {
  Options options = roomy();
  options.total_bytes = 5000;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  for (int i = 0; i < 200; ++i) {
    const std::string room = "r" + std::to_string(i);
    ann.join(room).publish(room, kilobyte).leave(room);
    sim.run();
  }
  CHECK(sim.manager().metrics().history_bytes <= 5000);
  CHECK(sim.manager().room_count() <= 5);
}

TEST_CASE("a budget smaller than one message keeps none of them, and they arrive all the same", "[limits]") {
  Options options = roomy();
  options.total_bytes = 100;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("r");
  bob.join("r");
  sim.run();
  for (int i = 0; i < 5; ++i) {
    ann.publish("r", kilobyte, R"(,"idempotency_key":"k)" + std::to_string(i) + "\"");
    sim.run();
  }
  CHECK(bob.messages("r").size() == 5);
  CHECK(sim.manager().metrics().history_bytes == 0);
}

TEST_CASE("a byte budget of 0 is no limit", "[limits]") {
  Options options = roomy();
  options.total_bytes = options.tenant_bytes = 0;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.join("r");
  for (int i = 0; i < 100; ++i) ann.publish("r", kilobyte);
  sim.run();
  CHECK(counters(sim, "", "r").history_messages == 100);
}

struct Shelf final : core::ByteHolder {};

TEST_CASE("who is asked to drop first is among the oldest, however many there are", "[limits]") {
  core::ByteBudget budget(1000, 0);
  const auto account = budget.account("");
  std::vector<std::shared_ptr<Shelf>> shelves;
  Random random(1);
  for (TimePoint::rep i = 0; i < 1000; ++i) {
    shelves.push_back(std::make_shared<Shelf>());
    shelves.back()->oldest = static_cast<TimePoint::rep>(random.below(1'000'000));
    account->change(shelves.back()->held.exchange(10), 10);
    core::ByteBudget::list(*account, shelves.back());
  }
  std::vector<TimePoint::rep> ages;
  while (!budget.fits(*account)) {
    const auto victim = budget.victim(account);
    REQUIRE(victim);
    REQUIRE(victim->held == 10);
    ages.push_back(victim->oldest);
    account->change(victim->held.exchange(0), 0);
  }
  CHECK(ages.size() == 900);
  // Each was the oldest of eight: of the first hundred that went nearly all are of the older half.
  CHECK(std::count_if(ages.begin(), ages.begin() + 100, [](TimePoint::rep at) { return at < 500'000; }) > 95);
  shelves.clear();
  CHECK(budget.fits(*account, 0));
  CHECK_FALSE(budget.fits(*account, 1));  // for those who would rather answer unavailable
}

TEST_CASE("tenants that keep nothing are forgotten", "[limits]") {
  core::ByteBudget budget(0, 0);
  const auto kept = budget.account("kept");
  for (int i = 0; i < 1000; ++i) (void)budget.account(std::to_string(i));
  budget.prune();
  CHECK(budget.accounts() == 1);
}

}  // namespace
}  // namespace muster::test
