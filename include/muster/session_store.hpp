// The seam that keeps what survives a connection: resume tokens and offline queues.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "muster/error.hpp"
#include "muster/message.hpp"
#include "muster/reply.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// What a resume token stands for. The token itself is never stored, only its hash.
struct Session {
  /// That of its first connection: others know each later one by it, too. Not 0.
  ConnectionId id;
  UserKey user;
  /// Grows with every connection that takes the session: a writer with an older one lost it.
  std::uint64_t generation = 0;
  /// The newest that spoke for it.
  ConnectionId connection;
  std::vector<std::string> rooms;
};

/// One message of an offline queue. Ids grow per user.
struct QueuedMessage {
  std::uint64_t queue_id = 0;
  Payload payload;
  /// Who sent it; 0: the server.
  ConnectionId from = {};
  std::string from_user = {};
};

/// Bounds of one user's queue; whichever is reached first drops the oldest.
struct QueueLimits {
  std::size_t messages = 100;
  std::size_t bytes = 256 * 1024;
  std::chrono::milliseconds age = std::chrono::hours(24);
};

/// Who reads a user's queue: one of its sessions, by id. 0: a connection that has no session.
struct QueueReader {
  UserKey user;
  ConnectionId session = {};
};

struct Queued {
  std::uint64_t queue_id = 0;
  std::size_t dropped = 0;  ///< older messages that had to go
};

/// Whose sessions end: all of a tenant; with `user`, that user's. With `session`, the one of this id alone, whoever's.
struct Revocation {
  std::string tenant;
  std::optional<std::string> user = std::nullopt;
  std::optional<ConnectionId> session = std::nullopt;
};

/// Sessions and offline queues. Asynchronous, because it may live in another process.
///
/// Threads: every method from any thread. Answers inside the call or later, from any thread; the asker has its own
/// deadline. `now` comes with each call: a store has no clock. Errors: `unavailable` when the back end does not
/// answer, others as said.
class SessionStore {
 public:
  virtual ~SessionStore() = default;

  /// Stores a session under the hash of its token until `expires` (TimePoint::max(): it is connected, and will be saved
  /// again when it drops), replacing what it had. `resume_failed`, and nothing is changed, when the session is at a newer
  /// generation already, or another user's: whoever saves it has lost it.
  virtual void save(std::string token_hash, Session session, TimePoint now, TimePoint expires,
                    Reply<Result<void>> done) = 0;
  /// Takes a session for `connection`, once: of two takers of a token one succeeds, at generation + 1, and the other
  /// gets `resume_failed`, as does an unknown or expired token and one of another user.
  virtual void take(std::string token_hash, UserKey user, ConnectionId connection, TimePoint now,
                    Reply<Result<Session>> done) = 0;
  /// Forgets a token, and with its last one the session. It is no error when there is none.
  virtual void forget(std::string token_hash, Reply<Result<void>> done) = 0;

  /// Forgets sessions with all their tokens, wherever their connections are; answers how many tokens that were.
  virtual void revoke(Revocation which, Reply<Result<std::size_t>> done) = 0;

  /// Appends to a user's queue, under the next id (that of `message` is ignored).
  virtual void enqueue(UserKey user, QueuedMessage message, QueueLimits limits, TimePoint now,
                       Reply<Result<Queued>> done) = 0;
  /// What this reader lacks of the queue, in order: what lies behind `after` and behind what it has acknowledged. A
  /// session begins, when it is saved first, behind what any session of the user has acknowledged until then; so does
  /// a reader without one.
  virtual void pending(QueueReader reader, std::uint64_t after, TimePoint now,
                       Reply<Result<std::vector<QueuedMessage>>> done) = 0;
  /// This reader has everything up to `queue_id`. A message is removed when every session of its user that is connected
  /// or can be taken up has acknowledged it; if there is none, at once.
  virtual void acknowledge(QueueReader reader, std::uint64_t queue_id, Reply<Result<void>> done) = 0;

 protected:
  SessionStore() = default;
  SessionStore(const SessionStore&) = default;
  SessionStore& operator=(const SessionStore&) = default;
};

}  // namespace MUSTER_ABI
}  // namespace muster
