// An awareness storm: 100 clients in one room, each of them changes its state 30 times a second.
#include <ctime>
#include <deque>
#include <map>
#include <string>

#include "report.hpp"
#include "support/crowd.hpp"
#include "support/frames.hpp"

namespace muster::bench {
namespace {

using std::chrono::milliseconds;
constexpr std::size_t clients = 100;
constexpr std::size_t updates_per_second = 30;

[[nodiscard]] double cpu_seconds() {
  std::timespec now{};
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Storm {
  double cpu = 0;     ///< for a second of it
  double writes = 0;  ///< a second, for each client
  Samples staleness;  ///< in milliseconds, of every update at one member
};

/// `seconds` of it on a clock that is moved from update to update. `watch`: one member reads what it gets.
Storm storm(milliseconds interval, std::size_t seconds, bool watch) {
  Options options = test::Crowd::no_limits();
  options.room.awareness_interval = interval;
  test::SteppedCrowd crowd(std::move(options));
  crowd.add(clients, R"({"type":"join","payload":{"room":"canvas"}})");

  struct Update {
    std::size_t client;
    std::uint64_t clock;
    TimePoint at;
    std::string text;
  };
  std::vector<Update> updates;
  const std::size_t count = clients * updates_per_second * seconds;
  const auto start = crowd.executor->now();
  for (std::size_t i = 0; i < count; ++i) {  // spread evenly, each client at its own moment of the 33 ms
    const std::size_t client = i * 37 % clients;
    const std::uint64_t clock = i / clients + 1;
    const auto at = start + std::chrono::nanoseconds(1'000'000'000ULL * i / (clients * updates_per_second));
    updates.push_back({client, clock, at,
                       R"({"type":"awareness_update","payload":{"room":"canvas","client":"c)" + std::to_string(client) +
                           R"(","clock":)" + std::to_string(clock) + R"(,"state":{"cursor":{"x":)" +
                           std::to_string(i % 1920) + R"(,"y":)" + std::to_string(i % 1080) + "}}}}"});
  }

  Storm result;
  std::map<std::string, std::deque<std::pair<std::uint64_t, TimePoint>>> untold;
  test::FrameReader reader;
  if (watch) {
    crowd.peers.front().transport->watch([&](const Span* spans, std::size_t spans_count) {
      std::vector<test::Frame> frames;
      for (std::size_t i = 0; i < spans_count; ++i) reader.feed({spans[i].data, spans[i].size}, frames);
      for (const test::Frame& frame : frames) {
        const test::Told told(frame.payload);
        if (told.type() != "awareness_update") continue;
        for (const auto* state : told.list("states")) {
          auto& waiting = untold[test::Told::text(*state, "client")];
          const std::uint64_t clock = test::Told::number(*state, "clock");
          for (; !waiting.empty() && waiting.front().first <= clock; waiting.pop_front()) {
            const auto age = crowd.executor->now() - waiting.front().second;
            result.staleness.add(std::chrono::duration<double, std::milli>(age).count());
          }
        }
      }
    });
  }

  const std::uint64_t writes = crowd.writes();
  const double begin = cpu_seconds();
  for (const Update& update : updates) {
    crowd.executor->advance_to(update.at);
    if (watch) untold["c" + std::to_string(update.client)].emplace_back(update.clock, update.at);
    crowd.say(crowd.peers[update.client], update.text);
    crowd.run();
  }
  crowd.executor->advance_to(start + std::chrono::seconds(seconds));
  result.cpu = (cpu_seconds() - begin) / static_cast<double>(seconds);
  result.writes = static_cast<double>(crowd.writes() - writes) / static_cast<double>(clients * seconds);
  crowd.settle();
  for (const auto& [client, waiting] : untold) require(waiting.empty(), "every state was to be told");
  require(crowd.manager->awareness().size() == clients, "every client was to have a state");
  return result;
}

}  // namespace

void awareness(Run& run) {
  constexpr milliseconds batch(50);
  const std::size_t seconds = run.quick ? 2 : 10;
  Storm watched = storm(batch, seconds, true);
  Samples batched;
  Samples unbatched;
  double unbatched_writes = 0;
  for (int i = 0; i < (run.quick ? 3 : 7); ++i) {
    batched.add(storm(batch, seconds, false).cpu);
    const Storm one_by_one = storm(milliseconds(0), run.quick ? 1 : 2, false);
    unbatched.add(one_by_one.cpu);
    unbatched_writes = one_by_one.writes;
  }
  run.report.row("awareness storm, writes to each client, 50 ms batches", watched.writes, "/s", at_most(20));
  run.report.row("  one by one", unbatched_writes, "/s");
  run.report.row("awareness storm, p99 staleness", watched.staleness.quantile(0.99), "ms",
                 at_most(static_cast<double>(batch.count()) + 10));
  run.report.row("awareness storm, CPU for a second, 50 ms batches", batched.minimum() * 1000, "ms");
  run.report.row("  one by one", unbatched.minimum() * 1000, "ms");
  run.report.row("  batches against one by one", unbatched.minimum() / batched.minimum(), "x", at_least(8));
  run.report.add("awareness", {{"clients", static_cast<double>(clients)},
                               {"updates_per_s", static_cast<double>(updates_per_second)},
                               {"interval_ms", static_cast<double>(batch.count())},
                               {"writes_per_client_per_s", watched.writes},
                               {"writes_per_client_per_s_unbatched", unbatched_writes},
                               {"staleness_p50_ms", watched.staleness.median()},
                               {"staleness_p99_ms", watched.staleness.quantile(0.99)},
                               {"staleness_max_ms", watched.staleness.maximum()},
                               {"cpu_ms_per_s", batched.minimum() * 1000},
                               {"cpu_ms_per_s_unbatched", unbatched.minimum() * 1000},
                               {"cpu_ratio", unbatched.minimum() / batched.minimum()}});
}

}  // namespace muster::bench
