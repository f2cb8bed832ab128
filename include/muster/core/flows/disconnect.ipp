// The disconnect flow: five steps, exactly once, whatever the cause. No step waits for anything.
#pragma once

#include <algorithm>

#include "muster/core/outward/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {

namespace core {

/// As much of a text as a close frame takes, cut between characters (RFC 6455, 5.5 and 5.5.1).
[[nodiscard]] inline std::string_view close_text(std::string_view text) {
  constexpr std::size_t longest = 123;
  if (text.size() <= longest) return text;
  std::size_t end = longest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
  return text.substr(0, end);
}

}  // namespace core

/// What a disconnect needs memory for, taken before anything has changed.
struct ConnectionManager::Parting {
  UserKey user;
  /// In which it has no place any more.
  std::vector<RoomPtr> former;
  /// The names of all rooms of its session.
  std::vector<std::string> names;
  core::Clearings clearing;
};

MUSTER_INLINE void ConnectionManager::prepare_parting(ConnectionState& connection, Parting& parting) {
  parting.user.tenant = connection.identity_->tenant;
  parting.user.user = connection.identity_->user;
  std::vector<RoomPtr> kept;
  if (connection.resumed) kept = kept_sessions_.rooms_of(connection.member);
  parting.former.reserve(connection.memberships.size() + kept.size());
  if (connection.session_generation != 0) {
    parting.names = connection.room_names();
    for (const RoomPtr& room : kept) parting.names.push_back(room->key.name);
  }
  parting.clearing = state_flush_.clearing_for(*connection.loop, connection.member, nullptr);
}

MUSTER_INLINE void ConnectionManager::disconnect(ConnectionState& connection, CloseReason reason, std::string_view text,
                                                 bool socket_gone) noexcept {
  if (connection.ended()) {
    if (socket_gone) gone(connection);
    return;
  }
  if (connection.open_done) {
    Error error{errc::unavailable, {}, {}};
    (void)connection.contain("A refusal", [&] { error.message = text; });
    return refuse_open(connection, reason, std::move(error));
  }
  const ConnectionPtr keep = connection.shared_from_this();
  const bool was_live = connection.live();
  Loop& loop = *connection.loop;
  Parting parting;
  if (!connection.contain("A disconnect", [&] { prepare_parting(connection, parting); })) {
    return connection.put_off(reason, socket_gone);
  }

  // What was answered already still goes out, if the pipe takes it now; after the decision no data frame follows.
  const bool broken = socket_gone || reason == CloseReason::lost || reason == CloseReason::heartbeat_timeout ||
                      reason == CloseReason::slow_consumer;
  if (!broken && !connection.outbox.in_flight() && connection.outbox.has_queued()) {
    (void)connection.contain("A transport", [&] {
      writer_.seal_replies(loop);
      core::Handed handed;
      (void)connection.outbox.write(*connection.transport, loop.lent, handed);
      connection.counted.bytes_out += handed.bytes;
      loop.counters.writes.add(handed.writes);
      loop.counters.bytes_out.add(handed.bytes);
    });
  }

  // 1. Stop message processing.
  connection.status_ = ConnectionStatus::disconnecting;
  connection.close_reason = reason;
  ++connection.generation;
  connection.question.reset();
  connection.beat_timer.cancel();
  connection.answer_timer.cancel();
  connection.guard_timer.cancel();
  connection.expiry_timer.cancel();
  connection.pace.reset();
  connection.waiting.clear();

  // 2. Leave every room. Where the session may come back, its places wait for it, and so does what is told to others.
  const bool waits = was_live && sessions_.keep(connection, reason, socket_gone);
  while (!connection.memberships.empty()) {
    const RoomPtr room = connection.memberships.back().room;
    if (!waits) parting.former.push_back(room);
    (void)joining_.part_from_room(connection, connection.memberships.size() - 1, reason, waits, [&] {
      if (!waits) joining_.give_up_place(loop, room, connection.member);
      return true;
    });
  }
  if (was_live && !waits && connection.resumed) {
    for (RoomPtr& room : kept_sessions_.take_rooms(connection.member)) {
      joining_.give_up_place(loop, room, connection.member);
      (void)connection.contain("The end of a room", [&] { rooms_.settle(loop, room); });
      if (parting.former.size() < parting.former.capacity()) parting.former.push_back(std::move(room));
    }
  }
  if (was_live) sessions_.part_from(connection, reason, std::move(parting.names));

  // 3. Clear awareness, and 4. tell the others.
  if (was_live && !waits) state_flush_.clear_awareness(loop, parting.clearing);

  // 5. Dispose.
  connection.outbox.discard();
  if (!socket_gone) dispose(connection, reason, text);
  connections_.erase(connection.id_);
  kept_sessions_.part(connection.member, &connection);
  core::UserTable::Edge edge;
  if (was_live) edge = users_.remove(parting.user, keep);
  ++counters_.closed[static_cast<std::size_t>(reason)];
  if (was_live) tell_disconnected(connection, reason);
  if (was_live) {
    (void)edges_.tell(loop, parting.user, std::move(edge), parting.former, std::move(connection.left_rooms));
  }
  connection.status_ = was_live || socket_gone ? ConnectionStatus::disconnected : ConnectionStatus::rejected;
  if (socket_gone) gone(connection);
}

MUSTER_INLINE void ConnectionManager::tell_disconnected(ConnectionState& connection, CloseReason reason) noexcept {
  if (connection.greeted) (void)hooks_.disconnected(connection, reason);
}

MUSTER_INLINE void ConnectionManager::dispose(ConnectionState& connection, CloseReason reason,
                                              std::string_view text) noexcept {
  const bool deaf =
      reason == CloseReason::lost || reason == CloseReason::heartbeat_timeout;  // nobody would answer a close
  const auto& protocol = connection.loop->formats[connection.format].protocol;
  const std::string_view said = text.empty() ? describe(reason).text : text;
  const bool closed = !deaf && connection.contain("A transport", [&] {
    connection.transport->close(protocol->close_code(reason), core::close_text(said));
  });
  if (!closed) (void)connection.contain("A transport", [&] { connection.transport->abort(); });
}

/// The socket is released: so is its place, and nothing of the connection is needed any more.
MUSTER_INLINE void ConnectionManager::gone(ConnectionState& connection) noexcept {
  if (std::exchange(connection.socket_gone, true)) return;
  const ConnectionPtr keep = connection.shared_from_this();
  Loop& loop = *connection.loop;
  // Blocks are this executor's: whoever holds the connection longest must not be the one who lets go of them.
  connection.outbox.discard();
  (void)connection.outbox.batch_done();
  if (connection.dirty)
    std::replace(loop.dirty.begin(), loop.dirty.end(), &connection, static_cast<ConnectionState*>(nullptr));
  loop.connections.back()->index = connection.index;
  std::swap(loop.connections[connection.index], loop.connections.back());
  loop.connections.pop_back();
  connection.transport.reset();
  connection.reservation.release();
  connection.latches.clear();
}

MUSTER_INLINE void ConnectionManager::closed(Connection& from, CloseReason cause) {
  auto& connection = static_cast<ConnectionState&>(from);
  const ConnectionPtr keep = connection.shared_from_this();
  if (connection.ended()) {
    gone(connection);
  } else {
    disconnect(connection, cause, {}, true);
  }
}

MUSTER_INLINE void ConnectionManager::fail(Connection& from, CloseReason reason, std::string_view text) {
  disconnect(static_cast<ConnectionState&>(from), reason, text);
}

MUSTER_INLINE bool ConnectionManager::remove(ConnectionId id, CloseReason reason, std::string text) {
  const ConnectionPtr connection = directory_.locate(id);
  if (!connection) return false;
  return post(connection->loop, [connection, reason, text = std::move(text)](ConnectionManager& manager) {
    manager.disconnect(*connection, reason, text);
  });
}

MUSTER_INLINE bool ConnectionManager::kick(ConnectionId id, std::string text, bool reconnect) {
  const ConnectionPtr connection = directory_.locate(id);
  if (!connection) return false;
  return post(connection->loop, [connection, reconnect, text = std::move(text)](ConnectionManager& manager) {
    if (connection->live()) manager.writer_.tell(*connection, event::Kicked{text, reconnect});
    manager.disconnect(*connection, CloseReason::kicked, text);
  });
}

MUSTER_INLINE void ConnectionManager::close_all(CloseReason reason, std::string text,
                                                Function<void(std::size_t)> done) {
  const auto latch = std::make_shared<core::Latch>(std::move(done));
  for (const LoopPtr& loop : loops_.all()) {
    const bool posted = post(loop, [loop, latch, reason, text](ConnectionManager& manager) {
      const std::vector<ConnectionPtr> connections = loop->connections;
      for (const ConnectionPtr& connection : connections) {
        connection->latches.push_back(latch);
        if (connection->ended()) continue;
        latch->count();
        manager.disconnect(*connection, reason, text);
      }
    });
    if (!posted) bury(loop);
  }
}

MUSTER_INLINE void ConnectionManager::shutdown(Function<void()> done) {
  admission_.close();
  sessions_.end_graces([](const core::Grace&) { return true; }, false);
  close_all(CloseReason::going_away, {}, [weak = weak_from_this(), done = std::move(done)](std::size_t) mutable {
    if (const auto manager = weak.lock()) {
      manager->let_go(std::move(done));
    } else if (done) {
      done();
    }
  });
}

/// Handlers and hooks go when no executor has anything left that would call them.
MUSTER_INLINE void ConnectionManager::let_go(Function<void()> done) {
  const auto all =
      std::make_shared<core::Latch>([weak = weak_from_this(), done = std::move(done)](std::size_t) mutable {
        if (const auto manager = weak.lock()) manager->hooks_.clear();
        if (done) done();
      });
  for (const LoopPtr& loop : loops_.all()) (void)post(loop, [all](ConnectionManager&) {});
}

MUSTER_INLINE void ConnectionManager::beat(ConnectionState& connection) {
  Loop& loop = *connection.loop;
  const TimePoint now_here = loop.executor->now();
  if (connection.awaiting_pong && connection.last_inbound < connection.ping_sent_at) {
    // Nobody is silent whose words are not read, or who has not been asked yet because the pipe is full and being emptied.
    const bool takes = connection.outbox.progressed_for_ping(*connection.transport);
    const TimePoint due = connection.pauses != 0 || takes ? now_here + options_.pong_timeout
                                                          : connection.ping_sent_at + options_.pong_timeout;
    if (due > now_here) {
      loop.arm(connection.beat_timer, due);
      return;
    }
    disconnect(connection, CloseReason::heartbeat_timeout, {});
    return;
  }
  if (connection.awaiting_pong) {
    connection.awaiting_pong = false;
    const TimePoint next = connection.ping_sent_at + options_.heartbeat;
    if (next > now_here) {
      loop.arm(connection.beat_timer, next);
      return;
    }
  }
  if (connection.outbox.control_bytes() == 0) {  // else the one that waits will do
    std::string ping;
    loop.formats[connection.format].wire->append(FrameKind::ping, {}, ping);
    connection.outbox.append_control(std::move(ping), now_here);
    writer_.mark_dirty(connection);
  }
  (void)connection.outbox.progressed_for_ping(*connection.transport);  // from here on
  connection.awaiting_pong = true;
  connection.ping_sent_at = now_here;
  loop.arm(connection.beat_timer, now_here + options_.pong_timeout);
}

MUSTER_INLINE void ConnectionManager::on_answer_late(ConnectionState& connection) { questions_.expire(connection); }

MUSTER_INLINE void ConnectionManager::on_guard(ConnectionState& connection) {
  const ConnectionPtr keep = connection.shared_from_this();
  if (!connection.live()) {
    disconnect(connection, CloseReason::auth_required, "Authentication timeout");
    return;
  }
  if (!connection.outbox.in_flight()) return;
  // What was on its way when the pipe was full has arrived by the first look: from there on less is progress.
  const bool first = connection.outbox.first_look();
  if (connection.outbox.progressed(*connection.transport) || first) {
    const auto until_next = first ? options_.unsent_age - options_.unsent_age / 8 : options_.unsent_age;
    connection.loop->arm(connection.guard_timer, connection.loop->executor->now() + until_next);
  } else {
    disconnect(connection, CloseReason::slow_consumer, {});
  }
}

}  // namespace MUSTER_ABI
}  // namespace muster
