// Many WebSocket clients of one server, on one epoll set.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "frame_rate.hpp"
#include "frames.hpp"
#include "histogram.hpp"
#include "inflate.hpp"
#include "load_options.hpp"
#include "tls.hpp"

namespace muster::bench {

using Clock = std::chrono::steady_clock;

/// Data frames that carry this are deliveries, and what follows it is when they were sent, in nanoseconds.
constexpr std::string_view mark = "@@";

struct Client {
  enum class State { unconnected, upgrading, joining, ready, closed };

  int descriptor = -1;
  State state = State::unconnected;
  std::size_t room = 0;
  bool subscriber = false;
  bool stuck = false;
  bool in_storm = false;  ///< goes, or comes back: what it gets is not counted as what others are told of it
  double line_bytes = 0;  ///< read so far of what its line lets through
  std::string unread;
  std::string unsent;
  std::uint64_t deliveries = 0;
  std::uint64_t frames = 0;  ///< of text, since it was ready
  std::uint64_t pings = 0;
  TlsSession session;  ///< goes after what uses it
  Tls tls;
};

/// Deliveries to subscribers that read, and how many frames brought them.
struct Received {
  std::uint64_t deliveries = 0;
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;       ///< as they came, compressed or not
  std::uint64_t text_bytes = 0;  ///< of what they say
  Histogram latency;
};

class Clients {
 public:
  /// Keeps a reference to the options.
  explicit Clients(const LoadOptions& options);
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;
  ~Clients();

  /// Connects these, and returns once each has the answer that it waits for. `progress` is called with how many of all
  /// have. Ends the program where one is refused, or none gets any further in the time of the deadline. Those that are
  /// to be stuck read nothing after that answer.
  void connect(const std::vector<std::size_t>& which, const std::function<void(std::size_t ready)>& progress);
  void connect_all(const std::function<void(std::size_t ready)>& progress);

  /// Deals with what happens within this time; returns after the first batch of events.
  void poll(int milliseconds);

  /// Adds a message to what the next poll() sends.
  void queue(std::size_t client, std::string_view message);

  /// Says goodbye with what the next poll() sends, if it has not ended yet.
  void close(std::size_t client);
  void close_all();

  /// Drops the connection without a word, for connect() to make it anew.
  void cut(std::size_t client);

  /// Frames are counted anew, and for those that these are not: each of them gets what the others do.
  void begin_storm(const std::vector<std::size_t>& of);

  [[nodiscard]] const std::vector<Client>& all() const { return clients_; }
  [[nodiscard]] const Received& received() const { return received_; }
  /// Ended since they were ready, whoever ended them; stuck ones are not counted.
  [[nodiscard]] std::size_t closed() const { return closed_; }
  [[nodiscard]] std::size_t stuck_closed() const { return stuck_closed_; }
  /// Text frames of each one that is ready, since the start or that of the storm.
  [[nodiscard]] const FrameRate& frame_rate() const { return frame_rate_; }
  /// Handshakes that took up an earlier session.
  [[nodiscard]] std::size_t resumed() const { return resumed_; }
  /// The ports of those that are stuck.
  [[nodiscard]] std::set<unsigned> stuck_ports() const;
  /// Latency counts from now on.
  void forget_latency() { received_.latency = {}; }

 private:
  void start(std::size_t index);
  void watch(int operation, std::size_t index);
  void handle(std::size_t index, std::uint32_t events);
  void read(std::size_t index);
  void flush(std::size_t index);
  std::size_t take_upgrade(std::size_t index, std::string_view bytes);
  std::size_t take_frames(std::size_t index, std::string_view bytes);
  void take_text(std::size_t index, const Frame& frame);
  void become_ready(std::size_t index);
  void end(std::size_t index);
  void count_frames();

  const LoadOptions& options_;
  TlsContext tls_;  // none: plain
  Inflater inflater_;
  int epoll_;
  std::vector<Client> clients_;
  std::vector<std::size_t> to_flush_;
  const Clock::time_point began_ = Clock::now();
  std::vector<char> buffer_ = std::vector<char>(256 * 1024);
  std::uint64_t read_at_ = 0;
  Received received_;
  FrameRate frame_rate_;
  Clock::time_point frames_since_ = began_;
  std::uint64_t frames_ = 0;    // of those that are not in the storm
  std::size_t frames_get_ = 0;  // how many of those are ready
  std::size_t resumed_ = 0;
  std::size_t ready_ = 0;
  std::size_t closed_ = 0;
  std::size_t stuck_closed_ = 0;
};

[[nodiscard]] std::uint64_t nanoseconds_now();

/// A template for one connection.
[[nodiscard]] std::string filled_in(std::string text, std::size_t connection, std::size_t room);

}  // namespace muster::bench
