// MemorySessionStore: resume tokens and offline queues kept in this process, and gone with it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "muster/config.hpp"
#include "muster/detail/mutex.hpp"
#include "muster/error.hpp"
#include "muster/message.hpp"
#include "muster/reply.hpp"
#include "muster/session_store.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// What a MemorySessionStore may hold (0 = no limit). At a bound it drops what has expired, then answers `unavailable`.
struct MemorySessionLimits {
  /// Each costs what its id, user and room names cost, and about 300 bytes.
  std::size_t sessions = 100'000;
  /// Payloads of all queues, and of one tenant's; each message is charged 128 bytes more, for what surrounds it.
  std::size_t queued_bytes = std::size_t{512} * 1024 * 1024;
  std::size_t queued_bytes_per_tenant = std::size_t{128} * 1024 * 1024;
};

/// A SessionStore in memory. It answers inside the call, after its lock was released.
///
/// Queue ids come from one counter: a user's ids still grow after the queue was empty and its memory given back.
class MemorySessionStore final : public SessionStore {
 public:
  explicit MemorySessionStore(MemorySessionLimits limits = {}) : limits_(limits) {}

  /// Answers false, and stores nothing, when the session is at a newer generation already.
  void save(std::string token_hash, Session session, TimePoint now, TimePoint expires,
            Reply<Result<bool>> done) override {
    done(save_now(std::move(token_hash), std::move(session), now, expires));
  }
  /// An attempt that fails leaves the session as it was.
  void take(std::string token_hash, UserKey user, ConnectionId connection, TimePoint now,
            Reply<Result<Session>> done) override {
    done(take_now(token_hash, user, connection, now));
  }
  /// Answers whether there was one.
  void forget(std::string token_hash, Reply<Result<bool>> done) override { done(forget_now(token_hash)); }

  void revoke(Revocation which, Reply<Result<std::size_t>> done) override { done(revoke_now(which)); }

  /// A payload that no limit lets in is `too_large`, and drops nothing.
  void enqueue(UserKey user, QueuedMessage message, QueueLimits limits, TimePoint now, Reply<Result<Queued>> done) override {
    done(enqueue_now(user, std::move(message), limits, now));
  }
  void pending(UserKey user, std::uint64_t after, TimePoint now,
               Reply<Result<std::vector<QueuedMessage>>> done) override {
    done(pending_now(user, after, now));
  }
  /// Answers whether anything was removed.
  void acknowledge(UserKey user, std::uint64_t queue_id, Reply<Result<bool>> done) override {
    done(acknowledge_now(user, queue_id));
  }

  /// Sessions that can be taken, and messages that wait; expired ones may be among them.
  [[nodiscard]] std::size_t session_count() const {
    const detail::Lock lock(mutex_);
    return tokens_.size();
  }
  [[nodiscard]] std::size_t queued_count() const {
    const detail::Lock lock(mutex_);
    return queued_by_expiry_.size();
  }

 private:
  struct Token {
    Session session;
    TimePoint expires;
  };
  struct Generation {
    std::uint64_t number = 0;
    std::size_t tokens = 0;
    TimePoint forgotten_at{};  ///< while it has no token
  };
  struct Waiting {
    QueuedMessage message;
    TimePoint expires;
  };
  struct Queue {
    std::deque<Waiting> waiting;
    std::size_t bytes = 0;
  };
  struct Expiry {
    TimePoint when;
    std::uint64_t queue_id;
    UserKey user;
    friend bool operator<(const Expiry& a, const Expiry& b) {
      return a.when != b.when ? a.when < b.when : a.queue_id < b.queue_id;
    }
  };

  static constexpr std::size_t surroundings = 128;
  /// How long a taker may take to save its own token.
  static constexpr std::chrono::milliseconds taken_for = std::chrono::minutes(5);
  static std::size_t charge(const QueuedMessage& message) { return message.payload.view().size() + surroundings; }
  static bool beyond(std::size_t held, std::size_t more, std::size_t limit) {
    return limit != 0 && (more > limit || held > limit - more);
  }
  static TimePoint later(TimePoint now, std::chrono::milliseconds age) {
    return age < std::chrono::duration_cast<std::chrono::milliseconds>(TimePoint::max() - now) ? now + age
                                                                                               : TimePoint::max();
  }
  static Error full(const char* what) { return {errc::unavailable, what, {}}; }

  [[nodiscard]] Result<bool> save_now(std::string token_hash, Session session, TimePoint now, TimePoint expires) {
    const detail::Lock lock(mutex_);
    drop_expired_sessions(now);
    auto known = generations_.find(session.id);
    if (known != generations_.end() && known->second.number > session.generation) return false;
    const auto at = tokens_.find(token_hash);
    if ((at == tokens_.end() && beyond(tokens_.size(), 1, limits_.sessions)) ||
        (known == generations_.end() && beyond(generations_.size(), 1, limits_.sessions))) {
      return full("No room for more sessions");
    }
    if (known == generations_.end()) known = generations_.try_emplace(session.id).first;
    Generation& generation = known->second;
    generation.number = session.generation;
    if (generation.tokens++ == 0) taken_.erase({generation.forgotten_at, session.id});
    if (at != tokens_.end()) drop_token(at);  // after the new one was counted: the last takes the generation with it
    if (expires != TimePoint::max()) tokens_by_expiry_.insert({expires, token_hash});
    tokens_.emplace(std::move(token_hash), Token{std::move(session), expires});
    return true;
  }

  [[nodiscard]] Result<Session> take_now(const std::string& token_hash, const UserKey& user, ConnectionId connection,
                                         TimePoint now) {
    const detail::Lock lock(mutex_);
    drop_expired_sessions(now);
    const auto at = tokens_.find(token_hash);
    if (at == tokens_.end() || at->second.session.user != user) return not_resumable();
    const auto generation = generations_.find(at->second.session.id);
    // Another token of the same session was taken since.
    if (generation->second.number != at->second.session.generation) return not_resumable();
    Session session = at->second.session;
    const TimePoint token_expires = at->second.expires;
    ++generation->second.tokens;  // outlives its last token: the taker is about to save another
    drop_token(at);
    if (--generation->second.tokens == 0) {
      generation->second.forgotten_at = std::min(token_expires, later(now, taken_for));
      taken_.insert({generation->second.forgotten_at, session.id});
    }
    session.generation = ++generation->second.number;
    session.connection = connection;
    return session;
  }
  static Error not_resumable() {
    return {errc::resume_failed, "The session is unknown, was taken already or has expired", {}};
  }

  [[nodiscard]] Result<bool> forget_now(const std::string& token_hash) {
    const detail::Lock lock(mutex_);
    const auto at = tokens_.find(token_hash);
    if (at == tokens_.end()) return false;
    drop_token(at);
    return true;
  }

  /// Looks at every token: rare, and a few milliseconds for a hundred thousand.
  [[nodiscard]] Result<std::size_t> revoke_now(const Revocation& which) {
    const detail::Lock lock(mutex_);
    std::size_t revoked = 0;
    for (auto at = tokens_.begin(); at != tokens_.end();) {
      const auto token = at++;
      const Session& session = token->second.session;
      if (which.session ? session.id != *which.session
                        : session.user.tenant != which.tenant || (which.user && session.user.user != *which.user)) {
        continue;
      }
      drop_token(token);
      ++revoked;
    }
    return revoked;
  }

  [[nodiscard]] Result<Queued> enqueue_now(const UserKey& user, QueuedMessage message, const QueueLimits& limits,
                                           TimePoint now) {
    const std::size_t size = message.payload.view().size();
    if (limits.messages == 0 || size > limits.bytes) {
      return Error{errc::too_large, "The message is larger than an offline queue may be", {}};
    }
    const detail::Lock lock(mutex_);
    if (!has_room(user, size)) {
      while (!queued_by_expiry_.empty() && queued_by_expiry_.begin()->when <= now) drop_expired_message();
      if (!has_room(user, size)) return full("No room for more queued messages");
    }
    Queue& queue = queues_[user];
    Queued queued;
    while (!queue.waiting.empty() && (queue.waiting.front().expires <= now || queue.waiting.size() >= limits.messages ||
                                      queue.bytes > limits.bytes - size)) {
      drop_front(user, queue);
      ++queued.dropped;
    }
    queued.queue_id = ++last_queue_id_;
    message.queue_id = queued.queue_id;
    queue.waiting.push_back({std::move(message), later(now, limits.age)});
    queue.bytes += size;
    const Waiting& added = queue.waiting.back();
    queued_by_expiry_.insert({added.expires, queued.queue_id, user});
    bytes_ += charge(added.message);
    tenant_bytes_[user.tenant] += charge(added.message);
    return queued;
  }

  [[nodiscard]] Result<std::vector<QueuedMessage>> pending_now(const UserKey& user, std::uint64_t after,
                                                               TimePoint now) const {
    std::vector<QueuedMessage> messages;
    const detail::Lock lock(mutex_);
    const auto queue = queues_.find(user);
    if (queue == queues_.end()) return messages;
    for (const Waiting& waiting : queue->second.waiting) {
      if (waiting.message.queue_id > after && waiting.expires > now) messages.push_back(waiting.message);
    }
    return messages;
  }

  [[nodiscard]] Result<bool> acknowledge_now(const UserKey& user, std::uint64_t queue_id) {
    const detail::Lock lock(mutex_);
    const auto at = queues_.find(user);
    if (at == queues_.end()) return false;
    bool removed = false;
    Queue& queue = at->second;
    while (!queue.waiting.empty() && queue.waiting.front().message.queue_id <= queue_id) {
      drop_front(user, queue);
      removed = true;
    }
    if (queue.waiting.empty()) queues_.erase(at);
    return removed;
  }

  // All below: locked.

  using Tokens = std::unordered_map<std::string, Token>;
  void drop_token(Tokens::iterator at) {
    if (at->second.expires != TimePoint::max()) tokens_by_expiry_.erase({at->second.expires, at->first});
    const auto generation = generations_.find(at->second.session.id);
    if (--generation->second.tokens == 0) generations_.erase(generation);  // nobody can come back to it
    tokens_.erase(at);
  }
  void drop_expired_sessions(TimePoint now) {
    while (!tokens_by_expiry_.empty() && tokens_by_expiry_.begin()->first <= now) {
      drop_token(tokens_.find(tokens_by_expiry_.begin()->second));
    }
    while (!taken_.empty() && taken_.begin()->first <= now) {
      generations_.erase(taken_.begin()->second);
      taken_.erase(taken_.begin());
    }
  }

  [[nodiscard]] bool has_room(const UserKey& user, std::size_t size) const {
    const auto tenant = tenant_bytes_.find(user.tenant);
    return !beyond(bytes_, size + surroundings, limits_.queued_bytes) &&
           !beyond(tenant == tenant_bytes_.end() ? 0 : tenant->second, size + surroundings,
                   limits_.queued_bytes_per_tenant);
  }
  void uncharge(const std::string& tenant, Queue& queue, const Waiting& waiting) {
    queue.bytes -= waiting.message.payload.view().size();
    bytes_ -= charge(waiting.message);
    const auto held = tenant_bytes_.find(tenant);
    held->second -= charge(waiting.message);
    if (held->second == 0) tenant_bytes_.erase(held);
  }
  void drop_front(const UserKey& user, Queue& queue) {
    const Waiting& oldest = queue.waiting.front();
    queued_by_expiry_.erase({oldest.expires, oldest.message.queue_id, {}});
    uncharge(user.tenant, queue, oldest);
    queue.waiting.pop_front();
  }
  void drop_expired_message() {
    const Expiry expiry = *queued_by_expiry_.begin();
    const auto at = queues_.find(expiry.user);
    Queue& queue = at->second;
    const auto expired = std::find_if(queue.waiting.begin(), queue.waiting.end(),
                                      [&](const Waiting& one) { return one.message.queue_id == expiry.queue_id; });
    queued_by_expiry_.erase(queued_by_expiry_.begin());
    uncharge(expiry.user.tenant, queue, *expired);
    queue.waiting.erase(expired);
    if (queue.waiting.empty()) queues_.erase(at);
  }

  const MemorySessionLimits limits_;
  mutable detail::Mutex mutex_;
  Tokens tokens_;
  std::set<std::pair<TimePoint, std::string>> tokens_by_expiry_;
  /// The newest generation of each session that has a token, or whose last one was taken a short while ago: who comes
  /// with an older one has lost it.
  std::unordered_map<std::string, Generation> generations_;
  std::set<std::pair<TimePoint, std::string>> taken_;
  std::unordered_map<UserKey, Queue> queues_;
  std::set<Expiry> queued_by_expiry_;
  std::unordered_map<std::string, std::size_t> tenant_bytes_;
  std::size_t bytes_ = 0;
  std::uint64_t last_queue_id_ = 0;
};

}  // namespace MUSTER_ABI
}  // namespace muster
