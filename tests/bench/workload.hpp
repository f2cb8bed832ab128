// Publishes as the options say, and counts what has to arrive for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "clients.hpp"
#include "load_options.hpp"

namespace muster::bench {

class Workload {
 public:
  /// Keeps references to both. The clients are connected.
  Workload(const LoadOptions& options, Clients& clients);

  /// Returns once all that was sent was delivered, or nothing more has come in the time of the deadline. Conflated
  /// messages are waited for no longer than they are sent. `look` is called a few times a second.
  void run(const std::function<void()>& look);

  [[nodiscard]] std::uint64_t messages() const { return messages_; }
  /// From the first message sent to the last one delivered.
  [[nodiscard]] double seconds() const { return seconds_; }
  /// Of what subscribers that read should have got. 0 of conflated messages, and so for `surplus`.
  [[nodiscard]] std::uint64_t lost() const;
  /// What they got beyond that.
  [[nodiscard]] std::uint64_t surplus() const;

 private:
  struct Publisher {
    std::size_t client;
    std::size_t room;
    std::string before_payload;
    std::string after_payload;
  };

  [[nodiscard]] std::string payload() const;
  void send_next();
  void send_due(double elapsed);

  const LoadOptions& options_;
  Clients& clients_;
  std::vector<Publisher> publishers_;
  std::vector<std::uint64_t> readers_;  // per room
  std::vector<std::uint64_t> room_messages_;
  std::uint64_t messages_ = 0;
  std::uint64_t expected_ = 0;  // deliveries
  double seconds_ = 0;
};

}  // namespace muster::bench
