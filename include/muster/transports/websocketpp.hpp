// The WebSocket transport on websocketpp, Asio, OpenSSL and zlib: a Listener for a program that has its loop, a Server that
// brings its own.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

// After a header of the standard library: Asio 1.22 looks for what that library has before it includes any of it, and
// translation units that disagree about it allocate in two ways.
#include <asio/io_context.hpp>

#include "muster/config.hpp"
#include "muster/connection_manager.hpp"
#include "muster/error.hpp"
#include "muster/executor.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {

/// A plain HTTP request on the listener's port: one that does not ask for an upgrade to WebSocket.
struct HttpRequest {
  /// As sent, except that HEAD is asked as GET; the answer's body is then left out on the way.
  std::string method;
  /// The target up to the `?`, and what follows it; both as sent, with their percent-encoding.
  std::string path;
  std::string query;
  /// In the order and spelling they came in.
  std::vector<std::pair<std::string, std::string>> headers;
  RemoteAddress remote_address;

  /// The first header of this name, in whatever case; empty when there is none.
  [[nodiscard]] std::string_view header(std::string_view name) const noexcept;
};

/// Bytes of a body, asked for as the peer takes them. Fills `to` with up to `size` of them, from where it stood, and says how
/// many; 0: there are no more. On the socket's loop, as HttpHandler; what it throws is an end.
using BodySource = std::function<std::size_t(char* to, std::size_t size)>;

/// What is answered. Content-Length, Transfer-Encoding and Connection are not for the hook to say; named here, they are
/// left out.
struct HttpResponse {
  unsigned status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  /// In place of `body`, for what is large: `source_bytes` in all, of which no more than 32 KiB are held for a peer at a
  /// time. A source that ends before cuts the socket, lest a part be taken for the whole.
  BodySource source;
  std::uint64_t source_bytes = 0;
};

/// Answers plain HTTP requests: health checks, metrics, the files of a page.
/// Threads: called on the loop of the socket, on several loops at once when there are several; it must not block.
/// What it throws is answered 500.
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

struct ListenerOptions {
  /// Where to listen: an address or a local name. A loopback address answers requests for loopback names only, unless
  /// Options::allowed_hosts lists others (DNS rebinding).
  std::string address = "127.0.0.1";
  /// 0: the system picks one, and `port()` tells.
  std::uint16_t port = 0;
  /// TLS (1.2 and above) when both are given: the certificate chain and its private key, PEM files.
  std::string tls_certificate_file;
  std::string tls_key_file;
  /// The peers that Options::trusted_proxies names begin with a PROXY protocol header, version 1 or 2 ("The PROXY protocol",
  /// haproxy.org), before TLS and HTTP; who does not is closed. It says who is behind them, as X-Forwarded-For does for
  /// proxies that speak HTTP; all other peers are served as ever. Needs trusted_proxies.
  bool proxy_protocol = false;
  /// Agrees to permessage-deflate (RFC 7692) with clients that offer it, without context takeover in either direction, but
  /// for deflate_client_window_bits. A message is compressed once for all who get it, and no connection holds a compressor:
  /// each loop has one for each window that its clients ask for, at most seven of up to 270 KiB, and one that inflates. Costs
  /// the CPU of zlib's default level, some 20 us for a message of 1 KiB of JSON, and once for all.
  bool deflate = false;
  /// Messages of fewer bytes are sent as they are: they would hardly become smaller.
  std::size_t deflate_min_bytes = 256;
  /// Lets clients keep the context of their earlier messages, of up to 2^n bytes, 9 to 15. Costs a connection as many bytes,
  /// 32 KiB at 15, once so much has come compressed; a client that offers client_no_context_takeover or a smaller window
  /// costs less. Below 15, offers without client_max_window_bits are declined: who makes them cannot be told to use less.
  /// 0: every client is answered client_no_context_takeover. Some do not heed it (those of Tornado 6.2 and Mojolicious 9.31,
  /// when they are told to compress): they are closed with 1002 at the first message that refers to an earlier one, and the
  /// reason says so. For them this is 15, or they offer no compression.
  int deflate_client_window_bits = 0;
  /// What the system keeps unsent for a peer that takes no more, beyond which a write waits (TCP_NOTSENT_LOWAT): the rest
  /// is where the marks of unsent bytes, conflation and gaps see it. Smaller: a slow peer's state is fresher, and it costs
  /// less memory; larger: fewer wake-ups for it. 0: the system's own, which is megabytes.
  std::size_t unsent_low_water_bytes = 16 * 1024;
  /// None: a request that is not an upgrade is answered 426, as one is always whose Upgrade a proxy has removed.
  HttpHandler http;
  /// Paths of plain HTTP that are answered whatever the Host header says: those that load balancers ask, by address. What
  /// is there is no secret from any page of the web (DNS rebinding), and changes nothing.
  std::vector<std::string> probe_paths;
  /// For health checks and metrics on a port of their own: plain HTTP alone, which takes no place among
  /// Options::max_connections whatever comes there. An upgrade is refused with 404.
  bool plain_http_only = false;
  /// Sockets without a place among Options::max_connections have three budgets, so that none of them starves another.
  /// Each costs a descriptor. First: those whose request is not known yet, each with up to `handshake_bytes`, for at most
  /// Options::handshake_timeout. Beyond: closed unanswered.
  std::size_t extra_sockets = 64;
  /// Those that are refused: until they have closed, at most `http_timeout` and then Options::close_timeout. Beyond: told,
  /// and closed at once.
  std::size_t refused_sockets = 64;
  /// Plain HTTP, which gives its place back once it is known to be that, for as long as its answer takes. Beyond: it keeps
  /// its place; and one that has none is told as much as the socket takes at once, which is all of a health check.
  std::size_t http_sockets = 256;
  /// How long a peer may take none of the answer to its plain HTTP request, or of a refusal. Once all is written it has
  /// Options::close_timeout to close.
  std::chrono::milliseconds http_timeout = std::chrono::seconds(10);
};

struct ServerOptions : ListenerOptions {
  /// Loops, each one thread. A connection stays on its loop; new ones go where the fewest are. At least 1.
  std::size_t threads = 1;
};

/// An Asio io_context as an Executor. The io_context must be run by one thread at a time: a second one that is found in a
/// handler of muster's gets std::logic_error out of its `run`. A program whose io_context several threads run gives muster
/// one of its own, with its own thread, and posts between the two (examples/pool.cpp); or it takes a Server.
///
/// Tasks posted while handlers run are run together by a handler behind those that were ready before it, with what they
/// post in turn, for a few rounds: such a handler is a turn.
class AsioExecutor final : public Executor {
 public:
  /// The executor of this io_context: made by the first call, the same object in every later one. It stops when
  /// `stop` is called or the io_context is destroyed, and may outlive the io_context.
  [[nodiscard]] static std::shared_ptr<AsioExecutor> of(asio::io_context& context);

  /// Use `of`.
  explicit AsioExecutor(asio::io_context& context);
  ~AsioExecutor() override;

  [[nodiscard]] bool post(Task task) override;
  [[nodiscard]] bool post_at_turn_end(Task task, std::size_t turns = 0) override;
  [[nodiscard]] bool schedule(TimePoint when, Task task) override;
  [[nodiscard]] TimePoint now() const override;
  [[nodiscard]] WallTime wall_now() const override;

  /// The loop has returned from `run` and will not run again: what waits is destroyed unrun, and `post` answers false
  /// from now on. Never from a task of this executor.
  void stop();

  /// A handler of the loop, for as long as it runs. Throws std::logic_error when another thread is in one.
  class Turn {
   public:
    explicit Turn(AsioExecutor& executor);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    friend class AsioExecutor;
    struct Holder;
    explicit Turn(Holder& holder);
    Holder& holder_;
    const std::thread::id before_;
  };

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Accepts connections on an io_context that the program owns and one thread runs.
///
/// Lifetimes: `manager->shutdown(done)` first; when `done` was called, the listener, the io_context and the manager may
/// go, in this order. A listener that goes earlier only stops accepting: its connections live on. An io_context that
/// goes earlier takes its connections with it, and the manager counts them as lost.
/// Threads: constructed, stopped and destroyed in the thread that runs the io_context, or while none does.
class Listener {
 public:
  /// Binds and listens. Throws std::system_error that names address and port, std::runtime_error that names the file
  /// for a certificate or key that cannot be used, and std::invalid_argument for options that contradict each other.
  Listener(asio::io_context& context, std::shared_ptr<TransportSink> sink, ListenerOptions options = {});
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) noexcept;
  /// Stops.
  ~Listener();

  /// The port it listens on.
  [[nodiscard]] std::uint16_t port() const noexcept;
  /// Accepts no more, and closes the port. Connections live on. Idempotent.
  void stop();
  /// Reads the files of `tls_certificate_file` and `tls_key_file` again: connections from now on are shown the new
  /// certificate, those that are there keep what they have. The error says what is wrong with which file, or that TLS is
  /// off; then nothing has changed. Any thread.
  [[nodiscard]] std::optional<Error> reload_certificate();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// A listener with loops and threads of its own.
class Server {
 public:
  /// Binds and listens; accepts from `start` or `run` on. Throws as Listener's.
  explicit Server(std::shared_ptr<IConnectionManager> manager, ServerOptions options = {});
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  /// Stops.
  ~Server();

  /// The port it listens on.
  [[nodiscard]] std::uint16_t port() const noexcept;
  /// The first loop's io_context, for what the program itself waits for: signals, timers, sockets of its own. It is the
  /// server's, and lives as long. Any thread may post to it; handlers run in the first loop's thread, where clients wait
  /// for them, and what one throws ends the process. What is still waiting when the server ends is destroyed uncalled.
  [[nodiscard]] asio::io_context& context() noexcept;
  /// Starts a thread for each loop and returns. Throws std::system_error when a thread cannot be made, std::logic_error
  /// after `stop`. A second call does nothing.
  void start();
  /// As `start`, but the first loop runs in the calling thread: a server of one loop needs no other, and a process of one
  /// thread is spared the locks of the C library and some of the kernel's. Returns when the server was stopped and every
  /// thread has ended. After `start` it only waits for that, also where `stop` was faster. Throws
  /// as `start`.
  void run();
  /// Accepts no more, shuts the manager down (IConnectionManager::shutdown, which closes every connection with
  /// going_away), and ends the loops as soon as every socket is gone, at the latest a second after
  /// Options::close_timeout. Any thread; idempotent. Waits until that is done, unless it is called on one of the
  /// server's own loops: then it only begins it. Not from a signal handler: wait for signals in a thread.
  void stop();
  /// As Listener::reload_certificate.
  [[nodiscard]] std::optional<Error> reload_certificate();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster

#if !defined(MUSTER_COMPILED)
#include "muster/transports/websocketpp/websocketpp.ipp"
#endif
