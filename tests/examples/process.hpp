// One example as a process, and one raw WebSocket client of it. Every wait has a deadline.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::test {

/// How a process ended.
struct Ended {
  int exit_code = -1;  ///< -1: by a signal, or not in time
  std::string out;
  std::string err;
};

class Process {
 public:
  /// Starts `arguments[0]`.
  explicit Process(std::vector<std::string> arguments);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  /// The port it said it listens on. Throws when it does not in time, or ends before.
  [[nodiscard]] std::uint16_t port();
  /// Everything on standard output so far.
  [[nodiscard]] const std::string& out() const { return out_; }
  /// Waits until standard error has said this. Throws when it does not in time, or the process ends before.
  void says(std::string_view text);
  /// Waits until it has said this on standard output. False when it ends before.
  bool until(std::string_view text);
  void signal(int number) const;
  /// Waits for its end.
  Ended wait();

 private:
  bool read_some(int timeout_ms);

  pid_t pid_ = -1;
  int out_end_ = -1;
  int err_end_ = -1;
  std::string out_;
  std::string err_;
};

/// A connected TCP socket on the loopback.
class Socket {
 public:
  explicit Socket(std::uint16_t port);
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket();

  void write(std::string_view bytes) const;
  /// Appends what comes next to `buffer`. False at the end of the stream. Throws after the deadline.
  bool read(std::string& buffer) const;

 private:
  int descriptor_ = -1;
};

/// One HTTP request with everything it is answered, up to the end of the stream.
[[nodiscard]] std::string http(std::uint16_t port, const std::string& request_line);

/// A WebSocket client. Masks with zeros, which RFC 6455 allows a test if not a browser.
class Client {
 public:
  /// `headers`: whole lines, each ended by CRLF. Throws when the upgrade is refused, with all that was answered.
  explicit Client(std::uint16_t port, const std::string& headers = {}, const std::string& path = "/ws",
                  const std::string& host = "127.0.0.1");

  void send(std::string_view json) const;
  /// The first text message that contains `part`; others before it are left out. Throws when the connection closes.
  std::string receive(std::string_view part);
  /// The code of the server's close frame; messages before it are left out. Answers the frame.
  std::uint16_t close_code();

 private:
  struct Frame {
    unsigned opcode = 0;
    std::string payload;
  };
  std::optional<Frame> next_frame();
  void write(unsigned opcode, std::string_view payload) const;

  Socket socket_;
  std::string input_;
};

}  // namespace muster::test
