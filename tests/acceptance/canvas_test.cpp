// A canvas server, 1 of 2: rooms, tenants, limits, liveness. It runs as muster_server with the page in examples/canvas;
// tests/examples/canvas_test.cpp starts it as such.
//
// | requirement | test |
// | --- | --- |
// | authentication at the upgrade only | a token comes with the upgrade, or there is no connection |
// | rooms `canvas:{id}` | each canvas is a room of its own, and only canvases are |
// | tenant isolation | two tenants' canvases of one name have nothing in common |
// | connection_ack, room_joined, awareness, messages | what a newcomer is told comes in order |
// | 100 users, with several tabs each | a canvas takes 100 users and every tab of theirs, and not one user more |
// | connect flood by address: 60 in 60 s | an address connects 60 times a minute, and the 61st is told when to come back |
// | heartbeat every 30 s | every client is pinged every 30 s, and one that does not answer is gone |
// | 1,000 connections | 1,000 connections are taken, the 1,001st is not, and a place is reused |
// | memberships handed to the embedder | the embedder hears of every membership, and of every end |
// | the ends of many | a whole office losing its network is heard of one by one |
#include "canvas.hpp"

namespace muster::test {
namespace {

int status_of(const Client& refused) {
  const auto answer = refused.pipe().answer();
  return !answer || answer->accepted ? 0 : describe(answer->reason).http_status;
}

TEST_CASE("a token comes with the upgrade, or there is no connection", "[acceptance][canvas]") {
  CanvasSim sim;
  CHECK(sim.connect("ann").is_open());
  const auto none = sim.connect("none", Dial().silent());
  const auto bad = sim.connect("bad");
  const auto expired = sim.connect("old", Dial().with("old -1"));
  for (const auto& client : {none, bad, expired}) {
    CHECK(status_of(client) == 401);
    CHECK(client.log().empty());
  }
  CHECK(sim.authenticator->asked == 3);  // nobody asks about no token
  CHECK(sim.manager().connection_count() == 1);
  CHECK(sim.manager().metrics().reserved == 1);
  CHECK(sim.manager().metrics().refused_auth == 3);
}

TEST_CASE("each canvas is a room of its own, and only canvases are", "[acceptance][canvas]") {
  Options options = canvas_options();
  options.rooms_by_prefix["canvas:"].room_capacity = 2;
  CanvasSim sim(options);
  sim.authorizer->decide = [](const Access& access) {
    const bool canvas = access.action != Action::join || access.target.rfind("canvas:", 0) == 0;
    return canvas ? Permission::allow() : Permission::deny("There are only canvases here");
  };
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  const auto cat = sim.connect("cat");
  ann.join("canvas:1").join("canvas:2");
  bob.join("canvas:2");
  sim.run();
  ann.publish("canvas:1", "1").publish("canvas:2", "2");
  cat.join("canvas:2");
  sim.run();
  CHECK(bob.messages("canvas:2") == Texts{"2"});
  CHECK(bob.count("message") == 1);
  CHECK(sim.manager().room_count() == 2);
  CHECK(sim.manager().room({"", "canvas:2"})->options().room_capacity == 2);  // the kind's own limits
  CHECK(cat.error() == "room_full");
  cat.join("canvas:3");
  sim.run();
  CHECK(cat.count("room_joined") == 1);
  cat.join("lobby");
  sim.run();
  CHECK(cat.error() == "permission_denied");
  CHECK(cat.last("error")->text("message") == "There are only canvases here");
  cat.join("canvas:\xc3\xa9");
  sim.run();
  CHECK(cat.error() == "invalid_room");
  CHECK(cat.is_open());
}

TEST_CASE("two tenants' canvases of one name have nothing in common", "[acceptance][canvas]") {
  CanvasSim sim(canvas_options(), 2);
  const auto ann = sim.connect("ann", Dial().of("acme"));
  const auto bob = sim.connect("bob", Dial().of("acme").on(1));
  const auto eve = sim.connect("ann", Dial().of("ajax"));  // the same user name, too
  for (const auto& client : {ann, bob, eve}) client.join("canvas:1");
  sim.advance(1s);
  ann.publish("canvas:1", R"("secret")").aware("canvas:1", R"({"x":1})", 1, "cursor");
  eve.aware("canvas:1", R"({"x":2})", 1, "cursor").say("presence_query", R"({"users":["ann","bob"]})");
  sim.advance(1s);
  auto& manager = sim.manager();
  CHECK(bob.messages("canvas:1") == Texts{R"("secret")"});
  CHECK(bob.awareness("canvas:1") == States{{"cursor", R"({"x":1})"}});
  CHECK(bob.members("canvas:1") == Texts{"ann", "bob"});
  CHECK(eve.messages("canvas:1").empty());
  CHECK(eve.awareness("canvas:1") == States{{"cursor", R"({"x":2})"}});
  CHECK(eve.members("canvas:1") == Texts{"ann"});
  CHECK(eve.reply()->value("users") ==
        R"([{"user":"ann","online":true,"connections":1},{"user":"bob","online":false,"connections":0}])");
  CHECK(manager.connections_in({"acme", "canvas:1"}).size() == 2);
  CHECK(manager.connections_in({"ajax", "canvas:1"}).size() == 1);
  CHECK(manager.connections_in({"", "canvas:1"}).empty());
  CHECK(manager.connections_of_tenant("acme").size() == 2);
  CHECK(manager.online_users("ajax") == Texts{"ann"});
  CHECK(manager.send_to_tenant("ajax", json("1")) == 1);
  CHECK(manager.send_to_user({"acme", "ann"}, json("1")) == 1);
  CHECK(manager.revoke_tenant("ajax") == 1);
  sim.run();
  CHECK(eve.close_code() == 4003);
  CHECK(ann.is_open());
  CHECK(ann.count("direct") == 1);
}

TEST_CASE("what a newcomer is told comes in order", "[acceptance][canvas]") {
  CanvasSim sim(canvas_options(), 2);
  const auto ann = sim.connect("ann");
  ann.join("canvas:1").aware("canvas:1", R"({"x":1})", 1);
  sim.advance(1s);
  // While it connects and joins, there is traffic all the time.
  const auto bob = sim.dial("bob", Dial().on(1));
  std::size_t published = 0;
  sim.hook = [&](const std::string& line, Connection*) {
    if (line != "connected bob" && line != "joined bob canvas:1") return;
    for (int i = 0; i < 3; ++i) ann.publish("canvas:1", std::to_string(++published));
    ann.aware("canvas:1", R"({"x":2})", published);
  };
  sim.run();
  bob.join("canvas:1");
  sim.advance(1s);
  sim.hook = nullptr;
  const Texts types = bob.types();
  REQUIRE(types.size() > 3);
  CHECK(Texts(types.begin(), types.begin() + 3) == Texts{"connection_ack", "room_joined", "awareness_state"});
  const auto joined = bob.last("room_joined");
  CHECK(joined->list("members").size() == 2);
  CHECK(joined->number("seq") == 3);
  REQUIRE(bob.last("awareness_state")->list("states").size() == 1);
  CHECK(bob.messages("canvas:1") == Texts{"4", "5", "6"});  // all after room_joined, and none of before
  CHECK(bob.awareness("canvas:1") == States{{to_string(ann.id()), R"({"x":2})"}});
}

TEST_CASE("a canvas takes 100 users and every tab of theirs, and not one user more", "[acceptance][canvas]") {
  CanvasSim sim(canvas_options(), 2);
  std::vector<Client> tabs;
  for (std::size_t i = 0; i < 100; ++i) {
    const std::string name = "u" + std::to_string(i);
    tabs.push_back(sim.connect(name, Dial().on(i % 2)));
    if (i % 3 == 0) tabs.push_back(sim.connect(name, Dial().on((i + 1) % 2)));
  }
  for (const auto& tab : tabs) tab.join("canvas:1");
  sim.run();
  const auto room = sim.manager().room({"", "canvas:1"});
  CHECK(room->size() == tabs.size());
  CHECK(tabs.size() == 134);

  const auto late = sim.connect("late");
  late.join("canvas:1");
  sim.run();
  CHECK(late.error() == "room_full");
  CHECK(late.last("error")->text("message").find("100 users") != std::string::npos);
  CHECK(late.is_open());
  CHECK(sim.manager().find(late.id())->status == ConnectionStatus::connected);

  const auto tab = sim.connect("u7");  // the second of one who is there
  tab.join("canvas:1");
  sim.run();
  CHECK(tab.count("room_joined") == 1);
  CHECK(room->size() == 135);

  const auto of = [&](const std::string& name) {
    return *std::find_if(tabs.begin(), tabs.end(), [&](const Client& one) { return one.name() == name; });
  };
  of("u7").leave("canvas:1");  // one tab of two: the user is there still
  late.join("canvas:1");
  sim.run();
  CHECK(late.count("room_joined") == 0);
  of("u1").leave("canvas:1");
  sim.run();
  late.join("canvas:1");
  sim.run();
  CHECK(late.count("room_joined") == 1);
}

TEST_CASE("an address connects 60 times a minute, and the 61st is told when to come back", "[acceptance][canvas]") {
  CanvasSim sim;
  const auto here = Dial().from(RemoteAddress::v4(192, 0, 2, 1));
  const auto come_and_go = [&] {
    const auto client = sim.connect("ann", here);
    const bool in = client.is_open();
    if (in) client.hang_up();
    sim.run();
    return in;
  };
  std::size_t taken = 0;
  for (int i = 0; i < 60; ++i) {
    taken += come_and_go() ? 1 : 0;
    sim.advance(500ms);
  }
  CHECK(taken == 60);            // in the last 30 s
  for (int i = 0; i < 5; ++i) {  // refused attempts are not counted
    const auto flood = sim.connect("ann", here);
    CHECK(status_of(flood) == 429);
    CHECK(flood.pipe().answer()->error.retry_after == 30s);
  }
  CHECK(sim.manager().metrics().refused_rate == 5);
  CHECK(sim.connect("bob", Dial().from(RemoteAddress::v4(192, 0, 2, 2))).is_open());
  sim.advance(29'999ms);
  CHECK_FALSE(come_and_go());
  sim.advance(1ms);  // the window slides: one place for each connect that has become old
  CHECK(come_and_go());
  CHECK_FALSE(come_and_go());
  sim.advance(60s);
  for (int i = 0; i < 60; ++i) CHECK(come_and_go());
  CHECK_FALSE(come_and_go());
}

TEST_CASE("every client is pinged every 30 s, and one that does not answer is gone", "[acceptance][canvas]") {
  CanvasSim sim;
  std::vector<Client> clients;
  for (int i = 0; i < 10; ++i) clients.push_back(sim.connect("u" + std::to_string(i)));
  CHECK(clients[0].last("connection_ack")->number("heartbeat_ms") == 30'000);
  for (const auto& client : clients) client.join("canvas:1").aware("canvas:1", "{}", 1);
  sim.live(600s);
  for (const auto& client : clients) {
    CHECK(client.is_open());
    CHECK(client.pings() >= 20);
    CHECK(client.pings() <= 21);  // the first one comes somewhere in the first 30 s
  }
  clients[3].vanish();
  sim.live(40s);  // one interval and the 10 s for the answer
  CHECK_FALSE(sim.manager().contains(clients[3].id()));
  CHECK(sim.told("left u3 canvas:1 heartbeat_timeout") == 1);
  sim.live(11s);  // and the grace for a client that comes back
  CHECK(clients[0].members("canvas:1").size() == 9);
  CHECK(clients[0].view("canvas:1").nulls_told == 1);
  CHECK(sim.manager().connection_count() == 9);
}

TEST_CASE("1,000 connections are taken, the 1,001st is not, and a place is reused", "[acceptance][canvas]") {
  CanvasSim sim(canvas_options(), 2);
  for (std::size_t i = 0; i < 1000; ++i) sim.dial("u" + std::to_string(i), Dial().on(i % 2));
  sim.run();
  auto& manager = sim.manager();
  CHECK(manager.connection_count() == 1000);
  CHECK(manager.metrics().refused_capacity == 0);
  CHECK(manager.is_full());
  const auto late = sim.connect("late");
  CHECK(status_of(late) == 503);
  CHECK(late.pipe().answer()->error.retry_after > 0ms);
  CHECK(manager.metrics().refused_capacity == 1);
  CHECK(manager.metrics().reserved == 1000);

  sim.clients[500].hang_up();
  sim.run();
  CHECK_FALSE(manager.is_full());
  CHECK(sim.connect("late").is_open());
  CHECK(manager.connection_count() == 1000);
  CHECK(status_of(sim.connect("later")) == 503);

  sim.clients[501].vanish();  // a place is free when the socket is, not when the decision is
  CHECK(manager.remove(sim.clients[501].id()));
  sim.run();
  CHECK(manager.connection_count() == 999);
  CHECK(status_of(sim.connect("later")) == 503);
  sim.advance(5s);
  CHECK(sim.connect("later").is_open());
}

TEST_CASE("the embedder hears of every membership, and of every end", "[acceptance][canvas]") {
  CanvasSim sim;
  const auto ann = sim.connect("ann");
  const auto tab = sim.connect("ann");
  ann.join("canvas:1").join("canvas:2").leave("canvas:1");
  tab.join("canvas:2");
  sim.run();
  ann.hang_up();
  sim.run();
  CHECK(sim.story() == Texts{"connected ann", "online ann", "connected ann", "joined ann canvas:1",
                             "joined ann canvas:2", "left ann canvas:1", "joined ann canvas:2",
                             "left ann canvas:2 normal", "disconnected ann normal"});
  sim.forget_story();
  (void)sim.manager().kick(tab.id(), "out", false);
  sim.run();
  CHECK(sim.story() == Texts{"left ann canvas:2 kicked", "disconnected ann kicked", "offline ann"});
}

TEST_CASE("a whole office losing its network is heard of one by one", "[acceptance][canvas]") {
  CanvasSim sim(without_sessions(canvas_options()), 2);
  std::multiset<std::pair<ConnectionId, std::string>> memberships;
  std::multiset<ConnectionId> connections;
  std::size_t wrong = 0;
  sim.hook = [&](const std::string& line, Connection* connection) {
    if (connection == nullptr) return;
    const auto id = connection->id();
    const auto word = line.substr(0, line.find(' '));
    const auto canvas = line.find("canvas:");
    const auto room = canvas == std::string::npos ? std::string() : line.substr(canvas, 8);
    if (word == "connected") connections.insert(id);
    if (word == "joined") memberships.insert({id, room});
    if (word == "left") wrong += memberships.erase({id, room}) == 1 ? 0 : 1;
    if (word == "disconnected") {
      wrong += connections.erase(id) == 1 ? 0 : 1;
      wrong += memberships.count({id, "canvas:1"}) + memberships.count({id, "canvas:2"});  // those had to come first
    }
  };
  for (std::size_t i = 0; i < 60; ++i) {
    const auto client = sim.connect("u" + std::to_string(i), Dial().on(i % 2));
    client.join("canvas:1").join("canvas:2");
  }
  sim.run();
  CHECK(connections.size() == 60);
  CHECK(memberships.size() == 120);
  for (const auto& client : sim.clients) client.vanish();
  sim.advance(60s);
  CHECK(wrong == 0);
  CHECK(connections.empty());
  CHECK(memberships.empty());
  CHECK(sim.is_empty());
  CHECK(sim.manager().room_count() == 0);
}

}  // namespace
}  // namespace muster::test
