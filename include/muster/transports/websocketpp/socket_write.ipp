// A socket's write path: one writer for the core's batches and our own frames, so that nothing interleaves.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "muster/transports/websocketpp/socket.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

MUSTER_INLINE WriteResult Socket::write(const Span* spans, std::size_t count) {
  // Once a fault or the peer's close is known, what the core has answered before still goes out in front of our close.
  if (ending_ == Ending::by_core || ending_ == Ending::by_peer || broken_) return WriteResult::closed;
  if (phase_ == Phase::open) return send(Outgoing::Kind::batch, spans, count);
  return phase_ == Phase::upgrading ? write_first(spans, count) : WriteResult::closed;
}

MUSTER_INLINE std::optional<std::size_t> Socket::unsent() const {
  if (!outgoing_ || phase_ == Phase::gone) return 0;
  std::size_t bytes = unsent_in_system(stream_.descriptor());
  for (const Outgoing* waiting = outgoing_.get(); waiting != nullptr; waiting = waiting->next.get()) {
    bytes += waiting->cursor.left();
  }
  return bytes;
}

/// The 101 goes with the core's first batch, in one call and one packet.
MUSTER_INLINE WriteResult Socket::write_first(const Span* spans, std::size_t count) {
  if (opening_->answer.empty()) return send(Outgoing::Kind::batch, spans, count);  // it is on its way
  std::string answer = std::move(opening_->answer);
  std::vector<Span> both{{answer.data(), answer.size()}};
  both.insert(both.end(), spans, spans + count);
  const WriteResult result = send(Outgoing::Kind::batch, both.data(), both.size());
  if (result == WriteResult::closed) return result;
  if (result == WriteResult::pending) last_outgoing().own = std::move(answer);  // too long to move its characters
  opened();
  return result;
}

/// Writes at once what the socket takes, and keeps the rest. The bytes stay where they are until it is written.
MUSTER_INLINE WriteResult Socket::send(Outgoing::Kind kind, const Span* spans, std::size_t count) {
  Cursor cursor{spans, count, 0};
  if (!outgoing_) {
    const IoStatus status = write_now(cursor);
    if (status == IoStatus::done) return WriteResult::done;
    if (status != IoStatus::write_again) {
      break_off();
      return WriteResult::closed;
    }
  }
  auto kept = std::make_unique<Outgoing>();
  kept->kind = kind;
  kept->spans.assign(cursor.spans, cursor.spans + cursor.count);
  kept->cursor = {kept->spans.data(), kept->spans.size(), cursor.offset};
  (outgoing_ ? last_outgoing().next : outgoing_) = std::move(kept);
  wait_writable();
  return WriteResult::pending;
}

/// As above, for bytes of our own. When they wait, `written` follows.
MUSTER_INLINE WriteResult Socket::send_own(Outgoing::Kind kind, std::string own) {
  if (phase_ == Phase::gone || broken_) return WriteResult::closed;
  Span span{own.data(), own.size()};
  const WriteResult result = send(kind, &span, 1);
  if (result != WriteResult::pending) return result;
  Outgoing& kept = last_outgoing();
  kept.own = std::move(own);
  kept.spans.front().data = kept.own.data();  // short strings move
  return result;
}

/// `written` follows in any case.
MUSTER_INLINE void Socket::send(Outgoing::Kind kind, std::string own) {
  if (send_own(kind, std::move(own)) == WriteResult::done) written(kind);
}

/// The 101 goes out, unless a batch took it along before.
MUSTER_INLINE void Socket::send_answer() {
  if (phase_ == Phase::upgrading && !opening_->answer.empty()) {
    send(Outgoing::Kind::upgrade, std::move(opening_->answer));
  }
}

MUSTER_INLINE void Socket::break_off() {
  if (!std::exchange(broken_, true)) post<&Socket::end_broken>();
}

MUSTER_INLINE void Socket::on_writable() {
  while (outgoing_) {
    Outgoing& next = *outgoing_;
    const std::size_t before = phase_ == Phase::answering && opening_ ? next.cursor.left() : 0;  // of HTTP
    const IoStatus status = write_now(next.cursor);
    if (before != 0 && next.cursor.left() != before)
      set_deadline(listener_->options.http_timeout);  // it takes what it can
    if (status == IoStatus::write_again) return wait_writable();
    if (status != IoStatus::done) {
      broken_ = true;
      return end_broken();
    }
    const Outgoing::Kind kind = next.kind;
    outgoing_ = std::move(next.next);
    written(kind);
  }
}

MUSTER_INLINE void Socket::written(Outgoing::Kind kind) {
  switch (kind) {
    case Outgoing::Kind::batch:
      // Once it closes, the core writes no more and waits for `closed` alone.
      if (phase_ == Phase::open && ending_ == Ending::none) sink().writable(*connection_);
      return;
    case Outgoing::Kind::upgrade:
      return opened();
    case Outgoing::Kind::close_frame:
      return ending_ == Ending::by_peer ? finish() : void();
    case Outgoing::Kind::interim:
      return;
    case Outgoing::Kind::piece:
      return post<&Socket::send_body>();
    case Outgoing::Kind::last:
      return opening_ && opening_->plain && opening_->plain->keeps ? next_request() : linger();
  }
}

/// The closing handshake is through.
MUSTER_INLINE void Socket::finish() {
  if (phase_ != Phase::open) return;
  stream_.shutdown_write();
  close_descriptor(cause_);
}

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
