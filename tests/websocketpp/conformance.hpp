// What a server owes any client (RFC 6455, RFC 7692), played against one that echoes through the core and the adapter.
#pragma once

#include <algorithm>
#include <asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/auth/allow_all.hpp"
#include "muster/auth/allow_anonymous.hpp"
#include "muster/muster.hpp"
#include "muster/transports/websocketpp.hpp"
#include "support/catch.hpp"
#include "support/echo_protocol.hpp"
#include "websocketpp/raw_client.hpp"

namespace muster::test {

/// A frame as the peer sees it: its first byte, and its payload.
using Seen = std::pair<unsigned, std::string>;

inline constexpr std::uint8_t fin = 0x80;

/// One message in frames of so many bytes, of which all but the last have `between` behind them.
inline std::string fragments(std::uint8_t opcode, std::string_view payload, std::size_t size,
                             std::string_view between = {}) {
  std::string frames;
  for (std::uint8_t first = opcode;; first = 0) {
    const bool last = payload.size() <= size;
    frames += masked_frame(last ? fin | first : first, payload.substr(0, size));
    if (last) return frames;
    frames += between;
    payload.remove_prefix(size);
  }
}

/// What a client sends, and what it must see.
struct Case {
  std::string name;
  std::string sent;
  std::vector<Seen> answers;
  /// The code of the server's close; 0: nothing is wrong, and the client closes when it has its answers.
  std::uint16_t code = 0;
};

/// The server, and its clients one after another, all in the test's thread.
class EchoServer {
 public:
  explicit EchoServer(websocketpp::ListenerOptions listening = {}) {
    Options options;
    options.max_connections = options.max_connections_per_ip = options.connect_rate_per_ip = 0;
    options.message_rate = options.byte_rate = options.frame_rate = 0;
    options.max_message_bytes = 16U << 20U;
    options.unsent_hard_bytes = 64U << 20U;
    options.heartbeat = std::chrono::milliseconds(0);
    Components components;
    components.protocols = {std::make_shared<EchoProtocol>()};
    manager_ =
        make_connection_manager(options, std::make_shared<AllowAnonymous>(), std::make_shared<AllowAll>(), components);
    manager_->on(EchoProtocol::type, EchoProtocol::echo);
    listener_ = std::make_unique<websocketpp::Listener>(io_, manager_, std::move(listening));
  }
  ~EchoServer() {
    client_.reset();
    bool down = false;
    manager_->shutdown([&down] { down = true; });
    CHECK(until([&down] { return down; }));
    listener_->stop();
  }
  EchoServer(const EchoServer&) = delete;
  EchoServer& operator=(const EchoServer&) = delete;

  /// A new client; the head of the answer to its upgrade.
  std::string open(std::string_view extra = {}) {
    client_ = std::make_unique<RawClient>(listener_->port());
    client_->send(RawClient::upgrade_request(extra));
    std::optional<std::string> head;
    REQUIRE(until([&] { return (head = client_->take_head()) || client_->ended(); }));
    REQUIRE(head.value_or("").substr(9, 3) == "101");
    return *head;
  }
  /// In pieces of so many bytes, each of which the server sees by itself.
  void send(std::string_view bytes, std::size_t piece) {
    for (; bytes.size() > piece; bytes.remove_prefix(piece)) {
      client_->send(bytes.substr(0, piece));
      (void)io_.poll();
      io_.restart();
    }
    client_->send(bytes);
  }
  /// The next frame; none: the server has closed its socket, or says nothing.
  std::optional<Seen> frame() {
    std::optional<RawClient::Frame> taken;
    (void)until([&] { return (taken = client_->take_frame()) || client_->ended(); });
    if (!taken) return std::nullopt;
    return Seen(taken->first, std::move(taken->payload));
  }
  /// Closes, if the server has not, and waits for its end.
  void end(std::vector<Seen>& seen, std::uint16_t code) {
    const auto closes = [](const Seen& some) { return some.first == 0x88; };
    const auto closed = [&] { return !seen.empty() && closes(seen.back()); };
    if (!closed()) client_->send(close_frame(1000));
    while (!closed()) {
      auto next = frame();
      if (!next) break;
      seen.push_back(std::move(*next));
    }
    if (code != 0) client_->send(close_frame(code));
    CHECK(until([&] { return client_->ended(); }));
    CHECK_FALSE(client_->was_reset());
    CHECK(client_->in.empty());
  }

  bool until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (;;) {
      if (client_) client_->pump();
      if (done()) return true;
      if (std::chrono::steady_clock::now() > end) return false;
      if (io_.poll() == 0) io_.run_one_for(std::chrono::milliseconds(1));
      io_.restart();
    }
  }

 private:
  asio::io_context io_{1};
  std::shared_ptr<IConnectionManager> manager_;
  std::unique_ptr<websocketpp::Listener> listener_;
  std::unique_ptr<RawClient> client_;
};

/// For messages of a failure: not megabytes.
inline std::string brief(const std::vector<Seen>& frames) {
  std::string text;
  for (const Seen& frame : frames) {
    text += std::to_string(frame.first) + " of " + std::to_string(frame.second.size()) + ": " +
            frame.second.substr(0, 40) + "\n";
  }
  return text;
}

/// One connection for one case. Nothing but its answers and the close is to come.
inline void play(EchoServer& server, const Case& one, std::size_t piece = std::string::npos) {
  INFO(one.name);
  INFO("in pieces of " << piece);
  (void)server.open();
  server.send(one.sent, piece);
  std::vector<Seen> seen;
  while (one.code != 0 ? seen.empty() || seen.back().first != 0x88 : seen.size() < one.answers.size()) {
    auto next = server.frame();
    if (!next) break;
    seen.push_back(std::move(*next));
  }
  server.end(seen, one.code);
  REQUIRE_FALSE(seen.empty());
  const std::string close = seen.back().second;
  seen.pop_back();
  INFO("seen: " << brief(seen));
  CHECK((seen == one.answers));
  REQUIRE(close.size() >= 2);
  CHECK((static_cast<unsigned char>(close[0]) << 8 | static_cast<unsigned char>(close[1])) ==
        (one.code != 0 ? one.code : 1000));
}

}  // namespace muster::test
