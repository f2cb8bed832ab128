// asio::use_awaitable for what a manager tells. C++20, where Asio has coroutines for this compiler.
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/use_awaitable.hpp>
#include <string>
#include <system_error>

#include "muster/asio.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

#if defined(ASIO_HAS_CO_AWAIT)
TEST_CASE("coroutines of Asio await what a manager tells", "[asio]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  asio::io_context context;
  std::string told;
  const auto run = [&]() -> asio::awaitable<void> {
    const auto manager = async(sim.manager(), asio::use_awaitable);
    co_await manager.join(ann.id(), "r");
    told += "joined ";
    const Published published = co_await manager.publish({"", "r"}, json("1"));
    told += std::to_string(published.reached);
    try {
      co_await manager.move(ann.id(), "q", "p");
    } catch (const std::system_error& error) {
      if (error.code() == errc::not_in_room) told += " not_in_room";
    }
  };
  asio::co_spawn(context, run, asio::detached);
  for (int i = 0; i < 10; ++i) {
    context.poll();
    sim.run();
  }
  CHECK(told == "joined 1 not_in_room");
  CHECK(context.stopped());
}
#else
TEST_CASE("Asio has no coroutines for this compiler", "[asio]") { SUCCEED(); }
#endif

}  // namespace
}  // namespace muster::test
