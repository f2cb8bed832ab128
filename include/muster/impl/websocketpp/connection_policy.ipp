// websocketpp without its endpoint: the connection alone, on a transport policy and a logger of ours, so that reads,
// writes and the socket's end are the session's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <websocketpp/common/connection_hdl.hpp>
#include <websocketpp/concurrency/none.hpp>
#include <websocketpp/connection_base.hpp>
#include <websocketpp/frame.hpp>
#include <websocketpp/http/request.hpp>
#include <websocketpp/http/response.hpp>
#include <websocketpp/message_buffer/alloc.hpp>
#include <websocketpp/message_buffer/message.hpp>
#include <websocketpp/random/none.hpp>

#include <websocketpp/connection.hpp>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

class Session;

struct NoLog {
  void set_channels(::websocketpp::log::level) {}
  void clear_channels(::websocketpp::log::level) {}
  template <class Text>
  void write(::websocketpp::log::level, const Text&) {}
  [[nodiscard]] constexpr bool static_test(::websocketpp::log::level) const { return false; }
  [[nodiscard]] bool dynamic_test(::websocketpp::log::level) const { return false; }
};

/// The transport of a websocketpp connection. It keeps no handler: websocketpp's completion functions are public, at
/// most one read and one write are outstanding, and which function is due follows from the state. The session calls it.
class ConnectionPolicy : public std::enable_shared_from_this<ConnectionPolicy> {
 public:
  using ptr = std::shared_ptr<ConnectionPolicy>;
  /// Deadlines are the loop's: websocketpp gets no timer.
  struct NoTimer {
    void cancel() {}
  };
  using timer_ptr = std::shared_ptr<NoTimer>;

  ConnectionPolicy(bool, const std::shared_ptr<NoLog>&, const std::shared_ptr<NoLog>&) {}
  virtual ~ConnectionPolicy() = default;

  void attach(Session& session) { session_ = &session; }

  [[nodiscard]] ptr get_shared() { return shared_from_this(); }
  [[nodiscard]] bool is_secure() const { return false; }
  void set_handle(const ::websocketpp::connection_hdl&) {}
  [[nodiscard]] std::string get_remote_endpoint() const { return {}; }
  timer_ptr set_timer(long, const ::websocketpp::transport::timer_handler&) { return nullptr; }

  /// Where websocketpp wants the next bytes; null: it wants none.
  [[nodiscard]] char* take_read_buffer() { return std::exchange(read_buffer_, nullptr); }
  [[nodiscard]] bool wants_bytes() const noexcept { return read_buffer_ != nullptr; }
  [[nodiscard]] std::size_t read_buffer_size() const noexcept { return read_buffer_size_; }

 protected:
  using WriteHandler = ::websocketpp::transport::write_handler;

  void init(const ::websocketpp::transport::init_handler& ready) { ready(std::error_code()); }
  void async_read_at_least(std::size_t, char* buffer, std::size_t size, const ::websocketpp::transport::read_handler&) {
    read_buffer_ = buffer;
    read_buffer_size_ = size;
  }
  // These four are in session.ipp.
  void async_write(const char* data, std::size_t size, const WriteHandler&);
  void async_write(const std::vector<::websocketpp::transport::buffer>& buffers, const WriteHandler&);
  std::error_code dispatch(const ::websocketpp::transport::dispatch_handler&);
  void async_shutdown(const ::websocketpp::transport::shutdown_handler& done);

  std::error_code interrupt(const ::websocketpp::transport::interrupt_handler&) {
    return ::websocketpp::transport::error::make_error_code(::websocketpp::transport::error::operation_not_supported);
  }

 private:
  Session* session_ = nullptr;
  char* read_buffer_ = nullptr;
  std::size_t read_buffer_size_ = 0;
};

/// permessage-deflate as websocketpp sees it: a first frame may have RSV1, and the bytes of a compressed message are kept
/// as they came, with the tail behind them. They are inflated once the message is whole, because one inflater serves
/// every connection of a loop.
class DeflateExtension {
 public:
  using Answer = std::pair<std::error_code, std::string>;

  // Asked only where the session has agreed to compress; it also writes the answer's header.
  Answer negotiate(const ::websocketpp::http::attribute_list&) {
    enabled_ = true;
    return {};
  }
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
class InboundMessage : public ::websocketpp::message_buffer::message<::websocketpp::message_buffer::alloc::con_msg_manager> {
 public:
  using Opcode = ::websocketpp::frame::opcode::value;
  using ptr = std::shared_ptr<InboundMessage>;

  template <class Manager>
  explicit InboundMessage(const std::shared_ptr<Manager>&) : message(nullptr) {}
  template <class Manager>
  InboundMessage(const std::shared_ptr<Manager>&, Opcode opcode, std::size_t size) : message(nullptr, opcode, size) {}

  [[nodiscard]] Opcode get_opcode() const { return get_compressed() ? ::websocketpp::frame::opcode::binary : sent_as(); }
  /// What the peer said it is.
  [[nodiscard]] Opcode sent_as() const { return message::get_opcode(); }
};

struct ConnectionConfig {
  using type = ConnectionConfig;
  using concurrency_type = ::websocketpp::concurrency::none;
  using request_type = ::websocketpp::http::parser::request;
  using response_type = ::websocketpp::http::parser::response;
  using message_type = InboundMessage;
  using con_msg_manager_type = ::websocketpp::message_buffer::alloc::con_msg_manager<message_type>;
  using elog_type = NoLog;
  using alog_type = NoLog;
  using rng_type = ::websocketpp::random::none::int_generator<std::uint32_t>;  // servers mask nothing
  struct transport_type {
    using transport_con_type = ConnectionPolicy;
  };
  using connection_base = ::websocketpp::connection_base;

  static constexpr bool enable_multithreading = false;
  static constexpr long timeout_open_handshake = 0;
  static constexpr long timeout_close_handshake = 0;
  static constexpr long timeout_pong = 0;
  static constexpr int client_version = 13;
  static constexpr ::websocketpp::log::level elog_level = 0;
  static constexpr ::websocketpp::log::level alog_level = 0;
  /// Every connection holds this much; it is only the slice in which the loop's buffer is fed.
  static constexpr std::size_t connection_read_buffer_size = 512;
  static constexpr bool drop_on_protocol_error = false;
  static constexpr bool silent_close = false;
  static constexpr std::size_t max_message_size = 64 * 1024;  // each connection is told Options::max_message_bytes
  static constexpr std::size_t max_http_body_size = 0;
  static constexpr bool enable_extensions = true;
  using permessage_deflate_type = DeflateExtension;
};

using WebsocketppConnection = ::websocketpp::connection<ConnectionConfig>;

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
