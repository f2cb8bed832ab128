#include "storm.hpp"

#include <algorithm>

namespace muster::bench {

Storm::Storm(const LoadOptions& options, Clients& clients) : options_(options), clients_(clients) {
  // Spread evenly: whoever stays has been there for as long as whoever goes.
  const auto before = [share = options.storm_share](std::size_t i) {
    return static_cast<std::size_t>(static_cast<double>(i) * share);
  };
  for (std::size_t i = 0; i < clients.all().size(); ++i) {
    if (before(i + 1) > before(i)) in_storm_.push_back(i);
  }
}

void Storm::run() {
  clients_.begin_storm(in_storm_);
  const auto started = Clock::now();
  const auto elapsed = [started] { return std::chrono::duration<double>(Clock::now() - started).count(); };
  if (leaves()) {
    for (const std::size_t index : in_storm_) clients_.close(index);
    while (clients_.closed() < in_storm_.size() && elapsed() < options_.deadline_seconds) clients_.poll(10);
  } else {
    for (const std::size_t index : in_storm_) clients_.cut(index);
    clients_.connect(in_storm_, [](std::size_t) {});
  }
  seconds_ = elapsed();
}

double Storm::frames_of_others() const {
  double frames = 0;
  for (const Client& client : clients_.all()) frames += client.in_storm ? 0 : static_cast<double>(client.frames);
  return frames / static_cast<double>(std::max<std::size_t>(1, clients_.all().size() - in_storm_.size()));
}

double Storm::most_frames_of_others() const {
  std::uint64_t most = 0;
  for (const Client& client : clients_.all()) most = std::max(most, client.in_storm ? 0 : client.frames);
  return static_cast<double>(most);
}

std::size_t Storm::lost() const {
  return static_cast<std::size_t>(
      std::count_if(clients_.all().begin(), clients_.all().end(), [this](const Client& client) {
        const bool is_there = client.state == Client::State::ready;
        return is_there == (client.in_storm && leaves());
      }));
}

}  // namespace muster::bench
