#include "workload.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>

namespace muster::bench {
namespace {

/// What a program's state looks like: the same words in every object, and numbers that no two have in common. Not the
/// same from one message to the next.
std::string json_payload(const std::string& time, std::size_t size, std::uint32_t seed) {
  constexpr std::array<const char*, 4> kinds{"rectangle", "ellipse", "arrow", "text"};
  std::minstd_rand random(seed + 1);
  std::string text = R"({"at":")" + time + R"(","shapes":[)";
  constexpr std::string_view last = R"({}],"rest":""})";
  for (;;) {
    const std::string shape = R"({"id":")" + std::to_string(random()) + R"(","kind":")" + kinds[random() % 4] +
                              R"(","x":)" + std::to_string(random() % 2000) + R"(,"y":)" +
                              std::to_string(random() % 2000) + R"(,"locked":false},)";
    if (text.size() + shape.size() + last.size() > size) break;
    text += shape;
  }
  text += R"({}],"rest":")";
  if (text.size() + 2 < size) text.append(size - text.size() - 2, '.');
  return text + R"("})";
}

}  // namespace

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

std::string Workload::payload() const {
  const std::string time = std::string(mark) + std::to_string(nanoseconds_now());
  if (options_.json) return json_payload(time, options_.size, static_cast<std::uint32_t>(messages_));
  std::string payload = time + " ";
  if (payload.size() < options_.size) payload.append(options_.size - payload.size(), 'x');
  return payload;
}

void Workload::send_next() {
  const Publisher& publisher = publishers_[messages_ % publishers_.size()];
  ++messages_;
  std::string text = publisher.before_payload + payload() + publisher.after_payload;
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
