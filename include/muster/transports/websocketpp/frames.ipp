// Frames: websocketpp's reader of RFC 6455 frames, without its connection. What a socket does with a frame is its own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <websocketpp/http/constants.hpp>
#include <websocketpp/message_buffer/alloc.hpp>
#include <websocketpp/message_buffer/message.hpp>
#include <websocketpp/processors/hybi13.hpp>
#include <websocketpp/random/none.hpp>
#include <websocketpp/uri.hpp>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

namespace frame = ::websocketpp::frame;

/// permessage-deflate as websocketpp sees it: a first frame may have RSV1, and the bytes of a compressed message are kept
/// as they came, with the tail behind them. They are inflated once the message is whole, because one inflater serves
/// every connection of a loop. The socket has negotiated it before.
class DeflateExtension {
 public:
  using Answer = std::pair<std::error_code, std::string>;

  void enable(bool agreed) noexcept { enabled_ = agreed; }
  Answer negotiate(const ::websocketpp::http::attribute_list&) { return {}; }
  std::error_code init(bool) { return {}; }
  [[nodiscard]] bool is_implemented() const noexcept { return true; }
  [[nodiscard]] bool is_enabled() const noexcept { return enabled_; }
  [[nodiscard]] std::string generate_offer() const { return {}; }
  std::error_code compress(const std::string&, std::string&) { return std::make_error_code(std::errc::not_supported); }
  std::error_code decompress(const std::uint8_t* bytes, std::size_t size, std::string& out) {
    out.append(reinterpret_cast<const char*>(bytes), size);
    return {};
  }

 private:
  bool enabled_ = false;
};

/// A message that came in. While it is compressed, websocketpp is to take it for binary: its text is not there yet.
class InboundMessage
    : public ::websocketpp::message_buffer::message<::websocketpp::message_buffer::alloc::con_msg_manager> {
 public:
  using Opcode = ::websocketpp::frame::opcode::value;
  using ptr = std::shared_ptr<InboundMessage>;

  InboundMessage() : message(nullptr) {}

  [[nodiscard]] Opcode get_opcode() const {
    return get_compressed() ? ::websocketpp::frame::opcode::binary : sent_as();
  }
  /// What the peer said it is.
  [[nodiscard]] Opcode sent_as() const { return message::get_opcode(); }
};

/// The messages of one loop. Most are over before the next begins, so that one serves them all.
class InboundMessages {
 public:
  using ptr = InboundMessages*;

  [[nodiscard]] InboundMessage::ptr get_message(InboundMessage::Opcode opcode, std::size_t size) {
    if (!last_ || last_.use_count() != 1 || last_->get_payload().capacity() > kept_bytes) {
      last_ = std::make_shared<InboundMessage>();
    }
    last_->set_opcode(opcode);
    last_->set_compressed(false);
    last_->get_raw_payload().clear();
    last_->get_raw_payload().reserve(std::min(size, kept_bytes));  // what a peer only announces is not held
    return last_;
  }

 private:
  static constexpr std::size_t kept_bytes = 64 * 1024;
  InboundMessage::ptr last_;
};

/// HTTP as websocketpp's reader sees it: none, for a request is answered before its frames are read. The reader names
/// all this in what it can do besides, and here nobody calls that.
struct NoHttp {
  const std::string none;

  [[nodiscard]] ::websocketpp::http::status_code::value get_status_code() const { return {}; }
  [[nodiscard]] const std::string& get_method() const { return none; }
  [[nodiscard]] const std::string& get_version() const { return none; }
  [[nodiscard]] const std::string& get_header(const char*) const { return none; }
  bool get_header_as_plist(const char*, ::websocketpp::http::parameter_list&) const { return true; }
  [[nodiscard]] const std::string& raw() const { return none; }
  void set_method(const char*) {}
  void set_uri(const std::string&) {}
  void set_version(const char*) {}
  void append_header(const char*, const char*) {}
  void replace_header(const char*, const std::string&) {}
};
struct NoRequest : NoHttp {};
struct NoResponse : NoHttp {};
[[nodiscard]] inline ::websocketpp::uri_ptr get_uri_from_host(const NoRequest&, const char*) { return nullptr; }

struct FramesConfig {
  using request_type = NoRequest;
  using response_type = NoResponse;
  using message_type = InboundMessage;
  using con_msg_manager_type = InboundMessages;
  using rng_type = ::websocketpp::random::none::int_generator<std::uint32_t>;  // servers mask nothing
  using permessage_deflate_type = DeflateExtension;
  static constexpr bool enable_extensions = true;
  static constexpr std::size_t max_message_size = 64 * 1024;  // each connection is told Options::max_message_bytes
};

/// Reads one peer's frames. Dead after its first fault: what websocketpp's reader holds is undefined then.
class Frames : private ::websocketpp::processor::hybi13<FramesConfig> {
 public:
  Frames(InboundMessages& messages, FramesConfig::rng_type& no_random) : hybi13(false, true, &messages, no_random) {
    // check_length bounds each frame before this reader adds its length to anything.
    set_max_message_size(std::numeric_limits<std::size_t>::max());
  }

  /// Before its peer's first frame.
  void begin(std::size_t max_message_bytes, bool compressed) noexcept {
    max_message_bytes_ = max_message_bytes;
    m_permessage_deflate.enable(compressed);
  }
  /// Whether its peer's next byte begins a frame, of a message of its own: it knows nothing then that another does not.
  [[nodiscard]] bool at_rest() const noexcept {
    return m_state == HEADER_BASIC && m_bytes_needed == frame::BASIC_HEADER_LENGTH && !m_data_msg.msg_ptr;
  }

  /// What some bytes came to.
  struct Step {
    std::size_t used = 0;
    std::error_code error;
    bool fragment = false;  ///< the header of a frame that does not end its message
    InboundMessage::ptr message;
  };

  /// Reads on, to the end of a header or of a message at most. Unmasks in place. After an error, or a throw, nothing is
  /// read any more, and each call is an error.
  [[nodiscard]] Step read(char* bytes, std::size_t size) {
    if (m_state == FATAL_ERROR) return {0, fault(Fault::protocol_violation), false, nullptr};
    Step step;
    try {
      read_on(bytes, size, step);
    } catch (...) {
      m_state = FATAL_ERROR;
      throw;
    }
    if (step.error) m_state = FATAL_ERROR;
    return step;
  }

  /// Looks for the peer's close frame and passes over everything else: payloads are neither kept nor judged. True: it has
  /// been read, whole; then, as after an error, there is nothing more to look for.
  [[nodiscard]] bool skip_to_close(const char* bytes, std::size_t size) {
    while (size != 0 && m_state != FATAL_ERROR) {
      const std::size_t used = std::min(size, m_bytes_needed);
      const auto* const data = reinterpret_cast<const std::uint8_t*>(bytes);
      if (m_state == HEADER_BASIC) {
        (void)copy_basic_header_bytes(data, used);
        if (m_bytes_needed == 0) expect_rest_of_header();
      } else if (m_state == HEADER_EXTENDED) {
        (void)copy_extended_header_bytes(data, used);
        if (m_bytes_needed == 0) expect_payload();
      } else {
        m_bytes_needed -= used;
      }
      if (m_state == APPLICATION && m_bytes_needed == 0) {
        const bool found = frame::get_opcode(m_basic_header) == frame::opcode::close;
        reset_headers();
        if (found) {
          m_state = FATAL_ERROR;
          return true;
        }
      }
      bytes += used;
      size -= used;
    }
    return false;
  }

 private:
  using Fault = ::websocketpp::processor::error::processor_errors;
  [[nodiscard]] static std::error_code fault(Fault what) {
    return ::websocketpp::processor::error::make_error_code(what);
  }

  void read_on(char* bytes, std::size_t size, Step& step) {
    const bool in_header = m_state == HEADER_BASIC;
    if (m_state == HEADER_EXTENDED && size >= m_bytes_needed) step.error = check_length(bytes);
    if (step.error) return;
    step.used = consume(reinterpret_cast<std::uint8_t*>(bytes), std::min(size, m_bytes_needed), step.error);
    if (step.error) return;
    if (in_header && m_state != HEADER_BASIC) {
      step.fragment = !frame::get_fin(m_basic_header);
      // What websocketpp lets pass: a frame that continues a message and says that it is compressed (RFC 7692, 6.1).
      if (frame::get_opcode(m_basic_header) == frame::opcode::continuation && frame::get_rsv1(m_basic_header)) {
        step.error = fault(Fault::invalid_rsv_bit);
      }
    }
    if (step.error || !ready()) return;
    // It does not look at the end of a text in fragments either.
    const bool text = m_current_msg->msg_ptr->get_opcode() == frame::opcode::text;
    if (text && !m_current_msg->validator.complete()) {
      step.error = fault(Fault::invalid_utf8);
    } else {
      step.message = get_message();
    }
  }

  /// A frame's length by itself, right behind its header and before it is added to anything; `rest` completes the header.
  /// A control frame's is bounded by its first bytes.
  [[nodiscard]] std::error_code check_length(const char* rest) const {
    frame::extended_header header = m_extended_header;
    std::copy_n(reinterpret_cast<const std::uint8_t*>(rest), m_bytes_needed, header.bytes + m_cursor);
    const std::uint64_t length = frame::get_payload_size(m_basic_header, header);
    if ((length >> 63U) != 0) return fault(Fault::protocol_violation);  // RFC 6455, 5.2
    if (frame::opcode::is_control(frame::get_opcode(m_basic_header))) return {};
    const InboundMessage* const begun = m_data_msg.msg_ptr.get();
    const bool compressed = begun != nullptr ? begun->get_compressed() : frame::get_rsv1(m_basic_header);
    // What cannot be compressed grows by five bytes for each of its blocks (RFC 1951, 3.2.4).
    const std::size_t limit = compressed ? max_message_bytes_ + max_message_bytes_ / 256 + 64 : max_message_bytes_;
    const std::size_t held = begun != nullptr ? begun->get_payload().size() : 0;
    return length > limit - held ? fault(Fault::message_too_big) : std::error_code();
  }

  void expect_rest_of_header() {
    m_state = HEADER_EXTENDED;
    m_cursor = 0;
    m_bytes_needed = frame::get_header_len(m_basic_header) - frame::BASIC_HEADER_LENGTH;
    if (m_bytes_needed == 0) expect_payload();
  }
  void expect_payload() {
    const std::uint64_t length = frame::get_payload_size(m_basic_header, m_extended_header);
    m_state = (length >> 63U) != 0 ? FATAL_ERROR : APPLICATION;
    m_bytes_needed = static_cast<std::size_t>(length);
  }

  std::size_t max_message_bytes_ = 0;
};

/// The readers of a loop. A socket has one only in the middle of a frame or message: most need none at all.
class Readers {
 public:
  [[nodiscard]] std::unique_ptr<Frames> lend(std::size_t max_message_bytes, bool compressed) {
    std::unique_ptr<Frames> reader = std::move(resting_);
    if (!reader) reader = std::make_unique<Frames>(messages_, no_random_);
    reader->begin(max_message_bytes, compressed);
    return reader;
  }
  /// One that is at rest.
  void take_back(std::unique_ptr<Frames> reader) noexcept { resting_ = std::move(reader); }

 private:
  InboundMessages messages_;
  FramesConfig::rng_type no_random_;
  std::unique_ptr<Frames> resting_;
};

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
