// MemorySessionStore: resume tokens and offline queues kept in this process, and gone with it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <list>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "muster/config.hpp"
#include "muster/core/base/mutex.hpp"
#include "muster/core/base/packed_strings.hpp"
#include "muster/core/base/sha256.hpp"
#include "muster/error.hpp"
#include "muster/message.hpp"
#include "muster/reply.hpp"
#include "muster/session_store.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// What a MemorySessionStore may hold (0 = no limit). At a bound it drops what has expired, then answers `unavailable`.
struct MemorySessionLimits {
  /// Each costs about 270 bytes, 70 more while it waits to be taken up, and what its room names and a long user name cost.
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
  explicit MemorySessionStore(MemorySessionLimits limits = {}) : limits_(limits) {
    // Half as many buckets, for a look at one more entry.
    tokens_.max_load_factor(2);
    sessions_.max_load_factor(2);
    users_.max_load_factor(2);
  }

  void save(std::string token_hash, Session session, TimePoint now, TimePoint expires,
            Reply<Result<void>> done) override {
    done(save_now(token_hash, std::move(session), now, expires));
  }
  /// An attempt that fails leaves the session as it was.
  void take(std::string token_hash, UserKey user, ConnectionId connection, TimePoint now,
            Reply<Result<Session>> done) override {
    done(take_now(token_hash, user, connection, now));
  }
  void forget(std::string token_hash, Reply<Result<void>> done) override { done(forget_now(token_hash)); }

  void revoke(Revocation which, Reply<Result<std::size_t>> done) override { done(revoke_now(which)); }

  /// A payload that no limit lets in is `too_large`, and drops nothing.
  void enqueue(UserKey user, QueuedMessage message, QueueLimits limits, TimePoint now,
               Reply<Result<Queued>> done) override {
    done(enqueue_now(user, std::move(message), limits, now));
  }
  void pending(QueueReader reader, std::uint64_t after, TimePoint now,
               Reply<Result<std::vector<QueuedMessage>>> done) override {
    done(pending_now(reader, after, now));
  }
  void acknowledge(QueueReader reader, std::uint64_t queue_id, Reply<Result<void>> done) override {
    done(acknowledge_now(reader, queue_id));
  }

  /// Sessions that can be taken, and messages that wait; expired ones may be among them.
  [[nodiscard]] std::size_t session_count() const {
    const core::Lock lock(mutex_);
    return tokens_.size();
  }
  [[nodiscard]] std::size_t queued_count() const {
    const core::Lock lock(mutex_);
    return queued_by_expiry_.size();
  }

 private:
  struct Waiting {
    QueuedMessage message;
    TimePoint expires;
  };
  struct Queue {
    std::list<Waiting> waiting;
    std::size_t bytes = 0;
    std::uint64_t acknowledged = 0;  ///< by whichever reader is farthest
  };
  struct Known;
  /// Who has a queue or a session, and the first of its sessions.
  using Users = std::unordered_map<UserKey, Known*>;
  /// A session that has a token, or whose last one was taken a short while ago.
  struct Known {
    Users::value_type* user = nullptr;
    std::uint64_t generation = 0;  ///< the newest: who comes with an older one has lost it
    std::uint64_t cursor = 0;      ///< what it has acknowledged of its user's queue
    std::size_t tokens = 0;
    TimePoint forgotten_at{};  ///< while it has no token
    Known* next = nullptr;
    Known* previous = nullptr;
  };
  using Sessions = std::unordered_map<ConnectionId, Known>;
  struct Token {
    Sessions::value_type* session = nullptr;
    std::uint64_t generation = 0;
    core::PackedStrings rooms;  ///< while it is connected, there are none
    TimePoint expires{};
  };
  struct HashOfKey {
    std::size_t operator()(const core::Digest& key) const noexcept {
      std::size_t hash = 0;  // a digest is one already
      std::memcpy(&hash, key.data(), sizeof(hash));
      return hash;
    }
  };
  using Tokens = std::unordered_map<core::Digest, Token, HashOfKey>;
  struct TokenExpiry {
    TimePoint when;
    Tokens::value_type* token;
    bool operator<(const TokenExpiry& other) const {
      return when != other.when ? when < other.when : std::less<Tokens::value_type*>()(token, other.token);
    }
  };
  struct Expiry {
    TimePoint when;
    std::uint64_t id;         ///< of a session, or of a message in a queue
    Users::value_type* user;  ///< whose queue it is
    bool operator<(const Expiry& other) const { return when != other.when ? when < other.when : id < other.id; }
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
  /// The bytes that a hash of 64 digits stands for; of another string, a digest that no token has.
  static core::Digest key_of(const std::string& token_hash) {
    const auto digest = core::parse_digest(token_hash);
    return digest ? *digest : core::sha256("not a digest: " + token_hash);
  }

  [[nodiscard]] Result<void> save_now(const std::string& token_hash, Session session, TimePoint now,
                                      TimePoint expires) {
    const core::Digest key = key_of(token_hash);
    core::PackedStrings rooms(session.rooms.size(), [&](std::size_t i) { return std::string_view(session.rooms[i]); });
    const core::Lock lock(mutex_);
    drop_expired_sessions(now);
    auto at = tokens_.find(key);
    const bool is_new = at == tokens_.end();
    auto known = sessions_.find(session.id);
    if (known != sessions_.end() &&
        (known->second.generation > session.generation || known->second.user->first != session.user)) {
      return Error{errc::resume_failed, "The session is another connection's now", {}};
    }
    if ((is_new && beyond(tokens_.size(), 1, limits_.sessions)) ||
        (known == sessions_.end() && beyond(sessions_.size(), 1, limits_.sessions))) {
      return full("No room for more sessions");
    }
    if (known == sessions_.end()) known = add_session(session);
    try {
      if (is_new) at = tokens_.emplace(key, Token{}).first;
      if (expires != TimePoint::max()) tokens_by_expiry_.insert({expires, &*at});
    } catch (...) {  // nothing was changed then
      if (is_new && at != tokens_.end()) tokens_.erase(at);
      if (known->second.tokens == 0 && known->second.forgotten_at == TimePoint{}) drop_session(known);
      throw;
    }
    Token& token = at->second;
    Sessions::value_type* const before = token.session;
    if (before != nullptr && token.expires != expires) tokens_by_expiry_.erase({token.expires, &*at});
    token = Token{&*known, session.generation, std::move(rooms), expires};
    known->second.generation = session.generation;
    if (known->second.tokens++ == 0) taken_.erase({known->second.forgotten_at, session.id.value(), nullptr});
    if (before != nullptr) release(*before);  // after the new one was counted: the last takes the session with it
    return {};
  }

  [[nodiscard]] Result<Session> take_now(const std::string& token_hash, const UserKey& user, ConnectionId connection,
                                         TimePoint now) {
    const core::Digest key = key_of(token_hash);
    const core::Lock lock(mutex_);
    drop_expired_sessions(now);
    const auto at = tokens_.find(key);
    if (at == tokens_.end() || at->second.session->second.user->first != user) return not_resumable();
    Sessions::value_type& session = *at->second.session;
    Known& known = session.second;
    // Another token of the same session was taken since.
    if (known.generation != at->second.generation) return not_resumable();
    Session taken{session.first, user, known.generation + 1, connection, at->second.rooms.unpack()};
    if (known.tokens == 1) {  // outlives its last token: the taker is about to save another
      known.forgotten_at = std::min(at->second.expires, later(now, taken_for));
      taken_.insert({known.forgotten_at, session.first.value(), nullptr});
    }
    ++known.generation;
    ++known.tokens;
    drop_token(at);
    --known.tokens;
    return taken;
  }
  static Error not_resumable() {
    return {errc::resume_failed, "The session is unknown, was taken already or has expired", {}};
  }

  [[nodiscard]] Result<void> forget_now(const std::string& token_hash) {
    const core::Digest key = key_of(token_hash);
    const core::Lock lock(mutex_);
    const auto at = tokens_.find(key);
    if (at != tokens_.end()) drop_token(at);
    return {};
  }

  /// Looks at every token: rare, and a few milliseconds for a hundred thousand.
  [[nodiscard]] Result<std::size_t> revoke_now(const Revocation& which) {
    const core::Lock lock(mutex_);
    std::size_t revoked = 0;
    for (auto at = tokens_.begin(); at != tokens_.end();) {
      const auto token = at++;
      const auto& [id, known] = *token->second.session;
      const UserKey& user = known.user->first;
      if (which.session ? id != *which.session
                        : user.tenant != which.tenant || (which.user && user.user != *which.user)) {
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
    const core::Lock lock(mutex_);
    drop_expired_sessions(now);
    if (!has_room(user, size)) {
      while (!queued_by_expiry_.empty() && queued_by_expiry_.begin()->when <= now) drop_expired_message();
      if (!has_room(user, size)) return full("No room for more queued messages");
    }
    const auto to = users_.try_emplace(user).first;
    try {
      return append(queues_[&*to], *to, std::move(message), limits, now);
    } catch (...) {
      trim(*to);
      throw;
    }
  }
  [[nodiscard]] Queued append(Queue& queue, Users::value_type& user, QueuedMessage message, const QueueLimits& limits,
                              TimePoint now) MUSTER_REQUIRES(mutex_) {
    const std::size_t size = message.payload.view().size();
    const TimePoint expires = later(now, limits.age);
    Queued queued;
    while (!queue.waiting.empty() && (queue.waiting.front().expires <= now || queue.waiting.size() >= limits.messages ||
                                      queue.bytes > limits.bytes - size)) {
      drop_front(user.first, queue);
      ++queued.dropped;
    }
    message.queue_id = queued.queue_id = ++last_queue_id_;
    std::size_t& of_tenant = tenant_bytes_[user.first.tenant];
    const auto expiry = queued_by_expiry_.insert({expires, queued.queue_id, &user}).first;
    try {
      queue.waiting.push_back({std::move(message), expires});
    } catch (...) {
      queued_by_expiry_.erase(expiry);
      throw;
    }
    queue.bytes += size;
    bytes_ += size + surroundings;
    of_tenant += size + surroundings;
    return queued;
  }

  [[nodiscard]] Result<std::vector<QueuedMessage>> pending_now(const QueueReader& reader, std::uint64_t after,
                                                               TimePoint now) const {
    std::vector<QueuedMessage> messages;
    const core::Lock lock(mutex_);
    const auto user = users_.find(reader.user);
    if (user == users_.end()) return messages;
    const auto queue = queues_.find(&*user);
    if (queue == queues_.end()) return messages;
    const auto session = sessions_.find(reader.session);
    const bool known = session != sessions_.end() && session->second.user == &*user;
    after = std::max(after, known ? session->second.cursor : queue->second.acknowledged);
    for (const Waiting& waiting : queue->second.waiting) {
      if (waiting.message.queue_id > after && waiting.expires > now) messages.push_back(waiting.message);
    }
    return messages;
  }

  [[nodiscard]] Result<void> acknowledge_now(const QueueReader& reader, std::uint64_t queue_id) {
    const core::Lock lock(mutex_);
    const auto user = users_.find(reader.user);
    if (user == users_.end()) return {};
    const auto queue = queues_.find(&*user);
    if (queue == queues_.end()) return {};
    queue_id = std::min(queue_id, last_queue_id_);
    const auto session = sessions_.find(reader.session);
    if (session != sessions_.end() && session->second.user == &*user) {
      session->second.cursor = std::max(session->second.cursor, queue_id);
    }
    queue->second.acknowledged = std::max(queue->second.acknowledged, queue_id);
    trim(*user);
    return {};
  }

  [[nodiscard]] Sessions::iterator add_session(const Session& session) MUSTER_REQUIRES(mutex_) {
    const auto added = sessions_.emplace(session.id, Known{}).first;
    Users::iterator user;
    try {
      user = users_.try_emplace(session.user).first;
    } catch (...) {
      sessions_.erase(added);
      throw;
    }
    Known& known = added->second;
    known.user = &*user;
    const auto queue = queues_.find(&*user);
    if (queue != queues_.end()) known.cursor = queue->second.acknowledged;
    known.next = std::exchange(user->second, &known);
    if (known.next != nullptr) known.next->previous = &known;
    return added;
  }
  /// Nobody can come back to it, and no message waits for it any longer.
  void drop_session(Sessions::iterator at) MUSTER_REQUIRES(mutex_) {
    const Known known = at->second;
    (known.previous == nullptr ? known.user->second : known.previous->next) = known.next;
    if (known.next != nullptr) known.next->previous = known.previous;
    sessions_.erase(at);
    trim(*known.user);
  }
  void drop_token(Tokens::iterator at) MUSTER_REQUIRES(mutex_) {
    if (at->second.expires != TimePoint::max()) tokens_by_expiry_.erase({at->second.expires, &*at});
    Sessions::value_type& session = *at->second.session;
    tokens_.erase(at);
    release(session);
  }
  void release(Sessions::value_type& session) MUSTER_REQUIRES(mutex_) {
    if (--session.second.tokens == 0) drop_session(sessions_.find(session.first));
  }
  void drop_expired_sessions(TimePoint now) MUSTER_REQUIRES(mutex_) {
    while (!tokens_by_expiry_.empty() && tokens_by_expiry_.begin()->when <= now) {
      drop_token(tokens_.find(tokens_by_expiry_.begin()->token->first));
    }
    while (!taken_.empty() && taken_.begin()->when <= now) {
      drop_session(sessions_.find(ConnectionId(taken_.begin()->id)));
      taken_.erase(taken_.begin());
    }
  }

  /// Removes what every session has; and the user with its last message and session.
  void trim(Users::value_type& user) MUSTER_REQUIRES(mutex_) {
    const auto queue = queues_.find(&user);
    if (queue != queues_.end()) {
      std::uint64_t all_have = queue->second.acknowledged;
      for (const Known* one = user.second; one != nullptr; one = one->next) all_have = std::min(all_have, one->cursor);
      auto& waiting = queue->second.waiting;
      while (!waiting.empty() && waiting.front().message.queue_id <= all_have) drop_front(user.first, queue->second);
      if (!waiting.empty()) return;
      queues_.erase(queue);
    }
    if (user.second == nullptr) users_.erase(users_.find(user.first));
  }
  [[nodiscard]] bool has_room(const UserKey& user, std::size_t size) const MUSTER_REQUIRES(mutex_) {
    const auto tenant = tenant_bytes_.find(user.tenant);
    return !beyond(bytes_, size + surroundings, limits_.queued_bytes) &&
           !beyond(tenant == tenant_bytes_.end() ? 0 : tenant->second, size + surroundings,
                   limits_.queued_bytes_per_tenant);
  }
  void uncharge(const std::string& tenant, Queue& queue, const Waiting& waiting) MUSTER_REQUIRES(mutex_) {
    queue.bytes -= waiting.message.payload.view().size();
    bytes_ -= charge(waiting.message);
    const auto held = tenant_bytes_.find(tenant);
    held->second -= charge(waiting.message);
    if (held->second == 0) tenant_bytes_.erase(held);
  }
  void drop_front(const UserKey& user, Queue& queue) MUSTER_REQUIRES(mutex_) {
    const Waiting& oldest = queue.waiting.front();
    queued_by_expiry_.erase({oldest.expires, oldest.message.queue_id, nullptr});
    uncharge(user.tenant, queue, oldest);
    queue.waiting.pop_front();
  }
  void drop_expired_message() MUSTER_REQUIRES(mutex_) {
    const Expiry expiry = *queued_by_expiry_.begin();
    Queue& queue = queues_.find(expiry.user)->second;
    auto expired = queue.waiting.begin();
    while (expired->message.queue_id != expiry.id) ++expired;
    queued_by_expiry_.erase(queued_by_expiry_.begin());
    uncharge(expiry.user->first.tenant, queue, *expired);
    queue.waiting.erase(expired);
    trim(*expiry.user);
  }

  const MemorySessionLimits limits_;
  mutable core::Mutex mutex_;
  Tokens tokens_ MUSTER_GUARDED_BY(mutex_);
  std::set<TokenExpiry> tokens_by_expiry_ MUSTER_GUARDED_BY(mutex_);
  Sessions sessions_ MUSTER_GUARDED_BY(mutex_);
  std::set<Expiry> taken_ MUSTER_GUARDED_BY(mutex_);
  Users users_ MUSTER_GUARDED_BY(mutex_);
  std::unordered_map<const Users::value_type*, Queue> queues_ MUSTER_GUARDED_BY(mutex_);
  std::set<Expiry> queued_by_expiry_ MUSTER_GUARDED_BY(mutex_);
  std::unordered_map<std::string, std::size_t> tenant_bytes_ MUSTER_GUARDED_BY(mutex_);
  std::size_t bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::uint64_t last_queue_id_ MUSTER_GUARDED_BY(mutex_) = 0;
};

}  // namespace MUSTER_ABI
}  // namespace muster
