// Reading, telling and storing what waits for a user.
#pragma once

#include <algorithm>
#include <utility>

#include "muster/core/flows/queues.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// A new connection gets its user's queue before anything it asks for; commands wait until then. So does one that takes
/// a session up, before it hears `resumed`: what the session lacks may be older than what the connection was sent as a
/// new one. Then all of it comes, in order, since acknowledging one acknowledges those before it.
MUSTER_INLINE void Queues::deliver(ConnectionState& connection, Function<void(ConnectionState&)> then) {
  if (options_.offline_messages == 0) {
    if (then) then(connection);
    return;
  }
  connection.queue_loading = true;
  connection.queue_asked_at = connection.loop->executor->now();
  ++connection.queue_reading;  // a reading of before is not waited for
  const bool whole = connection.queue_whole;
  questions_.ask<Result<std::vector<QueuedMessage>>>(
      connection,
      [&](Reply<Result<std::vector<QueuedMessage>>> reply) {
        // A session that has just begun is where its user is, as is a reader without one.
        store_.pending(whole ? reader_of(connection) : QueueReader{user_of(connection), {}},
                       whole ? 0 : connection.queue_cursor, connection.queue_asked_at, std::move(reply));
      },
      [this, whole, then = std::move(then)](ConnectionState& asker,
                                            const Result<std::vector<QueuedMessage>>& messages) mutable {
        tell_queued(asker, messages, whole);
        if (then && !asker.ended()) then(asker);
      },
      Error{errc::unavailable, {}, {}});  // told to nobody
}

/// Something was added, or the client has caught up: what lies behind the cursor is read and told. One reading at a
/// time, so that the order holds; one that never ends is given up after `answer_timeout`.
MUSTER_INLINE void Queues::deliver_more(ConnectionState& connection) {
  if (!connection.live()) return;
  const TimePoint now = connection.loop->executor->now();
  if (connection.queue_loading && now < connection.queue_asked_at + options_.answer_timeout) {
    connection.queue_again = true;
    return;
  }
  connection.queue_loading = connection.queue_unread = true;
  connection.queue_again = false;
  connection.queue_asked_at = now;
  const std::uint32_t reading = ++connection.queue_reading;
  const bool whole = connection.queue_whole;
  const bool well = connection.contain("The session store", [&] {
    store_.pending(
        reader_of(connection), whole ? 0 : connection.queue_cursor, now,
        Reply<Result<std::vector<QueuedMessage>>>([this, life = life_.handle(), of = connection.weak_from_this(),
                                                   reading, whole](Result<std::vector<QueuedMessage>> messages) {
          const auto alive = life.lock();
          const auto asker = of.lock();
          if (!alive || !asker) return;
          (void)asker->loop->post([this, asker, reading, whole, messages = std::move(messages)] {
            if (asker->live() && asker->queue_reading == reading) tell_queued(*asker, messages, whole);
          });
        }));
  });
  if (!well) connection.queue_loading = false;
  read_again(connection);
}

/// After `answer_timeout`, should nothing have been read until then. Whoever is connected gets its queue also when the
/// store fails for a while. One look at a time, however much is queued.
MUSTER_INLINE void Queues::read_again(ConnectionState& connection) {
  if (std::exchange(connection.queue_watched, true)) return;
  const auto& executor = connection.loop->executor;
  (void)executor->schedule(executor->now() + options_.answer_timeout,
                           [this, life = life_.handle(), of = connection.weak_from_this()] {
                             const auto alive = life.lock();
                             const auto asker = of.lock();
                             if (!alive || !asker) return;
                             asker->queue_watched = false;
                             if (!asker->live() || !asker->queue_unread) return;
                             read_again(*asker);  // the reading of now may be younger than this look
                             deliver_more(*asker);
                           });
}

MUSTER_INLINE void Queues::tell_queued(ConnectionState& connection, const Result<std::vector<QueuedMessage>>& messages,
                                       bool whole) {
  connection.queue_loading = false;
  connection.queue_unread = !messages;
  if (!messages) {
    ++failed_;
    read_again(connection);
    return;
  }
  if (whole) {
    connection.queue_whole = false;
    const bool lacks_older = !messages.value().empty() && messages.value().front().queue_id < connection.queue_first;
    if (lacks_older) connection.queue_cursor = 0;
  }
  for (const QueuedMessage& message : messages.value()) {
    if (message.queue_id <= connection.queue_cursor) continue;
    if (!writer_.takes_more(connection)) {  // the rest when it has caught up
      connection.queue_again = true;
      return;
    }
    connection.queue_cursor = message.queue_id;
    if (connection.queue_first == 0 || message.queue_id < connection.queue_first)
      connection.queue_first = message.queue_id;
    event::DirectMessage direct;
    direct.from = message.from;
    direct.from_user = message.from_user;
    direct.data = &message.payload;
    direct.queue_id = message.queue_id;
    writer_.tell(connection, direct);
  }
  if (connection.queue_again) deliver_more(connection);
}

MUSTER_INLINE void Queues::enqueue(const UserKey& user, QueuedMessage message, QueuedDone done) {
  if (options_.offline_messages == 0) {
    if (done) done(Error{errc::not_supported, "Offline queues are switched off (offline_messages is 0)", {}});
    return;
  }
  const auto shared_done = std::make_shared<QueuedDone>(std::move(done));
  const Reply<Result<Queued>> reply([this, life = life_.handle(), user, shared_done](Result<Queued> queued) {
    if (const auto alive = life.lock()) {
      if (queued) {
        ++queued_;
        dropped_ += queued.value().dropped;
        for (const ConnectionPtr& connection : users_.of(user)) {
          (void)connection->loop->post([this, connection] { deliver_more(*connection); });
        }
      } else {
        ++failed_;
      }
    }
    if (*shared_done) (*shared_done)(std::move(queued));
  });
  try {
    store_.enqueue(user, std::move(message), {options_.offline_messages, options_.offline_bytes, options_.offline_age},
                   loops_.read_clock(), reply);
  } catch (const std::exception& failure) {
    failures_.log(LogLevel::error, std::string("The session store threw: ") + failure.what());
    reply(Error{errc::unavailable, "The session store failed", std::chrono::seconds(1)});
  }
}

/// A client's: answered when it is stored.
MUSTER_INLINE void Queues::send(ConnectionState& connection, const Correlation& correlation,
                                const command::Send& sending) {
  const UserKey user{connection.identity_->tenant, sending.user};
  const std::size_t there = users_.count(user);
  questions_.ask<Result<Queued>>(
      connection,
      [&](Reply<Result<Queued>> reply) {
        enqueue(user, {0, sending.data, connection.member, connection.identity_->user},
                [reply](Result<Queued> queued) { reply(std::move(queued)); });
      },
      [this, correlation, there](ConnectionState& sender, const Result<Queued>& queued) {
        if (!queued) {
          writer_.tell_error(sender, &correlation, queued.error());
        } else if (correlation.reply) {
          event::Ack ack;
          ack.delivered = there;
          ack.queued = true;
          writer_.tell(sender, ack, &correlation);
        }
      },
      Error{errc::unavailable, "The session store did not answer in time", std::chrono::seconds(1)});
}

MUSTER_INLINE void Queues::acknowledge(ConnectionState& connection, const Correlation& correlation,
                                       std::uint64_t queue_id) {
  // What was not sent to it yet cannot be acknowledged by it.
  const std::uint64_t up_to = std::min(queue_id, connection.queue_cursor);
  questions_.ask<Result<void>>(
      connection,
      [&](Reply<Result<void>> reply) { store_.acknowledge(reader_of(connection), up_to, std::move(reply)); },
      [this, correlation](ConnectionState& asker, const Result<void>& done) {
        if (!done) {
          writer_.tell_error(asker, &correlation, done.error());
        } else if (correlation.reply) {
          writer_.tell(asker, event::Ack{}, &correlation);
        }
      },
      Error{errc::unavailable, "The session store did not answer in time", std::chrono::seconds(1)});
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
