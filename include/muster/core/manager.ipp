// Construction, extension points, lookups and sending.
#pragma once

#include <algorithm>
#include <set>
#include <stdexcept>

#include "muster/core/outward/manager_calls.hpp"
#include "muster/memory/memory_awareness_store.hpp"
#include "muster/memory/memory_session_store.hpp"

namespace muster {
inline namespace MUSTER_ABI {

MUSTER_INLINE std::shared_ptr<IConnectionManager> make_connection_manager(Options options,
                                                                          std::shared_ptr<Authenticator> authenticator,
                                                                          std::shared_ptr<Authorizer> authorizer,
                                                                          Components components) {
  std::vector<std::string> found = problems(options);
  if (!authenticator) found.emplace_back("an authenticator is needed (AllowAnonymous lets everybody in)");
  if (!authorizer) found.emplace_back("an authorizer is needed (AllowAll allows everything)");
  if (components.protocols.empty()) found.emplace_back("at least one protocol is needed");
  std::set<std::pair<std::string_view, std::string_view>> served;
  for (const auto& protocol : components.protocols) {
    if (!protocol) {
      found.emplace_back("a protocol is null");
    } else if (!served.emplace(protocol->name(), protocol->path()).second) {
      found.push_back("two protocols are called " + std::string(protocol->name()) + " at " +
                      std::string(protocol->path()) + ": only the first would ever be chosen");
    }
  }
  if (!found.empty()) {
    std::string message = "make_connection_manager:";
    for (const std::string& problem : found) message += " " + problem + ";";
    message.pop_back();
    throw std::invalid_argument(message);
  }
  auto manager = std::make_shared<ConnectionManager>(std::move(options), std::move(authenticator),
                                                     std::move(authorizer), std::move(components));
  manager->begin();
  return manager;
}

MUSTER_INLINE ConnectionManager::ConnectionManager(Options options, std::shared_ptr<Authenticator> authenticator,
                                                   std::shared_ptr<Authorizer> authorizer, Components components)
    : options_(detail::bounded(std::move(options))),
      authenticator_(std::move(authenticator)),
      authorizer_(std::move(authorizer)),
      protocols_(std::move(components.protocols)),
      awareness_(components.awareness_store ? std::move(components.awareness_store)
                                            : std::make_shared<MemoryAwarenessStore>()),
      store_(components.session_store ? std::move(components.session_store)
                                      : std::make_shared<MemorySessionStore>(
                                            MemorySessionLimits{100'000, options_.total_bytes, options_.tenant_bytes})),
      entropy_(components.random_seed),
      failures_(std::move(components.observer)),
      loops_(std::move(components.clock)),
      replicating_(std::move(components.broker), *awareness_, table_, life_, questions_) {}

MUSTER_INLINE ConnectionManager::~ConnectionManager() {
  replicating_.detach();
  // Rooms, their parts, sessions and the loops know each other: take the knot apart.
  kept_sessions_.clear();
  table_.clear();
  for (const LoopPtr& loop : loops_.all()) {
    for (const ConnectionPtr& connection : loop->connections) connection->memberships.clear();
    loop->state_flushes.clear();
    loop->draining.clear();
    loop->connections.clear();
  }
}

MUSTER_INLINE void ConnectionManager::on(std::string type, MessageHandler handler) {
  const bool reaches =
      std::any_of(protocols_.begin(), protocols_.end(), [&](const auto& protocol) { return !protocol->serves(type); });
  if (!reaches) {
    throw std::invalid_argument("on(\"" + type + "\"): " + std::string(protocols_.front()->name()) +
                                " serves that type itself, so the handler would never be called; choose another");
  }
  hooks_.on(std::move(type), std::move(handler));
}
MUSTER_INLINE void ConnectionManager::on_connected(ConnectionHook hook) { hooks_.on_connected(std::move(hook)); }
MUSTER_INLINE void ConnectionManager::on_joined(JoinHook hook) { hooks_.on_joined(std::move(hook)); }
MUSTER_INLINE void ConnectionManager::on_left(LeaveHook hook) { hooks_.on_left(std::move(hook)); }
MUSTER_INLINE void ConnectionManager::on_disconnected(DisconnectHook hook) { hooks_.on_disconnected(std::move(hook)); }
MUSTER_INLINE void ConnectionManager::on_user_online(UserHook hook) { hooks_.on_user_online(std::move(hook)); }
MUSTER_INLINE void ConnectionManager::on_user_offline(UserHook hook) { hooks_.on_user_offline(std::move(hook)); }
MUSTER_INLINE void ConnectionManager::on_room_opened(RoomHook hook) { hooks_.on_room_opened(std::move(hook)); }
MUSTER_INLINE void ConnectionManager::on_room_emptied(RoomHook hook) { hooks_.on_room_emptied(std::move(hook)); }

MUSTER_INLINE std::vector<ConnectionInfo> ConnectionManager::connections_in(const RoomKey& key) const {
  const RoomPtr room = table_.find(key);
  return room ? directory_.in(*room) : std::vector<ConnectionInfo>();
}
MUSTER_INLINE std::size_t ConnectionManager::connection_count() const {
  return connections_.authenticated_and_pending().first;
}
MUSTER_INLINE std::size_t ConnectionManager::connection_count(const UserKey& user) const { return users_.count(user); }
MUSTER_INLINE std::size_t ConnectionManager::pending_count() const {
  return connections_.authenticated_and_pending().second;
}
MUSTER_INLINE bool ConnectionManager::is_online(const UserKey& user) const { return users_.contains(user); }
MUSTER_INLINE std::vector<std::string> ConnectionManager::online_users(std::string_view tenant) const {
  return users_.users_of(tenant);
}
MUSTER_INLINE std::size_t ConnectionManager::room_count() const { return table_.size(); }

MUSTER_INLINE Metrics ConnectionManager::metrics() const {
  Metrics sum;
  std::tie(sum.connections, sum.pending) = connections_.authenticated_and_pending();
  sum.reserved = admission_.taken();
  sum.users = users_.size();
  sum.rooms = table_.size();
  sum.awareness_entries = awareness_->size();
  sum.connections_total = counters_.connections_total;
  sum.refused_capacity = admission_.count(RefusedFor::capacity);
  sum.refused_per_ip = admission_.count(RefusedFor::per_ip);
  sum.refused_rate = admission_.count(RefusedFor::rate);
  sum.refused_auth = admission_.count(RefusedFor::auth);
  sum.refused_going_away = admission_.count(RefusedFor::going_away);
  sum.refused_host = admission_.count(RefusedFor::host);
  sum.refused_origin = admission_.count(RefusedFor::origin);
  sum.refused_path = admission_.count(RefusedFor::path);
  sum.refused_request = admission_.count(RefusedFor::request);
  for (std::size_t i = 0; i < close_reason_count; ++i) sum.closed[i] = ending_.count(static_cast<CloseReason>(i));
  sum.sweep_findings = counters_.sweep_findings;
  sum.lost = ending_.lost();
  sum.sessions_held = kept_sessions_.held();
  sum.resumes = counters_.resumes;
  sum.resumes_failed = counters_.resumes_failed;
  sum.queued = queues_.queued();
  sum.queue_dropped = queues_.dropped();
  sum.session_store_failures = sessions_.failed() + queues_.failed();
  sum.history_bytes = bytes_.bytes();
  sum.waiting_bytes = *bytes_.waiting();
  sum.history_dropped = rooms_.history_dropped();
  sum.refused_when_full = rooms_.refused_when_full();
  core::LoopCounters counters;
  loops_.add_to(counters);
  sum.messages_in = counters.messages_in.get();
  sum.bytes_in = counters.bytes_in.get();
  sum.writes = counters.writes.get();
  sum.bytes_out = counters.bytes_out.get();
  sum.deliveries = counters.deliveries.get();
  sum.blocks = counters.blocks.get();
  sum.conflated = publishing_.conflated() + counters.conflated.get();
  sum.gaps = counters.gaps.get();
  sum.errors = counters.errors.get();
  sum.rate_limited = counters.rate_limited.get();
  sum.callback_failures = counters.callback_failures.get();
  return sum;
}

MUSTER_INLINE void ConnectionManager::explain(ConnectionId id, Function<void(std::optional<Explanation>)> done) {
  const ConnectionPtr connection = directory_.locate(id);
  if (!connection) {
    done(std::nullopt);
    return;
  }
  const auto shared_done = std::make_shared<Function<void(std::optional<Explanation>)>>(std::move(done));
  const bool posted = post(connection->loop, [connection, shared_done](ConnectionManager& manager) {
    Explanation story;
    if (const auto info = manager.find(connection->id_)) {
      story.info = *info;
    } else {
      story.info.id = connection->id_;
      story.info.remote_address = connection->remote_address().text;
    }
    story.info.status = connection->status_;
    if (connection->transport) connection->outbox.recount(*connection->transport);
    story.counters = connection->counters();
    story.protocol = std::string(connection->loop->formats[connection->format].protocol->name());
    story.waiting_commands = connection->waiting.size();
    story.behind = connection->behind;
    const auto since = [at = connection->loop->executor->now()](TimePoint then) {
      return std::chrono::duration_cast<std::chrono::milliseconds>(at - then);
    };
    if (connection->outbox.unsent() != 0) story.unsent_age = since(connection->outbox.waiting_since());
    for (const Membership& membership : connection->memberships) {
      if (membership.missed) story.conflated += membership.missed->size();
    }
    story.since_last_inbound = since(connection->last_inbound);
    if (connection->last_pong != TimePoint{}) story.since_last_pong = since(connection->last_pong);
    story.expires_at = connection->identity_->expires_at;
    story.resumed = connection->resumed;
    story.close_reason = connection->close_reason;
    (*shared_done)(std::move(story));
  });
  if (!posted) (*shared_done)(std::nullopt);
}

MUSTER_INLINE std::size_t ConnectionManager::send(ConnectionId id, const Payload& payload) {
  const auto info = directory_.info(id);
  const ConnectionPtr connection = info ? connections_.find(info->id) : nullptr;
  if (!connection) return 0;
  return post(connection->loop,
              [connection, payload](ConnectionManager& manager) {
                if (connection->live()) manager.writer_.tell_direct(*connection, payload);
              })
             ? 1
             : 0;
}

MUSTER_INLINE std::size_t ConnectionManager::send_to_user(const UserKey& user, const Payload& payload) {
  std::size_t reached = 0;
  for (const ConnectionPtr& connection : users_.of(user)) reached += send(connection->id_, payload);
  return reached;
}

MUSTER_INLINE std::size_t ConnectionManager::send_to_user(const UserKey& user, const Payload& payload,
                                                          const Delivery& delivery, QueuedDone done) {
  if (delivery.kind() != Delivery::Kind::queued) {
    const std::size_t reached = send_to_user(user, payload);
    if (done) done(Queued{});
    return reached;
  }
  const std::size_t there = users_.count(user);
  queues_.enqueue(user, {0, payload, {}, {}}, std::move(done));
  return there;
}

/// A room's message without a seq, to one member.
MUSTER_INLINE std::size_t ConnectionManager::send_in_room(ConnectionId id, std::string room, const Payload& payload) {
  const ConnectionPtr connection = directory_.locate(id);
  if (!connection) return 0;
  const bool posted = post(connection->loop, [connection, room = std::move(room), payload](ConnectionManager& manager) {
    if (!connection->live() || connection->membership(room) == nullptr) return;
    event::RoomMessage message;
    message.room = room;
    message.data = &payload;
    manager.writer_.tell(*connection, message);
  });
  return posted ? 1 : 0;
}

MUSTER_INLINE std::size_t ConnectionManager::send_to_users(const std::vector<UserKey>& users, const Payload& payload) {
  std::size_t reached = 0;
  for (const UserKey& user : users) reached += send_to_user(user, payload);
  return reached;
}

MUSTER_INLINE std::size_t ConnectionManager::send_to_tenant(std::string_view tenant, const Payload& payload) {
  const std::size_t reached = users_.of_tenant(tenant).size();
  for (const LoopPtr& loop : loops_.all()) {
    (void)post(loop, [loop, payload, tenant = std::optional<std::string>(tenant)](ConnectionManager& manager) {
      event::DirectMessage message;
      message.data = &payload;
      manager.writer_.broadcast(loop, tenant, message);
    });
  }
  return reached;
}

MUSTER_INLINE std::size_t ConnectionManager::send_to_all(const Payload& payload) {
  const std::size_t reached = connection_count();
  for (const LoopPtr& loop : loops_.all()) {
    (void)post(loop, [loop, payload](ConnectionManager& manager) {
      event::DirectMessage message;
      message.data = &payload;
      manager.writer_.broadcast(loop, std::nullopt, message);
    });
  }
  return reached;
}

MUSTER_INLINE void ConnectionManager::publish(const RoomKey& key, const Payload& payload, Delivery delivery,
                                              ConnectionId exclude, PublishDone done) {
  if (exclude) {
    if (const auto info = connections_.info(exclude)) exclude = info->member;
  }
  publishing_.publish(key, {payload, std::move(delivery), exclude, {}, {}}, std::move(done));
}

}  // namespace MUSTER_ABI
}  // namespace muster
