// What the core keeps of a connection: heap bytes, told apart by leaving parts out.
#include <string>

#include "muster/connection_manager.hpp"
#include "muster/core/connection/connection_state.hpp"
#include "report.hpp"
#include "support/allocations.hpp"
#include "support/crowd.hpp"

namespace muster::bench {
namespace {

struct Setup {
  bool sessions = true;
  bool one_user = false;
  bool joins = true;
  bool published = false;  ///< a message was written to everybody
};

/// Heap bytes of each of so many connections, without its transport and what the test itself keeps.
double bytes(std::size_t connections, Setup setup) {
  Options options = test::Crowd::no_limits();
  if (!setup.sessions) options.resume_window = std::chrono::milliseconds(0);
  test::SteppedCrowd crowd(options);
  // What the manager keeps whoever is there, and the room itself, are made by these.
  crowd.peers.reserve(connections + 1000);
  crowd.add(500, setup.joins ? test::join_hall : "");
  const auto before = test::allocations().bytes_in_use;
  for (std::size_t i = 0; i < connections; ++i) {
    crowd.peers.push_back(
        crowd.open(crowd.executor, setup.one_user ? "user" : "user-" + std::to_string(1'000'000 + i)));
    if (setup.joins) crowd.say(crowd.peers.back(), test::join_hall);
  }
  crowd.settle();
  for (int i = 0; i < 2 && setup.published; ++i) {
    crowd.manager->publish({"", "hall"}, json(R"("x")"));
    crowd.run();
  }
  const auto after = test::allocations().bytes_in_use;

  const auto before_transport = test::allocations().bytes_in_use;
  const auto transport = std::make_shared<test::CountingTransport>();
  const auto of_transport = test::allocations().bytes_in_use - before_transport;
  return static_cast<double>(after - before) / static_cast<double>(connections) - static_cast<double>(of_transport);
}

}  // namespace

void memory(Run& run) {
  const std::size_t connections = run.quick ? 2'000 : 20'000;
  const double whole = bytes(connections, {});
  const double without_room = bytes(connections, {true, false, false});
  const double without_sessions = bytes(connections, {false, false, true});
  const double one_user = bytes(connections, {true, true, true});
  const double published = bytes(connections, {true, false, true, true});
  // A state and the control block of the shared_ptr that owns it.
  const double state = static_cast<double>(sizeof(core::ConnectionState)) + 16;
  const double rest = whole - (whole - without_room) - (whole - without_sessions) - (whole - one_user) - state;

  run.report.row("bytes for a connection, authenticated and in one room", whole, "B", at_most(1300));
  run.report.row("  the connection's state", state, "B");
  run.report.row("  its place in the room", whole - without_room, "B");
  run.report.row("  its session, that it may resume", whole - without_sessions, "B");
  run.report.row("  its user, with no other connection", whole - one_user, "B");
  run.report.row("  tables, snapshot for lookups, identity, what it has to write", rest, "B");
  run.report.row("  and after messages were written to it", published - whole, "B");
  run.report.add("memory", {{"connections", static_cast<double>(connections)},
                            {"bytes_per_connection", whole},
                            {"state", state},
                            {"room", whole - without_room},
                            {"session", whole - without_sessions},
                            {"user", whole - one_user},
                            {"rest", rest},
                            {"after_messages", published - whole}});
}

}  // namespace muster::bench
