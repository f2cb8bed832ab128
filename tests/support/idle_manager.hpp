// IdleManager: an IConnectionManager with nobody in it, for doubles that are only asked what adapters ask.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
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
  BareConnection(IConnectionManager& manager, ConnectionId id, RemoteAddress address)
      : manager_(manager), id_(id), address_(std::move(address)) {}
  [[nodiscard]] IConnectionManager& manager() noexcept override { return manager_; }
  [[nodiscard]] ConnectionId id() const noexcept override { return id_; }
  [[nodiscard]] ConnectionStatus status() const noexcept override { return ConnectionStatus::connected; }
  [[nodiscard]] const Identity& identity() const noexcept override { return identity_; }
  [[nodiscard]] RemoteAddress remote_address() const override { return {}; }
  [[nodiscard]] std::vector<std::string> rooms() const override { return {}; }
  [[nodiscard]] Counters counters() const noexcept override { return {}; }
  [[nodiscard]] Data& data() override { return data_; }
  void send(const Payload&) override {}
  void publish(std::string_view, const Payload&) override {}
  void join(std::string, Function<void(Result<void>)>) override {}
  void leave(std::string) override {}
  void request(std::string, Payload, std::chrono::milliseconds, Function<void(Result<Payload>)>) override {}
  void set_profile(Payload) override {}
  void reply(const Payload&) override {}
  void close(CloseReason, std::string_view) override {}

 private:
  IConnectionManager& manager_;
  const ConnectionId id_;
  const RemoteAddress address_;
  const Identity identity_;
  Data data_;
};

class IdleManager : public IConnectionManager {
 public:
  explicit IdleManager(Options options) : options_(std::move(options)) {}

  [[nodiscard]] const Options& options() const noexcept override { return options_; }
  void refused(RefusedFor, const RemoteAddress&, std::string_view, TimePoint) override {}
  void on(std::string, MessageHandler) override {}
  void on(std::string, RespondingHandler, HandlerOptions) override {}
  bool off(std::string_view, Function<void()>) override { return false; }
  void intercept(PublishInterceptor) override {}
  void on_connected(ConnectionHook) override {}
  void on_joined(JoinHook) override {}
  void on_left(LeaveHook) override {}
  void on_disconnected(DisconnectHook) override {}
  void on_slow(SlowHook) override {}
  void on_caught_up(SlowHook) override {}
  void on_user_online(UserHook) override {}
  void on_user_offline(UserHook) override {}
  void on_room_opened(RoomHook) override {}
  void on_room_emptied(RoomHook) override {}
  [[nodiscard]] std::shared_ptr<Continuation> continuation() override { return nullptr; }
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
  [[nodiscard]] std::vector<RoomInfo> rooms(std::string_view, std::string_view, std::string_view,
                                            std::size_t) const override {
    return {};
  }
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
  void join(ConnectionId, std::string, JoinAs, SeatDone) override {}
  void leave(ConnectionId, std::string, SeatDone) override {}
  void move(ConnectionId, std::string, std::string, JoinAs, SeatDone) override {}
  void join(const UserKey&, std::string, JoinAs, SeatsDone) override {}
  void leave(const UserKey&, std::string, SeatsDone) override {}
  void move(const UserKey&, std::string, std::string, JoinAs, SeatsDone) override {}
  void request(ConnectionId, std::string, Payload, std::chrono::milliseconds, RequestDone) override {}
  std::size_t set_profile(ConnectionId, Payload) override { return 0; }
  std::size_t set_profile(const UserKey&, Payload) override { return 0; }
  bool remove(ConnectionId, CloseReason, std::string) override { return false; }
  bool kick(ConnectionId, std::string, bool) override { return false; }
  void close_all(CloseReason, std::string, Function<void(std::size_t)> done) override { done(0); }
  void sweep_now(Function<void(std::size_t)> done) override { done(0); }
  std::size_t revoke(const UserKey&) override { return 0; }
  std::size_t revoke(ConnectionId) override { return 0; }
  std::size_t revoke_tenant(std::string_view) override { return 0; }
  void drain(std::chrono::milliseconds, std::chrono::milliseconds, Function<void(Drained)> done) override { done({}); }

 private:
  const Options options_;
  const MemoryAwarenessStore awareness_;
};

}  // namespace muster::test
