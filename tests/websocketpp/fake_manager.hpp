// FakeManager: the core as one adapter's tests need it: it keeps what it was asked, and answers as the test says.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/connection_manager.hpp"
#include "muster/memory/memory_awareness_store.hpp"

namespace muster::test {

class FakeConnection final : public Connection {
 public:
  FakeConnection(ConnectionId id, RemoteAddress address) : id_(id), address_(std::move(address)) {}
  [[nodiscard]] ConnectionId id() const noexcept override { return id_; }
  [[nodiscard]] ConnectionStatus status() const noexcept override { return ConnectionStatus::connected; }
  [[nodiscard]] const Identity& identity() const noexcept override { return identity_; }
  [[nodiscard]] const RemoteAddress& remote_address() const noexcept override { return address_; }
  [[nodiscard]] std::vector<std::string> rooms() const override { return {}; }
  [[nodiscard]] Counters counters() const noexcept override { return {}; }
  void send(const Payload&) override {}
  void publish(std::string_view, const Payload&) override {}
  void reply(const Payload&) override {}
  void close(CloseReason, std::string_view) override {}

 private:
  const ConnectionId id_;
  const RemoteAddress address_;
  const Identity identity_;
};

/// Threads: many loops may call it; what it keeps is read under its lock, by the methods below.
class FakeManager final : public IConnectionManager, public std::enable_shared_from_this<FakeManager> {
 public:
  explicit FakeManager(Options options = {}) : options_(std::move(options)) {}

  /// What a test decides of. Set before the first connection.
  std::function<Decision(const OpenRequest&)> decide;  ///< none: accepted
  bool hold = false;                                   ///< answers wait for `answer`
  bool echo = false;                                   ///< each text or binary message is written back
  std::function<void(Transport&)> on_open;             ///< in a task after the answer
  std::function<void(Connection&, FrameKind, std::string_view)> on_received;
  std::size_t places = 1000;
  Error full{errc::unavailable, "The server is full", std::chrono::seconds(7)};

  struct Seen {
    OpenRequest request;
    std::shared_ptr<Transport> transport;
    std::shared_ptr<Executor> executor;
    std::shared_ptr<Connection> connection;
    std::vector<std::pair<FrameKind, std::string>> messages;
    std::vector<CloseReason> failures;
    std::vector<CloseReason> closings;
    std::size_t writables = 0;
    std::size_t fragments = 0;
    bool open = false;
    OpenDone done;
    std::uint64_t opening = 0;
    std::string batch;
  };

  template <class Read>
  auto with(Read read) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return read(seen_);
  }
  [[nodiscard]] std::size_t count() {
    return with([](auto& seen) { return seen.size(); });
  }
  [[nodiscard]] std::size_t messages(std::size_t i = 0) {
    return with([i](auto& seen) { return i < seen.size() ? seen[i]->messages.size() : 0; });
  }
  [[nodiscard]] std::string message(std::size_t which, std::size_t i = 0) {
    return with([&](auto& seen) { return seen.at(i)->messages.at(which).second; });
  }
  [[nodiscard]] std::vector<CloseReason> closings(std::size_t i = 0) {
    return with([i](auto& seen) { return i < seen.size() ? seen[i]->closings : std::vector<CloseReason>{}; });
  }
  [[nodiscard]] std::vector<CloseReason> failures(std::size_t i = 0) {
    return with([i](auto& seen) { return i < seen.size() ? seen[i]->failures : std::vector<CloseReason>{}; });
  }
  [[nodiscard]] std::size_t reserved() const { return *reserved_; }
  [[nodiscard]] std::size_t cancelled() const { return cancelled_; }
  /// The addresses that places were asked for.
  [[nodiscard]] std::vector<std::string> asked_for() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return asked_for_;
  }

  /// On the executor. Answers a held opening.
  void answer(std::size_t i, Decision decision) {
    auto seen = with([i](auto& all) { return all.at(i); });
    OpenDone done = std::move(seen->done);
    seen->done = nullptr;
    if (done) finish(*seen, std::move(done), std::move(decision));
  }
  [[nodiscard]] static Decision accepted() {
    Decision decision;
    decision.accepted = true;
    return decision;
  }
  [[nodiscard]] static Decision refused(CloseReason reason, Error error) {
    Decision decision;
    decision.reason = reason;
    decision.error = std::move(error);
    return decision;
  }

  /// On the executor. Writes one batch whose bytes stay valid until they are through.
  WriteResult write(std::size_t i, std::string bytes, std::size_t spans = 1) {
    auto seen = with([i](auto& all) { return all.at(i); });
    seen->batch = std::move(bytes);
    std::vector<Span> parts;
    const std::size_t each = seen->batch.size() / spans;
    for (std::size_t at = 0, n = 0; n < spans; ++n, at += each) {
      parts.push_back({seen->batch.data() + at, n + 1 == spans ? seen->batch.size() - at : each});
    }
    return seen->transport->write(parts.data(), parts.size());
  }

  // IConnectionManager, as adapters call it.

  [[nodiscard]] const Options& options() const noexcept override { return options_; }
  [[nodiscard]] Reservation reserve(const RemoteAddress& address, TimePoint) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    asked_for_.push_back(address.text);
    if (*reserved_ >= places) return {CloseReason::over_capacity, full};
    ++*reserved_;
    return Reservation(Function<void()>([reserved = reserved_] { --*reserved; }));
  }
  std::uint64_t open(OpenRequest request, std::shared_ptr<Transport> transport, std::shared_ptr<Executor> executor,
                     OpenDone done) override {
    auto seen = std::make_shared<Seen>();
    seen->request = std::move(request);
    seen->transport = std::move(transport);
    seen->executor = std::move(executor);
    if (hold) seen->done = std::move(done);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      seen_.push_back(seen);
      seen->opening = seen_.size();
    }
    if (hold) return seen->opening;
    finish(*seen, std::move(done), decide ? decide(seen->request) : accepted());
    return 0;
  }
  void cancel_open(const std::shared_ptr<Executor>&, std::uint64_t opening) override {
    ++cancelled_;
    auto seen = with([opening](auto& all) { return all.at(opening - 1); });
    seen->done = nullptr;
    seen->transport.reset();
    seen->request.reservation.release();
  }
  void received(Connection& connection, FrameKind kind, std::string_view bytes) override {
    const auto i = static_cast<std::size_t>(connection.id().value() - 1);
    if (kind == FrameKind::continuation) {
      with([&](auto& seen) { ++seen[i]->fragments; });
      return;
    }
    with([&](auto& seen) { seen[i]->messages.emplace_back(kind, std::string(bytes)); });
    if (on_received) on_received(connection, kind, bytes);
    if (echo && (kind == FrameKind::text || kind == FrameKind::binary)) {
      std::string frame;
      WebSocketFormat{}.append(kind, bytes, frame);
      (void)write(i, std::move(frame));
    }
  }
  void writable(Connection& connection) override {
    with([&](auto& seen) { ++seen[static_cast<std::size_t>(connection.id().value() - 1)]->writables; });
  }
  void closed(Connection& connection, CloseReason cause) override {
    auto seen = with([&](auto& all) {
      auto& one = all[static_cast<std::size_t>(connection.id().value() - 1)];
      one->closings.push_back(cause);
      one->open = false;
      return one;
    });
    seen->transport.reset();
    seen->connection.reset();
    seen->request.reservation.release();
    ended();
  }
  void fail(Connection& connection, CloseReason reason, std::string_view words) override {
    auto seen = with([&](auto& all) {
      auto& one = all[static_cast<std::size_t>(connection.id().value() - 1)];
      one->failures.push_back(reason);
      return one;
    });
    seen->transport->close(describe(reason).code, words);
  }
  void shutdown(Function<void()> done) override {
    std::vector<std::shared_ptr<Seen>> all;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ready_ = false;
      shut_down_ = std::move(done);
      all = seen_;
    }
    for (const auto& seen : all) {
      if (!seen->executor) continue;
      (void)seen->executor->post([seen] {
        if (seen->transport && seen->connection) seen->transport->close(1001, "Server is going away");
      });
    }
    ended();
  }
  [[nodiscard]] bool is_ready() const override { return ready_; }

  // IConnectionManager, the rest: nothing is here.

  void on(std::string, MessageHandler) override {}
  void on_connected(ConnectionHook) override {}
  void on_joined(JoinHook) override {}
  void on_left(LeaveHook) override {}
  void on_disconnected(DisconnectHook) override {}
  void on_user_online(UserHook) override {}
  void on_user_offline(UserHook) override {}
  [[nodiscard]] std::optional<ConnectionInfo> find(ConnectionId) const override { return std::nullopt; }
  [[nodiscard]] bool contains(ConnectionId) const override { return false; }
  [[nodiscard]] std::vector<ConnectionInfo> connections(ConnectionId, std::size_t) const override { return {}; }
  [[nodiscard]] std::vector<ConnectionInfo> connections_in(const RoomKey&) const override { return {}; }
  [[nodiscard]] std::vector<ConnectionInfo> connections_of(const UserKey&) const override { return {}; }
  [[nodiscard]] std::vector<ConnectionInfo> connections_of_tenant(std::string_view) const override { return {}; }
  [[nodiscard]] std::size_t connection_count() const override { return 0; }
  [[nodiscard]] std::size_t connection_count(const UserKey&) const override { return 0; }
  [[nodiscard]] std::size_t pending_count() const override { return 0; }
  [[nodiscard]] bool is_full() const override { return false; }
  [[nodiscard]] bool is_online(const UserKey&) const override { return false; }
  [[nodiscard]] std::vector<std::string> online_users(std::string_view) const override { return {}; }
  [[nodiscard]] std::size_t room_count() const override { return 0; }
  [[nodiscard]] std::shared_ptr<Room> room(RoomKey) override { return nullptr; }
  [[nodiscard]] const AwarenessStore& awareness() const noexcept override { return awareness_; }
  [[nodiscard]] Metrics metrics() const override { return {}; }
  void explain(ConnectionId, Function<void(std::optional<Explanation>)> done) override { done(std::nullopt); }
  std::size_t send(ConnectionId, const Payload&) override { return 0; }
  std::size_t send_to_user(const UserKey&, const Payload&, const Delivery&, QueuedDone) override { return 0; }
  std::size_t send_to_user(const UserKey&, const Payload&) override { return 0; }
  std::size_t send_to_users(const std::vector<UserKey>&, const Payload&) override { return 0; }
  std::size_t send_to_tenant(std::string_view, const Payload&) override { return 0; }
  std::size_t send_to_all(const Payload&) override { return 0; }
  void publish(const RoomKey&, const Payload&, Delivery, ConnectionId, PublishDone) override {}
  bool remove(ConnectionId, CloseReason, std::string) override { return false; }
  bool kick(ConnectionId, std::string, bool) override { return false; }
  void close_all(CloseReason, std::string, Function<void(std::size_t)> done) override { done(0); }
  void sweep_now(Function<void(std::size_t)> done) override { done(0); }
  std::size_t revoke(const UserKey&) override { return 0; }
  std::size_t revoke(ConnectionId) override { return 0; }
  std::size_t revoke_tenant(std::string_view) override { return 0; }
  void drain(std::chrono::milliseconds, std::chrono::milliseconds, Function<void(Drained)> done) override { done({}); }

 private:
  void finish(Seen& seen, OpenDone done, Decision decision) {
    if (!decision.accepted) {
      seen.transport.reset();
      decision.reservation = std::move(seen.request.reservation);
      return done(std::move(decision));
    }
    seen.connection = std::make_shared<FakeConnection>(ConnectionId(seen.opening), seen.request.remote_address);
    decision.connection = seen.connection;
    with([&](auto&) { seen.open = true; });
    done(std::move(decision));
    if (on_open) {
      (void)seen.executor->post([self = shared_from_this(), transport = seen.transport] { self->on_open(*transport); });
    }
  }
  void ended() {
    Function<void()> done;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const bool open = std::any_of(seen_.begin(), seen_.end(), [](const auto& seen) { return seen->open; });
      if (!shut_down_ || open) return;
      done = std::move(shut_down_);
      shut_down_ = nullptr;
    }
    done();
  }

  const Options options_;
  const MemoryAwarenessStore awareness_;
  const std::shared_ptr<std::atomic<std::size_t>> reserved_ = std::make_shared<std::atomic<std::size_t>>(0);
  std::atomic<std::size_t> cancelled_{0};
  std::atomic<bool> ready_{true};
  std::mutex mutex_;
  std::vector<std::shared_ptr<Seen>> seen_;
  std::vector<std::string> asked_for_;
  Function<void()> shut_down_;
};

}  // namespace muster::test
