#include "metrics_text.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <muster/close_reason.hpp>
#include <muster/config.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace muster_server {
namespace {

class Exposition {
 public:
  void gauge(std::string_view name, std::string_view help, std::uint64_t value) {
    start(name, help, "gauge");
    line(name, "", value);
  }
  void counter(std::string_view name, std::string_view help, std::uint64_t value) {
    start(name, help, "counter");
    line(name, "", value);
  }
  /// HELP and TYPE; the lines follow.
  void start(std::string_view name, std::string_view help, std::string_view type) {
    text_.append("# HELP muster_").append(name).append(" ").append(help).append("\n# TYPE muster_").append(name);
    text_.append(" ").append(type).append("\n");
  }
  void line(std::string_view name, std::string_view labels, std::uint64_t value) {
    text_.append("muster_").append(name).append(labels).append(" ").append(std::to_string(value)).append("\n");
  }
  void reason(std::string_view name, std::string_view reason, std::uint64_t value) {
    line(name, "{reason=\"" + std::string(reason) + "\"}", value);
  }
  /// In seconds, each bucket with those below it.
  void histogram(std::string_view name, std::string_view help, const muster::Histogram& times) {
    start(name, help, "histogram");
    const std::string bucket = std::string(name) + "_bucket";
    std::uint64_t up_to = 0;
    for (std::size_t i = 0; i < times.bounds.size(); ++i) {
      up_to += times.counts[i];
      line(bucket, "{le=\"" + seconds(times.bounds[i]) + "\"}", up_to);
    }
    up_to += times.counts.back();
    line(bucket, "{le=\"+Inf\"}", up_to);
    text_.append("muster_").append(name).append("_sum ").append(seconds(times.sum)).append("\n");
    line(std::string(name) + "_count", "", up_to);
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  /// Decimal, without zeros at its end, whatever the locale.
  static std::string seconds(std::chrono::nanoseconds time) {
    std::string fraction = std::to_string(1'000'000'000 + time.count() % 1'000'000'000).substr(1);
    fraction.erase(fraction.find_last_not_of('0') + 1);
    return std::to_string(time.count() / 1'000'000'000) + (fraction.empty() ? "" : "." + fraction);
  }

  std::string text_;
};

}  // namespace

std::string metrics_text(const muster::Metrics& metrics, bool ready) {
  // Names every field, so that a new one does not compile until it has its line below.
  const auto& [connections, pending, reserved, users, rooms, awareness_entries, sessions_held, history_bytes,
               waiting_bytes, connections_total, refused_capacity, refused_per_ip, refused_rate, refused_auth,
               refused_going_away, refused_host, refused_origin, refused_path, refused_request, closed, messages_in,
               bytes_in, writes, bytes_out, deliveries, blocks, conflated, gaps, history_dropped, refused_when_full,
               errors, rate_limited, callback_failures, sweep_findings, resumes, resumes_failed, queued, queue_dropped,
               session_store_failures, lost, slowed, loop_lag, command_wait, handler_time, latest_wait] = metrics;
  Exposition out;
  out.start("build_info", "The version, as a label; always 1.", "gauge");
  out.line("build_info",
           "{version=\"" + std::to_string(MUSTER_VERSION_MAJOR) + "." + std::to_string(MUSTER_VERSION_MINOR) + "." +
               std::to_string(MUSTER_VERSION_PATCH) + "\"}",
           1);
  out.gauge("ready", "Whether new connections are taken.", ready ? 1 : 0);

  out.gauge("connections", "Authenticated connections.", connections);
  out.gauge("pending_connections", "Connections that are not authenticated yet.", pending);
  out.gauge("reserved_connections", "Sockets that count against the limit of connections.", reserved);
  out.gauge("users", "Users with at least one connection.", users);
  out.gauge("rooms", "Rooms.", rooms);
  out.gauge("awareness_entries", "Awareness entries of all rooms.", awareness_entries);
  out.gauge("history_bytes", "History and idempotency keys of all rooms.", history_bytes);
  out.gauge("waiting_bytes", "What waits for peers and executors that are behind.", waiting_bytes);

  out.gauge("sessions_held", "Dropped sessions that others still see, for their grace.", sessions_held);

  out.counter("connections_total", "Connections since the start.", connections_total);
  out.start("refused_total", "Connections refused, by reason.", "counter");
  out.reason("refused_total", "capacity", refused_capacity);
  out.reason("refused_total", "per_ip", refused_per_ip);
  out.reason("refused_total", "rate", refused_rate);
  out.reason("refused_total", "auth", refused_auth);
  out.reason("refused_total", "going_away", refused_going_away);
  out.reason("refused_total", "host", refused_host);
  out.reason("refused_total", "origin", refused_origin);
  out.reason("refused_total", "path", refused_path);
  out.reason("refused_total", "request", refused_request);
  out.start("closed_total", "Connections closed, by reason.", "counter");
  for (const auto& entry : muster::close_reasons) {
    out.reason("closed_total", entry.name, closed[static_cast<std::size_t>(entry.reason)]);
  }

  out.counter("messages_in_total", "Messages received.", messages_in);
  out.counter("bytes_in_total", "Bytes of messages received.", bytes_in);
  out.counter("writes_total", "Writes to transports.", writes);
  out.counter("bytes_out_total", "Bytes written.", bytes_out);
  out.counter("deliveries_total", "Room messages handed to a member.", deliveries);
  out.counter("blocks_total", "Batches of room messages encoded.", blocks);
  out.counter("conflated_total", "Messages that a newer one of the same key replaced.", conflated);
  out.counter("gaps_total", "Gaps told to members.", gaps);
  out.counter("history_dropped_total", "Messages that history gave up for the byte budgets.", history_dropped);
  out.counter("refused_when_full_total", "Publishes and sends refused, since too much waits.", refused_when_full);
  out.counter("errors_total", "Errors told to clients.", errors);
  out.counter("rate_limited_total", "Messages refused by a rate limit.", rate_limited);
  out.counter("callback_failures_total", "Handlers, hooks and seams that threw.", callback_failures);
  out.counter("sweep_findings_total", "What sweeps found and put right.", sweep_findings);
  out.start("resumes_total", "Sessions that came back, or tried to.", "counter");
  out.line("resumes_total", "{result=\"resumed\"}", resumes);
  out.line("resumes_total", "{result=\"failed\"}", resumes_failed);
  out.counter("queued_total", "Messages put into offline queues.", queued);
  out.counter("queue_dropped_total", "Queued messages that had to go for newer ones.", queue_dropped);
  out.counter("session_store_failures_total", "Calls that the session store did not serve.", session_store_failures);
  out.counter("lost_total", "Connections whose executor stopped under them.", lost);
  out.counter("slowed_total", "How often a connection did not keep up any more.", slowed);
  out.histogram("loop_lag_seconds", "How late an event loop ran its timers.", loop_lag);
  out.histogram("command_wait_seconds", "How long commands waited that had to.", command_wait);
  out.histogram("handler_seconds", "How long handlers and hooks ran.", handler_time);
  out.histogram("latest_wait_seconds", "How long state waited for latest_bytes_per_second.", latest_wait);
  return out.take();
}

}  // namespace muster_server
