// One peer that is nothing but a socket, and whatever listens on a loop of the test's own: the transport contract's fixture.
#pragma once

#include <asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "contract/transport_contract.hpp"
#include "websocketpp/raw_client.hpp"

namespace muster::test {

class SocketFixture final : public TransportFixture {
 public:
  /// What listens: it lives as long as `first` does, on this port.
  using Listening = std::pair<std::shared_ptr<void>, std::uint16_t>;
  using Listen = std::function<Listening(asio::io_context&)>;

  SocketFixture(bool tls, const Listen& listen) : tls_(tls), listening_(listen(io_)) {}

  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds deadline) override {
    const auto end = std::chrono::steady_clock::now() + deadline;
    for (;;) {
      pump();
      if (done()) return true;
      if (std::chrono::steady_clock::now() > end) return false;
      inside_ = true;
      if (io_.poll() == 0) io_.run_one_for(std::chrono::milliseconds(1));
      inside_ = false;
      io_.restart();
    }
  }
  bool on_executor() const override { return inside_; }

  void connect() override {
    client_.emplace(listening_.second, tls_);
    client_->send(RawClient::upgrade_request());
  }
  void peer_send(FrameKind kind, std::string payload) override {
    client_->send(masked_frame(static_cast<std::uint8_t>(0x80U | static_cast<unsigned>(kind)), payload));
  }
  std::string peer_received() override {
    pump();
    return received_;
  }
  std::optional<Closing> peer_closing() override {
    pump();
    return closing_;
  }
  bool peer_is_gone() override {
    pump();
    return refused_ || (client_ && client_->ended());
  }
  void peer_stall() override {
    stalled_ = true;
    client_->stall(true);
  }
  void peer_resume() override {
    stalled_ = false;
    client_->stall(false);
  }
  void peer_close(std::uint16_t code) override {
    closed_by_peer_ = true;
    client_->send(close_frame(code));
  }
  void peer_break() override { client_->reset(); }

 private:
  void pump() {
    if (!client_) return;
    client_->pump();
    if (!upgraded_) {
      const auto head = client_->take_head();
      if (!head) return;
      upgraded_ = true;
      refused_ = head->rfind("HTTP/1.1 101 ", 0) != 0;
    }
    if (refused_) return;
    // Whole frames only, but for the last: what a stalled or aborted peer has of it counts as received.
    for (std::string before = client_->in; auto frame = client_->take_frame(); before = client_->in) {
      if (frame->opcode() == 8) {
        if (!closed_by_peer_) {
          closing_ = Closing{frame->code(), frame->payload.size() > 2 ? frame->payload.substr(2) : std::string()};
          if (!stalled_) client_->send(close_frame(frame->code()));
        }
        continue;
      }
      received_.append(before, 0, before.size() - client_->in.size());
    }
  }

  const bool tls_;
  bool inside_ = false;
  bool upgraded_ = false;
  bool refused_ = false;
  bool stalled_ = false;
  bool closed_by_peer_ = false;
  std::string received_;
  std::optional<Closing> closing_;
  asio::io_context io_{1};
  Listening listening_;
  std::optional<RawClient> client_;
};

}  // namespace muster::test
