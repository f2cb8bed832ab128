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
#include <type_traits>
#include <utility>
#include <vector>

#include "muster/config.hpp"
#include "muster/connection_manager.hpp"
#include "muster/error.hpp"
#include "muster/executor.hpp"
#include "muster/transports/websocketpp_http.hpp"
#include "muster/types.hpp"

// Named here and not included, since Boost.Asio 1.74 and Asio cannot be in one translation unit: a compiled muster
// can be used in those of Boost's. Who makes an io_context includes <asio/io_context.hpp>, after a header of the standard
// library: Asio 1.22 looks for what that library has before it includes any of it, and translation units that disagree
// about it allocate in two ways.
namespace asio {
class io_context;
}
struct ssl_st;  // OpenSSL's SSL

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {

namespace detail {
class Acceptor;
}

/// Another manager on a listener's port, and whose requests it gets.
struct Site {
  /// A host, or a host and its port, as in Options::allowed_hosts, to which it is as if it was added; "*.example" is every
  /// host below that domain. Empty: every host.
  std::string host;
  /// This path and those below it, as a request has it: "/admin" is "/admin" and "/admin/ws". Empty: every path. What its
  /// protocols are asked for is the whole path.
  std::string path;
  std::shared_ptr<IConnectionManager> manager;
};

enum class TlsVersion : std::uint8_t { tls_1_2, tls_1_3 };

struct ListenerOptions {
  /// false: there is no port, and connections come by `adopt` alone, from a program that has one. What is said below of
  /// `address` and `port` is left out then; `proxy_protocol` and the files of TLS are refused, being the port's.
  bool listen = true;
  /// Where to listen: an address or a local name. A loopback address answers requests for loopback names only, unless
  /// Options::allowed_hosts lists others (DNS rebinding).
  std::string address = "127.0.0.1";
  /// 0: the system picks one, and `port()` tells.
  std::uint16_t port = 0;
  /// TLS when both are given: the certificate chain and its private key, PEM files. What is said of TLS below needs them.
  /// Costs a connection 14 KiB of OpenSSL 3.0's (13 by TLS 1.2), 19 where it has shown a certificate.
  std::string tls_certificate_file;
  std::string tls_key_file;
  /// Who speaks no version from this on is closed in the handshake.
  TlsVersion tls_min_version = TlsVersion::tls_1_2;
  /// What TLS 1.2 may use, in OpenSSL's notation ("ECDHE+AESGCM:ECDHE+CHACHA20"), and TLS 1.3 ("TLS_AES_128_GCM_SHA256"),
  /// the first that the client has as well being taken. Empty: what OpenSSL has by default. A name in them that OpenSSL does
  /// not know is refused.
  std::string tls_ciphers;
  std::string tls_ciphersuites;
  /// Session tickets that a handshake of TLS 1.3 gives the client, with each of which it resumes one connection later: that
  /// spares both the certificate, and us its signature, which with RSA is most of a handshake's CPU. TLS 1.2 has one for
  /// all. One is enough for who comes back with one connection. Nothing is kept for them: all is in the ticket (RFC 5077;
  /// RFC 8446, 4.6.1), under a key of this listener's that is new every two hours and forgotten after four. Tickets are good
  /// for two hours, here and nowhere else; they outlive reload_certificate. Who comes back in time is given new ones. They carry no early data (0-RTT). At most
  /// 16; 0: every connection makes a whole handshake.
  std::size_t tls_tickets = 1;
  /// Mutual TLS: the CAs that clients' certificates are checked against, a PEM file. A certificate must lead to a self-signed
  /// CA among them, be in date and be for clients, where it says for what it is (extendedKeyUsage); else its client is refused
  /// in the handshake, which is counted and logged (RefusedFor::auth). What it says is shown to authenticators
  /// (Credentials::client_certificate), who say which user that is, and to HTTP handlers. Revocation lists are not read: one
  /// that was taken back is the authenticator's to refuse. `reload_certificate` reads this file as well; connections stay,
  /// and no session that was verified by another is resumed. Who resumes is not checked against the CAs anew, but that the
  /// certificate is in date still. Behind a TLS proxy it is the proxy's certificate that is shown. Empty: clients are not
  /// asked for any.
  std::string tls_client_ca_file;
  /// false: who shows none is let in as well. One that is shown and not good is refused all the same.
  bool tls_client_certificate_required = true;
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
  /// Answers plain HTTP by method and path.
  HttpRoutes routes;
  /// Answers plain HTTP at the paths that no route has. None, and no routes: a request that is not an upgrade is answered
  /// 426, as one is always whose Upgrade a proxy has removed.
  HttpHandler http;
  /// What a request's body may have; beyond: 413, and closed. Bodies are read for sockets among `http_sockets` alone, others
  /// are answered 503: so all of them hold at most http_sockets times this and `handshake_bytes`, in strings that may have
  /// grown to twice that. Costs nothing where no bodies come.
  std::size_t http_body_bytes = 64 * 1024;
  /// How long all of a body may take to come in; then 408, and closed.
  std::chrono::milliseconds http_body_timeout = std::chrono::seconds(30);
  /// How long an HttpResponder may be kept; then 503. 0: Options::answer_timeout.
  std::chrono::milliseconds http_answer_timeout{0};
  /// How long a socket is kept for the next request (RFC 9112, 9.3). Its requests are answered one after the other, and one
  /// may be an upgrade. Longer than load balancers keep theirs by default, so that it is they who close, with no request on
  /// the way. A socket that is kept is the first to be closed where `http_sockets` is full, the one that waits longest before
  /// all others. 0: none is kept, as never are those of HTTP/1.0, and those behind a refusal.
  std::chrono::milliseconds http_idle_timeout = std::chrono::seconds(65);
  /// Requests that a socket may bring; it is closed with the answer to the last.
  std::size_t http_requests_per_socket = 1000;
  /// Paths of plain HTTP that are answered whatever the Host header says: those that load balancers ask, by address. What
  /// is there is no secret from any page of the web (DNS rebinding), and changes nothing.
  std::vector<std::string> probe_paths;
  /// For health checks and metrics on a port of their own: plain HTTP alone, which takes no place among
  /// Options::max_connections whatever comes there. An upgrade is refused with 404.
  bool plain_http_only = false;
  /// Other managers on this port. A request goes to the first whose host and path it has, else to the listener's own: from
  /// then on Options are that manager's, its limits among them. What comes before is the own manager's: `handshake_timeout`,
  /// `handshake_bytes`, `trusted_proxies`, and a place among its max_connections, which is given back for one of the
  /// other's once the request has named it. So whoever comes for the other takes a place of the own for as long as its
  /// request takes; and where the own has none, one of `extra_sockets`, which are there for all. Plain HTTP is answered by
  /// `routes` and `http`, whosever host it names.
  std::vector<Site> sites;
  /// Sockets without a place among Options::max_connections have three budgets, so that none of them starves another.
  /// Each costs a descriptor. First: those whose request is not known yet, each with up to `handshake_bytes`, for at most
  /// Options::handshake_timeout. Beyond: closed unanswered.
  std::size_t extra_sockets = 64;
  /// Those that are refused: until they have closed, at most `http_timeout` and then Options::close_timeout. Beyond: told,
  /// and closed at once.
  std::size_t refused_sockets = 64;
  /// Plain HTTP, which gives its place back once it is known to be that, until its socket is closed; an upgrade that comes
  /// on a socket that was kept needs one again. Beyond: it keeps its place, and is closed with its answer; and one that has
  /// none is told as much as the socket takes at once, which is all of a health check.
  std::size_t http_sockets = 256;
  /// How long a peer may take none of the answer to its plain HTTP request, or of a refusal. Once all is written it has
  /// Options::close_timeout to close.
  std::chrono::milliseconds http_timeout = std::chrono::seconds(10);
};

struct ServerOptions : ListenerOptions {
  /// Loops, each one thread. A connection stays on its loop; new ones go where the fewest are. At least 1.
  std::size_t threads = 1;
};

/// A connected TCP socket that the program has accepted itself, on its way to `adopt`. Owns it: one that is not adopted is
/// closed.
class AcceptedSocket {
 public:
  /// A descriptor, from whatever library it was released, with the TLS on it, where there is any: its handshake is made,
  /// and nothing of it under way. The TLS is shared (SSL_up_ref), and from here on used by nobody else. Throws
  /// std::invalid_argument for a TLS that is not so far; the descriptor is closed all the same.
  AcceptedSocket(int descriptor, ssl_st* tls = nullptr);
  /// A socket of Asio's or of Boost.Asio's, `ip::tcp::socket`, or a TLS stream of either on one,
  /// `ssl::stream<ip::tcp::socket>`; on whatever io_context. What waits for it is cancelled. Of a TLS stream nothing may be
  /// under way: throws as above.
  template <class Socket, class = std::enable_if_t<std::is_class_v<Socket>>>
  AcceptedSocket(Socket socket) : AcceptedSocket(release(socket.lowest_layer()), tls_of(socket)) {}
  AcceptedSocket(AcceptedSocket&& other) noexcept;
  AcceptedSocket& operator=(AcceptedSocket&&) = delete;
  ~AcceptedSocket();

 private:
  friend class detail::Acceptor;

  template <class Socket>
  [[nodiscard]] static int release(Socket& socket) {
    return socket.is_open() ? socket.release() : -1;
  }
  /// A plain socket's native handle is its descriptor.
  template <class Socket>
  [[nodiscard]] static ssl_st* tls_of(Socket& socket) {
    if constexpr (std::is_pointer_v<decltype(socket.native_handle())>) return socket.native_handle();
    return nullptr;
  }

  int descriptor_;  // -1: none
  ssl_st* tls_ = nullptr;
  std::string decrypted_;  // by its TLS, and not read by the program
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

/// Accepts connections on an io_context that the program owns and one thread runs, and serves those that the program has
/// accepted.
///
/// Lifetimes: `manager->shutdown(done)` first, and that of each of ListenerOptions::sites; when `done` was called, the
/// listener, the io_context and the manager may go, in this order. A listener that goes earlier only stops accepting: its connections live on. An io_context that
/// goes earlier takes its connections with it, and the manager counts them as lost.
/// Threads: constructed, stopped and destroyed in the thread that runs the io_context, or while none does.
class Listener {
 public:
  /// Binds and listens. Throws std::system_error that names address and port, std::runtime_error that names the file
  /// for a certificate or key that cannot be used, and std::invalid_argument for options that contradict each other, and
  /// for ciphers that there are not.
  Listener(asio::io_context& context, std::shared_ptr<TransportSink> sink, ListenerOptions options = {});
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) noexcept;
  /// Stops.
  ~Listener();

  /// The port it listens on; 0: none.
  [[nodiscard]] std::uint16_t port() const noexcept;
  /// Accepts no more, and closes the port. Connections live on. Idempotent.
  void stop();
  /// Serves a socket that the program has accepted on a port of its own, from the upgrade's request on, as one that came to
  /// the port of this: the same checks, limits, deadlines and numbers, the same answers. `received` is what the program has
  /// read of it, as it came: the request's head from its first line on, and what follows it; where the head is not whole,
  /// the rest is still read. A request that is not an upgrade is answered as on the port.
  ///
  /// Where the socket's own end is a loopback address, requests for loopback names are answered only, unless
  /// Options::allowed_hosts lists others. X-Forwarded-For counts as ever; `proxy_protocol` does not.
  ///
  /// A client's certificate is shown as one of the port's, where the TLS has verified it (SSL_VERIFY_PEER, and X509_V_OK).
  ///
  /// Any thread. Returns before anything is answered: the loop does it, with the `handshake_timeout` from then on. A peer
  /// that is refused is told so, after `IConnectionManager::shutdown` as well; where the loop has ended, the socket is
  /// closed. `stop` changes nothing here. Throws std::invalid_argument for what is not an open TCP socket, nothing for what
  /// a peer has done.
  void adopt(AcceptedSocket socket, std::string received);
  /// Reads the files of `tls_certificate_file`, `tls_key_file` and `tls_client_ca_file` again: connections from now on are
  /// shown the new certificate and checked against the new CAs, those that are there keep what they have. The error says what is wrong with which file, or that TLS is
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

  /// The port it listens on; 0: none.
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
  /// Accepts no more, shuts the managers down (IConnectionManager::shutdown, which closes every connection with
  /// going_away), its own and those of ListenerOptions::sites, and ends the loops as soon as every socket is gone, at the latest a second after
  /// Options::close_timeout. Any thread; idempotent. Waits until that is done, unless it is called on one of the
  /// server's own loops: then it only begins it. Not from a signal handler: wait for signals in a thread.
  void stop();
  /// As Listener::adopt, on the loop with the fewest sockets; before `start` or `run`, it waits for that.
  void adopt(AcceptedSocket socket, std::string received);
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
