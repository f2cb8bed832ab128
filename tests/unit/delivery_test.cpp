// What is published to a room: its order, who gets it, and how few writes that takes.
#include "support/checked_sim.hpp"
#include "support/recoded_protocol.hpp"

namespace muster::test {
namespace {

TEST_CASE("a message reaches the others in the room with seq, epoch and sender, the publisher gets an ack",
          "[delivery]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  bob.join("r");
  ann.join("r").publish("r", R"({"x":[1,2]})");
  sim.run();
  CHECK(bob.messages("r") == Texts{R"({"x":[1,2]})"});
  const auto message = bob.last("message");
  REQUIRE(message);
  CHECK(message->number("seq") == 1);
  CHECK(message->number("epoch") == bob.last("room_joined")->number("epoch"));
  CHECK(message->value("from") == R"({"connection":")" + to_string(ann.id()) + R"(","user":"ann"})");
  CHECK(ann.messages("r").empty());
  const auto ack = ann.reply();
  REQUIRE(ack);
  CHECK(ack->type() == "ack");
  CHECK(ack->number("seq") == 1);
  CHECK(ack->number("epoch") == message->number("epoch"));
}

TEST_CASE("a publish without an id is not answered", "[delivery]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.join("r").raw(R"({"type":"publish","payload":{"room":"r","data":1}})");
  sim.run();
  CHECK(ann.count("ack") == 0);
  CHECK(sim.manager().room({"", "r"})->position().seq == 1);
}

TEST_CASE("echo includes the publisher", "[delivery]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("r");
  bob.join("r");
  sim.run();
  ann.publish_echo("r", "1").publish("r", "2").publish_echo("r", "3");
  sim.run();
  CHECK(ann.messages("r") == Texts{"1", "3"});
  CHECK(bob.messages("r") == Texts{"1", "2", "3"});
  CHECK(bob.seqs("r") == Numbers{1, 2, 3});
}

TEST_CASE("members on several executors see one order", "[delivery]") {
  CheckedSim sim({}, 3);
  std::vector<Client> clients;
  for (std::size_t i = 0; i < 9; ++i) clients.push_back(sim.dial("user" + std::to_string(i), Dial().on(i % 3)));
  for (const auto& client : clients) client.join("r");
  sim.run();
  for (int round = 0; round < 20; ++round) {
    for (const auto& client : clients) client.publish_echo("r", std::to_string(round));
  }
  sim.run();
  REQUIRE(clients[0].messages("r").size() == 180);
  for (const auto& client : clients) {
    CHECK(client.messages("r") == clients[0].messages("r"));
    CHECK(client.seqs("r").back() == 180);
  }
}

TEST_CASE("a server publish excludes whom it says, and tells its position and reach", "[delivery]") {
  CheckedSim sim({}, 2);
  const auto ann = sim.connect("ann", Dial().on(0));
  const auto bob = sim.connect("bob", Dial().on(1));
  ann.join("r");
  bob.join("r");
  sim.run();
  std::optional<Published> done;
  sim.manager().publish({"", "r"}, json("1"), Delivery::reliable(), ann.id(), [&done](Result<Published> published) {
    if (published) done = published.value();
  });
  sim.run();
  CHECK(ann.messages("r").empty());
  CHECK(bob.messages("r") == Texts{"1"});
  REQUIRE(done);
  CHECK(done->position == sim.manager().room({"", "r"})->position());
  CHECK(done->position.seq == 1);
}

TEST_CASE("who joins later gets nothing from before, also not from the batch on its way", "[delivery]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  const auto cat = sim.connect("cat");
  ann.join("r");
  cat.join("r");
  sim.run();
  // In one turn: a publish, a join, a publish.
  ann.publish("r", "1");
  bob.join("r");
  sim.run();
  ann.publish("r", "2");
  sim.run();
  CHECK(cat.messages("r") == Texts{"1", "2"});
  CHECK(bob.last("room_joined")->number("seq") + bob.messages("r").size() == 2);
  CHECK(bob.messages("r").back() == "2");
}

TEST_CASE("several publishes in one turn are one write to each member", "[delivery]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  const auto cat = sim.connect("cat");
  for (const auto* client : {&ann, &bob, &cat}) client->join("r");
  sim.run();
  sim.advance(1s);
  const auto bob_before = bob.pipe().writes();
  const auto ann_before = ann.pipe().writes();
  for (int i = 0; i < 10; ++i) ann.publish("r", std::to_string(i));
  sim.run();
  CHECK(bob.messages("r").size() == 10);
  CHECK(bob.pipe().writes() == bob_before + 1);
  CHECK(ann.pipe().writes() <= ann_before + 2);  // ten acks
}

TEST_CASE("what is published while a large room's batch is written comes in one write", "[delivery]") {
  CheckedSim sim;
  std::vector<Client> clients;
  for (std::size_t i = 0; i < 64; ++i) clients.push_back(sim.dial("user" + std::to_string(i)));
  for (const auto& client : clients) client.join("r");
  sim.run();
  const Client& last = clients.back();
  const auto before = last.pipe().writes();
  const auto publish = [&](const char* data) { sim.manager().publish({"", "r"}, json(data)); };
  publish("1");
  while (last.pipe().writes() == before) REQUIRE(sim.schedule.step());
  std::size_t turns = 0;
  for (std::size_t turn = 1; turn <= 2; ++turn) {
    REQUIRE(last.executor()->post_at_turn_end([&turns] { ++turns; }, turn));
  }
  publish("2");
  while (turns < 2) REQUIRE(sim.schedule.step());
  publish("3");
  sim.run();
  CHECK(last.messages("r") == Texts{"1", "2", "3"});
  CHECK(last.pipe().writes() == before + 2);
}

TEST_CASE("messages of several rooms in one turn are one write", "[delivery]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  for (const char* room : {"a", "b", "c"}) {
    ann.join(room);
    bob.join(room);
  }
  sim.run();
  sim.advance(1s);
  const auto before = bob.pipe().writes();
  for (const char* room : {"a", "b", "c"}) {
    ann.raw(R"({"type":"publish","payload":{"data":1,"room":")" + std::string(room) + "\"}}");
  }
  sim.run();
  CHECK(bob.pipe().writes() == before + 1);
  CHECK(bob.count("message") == 3);
}

TEST_CASE("what several commands of one turn are answered, and what they cause, is one write", "[delivery]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  sim.advance(1s);
  const auto before = ann.pipe().writes();
  ann.raw(R"({"type":"list_subscriptions","id":"0"})");
  ann.raw(R"({"type":"publish","id":"1","payload":{"room":"r","data":1,"echo":true}})");
  sim.run();
  CHECK(ann.count("subscriptions") == 1);
  CHECK(ann.messages("r") == Texts{"1"});
  CHECK(ann.pipe().writes() == before + 1);
}

TEST_CASE("a room larger than a slice is served whole and in order", "[delivery]") {
  Options options;
  options.fan_out_slice = 3;
  options.room.room_capacity = 0;
  CheckedSim sim(options);
  std::vector<Client> members;
  for (int i = 0; i < 20; ++i) members.push_back(sim.dial("m" + std::to_string(i)));
  for (const auto& member : members) member.join("r");
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.run();
  for (int i = 0; i < 5; ++i) {
    ann.publish("r", std::to_string(i));
    sim.schedule.step();
    if (i == 2) members[4].leave("r");
    if (i == 3) members[5].hang_up();
  }
  sim.run();
  for (std::size_t i = 6; i < members.size(); ++i) CHECK(members[i].messages("r") == Texts{"0", "1", "2", "3", "4"});
}

TEST_CASE("of latest messages with one key only the newest need arrive, and none has a seq", "[delivery]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("r");
  bob.join("r");
  sim.run();
  for (int i = 0; i < 5; ++i) ann.publish_latest("r", std::to_string(i), "typing");
  ann.publish_latest("r", "99", "other");
  sim.run();
  CHECK(bob.messages("r") == Texts{"4", "99"});
  CHECK(bob.seqs("r") == Numbers{0, 0});
  CHECK(sim.manager().room({"", "r"})->position().seq == 0);
  CHECK(sim.manager().metrics().conflated == 4);
}

TEST_CASE("who joins while latest messages wait is owed those from after its join only", "[delivery]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.connect("bob");
  const auto tell = [&](const char* data, const char* key) {
    sim.manager().publish({"", "r"}, json(data), Delivery::latest(key), {}, nullptr);
  };
  bob.join("r");
  tell("1", "a");
  tell("2", "b");
  while (sim.manager().room({"", "r"})->size() < 2) REQUIRE(sim.schedule.executors[0]->loop().run_one());
  tell("3", "a");  // takes the place of 1, which is not bob's, before the flush; 2 is not his either
  sim.run();
  CHECK(bob.messages("r") == Texts{"3"});
  CHECK(ann.messages("r") == Texts{"2", "3"});
}

TEST_CASE("room_joined comes before the room's first message, and room_left after its last", "[delivery]") {
  CheckedSim sim({}, 2);
  const auto ann = sim.connect("ann", Dial().on(0));
  const auto bob = sim.connect("bob", Dial().on(1));
  ann.join("r");
  sim.run();
  for (int i = 0; i < 30; ++i) {
    ann.publish("r", std::to_string(i));
    if (i == 5 || i == 15) bob.join("r");
    if (i == 10 || i == 20) bob.leave("r");
    for (int step = 0; step < 3; ++step) sim.schedule.step();
  }
  sim.run();
  // The client complains of whatever comes outside of its stays.
  CHECK(bob.wrong().empty());
  CHECK(bob.view("r").stays.size() == 2);
}

TEST_CASE("Room::send_to reaches the chosen members, without a seq", "[delivery]") {
  CheckedSim sim({}, 2);
  const auto ann = sim.connect("ann", Dial().on(0));
  const auto bob = sim.connect("bob", Dial().on(1));
  const auto cat = sim.connect("cat", Dial().on(1));
  for (const auto* client : {&ann, &bob, &cat}) client->join("r");
  sim.run();
  const auto reached =
      sim.manager().room({"", "r"})->send_to([](const Member& member) { return member.user != "bob"; }, json("1"));
  sim.run();
  CHECK(reached == 2);
  CHECK(ann.messages("r") == Texts{"1"});
  CHECK(ann.seqs("r") == Numbers{0});
  CHECK(bob.messages("r").empty());
  CHECK(cat.messages("r") == Texts{"1"});
  CHECK(sim.manager().room({"", "r"})->position().seq == 0);
}

TEST_CASE("a room's members and counters are a snapshot", "[delivery]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("r");
  bob.join("r");
  sim.run();
  ann.publish("r", "1").publish("r", "2");
  sim.run();
  const auto room = sim.manager().room({"", "r"});
  CHECK(room->key() == RoomKey{"", "r"});
  const auto members = room->members();
  REQUIRE(members.size() == 2);
  CHECK(members[0].connection < members[1].connection);
  CHECK(room->counters().published == 2);
  CHECK(room->counters().history_messages == 2);
  CHECK(room->counters().history_bytes > 0);
  CHECK(sim.manager().metrics().deliveries == 2);
}

TEST_CASE("a payload travels byte for byte, a client's and a server's", "[delivery]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  const std::string odd = "{ \"x\" : 1.00e+2,\t\"y\":\"\\u0041\" }";
  const bool by_client = GENERATE(true, false);
  if (by_client) ann.publish("r", odd);
  if (!by_client) sim.manager().publish({"", "r"}, json(odd));
  sim.run();
  CHECK(bob.pipe().written().find(odd) != std::string::npos);
}

TEST_CASE("a handle to a room is one to an empty room until there is one, and again when it has gone", "[delivery]") {
  Options options;
  options.room.history_messages = 0;
  CheckedSim sim(options);
  const auto room = sim.manager().room({"", "r"});
  const auto is_nothing = [&] {
    int answers = 0;
    room->publish(json("1"), {}, {}, [&answers](const Result<Published>& result) {
      if (result && result.value().position == Position{} && result.value().reached == 0) ++answers;
    });
    return answers == 1 && room->size() == 0 && room->members().empty() && room->position() == Position{} &&
           room->send_to([](const Member&) { return true; }, json("1")) == 0 && sim.manager().room_count() == 0;
  };
  CHECK(is_nothing());
  for (int round = 0; round < 2; ++round) {
    const auto ann = sim.member("ann", "r");
    CHECK(room->size() == 1);
    ann.hang_up(CloseReason::normal);
    sim.run();
    CHECK(is_nothing());
  }
}

TEST_CASE("what is published is encoded once for each executor, however many get it", "[delivery]") {
  const auto counted =
      std::make_shared<RecodedProtocol>("counted", [](CloseReason, std::uint16_t code) { return code; });
  CheckedSim sim(Setup{{}, 2, 1, nullptr, 1, {counted}});
  std::vector<Client> members;
  for (std::size_t i = 0; i < 20; ++i) {
    members.push_back(sim.member("u" + std::to_string(i), "r", Dial().on(i % 2).speaking("counted")));
  }
  for (int i = 0; i < 3; ++i) sim.manager().publish({"", "r"}, json(std::to_string(i)));
  sim.run();
  for (const Client& member : members) CHECK(member.messages("r") == Texts{"0", "1", "2"});
  CHECK(counted->room_messages() == 2 * 3);
}

}  // namespace
}  // namespace muster::test
