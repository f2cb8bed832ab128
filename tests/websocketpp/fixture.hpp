// One listener, its io_context and its clients, all in the test's own thread.
#pragma once

#include <dirent.h>

#include <asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "muster/transports/websocketpp.hpp"
#include "support/catch.hpp"
#include "support/recording_manager.hpp"
#include "websocketpp/raw_client.hpp"

namespace muster::test {

/// Descriptors this process has open.
inline std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* directory = ::opendir("/proc/self/fd");
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

struct Fixture {
  explicit Fixture(Options core = {}, websocketpp::ListenerOptions listener_options = {})
      : manager(std::make_shared<RecordingManager>(std::move(core))), settings(std::move(listener_options)) {}
  virtual ~Fixture() = default;

  /// Where clients go.
  [[nodiscard]] virtual std::uint16_t port() const { return listener->port(); }
  /// Listens from now on; what the manager and the listener are to do is set before.
  void listen() {
    if (!listener) listener.emplace(io, manager, settings);
  }

  RawClient& connect(bool tls = false, int receive_buffer = 0) {
    listen();
    clients.push_back(std::make_unique<RawClient>(port(), tls, receive_buffer));
    return *clients.back();
  }
  /// Connects, upgrades, and waits for the 101.
  RawClient& open(std::string_view extra = {}, bool tls = false, int receive_buffer = 0) {
    RawClient& client = connect(tls, receive_buffer);
    client.send(RawClient::upgrade_request(extra));
    REQUIRE(status(client) == 101);
    return client;
  }

  /// Runs everything until `done`; false when it does not happen in time.
  bool until(const std::function<bool()>& done, std::chrono::milliseconds deadline = std::chrono::seconds(10)) {
    const auto end = std::chrono::steady_clock::now() + deadline;
    for (;;) {
      for (const auto& client : clients) client->pump();
      if (done()) return true;
      if (std::chrono::steady_clock::now() > end) return false;
      if (io.poll() == 0) io.run_one_for(std::chrono::milliseconds(1));
      io.restart();
    }
  }
  /// Runs what is ready now.
  void settle() {
    for (int i = 0; i < 5; ++i) (void)until([] { return false; }, std::chrono::milliseconds(2));
  }

  /// Waits for the head of an HTTP answer; its status, and the head in `head`. 0: the socket was closed instead.
  int status(RawClient& client) {
    std::optional<std::string> taken;
    REQUIRE(until([&] { return (taken = client.take_head()) || client.ended(); }));
    head = taken.value_or("");
    return head.size() > 12 ? std::stoi(head.substr(9, 3)) : 0;
  }
  /// Sends a request as a new client; the status of the answer.
  int ask(const std::string& request) {
    RawClient& client = connect();
    client.send(request);
    return status(client);
  }
  std::optional<RawClient::Frame> frame(RawClient& client) {
    std::optional<RawClient::Frame> taken;
    (void)until([&] { return (taken = client.take_frame()) || client.ended(); });
    return taken;
  }
  /// The value of a header in `head`; empty when it is not there.
  [[nodiscard]] std::string header(const std::string& name) const {
    const std::size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const std::size_t from = at + name.size() + 4;
    return head.substr(from, head.find("\r\n", from) - from);
  }
  const OpenRequest& request(std::size_t i = 0) {
    return manager->with([i](auto& seen) -> std::shared_ptr<RecordingManager::Seen> { return seen.at(i); })->request;
  }
  std::shared_ptr<RecordingManager::Seen> seen(std::size_t i = 0) {
    return manager->with([i](auto& all) { return all.at(i); });
  }

  std::shared_ptr<RecordingManager> manager;
  websocketpp::ListenerOptions settings;
  asio::io_context io{1};
  std::optional<websocketpp::Listener> listener;
  std::vector<std::unique_ptr<RawClient>> clients;
  std::string head;
};

}  // namespace muster::test
