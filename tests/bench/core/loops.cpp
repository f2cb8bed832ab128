// Real threads: joins while a broadcast runs, and two loops against one.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "report.hpp"
#include "support/crowd.hpp"
#include "support/thread_executor.hpp"

namespace muster::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Loop = std::shared_ptr<test::ThreadExecutor>;

/// Runs `work` on the loop and waits for it.
template <class Work>
void on(const Loop& loop, Work work) {
  std::promise<void> done;
  require(loop->post([&] {
    work();
    done.set_value();
  }),
          "the loop was to run");
  done.get_future().wait();
}

/// A room whose members live on one or more loops, and that is broadcast to without a pause: when the last member has
/// its message, the next one is published.
class Hall {
 public:
  Hall(std::size_t members, std::size_t loop_count) {
    for (std::size_t i = 0; i < loop_count; ++i) loops.push_back(std::make_shared<test::ThreadExecutor>());
    sides_.resize(loop_count);
    for (std::size_t i = 0; i < loop_count; ++i) {
      on(loops[i], [&] {
        for (std::size_t m = 0; m < members / loop_count; ++m) {
          sides_[i].push_back(crowd.open(loops[i], "user-" + std::to_string(i) + "-" + std::to_string(m)));
          crowd.say(sides_[i].back(), test::join_hall);
        }
      });
    }
    const auto waiting = crowd.manager->room({"", "hall"});
    require(waiting->size() == members, "everybody was to join");
  }
  ~Hall() {
    stop();
    for (std::size_t i = 0; i < loops.size(); ++i) {
      on(loops[i], [&] {
        for (test::Peer& peer : sides_[i]) crowd.hang_up(peer);
      });
    }
    for (const Loop& loop : loops) loop->stop();
  }
  Hall(const Hall&) = delete;
  Hall& operator=(const Hall&) = delete;

  /// The member who joined first is served last, on each loop.
  void start() {
    for (std::size_t i = 0; i < loops.size(); ++i) {
      on(loops[i], [&] {
        sides_[i].front().transport->watch([this](const Span*, std::size_t) {
          if (++served_ % loops.size() != 0) return;
          if (++broadcasts == awaited_) {
            const std::lock_guard<std::mutex> lock(mutex_);
            reached_.notify_one();
          }
          if (running_) publish_next();
        });
      });
    }
    running_ = true;
    publish_next();
  }
  void stop() { running_ = false; }
  /// Until there were so many broadcasts.
  void wait_for(std::size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    awaited_ = count;
    require(reached_.wait_for(lock, std::chrono::minutes(1), [&] { return broadcasts >= count; }),
            "broadcasts were to go on");
  }

  test::Crowd crowd;
  std::vector<Loop> loops;
  std::atomic<std::size_t> broadcasts{0};

 private:
  void publish_next() {
    (void)loops.front()->post([this] { crowd.manager->publish({"", "hall"}, payload_); });
  }

  const Payload payload_ = json("\"" + std::string(128, 'x') + "\"");
  std::vector<std::vector<test::Peer>> sides_;
  std::atomic<std::size_t> served_{0};
  std::atomic<bool> running_{false};
  std::mutex mutex_;
  std::condition_variable reached_;
  std::atomic<std::size_t> awaited_{0};
};

/// One newcomer joins and leaves, so often and until so many broadcasts have run meanwhile; the time from the arrival of the command to the write of its answer.
Samples joins(Hall& hall, const Loop& loop, std::size_t count, std::size_t broadcasts) {
  std::mutex mutex;
  std::condition_variable wake;
  std::string_view awaited;
  Clock::time_point answered;
  test::Peer newcomer;
  on(loop, [&] {
    newcomer = hall.crowd.open(loop, "newcomer");
    newcomer.transport->watch([&](const Span* spans, std::size_t spans_count) {
      const auto now = Clock::now();
      const std::lock_guard<std::mutex> lock(mutex);
      for (std::size_t i = 0; i < spans_count && !awaited.empty(); ++i) {
        if (std::string_view(spans[i].data, spans[i].size).find(awaited) == std::string_view::npos) continue;
        awaited = {};
        answered = now;
        wake.notify_one();
      }
    });
  });
  const auto ask = [&](const char* command, std::string_view answer) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      awaited = answer;
    }
    const auto asked = Clock::now();
    (void)loop->post([&] { hall.crowd.say(newcomer, command); });
    std::unique_lock<std::mutex> lock(mutex);
    require(wake.wait_for(lock, std::chrono::seconds(10), [&] { return awaited.empty(); }), "an answer was to come");
    return std::chrono::duration<double, std::micro>(answered - asked).count();
  };
  Samples samples;
  while (samples.count() < count || hall.broadcasts < broadcasts) {
    samples.add(ask(R"({"type":"join","id":71,"payload":{"room":"hall"}})", R"("reply_to":71)"));
    (void)ask(R"({"type":"leave","id":72,"payload":{"room":"hall"}})", R"("reply_to":72)");
  }
  on(loop, [&] { hall.crowd.hang_up(newcomer); });
  return samples;
}

}  // namespace

void join_latency(Run& run) {
  const std::size_t members = run.sizes().back();
  const std::size_t count = run.quick ? 300 : 2000;
  for (const bool same_loop : {false, true}) {
    Hall hall(members, 1);
    const Loop other = std::make_shared<test::ThreadExecutor>();
    hall.start();
    Samples samples = joins(hall, same_loop ? hall.loops.front() : other, count, 20);
    const std::size_t broadcasts = hall.broadcasts;
    hall.stop();
    other->stop();
    run.report.row(
        "join p99 during a broadcast to " + std::to_string(members) + (same_loop ? ", same loop" : ", another loop"),
        samples.quantile(0.99) / 1000, "ms", at_most(1));
    run.report.row("  median", samples.median() / 1000, "ms");
    run.report.row("  longest", samples.maximum() / 1000, "ms");
    run.report.row("  broadcasts meanwhile", static_cast<double>(broadcasts), "");
    run.report.add("join_latency", {{"members", static_cast<double>(members)},
                                    {"same_loop", same_loop ? 1.0 : 0.0},
                                    {"p50_us", samples.median()},
                                    {"p99_us", samples.quantile(0.99)},
                                    {"max_us", samples.maximum()},
                                    {"joins", static_cast<double>(samples.count())},
                                    {"broadcasts", static_cast<double>(broadcasts)}});
  }
}

void two_loops(Run& run) {
  const std::size_t members = run.sizes().back();
  Samples rates[2];
  for (int turn = 0; turn < (run.quick ? 3 : 5); ++turn) {
    for (const std::size_t loops : {std::size_t{1}, std::size_t{2}}) {
      Hall hall(members, loops);
      hall.start();
      hall.wait_for(5);
      // Many short spells: on a machine with other work the best of them is what two cores can do.
      for (int spell = 0; spell < 10; ++spell) {
        const std::size_t first = hall.broadcasts;
        const auto begin = Clock::now();
        hall.wait_for(first + 2'000'000 / members);
        const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
        rates[loops - 1].add(static_cast<double>((hall.broadcasts - first) * members) / seconds);
      }
    }
  }
  const double one = rates[0].maximum();
  const double two = rates[1].maximum();
  run.report.row("deliveries/s, one loop, the best spell", one, "/s");
  run.report.row("deliveries/s, two loops, the best spell", two, "/s");
  run.report.row("  two loops against one, best of each", two / one, "x", at_least(1.8));
  run.report.row("  two loops against one, medians", rates[1].median() / rates[0].median(), "x");
  run.report.add("two_loops", {{"members", static_cast<double>(members)},
                               {"one_loop_per_s", one},
                               {"two_loops_per_s", two},
                               {"ratio", two / one},
                               {"ratio_of_medians", rates[1].median() / rates[0].median()}});
}

}  // namespace muster::bench
