// Accepting: one listening socket, a place for every socket before anything else, and loops that share the load.
#pragma once

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <asio/ip/v6_only.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "muster/transports/websocketpp/asio.ipp"
#include "muster/transports/websocketpp/socket_frames.ipp"
#include "muster/transports/websocketpp/socket_handshake.ipp"
#include "muster/transports/websocketpp/socket_http.ipp"
#include "muster/transports/websocketpp/socket_write.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

/// Threads: the first loop's, where nothing else is said.
class Acceptor : public std::enable_shared_from_this<Acceptor> {
 public:
  /// Sockets go to the loop with the fewest. The acceptor itself runs on the first.
  Acceptor(std::vector<std::shared_ptr<SocketLoop>> loops, std::shared_ptr<TransportSink> sink, ListenerOptions options)
      : loops_(std::move(loops)), acceptor_(loops_.front()->context) {
    if (!sink) throw std::invalid_argument("websocketpp listener: a manager is needed");
    listener_.reset(new ListenerState(std::move(sink), std::move(options)));
    const ListenerOptions& settings = listener_->options;
    const std::string wrong = problems(settings, listener_->sink->options());
    if (!wrong.empty()) throw std::invalid_argument("websocketpp listener:" + wrong);
    if (!settings.tls_certificate_file.empty()) {
      listener_->tls = std::make_unique<TlsContext>(settings);
    }
    // websocketpp finds out the byte order on first use, in a static that two loops would race for.
    (void)::websocketpp::lib::net::_htonll(0);
    if (settings.listen) listen();
  }

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

  /// Any thread.
  [[nodiscard]] std::optional<Error> reload_certificate() {
    if (!listener_->tls) return Error{errc::not_supported, "TLS is off: there is no certificate", {}};
    try {
      listener_->tls->load();
    } catch (const std::exception& error) {
      return Error{errc::invalid_message, error.what(), {}};
    }
    return std::nullopt;
  }

  /// Any thread. As Listener::adopt.
  void adopt(AcceptedSocket accepted, std::string received) {
    const int descriptor = accepted.descriptor_;
    asio::ip::tcp::endpoint local;
    auto size = static_cast<socklen_t>(local.capacity());
    if (descriptor < 0 || ::getsockname(descriptor, local.data(), &size) != 0) {
      throw std::invalid_argument("adopt: the socket is closed, or is none");
    }
    int type = 0;
    socklen_t type_size = sizeof type;
    (void)::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &type_size);
    const auto family = local.data()->sa_family;
    if (type != SOCK_STREAM || (family != AF_INET && family != AF_INET6)) {
      throw std::invalid_argument("adopt: the socket is not one of TCP");
    }
    asio::ip::tcp::endpoint peer;
    size = static_cast<socklen_t>(peer.capacity());
    if (::getpeername(descriptor, peer.data(), &size) != 0) return;  // it has gone already
    const int on = 1;
    (void)::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    set_unsent_low_water(descriptor, listener_->options.unsent_low_water_bytes);
    received += accepted.decrypted_;
    admit(std::move(accepted), peer, Adopted{std::move(received), is_loopback(local.address())});
  }

  /// Starts accepting.
  void start() {
    if (!acceptor_.is_open()) return;
    if (!weak_) weak_.reset(new std::weak_ptr<Acceptor>(weak_from_this()));
    acceptor_.async_wait(TcpAcceptor::wait_read, handler<&Acceptor::accept_all>(weak_));
  }

  /// Closes the port.
  void stop() {
    asio::error_code ignored;
    acceptor_.close(ignored);
  }

 private:
  /// What is wrong with the options, one after the other; empty: nothing.
  [[nodiscard]] static std::string problems(const ListenerOptions& settings, const Options& options) {
    std::string found;
    const auto require = [&found](bool holds, const std::string& sentence) {
      if (!holds) found += (found.empty() ? " " : "; ") + sentence;
    };
    require(!settings.address.empty(),
            "address is empty (0.0.0.0 or :: is every address of this machine, 127.0.0.1 nobody else's)");
    require(settings.tls_certificate_file.empty() == settings.tls_key_file.empty(),
            "tls_certificate_file and tls_key_file go together");
    require(
        settings.listen || (settings.tls_certificate_file.empty() && settings.tls_key_file.empty()),
        "tls_certificate_file and tls_key_file are the port's, and listen is off (adopt takes sockets with their TLS)");
    const auto needs_tls = [&](bool given, const std::string& name) {
      require(!given || !settings.tls_certificate_file.empty(), name + " needs tls_certificate_file");
    };
    needs_tls(settings.tls_min_version != TlsVersion::tls_1_2, "tls_min_version");
    needs_tls(!settings.tls_ciphers.empty(), "tls_ciphers");
    needs_tls(!settings.tls_ciphersuites.empty(), "tls_ciphersuites");
    needs_tls(!settings.tls_client_ca_file.empty(), "tls_client_ca_file");
    require(settings.tls_tickets <= 16, "tls_tickets must be at most 16");
    require(settings.tls_ciphers.empty() || settings.tls_min_version != TlsVersion::tls_1_3,
            "tls_ciphers are those of TLS 1.2, which tls_min_version excludes (tls_ciphersuites are those of 1.3)");
    require(settings.listen || !settings.proxy_protocol, "proxy_protocol is the port's, and listen is off");
    require(!settings.proxy_protocol || !options.trusted_proxies.empty(),
            "proxy_protocol needs trusted_proxies, whose headers are read");
    const int bits = settings.deflate_client_window_bits;
    require(bits == 0 || (bits >= 9 && bits <= 15), "deflate_client_window_bits must be 9 to 15, or 0");
    for (const Site& site : settings.sites) {
      const std::string whole = "site \"" + site.host + site.path + "\"";
      require(site.manager != nullptr, whole + " has no manager");
      require(!site.host.empty() || !site.path.empty(), "a site needs a host or a path");
      require(site.host.empty() || is_authority(site.host),
              whole + ": the host is neither a host nor a host and its port");
      require(site.path.empty() || (site.path.size() > 1 && site.path.front() == '/' && site.path.back() != '/'),
              whole + ": the path must begin with / and not end with it");
    }
    require(options.handshake_bytes <= SocketLoop::read_size,
            "handshake_bytes must be at most " + std::to_string(SocketLoop::read_size) + ", in which a head is read");
    return found;
  }

  void listen() {
    const ListenerOptions& options = listener_->options;
    const std::string where = options.address + ":" + std::to_string(options.port);
    asio::error_code error;
    using asio::ip::tcp;
    const tcp::endpoint endpoint = resolve(options.address, options.port, error);
    if (!error) acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(TcpAcceptor::reuse_address(true), error);
    if (!error && endpoint.address().is_v6() && endpoint.address().is_unspecified()) {
      acceptor_.set_option(asio::ip::v6_only(false), error);
    }
    if (!error) acceptor_.set_option(tcp::no_delay(true), error);  // accepted sockets inherit it
    if (!error)
      set_unsent_low_water(acceptor_.native_handle(), options.unsent_low_water_bytes);  // they inherit that too
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(TcpAcceptor::max_listen_connections, error);
    if (!error) acceptor_.non_blocking(true, error);
    if (!error) port_ = acceptor_.local_endpoint(error).port();
    if (error) throw std::system_error(error, "cannot listen on " + where);
    listener_->loopback = endpoint.address().is_loopback();
  }

  /// The first that this name stands for.
  [[nodiscard]] static asio::ip::tcp::endpoint resolve(const std::string& address, std::uint16_t port,
                                                       asio::error_code& error) {
    addrinfo hints{};
    hints.ai_flags = AI_PASSIVE;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int failed = ::getaddrinfo(address.c_str(), nullptr, &hints, &found);
    if (failed == EAI_SYSTEM) {
      error = {errno, asio::error::get_system_category()};
    } else if (failed != 0) {
      error = failed == EAI_AGAIN ? asio::error::host_not_found_try_again : asio::error::host_not_found;
    }
    asio::ip::tcp::endpoint endpoint;
    if (error) return endpoint;
    std::memcpy(endpoint.data(), found->ai_addr, std::min<std::size_t>(found->ai_addrlen, endpoint.capacity()));
    endpoint.port(port);
    ::freeaddrinfo(found);
    return endpoint;
  }

  void accept_all() {
    const AsioExecutor::Turn turn(*loops_.front()->executor);
    // Where they come one at a time, asking for another costs more than the loop's next look; in a storm it is the
    // other way round. The bound is for the loop's other work.
    for (int i = 0; i < at_once_; ++i) {
      sockaddr_storage address{};
      socklen_t size = sizeof address;
      AcceptedSocket accepted(::accept4(acceptor_.native_handle(), reinterpret_cast<sockaddr*>(&address), &size,
                                        SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (accepted.descriptor_ >= 0) {
        asio::ip::tcp::endpoint peer;
        std::memcpy(peer.data(), &address, std::min<std::size_t>(size, peer.capacity()));
        admit(std::move(accepted), peer);
        // What those that are waiting for their requests are to be told, they are told before there are more of them.
        if (listener_->extra_sockets.load() >= listener_->options.extra_sockets) return start();
        continue;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        at_once_ = 1;
        full_ = 0;
        return start();
      }
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) return back_off();
      // Anything else is the end of that one connection (accept(2)).
    }
    if (++full_ % 4 == 0) at_once_ = std::min(64, 2 * at_once_);
    start();
  }

  /// There is no descriptor to accept with: the listening socket stays readable, and waiting for it would spin.
  void back_off() {
    AsioExecutor& executor = *loops_.front()->executor;
    (void)executor.schedule(executor.now() + std::chrono::milliseconds(100), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->start();
    });
  }

  /// What comes with a socket that the program has accepted.
  struct Adopted {
    std::string received;
    bool loopback;
  };

  [[nodiscard]] static bool is_loopback(const asio::ip::address& address) {
    if (!address.is_v6() || !address.to_v6().is_v4_mapped()) return address.is_loopback();
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).is_loopback();
  }

  /// Any thread for one that is adopted.
  void admit(AcceptedSocket accepted, const asio::ip::tcp::endpoint& endpoint,
             std::optional<Adopted> adopted = std::nullopt) {
    RemoteAddress peer = remote_address(endpoint.address());
    // No per-address limit for a proxy: whom it speaks for is known with the request.
    Reservation place =
        listener_->options.plain_http_only
            ? Reservation()
            : listener_->sink->reserve(listener_->trusted_proxies.contain(peer) ? RemoteAddress() : peer,
                                       loops_.front()->executor->now());
    const bool extra = !place;
    if (extra && !listener_->take_extra()) {
      return listener_->sink->refused(
          place.refused_for(), peer,
          place.error().message + "; closed unanswered, for as many as extra_sockets wait already",
          loops_.front()->executor->now());
    }

    const auto sockets = [](const SocketLoop& of) { return of.sockets.load(std::memory_order_relaxed); };
    const std::shared_ptr<SocketLoop>* fewest = &loops_.front();
    for (const auto& other : loops_) {
      if (sockets(*other) < sockets(**fewest)) fewest = &other;
    }
    const bool here = !adopted && *fewest == loops_.front();
    Arrival arrival(*fewest, listener_, std::move(peer), std::move(place), extra, std::move(adopted),
                    std::move(accepted));
    if (here) {
      arrival();
    } else {
      const auto executor = (*fewest)->executor;
      (void)executor->post(std::move(arrival));  // one whose loop has ended is closed
    }
  }

  /// A socket on its way to its loop.
  class Arrival {
   public:
    Arrival(std::shared_ptr<SocketLoop> loop, std::shared_ptr<ListenerState> listener, RemoteAddress peer,
            Reservation place, bool extra, std::optional<Adopted> adopted, AcceptedSocket accepted)
        : loop_(std::move(loop)),
          listener_(std::move(listener)),
          peer_(std::move(peer)),
          place_(std::move(place)),
          extra_(extra),
          adopted_(std::move(adopted)),
          accepted_(std::move(accepted)) {
      loop_->sockets.fetch_add(1);
    }
    Arrival(Arrival&&) noexcept = default;
    Arrival& operator=(Arrival&&) = delete;
    ~Arrival() {
      if (!loop_) return;  // it has arrived
      loop_->sockets.fetch_sub(1);
      if (extra_) listener_->extra_sockets.fetch_sub(1);
    }

    void operator()() {
      Tls tls(std::exchange(accepted_.tls_, nullptr));
      const bool secured = listener_->tls && !adopted_;
      if (secured) tls = listener_->tls->wrap(accepted_.descriptor_);
      if (secured && !tls) return;
      Stream stream(std::exchange(accepted_.descriptor_, -1), std::move(tls));
      const auto served = std::make_shared<Socket>(std::move(loop_), std::move(listener_), std::move(stream),
                                                   std::move(peer_), std::move(place_), extra_);
      adopted_ ? served->start_adopted(std::move(adopted_->received), adopted_->loopback) : served->start();
    }

   private:
    std::shared_ptr<SocketLoop> loop_;
    std::shared_ptr<ListenerState> listener_;
    RemoteAddress peer_;
    Reservation place_;
    bool extra_;
    std::optional<Adopted> adopted_;
    AcceptedSocket accepted_;  // closed before its place is given back
  };

  std::vector<std::shared_ptr<SocketLoop>> loops_;
  std::shared_ptr<ListenerState> listener_;
  TcpAcceptor acceptor_;
  std::shared_ptr<std::weak_ptr<Acceptor>> weak_;  ///< what waits here must not keep it
  std::uint16_t port_ = 0;
  int at_once_ = 1;    ///< as many are accepted before the loop goes on
  unsigned full_ = 0;  ///< how often all these were there
};

[[nodiscard]] MUSTER_INLINE std::shared_ptr<Acceptor> make_acceptor(std::vector<std::shared_ptr<SocketLoop>> loops,
                                                                    std::shared_ptr<TransportSink> sink,
                                                                    ListenerOptions options) {
  return std::shared_ptr<Acceptor>(new Acceptor(std::move(loops), std::move(sink), std::move(options)));
}

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
