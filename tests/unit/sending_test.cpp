// Sending from any thread, lookups, handlers and what one can find out about a connection.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

Texts directs(const Client& client) {
  Texts data;
  for (const Told& told : client.all("direct")) data.push_back(told.value("data"));
  return data;
}

TEST_CASE("send reaches one connection, and says so", "[sending]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto two = sim.connect("ann");
  CHECK(sim.manager().send(ann.id(), json(R"({"x":1})")) == 1);
  CHECK(sim.manager().send(ConnectionId(12345), json("1")) == 0);
  sim.run();
  CHECK(directs(ann) == Texts{R"({"x":1})"});
  CHECK(directs(two).empty());
}

TEST_CASE("sending to users, a tenant and everyone says how many it reached", "[sending]") {
  CheckedSim sim({}, 2);
  const auto ann1 = sim.connect("ann", Dial().of("acme").on(0));
  const auto ann2 = sim.connect("ann", Dial().of("acme").on(1));
  const auto bob = sim.connect("bob", Dial().of("acme").on(1));
  const auto cat = sim.connect("cat", Dial().of("ajax").on(0));
  const auto pending = sim.connect("dan", Dial().silent());
  auto& manager = sim.manager();
  CHECK(manager.send_to_user({"acme", "ann"}, json("1")) == 2);
  CHECK(manager.send_to_user({"ajax", "ann"}, json("2")) == 0);
  CHECK(manager.send_to_users({{"acme", "bob"}, {"ajax", "cat"}, {"acme", "nobody"}}, json("3")) == 2);
  CHECK(manager.send_to_tenant("acme", json("4")) == 3);
  CHECK(manager.send_to_all(json("5")) == 4);
  CHECK(manager.send_to_user({"acme", "bob"}, json("6"), Delivery::reliable()) == 1);
  sim.run();
  CHECK(directs(ann1) == Texts{"1", "4", "5"});
  CHECK(directs(ann2) == Texts{"1", "4", "5"});
  CHECK(directs(bob) == Texts{"3", "4", "5", "6"});
  CHECK(directs(cat) == Texts{"3", "5"});
  CHECK(pending.log().empty());
}

TEST_CASE("clients may send to users only where that is allowed", "[sending]") {
  Options options;
  SECTION("off") {
    CheckedSim sim(options);
    const auto ann = sim.connect("ann");
    const auto bob = sim.connect("bob");
    ann.say("send", R"({"user":"bob","data":1})");
    sim.run();
    CHECK_FALSE(ann.error().empty());
    CHECK(bob.count("direct") == 0);
  }
  SECTION("on, within the tenant") {
    options.allow_send = true;
    CheckedSim sim(options);
    const auto ann = sim.connect("ann", Dial().of("acme"));
    const auto bob = sim.connect("bob", Dial().of("acme"));
    const auto other = sim.connect("bob", Dial().of("ajax"));
    ann.say("send", R"({"user":"bob","data":{"x":1}})");
    sim.run();
    REQUIRE(bob.last("direct"));
    CHECK(bob.last("direct")->value("data") == R"({"x":1})");
    CHECK(bob.last("direct")->value("from") == R"({"connection":")" + to_string(ann.id()) + R"(","user":"ann"})");
    CHECK(other.count("direct") == 0);
    REQUIRE(ann.reply());
    CHECK(ann.reply()->number("delivered") == 1);
  }
}

TEST_CASE("text and binary payloads travel in the protocol's form", "[sending]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  (void)sim.manager().send(ann.id(), text("say \"hi\""));
  sim.run();
  CHECK(directs(ann) == Texts{R"("say \"hi\"")"});
}

TEST_CASE("lookups answer unknown ids with nothing and create nothing", "[lookups]") {
  CheckedSim sim;
  auto& manager = sim.manager();
  CHECK_FALSE(manager.find(ConnectionId(1)));
  CHECK_FALSE(manager.contains(ConnectionId()));
  CHECK(manager.connections_in({"", "r"}).empty());
  CHECK(manager.connections_of({"", "ann"}).empty());
  CHECK(manager.connections_of_tenant("acme").empty());
  CHECK(manager.connection_count({"", "ann"}) == 0);
  CHECK_FALSE(manager.is_online({"", "ann"}));
  CHECK(manager.online_users("acme").empty());
  CHECK(manager.room({"", "r"})->size() == 0);
  CHECK(manager.room({"", "r"})->members().empty());
  CHECK_FALSE(manager.remove(ConnectionId(9)));
  CHECK_FALSE(manager.kick(ConnectionId(9), "", false));
  CHECK(manager.room_count() == 0);
  CHECK(manager.metrics().users == 0);
  bool told = false;
  manager.explain(ConnectionId(9), [&told](std::optional<Explanation> story) { told = !story; });
  sim.run();
  CHECK(told);
}

TEST_CASE("lookups by id, user, tenant, room, all by pages in a stable order", "[lookups]") {
  CheckedSim sim({}, 2);
  std::vector<Client> clients;
  for (std::size_t i = 0; i < 25; ++i) {
    clients.push_back(sim.connect("u" + std::to_string(i % 5), Dial().of(i < 10 ? "acme" : "ajax").on(i % 2)));
  }
  clients[0].join("r");
  clients[1].join("r");
  sim.run();
  auto& manager = sim.manager();
  CHECK(manager.find(clients[3].id())->user == "u3");
  CHECK(manager.find(clients[3].id())->tenant == "acme");
  CHECK(manager.find(clients[3].id())->status == ConnectionStatus::connected);
  CHECK(manager.connections_of({"acme", "u3"}).size() == 2);
  CHECK(manager.connections_of({"ajax", "u3"}).size() == 3);
  CHECK(manager.connections_of_tenant("acme").size() == 10);
  CHECK(manager.connections_in({"acme", "r"}).size() == 2);
  CHECK(manager.connections_in({"ajax", "r"}).empty());
  CHECK(manager.connection_count() == 25);
  CHECK(manager.online_users("acme") == Texts{"u0", "u1", "u2", "u3", "u4"});
  CHECK(manager.metrics().users == 10);

  std::vector<ConnectionId> seen;
  ConnectionId after;
  for (;;) {
    const auto page = manager.connections(after, 10);
    if (page.empty()) break;
    CHECK(page.size() <= 10);
    for (const auto& info : page) {
      CHECK(after < info.id);
      after = info.id;
      seen.push_back(info.id);
    }
  }
  CHECK(seen.size() == 25);
}

TEST_CASE("a handler serves a type of the embedder's: it gets the raw payload and may reply", "[handlers]") {
  CheckedSim sim;
  std::string got;
  sim.manager().on("move", [&got](Connection& connection, const Payload& payload) {
    got = std::string(payload.view());
    connection.publish("r", payload);
  });
  sim.manager().on("sum", [](Connection& connection, const Payload&) {
    connection.reply(json("42"));
    connection.reply(json("43"));
  });
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("r");
  bob.join("r");
  sim.run();
  ann.say("move", R"({"x": 1.50})");
  sim.run();
  CHECK(got == R"({"x": 1.50})");
  CHECK(ann.reply()->type() == "ack");
  CHECK(bob.messages("r").size() == 1);
  CHECK(ann.messages("r").empty());
  ann.say("sum", "{}");
  sim.run();
  CHECK(ann.reply());
  CHECK(sim.authorizer->last.action == Action::custom);
  CHECK(sim.authorizer->last.target == "sum");
  ann.say("unheard_of", "{}");
  sim.run();
  CHECK(ann.error() == "unknown_message");
}

TEST_CASE("a handler that throws closes that connection 1011, nothing else notices", "[handlers]") {
  CheckedSim sim;
  sim.manager().on("boom", [](Connection&, const Payload&) { throw std::runtime_error("boom"); });
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.say("boom", "{}");
  sim.run();
  CHECK(ann.close_code() == 1011);
  CHECK(bob.is_open());
  CHECK(sim.manager().metrics().callback_failures == 1);
  CHECK(sim.manager().connection_count() == 1);
}

TEST_CASE("hooks are registered before the first open, later is a logic error", "[handlers]") {
  CheckedSim sim;
  sim.connect("ann");
  CHECK_THROWS_AS(sim.manager().on_connected(nullptr), std::logic_error);
  CHECK_THROWS_AS(sim.manager().on_slow([](Connection&, const Slow&) {}), std::logic_error);
}

TEST_CASE("explain tells one connection's story", "[observing]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann", Dial().from(RemoteAddress::v4(10, 0, 0, 1)));
  ann.join("r");
  sim.advance(3s);
  std::optional<Explanation> story;
  sim.manager().explain(ann.id(), [&story](std::optional<Explanation> told) { story = std::move(told); });
  sim.run();
  REQUIRE(story);
  CHECK(story->info.user == "ann");
  CHECK(story->info.rooms == Texts{"r"});
  CHECK(story->info.remote_address == "10.0.0.1");
  CHECK(story->protocol == "muster.v1.json");
  CHECK(story->counters.messages_in == 1);
  CHECK(story->counters.bytes_in > 10);
  CHECK(story->counters.bytes_out > 10);
  CHECK(story->since_last_inbound == 3s);
  CHECK_FALSE(story->behind);
  CHECK_FALSE(story->close_reason);
}

TEST_CASE("metrics count what happened and what is there", "[observing]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("r").aware("r", "{}", 1);
  bob.join("r");
  sim.run();
  ann.publish("r", "1").publish("nowhere", "2");
  sim.run();
  bob.hang_up();
  sim.run();
  const Metrics metrics = sim.manager().metrics();
  CHECK(metrics.connections == 1);
  CHECK(metrics.connections_total == 2);
  CHECK(metrics.reserved == 1);
  CHECK(metrics.users == 1);
  CHECK(metrics.rooms == 1);
  CHECK(metrics.awareness_entries == 1);
  CHECK(metrics.messages_in == 5);
  CHECK(metrics.deliveries == 1);
  CHECK(metrics.errors == 1);
  CHECK(metrics.closed[static_cast<std::size_t>(CloseReason::normal)] == 1);
  CHECK(metrics.writes > 0);
  CHECK(metrics.bytes_out > metrics.writes);
}

TEST_CASE("every write is counted: each batch of a long queue, and the last one before a close", "[observing]") {
  CheckedSim sim;
  sim.manager().on("bye", [](Connection& who, const Payload&) { who.close(CloseReason::normal); });
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  sim.run();
  const auto writes = bob.pipe().writes();
  const Payload large = json('"' + std::string(100'000, 'x') + '"');
  for (int i = 0; i < 4; ++i) CHECK(sim.manager().send(bob.id(), large));
  sim.run();
  CHECK(bob.pipe().writes() == writes + 2);
  ann.say("session_info", "{}").say("bye", "{}");  // the answer leaves with the close
  sim.run();
  CHECK(ann.close_code() == 1000);
  const Metrics metrics = sim.manager().metrics();
  CHECK(metrics.writes == ann.pipe().writes() + bob.pipe().writes());
  CHECK(metrics.bytes_out == ann.pipe().bytes() + bob.pipe().bytes());
}

TEST_CASE("make_connection_manager names every problem", "[options]") {
  Options options;
  options.auth_timeout = 0s;
  options.unsent_soft_bytes = options.unsent_hard_bytes + 1;
  Schedule schedule(1, 1);
  const auto authenticator = std::make_shared<ScriptedAuthenticator>(schedule);
  const auto authorizer = std::make_shared<ScriptedAuthorizer>(schedule);
  const Components json_only{{std::make_shared<JsonProtocol>()}, nullptr, nullptr, nullptr, nullptr, std::nullopt};
  const auto message = [](auto make) {
    try {
      make();
    } catch (const std::invalid_argument& problem) {
      return std::string(problem.what());
    }
    return std::string();
  };
  const auto both = message([&] { (void)make_connection_manager(options, authenticator, authorizer, json_only); });
  CHECK(both.find("auth_timeout") != std::string::npos);
  CHECK(both.find("unsent_soft_bytes") != std::string::npos);
  CHECK_FALSE(message([&] { (void)make_connection_manager({}, nullptr, authorizer, json_only); }).empty());
  CHECK_FALSE(message([&] { (void)make_connection_manager({}, authenticator, nullptr, json_only); }).empty());
  CHECK_FALSE(message([&] { (void)make_connection_manager({}, authenticator, authorizer, {}); }).empty());
}

}  // namespace
TEST_CASE("the authorizer is asked about the room, the user or the type that the command names", "[sending]") {
  Options options;
  options.allow_send = true;
  CheckedSim sim(options);
  sim.manager().on("sum", [](Connection&, const Payload&) {});
  const auto ann = sim.connect("ann");
  const auto asked = [&](Action action) {
    sim.run();
    CHECK(sim.authorizer->last.action == action);
    CHECK(sim.authorizer->last.identity->user == "ann");
    return sim.authorizer->last.target;
  };
  ann.join("r");
  CHECK(asked(Action::join) == "r");
  ann.publish("r", "1");
  CHECK(asked(Action::publish) == "r");
  ann.aware("r", "{}", 1);
  CHECK(asked(Action::awareness) == "r");
  ann.say("awareness_query", R"({"room": "r"})");
  CHECK(asked(Action::query) == "r");
  ann.say("send", R"({"user": "bob", "data": 1})");
  CHECK(asked(Action::send) == "bob");
  ann.say("presence_query", R"({"users": ["cat"]})");
  CHECK(asked(Action::query) == "cat");
  ann.say("presence_query", R"({"room": "r"})");
  CHECK(asked(Action::query) == "r");
  ann.say("sum", "{}");
  CHECK(asked(Action::custom) == "sum");
}

}  // namespace muster::test
