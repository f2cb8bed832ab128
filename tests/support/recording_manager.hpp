// RecordingManager: stands in for the core behind a transport, writes down what the adapter tells it, and finds fault.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
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

/// A Connection that is nothing but an id.
class BareConnection final : public Connection {
 public:
  BareConnection(ConnectionId id, RemoteAddress address) : id_(id), address_(std::move(address)) {}
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

/// What the adapter owes the core is checked in every call: on the executor, not inside a call of the transport's,
/// about a connection that is open, and `closed` once. `faults` lists what was not so.
///
/// Threads: as IConnectionManager. The hooks are set before the first `open`.
class RecordingManager final : public IConnectionManager, public std::enable_shared_from_this<RecordingManager> {
 public:
  enum class Opening : std::uint8_t { accept, refuse, hold };
  struct Message {
    FrameKind kind;
    std::string bytes;
    friend bool operator==(const Message& a, const Message& b) { return a.kind == b.kind && a.bytes == b.bytes; }
  };

  /// How `open` is answered; held ones by `decide`.
  std::atomic<Opening> opening{Opening::accept};
  /// Whether the calling thread runs a task of the connection's executor.
  std::function<bool()> on_executor = [] { return true; };
  /// Called on the executor, after the call was written down.
  std::function<void(const Message&)> on_received;
  std::function<void()> on_writable;

  explicit RecordingManager(Options options = {}) : options_(std::move(options)) {}

  // What was told.

  [[nodiscard]] std::vector<std::string> faults() const {
    const Lock lock(mutex_);
    return faults_;
  }
  [[nodiscard]] std::size_t opened() const {
    const Lock lock(mutex_);
    return opened_;
  }
  [[nodiscard]] std::size_t cancelled() const {
    const Lock lock(mutex_);
    return cancelled_;
  }
  [[nodiscard]] std::size_t writables() const {
    const Lock lock(mutex_);
    return writables_;
  }
  [[nodiscard]] std::vector<Message> messages() const {
    const Lock lock(mutex_);
    return messages_;
  }
  [[nodiscard]] std::vector<CloseReason> failures() const {
    const Lock lock(mutex_);
    return failures_;
  }
  /// One for each connection that ended.
  [[nodiscard]] std::vector<CloseReason> closings() const {
    const Lock lock(mutex_);
    return closings_;
  }
  /// Places reserved and not given back.
  [[nodiscard]] std::size_t reserved() const noexcept { return *reserved_; }
  /// Of the latest `open`; the transport until it has closed.
  [[nodiscard]] std::shared_ptr<Transport> transport() const {
    const Lock lock(mutex_);
    return transport_;
  }
  [[nodiscard]] std::shared_ptr<Executor> executor() const {
    const Lock lock(mutex_);
    return executor_;
  }
  [[nodiscard]] std::weak_ptr<const Connection> connection() const {
    const Lock lock(mutex_);
    return watched_;
  }
  void fault(std::string what) {
    const Lock lock(mutex_);
    faults_.push_back(std::move(what));
  }

  // What the core does.

  /// Executor. Answers the opening that is held.
  void decide(bool accepts) {
    OpenDone done;
    {
      const Lock lock(mutex_);
      done = std::move(held_);
      held_ = nullptr;
    }
    if (done) answer(std::move(done), accepts);
  }
  /// Executor. Calls the transport as the core does; what comes back inside the call is a fault. False: it is gone.
  template <class Call>
  bool call_transport(Call&& call) {
    const auto transport = this->transport();
    if (!transport) return false;
    struct Inside {
      std::atomic<int>& depth;
      explicit Inside(std::atomic<int>& calls) : depth(calls) { ++depth; }
      ~Inside() { --depth; }
    } const inside(inside_);
    call(*transport);
    return true;
  }

  // IConnectionManager, as adapters call it.

  [[nodiscard]] const Options& options() const noexcept override { return options_; }
  [[nodiscard]] Reservation reserve(const RemoteAddress&, TimePoint) override {
    ++*reserved_;
    return Reservation(Function<void()>([reserved = reserved_] { --*reserved; }));
  }
  std::uint64_t open(OpenRequest request, std::shared_ptr<Transport> transport, std::shared_ptr<Executor> executor,
                     OpenDone done) override {
    check("open");
    {
      const Lock lock(mutex_);
      ++opened_;
      transport_ = std::move(transport);
      executor_ = std::move(executor);
      reservation_ = std::move(request.reservation);
      connection_ = std::make_shared<BareConnection>(ConnectionId(opened_), request.remote_address);
      watched_ = connection_;
      if (opening == Opening::hold) {
        held_ = std::move(done);
        return opened_;
      }
    }
    answer(std::move(done), opening == Opening::accept);
    return 0;
  }
  void cancel_open(const std::shared_ptr<Executor>&, std::uint64_t opening_id) override {
    check("cancel_open");
    OpenDone dropped;
    std::shared_ptr<Transport> gone;
    Reservation place;
    const Lock lock(mutex_);
    if (!held_ || opening_id != opened_) faults_.emplace_back("cancel_open of an opening that is not waiting");
    ++cancelled_;
    dropped = std::move(held_);
    held_ = nullptr;
    connection_.reset();
    gone = std::exchange(transport_, nullptr);
    place = std::move(reservation_);
  }
  void received(Connection& connection, FrameKind kind, std::string_view bytes) override {
    check("received", &connection);
    if (kind == FrameKind::continuation) return;
    Message message{kind, std::string(bytes)};
    {
      const Lock lock(mutex_);
      messages_.push_back(message);
    }
    if (on_received) on_received(message);
  }
  void writable(Connection& connection) override {
    check("writable", &connection);
    {
      const Lock lock(mutex_);
      ++writables_;
    }
    if (on_writable) on_writable();
  }
  void closed(Connection& connection, CloseReason cause) override {
    check("closed", &connection);
    std::shared_ptr<Connection> gone;
    std::shared_ptr<Transport> gone_with_it;
    Reservation place;
    Function<void()> done;
    {
      const Lock lock(mutex_);
      closings_.push_back(cause);
      gone = std::exchange(connection_, nullptr);
      gone_with_it = std::exchange(transport_, nullptr);
      place = std::move(reservation_);
      done = std::move(shut_down_);
      shut_down_ = nullptr;
    }
    if (done) done();
  }
  void fail(Connection& connection, CloseReason reason, std::string_view words) override {
    check("fail", &connection);
    {
      const Lock lock(mutex_);
      failures_.push_back(reason);
    }
    (void)call_transport([&](Transport& transport) { transport.close(describe(reason).code, words); });
  }
  void shutdown(Function<void()> done) override {
    std::shared_ptr<Executor> executor;
    {
      const Lock lock(mutex_);
      ready_ = false;
      if (connection_ && !held_) {
        executor = executor_;
        shut_down_ = std::move(done);
      }
    }
    if (!executor) return done();
    (void)executor->post([self = shared_from_this()] {
      (void)self->call_transport([](Transport& transport) { transport.close(1001, {}); });
    });
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
  using Lock = std::lock_guard<std::mutex>;

  void check(const char* call, const Connection* connection = nullptr) {
    const bool right_thread = on_executor();
    const Lock lock(mutex_);
    if (!right_thread) faults_.push_back(std::string(call) + " was not called on the executor");
    if (right_thread && inside_ != 0) faults_.push_back(std::string(call) + " was called inside a call of Transport");
    if (connection != nullptr && connection != connection_.get()) {
      faults_.push_back(std::string(call) + " was called for a connection that is not open");
    }
  }
  void answer(OpenDone done, bool accepts) {
    Decision decision;
    decision.accepted = accepts;
    std::shared_ptr<Connection> refused;
    Reservation place;
    {
      const Lock lock(mutex_);
      if (accepts) {
        decision.connection = connection_;
      } else {
        decision.reason = CloseReason::auth_failed;
        decision.error = Error{errc::auth_failed, "The token is not valid", {}};
        refused = std::move(connection_);
        connection_.reset();
        place = std::move(reservation_);
      }
    }
    done(std::move(decision));
  }

  const Options options_;
  const MemoryAwarenessStore awareness_;
  const std::shared_ptr<std::atomic<std::size_t>> reserved_ = std::make_shared<std::atomic<std::size_t>>(0);
  std::atomic<int> inside_{0};
  std::atomic<bool> ready_{true};
  mutable std::mutex mutex_;
  std::vector<std::string> faults_;
  std::vector<Message> messages_;
  std::vector<CloseReason> failures_;
  std::vector<CloseReason> closings_;
  std::size_t opened_ = 0;
  std::size_t cancelled_ = 0;
  std::size_t writables_ = 0;
  std::shared_ptr<Transport> transport_;
  std::shared_ptr<Executor> executor_;
  std::shared_ptr<Connection> connection_;
  std::weak_ptr<Connection> watched_;
  Reservation reservation_;
  OpenDone held_;
  Function<void()> shut_down_;
};

}  // namespace muster::test
