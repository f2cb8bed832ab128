// A session while it is open: bytes to websocketpp, messages to the core, and who ends it how.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <websocketpp/utf8_validator.hpp>

#include "muster/impl/websocketpp/session.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

/// Whether valid UTF-8 stops inside a character. websocketpp does not look at the end of a message in fragments.
[[nodiscard]] inline bool ends_inside_character(std::string_view text) noexcept {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) return false;
    if (byte >= 0xc0) return (byte >= 0xf0 ? 4U : byte >= 0xe0 ? 3U : 2U) > back;
  }
  return false;
}

/// The longest beginning that fits a close frame and does not cut a character (RFC 6455, 5.5.1).
[[nodiscard]] inline std::string close_text(std::string_view text) {
  std::size_t size = std::min<std::size_t>(text.size(), 123);
  while (size != text.size() && size != 0 && (static_cast<unsigned char>(text[size]) & 0xc0U) == 0x80U) --size;
  return std::string(text.substr(0, size));
}

MUSTER_INLINE void Session::opened() {
  phase_ = Phase::open;
  clear_deadline();
  // The request and its answer are of no more use.
  const_cast<ConnectionConfig::request_type&>(websocketpp_->get_request()) = ConnectionConfig::request_type();
  const_cast<ConnectionConfig::response_type&>(websocketpp_->get_response()) = ConnectionConfig::response_type();
  const std::uint16_t close_code = opening_->close_code;
  const std::string text = std::move(opening_->close_text);
  if (connection_) opening_.reset();  // else its reservation is still held
  if (close_code != 0) close(close_code, text);
  // Frames that came with the request go to the core only after the answer to `open` has returned.
  if (!std::exchange(resume_posted_, true)) post(&Session::resume);
}

MUSTER_INLINE bool Session::may_read() const {
  return phase_ == Phase::open && !paused_ && (ending_ == Ending::none || ending_ == Ending::by_core) &&
         websocketpp_->wants_bytes();
}

MUSTER_INLINE void Session::pause_reading(bool pause) {
  paused_ = pause && ending_ == Ending::none;
  if (!pause && phase_ == Phase::open && !std::exchange(resume_posted_, true)) post(&Session::resume);
}

MUSTER_INLINE void Session::resume() {
  resume_posted_ = false;
  if (!may_read()) return;
  if (!input_.empty()) {
    const std::string kept = std::exchange(input_, {});
    feed(kept.data(), kept.size());
  }
  if (may_read()) read_frames();
}

MUSTER_INLINE void Session::read_frames() {
  if (!may_read()) return;
  std::size_t got = 0;
  switch (stream_->read(loop_->read_buffer.get(), Loop::read_size, got)) {
    case IoStatus::done: {
      const bool more = stream_->unfinished();
      feed(loop_->read_buffer.get(), got);
      if (may_read()) more ? post(&Session::on_readable) : wait_readable();
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

/// Hands the bytes to websocketpp in slices of its own small buffer, all in this turn. It asks for the next slice from
/// within the call that takes one, so a loop replaces the recursion.
MUSTER_INLINE void Session::feed(const char* data, std::size_t size) {
  feeding_ = true;
  try {
    while (size != 0 && may_read()) {
      std::size_t slice = std::min(size, websocketpp_->read_buffer_size());
      if (scanner_ && (slice = scanner_->allowed(data, slice)) == 0) {
        fail(CloseReason::protocol_error, "Only the first frame of a message says that it is compressed");
        break;
      }
      std::memcpy(websocketpp_->take_read_buffer(), data, slice);
      data += slice;
      size -= slice;
      websocketpp_->handle_read_frame(std::error_code(), slice);
      after_slice();
      for (std::size_t i = fragments_.scan({data - slice, slice}); i != 0; --i) on_message(FrameKind::continuation, {}, false);
    }
  } catch (...) {
    fail(CloseReason::internal_error, describe(CloseReason::internal_error).text);
  }
  feeding_ = false;
  if (size != 0 && paused_ && phase_ == Phase::open) input_.assign(data, size);
}

/// What the slice made websocketpp decide.
MUSTER_INLINE void Session::after_slice() {
  if (phase_ != Phase::open) return;
  if (ending_ == Ending::none && websocketpp_->get_state() != ::websocketpp::session::state::open) {
    if (websocketpp_->get_remote_close_code() != ::websocketpp::close::status::abnormal_close) {
      peer_closed();
    } else {
      const auto code = websocketpp_->get_local_close_code();
      fail(code == ::websocketpp::close::status::message_too_big   ? CloseReason::message_too_big
           : code == ::websocketpp::close::status::invalid_payload ? CloseReason::invalid_utf8
                                                                   : CloseReason::protocol_error,
           websocketpp_->get_local_close_reason());
    }
  }
  // After a fault the close frame is ours, because its code is the core's to say.
  if (std::exchange(write_frame_due_, false) && ending_ != Ending::by_fault) websocketpp_->write_frame();
}

MUSTER_INLINE void Session::peer_closed() {
  ending_ = Ending::by_peer;
  // A frame that is in order is echoed; to one that is not, websocketpp answers in words of its own.
  const bool valid = websocketpp_->get_local_close_reason() == websocketpp_->get_remote_close_reason();
  const bool normal = websocketpp_->get_remote_close_code() == ::websocketpp::close::status::normal;
  cause_ = !valid ? CloseReason::protocol_error : normal ? CloseReason::normal : CloseReason::going_away;
  set_deadline(core_options().close_timeout);
}

MUSTER_INLINE void Session::fail(CloseReason reason, std::string_view text) {
  if (phase_ != Phase::open || ending_ != Ending::none) return;
  ending_ = Ending::by_fault;
  cause_ = reason;
  set_deadline(core_options().close_timeout);
  if (connection_) manager().fail(*connection_, reason, text);
}

MUSTER_INLINE void Session::on_message(FrameKind kind, const std::string& payload, bool text) {
  if (phase_ != Phase::open || ending_ != Ending::none) return;
  if (text && ends_inside_character(payload)) return fail(CloseReason::invalid_utf8, describe(CloseReason::invalid_utf8).text);
  // A compressed message may take a little more than its text, so with compression websocketpp's limit is not exact.
  if (scanner_ && payload.size() > message_limit()) return fail(CloseReason::message_too_big, describe(CloseReason::message_too_big).text);
  manager().received(*connection_, kind, payload);
}

MUSTER_INLINE void Session::on_compressed(FrameKind kind, std::string_view deflated) {
  if (phase_ != Phase::open || ending_ != Ending::none) return;
  std::string& payload = loop_->inflated;
  switch (loop_->inflater().inflate(deflated, message_limit(), payload)) {
    case Inflater::Result::done:
      if (kind == FrameKind::text && !::websocketpp::utf8_validator::validate(payload)) {
        fail(CloseReason::invalid_utf8, describe(CloseReason::invalid_utf8).text);
      } else {
        manager().received(*connection_, kind, payload);
      }
      break;
    case Inflater::Result::too_big:
      fail(CloseReason::message_too_big, describe(CloseReason::message_too_big).text);
      break;
    case Inflater::Result::damaged:
      fail(CloseReason::protocol_error, "A compressed message is damaged");
      break;
  }
  if (payload.capacity() > Loop::read_size) payload = {};
}

MUSTER_INLINE void Session::close(std::uint16_t code, std::string_view text) {
  if (phase_ == Phase::gone) return;
  if (phase_ == Phase::upgrading) {  // its 101 comes first
    opening_->close_code = code;
    opening_->close_text = text;
    return;
  }
  if (phase_ != Phase::open) return close_descriptor(cause_);
  switch (ending_) {
    case Ending::none: {
      ending_ = Ending::by_core;
      set_deadline(core_options().close_timeout);
      std::error_code error;
      websocketpp_->close(code, close_text(text), error);
      if (error) return close_descriptor(cause_);
      pause_reading(false);  // the peer's answer is still read
      if (!feeding_ && std::exchange(write_frame_due_, false)) websocketpp_->write_frame();
      return;
    }
    case Ending::by_fault:
      return send_close_frame(code, text);
    case Ending::by_core:
    case Ending::by_peer:
      return;
  }
}

MUSTER_INLINE void Session::abort() { close_descriptor(cause_, true); }

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
