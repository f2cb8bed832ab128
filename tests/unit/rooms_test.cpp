// Rooms: who may come in, how many, and what is left when they go.
#include "muster/auth/allow_all.hpp"
#include "muster/auth/allow_anonymous.hpp"
#include "muster/core/room/room_name.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("joining tells the joiner who is there and where the order stands", "[rooms]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("r");
  sim.run();
  bob.join("r");
  sim.run();
  const auto joined = bob.last("room_joined");
  REQUIRE(joined);
  CHECK(joined->reply_to() == bob.last_id());
  CHECK(joined->number("seq") == 0);
  CHECK(joined->number("epoch") != 0);
  CHECK(joined->number("member_count") == 2);
  CHECK(joined->value("recovered") == "false");
  CHECK(bob.members("r") == Texts{"ann", "bob"});
  CHECK(bob.types() == Texts{"connection_ack", "room_joined", "awareness_state"});
  CHECK(sim.manager().find(bob.id())->status == ConnectionStatus::in_room);
  CHECK(sim.manager().find(bob.id())->rooms == Texts{"r"});
}

TEST_CASE("join and leave are idempotent", "[rooms]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.join("r").join("r");
  sim.run();
  CHECK(ann.count("room_joined") == 2);
  CHECK(sim.manager().room({"", "r"})->size() == 1);
  CHECK(sim.told("joined ann r") == 1);
  ann.leave("r").leave("r").leave("never");
  sim.run();
  CHECK(ann.count("room_left") == 3);
  CHECK(ann.count("error") == 0);
  CHECK(sim.told("left ann r") == 1);
  CHECK(sim.manager().room({"", "r"})->size() == 0);
  CHECK(sim.manager().find(ann.id())->status == ConnectionStatus::connected);
}

TEST_CASE("commands on a room need membership", "[rooms]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.publish("r", "1")
      .aware("r", "{}", 1)
      .say("awareness_query", R"({"room":"r"})")
      .say("presence_query", R"({"room":"r"})");
  sim.run();
  CHECK(ann.count("error") == 4);
  for (const auto& error : ann.all("error")) CHECK(error.text("code") == "not_in_room");
  CHECK(sim.manager().room_count() == 0);
}

TEST_CASE("room names are checked", "[rooms]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  for (const char* name : {"", "with space", "umlaut\xc3\xa4", "slash/", "quote\""}) ann.join(name);
  ann.join(std::string(257, 'a'));
  sim.run();
  CHECK(ann.count("error") == 6);
  for (const auto& error : ann.all("error")) CHECK(error.text("code") == "invalid_room");
  ann.join(std::string(256, 'a')).join("canvas:1.b_c-D");
  sim.run();
  CHECK(ann.count("room_joined") == 2);
}

TEST_CASE("room_names = unicode takes what people write, and nothing that cannot be seen", "[rooms]") {
  Options options;
  options.room_names = RoomNames::unicode;
  options.room_name_bytes = 20;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const Texts good{
      "Tagesgesch\xc3\xa4"
      "ft",
      "\xe4\xb8\xad\xe6\x96\x87\xe5\x90\x8d",
      "team/7",
      "ann@example.com",
      "#general",
      "with space",
      "\xf0\x9f\x90\xb8",
      "\xc2\xa0",
      "\xef\xbf\xbf"};
  for (const auto& name : good) {
    ann.join(name);
    sim.run();
    INFO(name);
    REQUIRE(ann.reply());
    CHECK(ann.reply()->type() == "room_joined");
    CHECK(ann.reply()->text("room") == name);
  }
  CHECK(ann.error().empty());
  using namespace std::string_literals;
  const Texts bad{"", std::string(21, 'a'), "tab\t", "\x7f", "nul\0"s, "\xc2\x85", "\xe2\x80\xa8", "x\xe2\x80\xa9"};
  for (const auto& name : bad) {
    ann.join(name);
    sim.run();
    INFO(name);
    REQUIRE(ann.reply());
    CHECK(ann.reply()->text("code") == "invalid_room");
  }
  // What is not UTF-8 does not get past muster.v1.json; a protocol of another kind may let it through.
  for (const char* name :
       {"\xff", "\xc3", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\x80"}) {
    CHECK_FALSE(core::valid_room_name(name, options));
  }
}

TEST_CASE("a room name that is refused names the option", "[rooms]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.join("#general");
  sim.run();
  CHECK(ann.last("error")->text("message").find("room_names") != std::string::npos);
}

TEST_CASE("a full room refuses the next user and tells why", "[rooms]") {
  Options options;
  options.rooms_by_prefix["small:"].room_capacity = 2;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto ann2 = sim.connect("ann");
  const auto bob = sim.connect("bob");
  const auto cat = sim.connect("cat");
  ann.join("small:1");
  ann2.join("small:1");
  bob.join("small:1");
  sim.run();
  CHECK(sim.manager().room({"", "small:1"})->size() == 3);  // two users: a second tab is not another person
  cat.join("small:1");
  sim.run();
  CHECK(cat.error() == "room_full");
  CHECK(cat.is_open());
  ann.leave("small:1");
  sim.run();
  cat.join("small:1");
  sim.run();
  CHECK(cat.count("room_joined") == 0);  // ann's other tab still holds her seat
  ann2.leave("small:1");
  sim.run();
  cat.join("small:1");
  sim.run();
  CHECK(cat.count("room_joined") == 1);
}

TEST_CASE("capacity can count connections instead", "[rooms]") {
  Options options;
  options.room.room_capacity = 2;
  options.room.capacity_counts = CapacityCounts::connections;
  CheckedSim sim(options);
  for (int i = 0; i < 3; ++i) sim.connect("ann").join("r");
  sim.run();
  CHECK(sim.manager().room({"", "r"})->size() == 2);
  CHECK(sim.clients[2].error() == "room_full");
}

TEST_CASE("a connection is in rooms_per_connection rooms at most", "[rooms]") {
  Options options;
  options.rooms_per_connection = 2;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.join("a").join("b").join("c");
  sim.run();
  CHECK(ann.error() == "too_many_rooms");
  ann.leave("a").join("c");
  sim.run();
  CHECK(ann.count("room_joined") == 3);
  CHECK(sim.manager().find(ann.id())->rooms.size() == 2);
}

TEST_CASE("the same room name of two tenants is two rooms", "[rooms]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann", Dial().of("acme"));
  const auto bob = sim.connect("bob", Dial().of("ajax"));
  ann.join("r");
  bob.join("r");
  sim.run();
  ann.publish("r", "1").aware("r", R"({"x":1})", 1);
  sim.advance(1s);
  CHECK(bob.messages("r").empty());
  CHECK(bob.members("r") == Texts{"bob"});
  CHECK(bob.awareness("r").empty());
  CHECK(sim.manager().room({"acme", "r"})->size() == 1);
  CHECK(sim.manager().room({"", "r"})->size() == 0);
  CHECK(sim.manager().room_count() == 2);
}

TEST_CASE("an authorizer decides about joins, publishes and awareness", "[rooms]") {
  CheckedSim sim;
  Action denied = Action::join;
  sim.authorizer->decide = [&denied](const Access& access) {
    return access.action == denied ? Permission::deny("Not today") : Permission::allow();
  };
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.run();
  REQUIRE(ann.last("error"));
  CHECK(ann.last("error")->text("code") == "permission_denied");
  CHECK(ann.last("error")->text("message") == "Not today");
  CHECK(sim.manager().room_count() == 0);
  denied = Action::publish;
  ann.join("r").publish("r", "1");
  sim.run();
  CHECK(ann.count("room_joined") == 1);
  CHECK(ann.count("error") == 2);
  denied = Action::awareness;
  ann.aware("r", "{}", 1);
  sim.run();
  CHECK(ann.count("error") == 3);
  CHECK(sim.manager().awareness().size() == 0);
  CHECK(ann.is_open());
}

TEST_CASE("close_on_permission_denied closes 4003 beside the error", "[rooms]") {
  Options options;
  options.close_on_permission_denied = true;
  CheckedSim sim(options);
  sim.authorizer->decide = [](const Access&) { return Permission::deny(); };
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.run();
  CHECK(ann.close_code() == 4003);
  CHECK(sim.is_empty());
}

TEST_CASE("an authorizer that never answers is answered unavailable, the late answer does nothing", "[rooms]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  sim.authorizer->answer = Answer::never();
  ann.join("r").say("ping", "{}");
  sim.run();
  CHECK(ann.count("pong") == 0);  // commands keep their order
  sim.advance(5s);
  CHECK(ann.error() == "unavailable");
  CHECK(ann.count("pong") == 1);
  sim.authorizer->withheld.release();
  sim.run();
  CHECK(sim.manager().room_count() == 0);
  CHECK(ann.count("room_joined") == 0);
}

TEST_CASE("a late answer is not taken for that of the next question", "[rooms]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  sim.authorizer->decide = [](const Access& access) {
    return access.target == "secret" ? Permission::deny() : Permission::allow();
  };
  sim.authorizer->answer = Answer::never();
  ann.join("open").join("secret");
  sim.advance(5s);  // the first is given up, the second asked
  sim.authorizer->withheld.release();
  sim.run();
  CHECK(sim.manager().room({"", "open"})->size() == 0);
  CHECK(sim.manager().room({"", "secret"})->size() == 0);
  CHECK(ann.error() == "permission_denied");
}

TEST_CASE("a join approved after the connection went adds nothing", "[rooms]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  sim.authorizer->answer = Answer::later(1s);
  ann.join("r");
  sim.run();
  ann.hang_up();
  sim.advance(2s);
  CHECK(sim.manager().room_count() == 0);
  CHECK(sim.is_empty());
}

TEST_CASE("while a command waits, reading stops once waiting_commands are held", "[rooms]") {
  Options options;
  options.waiting_commands = 3;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  sim.authorizer->answer = Answer::later(1s);
  ann.join("r");
  ann.say("ping", "{}", 20);
  sim.run();
  CHECK(ann.pipe().is_reading_paused());
  sim.advance(1s);
  CHECK_FALSE(ann.pipe().is_reading_paused());
  CHECK(ann.count("pong") == 20);
}

TEST_CASE("an empty room keeps its epoch and seq while it has history, and starts anew after", "[rooms]") {
  Options options;
  options.room.history_age = 1min;
  options.heartbeat = 0s;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.join("r").publish("r", "1").leave("r");
  sim.run();
  const Position before = sim.manager().room({"", "r"})->position();
  CHECK(before.seq == 1);
  CHECK(sim.manager().room_count() == 1);
  ann.join("r");
  sim.run();
  CHECK(ann.last("room_joined")->number("seq") == 1);
  CHECK(ann.last("room_joined")->number("epoch") == before.epoch);
  ann.leave("r");
  sim.run();
  sim.advance(3min);
  CHECK(sim.manager().room_count() == 0);
  CHECK(sim.manager().room({"", "r"})->position() == Position{});
  ann.join("r");
  sim.run();
  CHECK(ann.last("room_joined")->number("seq") == 0);
  CHECK(ann.last("room_joined")->number("epoch") != before.epoch);
}

TEST_CASE("a room without history goes with its last member", "[rooms]") {
  Options options;
  options.room.history_messages = 0;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.join("r").publish("r", "1");
  sim.run();
  CHECK(sim.manager().room_count() == 1);
  ann.leave("r");
  sim.run();
  CHECK(sim.manager().room_count() == 0);
}

Published publish_now(Sim& sim, const std::string& room, const std::string& data, Delivery how = Delivery::reliable()) {
  std::optional<Published> done;
  sim.manager().publish({"", room}, json(data), std::move(how), {},
                        [&done](Result<Published> published) { done = published.value(); });
  sim.run();
  return done.value();
}

TEST_CASE("a server publish into a room without members begins its history, and the epoch that lasts as long",
          "[rooms]") {
  Options options;
  options.room.history_age = 5min;
  CheckedSim sim(options);
  const Published first = publish_now(sim, "r", "1");
  CHECK(first.reached == 0);
  CHECK(first.position.seq == 1);
  CHECK(sim.manager().room_count() == 1);
  sim.advance(4min);
  const auto ann = sim.member("ann", "r");
  CHECK(ann.last("room_joined")->number("epoch") == first.position.epoch);
  CHECK(ann.last("room_joined")->number("seq") == 1);
  ann.leave("r");
  sim.run();
  CHECK(publish_now(sim, "r", "2").position == Position{first.position.epoch, 2});
  sim.advance(7min);  // what it kept is too old, and nobody is there
  CHECK(sim.manager().room_count() == 0);
  CHECK(publish_now(sim, "r", "3").position.epoch != first.position.epoch);
}

TEST_CASE("what is published before anybody has come ends with its age, though no executor is there to see to it",
          "[rooms]") {
  CheckedSim sim;
  for (int i = 0; i < 10; ++i) (void)publish_now(sim, "r" + std::to_string(i), "1");
  CHECK(sim.manager().room_count() == 10);
  sim.advance(6min);
  SECTION("at the next publish") {
    (void)publish_now(sim, "another", "1");
    CHECK(sim.manager().room_count() == 1);
  }
  SECTION("when it is swept") {
    sim.manager().sweep_now(nullptr);
    CHECK(sim.manager().room_count() == 0);
  }
}

TEST_CASE("a server publish makes no room of what nothing would be kept of", "[rooms]") {
  Options options;
  options.rooms_by_prefix["none:"].history_messages = 0;
  options.rooms_by_prefix["at once:"].history_age = 0s;
  CheckedSim sim(options);
  CHECK(publish_now(sim, "none:", "1").position == Position{});
  CHECK(publish_now(sim, "at once:", "1").position == Position{});
  CHECK(publish_now(sim, "r", "1", Delivery::latest("k")).position == Position{});
  CHECK(sim.manager().room_count() == 0);
}

TEST_CASE("a publish says whom it goes to: neither the excluded nor who is away", "[rooms]") {
  CheckedSim sim({}, 2);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob", Dial().on(1));
  const auto cat = sim.connect("cat");
  const auto outside = sim.connect("dan");
  for (const auto& client : {ann, bob, cat}) client.join("r");
  sim.run();
  const auto reached = [&sim](ConnectionId exclude) {
    std::optional<std::size_t> count;
    sim.manager().publish({"", "r"}, json("1"), Delivery::reliable(), exclude, [&count](Result<Published> published) {
      if (published) count = published.value().reached;
    });
    sim.run();
    return count;
  };
  CHECK(reached({}) == std::size_t{3});
  CHECK(reached(bob.id()) == std::size_t{2});
  CHECK(reached(outside.id()) == std::size_t{3});
  cat.hang_up(CloseReason::lost);  // keeps its seat for a while, but nothing can be sent to it
  sim.run();
  CHECK(reached({}) == std::size_t{2});
  CHECK(reached(cat.id()) == std::size_t{2});
}

TEST_CASE("subscriptions and session_info say what one has", "[rooms]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann", Dial().of("acme"));
  ann.join("b").join("a").say("list_subscriptions", "{}").say("session_info", "{}");
  sim.run();
  REQUIRE(ann.last("subscriptions"));
  CHECK(ann.last("subscriptions")->list("subscriptions").size() == 2);
  const auto info = ann.last("session_info");
  REQUIRE(info);
  CHECK(info->text("connection") == to_string(ann.id()));
  CHECK(info->text("user") == "ann");
  CHECK(info->text("tenant") == "acme");
  CHECK(info->list("rooms").size() == 2);
}

TEST_CASE("the options of a room follow the longest prefix", "[rooms]") {
  Options options;
  options.rooms_by_prefix["canvas:"].room_capacity = 5;
  options.rooms_by_prefix["canvas:vip:"].room_capacity = 7;
  CheckedSim sim(options);
  CHECK(sim.manager().room({"", "canvas:1"})->options().room_capacity == 5);
  CHECK(sim.manager().room({"", "canvas:vip:1"})->options().room_capacity == 7);
  CHECK(sim.manager().room({"", "other"})->options().room_capacity == 100);
}

TEST_CASE("a handle to a room does not keep the manager", "[rooms]") {
  Components components;
  components.protocols = {std::make_shared<JsonProtocol>()};
  auto manager = make_connection_manager({}, std::make_shared<AllowAnonymous>(), std::make_shared<AllowAll>(),
                                         std::move(components));
  const auto room = manager->room({"", "r"});
  const std::weak_ptr<IConnectionManager> gone = manager;
  manager.reset();
  CHECK(gone.expired());
  CHECK(room->size() == 0);
  std::optional<errc> answer;
  room->publish(json("1"), {}, {}, [&answer](Result<Published> result) { answer = result.error().code; });
  CHECK(answer == errc::unavailable);
}

}  // namespace
}  // namespace muster::test
