// The websocketpp adapter keeps the promises of a Transport, plain and over TLS, and AsioExecutor those of an Executor.
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include "contract/executor_contract.hpp"
#include "muster/transports/websocketpp.hpp"
#include "websocketpp/certificate.hpp"
#include "websocketpp/socket_fixture.hpp"

using namespace muster;

namespace {

std::unique_ptr<test::SocketFixture> listen(const std::shared_ptr<IConnectionManager>& manager,
                                            const test::Certificate* certificate) {
  return std::make_unique<test::SocketFixture>(certificate != nullptr, [&](asio::io_context& io) {
    muster::websocketpp::ListenerOptions options;
    options.deflate = true;  // which changes nothing for peers that do not ask for it
    if (certificate != nullptr) {
      options.tls_certificate_file = certificate->certificate_file;
      options.tls_key_file = certificate->key_file;
    }
    const auto listener = std::make_shared<muster::websocketpp::Listener>(io, manager, options);
    return test::SocketFixture::Listening(listener, listener->port());
  });
}

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
  bool knows_turns() const override { return true; }
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
  test::transport_contract([](auto manager) { return listen(manager, nullptr); });
}

TEST_CASE("the websocketpp adapter is a transport over TLS", "[contract][transport][websocketpp][tls]") {
  const test::Certificate certificate;
  test::transport_contract([&](auto manager) { return listen(manager, &certificate); });
}

TEST_CASE("AsioExecutor is an executor", "[contract][executor][websocketpp]") {
  test::executor_contract([] { return std::make_unique<AsioFixture>(false); });
}

TEST_CASE("what a task posts follows in the same turn, but not for ever", "[executor][websocketpp]") {
  asio::io_context io(1);
  const auto executor = muster::websocketpp::AsioExecutor::of(io);
  std::string order;
  REQUIRE(executor->post([&] {
    asio::post(io, [&] { order += " handler"; });
    order += "task";
    (void)executor->post([&] { order += " posted"; });
  }));
  io.run();
  CHECK(order == "task posted handler");

  bool other = false;
  int rounds = 0;
  std::function<void()> again = [&] {
    ++rounds;
    if (!other && rounds < 1000) (void)executor->post([&] { again(); });
  };
  int ended_after = 0;
  REQUIRE(executor->post([&] { again(); }));
  std::function<void()> at_each_end = [&] {
    if (!other) (void)executor->post_at_turn_end([&] { at_each_end(); });
  };
  REQUIRE(executor->post_at_turn_end([&] { at_each_end(); }));
  REQUIRE(executor->post_at_turn_end([&] { ended_after = rounds; }, 1));
  asio::post(io, [&] { asio::post(io, [&] { other = true; }); });
  io.restart();
  io.run();
  CHECK(rounds < 20);
  CHECK(ended_after != 0);
  CHECK(ended_after < rounds);
}

TEST_CASE("AsioExecutor is an executor until its io_context ends", "[contract][executor][websocketpp]") {
  test::executor_contract([] { return std::make_unique<AsioFixture>(true); });
}
