// ConnectionManager: the core behind IConnectionManager. The bodies are on the floors around it, one mechanism a file.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/connection_manager.hpp"
#include "muster/core/base/byte_budget.hpp"
#include "muster/core/base/cipher.hpp"
#include "muster/core/base/entropy.hpp"
#include "muster/core/base/life.hpp"
#include "muster/core/base/log_window.hpp"
#include "muster/core/base/mutex.hpp"
#include "muster/core/base/rates.hpp"
#include "muster/core/base/sha256.hpp"
#include "muster/core/connection/connection_state.hpp"
#include "muster/core/delivery/fan_out.hpp"
#include "muster/core/flows/ending.hpp"
#include "muster/core/flows/joining.hpp"
#include "muster/core/flows/publishing.hpp"
#include "muster/core/flows/queues.hpp"
#include "muster/core/flows/replicating.hpp"
#include "muster/core/flows/rooms.hpp"
#include "muster/core/flows/sessions.hpp"
#include "muster/core/flows/state_flush.hpp"
#include "muster/core/loop/loops.hpp"
#include "muster/core/outward/hooks.hpp"
#include "muster/core/outward/questions.hpp"
#include "muster/core/registry/admission.hpp"
#include "muster/core/registry/connection_table.hpp"
#include "muster/core/registry/directory.hpp"
#include "muster/core/registry/room_table.hpp"
#include "muster/core/registry/session_table.hpp"
#include "muster/core/room/room_state.hpp"

namespace muster {
inline namespace MUSTER_ABI {

using core::ConnectionPtr;
using core::ConnectionState;
using core::EntryPtr;
using core::Loop;
using core::LoopPtr;
using core::Membership;
using core::RoomPart;
using core::RoomPtr;
using core::RoomState;

class ConnectionManager final : public IConnectionManager,
                                public std::enable_shared_from_this<ConnectionManager>,
                                private core::Later {
 public:
  ConnectionManager(Options options, std::shared_ptr<Authenticator> authenticator,
                    std::shared_ptr<Authorizer> authorizer, Components components);
  ~ConnectionManager() override;
  /// The part of construction that needs a shared pointer to this.
  void begin();

  // IConnectionManager. core/manager.ipp unless said otherwise.
  [[nodiscard]] const Options& options() const noexcept override { return options_; }
  [[nodiscard]] Reservation reserve(const RemoteAddress& address, TimePoint) override {
    return admission_.reserve(address);
  }
  void refused(RefusedFor reason, const RemoteAddress& address, std::string_view what, TimePoint now) override {
    admission_.refused(reason, address, what, now);
  }
  std::uint64_t open(OpenRequest request, std::shared_ptr<Transport> transport, std::shared_ptr<Executor> executor,
                     OpenDone done) override;
  void cancel_open(const std::shared_ptr<Executor>& executor, std::uint64_t opening) override;
  void arrived(Connection& connection, std::size_t bytes) override;
  void received(Connection& connection, FrameKind kind, std::string_view bytes, std::size_t wire_bytes) override;
  void writable(Connection& connection) override;
  void closed(Connection& connection, CloseReason cause) override {
    ending_.socket_closed(static_cast<ConnectionState&>(connection), cause);
  }
  void fail(Connection& connection, CloseReason reason, std::string_view text) override {
    ending_.end(static_cast<ConnectionState&>(connection), reason, text);
  }
  void on(std::string type, MessageHandler handler) override;
  void on_connected(ConnectionHook hook) override;
  void on_joined(JoinHook hook) override;
  void on_left(LeaveHook hook) override;
  void on_disconnected(DisconnectHook hook) override;
  void on_user_online(UserHook hook) override;
  void on_user_offline(UserHook hook) override;
  void on_room_opened(RoomHook hook) override;
  void on_room_emptied(RoomHook hook) override;
  [[nodiscard]] std::optional<ConnectionInfo> find(ConnectionId id) const override { return directory_.find(id); }
  [[nodiscard]] bool contains(ConnectionId id) const override { return directory_.info(id) != nullptr; }
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
  [[nodiscard]] std::size_t connection_count() const override;
  [[nodiscard]] std::size_t connection_count(const UserKey& user) const override;
  [[nodiscard]] std::size_t pending_count() const override;
  [[nodiscard]] bool is_full() const override { return admission_.is_full(); }
  [[nodiscard]] bool is_online(const UserKey& user) const override;
  [[nodiscard]] std::vector<std::string> online_users(std::string_view tenant) const override;
  [[nodiscard]] std::size_t room_count() const override;
  [[nodiscard]] std::shared_ptr<Room> room(RoomKey key) override;
  [[nodiscard]] const AwarenessStore& awareness() const noexcept override { return *awareness_; }
  [[nodiscard]] Metrics metrics() const override;
  void explain(ConnectionId id, Function<void(std::optional<Explanation>)> done) override;
  std::size_t send(ConnectionId id, const Payload& payload) override;
  std::size_t send_to_user(const UserKey& user, const Payload& payload, const Delivery& delivery,
                           QueuedDone done) override;
  std::size_t send_to_user(const UserKey& user, const Payload& payload) override;
  std::size_t send_to_users(const std::vector<UserKey>& users, const Payload& payload) override;
  std::size_t send_to_tenant(std::string_view tenant, const Payload& payload) override;
  std::size_t send_to_all(const Payload& payload) override;
  void publish(const RoomKey& room, const Payload& payload, Delivery delivery, ConnectionId exclude,
               PublishDone done) override;
  bool remove(ConnectionId id, CloseReason reason, std::string text) override {
    return ending_.remove(id, reason, std::move(text));
  }
  bool kick(ConnectionId id, std::string text, bool reconnect) override {
    return ending_.kick(id, std::move(text), reconnect);
  }
  void close_all(CloseReason reason, std::string text, Function<void(std::size_t)> done) override {
    ending_.close_all(reason, std::move(text), std::move(done));
  }
  void sweep_now(Function<void(std::size_t)> done) override;
  std::size_t revoke(const UserKey& user) override;
  std::size_t revoke(ConnectionId id) override;
  std::size_t revoke_tenant(std::string_view tenant) override;
  void drain(std::chrono::milliseconds deadline, std::chrono::milliseconds reconnect_window,
             Function<void(Drained)> done) override;
  void shutdown(Function<void()> done) override;
  [[nodiscard]] bool is_ready() const override { return admission_.is_open(); }

  // Executors and time: core/loop/loops.ipp. A task holds the loop and a weak reference to the manager.
  [[nodiscard]] LoopPtr loop_for(const std::shared_ptr<Executor>& executor);
  /// After `rounds` more turns of the executor, and behind what they post before.
  template <class F>
  bool post(const LoopPtr& loop, F task, int rounds = 0);
  /// A timer of a loop's own.
  template <void (ConnectionManager::*Fire)(Loop&)>
  static void fire(void* loop);
  void retry(Loop& loop);

  // The sweep: core/flows/sweep.ipp.
  struct Sweep;
  void sweep(Loop& loop, std::shared_ptr<core::Latch> findings, core::RoomTable::Cursor rooms);
  void sweep_on(Loop& loop, const std::shared_ptr<Sweep>& round);
  void sweep_again(Loop& loop);
  void check(ConnectionState& connection, core::Latch& findings);
  void catch_up_room(Loop& loop, const RoomPtr& room);
  void expire_awareness(Loop& loop);

  // Opening and authenticating: core/flows/opening.ipp.
  void answer_open(ConnectionState& connection, Authentication answer);
  void begin_open(ConnectionState& connection, OpenRequest request, bool offered_token, bool ask_now);
  void accept_open(ConnectionState& connection);
  void end_trial(ConnectionState& connection);
  [[nodiscard]] std::optional<Error> establish(ConnectionState& connection, Identity identity);
  void welcome(ConnectionState& connection, Function<void(ConnectionState&)> then);

  // Commands: core/flows/commands.ipp. A command that waits for an answer holds back those behind it.
  [[nodiscard]] bool charge_bytes(ConnectionState& connection, std::size_t bytes, TimePoint now);
  void received_frame(ConnectionState& connection, FrameKind kind, std::string_view bytes, std::size_t wire_bytes);
  void received_message(ConnectionState& connection, FrameKind kind, std::string_view bytes, bool many_bytes);
  void pause(ConnectionState& connection, core::Pause why, bool on);
  void handle(ConnectionState& connection, Command command);
  void run(ConnectionState& connection, Command& command);
  void go_on(ConnectionState& connection) override;
  void authorize(ConnectionState& connection, Action action, std::string target, Correlation correlation,
                 Function<void(ConnectionState&)> then);
  void on_command(ConnectionState&, Correlation&, command::Authenticate&);
  void on_command(ConnectionState&, Correlation&, command::Resume&);
  void on_command(ConnectionState&, Correlation&, command::Join&);
  void on_command(ConnectionState&, Correlation&, command::Leave&);
  void on_command(ConnectionState&, Correlation&, command::ListSubscriptions&);
  void on_command(ConnectionState&, Correlation&, command::Publish&);
  void on_command(ConnectionState&, Correlation&, command::Send&);
  void on_command(ConnectionState&, Correlation&, command::AwarenessSet&);
  void on_command(ConnectionState&, Correlation&, command::AwarenessQuery&);
  void on_command(ConnectionState&, Correlation&, command::PresenceQuery&);
  void on_command(ConnectionState&, Correlation&, command::AcknowledgeQueue&);
  void on_command(ConnectionState&, Correlation&, command::SessionInfo&);
  void on_command(ConnectionState&, Correlation&, command::Ping&);
  void on_command(ConnectionState&, Correlation&, command::Custom&);
  void on_command(ConnectionState&, Correlation&, command::Invalid&);
  /// Several questions, one after another. Their number is the client's: an answer inside the call must not go deeper.
  struct Steps {
    bool inside = false;
    bool again = false;
  };
  /// Takes the next step of `steps`, or lets the caller further out take it. Each step asks, or ends.
  template <class T>
  void one_after_another(ConnectionState& connection, const std::shared_ptr<T>& steps,
                         void (ConnectionManager::*step)(ConnectionState&, const std::shared_ptr<T>&)) {
    steps->again = true;
    if (std::exchange(steps->inside, true)) return;
    while (std::exchange(steps->again, false)) (this->*step)(connection, steps);
    steps->inside = false;
  }
  struct UsersAsked : Steps {
    Correlation correlation;
    std::vector<std::string> users;
    std::vector<event::UserPresence> found;
  };
  void query_next_user(ConnectionState& connection, const std::shared_ptr<UsersAsked>& asked);
  void tell_presence(ConnectionState& connection, const Correlation& correlation, const std::string& room,
                     std::vector<event::UserPresence> users);

  // Rooms: core/flows/rooms.ipp; what embedders hold of them: core/room/room_handle.ipp.

  std::size_t send_in_room(ConnectionId id, std::string room, const Payload& payload);

  // Limits: core/flows/limits.ipp.
  /// How long until the connection owes nothing to its rates (0: now).
  [[nodiscard]] std::chrono::milliseconds debt(ConnectionState& connection, TimePoint now) const;
  /// Notes that the connection is beyond a rate. True: it has been for too long, and is to be refused.
  [[nodiscard]] bool exceeds_for_long(ConnectionState& connection, TimePoint now);
  void read_on(ConnectionState& paced);
  /// Reads no more from a connection that owes, until it does not.
  void keep_pace(ConnectionState& connection, TimePoint now);

  // The end of a turn: core/flows/turn.ipp.
  void end_turn(Loop& loop) override;
  void write_on(ConnectionState& connection);
  /// Feeds and writes what can be written now.
  void flush_connection(ConnectionState& connection);

  void run_due_flushes(Loop& loop) { state_flush_.run_due(loop); }

  // What clients say of their state: core/flows/commands.ipp.
  void refuse_awareness(ConnectionState& connection, const Correlation& correlation);
  void tell_stale(ConnectionState& connection, const Correlation& correlation, const RoomKey& room,
                  const std::string& client, bool its_own, std::uint64_t clock);

  void end(ConnectionState& connection, CloseReason reason, const std::string& text) noexcept override {
    ending_.end(connection, reason, text);
  }

  // Heartbeats and deadlines: core/flows/heartbeats.ipp.
  void let_go(Function<void()> done);
  void drain_next(Loop& loop);
  void beat(ConnectionState& connection);
  void on_answer_late(ConnectionState& connection);
  void on_guard(ConnectionState& connection);

  // Resuming: core/flows/resuming.ipp.
  struct Resuming;
  void take_session(ConnectionState& connection, const std::shared_ptr<Resuming>& resuming);
  void claim_session(ConnectionState& connection, const std::shared_ptr<Resuming>& resuming);
  void adopt_session(ConnectionState& connection, const std::shared_ptr<Resuming>& resuming);
  void give_up_rest(ConnectionState& connection);
  void permit_rooms(ConnectionState& connection, const std::shared_ptr<Resuming>& resuming);
  void finish_resume(ConnectionState& connection, Resuming& resuming);
  void fail_resume(ConnectionState& connection, const Resuming& resuming, Error error);

  void run_due_graces(Loop& loop) { sessions_.run_due_graces(loop); }

  // Credentials that end, and are renewed: core/flows/identity.ipp.
  void ask_identity(ConnectionState& connection, std::string token,
                    Function<void(ConnectionState&, Authentication)> then);
  void authenticate_first(ConnectionState& connection, const Correlation& correlation, std::string token,
                          bool tell_result, Function<void(ConnectionState&)> then);
  void authenticate_again(ConnectionState& connection, const Correlation& correlation, std::string token);
  struct Renewal;
  void renew_identity(ConnectionState& connection, const std::shared_ptr<Renewal>& renewal);
  void watch_expiry(ConnectionState& connection);
  void on_expiry(ConnectionState& connection);

  /// Runs what a connection is about to do: one of which a part has failed is closed.
  template <class F>
  void guard(ConnectionState& connection, const char* where, F code) noexcept;

  // What other nodes say: core/flows/broker_inbox.ipp.
  class BrokerSink;
  void on_broker_state(const BrokerState& state);

 private:
  friend class core::ConnectionState;  // which embedders speak through

  const Options options_;
  const std::shared_ptr<Authenticator> authenticator_;
  const std::shared_ptr<Authorizer> authorizer_;
  const std::vector<std::shared_ptr<const Protocol>> protocols_;
  const std::shared_ptr<AwarenessStore> awareness_;
  const std::shared_ptr<SessionStore> store_;
  const std::shared_ptr<const WireFormat> plain_format_ = std::make_shared<WebSocketFormat>();
  std::atomic<std::uint64_t> next_order_{1};

  core::Life life_;
  core::Entropy entropy_;
  core::Failures failures_;
  core::Loops loops_;
  core::Hooks hooks_;
  core::Questions questions_{options_, life_, *this};

  core::ConnectionTable connections_;
  core::UserTable users_;
  core::SessionTable kept_sessions_;
  core::Directory directory_{connections_, users_, kept_sessions_};
  core::Admission admission_{life_, options_, entropy_, failures_};
  core::RoomTable table_;
  core::ByteBudget bytes_{options_.total_bytes, options_.tenant_bytes};
  core::Replicating replicating_;
  core::Writer writer_{options_, bytes_, *this};
  core::CatchUp catch_up_{options_, *awareness_, writer_};
  core::FanOut fan_out_{options_, bytes_, connections_, kept_sessions_, writer_, catch_up_};
  core::Queues queues_{options_, *store_, users_, loops_, life_, failures_, questions_, writer_};
  core::Rooms rooms_{options_, table_, bytes_, entropy_, loops_, *awareness_, directory_, replicating_, hooks_};
  core::Publishing publishing_{options_, table_, loops_, rooms_, replicating_, fan_out_};
  core::StateFlush state_flush_{options_, table_, users_, loops_, *awareness_, replicating_, writer_, fan_out_};
  core::UserEdges edges_{options_, users_, hooks_, state_flush_};
  core::Joining joining_{options_,     table_, bytes_,  entropy_,  *awareness_,  directory_, hooks_,
                         replicating_, rooms_, writer_, catch_up_, state_flush_, edges_};
  core::Sessions sessions_{options_,  *store_,    kept_sessions_, users_,       entropy_, loops_,  life_,
                           failures_, admission_, rooms_,         state_flush_, edges_,   joining_};
  core::Ending ending_{options_, connections_, users_,  kept_sessions_, table_, directory_, loops_,   admission_,
                       hooks_,   rooms_,       writer_, state_flush_,   edges_, joining_,   sessions_};

  struct SharedCounters {
    std::atomic<std::uint64_t> connections_total{0}, sweep_findings{0};
    std::atomic<std::uint64_t> resumes{0}, resumes_failed{0};
  };
  mutable SharedCounters counters_;
};

}  // namespace MUSTER_ABI
}  // namespace muster
