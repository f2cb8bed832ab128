// ConnectionManager: the core behind IConnectionManager. The bodies are on the floors around it, one mechanism a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/connection_manager.hpp"
#include "muster/core/base/byte_budget.hpp"
#include "muster/core/base/entropy.hpp"
#include "muster/core/base/life.hpp"
#include "muster/core/delivery/fan_out.hpp"
#include "muster/core/flows/answering.hpp"
#include "muster/core/flows/broker_inbox.hpp"
#include "muster/core/flows/draining.hpp"
#include "muster/core/flows/ending.hpp"
#include "muster/core/flows/heartbeats.hpp"
#include "muster/core/flows/inbound.hpp"
#include "muster/core/flows/joining.hpp"
#include "muster/core/flows/opening.hpp"
#include "muster/core/flows/pacing.hpp"
#include "muster/core/flows/profiles.hpp"
#include "muster/core/flows/publishing.hpp"
#include "muster/core/flows/queues.hpp"
#include "muster/core/flows/replicating.hpp"
#include "muster/core/flows/requesting.hpp"
#include "muster/core/flows/rooms.hpp"
#include "muster/core/flows/seating.hpp"
#include "muster/core/flows/sending.hpp"
#include "muster/core/flows/sessions.hpp"
#include "muster/core/flows/state_flush.hpp"
#include "muster/core/flows/sweeping.hpp"
#include "muster/core/flows/turn.hpp"
#include "muster/core/loop/loops.hpp"
#include "muster/core/outward/hooks.hpp"
#include "muster/core/outward/questions.hpp"
#include "muster/core/registry/admission.hpp"
#include "muster/core/registry/connection_table.hpp"
#include "muster/core/registry/directory.hpp"
#include "muster/core/registry/room_table.hpp"
#include "muster/core/registry/session_table.hpp"

namespace muster {
inline namespace MUSTER_ABI {

namespace core {
class RoomHandle;
}

class ConnectionManager final : public IConnectionManager,
                                public std::enable_shared_from_this<ConnectionManager>,
                                private core::Later,
                                private core::ConnectionFactory {
 public:
  ConnectionManager(Options options, std::shared_ptr<Authenticator> authenticator,
                    std::shared_ptr<Authorizer> authorizer, Components components);
  ~ConnectionManager() override;
  /// The part of construction that needs a shared pointer to this.
  void begin();

  // IConnectionManager: one line for each method; core/manager.ipp has those that are longer.
  [[nodiscard]] const Options& options() const noexcept override { return options_; }
  [[nodiscard]] Reservation reserve(const RemoteAddress& address, TimePoint) override {
    return admission_.reserve(address);
  }
  void refused(RefusedFor reason, const RemoteAddress& address, std::string_view what, TimePoint now) override {
    admission_.refused(reason, address, what, now);
  }
  std::uint64_t open(OpenRequest request, std::shared_ptr<Transport> transport, std::shared_ptr<Executor> executor,
                     OpenDone done) override {
    return opening_.open(std::move(request), std::move(transport), std::move(executor), std::move(done));
  }
  void cancel_open(const std::shared_ptr<Executor>& executor, std::uint64_t opening) override {
    opening_.cancel(executor, opening);
  }
  void arrived(Connection& connection, std::size_t bytes) override {
    inbound_.arrived(static_cast<core::ConnectionState&>(connection), bytes);
  }
  void received(Connection& connection, FrameKind kind, std::string_view bytes, std::size_t wire_bytes) override {
    inbound_.received(static_cast<core::ConnectionState&>(connection), kind, bytes, wire_bytes);
  }
  void writable(Connection& connection) override { turn_.writable(static_cast<core::ConnectionState&>(connection)); }
  void closed(Connection& connection, CloseReason cause) override {
    ending_.socket_closed(static_cast<core::ConnectionState&>(connection), cause);
  }
  void fail(Connection& connection, CloseReason reason, std::string_view text) override {
    ending_.end(static_cast<core::ConnectionState&>(connection), reason, text);
  }
  void on(std::string type, MessageHandler handler) override { serve(std::move(type), {std::move(handler), {}, {}}); }
  void on(std::string type, RespondingHandler handler, HandlerOptions options) override {
    serve(std::move(type), {{}, std::move(handler), options});
  }
  bool off(std::string_view type, Function<void()> done) override;
  void intercept(PublishInterceptor interceptor) override {
    hooks_.intercept(std::move(interceptor));
    change_over();
  }
  void on_connected(ConnectionHook hook) override { hooks_.on_connected(std::move(hook)); }
  void on_joined(JoinHook hook) override { hooks_.on_joined(std::move(hook)); }
  void on_left(LeaveHook hook) override { hooks_.on_left(std::move(hook)); }
  void on_disconnected(DisconnectHook hook) override { hooks_.on_disconnected(std::move(hook)); }
  void on_slow(SlowHook hook) override { hooks_.on_slow(std::move(hook)); }
  void on_caught_up(SlowHook hook) override { hooks_.on_caught_up(std::move(hook)); }
  void on_user_online(UserHook hook) override { hooks_.on_user_online(std::move(hook)); }
  void on_user_offline(UserHook hook) override { hooks_.on_user_offline(std::move(hook)); }
  void on_room_opened(RoomHook hook) override { hooks_.on_room_opened(std::move(hook)); }
  void on_room_emptied(RoomHook hook) override { hooks_.on_room_emptied(std::move(hook)); }
  [[nodiscard]] std::shared_ptr<Continuation> continuation() override;
  [[nodiscard]] std::optional<ConnectionInfo> find(ConnectionId id) const override { return directory_.find(id); }
  [[nodiscard]] bool contains(ConnectionId id) const override { return directory_.known(id) != nullptr; }
  [[nodiscard]] std::vector<ConnectionInfo> connections(ConnectionId after, std::size_t limit) const override {
    return directory_.page(after, limit);
  }
  [[nodiscard]] std::vector<ConnectionInfo> connections_in(const RoomKey& room) const override;
  [[nodiscard]] std::vector<ConnectionInfo> connections_of(const UserKey& user) const override {
    return directory_.of(user);
  }
  [[nodiscard]] std::vector<ConnectionInfo> connections_of_tenant(std::string_view tenant) const override {
    return directory_.of_tenant(tenant);
  }
  [[nodiscard]] std::size_t connection_count() const override { return connections_.authenticated_and_pending().first; }
  [[nodiscard]] std::size_t connection_count(const UserKey& user) const override { return users_.count(user); }
  [[nodiscard]] std::size_t pending_count() const override { return connections_.authenticated_and_pending().second; }
  [[nodiscard]] bool is_full() const override { return admission_.is_full(); }
  [[nodiscard]] bool is_online(const UserKey& user) const override { return users_.contains(user); }
  [[nodiscard]] std::vector<std::string> online_users(std::string_view tenant) const override {
    return users_.users_of(tenant);
  }
  [[nodiscard]] std::size_t room_count() const override { return table_.size(); }
  [[nodiscard]] std::vector<RoomInfo> rooms(std::string_view tenant, std::string_view prefix, std::string_view after,
                                            std::size_t limit) const override;
  [[nodiscard]] std::shared_ptr<Room> room(RoomKey key) override;
  [[nodiscard]] const AwarenessStore& awareness() const noexcept override { return *awareness_; }
  [[nodiscard]] Metrics metrics() const override;
  void explain(ConnectionId id, Function<void(std::optional<Explanation>)> done) override;
  std::size_t send(ConnectionId id, const Payload& payload) override { return sending_.to(id, payload); }
  std::size_t send_to_user(const UserKey& user, const Payload& payload, const Delivery& delivery,
                           QueuedDone done) override {
    return sending_.to_user(user, payload, delivery, std::move(done));
  }
  std::size_t send_to_user(const UserKey& user, const Payload& payload) override {
    return sending_.to_user(user, payload);
  }
  std::size_t send_to_users(const std::vector<UserKey>& users, const Payload& payload) override {
    return sending_.to_users(users, payload);
  }
  std::size_t send_to_tenant(std::string_view tenant, const Payload& payload) override {
    return sending_.to_tenant(tenant, payload);
  }
  std::size_t send_to_all(const Payload& payload) override { return sending_.to_all(payload); }
  void publish(const RoomKey& room, const Payload& payload, Delivery delivery, ConnectionId exclude,
               PublishDone done) override;
  void join(ConnectionId id, std::string room, JoinAs as, SeatDone done) override {
    seating_.change(id, core::SeatChange::into(std::move(room), as), std::move(done));
  }
  void leave(ConnectionId id, std::string room, SeatDone done) override {
    seating_.change(id, core::SeatChange::out_of(std::move(room)), std::move(done));
  }
  void move(ConnectionId id, std::string from, std::string to, JoinAs as, SeatDone done) override {
    seating_.change(id, core::SeatChange::over(std::move(from), std::move(to), as), std::move(done));
  }
  void join(const UserKey& user, std::string room, JoinAs as, SeatsDone done) override {
    seating_.change(user, core::SeatChange::into(std::move(room), as), std::move(done));
  }
  void leave(const UserKey& user, std::string room, SeatsDone done) override {
    seating_.change(user, core::SeatChange::out_of(std::move(room)), std::move(done));
  }
  void move(const UserKey& user, std::string from, std::string to, JoinAs as, SeatsDone done) override {
    seating_.change(user, core::SeatChange::over(std::move(from), std::move(to), as), std::move(done));
  }
  void request(ConnectionId id, std::string type, Payload data, std::chrono::milliseconds timeout,
               RequestDone done) override {
    requesting_.ask(id, {std::move(type), std::move(data), timeout}, std::move(done));
  }
  std::size_t set_profile(ConnectionId id, Payload profile) override { return profiles_.set(id, std::move(profile)); }
  std::size_t set_profile(const UserKey& user, Payload profile) override {
    return profiles_.set(user, std::move(profile));
  }
  bool remove(ConnectionId id, CloseReason reason, std::string text) override {
    return ending_.remove(id, reason, std::move(text));
  }
  bool kick(ConnectionId id, std::string text, bool reconnect) override {
    return ending_.kick(id, std::move(text), reconnect);
  }
  void close_all(CloseReason reason, std::string text, Function<void(std::size_t)> done) override {
    ending_.close_all(reason, std::move(text), std::move(done));
  }
  void sweep_now(Function<void(std::size_t)> done) override { sweeping_.run_now(std::move(done)); }
  std::size_t revoke(const UserKey& user) override { return ending_.revoke(user); }
  std::size_t revoke(ConnectionId id) override { return ending_.revoke(id); }
  std::size_t revoke_tenant(std::string_view tenant) override { return ending_.revoke_tenant(tenant); }
  void drain(std::chrono::milliseconds deadline, std::chrono::milliseconds reconnect_window,
             Function<void(Drained)> done) override {
    draining_.drain(deadline, reconnect_window, std::move(done));
  }
  void shutdown(Function<void()> done) override { draining_.shut_down(std::move(done)); }
  [[nodiscard]] bool is_ready() const override { return admission_.is_open(); }

 private:
  // What embedders hold speaks through it.
  friend class core::ConnectionState;
  friend class core::RoomHandle;

  void serve(std::string type, core::Handler handler);
  /// Every loop changes over to the handlers that there are now; `done`, if given, is called when all have.
  void change_over(Function<void()> done = nullptr);
  // What the parts below have done by the whole.
  void end_turn(core::Loop& loop) override { turn_.end(loop); }
  void end(core::ConnectionState& connection, CloseReason reason, const std::string& text) noexcept override {
    ending_.end(connection, reason, text);
  }
  void go_on(core::ConnectionState& connection) override { inbound_.go_on(connection); }
  [[nodiscard]] core::LoopPtr loop_for(const std::shared_ptr<Executor>& executor) override;
  [[nodiscard]] core::ConnectionPtr make_connection(const core::LoopPtr& loop, ConnectionId id,
                                                    std::shared_ptr<Transport> transport) override;
  /// A timer of a loop or of a connection is a method of a part.
  template <auto Part, auto Method>
  static void fire_for_loop(void* loop);
  template <auto Part, auto Method>
  static void fire_for_connection(void* connection);
  static void run_due(core::ConnectionState& connection);

  const Options options_;
  const std::shared_ptr<Authenticator> authenticator_;
  const std::shared_ptr<Authorizer> authorizer_;
  const std::vector<std::shared_ptr<const Protocol>> protocols_;
  const std::shared_ptr<AwarenessStore> awareness_;
  const std::shared_ptr<SessionStore> store_;

  // The parts, floor by floor: each is handed what stands before it.
  // base
  core::Life life_;
  core::Entropy entropy_;
  core::ByteBudget bytes_{options_.total_bytes, options_.tenant_bytes};

  // loop
  core::Failures failures_;
  core::Loops loops_;

  // registry
  core::ConnectionTable connections_;
  core::UserTable users_;
  core::SessionTable kept_sessions_;
  core::RoomTable table_;
  core::Directory directory_{connections_, users_, kept_sessions_};
  core::Admission admission_{life_, options_, entropy_, failures_};

  // outward
  core::Hooks hooks_;
  core::Questions questions_{options_, life_,
                             fire_for_connection<&ConnectionManager::questions_, &core::Questions::expire>, *this};

  // delivery
  core::Pressure pressure_{options_, hooks_, *this};
  core::Writer writer_{options_, bytes_, pressure_, *this};
  core::CatchUp catch_up_{options_, *awareness_, writer_};
  core::FanOut fan_out_{options_, bytes_, connections_, kept_sessions_, pressure_, writer_, catch_up_};

  // flows
  core::Queues queues_{options_, *store_, users_, loops_, life_, failures_, questions_, writer_};
  core::Replicating replicating_;
  core::Rooms rooms_{options_,    table_,     bytes_,       entropy_, loops_,
                     *awareness_, directory_, replicating_, hooks_,   questions_};
  core::StateFlush state_flush_{options_, table_, users_, loops_, *awareness_, replicating_, writer_, fan_out_};
  core::Publishing publishing_{options_, table_, loops_, rooms_, replicating_, fan_out_, state_flush_};
  core::Turn turn_{pressure_, writer_, catch_up_, queues_, *this};
  core::BrokerInbox broker_inbox_{options_, table_, loops_, life_, *awareness_, publishing_, state_flush_};
  core::Sending sending_{connections_, users_, directory_, loops_, writer_, queues_};
  core::UserEdges edges_{options_, users_, hooks_, state_flush_};
  core::Joining joining_{options_,     table_, bytes_,  entropy_,  *awareness_,  directory_, hooks_,
                         replicating_, rooms_, writer_, catch_up_, state_flush_, edges_};
  core::Profiles profiles_{options_, users_, directory_, replicating_, state_flush_};
  core::Sessions sessions_{options_,  *store_,    kept_sessions_, users_,       entropy_, loops_,  life_,
                           failures_, admission_, rooms_,         state_flush_, edges_,   joining_};
  core::Ending ending_{connections_, users_, kept_sessions_, table_,       directory_, loops_,   admission_,
                       hooks_,       rooms_, writer_,        state_flush_, edges_,     joining_, sessions_};
  core::Heartbeats heartbeats_{options_, writer_, ending_};
  core::Draining draining_{entropy_, loops_, life_, hooks_, admission_, writer_, sessions_, ending_};
  core::Sweeping sweeping_{options_,    loops_,   failures_, users_,       directory_, admission_, table_, bytes_,
                           *awareness_, fan_out_, rooms_,    state_flush_, edges_,     turn_,      ending_};
  core::Authorizing authorizing_{options_, *authorizer_, questions_, writer_, ending_};
  core::Seating seating_{users_, directory_, writer_, joining_, authorizing_, *this};
  core::Authenticating authenticating_{options_,   *authenticator_, users_,      directory_,   entropy_, failures_,
                                       admission_, hooks_,          questions_,  writer_,      queues_,  edges_,
                                       sessions_,  ending_,         heartbeats_, authorizing_, seating_};
  core::Opening opening_{options_,   protocols_, *authenticator_, connections_,    directory_, entropy_,
                         admission_, hooks_,     ending_,         authenticating_, *this,      *this};
  core::Pacing pacing_{options_, fire_for_connection<&ConnectionManager::inbound_, &core::Inbound::read_on>};
  core::Requesting requesting_{options_, entropy_, directory_, writer_, pacing_};
  core::Resuming resuming_{options_,     *store_,      users_,          kept_sessions_, directory_, life_,
                           admission_,   questions_,   writer_,         catch_up_,      queues_,    replicating_,
                           rooms_,       state_flush_, edges_,          joining_,       sessions_,  ending_,
                           authorizing_, seating_,     authenticating_, requesting_};
  core::Answering answering_{options_, hooks_,
                             writer_,  ending_,
                             *this,    fire_for_connection<&ConnectionManager::answering_, &core::Answering::expire>};
  core::Commands commands_{options_,  users_,  loops_,       *awareness_,     bytes_,      hooks_,       questions_,
                           writer_,   queues_, replicating_, rooms_,          publishing_, state_flush_, joining_,
                           profiles_, ending_, authorizing_, authenticating_, resuming_,   answering_};
  core::Inbound inbound_{options_, pacing_, writer_, sessions_, ending_, seating_, commands_, *this};
};

}  // namespace MUSTER_ABI
}  // namespace muster
