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

std::uint64_t nanoseconds_after_mark(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

std::uint64_t nanoseconds_now() {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(Clock::now().time_since_epoch()).count());
}

Clients::Clients(const LoadOptions& options)
    : options_(options),
      tls_(options.tls ? tls_of_clients() : nullptr),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      clients_(options.connections()) {
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

void Clients::watch(int operation, std::size_t index) {
  const Client& client = clients_[index];
  const bool reads = !client.stuck || client.state != Client::State::ready;
  epoll_event event{};
  event.events =
      static_cast<std::uint32_t>(EPOLLRDHUP) | (reads ? static_cast<std::uint32_t>(EPOLLIN) : 0U) |
      (client.unsent.empty() || waits_for_peer(client.tls.get()) ? 0U : static_cast<std::uint32_t>(EPOLLOUT));
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
  count_frames();
}

void Clients::count_frames() {
  const std::chrono::duration<double> since = Clock::now() - frames_since_;
  frame_rate_.note(since.count(), frames_, frames_get_);
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
  const ssize_t count = receive(client.descriptor, client.tls.get(), buffer_.data(), most);
  const bool nothing_yet = count < 0 && (errno == EAGAIN || errno == EINTR);
  if (client.tls && !client.unsent.empty()) flush(index);  // it may have waited for the handshake
  if (nothing_yet || client.state == Client::State::closed) return;
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

std::size_t Clients::take_frames(std::size_t index, std::string_view bytes) {
  Client& client = clients_[index];
  std::size_t taken = 0;
  while (const auto frame = first_frame(bytes.substr(taken))) {
    taken += frame->size;
    if (frame->opcode == Opcode::text) {
      take_text(index, *frame);
    } else if (frame->opcode == Opcode::ping) {
      ++client.pings;
      if (client.unsent.empty()) to_flush_.push_back(index);
      append_frame(client.unsent, Sender::client, Opcode::pong, frame->payload);
    }
  }
  return taken;
}

void Clients::take_text(std::size_t index, const Frame& frame) {
  Client& client = clients_[index];
  const std::string_view text = frame.compressed ? inflater_.text_of(frame.payload) : frame.payload;
  if (client.state == Client::State::joining && text.find(options_.ready) != std::string_view::npos) {
    become_ready(index);
    return;
  }
  if (client.state != Client::State::ready) return;
  ++client.frames;
  if (!client.in_storm) ++frames_;
  if (!client.subscriber || client.stuck) return;
  std::size_t at = text.find(mark);
  if (at == std::string_view::npos) return;
  ++received_.frames;
  received_.bytes += frame.payload.size();
  received_.text_bytes += text.size();
  do {
    received_.latency.add((read_at_ - nanoseconds_after_mark(text.substr(at + mark.size()))) / 1000);
    ++received_.deliveries;
    ++client.deliveries;
    at = options_.conflated ? text.find(mark, at + mark.size()) : std::string_view::npos;  // many travel together
  } while (at != std::string_view::npos);
}

void Clients::become_ready(std::size_t index) {
  Client& client = clients_[index];
  client.state = Client::State::ready;
  ++ready_;
  if (!client.in_storm) ++frames_get_;
  if (client.tls && SSL_session_reused(client.tls.get()) == 1) ++resumed_;
  if (client.stuck) watch(EPOLL_CTL_MOD, index);
}

void Clients::queue(std::size_t index, std::string_view message) {
  Client& client = clients_[index];
  if (client.unsent.empty()) to_flush_.push_back(index);
  append_frame(client.unsent, Sender::client, Opcode::text, message);
}

void Clients::flush(std::size_t index) {
  Client& client = clients_[index];
  if (client.state == Client::State::closed || client.unsent.empty()) return;
  const ssize_t count = transmit(client.descriptor, client.tls.get(), client.unsent.data(), client.unsent.size());
  if (count < 0 && errno != EAGAIN && errno != EINTR) {
    end(index);
    return;
  }
  if (count > 0) client.unsent.erase(0, static_cast<std::size_t>(count));
  if (!client.unsent.empty()) watch(EPOLL_CTL_MOD, index);
}

void Clients::close(std::size_t index) {
  constexpr std::string_view normal("\x03\xe8", 2);  // 1000
  Client& client = clients_[index];
  if (client.state == Client::State::closed) return;
  if (client.unsent.empty()) to_flush_.push_back(index);
  append_frame(client.unsent, Sender::client, Opcode::close, normal);
}

void Clients::close_all() {
  for (std::size_t i = 0; i < clients_.size(); ++i) close(i);
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
  if (!client.in_storm) --frames_get_;
  forget(std::move(client.tls));
  ::close(std::exchange(client.descriptor, -1));
}

}  // namespace muster::bench
