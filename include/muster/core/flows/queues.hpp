// Queues: the offline half of the session store. Stored first, pushed to who is there, removed only when acknowledged.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "muster/core/delivery/writer.hpp"
#include "muster/core/loop/loops.hpp"
#include "muster/core/outward/questions.hpp"
#include "muster/core/registry/connection_table.hpp"
#include "muster/session_store.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

[[nodiscard]] inline QueueReader reader_of(const ConnectionState& connection) {
  return {user_of(connection), connection.session_generation == 0 ? ConnectionId() : connection.member};
}

/// On the connection's executor, but for `enqueue`: any thread.
class Queues {
 public:
  Queues(const Options& options, SessionStore& store, const UserTable& users, const Loops& loops, const Life& life,
         Failures& failures, Questions& questions, Writer& writer)
      : options_(options),
        store_(store),
        users_(users),
        loops_(loops),
        life_(life),
        failures_(failures),
        questions_(questions),
        writer_(writer) {}

  void deliver(ConnectionState& connection, Function<void(ConnectionState&)> then);
  void deliver_more(ConnectionState& connection);
  void enqueue(const UserKey& user, QueuedMessage message, QueuedDone done);
  /// A client's: answered when it is stored.
  void send(ConnectionState& connection, const Correlation& correlation, const command::Send& sending);
  void acknowledge(ConnectionState& connection, const Correlation& correlation, std::uint64_t queue_id);

  [[nodiscard]] std::uint64_t queued() const noexcept { return queued_; }
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }
  /// What the store could not do.
  [[nodiscard]] std::uint64_t failed() const noexcept { return failed_; }

 private:
  void read_again(ConnectionState& connection);
  void tell_queued(ConnectionState& connection, const Result<std::vector<QueuedMessage>>& messages, bool whole);

  const Options& options_;
  SessionStore& store_;
  const UserTable& users_;
  const Loops& loops_;
  const Life& life_;
  Failures& failures_;
  Questions& questions_;
  Writer& writer_;
  std::atomic<std::uint64_t> queued_{0}, dropped_{0}, failed_{0};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
