// Handlers that are coroutines, in a process: they wait for threads and timers, and answer in their turn.
#include <csignal>
#include <string>

#include "process.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::Process;

TEST_CASE("coroutines sells what there is, and says what there is not", "[coroutines]") {
  Process shop({MUSTER_COROUTINES, "0"});
  Client ann(shop.port());
  ann.receive("room_joined");
  Client bob(shop.port());
  bob.receive("room_joined");

  ann.send(R"({"type":"buy","id":1,"payload":{"item":"lamp"}})");
  CHECK_THAT(ann.receive("progress"), ContainsSubstring(R"("step":"payment")"));
  CHECK_THAT(ann.receive("ack"), ContainsSubstring(R"("left":1)"));
  CHECK_THAT(bob.receive(R"("type":"message")"), ContainsSubstring(R"({"item":"lamp","left":1})"));
  bob.send(R"({"type":"buy","id":1,"payload":{"item":"lamp"}})");
  CHECK_THAT(bob.receive("ack"), ContainsSubstring(R"("left":0)"));
  ann.send(R"({"type":"buy","id":2,"payload":{"item":"lamp"}})");
  CHECK_THAT(ann.receive("error"), ContainsSubstring(R"("code":"sold_out")"));
  ann.send(R"({"type":"buy","id":3,"payload":{"item":"moon"}})");
  CHECK_THAT(ann.receive("error"), ContainsSubstring(R"("code":"no_such_item")"));

  // One that still waits when the server ends.
  for (int i = 0; i < 20; ++i) bob.send(R"({"type":"buy","id":4,"payload":{"item":"chair"}})");
  bob.receive("progress");
  shop.signal(SIGTERM);
  CHECK(ann.close_code() == 1001);
  const auto ended = shop.wait();
  CHECK(ended.exit_code == 0);
  CHECK_THAT(ended.out, ContainsSubstring("sold "));
  CHECK(ended.err.empty());
}
