// muster inside a program that was there before it: the program's loop, its timer, its way to look users up.
//
//   embed [port]     then, for instance: npx wscat -c ws://127.0.0.1:8080/ws -H "Authorization: Bearer ann-secret"
//   > {"type":"join","payload":{"room":"prices"}}

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <muster/auth/allow_all.hpp>
#include <muster/auth/callback_authenticator.hpp>
#include <muster/muster.hpp>
#include <muster/protocols/json_protocol.hpp>
#include <muster/transports/websocketpp.hpp>
#include <string>

using namespace std::chrono_literals;

// The program as it was: users that are looked up in a database, which answers when it answers ...
class UserDatabase {
 public:
  explicit UserDatabase(asio::io_context& loop) : loop_(loop) {}

  template <class Done>
  void look_up(const std::string& token, Done done) {
    auto timer = std::make_shared<asio::steady_timer>(loop_, 20ms);
    timer->async_wait([this, timer, token, done](const asio::error_code&) {
      const auto found = users_.find(token);
      done(found == users_.end() ? std::string() : found->second);
    });
  }

 private:
  asio::io_context& loop_;
  const std::map<std::string, std::string> users_{{"ann-secret", "ann"}, {"bob-secret", "bob"}};
};

// ... and prices that change with time.
class Ticker {
 public:
  template <class Changed>
  void run(asio::steady_timer& timer, Changed changed) {
    timer.expires_after(250ms);
    timer.async_wait([this, &timer, changed](const asio::error_code& error) {
      if (error) return;
      price_ += price_ % 7 - 3;
      changed(price_);
      run(timer, changed);
    });
  }

 private:
  int price_ = 100;
};

int main(int argc, char** argv) try {
  asio::io_context loop(1);
  UserDatabase users(loop);
  Ticker ticker;
  asio::steady_timer timer(loop);

  // What muster adds: who is connected, on the same loop, by the same database.
  auto authenticator = muster::callback_authenticator([&](const muster::Credentials& credentials, auto done) {
    users.look_up(credentials.token,
                  [done](const std::string& user) { done(user.empty() ? muster::reject() : muster::accept(user)); });
  });
  muster::Components components;
  components.protocols = {std::make_shared<muster::JsonProtocol>()};
  auto manager = muster::make_connection_manager({}, authenticator, std::make_shared<muster::AllowAll>(), components);
  muster::websocketpp::ListenerOptions options;
  options.port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 8080);
  muster::websocketpp::Listener listener(loop, manager, options);

  ticker.run(timer, [&](int price) {
    // Only the newest price matters: a client that is slow skips the others.
    manager->publish({"", "prices"}, muster::json("{\"price\":" + std::to_string(price) + "}"),
                     muster::Delivery::latest("price"));
  });

  asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](const asio::error_code&, int) {
    timer.cancel();
    manager->shutdown([&] { asio::post(loop, [&] { loop.stop(); }); });
  });

  std::printf("listening on http://127.0.0.1:%u\n", static_cast<unsigned>(listener.port()));
  std::fflush(stdout);
  loop.run();
} catch (const std::exception& error) {  // most often the port is taken
  std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
  return 1;
}
