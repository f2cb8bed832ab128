// Document sync, 2 of 3: what happens when a connection ends, step by step.
//
// | requirement | test |
// | --- | --- |
// | the five steps, in their order | the five steps come in order, every part of each |
// | 1. receiving stops | step 1: nothing is received any more, and nothing that waited runs |
// | 1. the state is set | step 1: the state is disconnecting before anybody is told |
// | 1. the heartbeat stops | step 1: no heartbeat any more, and none that is missed |
// | 2. subscribers removed, the coordinator told | step 2: the coordinator is told of every document, once, with the reason |
// | 3. awareness removed, 4. null broadcast | steps 3 and 4: every document's subscribers are told null, once, at clock + 1 |
// | 5. buffers and pending work released | step 5: unsent bytes and unanswered questions are released |
// | 5. out of the registry | step 5: no lookup finds it, and its place is free |
// | the final state | the final state is disconnected, and stays |
// | a lost connection may come back | a lost connection's documents wait for the grace, then the same steps are told |
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

const Texts documents{"doc:a", "doc:b", "doc:c"};

/// What an embedder keeps of its own: who works on which document, as the hooks tell it.
class Coordinator {
 public:
  void attach(IConnectionManager& manager) {
    manager.on_joined(
        [this](Connection& who, const RoomKey& document, const Joining&) { working_[document.name].insert(who.id()); });
    manager.on_left([this](Connection& who, const RoomKey& document, const Leaving& leaving) {
      const auto& reason = leaving.reason;
      working_[document.name].erase(who.id());
      told.push_back(document.name + " " + who.identity().user + (reason ? " " + std::string(to_string(*reason)) : ""));
    });
  }
  [[nodiscard]] bool knows(ConnectionId id) const {
    return std::any_of(working_.begin(), working_.end(), [id](const auto& one) { return one.second.count(id) != 0; });
  }
  Texts told;

 private:
  std::map<std::string, std::set<ConnectionId>> working_;
};

/// Ann works on every document, bob watches; no session is kept unless said, so that every end is told at once.
struct Scene {
  explicit Scene(Options options = without_sessions()) : sim(options) {
    coordinator.attach(sim.manager());
    sim.manager().on("break", [](Connection&, const Payload&) { throw std::runtime_error("a bug of the embedder"); });
    sim.authenticator->decide = [this](const Credentials& credentials) -> Authentication {
      auto who = ScriptedAuthenticator::judge(credentials.token);
      if (who && expires) who.value().expires_at = sim.schedule.executors[0]->wall_now() + *expires;
      return who;
    };
    bob.emplace(sim.connect("bob"));
    expires = ann_expires;
    ann.emplace(sim.connect("ann"));
    for (const auto& document : documents) {
      ann->subscribe(document).aware(document, R"({"cursor":1})", 7, "ann-" + document);
      bob->subscribe(document);
    }
    sim.advance(1s);
    connection = ann->pipe().connection();
    sim.forget_story();
  }
  /// Lets time pass for everyone but ann, who says nothing.
  void wait(std::chrono::seconds time) {
    for (; time > 0s; time -= 1s) {
      sim.advance(1s);
      bob->pong();
    }
  }
  static constexpr std::chrono::seconds ann_expires{120};

  Coordinator coordinator;
  std::optional<std::chrono::seconds> expires;
  CheckedSim sim;
  std::optional<Client> ann;
  std::optional<Client> bob;
  std::shared_ptr<Connection> connection;
};

struct Cause {
  const char* name;
  CloseReason reason;
  std::function<void(Scene&)> happen;
};

/// Every way to go.
const std::vector<Cause>& causes() {
  static const std::vector<Cause> all{
      {"the client closes", CloseReason::normal, [](Scene& s) { s.ann->hang_up(); }},
      {"the client reloads", CloseReason::going_away, [](Scene& s) { s.ann->hang_up(CloseReason::going_away); }},
      {"the socket breaks", CloseReason::lost, [](Scene& s) { s.ann->hang_up(CloseReason::lost); }},
      {"a write fails", CloseReason::lost,
       [](Scene& s) {
         s.ann->pipe().fail_write(1);
         s.ann->say("ping", "{}");
       }},
      {"the heartbeat is not answered", CloseReason::heartbeat_timeout,
       [](Scene& s) {
         s.ann->vanish();
         s.wait(45s);
       }},
      {"the credentials end", CloseReason::auth_required,
       [](Scene& s) {
         for (int second = 0; second < 150; ++second) {
           s.wait(1s);
           s.ann->pong();
         }
       }},
      {"the server removes it", CloseReason::policy,
       [](Scene& s) { (void)s.sim.manager().remove(s.ann->id(), CloseReason::policy); }},
      {"it is kicked", CloseReason::kicked, [](Scene& s) { (void)s.sim.manager().kick(s.ann->id(), "out", false); }},
      {"its credentials are revoked", CloseReason::revoked,
       [](Scene& s) { (void)s.sim.manager().revoke(s.ann->id()); }},
      {"it breaks the protocol", CloseReason::unsupported_data, [](Scene& s) { s.ann->binary("x"); }},
      {"a handler throws", CloseReason::internal_error, [](Scene& s) { s.ann->say("break", "{}"); }}};
  return all;
}

/// Ann's connection has ended by this cause, and nothing of it is left to be done.
struct Ended : Scene {
  explicit Ended(const Cause& cause) {
    cause.happen(*this);
    wait(6s);
  }
};

TEST_CASE("the five steps come in order, every part of each", "[acceptance][document_sync]") {
  Scene scene;
  auto& manager = scene.sim.manager();
  Texts seen;
  scene.sim.hook = [&](const std::string& line, Connection* connection) {
    if (connection == nullptr) return;
    std::size_t subscribed = 0;
    for (const auto& document : documents) subscribed += manager.connections_in({"", document}).size() - 1;
    seen.push_back(line + ": " + std::string(to_string(connection->status())) + ", in " + std::to_string(subscribed) +
                   ", " + std::to_string(manager.awareness().size()) + " states, " +
                   (scene.ann->pipe().closing() ? "close frame sent" : "no close frame") + ", " +
                   (manager.contains(connection->id()) ? "registered" : "not registered"));
  };
  CHECK(manager.remove(scene.ann->id(), CloseReason::policy));
  scene.sim.advance(1s);
  // 1 is over when 2 begins: the state is set. 2 is a document at a time. 3 and 4 come after 2, 5 after them.
  CHECK(seen == Texts{"left ann doc:c policy: disconnecting, in 2, 3 states, no close frame, registered",
                      "left ann doc:b policy: disconnecting, in 1, 3 states, no close frame, registered",
                      "left ann doc:a policy: disconnecting, in 0, 3 states, no close frame, registered",
                      "disconnected ann policy: disconnecting, in 0, 0 states, close frame sent, not registered"});
  CHECK(scene.connection->status() == ConnectionStatus::disconnected);
}

TEST_CASE("step 1: nothing is received any more, and nothing that waited runs", "[acceptance][document_sync]") {
  Scene scene;
  auto& sim = scene.sim;
  sim.authorizer->answer = Answer::never();
  scene.ann->publish("doc:a", R"("asked about")").publish("doc:a", R"("waits")").subscribe("doc:d");
  sim.run();
  REQUIRE(sim.authorizer->withheld.count() == 1);
  const auto told = scene.ann->log().size();
  sim.hook = [&](const std::string&, Connection* connection) {  // in each step, something comes in
    if (connection != nullptr) {
      sim.manager().received(*connection, FrameKind::text, R"({"type":"ping","id":1})");
      sim.manager().received(*connection, FrameKind::text, R"({"type":"join","id":2,"payload":{"room":"doc:d"}})");
    }
  };
  (void)sim.manager().remove(scene.ann->id());
  sim.run();
  sim.authorizer->answer = Answer::now();
  sim.authorizer->withheld.release();  // the answer comes too late
  sim.run();
  CHECK(scene.ann->log().size() == told);
  CHECK(scene.bob->count("message") == 0);
  CHECK(sim.told("joined ann doc:d") == 0);
  CHECK(sim.manager().room_count() == documents.size());
}

TEST_CASE("step 1: the state is disconnecting before anybody is told", "[acceptance][document_sync]") {
  for (const Cause& cause : causes()) {
    INFO(cause.name);
    Scene scene;
    std::size_t hooks = 0;
    scene.sim.hook = [&](const std::string&, Connection* connection) {
      if (connection == nullptr) return;
      ++hooks;
      CHECK(connection->status() == ConnectionStatus::disconnecting);
    };
    cause.happen(scene);
    scene.sim.run();
    CHECK(hooks == documents.size() + 1);
    scene.sim.hook = nullptr;
  }
}

TEST_CASE("step 1: no heartbeat any more, and none that is missed", "[acceptance][document_sync]") {
  Options options = without_sessions();
  options.heartbeat = 1s;  // several would be due while the socket waits for the peer to answer the close frame
  options.pong_timeout = 500ms;
  const bool awaiting_pong = GENERATE(false, true);
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  while (ann.pings() == 0) sim.advance(100ms);
  if (!awaiting_pong) ann.pong();
  sim.run();
  const auto connection = ann.pipe().connection();
  const auto pings = ann.pings();
  ann.stall();
  CHECK(sim.manager().remove(ann.id(), CloseReason::policy));
  sim.run();
  const auto posts = ann.executor()->posts();
  sim.advance(4s);
  CHECK_FALSE(ann.pipe().is_gone());
  CHECK(ann.executor()->posts() <= posts + 1);  // the wake-up that was asked for before, and none after it
  CHECK(connection->counters().unsent_bytes == 0);
  ann.resume();
  sim.run();
  CHECK(ann.pings() == pings);
  CHECK(ann.close_code() == 1008);
  CHECK(sim.manager().metrics().closed[static_cast<std::size_t>(CloseReason::heartbeat_timeout)] == 0);
}

TEST_CASE("step 2: the coordinator is told of every document, once, with the reason", "[acceptance][document_sync]") {
  for (const Cause& cause : causes()) {
    INFO(cause.name);
    Scene scene;
    CHECK(scene.coordinator.knows(scene.ann->id()));
    cause.happen(scene);
    scene.sim.advance(1s);
    std::sort(scene.coordinator.told.begin(), scene.coordinator.told.end());
    Texts expected;
    for (const auto& document : documents) {
      expected.push_back(document + " ann " + std::string(to_string(cause.reason)));
      CHECK(scene.sim.manager().connections_in({"", document}).size() == 1);
    }
    CHECK(scene.coordinator.told == expected);
    CHECK_FALSE(scene.coordinator.knows(scene.ann->id()));
    CHECK(scene.coordinator.knows(scene.bob->id()));
    CHECK(scene.sim.told("disconnected ann " + std::string(to_string(cause.reason))) == 1);
  }
}

TEST_CASE("steps 3 and 4: every document's subscribers are told null, once, at clock + 1",
          "[acceptance][document_sync]") {
  for (const Cause& cause : causes()) {
    INFO(cause.name);
    Scene scene;
    for (const auto& document : documents) CHECK(scene.bob->awareness(document).size() == 1);
    cause.happen(scene);
    scene.sim.advance(1s);
    CHECK(scene.sim.manager().awareness().size() == 0);
    for (const auto& document : documents) {
      const auto& view = scene.bob->view(document);
      CHECK(view.awareness.empty());
      CHECK(view.nulls_told == 1);
      CHECK(view.nulls == std::map<std::string, std::uint64_t>{{"ann-" + document, 8}});
    }
  }
}

TEST_CASE("step 5: unsent bytes and unanswered questions are released", "[acceptance][document_sync]") {
  Scene scene;
  auto& sim = scene.sim;
  scene.ann->stall();
  for (int i = 0; i < 20; ++i) {
    (void)sim.manager().send(scene.ann->id(), json(quoted(std::string(1000, 'x'))));
    sim.run();
  }
  const std::size_t unsent = scene.connection->counters().unsent_bytes;
  CHECK(unsent > 20'000);
  sim.authorizer->answer = Answer::never();
  for (int i = 0; i < 5; ++i) scene.ann->publish("doc:a", "1");
  sim.run();
  std::size_t waiting = 0;
  sim.manager().explain(scene.ann->id(), [&](const auto& story) { waiting = story->waiting_commands; });
  sim.run();
  CHECK(waiting > 0);

  (void)sim.manager().remove(scene.ann->id());
  sim.run();
  // What the transport holds it may still read; all that was behind it is gone.
  CHECK(scene.connection->counters().unsent_bytes < unsent / 10);
  sim.advance(5s);  // the close frame is not answered, and the socket is cut
  CHECK(scene.connection->counters().unsent_bytes == 0);
  CHECK(scene.ann->count("direct") == 0);
  const std::weak_ptr<Connection> kept = std::exchange(scene.connection, nullptr);
  CHECK(kept.expired());  // the question that was never answered does not keep it
  sim.authorizer->answer = Answer::now();
}

TEST_CASE("step 5: no lookup finds it, and its place is free", "[acceptance][document_sync]") {
  for (const Cause& cause : causes()) {
    INFO(cause.name);
    Ended scene(cause);
    auto& manager = scene.sim.manager();
    const auto id = scene.ann->id();
    CHECK_FALSE(manager.contains(id));
    CHECK_FALSE(manager.find(id));
    CHECK(manager.connections_of({"", "ann"}).empty());
    CHECK(manager.connection_count({"", "ann"}) == 0);
    CHECK_FALSE(manager.is_online({"", "ann"}));
    CHECK(manager.online_users("") == Texts{"bob"});
    CHECK(manager.connections({}, 10).size() == 1);
    CHECK(manager.connection_count() == 1);
    CHECK(manager.metrics().reserved == 1);
    CHECK(manager.metrics().users == 1);
    std::optional<bool> explained;
    manager.explain(id, [&explained](const auto& story) { explained = story.has_value(); });
    scene.sim.run();
    CHECK(explained == false);
  }
}

TEST_CASE("the final state is disconnected, and stays", "[acceptance][document_sync]") {
  for (const Cause& cause : causes()) {
    INFO(cause.name);
    Ended scene(cause);
    auto& manager = scene.sim.manager();
    const auto id = scene.ann->id();
    CHECK(scene.connection->status() == ConnectionStatus::disconnected);
    scene.sim.forget_story();
    CHECK_FALSE(manager.remove(id));
    CHECK_FALSE(manager.kick(id, "again", false));
    CHECK(manager.revoke(id) == 0);
    CHECK(manager.send(id, json("1")) == 0);
    manager.received(*scene.connection, FrameKind::text, R"({"type":"ping","id":1})");
    manager.writable(*scene.connection);
    manager.fail(*scene.connection, CloseReason::policy, "");
    manager.closed(*scene.connection, CloseReason::lost);
    scene.sim.run();
    CHECK(scene.connection->status() == ConnectionStatus::disconnected);
    CHECK(scene.sim.story().empty());
    CHECK(manager.metrics().closed[static_cast<std::size_t>(cause.reason)] == 1);
  }
}

TEST_CASE("a lost connection's documents wait for the grace, then the same steps are told",
          "[acceptance][document_sync]") {
  Scene scene{Options{}};
  scene.ann->hang_up(CloseReason::lost);
  scene.sim.run();
  // The coordinator is about connections, and hears at once; who works on the document sees a reload as nothing.
  CHECK(scene.coordinator.told.size() == documents.size());
  CHECK_FALSE(scene.sim.manager().contains(scene.ann->id()));
  scene.wait(9s);
  for (const auto& document : documents) {
    CHECK(scene.bob->awareness(document).size() == 1);
    CHECK(scene.sim.manager().room({"", document})->size() == 2);
  }
  scene.wait(2s);
  for (const auto& document : documents) {
    CHECK(scene.bob->awareness(document).empty());
    CHECK(scene.bob->view(document).nulls_told == 1);
    CHECK(scene.sim.manager().room({"", document})->size() == 1);
  }
  CHECK(scene.coordinator.told.size() == documents.size());
  CHECK(scene.sim.told("offline ann") == 1);
}

}  // namespace
}  // namespace muster::test
