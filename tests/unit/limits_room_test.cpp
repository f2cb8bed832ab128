// "Admission and limits", the rows about rooms and what is in them: at the limit, one beyond, and when there is room again.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("room members: room_capacity distinct users, the next room_full, and again when one has gone", "[limits]") {
  Options options;
  options.room.room_capacity = 2;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  const auto cat = sim.connect("cat");
  const auto ann_again = sim.connect("ann");
  ann.join("r");
  bob.join("r");
  ann_again.join("r");  // a user who is there
  cat.join("r");
  sim.run();
  CHECK(sim.manager().room({"", "r"})->size() == 3);
  CHECK(cat.error() == "room_full");
  ann.leave("r");
  cat.join("r");
  sim.run();
  CHECK(cat.count("error") == 2);  // ann is still there with the other one
  ann_again.hang_up();
  cat.join("r");
  sim.run();
  CHECK(cat.members("r") == Texts{"bob", "cat"});
}

TEST_CASE("room members: with capacity_counts connections each connection is one", "[limits]") {
  Options options;
  options.room.room_capacity = 2;
  options.room.capacity_counts = CapacityCounts::connections;
  CheckedSim sim(options);
  const auto first = sim.connect("ann");
  const auto second = sim.connect("ann");
  const auto third = sim.connect("ann");
  for (const Client* client : {&first, &second, &third}) client->join("r");
  sim.run();
  CHECK(third.error() == "room_full");
  first.leave("r");
  third.join("r");
  sim.run();
  CHECK(third.count("room_joined") == 1);
}

TEST_CASE("room members: exact while many join at once on several executors", "[limits]") {
  Options options;
  options.room.room_capacity = 5;
  options.heartbeat = 0s;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CheckedSim sim(Setup{options, 3, 1, nullptr, seed});
    std::vector<Client> clients;
    for (std::size_t i = 0; i < 12; ++i) clients.push_back(sim.dial("c" + std::to_string(i), Dial().on(i % 3)));
    sim.run();
    for (const Client& client : clients) client.join("r");
    sim.run();
    std::size_t joined = 0;
    std::size_t full = 0;
    for (const Client& client : clients) {
      joined += client.count("room_joined");
      full += client.count("error");
    }
    CHECK(joined == 5);
    CHECK(full == 7);
  }
}

TEST_CASE("awareness entries per connection: awareness_per_connection pass, the next too_many, and again after a null",
          "[limits]") {
  Options options;
  options.awareness_per_connection = 2;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.join("r").join("s").aware("r", "{}", 1, "a").aware("s", "{}", 1, "b");
  sim.run();
  CHECK(ann.count("error") == 0);
  ann.aware("r", "{}", 1, "c");
  sim.run();
  CHECK(ann.error() == "too_many");
  ann.aware("s", R"({"x":1})", 2, "b");  // a newer state of what is there
  ann.aware("s", "null", 3, "b").aware("r", "{}", 1, "c");
  sim.run();
  CHECK(ann.count("error") == 1);
  CHECK(sim.manager().metrics().awareness_entries == 2);
}

TEST_CASE("awareness entries per room: awareness_entries pass, the next too_many, and again when one has gone",
          "[limits]") {
  Options options;
  options.room.awareness_entries = 2;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("r").aware("r", "{}", 1, "a").aware("r", "{}", 1, "b");
  bob.join("r").join("s").aware("r", "{}", 1, "c").aware("s", "{}", 1, "c");
  sim.run();
  CHECK(bob.count("error") == 1);
  CHECK(bob.error() == "too_many");
  ann.hang_up();
  sim.run();
  bob.aware("r", "{}", 2, "d");
  sim.run();
  CHECK(bob.count("error") == 1);
}

TEST_CASE("awareness state: awareness_state_bytes pass, one more is too_large", "[limits]") {
  Options options;
  options.awareness_state_bytes = 100;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto state_of = [](std::size_t size) { return R"({"x":")" + std::string(size - 8, 'x') + "\"}"; };
  ann.join("r").aware("r", state_of(100), 1, "a");
  sim.run();
  CHECK(ann.count("error") == 0);
  ann.aware("r", state_of(101), 2, "a");
  sim.run();
  CHECK(ann.error() == "too_large");
  CHECK(sim.manager().metrics().awareness_entries == 1);
}

TEST_CASE("room name: 1 to room_name_bytes of A-Z a-z 0-9 _ : . -, else invalid_room", "[limits]") {
  Options options;
  options.room_name_bytes = 20;
  options.invalid_messages_max = 0;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  for (const std::string& good : {std::string("a"), std::string(20, 'x'), std::string("Az09_:.-")}) ann.join(good);
  sim.run();
  CHECK(ann.count("room_joined") == 3);
  std::size_t errors = 0;
  for (const std::string& bad : {std::string(), std::string(21, 'x'), std::string("a b"), std::string("a/b"),
                                 std::string("\xc3\xa9"), std::string("a\0b", 3), std::string("a\n")}) {
    ann.join(bad);
    sim.run();
    INFO(bad);
    CHECK(ann.count("error") == ++errors);
    CHECK((ann.error() == "invalid_room" || ann.error() == "invalid_message"));
  }
  CHECK(sim.manager().room_count() == 3);
}

TEST_CASE("history: history_messages, history_bytes and history_age, whichever is least", "[limits]") {
  Options options;
  options.heartbeat = 0s;
  options.message_rate = 0;
  options.rooms_by_prefix["count:"].history_messages = 3;
  options.rooms_by_prefix["bytes:"].history_bytes = 4000;
  options.rooms_by_prefix["age:"].history_age = 10s;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto kept = [&](const std::string& room) { return sim.manager().room({"", room})->counters(); };
  for (const std::string room : {"count:r", "bytes:r", "age:r"}) {
    ann.join(room);
    for (int i = 0; i < 20; ++i) ann.publish(room, quoted(std::string(500, 'x')));
  }
  sim.run();
  CHECK(kept("count:r").history_messages == 3);
  CHECK(kept("bytes:r").history_bytes <= 4000);
  CHECK(kept("bytes:r").history_messages >= 4);
  CHECK(kept("age:r").history_messages == 20);
  sim.advance(10s);
  ann.publish("age:r", "1");
  sim.run();
  CHECK(kept("age:r").history_messages == 1);
}

TEST_CASE("unsent bytes: up to the hard mark a connection stays, beyond it is closed 4008", "[limits]") {
  Options options;
  options.unsent_soft_bytes = 1000;
  options.unsent_hard_bytes = 10'000;
  options.heartbeat = 0s;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.stall();
  const Payload thousand = json(quoted(std::string(1000, 'x')));
  for (int i = 0; i < 9; ++i) (void)sim.manager().send(ann.id(), thousand);
  sim.run();
  CHECK(ann.close_code() == 0);
  for (int i = 0; i < 2; ++i) (void)sim.manager().send(ann.id(), thousand);
  sim.run();
  CHECK(ann.close_code() == 4008);
}

TEST_CASE("age of the oldest unsent byte: at unsent_age closed 4008, not before", "[limits]") {
  Options options;
  options.unsent_age = 10s;
  options.heartbeat = 0s;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  sim.advance(1s);
  ann.stall();
  (void)sim.manager().send(ann.id(), json("1"));
  sim.advance(9s);
  CHECK(ann.close_code() == 0);
  ann.resume();
  sim.run();
  ann.stall();  // another byte, another age
  (void)sim.manager().send(ann.id(), json("2"));
  sim.advance(9900ms);
  CHECK(ann.close_code() == 0);
  sim.advance(200ms);
  CHECK(ann.close_code() == 4008);
}

}  // namespace
}  // namespace muster::test
