// Construction, extension points, lookups and sending.
#pragma once

#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "muster/core/manager.hpp"
#include "muster/memory/memory_awareness_store.hpp"
#include "muster/memory/memory_session_store.hpp"
#include "muster/path_pattern.hpp"

namespace muster {
inline namespace MUSTER_ABI {

MUSTER_INLINE std::shared_ptr<IConnectionManager> make_connection_manager(Options options,
                                                                          std::shared_ptr<Authenticator> authenticator,
                                                                          std::shared_ptr<Authorizer> authorizer,
                                                                          Components components) {
  std::vector<std::string> found = problems(options);
  if (!authenticator) found.push_back("an authenticator is needed (AllowAnonymous lets everybody in)");
  if (!authorizer) found.push_back("an authorizer is needed (AllowAll allows everything)");
  if (components.protocols.empty()) found.push_back("at least one protocol is needed");
  for (const auto& protocol : components.protocols) {
    if (!protocol) {
      found.push_back("a protocol is null");
      continue;
    }
    if (std::string problem = muster::detail::problem_of_path(protocol->path()); !problem.empty()) {
      found.push_back(std::string(protocol->name()) + ": " + std::move(problem));
      continue;
    }
    for (const auto& before : components.protocols) {
      if (&before == &protocol) break;
      if (!before || before->name() != protocol->name() ||
          !muster::detail::match_path(before->path(), protocol->path()))
        continue;
      found.push_back("two protocols are called " + std::string(protocol->name()) + " at " +
                      std::string(protocol->path()) + ": only the first would ever be chosen");
      break;
    }
  }
  if (!found.empty()) {
    std::string message = "make_connection_manager:";
    for (const std::string& problem : found) message += " " + problem + ";";
    message.pop_back();
    throw std::invalid_argument(message);
  }
  std::shared_ptr<ConnectionManager> manager(new ConnectionManager(std::move(options), std::move(authenticator),
                                                                   std::move(authorizer), std::move(components)));
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
                                            : std::shared_ptr<MemoryAwarenessStore>(new MemoryAwarenessStore())),
      store_(components.session_store ? std::move(components.session_store)
                                      : std::shared_ptr<MemorySessionStore>(new MemorySessionStore(MemorySessionLimits{
                                            100'000, options_.total_bytes, options_.tenant_bytes}))),
      entropy_(components.random_seed),
      failures_(std::move(components.observer)),
      loops_(std::move(components.clock)),
      replicating_(std::move(components.broker), *awareness_) {}

MUSTER_INLINE void ConnectionManager::begin() {
  life_.begin(weak_from_this());
  if (replicating_.is_on()) replicating_.attach(broker_inbox_.sink());
}

MUSTER_INLINE ConnectionManager::~ConnectionManager() {
  replicating_.detach();
  hooks_.clear();  // a loop that somebody keeps must not keep handlers, which may keep it
  // Rooms, their parts, sessions and the loops know each other: take the knot apart.
  kept_sessions_.clear();
  table_.clear();
  for (const core::LoopPtr& loop : loops_.all()) {
    for (const core::ConnectionPtr& connection : loop->connections) {
      connection->memberships.clear();
      connections_.erase(*connection);  // what ends with it may look for others
    }
    loop->state_flushes.clear();
    loop->draining.clear();
    loop->connections.clear();
  }
}

template <auto Part, auto Method>
void ConnectionManager::fire_for_loop(void* self) {
  auto& loop = *static_cast<core::Loop*>(self);
  auto& part = static_cast<ConnectionManager*>(loop.owner)->*Part;
  (void)loop.contain("A timer", [&] { (part.*Method)(loop); });
}
template <auto Part, auto Method>
void ConnectionManager::fire_for_connection(void* self) {
  auto& connection = *static_cast<core::ConnectionState*>(self);
  auto& part = connection.owner().*Part;
  core::guard(connection.owner(), connection, "A timer", [&] { (part.*Method)(connection); });
}

MUSTER_INLINE void ConnectionManager::run_due(core::ConnectionState& connection) {
  const core::ConnectionPtr keep = connection.shared_from_this();
  connection.deadlines.run(*connection.loop, [&](core::Deadline due) {
    switch (due) {
      case core::Deadline::beat:
        return fire_for_connection<&ConnectionManager::heartbeats_, &core::Heartbeats::beat>(&connection);
      case core::Deadline::guard:
        return fire_for_connection<&ConnectionManager::heartbeats_, &core::Heartbeats::check>(&connection);
      case core::Deadline::expiry:
        return fire_for_connection<&ConnectionManager::authenticating_, &core::Authenticating::on_expiry>(&connection);
    }
  });
}

MUSTER_INLINE core::LoopPtr ConnectionManager::loop_for(const std::shared_ptr<Executor>& executor) {
  if (core::LoopPtr known = loops_.of(executor.get())) return known;
  constexpr core::LoopTimers timers{
      fire_for_loop<&ConnectionManager::state_flush_, &core::StateFlush::run_due>,
      fire_for_loop<&ConnectionManager::sessions_, &core::Sessions::run_due_graces>,
      fire_for_loop<&ConnectionManager::draining_, &core::Draining::close_next>,
      fire_for_loop<&ConnectionManager::sweeping_, &core::Sweeping::run_again>,
      fire_for_loop<&ConnectionManager::sweeping_, &core::Sweeping::expire_awareness>,
      fire_for_loop<&ConnectionManager::sweeping_, &core::Sweeping::retry>,
  };
  // Only this executor's own thread opens connections on it, so nobody else makes this loop meanwhile.
  std::shared_ptr<core::Loop> loop(new core::Loop(this, timers, life_.handle(), failures_, executor, entropy_.seed()));
  const bool is_only = loops_.add(loop);
  hooks_.refresh(*loop);
  loop->arm(loop->sweep_timer, executor->now() + options_.sweep_interval);
  if (options_.awareness_ttl.count() > 0) {
    loop->arm(loop->awareness_timer, executor->now() + core::awareness_check(options_));
  }
  // Where executors come and go faster than sweeps, the next one abandons those before it.
  if (!is_only) (void)loop->post([this, loop] { ending_.abandon_stopped(*loop); });
  return loop;
}

MUSTER_INLINE core::ConnectionPtr ConnectionManager::make_connection(const core::LoopPtr& loop, ConnectionId id,
                                                                     std::shared_ptr<Transport> transport) {
  const auto due = [](void* connection) { run_due(*static_cast<core::ConnectionState*>(connection)); };
  return std::make_shared<core::ConnectionState>(due, loop, id, std::move(transport));
}

MUSTER_INLINE void ConnectionManager::serve(std::string type, core::Handler handler) {
  bool reaches = false;
  for (const auto& protocol : protocols_) reaches = reaches || !protocol->serves(type);
  if (!reaches) {
    throw std::invalid_argument("on(\"" + type + "\"): " + std::string(protocols_.front()->name()) +
                                " serves that type itself, so the handler would never be called; choose another");
  }
  hooks_.on(std::move(type), std::move(handler));
  change_over();
}

MUSTER_INLINE bool ConnectionManager::off(std::string_view type, Function<void()> done) {
  const bool was_there = hooks_.off(type);
  change_over(std::move(done));
  return was_there;
}

MUSTER_INLINE void ConnectionManager::change_over(Function<void()> done) {
  const std::shared_ptr<core::Latch> all(new core::Latch([done = std::move(done)](std::size_t) mutable {
    if (done) done();
  }));
  for (const core::LoopPtr& loop : loops_.all()) {
    (void)loop->post([this, at = loop.get(), all] { hooks_.refresh(*at); });
  }
}

MUSTER_INLINE std::vector<ConnectionInfo> ConnectionManager::connections_in(const RoomKey& key) const {
  const core::RoomPtr room = table_.find(key);
  return room ? directory_.in(*room) : std::vector<ConnectionInfo>();
}

MUSTER_INLINE std::vector<RoomInfo> ConnectionManager::rooms(std::string_view tenant, std::string_view prefix,
                                                             std::string_view after, std::size_t limit) const {
  std::vector<RoomInfo> infos;
  for (const core::RoomPtr& room : table_.page(tenant, prefix, after, limit)) {
    core::Lock lock(room->mutex);
    infos.push_back({room->key, room->member_count(), {room->epoch, room->last_seq}});
  }
  return infos;
}

MUSTER_INLINE Metrics ConnectionManager::metrics() const {
  Metrics sum;
  const auto connections = connections_.authenticated_and_pending();
  sum.connections = connections.first;
  sum.pending = connections.second;
  sum.reserved = admission_.taken();
  sum.users = users_.size();
  sum.rooms = table_.size();
  sum.awareness_entries = awareness_->size();
  sum.connections_total = authenticating_.connections_total();
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
  sum.sweep_findings = sweeping_.findings();
  sum.lost = ending_.lost();
  sum.sessions_held = kept_sessions_.held();
  sum.resumes = resuming_.resumed();
  sum.resumes_failed = resuming_.failed();
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
  sum.slowed = counters.slowed.get();
  sum.loop_lag = counters.lag.get();
  sum.command_wait = counters.command_wait.get();
  sum.handler_time = counters.handler_time.get();
  sum.latest_wait = counters.latest_wait.get();
  return sum;
}

MUSTER_INLINE void ConnectionManager::explain(ConnectionId id, Function<void(std::optional<Explanation>)> done) {
  const core::ConnectionPtr connection = directory_.locate(id);
  if (!connection) {
    done(std::nullopt);
    return;
  }
  const auto shared_done = std::shared_ptr<Function<void(std::optional<Explanation>)>>(
      new Function<void(std::optional<Explanation>)>(std::move(done)));
  const bool posted = connection->loop->post([this, connection, shared_done] {
    Explanation story;
    if (const auto info = find(connection->id_)) {
      story.info = *info;
    } else {
      story.info.id = connection->id_;
      story.info.remote_address = connection->remote_address().text;
    }
    story.info.status = connection->status_;
    if (connection->transport) connection->outbox.recount(*connection->transport);
    story.counters = connection->counters();
    story.protocol = std::string(connection->loop->formats[connection->format].protocol->name());
    story.waiting_commands = connection->waiting_commands();
    story.behind = connection->behind;
    const auto since = [at = connection->loop->executor->now()](TimePoint then) {
      return std::chrono::duration_cast<std::chrono::milliseconds>(at - then);
    };
    if (connection->outbox.unsent() != 0) story.unsent_age = since(connection->outbox.waiting_since());
    for (const core::Membership& membership : connection->memberships) {
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

MUSTER_INLINE void ConnectionManager::publish(const RoomKey& key, const Payload& payload, Delivery delivery,
                                              ConnectionId exclude, PublishDone done) {
  if (exclude) {
    if (const ConnectionId member = connections_.member(exclude)) exclude = member;
  }
  publishing_.publish(key, {payload, std::move(delivery), exclude, {}, {}}, std::move(done));
}

}  // namespace MUSTER_ABI
}  // namespace muster
