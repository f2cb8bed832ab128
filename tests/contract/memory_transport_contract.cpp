// MemoryTransport keeps the promises of a Transport.
#include "contract/transport_contract.hpp"
#include "muster/testing/manual_executor.hpp"
#include "muster/testing/memory_transport.hpp"

using namespace muster;

namespace {

class MemoryFixture final : public test::TransportFixture {
 public:
  explicit MemoryFixture(std::shared_ptr<IConnectionManager> manager, std::size_t bytes_per_turn = 0)
      : manager_(std::move(manager)),
        pipe_(std::make_shared<MemoryTransport>(executor_, manager_->options().close_timeout)) {
    pipe_->take_per_turn(bytes_per_turn);
  }
  ~MemoryFixture() override { executor_->stop(); }

  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds deadline) override {
    const TimePoint end = executor_->now() + deadline;
    while (!done()) {
      if (executor_->run_one()) continue;
      const auto next = executor_->next_time();
      if (!next || *next > end) return done();
      executor_->clock()->move_to(*next);
    }
    return true;
  }
  bool on_executor() const override { return executor_->is_running(); }

  void connect() override {
    OpenRequest request;
    request.reservation = manager_->reserve({}, executor_->now());
    CHECK(pipe_->open(manager_, std::move(request)));
  }
  void peer_send(FrameKind kind, std::string payload) override { pipe_->receive(std::move(payload), kind); }
  std::string peer_received() override { return pipe_->written(); }
  std::optional<Closing> peer_closing() override {
    const auto closing = pipe_->closing();
    if (!closing) return std::nullopt;
    return Closing{closing->code, closing->text};
  }
  bool peer_is_gone() override { return pipe_->is_gone(); }
  void peer_stall() override { pipe_->stall(); }
  void peer_resume() override { pipe_->resume(); }
  void peer_close(std::uint16_t code) override {
    pipe_->hang_up(code == 1000 ? CloseReason::normal : CloseReason::going_away);
  }
  void peer_break() override { pipe_->hang_up(CloseReason::lost); }

 private:
  const std::shared_ptr<IConnectionManager> manager_;
  const std::shared_ptr<ManualExecutor> executor_ = std::make_shared<ManualExecutor>();
  const std::shared_ptr<MemoryTransport> pipe_;
};

}  // namespace

TEST_CASE("MemoryTransport is a transport", "[contract][transport]") {
  test::transport_contract([](auto manager) { return std::make_unique<MemoryFixture>(std::move(manager)); });
}

TEST_CASE("MemoryTransport that takes a few bytes a turn is a transport", "[contract][transport]") {
  test::transport_contract([](auto manager) { return std::make_unique<MemoryFixture>(std::move(manager), 4099); });
}
