// MemorySessionStore: resume tokens and offline queues kept in this process, and gone with it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "muster/config.hpp"
#include "muster/core/base/intrusive_table.hpp"
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
  /// Each costs about 180 bytes, 80 more while it waits to be taken up, and what its room names and a long user name cost.
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
  ~MemorySessionStore() override {
    const core::Lock lock(mutex_);
    tokens_.clear([](Token& token) { delete &token; });
    sessions_.clear([](Known& known) { delete &known; });
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
    std::uint64_t acknowledged = 0;                 ///< by whichever reader is farthest
    std::map<ConnectionId, std::uint64_t> cursors;  ///< what a session has acknowledged; one that is not here, nothing
  };
  /// By user, as `packed`.
  using Queues = std::unordered_map<std::string, Queue>;
  /// A session that has a token, or whose last one was taken a short while ago.
  struct Known {
    std::string user;  ///< as `packed`
    ConnectionId id;
    std::uint64_t generation = 0;  ///< the newest: who comes with an older one has lost it
    TimePoint forgotten_at{};      ///< while it has no token
    Known* next_by_id = nullptr;
    Known* next_by_user = nullptr;
    Known** at_by_user = nullptr;
    std::uint32_t tokens = 0;
  };
  struct Token;
  /// Tokens that wait to be taken up, by when they expire, and the session's rooms.
  using Dropped = std::multimap<TimePoint, std::pair<Token*, core::PackedStrings>>;
  struct Token {
    core::Digest hash{};
    Known* session = nullptr;
    std::uint64_t generation = 0;
    Dropped::iterator dropped;  ///< the end while it is connected
    Token* next_by_hash = nullptr;
  };
  struct Id {
    static ConnectionId of(const Known& known) noexcept { return known.id; }
    static std::size_t hash(ConnectionId id) noexcept { return std::hash<ConnectionId>{}(id); }
  };
  struct User {
    static const std::string& of(const Known& known) noexcept { return known.user; }
    static std::size_t hash(const std::string& user) noexcept { return std::hash<std::string>{}(user); }
  };
  struct Hash {
    static const core::Digest& of(const Token& token) noexcept { return token.hash; }
    static std::size_t hash(const core::Digest& digest) noexcept {
      std::size_t hash = 0;  // it is one already
      std::memcpy(&hash, digest.data(), sizeof(hash));
      return hash;
    }
  };
  /// When it ends, and a session's or a message's id.
  using Expiry = std::pair<TimePoint, std::uint64_t>;

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

  /// One string, as it is kept for each session, and short for most: the tenant's length, seven bits a byte, tenant, user.
  static std::string packed(const UserKey& user) {
    std::string key;
    key.reserve(1 + user.tenant.size() + user.user.size());
    std::size_t length = user.tenant.size();
    for (; length >= 0x80; length >>= 7U) key.push_back(static_cast<char>(0x80U | (length & 0x7fU)));
    key.push_back(static_cast<char>(length));
    return key.append(user.tenant).append(user.user);
  }
  static std::string_view tenant_of(std::string_view packed_user) {
    std::size_t at = 0;
    std::size_t length = 0;
    for (unsigned shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(packed_user[at++]);
      length |= static_cast<std::size_t>(byte & 0x7fU) << shift;
      if (byte < 0x80) return packed_user.substr(at, length);
    }
  }

  [[nodiscard]] Result<void> save_now(const std::string& token_hash, Session session, TimePoint now,
                                      TimePoint expires) {
    const core::Digest key = key_of(token_hash);
    std::string user = packed(session.user);
    core::PackedStrings rooms(session.rooms.size(), [&](std::size_t i) { return std::string_view(session.rooms[i]); });
    const core::Lock lock(mutex_);
    drop_expired_sessions(now);
    Token* token = tokens_.find(key);
    Known* known = sessions_.find(session.id);
    if (known != nullptr && (known->generation > session.generation || known->user != user)) {
      return Error{errc::resume_failed, "The session is another connection's now", {}};
    }
    if ((token == nullptr && beyond(tokens_.size(), 1, limits_.sessions)) ||
        (known == nullptr && beyond(sessions_.size(), 1, limits_.sessions))) {
      return full("No room for more sessions");
    }
    // All that needs memory, before anything changes.
    std::unique_ptr<Token> new_token;
    std::unique_ptr<Known> new_known;
    if (token == nullptr) {
      new_token = std::make_unique<Token>();
      tokens_.make_room();
      token = new_token.get();
      token->hash = key;
    }
    Dropped drop;
    if (expires != TimePoint::max()) drop.emplace(expires, std::make_pair(token, std::move(rooms)));
    if (known == nullptr) {
      new_known = std::make_unique<Known>();
      sessions_.make_room();
      sessions_by_user_.make_room();
      known = new_known.get();
      known->id = session.id;
      known->user = std::move(user);
      const auto queue = queues_.find(known->user);
      if (queue != queues_.end()) queue->second.cursors[session.id] = queue->second.acknowledged;
    }
    if (new_known) {
      sessions_.insert(*known);
      sessions_by_user_.insert(*new_known.release());
    }
    Known* const before = token->session;
    if (new_token) {
      tokens_.insert(*new_token.release());
    } else {
      keep(*token);
    }
    token->dropped = drop.empty() ? dropped_.end() : dropped_.insert(drop.extract(drop.begin()));
    token->session = known;
    token->generation = known->generation = session.generation;
    if (known->tokens++ == 0) taken_.erase({known->forgotten_at, session.id.value()});
    if (before != nullptr) release(*before);  // after the new one was counted: the last takes the session with it
    return {};
  }

  [[nodiscard]] Result<Session> take_now(const std::string& token_hash, const UserKey& user, ConnectionId connection,
                                         TimePoint now) {
    const core::Digest key = key_of(token_hash);
    const core::Lock lock(mutex_);
    drop_expired_sessions(now);
    Token* const token = tokens_.find(key);
    if (token == nullptr || token->session->user != packed(user)) return not_resumable();
    Known& known = *token->session;
    // Another token of the same session was taken since.
    if (known.generation != token->generation) return not_resumable();
    const bool waits = token->dropped != dropped_.end();
    Session taken{known.id, user, known.generation + 1, connection,
                  waits ? token->dropped->second.second.unpack() : std::vector<std::string>()};
    if (known.tokens == 1) {  // outlives its last token: the taker is about to save another
      const TimePoint forgotten_at = std::min(waits ? token->dropped->first : TimePoint::max(), later(now, taken_for));
      taken_.insert({forgotten_at, known.id.value()});
      known.forgotten_at = forgotten_at;
    }
    ++known.generation;
    ++known.tokens;
    drop_token(*token);
    --known.tokens;
    return taken;
  }
  static Error not_resumable() {
    return {errc::resume_failed, "The session is unknown, was taken already or has expired", {}};
  }

  [[nodiscard]] Result<void> forget_now(const std::string& token_hash) {
    const core::Digest key = key_of(token_hash);
    const core::Lock lock(mutex_);
    if (Token* const token = tokens_.find(key)) drop_token(*token);
    return {};
  }

  /// Looks at every token: rare, and a few milliseconds for a hundred thousand.
  [[nodiscard]] Result<std::size_t> revoke_now(const Revocation& which) {
    const std::string of = packed({which.tenant, which.user.value_or(std::string())});
    std::vector<Token*> revoked;
    const core::Lock lock(mutex_);
    tokens_.for_each([&](Token& token) {
      const Known& known = *token.session;
      const bool matches = which.session ? known.id == *which.session
                           : which.user  ? known.user == of
                                         : known.user.compare(0, of.size(), of) == 0;
      if (matches) revoked.push_back(&token);
    });
    for (Token* const token : revoked) drop_token(*token);
    return revoked.size();
  }

  [[nodiscard]] Result<Queued> enqueue_now(const UserKey& user, QueuedMessage message, const QueueLimits& limits,
                                           TimePoint now) {
    const std::size_t size = message.payload.view().size();
    if (limits.messages == 0 || size > limits.bytes) {
      return Error{errc::too_large, "The message is larger than an offline queue may be", {}};
    }
    const std::string key = packed(user);
    const core::Lock lock(mutex_);
    drop_expired_sessions(now);
    if (!has_room(user.tenant, size)) {
      while (!queued_by_expiry_.empty() && queued_by_expiry_.begin()->first.first <= now) drop_expired_message();
      if (!has_room(user.tenant, size)) return full("No room for more queued messages");
    }
    const auto to = queues_.try_emplace(key).first;
    try {
      return append(*to, std::move(message), limits, now);
    } catch (...) {
      trim(key);
      throw;
    }
  }
  [[nodiscard]] Queued append(Queues::value_type& to, QueuedMessage message, const QueueLimits& limits, TimePoint now)
      MUSTER_REQUIRES(mutex_) {
    Queue& queue = to.second;
    const std::size_t size = message.payload.view().size();
    const TimePoint expires = later(now, limits.age);
    Queued queued;
    while (!queue.waiting.empty() && (queue.waiting.front().expires <= now || queue.waiting.size() >= limits.messages ||
                                      queue.bytes > limits.bytes - size)) {
      drop_front(to);
      ++queued.dropped;
    }
    message.queue_id = queued.queue_id = ++last_queue_id_;
    std::size_t& of_tenant = tenant_bytes_[std::string(tenant_of(to.first))];
    const auto expiry = queued_by_expiry_.insert({{expires, queued.queue_id}, &to}).first;
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
    const std::string user = packed(reader.user);
    const core::Lock lock(mutex_);
    const auto queue = queues_.find(user);
    if (queue == queues_.end()) return messages;
    after = std::max(after, is_session(reader.session, user) ? cursor_of(queue->second, reader.session)
                                                             : queue->second.acknowledged);
    for (const Waiting& waiting : queue->second.waiting) {
      if (waiting.message.queue_id > after && waiting.expires > now) messages.push_back(waiting.message);
    }
    return messages;
  }

  [[nodiscard]] Result<void> acknowledge_now(const QueueReader& reader, std::uint64_t queue_id) {
    const std::string user = packed(reader.user);
    const core::Lock lock(mutex_);
    const auto at = queues_.find(user);
    if (at == queues_.end()) return {};
    Queue& queue = at->second;
    queue_id = std::min(queue_id, last_queue_id_);
    if (is_session(reader.session, user)) {
      std::uint64_t& cursor = queue.cursors[reader.session];
      cursor = std::max(cursor, queue_id);
    }
    queue.acknowledged = std::max(queue.acknowledged, queue_id);
    trim(user);
    return {};
  }
  [[nodiscard]] bool is_session(ConnectionId id, const std::string& user) const MUSTER_REQUIRES(mutex_) {
    const Known* const known = sessions_.find(id);
    return known != nullptr && known->user == user;
  }
  static std::uint64_t cursor_of(const Queue& queue, ConnectionId session) {
    const auto cursor = queue.cursors.find(session);
    return cursor == queue.cursors.end() ? 0 : cursor->second;
  }

  /// Nobody can come back to it, and no message waits for it any longer.
  void drop_session(Known& known) MUSTER_REQUIRES(mutex_) {
    const std::unique_ptr<Known> dropped(&known);
    sessions_.erase(known);
    sessions_by_user_.erase(known);
    const auto queue = queues_.find(known.user);
    if (queue == queues_.end()) return;
    queue->second.cursors.erase(known.id);
    trim(known.user);
  }
  void drop_token(Token& token) MUSTER_REQUIRES(mutex_) {
    const std::unique_ptr<Token> dropped(&token);
    keep(token);
    tokens_.erase(token);
    release(*token.session);
  }
  /// It is connected, or gone: it does not wait to be taken up.
  void keep(Token& token) MUSTER_REQUIRES(mutex_) {
    if (token.dropped != dropped_.end()) dropped_.erase(token.dropped);
    token.dropped = dropped_.end();
  }
  void release(Known& known) MUSTER_REQUIRES(mutex_) {
    if (--known.tokens == 0) drop_session(known);
  }
  void drop_expired_sessions(TimePoint now) MUSTER_REQUIRES(mutex_) {
    while (!dropped_.empty() && dropped_.begin()->first <= now) drop_token(*dropped_.begin()->second.first);
    while (!taken_.empty() && taken_.begin()->first <= now) {
      const ConnectionId session(taken_.begin()->second);
      taken_.erase(taken_.begin());
      drop_session(*sessions_.find(session));
    }
  }

  /// Removes what every session has; and the queue with its last message.
  void trim(const std::string& user) MUSTER_REQUIRES(mutex_) {
    const auto at = queues_.find(user);
    Queue& queue = at->second;
    std::uint64_t all_have = queue.acknowledged;
    for (const Known* one = sessions_by_user_.find(user); one != nullptr; one = sessions_by_user_.find_next(*one)) {
      all_have = std::min(all_have, cursor_of(queue, one->id));
    }
    while (!queue.waiting.empty() && queue.waiting.front().message.queue_id <= all_have) drop_front(*at);
    if (queue.waiting.empty()) queues_.erase(at);
  }
  [[nodiscard]] bool has_room(const std::string& tenant, std::size_t size) const MUSTER_REQUIRES(mutex_) {
    const auto held = tenant_bytes_.find(tenant);
    return !beyond(bytes_, size + surroundings, limits_.queued_bytes) &&
           !beyond(held == tenant_bytes_.end() ? 0 : held->second, size + surroundings,
                   limits_.queued_bytes_per_tenant);
  }
  void uncharge(Queues::value_type& of, const Waiting& waiting) MUSTER_REQUIRES(mutex_) {
    of.second.bytes -= waiting.message.payload.view().size();
    bytes_ -= charge(waiting.message);
    const auto held = tenant_bytes_.find(tenant_of(of.first));
    held->second -= charge(waiting.message);
    if (held->second == 0) tenant_bytes_.erase(held);
  }
  void drop_front(Queues::value_type& of) MUSTER_REQUIRES(mutex_) {
    const Waiting& oldest = of.second.waiting.front();
    queued_by_expiry_.erase({oldest.expires, oldest.message.queue_id});
    uncharge(of, oldest);
    of.second.waiting.pop_front();
  }
  void drop_expired_message() MUSTER_REQUIRES(mutex_) {
    const auto first = queued_by_expiry_.begin();
    Queues::value_type& of = *first->second;
    auto expired = of.second.waiting.begin();
    while (expired->message.queue_id != first->first.second) ++expired;
    queued_by_expiry_.erase(first);
    uncharge(of, *expired);
    of.second.waiting.erase(expired);
    trim(of.first);
  }

  const MemorySessionLimits limits_;
  mutable core::Mutex mutex_;
  core::IntrusiveTable<Token, Hash, &Token::next_by_hash> tokens_ MUSTER_GUARDED_BY(mutex_);
  Dropped dropped_ MUSTER_GUARDED_BY(mutex_);
  core::IntrusiveTable<Known, Id, &Known::next_by_id> sessions_ MUSTER_GUARDED_BY(mutex_);
  core::IntrusiveTable<Known, User, &Known::next_by_user, &Known::at_by_user> sessions_by_user_
      MUSTER_GUARDED_BY(mutex_);
  std::set<Expiry> taken_ MUSTER_GUARDED_BY(mutex_);
  Queues queues_ MUSTER_GUARDED_BY(mutex_);
  std::map<Expiry, Queues::value_type*> queued_by_expiry_ MUSTER_GUARDED_BY(mutex_);
  std::map<std::string, std::size_t, std::less<>> tenant_bytes_ MUSTER_GUARDED_BY(mutex_);
  std::size_t bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::uint64_t last_queue_id_ MUSTER_GUARDED_BY(mutex_) = 0;
};

}  // namespace MUSTER_ABI
}  // namespace muster
