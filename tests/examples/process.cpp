#include "process.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <stdexcept>
#include <utility>

namespace muster::test {
namespace {

constexpr int deadline_ms = 20'000;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

/// Reads what is there into `text`. False at the end.
bool drain(int& descriptor, std::string& text) {
  std::array<char, 4096> buffer{};
  const ssize_t got = read(descriptor, buffer.data(), buffer.size());
  if (got > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
    return true;
  }
  close(std::exchange(descriptor, -1));
  return false;
}

}  // namespace

Process::Process(std::vector<std::string> arguments) {
  std::vector<char*> raw;
  for (std::string& argument : arguments) raw.push_back(argument.data());
  raw.push_back(nullptr);
  std::array<int, 2> out{};
  std::array<int, 2> err{};
  if (pipe2(out.data(), O_CLOEXEC) != 0 || pipe2(err.data(), O_CLOEXEC) != 0) fail("pipe2");
  pid_ = fork();
  if (pid_ == 0) {
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    execv(raw[0], raw.data());
    _exit(127);
  }
  close(out[1]);
  close(err[1]);
  out_end_ = out[0];
  err_end_ = err[0];
}

Process::~Process() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (out_end_ >= 0) close(out_end_);
  if (err_end_ >= 0) close(err_end_);
}

bool Process::read_some(int timeout_ms) {
  std::array<pollfd, 2> ends{{{out_end_, POLLIN, 0}, {err_end_, POLLIN, 0}}};  // a negative one is not looked at
  if (poll(ends.data(), ends.size(), timeout_ms) <= 0)
    fail("the process did not go on in time; it said: " + out_ + err_);
  if (ends[0].revents != 0) drain(out_end_, out_);
  if (ends[1].revents != 0) drain(err_end_, err_);
  return out_end_ >= 0 || err_end_ >= 0;
}

std::uint16_t Process::port() {
  const std::string_view start = "listening on ";
  for (;;) {
    const std::size_t line = out_.find(start);
    const std::size_t end = line == std::string::npos ? line : out_.find('\n', line);
    if (end != std::string::npos) {
      return static_cast<std::uint16_t>(std::stoi(out_.substr(out_.rfind(':', end) + 1)));
    }
    if (out_end_ < 0) fail("the process ended; it said: " + err_);
    read_some(deadline_ms);
  }
}

void Process::says(std::string_view text) {
  while (err_.find(text) == std::string::npos) {
    if (err_end_ < 0) fail("the process never said \"" + std::string(text) + "\"; it said: " + err_);
    read_some(deadline_ms);
  }
}

bool Process::until(std::string_view text) {
  while (out_.find(text) == std::string::npos) {
    if (out_end_ < 0) return false;
    read_some(deadline_ms);
  }
  return true;
}

void Process::signal(int number) const { kill(pid_, number); }

Ended Process::wait() {
  while (out_end_ >= 0 || err_end_ >= 0) read_some(deadline_ms);
  int status = 0;
  waitpid(std::exchange(pid_, -1), &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, out_, err_};
}

Socket::Socket(std::uint16_t port) : descriptor_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    close(descriptor_);
    fail("nothing listens on port " + std::to_string(port));
  }
  // As browsers do: a second small message must not wait until the first is acknowledged (RFC 896).
  const int on = 1;
  setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Socket::~Socket() { close(descriptor_); }

void Socket::write(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) fail("the connection is gone");
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

bool Socket::read(std::string& buffer) const {
  pollfd end{descriptor_, POLLIN, 0};
  if (poll(&end, 1, deadline_ms) <= 0) fail("nothing came in time");
  std::array<char, 16384> bytes{};
  const ssize_t got = recv(descriptor_, bytes.data(), bytes.size(), 0);
  if (got <= 0) return false;
  buffer.append(bytes.data(), static_cast<std::size_t>(got));
  return true;
}

std::string http(std::uint16_t port, const std::string& request_line) {
  const Socket socket(port);
  socket.write(request_line + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
  std::string answer;
  while (socket.read(answer)) {
  }
  return answer;
}

Client::Client(std::uint16_t port, const std::string& headers, const std::string& path, const std::string& host)
    : socket_(port) {
  socket_.write("GET " + path + " HTTP/1.1\r\nHost: " + host +
                "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
                "13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
                headers + "\r\n");
  std::size_t end = 0;
  while ((end = input_.find("\r\n\r\n")) == std::string::npos) {
    if (!socket_.read(input_)) fail("closed in the handshake: " + input_);
  }
  if (input_.find(" 101 ") == std::string::npos) {
    while (socket_.read(input_)) {
    }
    fail("refused: " + input_);
  }
  input_.erase(0, end + 4);
}

void Client::write(unsigned opcode, std::string_view payload) const {
  std::string frame{static_cast<char>(0x80U | opcode)};
  if (payload.size() < 126) {
    frame.push_back(static_cast<char>(0x80U | payload.size()));
  } else {
    frame.push_back(static_cast<char>(0x80U | 126U));
    frame.push_back(static_cast<char>(payload.size() >> 8U));
    frame.push_back(static_cast<char>(payload.size() & 0xffU));
  }
  socket_.write(frame.append(4, '\0').append(payload));
}

void Client::send(std::string_view json) const { write(1, json); }

std::optional<Client::Frame> Client::next_frame() {
  const auto byte = [this](std::size_t at) { return static_cast<std::uint8_t>(input_[at]); };
  for (;;) {
    if (input_.size() >= 2) {
      std::size_t size = byte(1) & 127U;
      const std::size_t extra = size == 126 ? 2 : size == 127 ? 8 : 0;
      if (input_.size() >= 2 + extra) {
        if (extra != 0) size = 0;
        for (std::size_t i = 0; i < extra; ++i) size = size << 8U | byte(2 + i);
        if (input_.size() >= 2 + extra + size) {
          Frame frame{byte(0) & 15U, input_.substr(2 + extra, size)};
          input_.erase(0, 2 + extra + size);
          return frame;
        }
      }
    }
    if (!socket_.read(input_)) return std::nullopt;
  }
}

std::string Client::receive(std::string_view part) {
  while (auto frame = next_frame()) {
    if (frame->opcode == 9) write(10, frame->payload);
    if (frame->opcode == 1 && frame->payload.find(part) != std::string::npos) return frame->payload;
    if (frame->opcode == 8) break;
  }
  fail("closed while waiting for " + std::string(part));
}

std::uint16_t Client::close_code() {
  while (auto frame = next_frame()) {
    if (frame->opcode != 8) continue;
    if (frame->payload.size() < 2) fail("a close frame without a code");
    write(8, frame->payload.substr(0, 2));
    return static_cast<std::uint16_t>(static_cast<std::uint8_t>(frame->payload[0]) << 8U |
                                      static_cast<std::uint8_t>(frame->payload[1]));
  }
  fail("closed without a close frame");
}

}  // namespace muster::test
