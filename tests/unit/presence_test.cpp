// Presence: who came and who went, told to those whom it concerns, in batches.
#include "muster/auth/allow_all.hpp"
#include "muster/auth/allow_anonymous.hpp"
#include "muster/memory/loopback_broker.hpp"
#include "support/checked_sim.hpp"
#include "support/live_allocations.hpp"

namespace muster::test {
namespace {

Options with(PresenceScope scope) {
  Options options;
  options.presence_scope = scope;
  return options;
}

TEST_CASE("a join and a leave are told to the others, batched", "[presence]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.advance(1s);
  std::vector<Client> others;
  for (int i = 0; i < 5; ++i) others.push_back(sim.connect("u" + std::to_string(i)));
  for (const auto& other : others) other.join("r");
  sim.run();
  const auto before = ann.count("presence");
  sim.advance(50ms);
  CHECK(ann.count("presence") == before + 1);
  CHECK(ann.members("r") == Texts{"ann", "u0", "u1", "u2", "u3", "u4"});
  CHECK(ann.last("presence")->number("member_count") == 6);
  others[0].leave("r");
  others[1].hang_up();
  sim.advance(50ms);
  CHECK(ann.count("presence") == before + 2);
  CHECK(ann.members("r") == Texts{"ann", "u2", "u3", "u4"});
}

TEST_CASE("whoever a newcomer saw is told as left when it leaves, batched or not", "[presence]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  const auto cat = sim.connect("cat");
  cat.join("r");
  sim.advance(1s);
  ann.join("r");
  sim.run();
  bob.join("r");  // within ann's batch: its list has her
  sim.run();
  CHECK(bob.members("r") == Texts{"ann", "bob", "cat"});
  ann.leave("r");
  sim.advance(1s);
  CHECK(bob.members("r") == Texts{"bob", "cat"});
  CHECK(cat.members("r") == Texts{"bob", "cat"});
}

TEST_CASE("who comes back within a batch is there", "[presence]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("r");
  bob.join("r");
  sim.advance(1s);
  ann.leave("r").join("r");
  sim.advance(1s);
  CHECK(bob.members("r") == Texts{"ann", "bob"});
}

TEST_CASE("above presence_list_max only the count is told", "[presence]") {
  Options options;
  options.room.presence_list_max = 2;
  CheckedSim sim(options);
  std::vector<Client> all;
  for (int i = 0; i < 5; ++i) all.push_back(sim.connect("u" + std::to_string(i)));
  for (const auto& one : all) {
    one.join("r");
    sim.advance(100ms);
  }
  sim.advance(1s);  // once a second
  const auto told = all[0].last("presence");
  REQUIRE(told);
  CHECK(told->list("joined").empty());
  CHECK(told->number("member_count") == 5);
  CHECK(all[4].last("room_joined")->list("members").empty());
  CHECK(all[4].last("room_joined")->number("member_count") == 5);
  for (std::size_t i = 1; i < 5; ++i) {
    all[i].leave("r");
    sim.advance(100ms);
  }
  sim.advance(1s);
  CHECK(all[0].last("presence")->number("member_count") == 1);
}

TEST_CASE("a user is online from the first connection to the last", "[presence]") {
  CheckedSim sim;
  const auto one = sim.connect("ann");
  const auto two = sim.connect("ann");
  CHECK(sim.told("online ann") == 1);
  CHECK(sim.manager().is_online({"", "ann"}));
  CHECK(sim.manager().connection_count({"", "ann"}) == 2);
  one.hang_up();
  sim.run();
  CHECK(sim.told("offline ann") == 0);
  CHECK(sim.manager().is_online({"", "ann"}));
  two.hang_up();
  sim.run();
  CHECK(sim.told("offline ann") == 1);
  CHECK_FALSE(sim.manager().is_online({"", "ann"}));
  CHECK(sim.manager().online_users("").empty());
}

TEST_CASE("scope shared_rooms: a user's coming and going is told in its rooms", "[presence]") {
  CheckedSim sim(with(PresenceScope::shared_rooms));
  const auto bob = sim.connect("bob");
  const auto cat = sim.connect("cat");
  bob.join("r");
  cat.join("other");
  sim.advance(1s);
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.advance(1s);
  REQUIRE(bob.last("users_online"));
  CHECK(bob.last("users_online")->texts("users") == Texts{"ann"});
  for (const auto& told : cat.all("users_online")) CHECK(told.texts("users") == Texts{"cat"});
  ann.hang_up();
  sim.advance(1s);
  REQUIRE(bob.last("users_offline"));
  CHECK(bob.last("users_offline")->texts("users") == Texts{"ann"});
  CHECK(cat.count("users_offline") == 0);
}

TEST_CASE("scope tenant: everyone of the tenant is told, and nobody else", "[presence]") {
  CheckedSim sim(with(PresenceScope::tenant));
  const auto bob = sim.connect("bob", Dial().of("acme"));
  const auto cat = sim.connect("cat", Dial().of("ajax"));
  const auto ann = sim.connect("ann", Dial().of("acme"));
  sim.advance(1s);
  CHECK(bob.last("users_online"));
  CHECK(cat.count("users_online") <= 1);  // itself, at most
  ann.hang_up();
  sim.advance(1s);
  REQUIRE(bob.last("users_offline"));
  CHECK(bob.last("users_offline")->texts("users") == Texts{"ann"});
  CHECK(cat.count("users_offline") == 0);
}

TEST_CASE("scope none: nobody is told about anybody", "[presence]") {
  CheckedSim sim(with(PresenceScope::none));
  const auto bob = sim.connect("bob");
  bob.join("r");
  sim.advance(1s);
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.advance(1s);
  ann.hang_up();
  sim.advance(1s);
  CHECK(bob.count("users_online") == 0);
  CHECK(bob.count("users_offline") == 0);
  CHECK(bob.count("presence") == 0);
}

TEST_CASE("scope none: who came and went is not kept for anybody", "[presence]") {
  Components components;
  components.protocols = {std::make_shared<JsonProtocol>()};
  components.random_seed = 1;
  const auto manager = make_connection_manager(with(PresenceScope::none), std::make_shared<AllowAnonymous>(),
                                               std::make_shared<AllowAll>(), std::move(components));
  const auto executor = std::make_shared<ManualExecutor>();
  const auto enter = [&] {
    auto pipe = std::make_shared<MemoryTransport>(executor);
    pipe->open(manager, {});
    executor->run_ready();
    pipe->receive(R"({"type":"join","payload":{"room":"r"}})");
    executor->run_ready();
    return pipe;
  };
  const auto stays = enter();
  const auto come_and_go = [&](int times) {
    for (int i = 0; i < times; ++i) {
      enter()->hang_up();
      executor->run_ready();
    }
  };
  come_and_go(20);
  const auto before = live_allocations.load();
  come_and_go(200);
  CHECK(live_allocations < before + 150);  // kept, it would be 400: an entry and a name each
  CHECK(manager->connection_count() == 1);
  manager->shutdown(nullptr);
  executor->run_ready();
}

TEST_CASE("presence_query answers by users and by room", "[presence]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto two = sim.connect("bob");
  const auto bob = sim.connect("bob");
  ann.join("r");
  bob.join("r");
  sim.run();
  ann.say("presence_query", R"({"users":["bob","nobody"]})");
  sim.run();
  auto told = ann.reply();
  REQUIRE(told);
  CHECK(told->type() == "presence_state");
  CHECK(told->value("users") ==
        R"([{"user":"bob","online":true,"connections":2},{"user":"nobody","online":false,"connections":0}])");
  ann.say("presence_query", R"({"room":"r"})");
  sim.run();
  told = ann.reply();
  REQUIRE(told);
  CHECK(told->list("users").size() == 2);
}

TEST_CASE("presence_query and Room::members read a room in pages", "[presence]") {
  CheckedSim sim;
  std::vector<Client> all;
  for (int i = 0; i < 5; ++i) all.push_back(sim.member("u" + std::to_string(i), "r"));
  const auto everybody = sim.manager().room({"", "r"})->members();
  REQUIRE(everybody.size() == 5);
  std::string after;
  for (std::size_t page = 0; page < 3; ++page) {
    const ConnectionId behind = page == 0 ? ConnectionId() : everybody[2 * page - 1].connection;
    const auto here = sim.manager().room({"", "r"})->members(behind, 2);
    all[0].say("presence_query", R"({"room":"r","limit":2)" + after + "}");
    sim.run();
    const auto told = all[0].reply();
    REQUIRE(told);
    CHECK(told->has("more") == (page < 2));
    CHECK_FALSE(told->has("users"));
    const auto members = told->list("members");
    REQUIRE(members.size() == here.size());
    for (std::size_t i = 0; i < members.size(); ++i) {
      CHECK(Told::text(*members[i], "connection") == to_string(here[i].connection));
      CHECK(here[i] == everybody[2 * page + i]);
    }
    after = R"(,"after":")" + Told::text(*members.back(), "connection") + "\"";
  }
  CHECK(sim.manager().room({"", "r"})->members({}, 0).empty());
  CHECK(sim.manager().room({"", "r"})->members(everybody.back().connection, 2).empty());
  CHECK(sim.manager().room({"", "nobody's"})->members({}, 2).empty());
  const auto outside = sim.connect("eve");
  outside.say("presence_query", R"({"room":"r","limit":2})");
  sim.run();
  CHECK(outside.error() == "not_in_room");
}

TEST_CASE("a page of a room has the members of other nodes in their places", "[presence]") {
  CheckedSim sim(Setup{{}, 1, 2, std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{}, 1), 1});
  for (int i = 0; i < 6; ++i)
    (void)sim.member("u" + std::to_string(i), "r", Dial().at(static_cast<std::size_t>(i) % 2));
  sim.advance(1s);
  std::vector<Member> pages;
  for (ConnectionId behind;; behind = pages.back().connection) {
    const auto page = sim.manager(0).room({"", "r"})->members(behind, 2);
    if (page.empty()) break;
    pages.insert(pages.end(), page.begin(), page.end());
  }
  CHECK(pages == sim.manager(0).room({"", "r"})->members());
  CHECK(pages.size() == 6);
}

TEST_CASE("presence_query says of a user in its grace what the others were told: online", "[presence]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  sim.advance(1s);
  bob.hang_up(CloseReason::lost);
  const auto asked = [&] {
    ann.say("presence_query", R"({"users":["bob"]})");
    sim.run();
    return ann.reply() ? ann.reply()->value("users") : "no answer";
  };
  CHECK(asked() == R"([{"user":"bob","online":true,"connections":0}])");
  CHECK(sim.manager().is_online({"", "bob"}));
  sim.advance(11s);
  CHECK(asked() == R"([{"user":"bob","online":false,"connections":0}])");
}

}  // namespace
}  // namespace muster::test
