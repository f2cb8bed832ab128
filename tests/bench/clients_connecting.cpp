// How the clients connect, and connect again: the socket, TLS, the upgrade, and the answer that each waits for.

#include <sys/epoll.h>

#include <numeric>
#include <utility>

#include "clients.hpp"
#include "sockets.hpp"

namespace muster::bench {
namespace {

/// An address has fewer free ports than there are connections to be made.
constexpr std::uint32_t source_addresses = 100;
constexpr const char* deflate_offer =
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";

void replace(std::string& text, std::string_view from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

[[noreturn]] void refuse(const char* what, std::string_view answer) {
  std::fprintf(stderr, "bench: %s: %s\n", what, std::string(answer.substr(0, answer.find('\r'))).c_str());
  std::exit(EXIT_FAILURE);
}

}  // namespace

std::string filled_in(std::string text, std::size_t connection, std::size_t room) {
  replace(text, "%i", std::to_string(connection));
  replace(text, "%r", std::to_string(room));
  return text;
}

void Clients::connect_all(const std::function<void(std::size_t ready)>& progress) {
  std::vector<std::size_t> all(clients_.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  connect(all, progress);
}

void Clients::connect(const std::vector<std::size_t>& which, const std::function<void(std::size_t ready)>& progress) {
  const std::chrono::duration<double> deadline(options_.deadline_seconds);
  const std::size_t ready_before = ready_;
  auto last_progress = Clock::now();
  std::size_t started = 0;
  while (ready_ - ready_before < which.size()) {
    while (started < which.size() && started - (ready_ - ready_before) < options_.connecting) start(which[started++]);
    const std::size_t before = ready_;
    poll(10);
    if (ready_ > before) {
      last_progress = Clock::now();
      progress(ready_);
    } else if (Clock::now() - last_progress > deadline) {
      std::fprintf(stderr, "bench: only %zu of %zu connections became ready\n", ready_ - ready_before, which.size());
      std::exit(EXIT_FAILURE);
    }
  }
}

void Clients::start(std::size_t index) {
  Client& client = clients_[index];
  client.descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (client.descriptor < 0) fail("socket");
  set_option(client.descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  set_option(client.descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
  if (client.stuck || (client.subscriber && options_.line > 0)) {
    set_option(client.descriptor, SOL_SOCKET, SO_RCVBUF, 4096);
    // As over a network: with the segments of the loopback the system alone would hold megabytes for it.
    set_option(client.descriptor, IPPROTO_TCP, TCP_MAXSEG, 1400);
  }
  reset_on_close(client.descriptor);  // so that runs one after the other do not use up the ports
  const sockaddr_in source = loopback(0, static_cast<std::uint32_t>(index) % source_addresses);
  if (::bind(client.descriptor, reinterpret_cast<const sockaddr*>(&source), sizeof source) != 0) fail("bind");
  const sockaddr_in server = loopback(options_.port);
  if (::connect(client.descriptor, reinterpret_cast<const sockaddr*>(&server), sizeof server) != 0 &&
      errno != EINPROGRESS) {
    fail("connect");
  }
  if (tls_) client.tls = connect_tls(tls_.get(), client.descriptor, client.session);
  client.state = Client::State::upgrading;
  client.unsent = "GET " + filled_in(options_.path, index, client.room) +
                  " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(options_.port) +
                  "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  if (options_.deflate) client.unsent += deflate_offer;
  for (const std::string& header : options_.headers) client.unsent += filled_in(header, index, client.room) + "\r\n";
  client.unsent += "\r\n";
  watch(EPOLL_CTL_ADD, index);
}

std::size_t Clients::take_upgrade(std::size_t index, std::string_view bytes) {
  const std::size_t end_of_head = bytes.find("\r\n\r\n");
  if (end_of_head == std::string_view::npos) return 0;
  if (bytes.find(" 101 ") > bytes.find('\n')) refuse("upgrade refused", bytes);
  if (options_.deflate && bytes.substr(0, end_of_head).find("permessage-deflate") == std::string_view::npos) {
    refuse("permessage-deflate refused", bytes);
  }
  clients_[index].state = Client::State::joining;
  if (!options_.hello.empty()) queue(index, filled_in(options_.hello, index, clients_[index].room));
  if (options_.ready.empty()) become_ready(index);
  return end_of_head + 4;
}

void Clients::cut(std::size_t index) {
  Client& client = clients_[index];
  if (client.state != Client::State::ready) return;
  client.state = Client::State::unconnected;
  --ready_;
  if (!client.in_storm) --frames_get_;
  forget(std::move(client.tls));
  ::close(std::exchange(client.descriptor, -1));
  client.unread.clear();
  client.unsent.clear();
}

void Clients::begin_storm(const std::vector<std::size_t>& of) {
  for (const std::size_t index : of) {
    if (!clients_[index].in_storm && clients_[index].state == Client::State::ready) --frames_get_;
    clients_[index].in_storm = true;
  }
  for (Client& client : clients_) client.frames = 0;
  resumed_ = 0;
  frames_ = 0;
  frame_rate_ = {};
  frames_since_ = Clock::now();
}

std::set<unsigned> Clients::stuck_ports() const {
  std::set<unsigned> ports;
  for (const Client& client : clients_) {
    sockaddr_in own{};
    socklen_t size = sizeof own;
    if (!client.stuck || client.descriptor < 0) continue;
    if (::getsockname(client.descriptor, reinterpret_cast<sockaddr*>(&own), &size) == 0)
      ports.insert(ntohs(own.sin_port));
  }
  return ports;
}

}  // namespace muster::bench
