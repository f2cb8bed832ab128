// The five steps, and who goes through them.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "muster/core/flows/ending.hpp"

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

/// What a disconnect needs memory for, taken before anything has changed.
struct Ending::Parting {
  UserKey user;
  /// In which it has no seat any more.
  std::vector<RoomPtr> former;
  /// The names of all rooms of its session.
  std::vector<std::string> names;
  Clearings clearing;
};

MUSTER_INLINE void Ending::prepare_parting(ConnectionState& connection, Parting& parting) {
  parting.user = user_of(connection);
  std::vector<RoomPtr> kept;
  if (connection.resumed) kept = kept_.kept_of(connection.member).rooms;
  parting.former.reserve(connection.memberships.size() + kept.size());
  if (connection.session_generation != 0) {
    parting.names = connection.room_names();
    for (const RoomPtr& room : kept) parting.names.push_back(room->key.name);
  }
  parting.clearing = state_flush_.clearing_for(*connection.loop, connection.member, nullptr);
}

MUSTER_INLINE void Ending::end(ConnectionState& connection, CloseReason reason, std::string_view text,
                               bool socket_gone) noexcept {
  if (connection.ended()) {
    if (socket_gone) gone(connection);
    return;
  }
  if (connection.opening()) {
    Error error{errc::unavailable, {}, {}};
    (void)connection.contain("A refusal", [&] { error.message = text; });
    return refuse(connection, reason, std::move(error));
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
      Handed handed;
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
  connection.drop_question();
  connection.deadlines.cancel();
  connection.pace.reset();
  connection.waiting.reset();
  if (connection.rare) {
    connection.rare->serving.reset();
    connection.rare->drop_acts();
  }

  // 2. Leave every room. Where the session may come back, its seats wait for it, and so does what is told to others.
  const bool waits = was_live && sessions_.keep(connection, reason, socket_gone);
  while (!connection.memberships.empty()) {
    const RoomPtr room = connection.memberships.back().room;
    if (!waits) parting.former.push_back(room);
    (void)joining_.part_from_room(connection, connection.memberships.size() - 1, reason, waits, [&] {
      if (!waits) joining_.give_up_seat(loop, room, connection.member);
      return true;
    });
  }
  if (was_live && !waits && connection.resumed) {
    for (const RoomPtr& room : kept_.take_rooms(connection.member)) {
      joining_.give_up_seat(loop, room, connection.member);
      (void)connection.contain("The end of a room", [&] { rooms_.settle(loop, room); });
      if (parting.former.size() < parting.former.capacity()) parting.former.push_back(room);
    }
  }
  if (was_live) sessions_.part_from(connection, reason, std::move(parting.names));

  // 3. Clear awareness, and 4. tell the others.
  if (was_live && !waits) state_flush_.clear_awareness(loop, parting.clearing);

  // 5. Dispose.
  connection.outbox.discard();
  if (!socket_gone) dispose(connection, reason, text);
  const bool keeps_data = was_live && sessions_.keeps_data(connection, reason);
  connections_.erase(connection);
  if (!keeps_data) kept_.part(connection.member, &connection);
  UserTable::Edge edge;
  if (was_live) edge = users_.remove(parting.user, keep);
  ++closed_[static_cast<std::size_t>(reason)];
  if (connection.greeted) (void)hooks_.disconnected(connection, reason);
  if (keeps_data) sessions_.part_with_data(connection);
  if (connection.has_data()) (void)std::exchange(connection.rare->data, {});
  if (was_live) {
    (void)edges_.tell(loop, parting.user, std::move(edge), parting.former, std::move(connection.left_rooms));
  }
  connection.status_ = was_live || socket_gone ? ConnectionStatus::disconnected : ConnectionStatus::rejected;
  if (socket_gone) gone(connection);
}

MUSTER_INLINE void Ending::dispose(ConnectionState& connection, CloseReason reason, std::string_view text) noexcept {
  const bool deaf =
      reason == CloseReason::lost || reason == CloseReason::heartbeat_timeout;  // nobody would answer a close
  const auto& protocol = connection.loop->formats[connection.format].protocol;
  const std::string_view said = text.empty() ? describe(reason).text : text;
  const bool closed = !deaf && connection.contain("A transport", [&] {
    connection.transport->close(protocol->close_code(reason), close_text(said));
  });
  if (!closed) (void)connection.contain("A transport", [&] { connection.transport->abort(); });
}

MUSTER_INLINE void Ending::refuse(ConnectionState& connection, CloseReason reason, Error error) noexcept {
  (void)connection.contain("A refusal", [&] {
    admission_.refused(reason == CloseReason::going_away ? RefusedFor::going_away : RefusedFor::auth,
                       connection.remote_address(), without(error.message, connection.arrival->credentials.token),
                       connection.loop->executor->now());
  });
  const ConnectionPtr keep = connection.shared_from_this();
  OpenDone done = std::exchange(connection.arrival->open_done, nullptr);
  connection.status_ = ConnectionStatus::rejected;
  const auto& protocol = connection.loop->formats[connection.format].protocol;
  Decision decision;
  decision.reason = reason;
  (void)connection.contain("A refusal", [&] {
    decision = refusal(protocol.get(), connection.arrival->subprotocol_named, reason, std::move(error));
  });
  (void)connection.contain("A refusal", [&] { decision.reservation = admission_.take_back(connection); });
  forget(connection);
  gone(connection);
  (void)connection.contain("A refusal", [&] { done(std::move(decision)); });
}

MUSTER_INLINE void Ending::forget(ConnectionState& connection) noexcept {
  ++connection.generation;
  connection.drop_question();
  connection.deadlines.cancel();
  connection.pace.reset();
  connection.waiting.reset();
  connections_.erase(connection);
}

/// The socket is released: so is its place, and nothing of the connection is needed any more.
MUSTER_INLINE void Ending::gone(ConnectionState& connection) noexcept {
  if (std::exchange(connection.socket_gone, true)) return;
  const ConnectionPtr keep = connection.shared_from_this();
  Loop& loop = *connection.loop;
  // Blocks are this executor's: whoever holds the connection longest must not be the one who lets go of them.
  connection.outbox.discard();
  (void)connection.outbox.flight_done();
  if (connection.dirty)
    std::replace(loop.dirty.begin(), loop.dirty.end(), &connection, static_cast<ConnectionState*>(nullptr));
  loop.connections.back()->index = connection.index;
  std::swap(loop.connections[connection.index], loop.connections.back());
  loop.connections.pop_back();
  connection.transport.reset();
  admission_.release(connection);
  if (!connection.rare) return;
  connection.rare->conversation.reset();  // as the blocks: it was promised this executor
  connection.rare->latches.clear();
}

MUSTER_INLINE void Ending::socket_closed(ConnectionState& connection, CloseReason cause) {
  const ConnectionPtr keep = connection.shared_from_this();
  if (connection.ended()) {
    gone(connection);
  } else {
    end(connection, cause, {}, true);
  }
}

MUSTER_INLINE bool Ending::remove(ConnectionId id, CloseReason reason, std::string text) {
  const ConnectionPtr connection = directory_.locate(id);
  if (!connection) return false;
  return connection->loop->post([this, connection, reason, text = std::move(text)] { end(*connection, reason, text); });
}

MUSTER_INLINE bool Ending::kick(ConnectionId id, std::string text, bool reconnect) {
  const ConnectionPtr connection = directory_.locate(id);
  if (!connection) return false;
  return connection->loop->post([this, connection, reconnect, text = std::move(text)] {
    if (connection->live()) writer_.tell(*connection, event::Kicked{text, reconnect});
    end(*connection, CloseReason::kicked, text);
  });
}

MUSTER_INLINE void Ending::close_all(CloseReason reason, std::string text, Function<void(std::size_t)> done) {
  const std::shared_ptr<Latch> latch(new Latch(std::move(done)));
  for (const LoopPtr& loop : loops_.all()) {
    const bool posted = loop->post([this, loop, latch, reason, text] {
      const std::vector<ConnectionPtr> connections = loop->connections;
      for (const ConnectionPtr& connection : connections) {
        connection->seldom().latches.push_back(latch);
        if (connection->ended()) continue;
        latch->count();
        end(*connection, reason, text);
      }
    });
    if (!posted) abandon(loop);
  }
}

MUSTER_INLINE void Ending::abandon_stopped(Loop& by) {
  for (const LoopPtr& other : loops_.all()) {
    if (other.get() == &by || other->abandoned) continue;
    // Only a refused task tells that an executor has stopped: where nobody has posted since, this one asks.
    if (!other->post([] {}) || other->stopped) abandon(other);
  }
}

MUSTER_INLINE void Ending::abandon(const LoopPtr& loop) {
  if (loop->abandoned.exchange(true)) return;
  // The executor promised that nothing of it runs any more: what was its own is ours now.
  while (!loop->connections.empty()) {
    const ConnectionPtr connection = loop->connections.back();
    (void)connection->contain("A transport", [&] {
      if (connection->transport) connection->transport->abort();
    });
    end(*connection, CloseReason::lost, "The executor has stopped", true);
    if (!connection->ended()) {  // for want of memory: the next sweep goes on from here
      loop->abandoned = false;
      return;
    }
    ++lost_;
  }
  RoomTable::Cursor at;
  for (bool more = true; more;) {
    std::vector<RoomPtr> rooms;
    more = table_.some(at, task_slice, rooms);
    for (const RoomPtr& room : rooms) leave_part(*loop, room);
  }
  loop->replies = {};
  loop->draining.clear();
  sessions_.run_graces(*loop, TimePoint::max());
  state_flush_.run(*loop, TimePoint::max());
  loops_.remove(loop);
}

/// A room's part on an executor that has stopped goes, and what was to be flushed there is told to those elsewhere.
MUSTER_INLINE void Ending::leave_part(Loop& loop, const RoomPtr& room) noexcept {
  RoomPartPtr part;  // ends after the section
  {
    Lock lock(room->mutex);
    auto at = room->parts.begin();
    while (at != room->parts.end() && (*at)->loop.get() != &loop) ++at;
    if (at == room->parts.end()) return;
    part = std::move(*at);
    room->parts.erase(at);
    room->count_waiting();
    room->shared_of(*part).pending.clear();
    part->batch.reset();
  }
  state_flush_.flush(loop, room);
}

MUSTER_INLINE std::size_t Ending::revoke(const UserKey& user) {
  std::size_t revoked = 0;
  for (const ConnectionPtr& connection : users_.of(user)) {
    revoked += remove(connection->id_, CloseReason::revoked, {}) ? 1 : 0;
  }
  sessions_.revoke({user.tenant, user.user});
  return revoked;
}

MUSTER_INLINE std::size_t Ending::revoke_tenant(std::string_view tenant) {
  std::size_t revoked = 0;
  for (const ConnectionPtr& connection : users_.of_tenant(tenant)) {
    revoked += remove(connection->id_, CloseReason::revoked, {}) ? 1 : 0;
  }
  sessions_.revoke({std::string(tenant)});
  return revoked;
}

MUSTER_INLINE std::size_t Ending::revoke(ConnectionId id) {
  const std::size_t revoked = remove(id, CloseReason::revoked, {}) ? 1 : 0;
  sessions_.revoke({{}, {}, id});
  return revoked;
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
