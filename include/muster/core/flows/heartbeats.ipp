// Pings, and deadlines.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "muster/core/delivery/encode.hpp"
#include "muster/core/flows/heartbeats.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE void Heartbeats::begin(ConnectionState& connection) {
  if (options_.heartbeat <= std::chrono::milliseconds(0)) return;
  Loop& loop = *connection.loop;
  const auto part = static_cast<std::int64_t>(loop.random() % static_cast<std::uint64_t>(options_.heartbeat.count()));
  connection.deadlines.arm(loop, Deadline::beat, loop.executor->now() + std::chrono::milliseconds(part + 1));
}

/// A loop that is late by less than what Loop::on_wake takes for held up hears its peers, too, before it judges them.
MUSTER_INLINE void Heartbeats::beat(ConnectionState& connection) {
  Loop& loop = *connection.loop;
  const TimePoint now = loop.executor->now();
  const Format& format = loop.formats[connection.format];
  const HeartbeatStyle style = format.protocol->heartbeat();
  const auto wait_or_end = [&](TimePoint due) {
    constexpr std::chrono::milliseconds late{10};
    if (due > now) {
      connection.looked_late = false;
      connection.deadlines.arm(loop, Deadline::beat, due);
    } else if (now - due >= late && !std::exchange(connection.looked_late, true)) {
      connection.deadlines.arm(loop, Deadline::beat, now + late);
    } else {
      ending_.end(connection, CloseReason::heartbeat_timeout, {});
    }
  };
  if (style == HeartbeatStyle::client) {
    // As below: nobody is silent whose words are not read, or who takes what is sent.
    const bool alive = connection.pauses != 0 || connection.outbox.progressed_for_ping(*connection.transport);
    return wait_or_end((alive ? now : connection.last_inbound) + options_.heartbeat + options_.pong_timeout);
  }
  if (connection.awaiting_pong && connection.last_inbound < connection.ping_sent_at) {
    // Nobody is silent whose words are not read, or who has not been asked yet because the pipe is full and being emptied.
    const bool takes = connection.outbox.progressed_for_ping(*connection.transport);
    return wait_or_end((connection.pauses != 0 || takes ? now : connection.ping_sent_at) + options_.pong_timeout);
  }
  connection.looked_late = false;
  if (connection.awaiting_pong) {
    connection.awaiting_pong = false;
    const TimePoint next = connection.ping_sent_at + options_.heartbeat;
    if (next > now) {
      connection.deadlines.arm(loop, Deadline::beat, next);
      return;
    }
  }
  if (connection.outbox.control_bytes() == 0) {  // else the one that waits will do
    std::string beat;
    if (style == HeartbeatStyle::message) encode_event(loop, format, event::Heartbeat{}, nullptr, beat);
    if (beat.empty()) format.wire->append(FrameKind::ping, {}, beat);  // nobody is judged who was not asked
    connection.outbox.append_control(std::move(beat), now);
    writer_.mark_dirty(connection);
  }
  (void)connection.outbox.progressed_for_ping(*connection.transport);  // from here on
  connection.awaiting_pong = true;
  connection.ping_sent_at = now;
  connection.deadlines.arm(loop, Deadline::beat, now + options_.pong_timeout);
}

MUSTER_INLINE void Heartbeats::check(ConnectionState& connection) {
  const ConnectionPtr keep = connection.shared_from_this();
  if (!connection.live()) {
    ending_.end(connection, CloseReason::auth_required, "Authentication timeout");
    return;
  }
  if (!connection.outbox.in_flight()) return;
  // What was on its way when the pipe was full has arrived by the first look: from there on less is progress.
  const bool first = connection.outbox.first_look();
  if (connection.outbox.progressed(*connection.transport) || first) {
    const auto until_next = first ? options_.unsent_age - options_.unsent_age / 8 : options_.unsent_age;
    connection.deadlines.arm(*connection.loop, Deadline::guard, connection.loop->executor->now() + until_next);
  } else {
    ending_.end(connection, CloseReason::slow_consumer, {});
  }
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
