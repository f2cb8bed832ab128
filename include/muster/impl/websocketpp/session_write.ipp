// A session's write path: one writer for websocketpp's frames, the core's batches and our own bytes, so that nothing
// interleaves.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "muster/impl/websocketpp/session.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

MUSTER_INLINE WriteResult Session::write(const Span* spans, std::size_t count) {
  if ((phase_ != Phase::open && phase_ != Phase::upgrading) || ending_ != Ending::none || broken_) return WriteResult::closed;
  return send(Outgoing::Kind::batch, spans, count);
}

/// Writes at once what the socket takes, and keeps the rest. `own` are bytes to be kept alive; else they stay where they are.
MUSTER_INLINE WriteResult Session::send(Outgoing::Kind kind, const Span* spans, std::size_t count, std::string own) {
  const Span own_span{own.data(), own.size()};
  Cursor cursor = kind == Outgoing::Kind::own ? Cursor{&own_span, 1, 0} : Cursor{spans, count, 0};
  if (!outgoing_) {
    const IoStatus status = stream_->write(cursor, stream_->is_tls() ? loop_->scratch() : nullptr);
    if (status == IoStatus::done) {
      if (kind != Outgoing::Kind::batch) written(kind);
      return WriteResult::done;
    }
    if (status != IoStatus::write_again) {
      if (!std::exchange(broken_, true)) post(&Session::end_broken);
      return WriteResult::closed;
    }
    outgoing_ = std::make_unique<std::deque<Outgoing>>();
  }
  Outgoing& kept = outgoing_->emplace_back();
  kept.kind = kind;
  kept.own = std::move(own);
  if (kind == Outgoing::Kind::own) {
    const std::size_t rest = cursor.count != 0 ? cursor.offset : kept.own.size();
    kept.spans.push_back({kept.own.data(), kept.own.size()});
    kept.cursor = {kept.spans.data(), 1, rest};
  } else {
    kept.spans.assign(cursor.spans, cursor.spans + cursor.count);
    kept.cursor = {kept.spans.data(), kept.spans.size(), cursor.offset};
  }
  wait_writable();
  return WriteResult::pending;
}

MUSTER_INLINE void Session::on_writable() {
  while (outgoing_) {
    Outgoing& next = outgoing_->front();
    const IoStatus status = stream_->write(next.cursor, stream_->is_tls() ? loop_->scratch() : nullptr);
    if (status == IoStatus::write_again) return wait_writable();
    if (status != IoStatus::done) {
      broken_ = true;
      return end_broken();
    }
    const Outgoing::Kind kind = next.kind;
    outgoing_->pop_front();
    if (outgoing_->empty()) outgoing_.reset();
    written(kind);
  }
}

MUSTER_INLINE void Session::written(Outgoing::Kind kind) {
  switch (kind) {
    case Outgoing::Kind::upgrade:
      return websocketpp_->handle_write_http_response(std::error_code());
    case Outgoing::Kind::frame:
      return websocketpp_->handle_write_frame(std::error_code());
    case Outgoing::Kind::batch:
      // Once it closes, the core writes no more and waits for `closed` alone.
      if (phase_ == Phase::open && ending_ == Ending::none) manager().writable(*connection_);
      return;
    case Outgoing::Kind::own:
      return linger();
  }
}

MUSTER_INLINE void Session::write_for_websocketpp(const Span* spans, std::size_t count) {
  if (phase_ == Phase::gone || broken_) return;
  (void)send(phase_ == Phase::upgrading ? Outgoing::Kind::upgrade : Outgoing::Kind::frame, spans, count);
}

/// websocketpp is done with the connection: the closing handshake is through, or no answer is to be waited for.
MUSTER_INLINE void Session::websocketpp_ended() {
  if (phase_ == Phase::upgrading) return close_descriptor(CloseReason::internal_error);
  if (phase_ != Phase::open) return;
  if (websocketpp_->get_remote_close_code() == ::websocketpp::close::status::abnormal_close) return linger();
  stream_->shutdown_write();
  close_descriptor(cause_);
}

MUSTER_INLINE void Session::send_close_frame(std::uint16_t code, std::string_view text) {
  phase_ = Phase::answering;
  const std::string reason = close_text(text);
  std::string frame;
  frame.push_back(static_cast<char>(0x88));  // fin, close; RFC 6455, 5.2
  frame.push_back(static_cast<char>(reason.size() + 2));
  frame.push_back(static_cast<char>(code >> 8U));
  frame.push_back(static_cast<char>(code & 0xffU));
  frame.append(reason);
  (void)send(Outgoing::Kind::own, nullptr, 0, std::move(frame));
}

inline void ConnectionPolicy::async_write(const char* data, std::size_t size, const WriteHandler&) {
  const Span span{data, size};
  session_->write_for_websocketpp(&span, 1);
}

inline void ConnectionPolicy::async_write(const std::vector<::websocketpp::transport::buffer>& buffers, const WriteHandler&) {
  std::vector<Span> spans;
  for (const auto& buffer : buffers) spans.push_back({buffer.buf, buffer.len});
  session_->write_for_websocketpp(spans.data(), spans.size());
}

inline std::error_code ConnectionPolicy::dispatch(const ::websocketpp::transport::dispatch_handler&) {
  session_->write_frame_is_due();  // it is always write_frame
  return {};
}

inline void ConnectionPolicy::async_shutdown(const ::websocketpp::transport::shutdown_handler&) {
  session_->websocketpp_ended();
}

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
