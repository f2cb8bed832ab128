// The work whose cost has a budget, in phases. callgrind counts the instructions of each phase; allocations, writes and
// bytes are counted here and printed as JSON. Nothing in it is random.
#include <valgrind/callgrind.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "support/counted_allocations.hpp"
#include "support/crowd.hpp"

namespace muster::test {
namespace {

constexpr std::size_t turns = 10;
constexpr std::size_t batch = 10;  ///< publishes in a turn of the batched phases
constexpr std::size_t newcomers = 200;
constexpr std::size_t decodes = 200;

const std::string publish = R"({"type":"publish","payload":{"room":"hall","data":")" + std::string(128, 'x') + "\"}}";
const std::string aware =
    R"({"type":"awareness_update","payload":{"room":"hall","clock":1,"state":{"cursor":{"x":100,"y":200}}}})";

struct Scene {
  SteppedCrowd& crowd;
  std::size_t first = 0;  ///< of the newcomers
};

void print(const char* name, double value) { std::printf("  \"%s\": %.10g,\n", name, value); }

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "scenario: %s\n", what);
  std::exit(1);
}

void publish_turns(Scene& scene, std::size_t publishes) {
  for (std::size_t turn = 0; turn < turns; ++turn) {
    for (std::size_t i = 0; i < publishes; ++i) scene.crowd.say(scene.crowd.peers.front(), publish);
    scene.crowd.run();
  }
}
void newcomers_say(Scene& scene, std::string_view what) {
  for (std::size_t i = scene.first; i < scene.first + newcomers; ++i) scene.crowd.say(scene.crowd.peers[i], what);
  scene.crowd.run();
}

struct Rise {
  Allocations before = allocations();
  [[nodiscard]] double calls() const { return static_cast<double>(allocations().calls - before.calls); }
  [[nodiscard]] double bytes() const { return static_cast<double>(allocations().bytes_in_use - before.bytes_in_use); }
};

/// Runs a phase, and has callgrind write down what it cost, by its name.
template <class Work>
void phase(const char* name, Work work) {
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_ZERO_STATS;
  work();
  CALLGRIND_DUMP_STATS_AT(name);
  CALLGRIND_STOP_INSTRUMENTATION;
}

/// Allocations of the phase with one publish a turn.
double publishing(Scene& scene, const char* one, const char* batched) {
  publish_turns(scene, 1);  // what is kept from turn to turn is there
  publish_turns(scene, 1);
  const Rise rise;
  phase(one, [&] { publish_turns(scene, 1); });
  const double calls = rise.calls();
  const std::uint64_t before = scene.crowd.writes();
  phase(batched, [&] { publish_turns(scene, batch); });
  require(scene.crowd.writes() - before == turns * (scene.crowd.peers.size() - 1),
          "each member but the publisher was to get one write a turn, however many messages");
  return calls;
}

/// Connections that come, do everything once and go, in a room of so many others.
void come_and_go(Scene& scene) {
  SteppedCrowd& crowd = scene.crowd;
  const auto room = crowd.manager->room({"", "hall"});
  const std::size_t members = room->size();
  scene.first = crowd.peers.size();
  crowd.peers.reserve(scene.first + newcomers);

  const Rise connect;
  phase("connect", [&] {
    for (std::size_t i = 0; i < newcomers; ++i) {
      crowd.peers.push_back(crowd.open(crowd.executor, "newcomer-" + std::to_string(i)));
    }
    crowd.run();
  });
  print("allocations_per_connect", connect.calls() / newcomers);
  const Rise join;
  phase("join", [&] { newcomers_say(scene, join_hall); });
  print("allocations_per_join", join.calls() / newcomers);
  require(room->size() == members + newcomers, "everybody was to join");
  crowd.settle();
  const double bytes = connect.bytes() / newcomers;
  const Rise transport;
  const auto one = std::make_shared<CountingTransport>();
  print("bytes_per_connection", bytes - transport.bytes());

  phase("awareness_update", [&] { newcomers_say(scene, aware); });
  require(crowd.manager->awareness().size() == newcomers, "everybody was to have a state");
  crowd.settle();
  const Rise leave;
  phase("leave", [&] { newcomers_say(scene, leave_hall); });
  print("allocations_per_leave", leave.calls() / newcomers);
  require(room->size() == members, "the newcomers were to leave");
  crowd.settle();

  newcomers_say(scene, join_hall);
  crowd.settle();
  phase("disconnect", [&] {
    for (std::size_t i = scene.first; i < scene.first + newcomers; ++i) crowd.hang_up(crowd.peers[i]);
    crowd.run();
  });
  crowd.peers.resize(scene.first);
  require(crowd.manager->connection_count() == members, "the newcomers were to be gone");
}

/// Rooms of one member each, in which nothing was published.
void make_rooms() {
  constexpr int rooms = 2000;
  SteppedCrowd crowd;
  crowd.add(1);
  const auto each = [&](const char* command) {
    for (int i = 0; i < rooms; ++i) {
      crowd.say(crowd.peers.front(),
                std::string(R"({"type":")") + command + R"(","payload":{"room":"room-)" + std::to_string(i) + R"("}})");
    }
    crowd.settle();
  };
  each("join");  // what tables have grown to they keep
  each("leave");
  const Rise made;
  each("join");
  require(crowd.manager->room_count() == rooms, "the rooms were to be made");
  print("bytes_per_room", made.bytes() / rooms);
}

void run() {
  Options options = Crowd::no_limits();
  options.fan_out_slice = 1'000'000;  // one slice, so that a larger room costs its members and nothing else

  double smaller = 0;
  {
    SteppedCrowd crowd(options);
    Scene scene{crowd};
    crowd.add(1000, join_hall);
    smaller = publishing(scene, "publish_1000", "batch_1000");
    come_and_go(scene);
  }
  {
    SteppedCrowd crowd(options);
    Scene scene{crowd};
    phase("storm_2000", [&] { crowd.add(2000, join_hall); });
    const double larger = publishing(scene, "publish_2000", "batch_2000");
    print("allocations_per_recipient", (larger - smaller) / (1000.0 * turns));
    print("allocations_per_publish", smaller / turns);
  }
  make_rooms();
  const JsonProtocol protocol;
  std::vector<Command> commands;
  phase("decode", [&] {
    for (std::size_t i = 0; i < decodes; ++i) {
      commands.clear();
      (void)protocol.decode(FrameKind::text, publish, {}, commands);
    }
  });
  require(commands.size() == 1, "the command was to be decoded");
}

}  // namespace
}  // namespace muster::test

int main() {
  // In a process that never had a second thread, libstdc++ counts shared pointers without atomic operations.
  std::thread([] {}).join();
  std::puts("{");
  muster::test::run();
  std::printf("  \"turns\": %zu,\n  \"batch\": %zu,\n  \"newcomers\": %zu,\n  \"decodes\": %zu\n}\n",
              muster::test::turns, muster::test::batch, muster::test::newcomers, muster::test::decodes);
}
