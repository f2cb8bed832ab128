// A socket while it is open: frames in, messages to the core, and who ends it how.
#pragma once

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <websocketpp/utf8_validator.hpp>

#include "muster/transports/websocketpp/socket.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

/// The longest beginning that fits a close frame and does not cut a character (RFC 6455, 5.5.1).
[[nodiscard]] inline std::string close_text(std::string_view text) {
  std::size_t size = std::min<std::size_t>(text.size(), 123);
  while (size != text.size() && size != 0 && (static_cast<unsigned char>(text[size]) & 0xc0U) == 0x80U) --size;
  return std::string(text.substr(0, size));
}

/// RFC 6455, 5.5.1. `reason` fits.
[[nodiscard]] inline std::string close_frame(std::uint16_t code, const std::string& reason) {
  std::string frame;
  frame.push_back(static_cast<char>(0x88));  // fin, close
  frame.push_back(static_cast<char>(reason.size() + 2));
  frame.push_back(static_cast<char>(code >> 8U));
  frame.push_back(static_cast<char>(code & 0xffU));
  return frame += reason;
}

[[nodiscard]] inline bool is_utf8(std::string_view text) {
  ::websocketpp::utf8_validator::validator validator;
  return validator.decode(text.begin(), text.end()) && validator.complete();
}

MUSTER_INLINE void Socket::opened() {
  phase_ = Phase::open;
  clear_deadline();
  const std::uint16_t close_code = opening_->close_code;
  const std::string text = std::move(opening_->close_text);
  if (!opening_->input.empty()) kept_ = std::make_unique<std::string>(std::move(opening_->input));
  if (connection_) opening_.reset();  // else its reservation is still held
  if (close_code != 0) close(close_code, text);
  // Frames that came with the request go to the core only after the answer to `open` has returned; they may still be with
  // TLS, where the socket's readiness does not tell of them.
  if (!kept_ && !stream_.unfinished()) {
    wait_readable();
  } else if (!std::exchange(resume_posted_, true)) {
    post<&Socket::resume>();
  }
}

MUSTER_INLINE bool Socket::may_read() const {
  return phase_ == Phase::open && !paused_ && (ending_ == Ending::none || ending_ == Ending::by_core);
}

MUSTER_INLINE void Socket::pause_reading(bool pause) {
  paused_ = pause && ending_ == Ending::none;
  if (!pause && phase_ == Phase::open && !std::exchange(resume_posted_, true)) post<&Socket::resume>();
}

MUSTER_INLINE void Socket::resume() {
  resume_posted_ = false;
  if (!may_read()) return;
  if (const auto kept = std::exchange(kept_, nullptr)) feed(kept->data(), kept->size());
  if (may_read()) read_frames();
}

MUSTER_INLINE void Socket::read_frames() {
  if (!may_read() || resume_posted_) return;  // what is kept comes first
  std::size_t got = 0;
  switch (stream_.read(loop_->read_buffer.get(), SocketLoop::read_size, got)) {
    case IoStatus::done: {
      const bool more = stream_.unfinished();
      feed(loop_->read_buffer.get(), got);
      if (may_read()) more ? post<&Socket::on_readable>() : wait_readable();
      return;
    }
    case IoStatus::read_again:
      return wait_readable();
    case IoStatus::write_again:
      read_waits_for_writable_ = true;
      return wait_writable();
    case IoStatus::end:
    case IoStatus::failed:
      return close_descriptor(cause_);
  }
}

MUSTER_INLINE Frames& Socket::reader() {
  if (!frames_) frames_ = loop_->readers.lend(message_limit(), compressed_);
  return *frames_;
}

/// Bytes of frames, all in this turn. Once the core has closed they are searched for the peer's close frame, and dropped.
MUSTER_INLINE void Socket::feed(char* data, std::size_t size) {
  std::size_t wire = 0;  // of what the core has not been told yet
  try {
    while (size != 0 && may_read() && ending_ == Ending::none) {
      const Frames::Step step = reader().read(data, size);
      data += step.used;
      size -= step.used;
      wire += step.used;
      if (step.error) {
        const auto code = ::websocketpp::processor::error::to_ws(step.error);
        fail(code == ::websocketpp::close::status::message_too_big   ? CloseReason::message_too_big
             : code == ::websocketpp::close::status::invalid_payload ? CloseReason::invalid_utf8
                                                                     : CloseReason::protocol_error,
             step.error.message());
        break;
      }
      // Of fragments the core counts each: a peer could send empty ones for ever, and no limit would notice.
      if (step.fragment) on_message(FrameKind::continuation, {}, std::exchange(wire, 0));
      if (!step.message) continue;
      // A control frame may come within a message: what that had before is its own.
      constexpr std::size_t header = 6;
      const std::size_t control = step.message->get_payload().size() + header;
      if (::websocketpp::frame::opcode::is_control(step.message->sent_as()) && wire > control) {
        sink().arrived(*connection_, std::exchange(wire, control) - control);
      }
      on_frame(*step.message, std::exchange(wire, 0));
    }
    if (wire != 0 && phase_ == Phase::open && ending_ == Ending::none) sink().arrived(*connection_, wire);
  } catch (...) {
    fail(CloseReason::internal_error, describe(CloseReason::internal_error).text);
  }
  if (size != 0 && phase_ == Phase::open && ending_ == Ending::by_core) {
    bool ends = true;  // where there is no memory to look for the end of it
    try {
      ends = reader().skip_to_close(data, size);
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch)
    }
    if (ends) finish();
    size = 0;
  }
  if (frames_ && frames_->at_rest()) loop_->readers.take_back(std::move(frames_));
  if (size == 0 || phase_ != Phase::open) return;
  if (paused_) {
    kept_ = std::make_unique<std::string>(data, size);
  }
}

MUSTER_INLINE void Socket::on_frame(const InboundMessage& message, std::size_t wire) {
  namespace opcode = ::websocketpp::frame::opcode;
  const std::string& payload = message.get_payload();
  switch (message.sent_as()) {
    case opcode::close:
      return peer_closed(payload);
    case opcode::ping:
      return on_message(FrameKind::ping, payload, wire);
    case opcode::pong:
      return on_message(FrameKind::pong, payload, wire);
    default:
      break;
  }
  const FrameKind kind = message.sent_as() == opcode::text ? FrameKind::text : FrameKind::binary;
  message.get_compressed() ? on_compressed(kind, payload, wire) : on_message(kind, payload, wire);
}

/// The peer's close frame before any of ours: it is answered with its own code (RFC 6455, 5.5.1).
MUSTER_INLINE void Socket::peer_closed(const std::string& payload) {
  namespace status = ::websocketpp::close::status;
  if (phase_ != Phase::open || ending_ != Ending::none) return;
  ending_ = Ending::heard;
  std::error_code invalid;
  status::value code = ::websocketpp::close::extract_code(payload, invalid);
  if (code == status::no_status) code = status::normal;  // a plain close(): the peer's own goodbye
  std::string reason = payload.size() > 2 ? payload.substr(2) : std::string();
  cause_ = code == status::normal ? CloseReason::normal : CloseReason::going_away;
  if (invalid) {
    cause_ = CloseReason::protocol_error;
    code = status::protocol_error;
    reason = "Invalid close code";
  } else if (!is_utf8(reason)) {
    cause_ = CloseReason::invalid_utf8;
    code = status::invalid_payload;
    reason = describe(cause_).text;
  }
  set_deadline(core_options().close_timeout);
  behind_the_core([self = shared_from_this(), frame = close_frame(code, reason)]() mutable {
    if (self->phase_ != Phase::open) return;
    self->ending_ = Ending::by_peer;
    self->send(Outgoing::Kind::close_frame, std::move(frame));
  });
}

MUSTER_INLINE void Socket::fail(CloseReason reason, std::string_view text) {
  if (phase_ != Phase::open || ending_ != Ending::none) return;
  ending_ = Ending::by_fault;
  cause_ = reason;
  set_deadline(core_options().close_timeout);
  if (connection_) sink().fail(*connection_, reason, text);
}

MUSTER_INLINE void Socket::on_message(FrameKind kind, std::string_view payload, std::size_t wire) {
  if (phase_ == Phase::open && ending_ == Ending::none) sink().received(*connection_, kind, payload, wire);
}

MUSTER_INLINE void Socket::on_compressed(FrameKind kind, std::string_view deflated, std::size_t wire) {
  if (phase_ != Phase::open || ending_ != Ending::none) return;
  const std::string_view window = client_window_ ? client_window_->view() : std::string_view();
  const auto [result, payload] = loop_->inflater().inflate(deflated, message_limit(), window);
  switch (result) {
    case Inflater::Result::done:
      if (client_window_) client_window_->append(payload);
      if (kind == FrameKind::text && !is_utf8(payload)) {
        return fail(CloseReason::invalid_utf8, describe(CloseReason::invalid_utf8).text);
      }
      return on_message(kind, payload, wire);
    case Inflater::Result::too_big:
      return fail(CloseReason::message_too_big, describe(CloseReason::message_too_big).text);
    case Inflater::Result::beyond_window:
      return fail(CloseReason::protocol_error,
                  client_window_
                      ? "A compressed message refers further back than the window that was agreed"
                      : "client_no_context_takeover was agreed, yet a compressed message refers to an earlier one: "
                        "keep to it, or do not compress");
    case Inflater::Result::damaged:
      return fail(CloseReason::protocol_error, "A compressed message is damaged");
  }
}

MUSTER_INLINE void Socket::close(std::uint16_t code, std::string_view text) {
  if (phase_ == Phase::gone) return;
  if (phase_ == Phase::upgrading) {  // its 101 comes first
    opening_->close_code = code;
    opening_->close_text = text;
    return;
  }
  if (phase_ != Phase::open) return close_descriptor(cause_);
  switch (ending_) {
    case Ending::none: {
      if (::websocketpp::close::status::invalid(code) || ::websocketpp::close::status::reserved(code)) {
        return close_descriptor(cause_);
      }
      ending_ = Ending::by_core;
      set_deadline(core_options().close_timeout);
      pause_reading(false);  // the peer's answer is still read
      return send(Outgoing::Kind::close_frame, close_frame(code, close_text(text)));
    }
    case Ending::by_fault:
      phase_ = Phase::answering;
      return send(Outgoing::Kind::last, close_frame(code, close_text(text)));
    case Ending::by_core:
    case Ending::heard:
    case Ending::by_peer:
      return;
  }
}

MUSTER_INLINE void Socket::abort() { close_descriptor(cause_, true); }

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
