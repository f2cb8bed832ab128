// Connections of which nothing is heard but their answers to heartbeats.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "report.hpp"
#include "support/crowd.hpp"

namespace muster::bench {

/// A loop that looks at its timers every millisecond: each of its tasks is one hitch for whoever waits behind it.
void idle(Run& run) {
  const std::size_t count = run.quick ? 10'000 : 100'000;
  constexpr std::chrono::seconds heartbeat{30};
  Options options = test::Crowd::no_limits();
  options.heartbeat = heartbeat;
  test::SteppedCrowd crowd(options);
  crowd.add(count, test::join_hall);
  const auto answer_all = [&] {
    for (const test::Peer& peer : crowd.peers) crowd.manager->received(*peer.connection, FrameKind::pong, {});
  };
  for (int i = 0; i < 30; ++i) {  // all have been asked once
    crowd.executor->advance(std::chrono::seconds(1));
    answer_all();
  }
  Samples hitches;
  double asking = 0, answering = 0;
  const std::uint64_t before = crowd.writes();
  for (int second = 0; second < heartbeat.count(); ++second) {
    for (int i = 0; i < 1000; ++i) {
      crowd.executor->clock()->move_to(crowd.executor->now() + std::chrono::milliseconds(1));
      for (bool more = true; more;) {
        const double took = nanoseconds([&] { more = crowd.executor->run_one(); });
        hitches.add(took);
        asking += took;
      }
    }
    answering += nanoseconds(answer_all);
  }
  const auto beats = static_cast<double>(crowd.writes() - before);
  require(beats >= static_cast<double>(count) * 0.99, "everybody was to be asked");
  require(crowd.manager->connection_count() == count, "nobody was to be lost");
  // Each answer is taken once a second, that of a beat and 29 that nobody asked for: a thirtieth is one beat's.
  const double each = (asking + answering / heartbeat.count()) / beats;
  const std::string of = "a heartbeat of " + std::to_string(count) + " idle connections, ping and pong";
  run.report.row(of, each / 1000, "us", at_most(0.5));
  run.report.row("  of that the asking", asking / beats / 1000, "us");
  run.report.row("  longest of a loop's tasks", hitches.maximum() / 1e6, "ms", at_most(1));
  run.report.row("  99.9 % of them", hitches.quantile(0.999) / 1e6, "ms");
  run.report.add("idle", {{"connections", static_cast<double>(count)},
                          {"us_per_beat", each / 1000},
                          {"longest_ms", hitches.maximum() / 1e6}});
}

}  // namespace muster::bench
