// Every step of a connection's life with each of its allocations and each call of a seam failing, one by one: what is
// left is consistent, the others go on, and in the end there is nothing.
#include <array>
#include <set>
#include <stdexcept>

#include "muster/memory/loopback_broker.hpp"
#include "support/checked_sim.hpp"
#include "support/failing_allocations.hpp"

namespace muster::test {
namespace {

const std::array<const char*, 4> all_rooms = {"a", "b", "c", "a room with a name that no small string holds"};

/// Ann is what happens to; Bob on another executor and Cid on hers see it. `nodes` of two: Bob is at the other one.
struct Scene {
  Scene(bool cluster, void (*limit)(Options&)) : sim(setup(cluster, limit)) {
    IConnectionManager& manager = sim.manager();
    manager.on_connected([this](Connection&) { ++connected; });
    manager.on_disconnected([this](Connection&, CloseReason) { --connected; });
    manager.on_joined([this](Connection&, const RoomKey&, const Joining&) { ++joined; });
    manager.on_left([this](Connection&, const RoomKey&, const Leaving&) { --joined; });
    manager.on_user_online([this](const UserKey&) { ++online; });
    manager.on_user_offline([this](const UserKey&) { --online; });
    ann = sim.connect("ann", Dial().on(0));
    bob = sim.connect("bob", Dial().on(1).at(cluster ? 1 : 0));
    cid = sim.connect("cid, whose name is longer than a small string is", Dial().on(0));
    for (const char* room : {"a", "b", "c"}) {
      for (const Client& client : {*ann, *bob, *cid}) client.join(room).aware(room, "{}", 1, room + client.name());
    }
    sim.advance(1s);
  }
  static Setup setup(bool cluster, void (*limit)(Options&)) {
    Setup setup;
    if (limit != nullptr) limit(setup.options);
    setup.options.heartbeat = 0s;
    setup.options.room.history_age = 5s;
    setup.options.sweep_interval = 1h;  // what is tried again is tried before
    setup.options.presence_grace = 4s;
    setup.executors = 2;
    if (cluster) {
      setup.nodes = 2;
      setup.broker = std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{}, 1);
    }
    return setup;
  }
  [[nodiscard]] std::size_t nodes() const { return sim.broker ? 2 : 1; }

  /// Runs until what changed is told, and goes on where what is not the core's has failed.
  void run() {
    const TimePoint until = sim.now() + 60ms;
    for (bool more = true; more;) {
      try {
        sim.schedule.advance_to(until);
        more = false;
      } catch (const std::exception&) {
      }
    }
  }

  /// What must hold when time has passed for what has failed to be tried again.
  void check() {
    sim.advance(7s);
    for (const Client& client : sim.clients) {
      const std::size_t node = client.name() == "bob" ? nodes() - 1 : 0;
      if (client.is_open()) continue;
      INFO(client.name() << " has gone");
      const auto there = sim.manager(node).find(client.id());
      CHECK((!there || there->id != client.id()));
    }
    for (const char* room : {"a", "b", "c"}) {
      for (const auto& entry : sim.manager().awareness().get_all({"", room})) {
        CHECK((nodes() > 1 || sim.manager().contains(entry.owner.connection)));
      }
    }
    for (std::size_t node = 0; node < nodes(); ++node) {
      sim.manager(node).sweep_now(nullptr);
      sim.run();
      CHECK(sim.manager(node).metrics().sweep_findings == 0);
    }
    sim.advance(1s);
    // One failure closes one connection at most, beside the one that is about to end.
    CHECK((bob->is_open() || cid->is_open()));
    for (const Client& from : {*bob, *cid}) {
      if (!from.is_open()) continue;
      const std::string said = quoted("still here, says " + from.name());
      from.publish_echo("a", said);
      sim.advance(1s);
      for (const Client& to : {*bob, *cid}) {
        INFO(from.name() << " to " << to.name());
        if (to.is_open()) CHECK(sees(to, said));
      }
    }
    for (const Client& client : {*bob, *cid}) {
      if (!client.is_open()) continue;
      for (const char* room : {"a", "b", "c"}) {
        INFO(client.name() << " in " << room);
        IConnectionManager& manager = sim.manager(client.name() == "bob" ? nodes() - 1 : 0);
        Texts users;
        for (const Member& member : manager.room({"", room})->members()) users.push_back(member.user);
        std::sort(users.begin(), users.end());
        CHECK(client.members(room) == users);
        std::set<std::string> stored;
        for (const auto& entry : manager.awareness().get_all({"", room})) stored.insert(entry.client);
        std::set<std::string> seen;
        for (const auto& [name, state] : client.awareness(room)) seen.insert(name);
        CHECK(seen == stored);
        for (const auto& entry : manager.awareness().get_all({"", room})) {
          CHECK(std::count(users.begin(), users.end(), entry.owner.user) != 0);
        }
      }
    }
  }
  static bool sees(const Client& client, const std::string& said) {
    const Texts messages = client.messages("a");
    return !messages.empty() && messages.back() == said;
  }

  /// Those that are there still: a transport that could not even abort keeps its place.
  [[nodiscard]] std::size_t sockets(std::size_t node) const {
    return static_cast<std::size_t>(std::count_if(sim.clients.begin(), sim.clients.end(), [node](const Client& client) {
      return client.node() == node && client.pipe().answer() && !client.pipe().is_gone();
    }));
  }

  /// The end of a scene: everyone goes, and what is left must be nothing.
  void clear() {
    for (std::size_t node = 0; node < nodes(); ++node) {
      sim.manager(node).close_all(CloseReason::going_away, "", nullptr);
    }
    sim.advance(30s);
    CHECK(connected == 0);  // whoever was told one was told the other
    CHECK(joined == 0);
    CHECK(online == 0);
    for (std::size_t node = 0; node < nodes(); ++node) {
      INFO("node " << node);
      sim.manager(node).sweep_now(nullptr);  // of what the rooms remember
      sim.run();
      const Metrics now = sim.manager(node).metrics();
      CHECK(now.connections == 0);
      CHECK(now.pending == 0);
      CHECK(now.reserved == sockets(node));
      CHECK(now.users == 0);
      CHECK(now.rooms == 0);
      CHECK(now.sessions_held == 0);
      CHECK(now.awareness_entries == 0);
      CHECK(now.waiting_bytes == 0);
      CHECK(sim.manager(node).connections({}, 10).empty());
      for (const char* room : all_rooms) CHECK(sim.manager(node).connections_in({"", room}).empty());
    }
  }

  CheckedSim sim;
  std::optional<Client> ann;
  std::optional<Client> bob;
  std::optional<Client> cid;
  int connected = 0;
  int joined = 0;
  int online = 0;
};

struct Operation {
  const char* name;
  /// What comes before, with nothing failing.
  void (*prepare)(Scene&);
  void (*act)(Scene&);
  void (*limit)(Options&) = nullptr;
  /// What must be possible after it.
  void (*then)(Scene&) = nullptr;
};

/// Ann comes back while nobody knows yet that she had gone.
void come_back(Scene& scene) {
  const Client ghost = scene.sim.clients[0];
  scene.ann = scene.sim.dial("ann", Dial().on(1).from(RemoteAddress::v4(10, 0, 0, 1)).back_for(ghost.id()));
  scene.ann->resume_session(ghost, {"a", "b"});
}
void come_back_again(Scene& scene) {
  const bool has_ghost = scene.sim.manager().contains(scene.sim.clients[0].id());
  if (scene.ann->is_open() || !has_ghost) return;
  come_back(scene);
  scene.run();
  CHECK(scene.ann->is_open());
}

const std::vector<Operation>& operations() {
  const auto nothing = [](Scene&) {};
  static const std::vector<Operation> all = {
      {"connect", nothing, [](Scene& scene) { (void)scene.sim.dial("dan"); }},
      {"join", nothing, [](Scene& scene) { scene.ann->join(all_rooms[3]); }},
      {"join of one who left", [](Scene& scene) { scene.ann->leave("a"); }, [](Scene& scene) { scene.ann->join("a"); }},
      {"leave", nothing, [](Scene& scene) { scene.ann->leave("a"); }},
      {"leave of the last", [](Scene& scene) { scene.ann->join(all_rooms[3]).aware(all_rooms[3], "{}", 1, "own"); },
       [](Scene& scene) { scene.ann->leave(all_rooms[3]); }},
      {"resume within the grace",
       [](Scene& scene) {
         scene.ann->hang_up(CloseReason::lost);
         scene.sim.run();
         scene.ann = scene.sim.connect("ann", Dial().on(1));
       },
       [](Scene& scene) {
         scene.ann->resume_session(scene.sim.clients[0], {"a", "b"});
       }},
      {"resume after the grace",
       [](Scene& scene) {
         scene.ann->hang_up(CloseReason::lost);
         scene.sim.advance(6s);
         scene.ann = scene.sim.connect("ann", Dial().on(0));
       },
       [](Scene& scene) {
         scene.ann->resume_session(scene.sim.clients[0], {"a", "b"});
       }},
      {"resume from another connection",
       [](Scene& scene) {
         scene.ann->vanish();
         scene.ann = scene.sim.connect("ann", Dial().on(1));
       },
       [](Scene& scene) { scene.ann->resume_session(scene.sim.clients[0], {"a"}); }},
      {"return to a full server",
       [](Scene& scene) {
         while (scene.sim.manager().metrics().reserved < scene.sim.manager().options().max_connections) {
           (void)scene.sim.connect("dan");
         }
         scene.ann->vanish();
       },
       come_back, [](Options& options) { options.max_connections = 4; }, come_back_again},
      {"return of a user at its limit", [](Scene& scene) { scene.ann->vanish(); }, come_back,
       [](Options& options) { options.max_connections_per_user = 1; }, come_back_again},
      {"drop", nothing, [](Scene& scene) { scene.ann->hang_up(CloseReason::lost); }},
      {"hang up", nothing, [](Scene& scene) { scene.ann->hang_up(); }},
      {"remove", nothing, [](Scene& scene) { (void)scene.sim.manager().remove(scene.ann->id()); }},
      {"kick", nothing, [](Scene& scene) { (void)scene.sim.manager().kick(scene.ann->id(), "out", false); }},
      {"break of the protocol", nothing, [](Scene& scene) { scene.ann->binary("x"); }},
      {"publish", nothing, [](Scene& scene) { scene.ann->publish("a", "1"); }},
      {"publish with a key", nothing,
       [](Scene& scene) { scene.ann->publish("a", "1", R"(,"idempotency_key":"one")"); }},
      {"awareness", nothing, [](Scene& scene) { scene.ann->aware("a", R"({"x":1})", 2, "aann"); }},
  };
  return all;
}

/// Runs every operation with the first, second, third thing failing, until it gets by without that.
template <class Fail>
void fail_each(Fail fail, std::size_t least = 3) {
  for (const bool cluster : {false, true}) {
    for (const Operation& operation : operations()) {
      bool fired = true;
      std::size_t nth = 0;
      while (fired) {
        ++nth;
        INFO((cluster ? "in a cluster: " : "") << operation.name << ", failure " << nth);
        Scene scene(cluster, operation.limit);
        operation.prepare(scene);
        scene.sim.run();
        fired = fail(scene, nth, [&] {
          try {
            operation.act(scene);
          } catch (const std::exception&) {  // in the thread of who asked for it
          }
          scene.run();
        });
        if (operation.then != nullptr) operation.then(scene);
        // A failure late in a grace or a flush is one, too.
        scene.check();
        scene.clear();
        REQUIRE(nth < 2000);
      }
      CHECK(nth >= least);
    }
  }
}

TEST_CASE("the Nth allocation of an operation fails", "[fault]") {
  fail_each([](Scene&, std::size_t nth, const auto& act) {
    const FailingAllocation failing(nth);
    act();
    return FailingAllocation::fired();
  });
}

TEST_CASE("the Nth call of a seam, an executor or a hook throws", "[fault]") {
  fail_each([](Scene& scene, std::size_t nth, const auto& act) {
    std::size_t calls = 0;
    scene.sim.schedule.at_seam = [&calls, nth](const char* which) {
      if (++calls == nth) throw std::runtime_error(which);
    };
    act();
    scene.sim.schedule.at_seam = nullptr;
    return calls >= nth;
  });
}

TEST_CASE("the Nth call of a transport throws", "[fault]") {
  for (const auto which : {&Scene::ann, &Scene::bob, &Scene::cid}) {
    fail_each(
        [which](Scene& scene, std::size_t nth, const auto& act) {
          MemoryTransport& pipe = (scene.*which)->pipe();
          pipe.throw_at(nth);
          act();
          pipe.throw_at(0);
          return pipe.has_thrown();
        },
        1);
  }
}

}  // namespace
}  // namespace muster::test
