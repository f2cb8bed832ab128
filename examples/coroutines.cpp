// Handlers that are coroutines (C++20): a shop whose database answers from a pool of threads, and whose bank takes its time.
//
//   coroutines [port]     then, for instance: npx wscat -c ws://127.0.0.1:8080/ws
//   < {"type":"room_joined","payload":{"room":"shop",...}}
//   > {"type":"buy","id":1,"payload":{"item":"lamp"}}
//   < {"type":"progress","reply_to":1,"payload":{"step":"payment"}}
//   < {"type":"message","payload":{"room":"shop",...,"data":{"item":"lamp","left":1}}}
//   < {"type":"ack","reply_to":1,"payload":{"left":1}}

#include <asio/bind_executor.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <asio/thread_pool.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <muster/asio.hpp>
#include <muster/auth/allow_all.hpp>
#include <muster/auth/allow_anonymous.hpp>
#include <muster/coroutine.hpp>
#include <muster/muster.hpp>
#include <muster/protocols/json_protocol.hpp>
#include <muster/transports/websocketpp.hpp>
#include <mutex>
#include <string>
#include <system_error>

namespace {

/// What blocks, and so is asked on threads of its own.
class Database {
 public:
  /// How many are left once one is taken.
  muster::Result<int> take(const std::string& item) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = stock_.find(item);
    if (found == stock_.end())
      return muster::Error{muster::errc::not_found, "There is no such item", {}, "no_such_item"};
    if (found->second == 0) return muster::Error{muster::errc::not_found, "That is sold out", {}, "sold_out"};
    return --found->second;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, int> stock_{{"lamp", 2}, {"chair", 50}};
};

/// A callback becomes a co_await: `done` is given to whoever answers, on whatever thread.
muster::TaskOf<int> take(Database& database, asio::thread_pool& threads, std::string item) {
  const muster::Result<int> left = co_await muster::awaitable<muster::Result<int>>(
      [&](auto done) { asio::post(threads, [&database, item, done] { done(database.take(item)); }); });
  if (!left) throw left.error();  // refuses the command, from however deep
  co_return left.value();
}

muster::Task wait(asio::io_context& loop, std::chrono::milliseconds time) {
  asio::steady_timer timer(loop, time);
  co_await muster::awaitable<void>([&](auto done) { timer.async_wait([done](const asio::error_code&) { done(); }); });
}

/// The value of the only field: a program of more than one has a JSON library.
std::string only_field(const muster::Payload& payload) {
  const std::string text(payload.view());
  const auto end = text.rfind('"');
  const auto begin = end == 0 || end == std::string::npos ? end : text.rfind('"', end - 1);
  return begin == std::string::npos ? std::string() : text.substr(begin + 1, end - begin - 1);
}

}  // namespace

int main(int argc, char** argv) try {
  Database database;
  asio::thread_pool threads(2);
  asio::io_context loop(1);

  muster::Components components;
  components.protocols = {std::make_shared<muster::JsonProtocol>()};
  auto manager = muster::make_connection_manager({}, std::make_shared<muster::AllowAnonymous>(),
                                                 std::make_shared<muster::AllowAll>(), components);

  int sold = 0;  // of the loop: each coroutine goes on there, whoever has answered
  manager->on("buy", [&](muster::Call call) -> muster::TaskOf<muster::Payload> {
    const std::string item = only_field(call.payload());
    const int left = co_await take(database, threads, item);
    call.progress(muster::json(R"({"step":"payment"})"));
    co_await wait(loop, std::chrono::milliseconds(20));
    ++sold;
    const std::string rest = "\"left\":" + std::to_string(left) + "}";
    (void)co_await muster::async(call.manager())
        .publish({"", "shop"}, muster::json("{\"item\":\"" + item + "\"," + rest));
    co_return muster::json("{" + rest);
  });
  manager->on_connected([](muster::Call call) -> muster::Task {
    const muster::Result<void> seated = co_await muster::async(call.manager()).join(call.connection(), "shop");
    if (!seated) std::fprintf(stderr, "%s\n", seated.error().message.c_str());
  });

  muster::websocketpp::ListenerOptions options;
  options.port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 8080);
  muster::websocketpp::Listener listener(loop, manager, options);

  asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](const asio::error_code&, int) {
    // The same calls in Asio's way, with a token. Where the compiler has it: asio::use_awaitable.
    muster::async(*manager, asio::bind_executor(loop, [&](std::error_code) { loop.stop(); })).shutdown();
  });
  std::printf("listening on http://127.0.0.1:%u\n", static_cast<unsigned>(listener.port()));
  std::fflush(stdout);
  loop.run();
  threads.join();  // what still waits for it is destroyed, for its loop has stopped
  std::printf("sold %d\n", sold);
} catch (const std::exception& error) {  // most often the port is taken
  std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
  return 1;
}
