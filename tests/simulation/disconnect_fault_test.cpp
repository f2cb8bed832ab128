// A disconnect with each of its operations failing, one by one: nothing of it may be left behind.
#include <stdexcept>

#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

/// A scene in which a disconnect has much to do: two executors, three rooms, awareness, messages on their way.
struct Scene {
  Scene() : sim(options(), 2) {
    ann = sim.connect("ann", Dial().on(0));
    bob = sim.connect("bob", Dial().on(1));
    for (const char* room : {"a", "b", "c"}) {
      ann->join(room).aware(room, "{}", 1, std::string("ann-") + room);
      bob->join(room).aware(room, "{}", 1, std::string("bob-") + room);
    }
    sim.advance(1s);
    bob->stall();
    for (int i = 0; i < 5; ++i) ann->publish("a", std::to_string(i));
    sim.run();
  }
  static Options options() {
    Options options = without_sessions();
    options.heartbeat = 0s;
    options.room.history_age = 5s;
    options.sweep_interval = 2s;
    return options;
  }
  /// The end of a scene: everyone goes, and what is left must be nothing.
  void clear() {
    sim.hook = nullptr;
    sim.manager().close_all(CloseReason::going_away, "", nullptr);
    sim.advance(30s);
    sim.manager().sweep_now(nullptr);
    sim.run();
    const Metrics now = sim.manager().metrics();
    CHECK(now.connections == 0);
    CHECK(now.pending == 0);
    CHECK(now.reserved == 0);
    CHECK(now.users == 0);
    CHECK(now.rooms == 0);
    CHECK(now.awareness_entries == 0);
    CHECK(sim.manager().connections({}, 10).empty());
    for (const char* room : {"a", "b", "c"}) CHECK(sim.manager().connections_in({"", room}).empty());
  }
  CheckedSim sim;
  std::optional<Client> ann;
  std::optional<Client> bob;
};

/// What makes `ann` go.
const std::vector<std::pair<const char*, std::function<void(Scene&)>>>& causes() {
  static const std::vector<std::pair<const char*, std::function<void(Scene&)>>> all = {
      {"the peer closes", [](Scene& scene) { scene.ann->hang_up(); }},
      {"the peer is lost", [](Scene& scene) { scene.ann->hang_up(CloseReason::lost); }},
      {"the server removes it", [](Scene& scene) { (void)scene.sim.manager().remove(scene.ann->id()); }},
      {"the server kicks it", [](Scene& scene) { (void)scene.sim.manager().kick(scene.ann->id(), "out", false); }},
      {"it breaks the protocol", [](Scene& scene) { scene.ann->binary("x"); }},
      {"close_all", [](Scene& scene) { scene.sim.manager().close_all(CloseReason::going_away, "", nullptr); }}};
  return all;
}

TEST_CASE("a disconnect in which the Nth write fails leaves nothing", "[fault]") {
  for (const auto& [name, cause] : causes()) {
    for (std::size_t nth = 1; nth <= 6; ++nth) {
      for (const bool at_ann : {true, false}) {
        INFO(name << ", write " << nth << (at_ann ? " to the one that goes" : " to the one that stays"));
        Scene scene;
        (at_ann ? scene.ann : scene.bob)->pipe().fail_write(nth);
        cause(scene);
        scene.bob->resume();
        scene.sim.advance(1s);
        CHECK_FALSE(scene.sim.manager().contains(scene.ann->id()));
        CHECK(scene.sim.told("connected ann") == 1);
        CHECK(scene.sim.manager().connections_of({"", "ann"}).empty());
        scene.clear();
      }
    }
  }
}

TEST_CASE("a disconnect in which the Nth hook throws leaves nothing, and every other hook is called", "[fault]") {
  for (const auto& [name, cause] : causes()) {
    for (int nth = 1; nth <= 6; ++nth) {
      INFO(name << ", hook " << nth);
      Scene scene;
      int calls = 0;
      scene.sim.forget_story();
      scene.sim.hook = [&calls, nth](const std::string&, Connection*) {
        if (++calls == nth) throw std::runtime_error("a hook of the embedder fails");
      };
      cause(scene);
      scene.sim.run();
      CHECK(calls >= 5);  // three rooms, on_disconnected, on_user_offline
      CHECK(scene.sim.manager().metrics().callback_failures == (nth <= calls ? 1U : 0U));
      CHECK(scene.sim.told("offline ann") == 1);
      CHECK_FALSE(scene.sim.manager().contains(scene.ann->id()));
      scene.clear();
    }
  }
}

TEST_CASE("a disconnect in which the Nth post finds an executor stopped leaves nothing", "[fault]") {
  for (const auto& [name, cause] : causes()) {
    for (const std::size_t where : {0U, 1U}) {
      for (std::size_t nth = 1; nth <= 40; ++nth) {
        INFO(name << ", post " << nth << " to executor " << where);
        Scene scene;
        auto& executor = scene.sim.schedule.executors[where];
        executor->fail_post(nth);
        cause(scene);
        scene.bob->resume();
        scene.sim.advance(1s);
        const bool stopped = executor->loop().is_stopped();
        scene.clear();
        CHECK(scene.sim.manager().metrics().lost <= 2);
        if (!stopped) break;  // it takes fewer posts than that
      }
    }
  }
}

TEST_CASE("a disconnect of a connection on a stopped executor takes the five steps all the same", "[fault]") {
  Scene scene;
  scene.bob->resume();
  scene.sim.run();
  scene.ann->executor()->loop().stop();
  (void)scene.sim.manager().remove(scene.ann->id());
  scene.sim.advance(5s);
  CHECK_FALSE(scene.sim.manager().contains(scene.ann->id()));
  for (const char* room : {"a", "b", "c"}) {
    CHECK(scene.bob->members(room) == Texts{"bob"});
    CHECK(scene.bob->awareness(room) == States{{std::string("bob-") + room, "{}"}});
    CHECK(scene.bob->view(room).nulls_told == 1);
  }
  CHECK(scene.sim.manager().metrics().lost == 1);
  scene.clear();
}

}  // namespace
}  // namespace muster::test
