// The load client: connects to a server on this machine, publishes to it or holds its connections, and prints what that
// took as one JSON object.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "clients.hpp"
#include "load_options.hpp"
#include "process_usage.hpp"
#include "sockets.hpp"
#include "storm.hpp"
#include "workload.hpp"

namespace muster::bench {
namespace {

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// A flat JSON object of numbers; what was not measured is left out by not being added.
class Report {
 public:
  template <class Number>
  void add(const std::string& name, Number value) {
    std::string text = std::to_string(value);
    if (!std::isfinite(static_cast<double>(value))) text = "null";
    members_ += (members_.empty() ? "" : ", ") + ('"' + name + "\": ") + text;
  }
  void print() const { std::printf("{%s}\n", members_.c_str()); }

 private:
  std::string members_;
};

class Load {
 public:
  explicit Load(const LoadOptions& options) : options_(options), server_(options.server_process), clients_(options) {}

  /// Whether nothing was lost.
  bool run() {
    connect();
    const bool nothing_lost = options_.hold_seconds > 0 ? hold() : !options_.storm.empty() ? storm() : publish();
    report_.print();
    return nothing_lost;
  }

 private:
  void connect() {
    const auto count = static_cast<double>(options_.connections());
    const std::int64_t memory_before = server_.resident_bytes();
    const std::uint64_t cpu_before = server_.cpu_ns();
    const auto started = Clock::now();
    std::vector<std::pair<std::size_t, std::int64_t>> memory_at;
    clients_.connect_all([&](std::size_t ready) {
      const std::size_t next = memory_at.size();
      if (next < options_.memory_at.size() && ready >= options_.memory_at[next]) {
        memory_at.emplace_back(ready, server_.resident_bytes() - memory_before);
      }
    });
    const double seconds = seconds_since(started);
    watch();
    settle();
    memory_connected_ = server_.resident_bytes();
    report_.add("connections", options_.connections());
    report_.add("connects_per_second", count / seconds);
    report_.add("connect_cpu_us", static_cast<double>(server_.cpu_ns() - cpu_before) / 1000 / count);
    report_.add("rss_per_connection_bytes", static_cast<double>(memory_connected_ - memory_before) / count);
    report_.add("connect_frames_per_second_each", clients_.frame_rate().highest());
    for (const auto& [ready, bytes] : memory_at) report_.add("rss_bytes_at_" + std::to_string(ready), bytes);
  }

  /// For as long as what comes later still belongs to what was done.
  void watch() {
    const auto started = Clock::now();
    while (seconds_since(started) < options_.watch_seconds) clients_.poll(10);
  }

  /// Until the server has nothing more to say to the new connections, or a second at the most.
  void settle() {
    const auto started = Clock::now();
    std::uint64_t before = 0;
    for (std::uint64_t cpu = server_.cpu_ns(); cpu != before && seconds_since(started) < 1; cpu = server_.cpu_ns()) {
      before = cpu;
      for (const auto pause = Clock::now(); seconds_since(pause) < 0.02;) clients_.poll(20);
    }
  }

  bool publish() {
    Workload workload(options_, clients_);
    const std::uint64_t cpu_before = server_.cpu_ns();
    const std::set<unsigned> stuck = clients_.stuck_ports();
    std::int64_t in_kernel = 0;
    workload.run([&] {
      if (!stuck.empty()) in_kernel = std::max(in_kernel, unsent_in_kernel(options_.port, stuck));
    });
    const auto cpu_ns = static_cast<double>(server_.cpu_ns() - cpu_before);

    const Received& received = clients_.received();
    const auto deliveries = static_cast<double>(received.deliveries);
    report_.add("messages", workload.messages());
    report_.add("deliveries", received.deliveries);
    report_.add("seconds", workload.seconds());
    report_.add("deliveries_per_second", deliveries / workload.seconds());
    report_.add("cpu_us_per_delivery", cpu_ns / 1000 / deliveries);
    report_.add("cpu_ms_per_second", cpu_ns / 1e6 / workload.seconds());
    report_.add("frames_per_second_each",
                static_cast<double>(received.frames) / workload.seconds() / static_cast<double>(options_.subscribers));
    report_.add("bytes_per_delivery", static_cast<double>(received.bytes) / deliveries);
    report_.add("text_bytes_per_delivery", static_cast<double>(received.text_bytes) / deliveries);
    report_.add("bytes_per_second_each",
                static_cast<double>(received.bytes) / workload.seconds() / static_cast<double>(options_.subscribers));
    report_.add("latency_p50_us", received.latency.quantile(0.5));
    report_.add("latency_p95_us", received.latency.quantile(0.95));
    report_.add("latency_p99_us", received.latency.quantile(0.99));
    report_.add("latency_p99_9_us", received.latency.quantile(0.999));
    report_.add("latency_max_us", received.latency.max());
    report_.add("rss_growth_bytes", server_.peak_resident_bytes() - memory_connected_);
    report_.add("stuck_kernel_peak_bytes", in_kernel);
    report_.add("closed", clients_.closed());
    report_.add("stuck_closed", clients_.stuck_closed());
    report_.add("lost", workload.lost());
    report_.add("surplus", workload.surplus());
    return workload.messages() > 0 && workload.lost() == 0 && workload.surplus() == 0 && clients_.closed() == 0;
  }

  bool storm() {
    Storm storm(options_, clients_);
    const std::uint64_t cpu_before = server_.cpu_ns();
    storm.run();
    watch();
    settle();
    const auto count = static_cast<double>(storm.size());
    report_.add("storm_clients", storm.size());
    report_.add("storm_per_second", count / storm.seconds());
    report_.add("storm_cpu_us", static_cast<double>(server_.cpu_ns() - cpu_before) / 1000 / count);
    report_.add("storm_frames_per_second_each", clients_.frame_rate().highest());
    report_.add("storm_frames_each", storm.frames_of_others());
    report_.add("storm_frames_most", storm.most_frames_of_others());
    report_.add("storm_tls_resumed", clients_.resumed());
    report_.add("rss_growth_bytes", server_.peak_resident_bytes() - memory_connected_);
    report_.add("lost", storm.lost());
    return storm.lost() == 0;
  }

  bool hold() {
    const std::uint64_t cpu_before = server_.cpu_ns();
    const auto started = Clock::now();
    while (seconds_since(started) < options_.hold_seconds) clients_.poll(10);
    const auto held_cpu_us = static_cast<double>(server_.cpu_ns() - cpu_before) / 1000;
    const std::size_t lost = clients_.closed();
    std::size_t pinged = 0;
    for (const Client& client : clients_.all()) pinged += client.pings > 0 ? 1U : 0U;

    const std::uint64_t cpu_closing = server_.cpu_ns();
    const auto closing = Clock::now();
    clients_.close_all();
    while (clients_.closed() < options_.connections() && seconds_since(closing) < options_.deadline_seconds) {
      clients_.poll(10);
    }
    const auto count = static_cast<double>(options_.connections());
    report_.add("held_seconds", options_.hold_seconds);
    report_.add("held_cpu_us_per_second", held_cpu_us / options_.hold_seconds);
    report_.add("pinged", pinged);
    report_.add("lost", lost);
    report_.add("closed", clients_.closed());
    report_.add("closes_per_second", static_cast<double>(clients_.closed()) / seconds_since(closing));
    report_.add("close_cpu_us", static_cast<double>(server_.cpu_ns() - cpu_closing) / 1000 / count);
    return lost == 0 && clients_.closed() == options_.connections();
  }

  const LoadOptions& options_;
  ProcessUsage server_;
  Clients clients_;
  Report report_;
  std::int64_t memory_connected_ = 0;
};

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  muster::bench::raise_file_limit();
  const muster::bench::LoadOptions options = muster::bench::read_load_options(argc, argv);
  const bool nothing_lost = muster::bench::Load(options).run();
  return nothing_lost ? EXIT_SUCCESS : EXIT_FAILURE;
}
