// The websocketpp adapter keeps the promises of a Transport, plain and over TLS, and AsioExecutor those of an Executor.
#include "contract/executor_contract.hpp"
#include "contract/transport_contract.hpp"

#include <asio/io_context.hpp>

#include "muster/transports/websocketpp.hpp"
#include "websocketpp/certificate.hpp"
#include "websocketpp/raw_client.hpp"

using namespace muster;

namespace {

class SocketFixture final : public test::TransportFixture {
 public:
  SocketFixture(std::shared_ptr<IConnectionManager> manager, const test::Certificate* certificate)
      : tls_(certificate != nullptr), listener_(io_, std::move(manager), options(certificate)) {}

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
    client_.emplace(listener_.port(), tls_);
    client_->send(test::RawClient::upgrade_request());
  }
  void peer_send(FrameKind kind, std::string payload) override {
    client_->send(test::masked_frame(static_cast<std::uint8_t>(0x80U | static_cast<unsigned>(kind)), payload));
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
    client_->send(test::close_frame(code));
  }
  void peer_break() override { client_->reset(); }

 private:
  static muster::websocketpp::ListenerOptions options(const test::Certificate* certificate) {
    muster::websocketpp::ListenerOptions options;
    if (certificate != nullptr) {
      options.tls_certificate_file = certificate->certificate_file;
      options.tls_key_file = certificate->key_file;
    }
    return options;
  }

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
          if (!stalled_) client_->send(test::close_frame(frame->code()));
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
  muster::websocketpp::Listener listener_;
  std::optional<test::RawClient> client_;
};

class AsioFixture final : public test::ExecutorFixture {
 public:
  std::shared_ptr<Executor> executor() override { return executor_; }
  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds deadline) override {
    const auto end = std::chrono::steady_clock::now() + deadline;
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      io_->run_one_for(std::chrono::milliseconds(1));
      io_->restart();
    }
    return true;
  }
  void stop() override {
    // Both ways it can happen: told, and by the end of the io_context.
    if (io_ && ended_by_context_) io_.reset();
    executor_->stop();
    ended_by_context_ = true;
  }
  explicit AsioFixture(bool ended_by_context) : ended_by_context_(ended_by_context) {}

 private:
  bool ended_by_context_;
  std::optional<asio::io_context> io_{std::in_place, 1};
  std::shared_ptr<muster::websocketpp::AsioExecutor> executor_ = muster::websocketpp::AsioExecutor::of(*io_);
};

}  // namespace

TEST_CASE("the websocketpp adapter is a transport", "[contract][transport][websocketpp]") {
  test::transport_contract([](auto manager) { return std::make_unique<SocketFixture>(std::move(manager), nullptr); });
}

TEST_CASE("the websocketpp adapter is a transport over TLS", "[contract][transport][websocketpp][tls]") {
  const test::Certificate certificate;
  test::transport_contract([&](auto manager) { return std::make_unique<SocketFixture>(std::move(manager), &certificate); });
}

TEST_CASE("AsioExecutor is an executor", "[contract][executor][websocketpp]") {
  test::executor_contract([] { return std::make_unique<AsioFixture>(false); });
}

TEST_CASE("AsioExecutor is an executor until its io_context ends", "[contract][executor][websocketpp]") {
  test::executor_contract([] { return std::make_unique<AsioFixture>(true); });
}
