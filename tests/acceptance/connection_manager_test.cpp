// What a connection manager must do, point by point.
#include <atomic>
#include <thread>

#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("connections are tracked by id", "[acceptance]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  CHECK(sim.manager().contains(ann.id()));
  REQUIRE(sim.manager().find(ann.id()));
  CHECK(sim.manager().find(ann.id())->user == "ann");
  CHECK(sim.manager().find(bob.id())->user == "bob");
  CHECK(sim.manager().connection_count() == 2);
  ann.hang_up();
  sim.run();
  CHECK_FALSE(sim.manager().contains(ann.id()));
  CHECK_FALSE(sim.manager().find(ann.id()));
  CHECK(sim.manager().connection_count() == 1);
}

TEST_CASE("the connection limit is enforced", "[acceptance]") {
  Options options;
  options.max_connections = 3;
  CheckedSim sim(options);
  for (int i = 0; i < 10; ++i) sim.dial("u" + std::to_string(i));
  sim.run();
  CHECK(sim.manager().connection_count() == 3);
  CHECK(sim.manager().is_full());
  CHECK(sim.manager().metrics().refused_capacity == 7);
  for (const auto& client : sim.clients) {
    if (client.is_open()) {
      client.hang_up();
      break;
    }
  }
  sim.run();
  CHECK_FALSE(sim.manager().is_full());
  CHECK(sim.connect("next").is_open());
}

TEST_CASE("connections are found by room", "[acceptance]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("canvas:1").join("canvas:2");
  bob.join("canvas:2");
  sim.run();
  const auto in = [&sim](const char* room) {
    Texts users;
    for (const auto& info : sim.manager().connections_in({"", room})) users.push_back(info.user);
    std::sort(users.begin(), users.end());
    return users;
  };
  CHECK(in("canvas:1") == Texts{"ann"});
  CHECK(in("canvas:2") == Texts{"ann", "bob"});
  CHECK(in("canvas:3").empty());
  ann.leave("canvas:2");
  sim.run();
  CHECK(in("canvas:2") == Texts{"bob"});
}

TEST_CASE("connections are found by user", "[acceptance]") {
  CheckedSim sim;
  const auto phone = sim.connect("ann");
  const auto laptop = sim.connect("ann");
  sim.connect("bob");
  CHECK(sim.manager().connections_of({"", "ann"}).size() == 2);
  CHECK(sim.manager().connection_count({"", "ann"}) == 2);
  CHECK(sim.manager().connections_of({"", "bob"}).size() == 1);
  CHECK(sim.manager().connections_of({"", "cat"}).empty());
  CHECK(sim.manager().connections_of({"elsewhere", "ann"}).empty());
}

TEST_CASE("a broadcast reaches the whole room but the excluded", "[acceptance]") {
  CheckedSim sim;
  std::vector<Client> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(sim.connect("u" + std::to_string(i)));
  const auto outside = sim.connect("outside");
  for (const auto& client : clients) client.join("r");
  sim.run();
  sim.manager().publish({"", "r"}, json("1"), Delivery::reliable(), clients[2].id());
  sim.run();
  for (std::size_t i = 0; i < clients.size(); ++i) {
    CHECK(clients[i].messages("r") == (i == 2 ? Texts{} : Texts{"1"}));
  }
  CHECK(outside.log().size() == 1);
}

TEST_CASE("every method may be called from any thread", "[acceptance]") {
  CheckedSim sim;
  std::vector<Client> clients;
  for (int i = 0; i < 8; ++i) clients.push_back(sim.connect("u" + std::to_string(i)));
  for (const auto& client : clients) client.join("r");
  sim.run();
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&sim, &clients, &stop, t] {
      auto& manager = sim.manager();
      for (std::size_t i = 0; i < 300; ++i) {
        const Client& client = clients[(i + static_cast<std::size_t>(t)) % clients.size()];
        manager.publish({"", "r"}, json("1"), Delivery::reliable(), client.id());
        (void)manager.send(client.id(), json("2"));
        (void)manager.find(client.id());
        (void)manager.connections_in({"", "r"});
        (void)manager.connections({}, 10);
        (void)manager.room({"", "r"})->members();
        (void)manager.metrics();
        if (i == 200) (void)manager.remove(clients[static_cast<std::size_t>(t)].id());
      }
      stop = true;
    });
  }
  while (!stop) sim.run();
  for (auto& thread : threads) thread.join();
  sim.run();
  CHECK(sim.manager().connection_count() == 4);
  CHECK(sim.manager().room({"", "r"})->size() == 4);
}

TEST_CASE("removing a connection cleans its subscriptions and its awareness", "[acceptance]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  for (const char* room : {"a", "b", "c"}) {
    ann.join(room).aware(room, R"({"x":1})", 1, std::string("cursor-") + room);
    bob.join(room);
  }
  sim.advance(1s);
  CHECK(sim.manager().awareness().size() == 3);
  CHECK(sim.manager().remove(ann.id()));
  sim.advance(1s);
  for (const char* room : {"a", "b", "c"}) {
    CHECK(sim.manager().connections_in({"", room}).size() == 1);
    CHECK(bob.members(room) == Texts{"bob"});
    CHECK(bob.awareness(room).empty());
    CHECK(bob.view(room).nulls_told == 1);
  }
  CHECK(sim.manager().awareness().size() == 0);
}

TEST_CASE("close_all closes everyone gracefully", "[acceptance]") {
  CheckedSim sim({}, 2);
  for (std::size_t i = 0; i < 6; ++i) sim.connect("u" + std::to_string(i), Dial().on(i % 2)).join("r");
  sim.run();
  std::optional<std::size_t> closed;
  sim.manager().close_all(CloseReason::going_away, "Maintenance", [&closed](std::size_t count) { closed = count; });
  sim.run();
  CHECK(closed == std::size_t{6});
  for (const auto& client : sim.clients) {
    CHECK(client.close_code() == 1001);
    CHECK(client.close_text() == "Maintenance");
    CHECK_FALSE(client.pipe().aborted());
    CHECK(sim.told("disconnected " + client.name() + " going_away") == 1);
  }
  CHECK(sim.is_empty());
}

TEST_CASE("a lookup never creates", "[acceptance]") {
  CheckedSim sim;
  auto& manager = sim.manager();
  for (int i = 0; i < 10; ++i) {
    const std::string name = "n" + std::to_string(i);
    (void)manager.room({"", name})->size();
    (void)manager.room({"", name})->members();
    (void)manager.room({"", name})->position();
    (void)manager.room({"", name})->counters();
    (void)manager.connections_in({"", name});
    (void)manager.connections_of({"", name});
    (void)manager.is_online({"", name});
    (void)manager.connection_count({"", name});
    (void)manager.online_users(name);
    (void)manager.find(ConnectionId(static_cast<std::uint64_t>(i)));
    (void)manager.awareness().get_all({"", name});
  }
  sim.run();
  CHECK(manager.room_count() == 0);
  CHECK(manager.metrics().users == 0);
  CHECK(manager.connection_count() == 0);
  CHECK(manager.awareness().size() == 0);
}

TEST_CASE("dead connections found in a broadcast are removed after it", "[acceptance]") {
  CheckedSim sim(without_sessions());
  std::vector<Client> clients;
  for (int i = 0; i < 6; ++i) clients.push_back(sim.connect("u" + std::to_string(i)));
  for (const auto& client : clients) client.join("r");
  sim.run();
  sim.advance(1s);
  clients[1].pipe().fail_write(1);
  clients[4].pipe().fail_write(1);
  sim.manager().publish({"", "r"}, json("1"));
  sim.run();
  for (std::size_t i : {0U, 2U, 3U, 5U}) CHECK(clients[i].messages("r") == Texts{"1"});
  CHECK(sim.manager().connection_count() == 4);
  CHECK(sim.manager().room({"", "r"})->size() == 4);
  CHECK(sim.told("disconnected u1 lost") == 1);
  CHECK(sim.told("disconnected u4 lost") == 1);
}

TEST_CASE("unregistering one device leaves the others", "[acceptance]") {
  CheckedSim sim;
  const auto phone = sim.connect("ann");
  const auto laptop = sim.connect("ann");
  const auto bob = sim.connect("bob");
  for (const auto* client : {&phone, &laptop, &bob}) client->join("r");
  phone.aware("r", "{}", 1, "phone");
  laptop.aware("r", "{}", 1, "laptop");
  sim.advance(1s);
  CHECK(sim.manager().remove(phone.id()));
  sim.advance(1s);
  CHECK(laptop.is_open());
  CHECK(sim.manager().is_online({"", "ann"}));
  CHECK(sim.told("offline ann") == 0);
  CHECK(sim.manager().connections_of({"", "ann"}).size() == 1);
  CHECK(bob.members("r") == Texts{"ann", "bob"});
  CHECK(bob.awareness("r") == States{{"laptop", "{}"}});
  (void)sim.manager().send_to_user({"", "ann"}, json("1"));
  sim.run();
  CHECK(laptop.count("direct") == 1);
}

}  // namespace
}  // namespace muster::test
