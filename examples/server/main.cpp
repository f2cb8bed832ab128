// muster_server: a stand-alone server, built on nothing but muster's public interface.

#include <sys/resource.h>

#include <asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <future>
#include <memory>
#include <muster/muster.hpp>
#include <muster/protocols/json_protocol.hpp>
#include <muster/transports/websocketpp.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "access.hpp"
#include "bots.hpp"
#include "flags.hpp"
#include "http.hpp"
#include "log.hpp"
#include "option_flags.hpp"

namespace muster_server {
namespace {

/// A descriptor for each connection: as many as the process may have.
void raise_file_limit(const Settings& settings, muster::Observer& log) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  const auto& server = settings.server;
  const std::size_t beside = server.extra_sockets + server.refused_sockets + server.http_sockets;
  const std::size_t wanted = settings.options.max_connections + beside * (settings.health_port ? 2 : 1) + 32;
  if (limit.rlim_cur < wanted) {
    log.log(muster::LogLevel::warning, "the process may open " + std::to_string(limit.rlim_cur) +
                                           " files, and --max-connections asks for " + std::to_string(wanted));
  }
}

std::string url(const Settings& settings, std::uint16_t port, bool tls) {
  const std::string& address = settings.server.address;
  const bool is_ipv6 = address.find(':') != std::string::npos;
  return std::string(tls ? "https://" : "http://") + (is_ipv6 ? "[" + address + "]" : address) + ":" +
         std::to_string(port);
}

/// The server and what ends it. Signals and bots are on the server's first loop, which is the main thread's.
class Program {
 public:
  /// Keeps a reference to the settings.
  explicit Program(const Settings& settings)
      : settings_(settings),
        log_(std::make_shared<StderrLog>(settings.log_level)),
        access_(std::make_shared<CurrentAccess>(read_access(settings))),
        manager_(make_manager(settings)),
        server_(manager_, server_options(settings)) {
    raise_file_limit(settings, *log_);
    if (settings.health_port) health_.emplace(server_.context(), manager_, health_options(settings));
    const bool gated = !settings.server.tls_client_ca_file.empty() && settings.server.tls_client_certificate_required;
    if (settings.anonymous() && !gated && settings.server.address != "127.0.0.1" &&
        settings.server.address != "localhost" && settings.server.address != "::1") {
      log_->log(muster::LogLevel::warning,
                "--auth anonymous: whoever reaches " + settings.server.address + " is let in");
    }
    wait_for_signal();
    start_bots(manager_, muster::websocketpp::AsioExecutor::of(server_.context()), log_, settings.bot_room,
               settings.bots);
  }

  [[nodiscard]] std::uint16_t port() const { return server_.port(); }
  /// None: health and metrics are on the same.
  [[nodiscard]] std::optional<std::uint16_t> health_port() const {
    return health_ ? std::optional(health_->port()) : std::nullopt;
  }

  /// Returns once a signal has ended it and every connection is closed.
  void run() {
    server_.run();
    if (stopper_.joinable()) stopper_.join();
    // Once nobody waits for it any more, it would end us with another code.
    sigset_t hangup;
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &hangup, nullptr);
  }

 private:
  std::shared_ptr<muster::IConnectionManager> make_manager(const Settings& settings) {
    muster::Components components;
    components.protocols = {std::make_shared<muster::JsonProtocol>()};
    components.observer = log_;
    return muster::make_connection_manager(settings.options, access_, access_, std::move(components));
  }

  muster::websocketpp::ServerOptions server_options(const Settings& settings) {
    std::shared_ptr<const StaticFiles> files;
    if (!settings.static_directory.empty()) files = std::make_shared<StaticFiles>(settings.static_directory);
    auto options = settings.server;
    options.http = http_handler(manager_, files, settings.health_port ? Serves::page : Serves::all);
    if (!settings.health_port) options.probe_paths = {"/healthz", "/readyz"};
    return options;
  }

  /// With budgets of its own, which no client of the public port takes from.
  muster::websocketpp::ListenerOptions health_options(const Settings& settings) {
    muster::websocketpp::ListenerOptions options;
    options.address = settings.server.address;
    options.port = *settings.health_port;
    options.http_timeout = settings.server.http_timeout;
    options.plain_http_only = true;
    options.http = http_handler(manager_, nullptr, Serves::health);
    options.probe_paths = {"/healthz", "/readyz", "/metrics"};
    return options;
  }

  void wait_for_signal() {
    signals_.async_wait([this](const asio::error_code& error, int number) {
      if (error) return;
      if (number == SIGHUP) {
        reload();
        wait_for_signal();
        return;
      }
      if (stopper_.joinable()) std::_Exit(128 + number);  // the second one: now
      log_->log(muster::LogLevel::info, "draining: telling every client when to come back, then closing");
      stopper_ = std::thread([this] {
        drain();
        server_.stop();
      });
      wait_for_signal();
    });
  }

  /// All of them or none: tokens for which there are no roles yet would let in who may do nothing.
  void reload() {
    try {
      Access access = read_access(settings_);
      if (!settings_.server.tls_key_file.empty()) {
        if (const auto error = server_.reload_certificate()) throw std::runtime_error(error->message);
      }
      access_->exchange(std::move(access));
      log_->log(muster::LogLevel::info,
                "SIGHUP: tokens, keys, roles and certificate were read again; who is connected stays");
    } catch (const std::exception& error) {
      log_->log(muster::LogLevel::error, std::string("SIGHUP: everything is as it was, because of ") + error.what());
    }
  }

  void drain() {
    const auto& options = manager_->options();
    std::promise<muster::Drained> drained;
    manager_->drain(options.drain_deadline, options.reconnect_window,
                    [&drained](muster::Drained counts) { drained.set_value(counts); });
    const muster::Drained counts = drained.get_future().get();
    log_->log(muster::LogLevel::info, "drained: " + std::to_string(counts.closed) + " closed, " +
                                          std::to_string(counts.forced) + " of them cut");
  }

  const Settings& settings_;
  std::shared_ptr<StderrLog> log_;
  std::shared_ptr<CurrentAccess> access_;
  std::shared_ptr<muster::IConnectionManager> manager_;
  muster::websocketpp::Server server_;
  std::optional<muster::websocketpp::Listener> health_;
  asio::signal_set signals_{server_.context(), SIGINT, SIGTERM, SIGHUP};
  std::thread stopper_;
};

int main(std::vector<std::string> arguments) {
  auto read = read_flags(std::move(arguments));
  if (const auto* stop = std::get_if<Stop>(&read)) {
    std::fputs(stop->text.c_str(), stop->code == 0 ? stdout : stderr);
    return stop->code;
  }
  const Settings& settings = std::get<Settings>(read);
  std::unique_ptr<Program> program;
  try {
    program = std::make_unique<Program>(settings);
  } catch (const std::invalid_argument& error) {  // of options, by the names of their fields
    std::fprintf(stderr, "muster_server: %s\n", by_flag(error.what()).c_str());
    return exit_usage;
  } catch (const std::exception& error) {  // of files and addresses, by theirs
    std::fprintf(stderr, "muster_server: %s\n", error.what());
    return exit_usage;
  }
  std::printf("listening on %s\n", url(settings, program->port(), !settings.server.tls_key_file.empty()).c_str());
  if (const auto port = program->health_port()) {
    std::printf("health and metrics on %s\n", url(settings, *port, false).c_str());
  }
  std::fflush(stdout);
  program->run();
  return 0;
}

}  // namespace
}  // namespace muster_server

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // whoever reads our output may go before us
  std::signal(SIGHUP, SIG_IGN);   // what it reads again is being read already
  return muster_server::main({argv + 1, argv + argc});
}
