// Rooms as a program looks at them: in pages, with their history, and with options of their own.
#include <stdexcept>

#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

Texts names(const std::vector<RoomInfo>& rooms) {
  Texts names;
  for (const RoomInfo& room : rooms) names.push_back(room.key.name);
  return names;
}
std::vector<std::uint64_t> seqs(const HistoryPage& page) {
  std::vector<std::uint64_t> seqs;
  for (const HistoryMessage& message : page.messages) seqs.push_back(message.seq);
  return seqs;
}
using Numbers = std::vector<std::uint64_t>;

TEST_CASE("rooms are paged by tenant and prefix, in the order of names", "[room_pages]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  for (const char* room : {"game:2", "chat", "game:10", "game:1", "game", "zoo"}) ann.join(room);
  const auto other = sim.member("eve", "game:5", Dial().of("t2"));
  sim.run();
  IConnectionManager& manager = sim.manager();
  CHECK(names(manager.rooms("", "", "", 100)) == Texts{"chat", "game", "game:1", "game:10", "game:2", "zoo"});
  CHECK(names(manager.rooms("", "game:", "", 2)) == Texts{"game:1", "game:10"});
  CHECK(names(manager.rooms("", "game:", "game:10", 2)) == Texts{"game:2"});
  CHECK(names(manager.rooms("", "game:", "game:2", 2)).empty());
  CHECK(names(manager.rooms("", "", "chat", 1)) == Texts{"game"});
  CHECK(names(manager.rooms("t2", "", "", 100)) == Texts{"game:5"});
  CHECK(manager.rooms("", "", "", 0).empty());
  CHECK(manager.rooms("t3", "", "", 100).empty());
  ann.publish("chat", "1");
  sim.run();
  const auto chat = manager.rooms("", "chat", "", 1).front();
  CHECK(chat.members == 1);
  CHECK(chat.position == manager.room({"", "chat"})->position());
}

TEST_CASE("a room's history is read in pages by the program", "[room_pages]") {
  Options options;
  options.room.history_messages = 5;
  CheckedSim sim(options);
  const auto room = sim.manager().room({"", "r"});
  CHECK(room->history({}, 10).epoch == 0);
  CHECK(room->history({}, 10).messages.empty());
  const auto ann = sim.member("ann", "r");
  CHECK(room->history({}, 10).complete);
  for (int i = 1; i <= 8; ++i) ann.publish("r", std::to_string(i));
  sim.run();
  const auto [epoch, last] = room->position();
  CHECK(last == 8);
  HistoryPage page = room->history({}, 2);
  CHECK(page.epoch == epoch);
  CHECK(seqs(page) == Numbers{4, 5});
  CHECK(page.messages.front().data == json("4"));
  CHECK(page.messages.front().from == ann.id());
  CHECK(page.messages.front().from_user == "ann");
  CHECK(page.more);
  CHECK_FALSE(page.complete);  // 1 to 3 are gone
  page = room->history({epoch, 5}, 100);
  CHECK(seqs(page) == Numbers{6, 7, 8});
  CHECK_FALSE(page.more);
  CHECK(page.complete);
  page = room->history({epoch, 8}, 100);
  CHECK(page.messages.empty());
  CHECK(page.complete);
  CHECK_FALSE(page.more);
  CHECK(seqs(room->history({epoch + 1, 7}, 100)) == Numbers{4, 5, 6, 7, 8});  // another order: it knows nothing of this
  CHECK(room->history({epoch, 5}, 0).messages.empty());
}

TEST_CASE("a page of history has no more than about 64 KiB, and says that there is more", "[room_pages]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  for (int i = 0; i < 10; ++i) ann.publish("r", quoted(std::string(10'000, 'x')));
  sim.run();
  const HistoryPage page = sim.manager().room({"", "r"})->history({}, 100);
  CHECK(page.messages.size() == 7);
  CHECK(page.more);
}

TEST_CASE("a member asks for its room's history, and sees what it may", "[room_pages]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  ann.publish("r", "1").publish("r", "2");
  sim.run();
  sim.manager().publish({"", "r"}, json("3"), {}, bob.id());
  sim.run();
  const auto asked = [&](const Client& client, const std::string& more) {
    client.say("history_query", R"({"room":"r")" + more + "}");
    sim.run();
    const auto told = client.reply();
    return told ? told->value("messages") + told->value("complete") + told->value("more") : std::string("nothing");
  };
  const std::string from_ann = R"("from":{"connection":")" + to_string(ann.id()) + R"(","user":"ann"},)";
  CHECK(asked(ann, "") == R"([{"seq":1,)" + from_ann + R"("data":1},{"seq":2,)" + from_ann +
                              R"("data":2},{"seq":3,"from":null,"data":3}]true)");
  CHECK(asked(bob, R"(,"limit":1)") == R"([{"seq":1,)" + from_ann + R"("data":1}]truetrue)");
  const std::string epoch = std::to_string(sim.manager().room({"", "r"})->position().epoch);
  CHECK(asked(bob, R"(,"epoch":)" + epoch + R"(,"after":1)") ==
        R"([{"seq":2,)" + from_ann + R"("data":2}]true)");  // 3 was not for bob
  CHECK(asked(bob, R"(,"epoch":)" + epoch + R"(,"after":3)") == "[]true");
  CHECK(asked(bob, R"(,"after":2)") == "[]true");
  CHECK(asked(bob, R"(,"epoch":1,"after":2,"limit":1)") == R"([{"seq":1,)" + from_ann + R"("data":1}]truetrue)");
  bob.say("history_query", R"({"room":"r","limit":-1})");
  sim.run();
  CHECK(bob.error() == "invalid_message");
  bob.say("history_query", R"({"room":"other"})");
  sim.run();
  CHECK(bob.error() == "not_in_room");
  sim.authorizer->decide = [](const Access& access) {
    return access.action == Action::query ? Permission::deny() : Permission::allow();
  };
  bob.say("history_query", R"({"room":"r"})");
  sim.run();
  CHECK(bob.error() == "permission_denied");
}

TEST_CASE("a member pages past what was not for it", "[room_pages]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  for (int i = 0; i < 15; ++i) {
    sim.manager().publish({"", "r"}, json(quoted(std::string(10'000, 'x'))), {}, ann.id());
  }
  sim.manager().publish({"", "r"}, json("1"));
  sim.run();
  ann.say("history_query", R"({"room":"r"})");
  sim.run();
  REQUIRE(ann.reply());
  CHECK(ann.reply()->list("messages").size() == 1);
  CHECK(ann.reply()->value("more").empty());
}

TEST_CASE("a room's options are changed while it is there, and end with it", "[room_pages]") {
  Options options;
  options.room.room_capacity = 1;
  CheckedSim sim(options);
  const auto room = sim.manager().room({"", "r"});
  RoomOptions larger = options.room;
  larger.room_capacity = 2;
  larger.history_messages = 3;
  CHECK_FALSE(room->set_options(larger));  // there is none
  CHECK(room->options() == options.room);
  const auto ann = sim.member("ann", "r");
  for (int i = 1; i <= 8; ++i) ann.publish("r", std::to_string(i));
  sim.run();
  CHECK(room->set_options(larger));
  CHECK(room->options() == larger);
  CHECK(room->counters().history_messages == 3);
  const auto bob = sim.member("bob", "r");
  CHECK(bob.members("r") == Texts{"ann", "bob"});
  const auto carl = sim.member("carl", "r");
  CHECK(carl.error() == "room_full");
  CHECK(room->set_options(options.room));
  CHECK(room->size() == 2);  // who has a seat keeps it
  RoomOptions wrong = larger;
  wrong.history_age = -1ms;
  CHECK_THROWS_AS(room->set_options(wrong), std::invalid_argument);
  CHECK(room->options() == options.room);
  CHECK(room->set_options(larger));
  ann.leave("r");
  bob.leave("r");
  sim.advance(std::chrono::minutes(6));
  CHECK(sim.manager().room_count() == 0);
  CHECK(room->options() == options.room);
}

TEST_CASE("on_room_opened is where a room gets options of its own", "[room_pages]") {
  CheckedSim sim;
  sim.manager().on_room_opened([&](const RoomKey& key) {
    RoomOptions pair = sim.manager().room(key)->options();
    pair.room_capacity = 2;
    CHECK(sim.manager().room(key)->set_options(pair));
  });
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  const auto carl = sim.member("carl", "r");
  CHECK(carl.error() == "room_full");
}

}  // namespace
}  // namespace muster::test
