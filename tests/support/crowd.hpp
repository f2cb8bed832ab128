// Crowd: a manager and as many connections as wanted, whose transports count what is written and keep nothing.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/auth/allow_all.hpp"
#include "muster/auth/callback_authenticator.hpp"
#include "muster/connection_manager.hpp"
#include "muster/protocols/json_protocol.hpp"
#include "muster/testing/manual_executor.hpp"

namespace muster::test {

/// Takes everything at once, like a socket whose peer keeps up, at no cost of its own.
class CountingTransport final : public Transport {
 public:
  [[nodiscard]] WriteResult write(const Span* spans, std::size_t count) override {
    ++writes;
    for (std::size_t i = 0; i < count; ++i) bytes += spans[i].size;
    if (on_write) (*on_write)(spans, count);
    return WriteResult::done;
  }
  void close(std::uint16_t, std::string_view) override {}
  void abort() override {}
  void pause_reading(bool) override {}

  std::uint64_t writes = 0;
  std::uint64_t bytes = 0;
  /// Sees each write; must not call the manager.
  using Seen = std::function<void(const Span*, std::size_t)>;
  void watch(Seen seen) { on_write = std::make_unique<Seen>(std::move(seen)); }

 private:
  std::unique_ptr<Seen> on_write;
};

inline constexpr const char* join_hall = R"({"type":"join","id":1,"payload":{"room":"hall"}})";
inline constexpr const char* leave_hall = R"({"type":"leave","id":2,"payload":{"room":"hall"}})";

struct Peer {
  std::shared_ptr<CountingTransport> transport;
  std::shared_ptr<Connection> connection;
};

/// Everybody may do everything, the token is the user, and no limit stands in the way.
class Crowd {
 public:
  [[nodiscard]] static Options no_limits() {
    Options options;
    options.max_connections = options.max_connections_per_ip = options.connect_rate_per_ip = 0;
    options.message_rate = options.byte_rate = options.frame_rate = 0;
    options.room.room_capacity = options.rooms_per_connection = options.rooms_created_per_minute = 0;
    options.room.awareness_entries = 0;
    options.heartbeat = std::chrono::milliseconds(0);
    return options;
  }

  explicit Crowd(Options options = no_limits(),
                 std::shared_ptr<const Protocol> protocol = std::make_shared<JsonProtocol>()) {
    Components components;
    components.protocols = {std::move(protocol)};
    components.random_seed = 1;
    manager = make_connection_manager(
        std::move(options), callback_authenticator([](const Credentials& credentials, Reply<Authentication> done) {
          done(accept(credentials.token));
        }),
        std::make_shared<AllowAll>(), std::move(components));
  }

  /// On the executor.
  [[nodiscard]] Peer open(const std::shared_ptr<Executor>& on, std::string user) const {
    Peer peer;
    peer.transport = std::make_shared<CountingTransport>();
    OpenRequest request;
    request.token = std::move(user);
    request.token_source = TokenSource::authorization_header;
    manager->open(std::move(request), peer.transport, on,
                  [&peer](const Decision& decision) { peer.connection = decision.connection; });
    if (!peer.connection) throw std::runtime_error("a connection was refused");
    return peer;
  }
  /// On the peer's executor: one text message from it.
  void say(const Peer& peer, std::string_view message) const {
    manager->received(*peer.connection, FrameKind::text, message);
  }
  /// On the peer's executor: its socket is gone.
  void hang_up(Peer& peer) const {
    manager->closed(*peer.connection, CloseReason::normal);
    peer = {};
  }

  std::shared_ptr<IConnectionManager> manager;
};

/// A Crowd on one loop, in one thread, on a clock that stands still until it is moved.
class SteppedCrowd : public Crowd {
 public:
  explicit SteppedCrowd(Options options = no_limits(),
                        std::shared_ptr<const Protocol> protocol = std::make_shared<JsonProtocol>())
      : Crowd(std::move(options), std::move(protocol)) {}
  ~SteppedCrowd() {
    for (Peer& peer : peers) hang_up(peer);
    executor->run_ready();
  }
  SteppedCrowd(const SteppedCrowd&) = delete;
  SteppedCrowd& operator=(const SteppedCrowd&) = delete;

  /// "user-0", "user-1" and so on; each says `first`.
  void add(std::size_t count, std::string_view first = {}) {
    peers.reserve(peers.size() + count);
    for (std::size_t i = 0; i < count; ++i) {
      peers.push_back(open(executor, "user-" + std::to_string(peers.size())));
      if (!first.empty()) say(peers.back(), first);
    }
    settle();
  }
  void run() { executor->run_ready(); }
  /// Until everybody knows who is there.
  void settle() { executor->advance(std::chrono::seconds(1)); }
  [[nodiscard]] std::uint64_t writes() const {
    std::uint64_t sum = 0;
    for (const Peer& peer : peers) sum += peer.transport ? peer.transport->writes : 0;
    return sum;
  }

  const std::shared_ptr<ManualExecutor> executor = std::make_shared<ManualExecutor>();
  std::vector<Peer> peers;
};

}  // namespace muster::test
