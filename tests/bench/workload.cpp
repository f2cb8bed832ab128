#include "workload.hpp"

#include <algorithm>
#include <cmath>

namespace muster::bench {

Workload::Workload(const LoadOptions& options, Clients& clients)
    : options_(options), clients_(clients), readers_(options.rooms), room_messages_(options.rooms) {
  const std::size_t payload = options.publish.find("%d");
  const std::string before = options.publish.substr(0, payload);
  const std::string after = payload == std::string::npos ? "" : options.publish.substr(payload + 2);
  for (std::size_t i = 0; i < clients.all().size(); ++i) {
    const Client& client = clients.all()[i];
    if (client.subscriber && !client.stuck) ++readers_[client.room];
    const bool publishes = options.publishers > 0 ? !client.subscriber : !client.stuck;
    if (publishes) {
      publishers_.push_back({i, client.room, filled_in(before, i, client.room), filled_in(after, i, client.room)});
    }
  }
}

void Workload::run(const std::function<void()>& look) {
  const auto started = Clock::now();
  const auto elapsed = [started] { return std::chrono::duration<double>(Clock::now() - started).count(); };
  double last_progress = 0;
  double looked = 0;
  bool measuring = options_.last_seconds == 0;
  bool sending = true;
  // Each client its own: one that got a message twice does not stand for one that still waits.
  const auto all_arrived = [this] {
    return (clients_.received().deliveries >= expected_ && lost() == 0) || options_.conflated;
  };
  while (sending || !all_arrived()) {
    sending = sending && elapsed() < options_.seconds && (options_.messages == 0 || messages_ < options_.messages);
    if (sending) send_due(elapsed());
    const std::uint64_t before = clients_.received().deliveries;
    clients_.poll(1);
    if (elapsed() - looked > 0.25) {
      looked = elapsed();
      look();
    }
    if (!measuring && elapsed() > options_.seconds - options_.last_seconds) {
      measuring = true;
      clients_.forget_latency();
    }
    if (clients_.received().deliveries > before || all_arrived()) {
      last_progress = elapsed();
    } else if (elapsed() - last_progress > options_.deadline_seconds) {
      break;
    }
  }
  seconds_ = last_progress;
}

void Workload::send_due(double elapsed) {
  const std::uint64_t limit = options_.messages == 0 ? ~std::uint64_t{0} : options_.messages;
  if (options_.rate > 0) {
    double sending_time = elapsed;
    if (options_.burst_seconds > 0) {
      const double period = 2 * options_.burst_seconds;
      const double into_period = std::fmod(elapsed, period);
      sending_time = (elapsed - into_period) / 2 + std::min(into_period, options_.burst_seconds);
    }
    const auto due = static_cast<std::uint64_t>(sending_time * options_.rate) + 1;
    while (messages_ < std::min(due, limit)) send_next();
  } else {
    const auto outstanding = [this] { return expected_ - std::min(expected_, clients_.received().deliveries); };
    const auto next = [this] { return readers_[publishers_[messages_ % publishers_.size()].room]; };
    while (messages_ < limit && outstanding() + next() <= options_.window * next()) send_next();
  }
}

void Workload::send_next() {
  const Publisher& publisher = publishers_[messages_ % publishers_.size()];
  std::string payload(mark);
  payload += std::to_string(nanoseconds_now()) + " ";
  if (payload.size() < options_.size) payload.append(options_.size - payload.size(), 'x');
  ++messages_;
  std::string text = publisher.before_payload + payload + publisher.after_payload;
  if (const std::size_t at = text.find("%n"); at != std::string::npos) text.replace(at, 2, std::to_string(messages_));
  clients_.queue(publisher.client, text);
  ++room_messages_[publisher.room];
  expected_ += readers_[publisher.room];
}

std::uint64_t Workload::lost() const {
  if (options_.conflated) return 0;
  std::uint64_t lost = 0;
  for (const Client& client : clients_.all()) {
    if (!client.subscriber || client.stuck) continue;
    lost += room_messages_[client.room] - std::min(room_messages_[client.room], client.deliveries);
  }
  return lost;
}

std::uint64_t Workload::surplus() const {
  if (options_.conflated) return 0;
  std::uint64_t surplus = 0;
  for (const Client& client : clients_.all()) {
    if (!client.subscriber || client.stuck) continue;
    surplus += client.deliveries - std::min(room_messages_[client.room], client.deliveries);
  }
  return surplus;
}

}  // namespace muster::bench
