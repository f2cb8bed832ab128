// What a Transport's contract needs of an implementation: a peer and an adapter, and the core's side that writes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "muster/transport.hpp"
#include "muster/wire_format.hpp"
#include "support/recording_manager.hpp"

namespace muster::test {

/// One peer that connects, the adapter it connects to, and the executor between them. The adapter was made with the
/// manager that the fixture was made with, and with its Options::close_timeout. Used by one thread; none of the
/// methods waits for the other side. Destroying it ends everything, whatever state it is in.
class TransportFixture {
 public:
  virtual ~TransportFixture() = default;

  /// Lets everything run, and time pass, until `done` holds; false when it does not within `deadline`.
  [[nodiscard]] virtual bool run_until(const std::function<bool()>& done,
                                       std::chrono::milliseconds deadline = std::chrono::seconds(10)) = 0;
  /// Whether the calling thread runs a task of the connection's executor. Called from any thread.
  [[nodiscard]] virtual bool on_executor() const = 0;

  /// The peer asks to connect.
  virtual void connect() = 0;
  /// The peer sends one message, or a ping or pong. What does not go out at once goes out as time passes.
  virtual void peer_send(FrameKind kind, std::string payload) = 0;
  /// Every byte the peer has got, as it came: whole frames, without the upgrade's answer and the close frame.
  [[nodiscard]] virtual std::string peer_received() = 0;
  struct Closing {
    std::uint16_t code = 0;
    std::string text;
  };
  /// The close frame the peer has got. Unless it is stalled, the peer answers it.
  [[nodiscard]] virtual std::optional<Closing> peer_closing() = 0;
  /// Whether the peer has seen the end of the connection, or was refused.
  [[nodiscard]] virtual bool peer_is_gone() = 0;
  /// The peer reads nothing, until it does again.
  virtual void peer_stall() = 0;
  virtual void peer_resume() = 0;
  /// The peer starts the close handshake.
  virtual void peer_close(std::uint16_t code) = 0;
  /// The connection breaks: no close frame, nothing more from the peer, not even an acknowledgement.
  virtual void peer_break() = 0;
};
using MakeTransportFixture = std::function<std::unique_ptr<TransportFixture>(std::shared_ptr<IConnectionManager>)>;

/// The core's side of one connection: writes frames, and keeps their bytes valid exactly as long as it must.
class Writer {
 public:
  explicit Writer(RecordingManager& manager) : manager_(manager) {}

  /// Executor. One batch of `frames` frames with `size` bytes each, every frame a span of its own. Not while pending.
  WriteResult write(std::size_t frames, std::size_t size) {
    batch_.clear();
    std::vector<std::size_t> ends;
    for (std::size_t i = 0; i < frames; ++i) {
      const char letter = static_cast<char>('a' + written_++ % 26);
      WebSocketFormat{}.append(FrameKind::binary, std::string(size, letter), batch_);
      ends.push_back(batch_.size());
    }
    std::vector<Span> spans;
    std::size_t from = 0;
    for (const std::size_t end : ends) spans.push_back({batch_.data() + from, end - std::exchange(from, end)});
    WriteResult result = WriteResult::closed;
    (void)manager_.call_transport([&](Transport& transport) { result = transport.write(spans.data(), spans.size()); });
    if (result != WriteResult::closed) expected_ += batch_;
    if (result == WriteResult::pending) {
      ++pendings_;
    } else {
      forget();
    }
    last_ = result;
    return result;
  }
  /// The bytes of the latest batch are not the transport's any more.
  void forget() { batch_.assign(batch_.size(), '!'); }

  [[nodiscard]] const std::string& expected() const { return expected_; }
  [[nodiscard]] std::size_t pendings() const { return pendings_; }
  [[nodiscard]] WriteResult last() const { return last_; }

 private:
  RecordingManager& manager_;
  std::string batch_;
  std::string expected_;
  std::size_t written_ = 0;
  std::size_t pendings_ = 0;
  WriteResult last_ = WriteResult::done;
};

}  // namespace muster::test
