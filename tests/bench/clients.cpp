#include "clients.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "frames.hpp"
#include "sockets.hpp"

namespace muster::bench {
namespace {

/// An address has fewer free ports than there are connections to be made.
constexpr std::uint32_t source_addresses = 100;

void replace(std::string& text, std::string_view from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

std::uint64_t nanoseconds_after_mark(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

std::uint64_t nanoseconds_now() {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(Clock::now().time_since_epoch()).count());
}

std::string filled_in(std::string text, std::size_t connection, std::size_t room) {
  replace(text, "%i", std::to_string(connection));
  replace(text, "%r", std::to_string(room));
  return text;
}

Clients::Clients(const LoadOptions& options)
    : options_(options), epoll_(::epoll_create1(EPOLL_CLOEXEC)), clients_(options.connections()) {
  if (epoll_ < 0) fail("epoll_create1");
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    clients_[i].subscriber = i < options.subscribers;
    clients_[i].stuck = clients_[i].subscriber && i + options.stuck >= options.subscribers;
    clients_[i].room = (clients_[i].subscriber ? i : i - options.subscribers) % options.rooms;
  }
}

Clients::~Clients() {
  for (const Client& client : clients_) {
    if (client.descriptor >= 0) ::close(client.descriptor);
  }
  ::close(epoll_);
}

void Clients::connect_all(const std::function<void(std::size_t ready)>& progress) {
  const std::chrono::duration<double> deadline(options_.deadline_seconds);
  auto last_progress = Clock::now();
  std::size_t started = 0;
  while (ready_ < clients_.size()) {
    while (started < clients_.size() && started - ready_ < options_.connecting) start(started++);
    const std::size_t before = ready_;
    poll(10);
    if (ready_ > before) {
      last_progress = Clock::now();
      progress(ready_);
    } else if (Clock::now() - last_progress > deadline) {
      std::fprintf(stderr, "bench: only %zu of %zu connections became ready\n", ready_, clients_.size());
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
  client.state = Client::State::upgrading;
  client.unsent = "GET " + filled_in(options_.path, index, client.room) +
                  " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(options_.port) +
                  "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  for (const std::string& header : options_.headers) client.unsent += filled_in(header, index, client.room) + "\r\n";
  client.unsent += "\r\n";
  watch(EPOLL_CTL_ADD, index);
}

void Clients::watch(int operation, std::size_t index) {
  const Client& client = clients_[index];
  const bool reads = !client.stuck || client.state != Client::State::ready;
  epoll_event event{};
  event.events = static_cast<std::uint32_t>(EPOLLRDHUP) | (reads ? static_cast<std::uint32_t>(EPOLLIN) : 0U) |
                 (client.unsent.empty() ? 0U : static_cast<std::uint32_t>(EPOLLOUT));
  event.data.u64 = index;
  if (::epoll_ctl(epoll_, operation, client.descriptor, &event) != 0) fail("epoll_ctl");
}

void Clients::poll(int milliseconds) {
  for (const std::size_t index : to_flush_) flush(index);
  to_flush_.clear();
  std::array<epoll_event, 512> events{};
  const auto wait = [&](int timeout) {
    return ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout);
  };
  int count = wait(options_.spin ? 0 : milliseconds);
  if (options_.spin) {
    const auto end = Clock::now() + std::chrono::milliseconds(milliseconds);
    while (count == 0 && Clock::now() < end) count = wait(0);
  }
  if (count < 0 && errno != EINTR) fail("epoll_wait");
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    handle(event.data.u64, event.events);
  }
}

void Clients::handle(std::size_t index, std::uint32_t events) {
  Client& client = clients_[index];
  if ((events & EPOLLOUT) != 0) {
    flush(index);
    if (client.state != Client::State::closed) watch(EPOLL_CTL_MOD, index);
  }
  if (client.stuck && client.state == Client::State::ready) {
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) end(index);
  } else if ((events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) {
    read(index);
  }
}

void Clients::read(std::size_t index) {
  Client& client = clients_[index];
  if (client.state == Client::State::closed) return;
  std::size_t most = buffer_.size();
  if (client.subscriber && options_.line > 0) {
    const double came = options_.line * std::chrono::duration<double>(Clock::now() - began_).count();
    client.line_bytes = std::max(client.line_bytes, came - options_.line / 10);  // an idle line saves nothing up
    if (came - client.line_bytes < 1) return;
    most = std::min(most, static_cast<std::size_t>(came - client.line_bytes));
  }
  const ssize_t count = ::recv(client.descriptor, buffer_.data(), most, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    end(index);
    return;
  }
  client.line_bytes += static_cast<double>(count);
  read_at_ = nanoseconds_now();
  std::string_view bytes(buffer_.data(), static_cast<std::size_t>(count));
  const bool continued = !client.unread.empty();
  if (continued) bytes = client.unread.append(bytes);
  if (client.state == Client::State::upgrading) bytes.remove_prefix(take_upgrade(index, bytes));
  if (client.state != Client::State::upgrading) bytes.remove_prefix(take_frames(index, bytes));
  if (continued) {
    client.unread.erase(0, client.unread.size() - bytes.size());
  } else {
    client.unread.assign(bytes);
  }
}

std::size_t Clients::take_upgrade(std::size_t index, std::string_view bytes) {
  const std::size_t end_of_head = bytes.find("\r\n\r\n");
  if (end_of_head == std::string_view::npos) return 0;
  if (bytes.find(" 101 ") > bytes.find('\n')) {
    std::fprintf(stderr, "bench: upgrade refused: %s\n", std::string(bytes.substr(0, bytes.find('\r'))).c_str());
    std::exit(EXIT_FAILURE);
  }
  clients_[index].state = Client::State::joining;
  if (!options_.hello.empty()) queue(index, filled_in(options_.hello, index, clients_[index].room));
  return end_of_head + 4;
}

std::size_t Clients::take_frames(std::size_t index, std::string_view bytes) {
  Client& client = clients_[index];
  std::size_t taken = 0;
  while (const auto frame = first_frame(bytes.substr(taken))) {
    taken += frame->size;
    if (frame->opcode == Opcode::text) {
      take_text(index, frame->payload);
    } else if (frame->opcode == Opcode::ping) {
      ++client.pings;
      if (client.unsent.empty()) to_flush_.push_back(index);
      append_frame(client.unsent, Sender::client, Opcode::pong, frame->payload);
    }
  }
  return taken;
}

void Clients::take_text(std::size_t index, std::string_view text) {
  Client& client = clients_[index];
  if (client.state == Client::State::joining && text.find(options_.ready) != std::string_view::npos) {
    client.state = Client::State::ready;
    ++ready_;
    if (client.stuck) watch(EPOLL_CTL_MOD, index);
    return;
  }
  if (!client.subscriber || client.stuck) return;
  std::size_t at = text.find(mark);
  if (at == std::string_view::npos) return;
  ++received_.frames;
  received_.bytes += text.size();
  do {
    received_.latency.add((read_at_ - nanoseconds_after_mark(text.substr(at + mark.size()))) / 1000);
    ++received_.deliveries;
    ++client.deliveries;
    at = options_.conflated ? text.find(mark, at + mark.size()) : std::string_view::npos;  // many travel together
  } while (at != std::string_view::npos);
}

void Clients::queue(std::size_t index, std::string_view message) {
  Client& client = clients_[index];
  if (client.unsent.empty()) to_flush_.push_back(index);
  append_frame(client.unsent, Sender::client, Opcode::text, message);
}

void Clients::flush(std::size_t index) {
  Client& client = clients_[index];
  if (client.state == Client::State::closed || client.unsent.empty()) return;
  const ssize_t count = ::send(client.descriptor, client.unsent.data(), client.unsent.size(), MSG_NOSIGNAL);
  if (count < 0 && errno != EAGAIN && errno != EINTR) {
    end(index);
    return;
  }
  if (count > 0) client.unsent.erase(0, static_cast<std::size_t>(count));
  if (!client.unsent.empty()) watch(EPOLL_CTL_MOD, index);
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

void Clients::close_all() {
  constexpr std::string_view normal("\x03\xe8", 2);  // 1000
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    if (clients_[i].state == Client::State::closed) continue;
    if (clients_[i].unsent.empty()) to_flush_.push_back(i);
    append_frame(clients_[i].unsent, Sender::client, Opcode::close, normal);
  }
}

void Clients::end(std::size_t index) {
  Client& client = clients_[index];
  if (client.state == Client::State::closed) return;
  if (client.state != Client::State::ready) {
    std::fprintf(stderr, "bench: connection %zu ended before it was ready\n", index);
    std::exit(EXIT_FAILURE);
  }
  client.state = Client::State::closed;
  ++(client.stuck ? stuck_closed_ : closed_);
  ::close(std::exchange(client.descriptor, -1));
}

}  // namespace muster::bench
