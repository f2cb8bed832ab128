// attach: muster on a stock websocketpp server that is there already. The plain, slower way in; whoever can choose takes
// the Listener of websocketpp.hpp.
#pragma once

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/socket_base.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <websocketpp/close.hpp>
#include <websocketpp/common/connection_hdl.hpp>
#include <websocketpp/connection.hpp>
#include <websocketpp/error.hpp>
#include <websocketpp/frame.hpp>

#include "muster/config.hpp"
#include "muster/connection_manager.hpp"
#include "muster/function.hpp"
#include "muster/transports/websocketpp.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {

struct AttachOptions {
  /// Upgrades to this path are muster's, and to every path when it is empty: it is compared whole, so that a protocol
  /// with a name in its path needs it empty. It is also what a Protocol is asked for.
  std::string path = "/ws";
  /// Upgrades to other paths: the validate handler that the program had. None: they are accepted.
  std::function<bool(::websocketpp::connection_hdl)> other_paths;
  /// A client is written to without waiting until this much is on its way; beyond it the core keeps what follows.
  std::size_t handed_over_bytes = 64 * 1024;
  /// As ListenerOptions::unsent_low_water_bytes.
  std::size_t unsent_low_water_bytes = ListenerOptions().unsent_low_water_bytes;
  /// The subprotocol of a 101 that goes out before the authenticator has answered, if the client offers it: which one
  /// the core would choose is not known then.
  std::string early_subprotocol = "muster.v1.json";
};

namespace detail {

/// What the core's side asks of a stock connection. On its loop.
class StockPipe {
 public:
  virtual ~StockPipe() = default;
  [[nodiscard]] virtual bool is_open() = 0;
  /// Hands whole frames over; `through` is called, from wherever, when nothing of them is held any more.
  virtual void send(std::string frames, Function<void()> through) = 0;
  virtual void close(std::uint16_t code, const std::string& text) = 0;
  virtual void abort() = 0;
  /// What the system holds of what was handed over.
  [[nodiscard]] virtual std::size_t unsent_in_system() = 0;
  /// Only while a message is being received: then no read is under way, and websocketpp starts no other.
  virtual void stop_reading() = 0;
  /// Only when no message is being received, and reading was stopped: a second read would use the buffer of the first.
  virtual void go_on_reading() = 0;
  virtual void close_descriptor() = 0;
};

/// What the handlers of a stock connection tell.
class Attached {
 public:
  virtual ~Attached() = default;
  /// The validate handler. Status 101: upgraded, with this subprotocol if there is one; else the refusal.
  struct Answer {
    HttpResponse response;
    std::string subprotocol;
  };
  [[nodiscard]] virtual Answer ask(HttpRequest request, bool http_1_1, const asio::ip::tcp::endpoint& peer,
                                   bool loopback) = 0;
  virtual void opened() = 0;
  virtual void received(FrameKind kind, const std::string& payload) = 0;
  virtual void ended(CloseReason cause) = 0;
};

/// As in stream.ipp.
void set_unsent_low_water(int descriptor, std::size_t bytes) noexcept;
std::size_t unsent_in_system(int descriptor) noexcept;

class AttachState;
[[nodiscard]] std::shared_ptr<AttachState> make_attach_state(asio::io_context& io, std::shared_ptr<TransportSink> sink,
                                                             const AttachOptions& options);
[[nodiscard]] std::shared_ptr<Attached> make_attached(std::shared_ptr<AttachState> attach,
                                                      std::unique_ptr<StockPipe> pipe);

template <class Connection>
class StockPipeOf final : public StockPipe {
 public:
  using Pointer = std::shared_ptr<Connection>;
  StockPipeOf(asio::io_context& io, const Pointer& connection) : io_(io), connection_(connection), kept_(io) {}

  [[nodiscard]] bool is_open() override {
    const Pointer connection = connection_.lock();
    return connection && connection->get_state() == ::websocketpp::session::state::open;
  }

  /// A prepared message goes out as it is, so it can carry any number of frames; and its end is the drain callback that
  /// websocketpp does not have.
  void send(std::string frames, Function<void()> through) override {
    const Pointer connection = connection_.lock();
    if (!connection) return;
    auto message = connection->get_message(::websocketpp::frame::opcode::binary, 0);
    message->get_raw_payload() = std::move(frames);
    message->set_prepared(true);
    using Message = typename Connection::message_type;
    const auto shared = std::make_shared<Function<void()>>(std::move(through));
    (void)connection->send(std::shared_ptr<Message>(message.get(), [message, shared](Message*) mutable {
      message.reset();
      (*shared)();
    }));
  }

  void close(std::uint16_t code, const std::string& text) override {
    const Pointer connection = connection_.lock();
    if (!connection) return;
    std::error_code error;
    connection->close(code, text, error);
    closing_ = !error;
    if (error && is_open()) abort();
  }

  void abort() override {
    const Pointer connection = connection_.lock();
    if (!connection) return;
    over_ = true;
    asio::error_code ignored;
    auto& socket = connection->get_raw_socket().lowest_layer();
    socket.set_option(asio::socket_base::linger(true, 0), ignored);
    socket.close(ignored);
    // Nothing may be under way that would notice.
    asio::post(io_, [connection] {
      connection->terminate(::websocketpp::error::make_error_code(::websocketpp::error::general));
    });
  }

  [[nodiscard]] std::size_t unsent_in_system() override {
    const Pointer connection = connection_.lock();
    return connection ? detail::unsent_in_system(connection->get_raw_socket().lowest_layer().native_handle()) : 0;
  }

  void stop_reading() override {
    const Pointer connection = connection_.lock();
    if (!connection) return;
    connection->handle_pause_reading();
    // Only what is under way keeps a stock connection alive; from now on that is this wait, which its loop owns.
    kept_.expires_at(asio::steady_timer::time_point::max());
    kept_.async_wait([connection](const asio::error_code&) {});
  }
  /// websocketpp reads no more once it has found a fault, and closes by itself: what parses its frames is then in no
  /// state to be fed. So a close that is not ours ends reading for good.
  void go_on_reading() override {
    namespace state = ::websocketpp::session::state;
    if (const Pointer connection = connection_.lock(); connection && !over_) {
      const auto now = connection->get_state();
      if (now == state::open || (now == state::closing && closing_)) connection->handle_resume_reading();
    }
    kept_.cancel();
  }
  void close_descriptor() override {
    over_ = true;
    asio::error_code ignored;
    if (const Pointer connection = connection_.lock()) connection->get_raw_socket().lowest_layer().close(ignored);
    kept_.cancel();
  }

 private:
  asio::io_context& io_;
  std::weak_ptr<Connection> connection_;  // its handlers own us
  asio::steady_timer kept_;
  bool closing_ = false;  // with a close of ours
  bool over_ = false;     // its socket is shut
};

/// Why it ended, as far as a stock connection tells.
template <class Connection>
[[nodiscard]] CloseReason stock_cause(const Connection& connection) {
  namespace status = ::websocketpp::close::status;
  const auto ours = connection.get_local_close_code();
  const auto theirs = connection.get_remote_close_code();
  // A peer's close is answered in its own words; what websocketpp found wrong, in others.
  if (theirs == status::abnormal_close || connection.get_local_close_reason() != connection.get_remote_close_reason()) {
    if (ours == status::message_too_big) return CloseReason::message_too_big;
    if (ours == status::invalid_payload) return CloseReason::invalid_utf8;
    if (ours == status::protocol_error) return CloseReason::protocol_error;
  }
  if (theirs == status::abnormal_close) return CloseReason::lost;
  // A close frame that names no code is a goodbye as well.
  return theirs == status::normal || theirs == status::no_status ? CloseReason::normal : CloseReason::going_away;
}

template <class Connection>
[[nodiscard]] HttpRequest stock_request(const Connection& connection) {
  HttpRequest request;
  const auto& stock = connection.get_request();
  request.method = stock.get_method();
  const std::string& target = stock.get_uri();
  const std::size_t question = std::min(target.find('?'), target.size());
  request.path = target.substr(0, question);
  if (question != target.size()) request.query = target.substr(question + 1);
  for (const auto& [name, value] : stock.get_headers()) request.headers.emplace_back(name, value);
  return request;
}

}  // namespace detail

/// Lets `sink`, a manager, serve the upgrades to one path of a stock `websocketpp::server<config>`, whose transport is Asio's
/// (plain or TLS). The endpoint's validate handler becomes ours; connections to our path get all their handlers from us,
/// and every other keeps the program's, as do plain HTTP requests.
///
/// Call it after `init_asio` and before `start_accept`, which gives a connection the handlers of that moment. One thread
/// runs the endpoint. When the program ends: `manager->shutdown(done)` first, and then the endpoint.
///
/// What a stock server cannot do, and the Listener of websocketpp.hpp can:
/// - Refuse after the call: an authenticator that answers inside it refuses with an HTTP status; one that answers later
///   finds the upgrade done, and the refusal is the reason's close code.
/// - Bound sockets that have not asked for the upgrade yet, or linger: places are taken with the upgrade, and the
///   handshake is bounded by the endpoint's own settings, as is the size of a message (`set_max_message_size`).
/// - Let go at once of a TLS peer that closes and then does not end TLS: websocketpp waits five seconds for it.
/// - Write without a copy: each connection's frames are copied once more, and go out in a later turn.
/// - Stay small: a connection holds a read buffer of `config::connection_read_buffer_size` (16 KiB).
/// - Linger after a fault: what websocketpp finds wrong with a peer (too big, not UTF-8) is told to both, but its socket is
///   shut right behind the close frame, and what the peer is still sending may cost it that frame.
/// - Be compiled as C++20 by g++: websocketpp 0.8.2 is C++17 there.
/// - Bound what a stranger costs before its message is whole. Only whole messages come from websocketpp, and their headers
///   are not seen: the lengths of a message's fragments are checked by a sum of websocketpp's own; the length that a
///   message claims may be reserved at once; fragments do not count against `frame_rate`, and an unfinished message counts
///   neither against `pre_auth_bytes` nor against `byte_rate`; of compressed messages only the inflated size is known.
///
/// So servers that are open to strangers use muster's Listener, or its Server.
///
/// Throws std::invalid_argument without a sink, and for `handed_over_bytes` of 0.
template <class Server>
void attach(Server& endpoint, std::shared_ptr<TransportSink> sink, AttachOptions options = {}) {
  asio::io_context& io = endpoint.get_io_service();
  const auto shared = detail::make_attach_state(io, sink, options);
  endpoint.set_validate_handler([&endpoint, &io, shared, timeout = sink->options().close_timeout, path = options.path,
                                 low_water = options.unsent_low_water_bytes,
                                 other_paths = options.other_paths](::websocketpp::connection_hdl handle) {
    using Connection = typename Server::connection_type;
    const std::shared_ptr<Connection> connection = endpoint.get_con_from_hdl(handle);
    HttpRequest request = detail::stock_request(*connection);
    if (!path.empty() && request.path != path) return !other_paths || other_paths(handle);

    const auto attached =
        detail::make_attached(shared, std::make_unique<detail::StockPipeOf<Connection>>(io, connection));
    const auto ended = [attached, weak = std::weak_ptr<Connection>(connection)](const ::websocketpp::connection_hdl&) {
      const auto gone = weak.lock();
      attached->ended(gone ? detail::stock_cause(*gone) : CloseReason::lost);
    };
    connection->set_close_handshake_timeout(static_cast<long>(timeout.count()));
    connection->set_close_handler(ended);
    connection->set_fail_handler(ended);
    connection->set_open_handler([attached](const ::websocketpp::connection_hdl&) { attached->opened(); });
    connection->set_message_handler(
        [attached](const ::websocketpp::connection_hdl&, const typename Server::message_ptr& message) {
          const bool text = message->get_opcode() == ::websocketpp::frame::opcode::text;
          attached->received(text ? FrameKind::text : FrameKind::binary, message->get_payload());
        });
    connection->set_ping_handler([attached](const ::websocketpp::connection_hdl&, const std::string& payload) {
      attached->received(FrameKind::ping, payload);
      return false;  // pongs are the core's
    });
    connection->set_pong_handler([attached](const ::websocketpp::connection_hdl&, const std::string& payload) {
      attached->received(FrameKind::pong, payload);
    });

    asio::error_code error;
    auto& socket = connection->get_raw_socket().lowest_layer();
    detail::set_unsent_low_water(socket.native_handle(), low_water);
    const asio::ip::tcp::endpoint peer = socket.remote_endpoint(error);
    const asio::ip::tcp::endpoint local = socket.local_endpoint(error);
    const bool http_1_1 = connection->get_request().get_version() == "HTTP/1.1";
    const auto answer = attached->ask(std::move(request), http_1_1, peer, local.address().is_loopback());
    if (answer.response.status == 101) {
      std::error_code ignored;
      if (!answer.subprotocol.empty()) connection->select_subprotocol(answer.subprotocol, ignored);
      return true;
    }
    connection->set_status(static_cast<::websocketpp::http::status_code::value>(answer.response.status));
    for (const auto& [name, value] : answer.response.headers) connection->append_header(name, value);
    connection->append_header("Content-Type", answer.response.content_type);
    connection->set_body(answer.response.body);
    return false;
  });
}

}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster

#if !defined(MUSTER_COMPILED)
#include "muster/transports/websocketpp/attach.ipp"
#endif
