// muster beside a program whose own io_context several threads run: muster has a loop and a thread of its own, work goes to
// the pool, and what comes of it goes back by the manager, which any thread may call.
//
//   pool [port]     then, for instance: npx wscat -c ws://127.0.0.1:8080/ws
//   > {"type":"factors","payload":{"of":1001}}
//   < {"type":"direct","payload":{"from":null,"data":{"number":1001,"factors":[7,11,13],"thread":2}}}

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <muster/auth/allow_all.hpp>
#include <muster/auth/allow_anonymous.hpp>
#include <muster/muster.hpp>
#include <muster/protocols/json_protocol.hpp>
#include <muster/transports/websocketpp.hpp>
#include <string>
#include <thread>
#include <vector>

namespace {

/// What takes so long that no connection should wait for it.
std::string factors(std::uint64_t number) {
  std::string found;
  for (std::uint64_t factor = 2; number > 1 && factor * factor <= number; ++factor) {
    for (; number % factor == 0; number /= factor) found += std::to_string(factor) + ",";
  }
  if (number > 1) found += std::to_string(number) + ",";
  if (!found.empty()) found.pop_back();
  return found;
}

}  // namespace

int main(int argc, char** argv) try {
  // The program as it was: one io_context, run by every thread of a pool.
  asio::io_context pool;
  auto work = asio::make_work_guard(pool);
  std::atomic<int> next_thread{0};
  thread_local int thread_number = 0;

  // What muster adds: a loop that one thread runs. A Listener on `pool` would be found out, and its threads told so.
  asio::io_context loop(1);
  muster::Components components;
  components.protocols = {std::make_shared<muster::JsonProtocol>()};
  auto manager = muster::make_connection_manager({}, std::make_shared<muster::AllowAnonymous>(),
                                                 std::make_shared<muster::AllowAll>(), components);
  manager->on("factors", [&pool](muster::Connection& who, const muster::Payload& payload) {
    // The connection is the loop's, and this call's. What goes elsewhere is its id, and what any thread may use.
    asio::post(pool, [&manager = who.manager(), id = who.id(), text = std::string(payload.view())] {
      const auto digits = text.find_first_of("0123456789");  // a program of more than one field has a JSON library
      const std::uint64_t number = digits == std::string::npos ? 0 : std::strtoull(text.c_str() + digits, nullptr, 10);
      (void)manager.send(id, muster::json("{\"number\":" + std::to_string(number) + ",\"factors\":[" + factors(number) +
                                          "],\"thread\":" + std::to_string(thread_number) + "}"));
    });
  });
  muster::websocketpp::ListenerOptions options;
  options.port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 8080);
  muster::websocketpp::Listener listener(loop, manager, options);

  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      thread_number = ++next_thread;
      pool.run();
    });
  }

  asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait(
      [&](const asio::error_code&, int) { manager->shutdown([&] { asio::post(loop, [&] { loop.stop(); }); }); });
  std::printf("listening on http://127.0.0.1:%u\n", static_cast<unsigned>(listener.port()));
  std::fflush(stdout);
  loop.run();

  // First the loop, then the pool: what is posted to it until here may still use the manager.
  work.reset();
  for (std::thread& thread : threads) thread.join();
} catch (const std::exception& error) {  // most often the port is taken
  std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
  return 1;
}
