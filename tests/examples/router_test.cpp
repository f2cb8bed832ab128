// The command router: it asks who one is, answers each command once, and keeps to its limits.
#include <csignal>
#include <string>

#include "process.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::Process;

TEST_CASE("router asks who one is, and answers each command once", "[router]") {
  Process router({MUSTER_ROUTER, "0"});
  const std::uint16_t port = router.port();
  {
    Client eve(port);
    eve.send(R"({"type":"ping","id":1})");
    CHECK_THAT(eve.receive("error"), ContainsSubstring("auth_required"));
    CHECK(eve.close_code() == 4001);
  }
  {
    Client eve(port);
    eve.send(R"({"type":"authenticate","id":1,"payload":{"token":"guess"}})");
    CHECK_THAT(eve.receive("auth_result"), ContainsSubstring(R"("authenticated":false)"));
    CHECK(eve.close_code() == 4002);
  }
  Client bob(port);
  bob.send(R"({"type":"authenticate","id":1,"payload":{"token":"bob-secret"}})");
  CHECK_THAT(bob.receive("auth_result"), ContainsSubstring(R"("user_id":"bob")"));
  bob.send(R"({"type":"subscribe","id":2,"payload":{"topic":"news"}})");
  CHECK_THAT(bob.receive(R"("reply_to":2)"), ContainsSubstring("Subscribed to news"));
  bob.send(R"({"type":"list_subscriptions","id":3})");
  CHECK_THAT(bob.receive(R"("reply_to":3)"), ContainsSubstring(R"(["news"])"));
  bob.send(R"({"type":"echo","id":"four","payload":{"x": 1.50}})");
  CHECK_THAT(bob.receive(R"("reply_to":"four")"), ContainsSubstring(R"({"x": 1.50})"));
  bob.send("no json");
  CHECK_THAT(bob.receive("error"), ContainsSubstring("invalid_message"));
  bob.send(R"({"type":"dance","id":5})");
  CHECK_THAT(bob.receive(R"("reply_to":5)"), ContainsSubstring("unknown_message"));

  Client ann(port);
  ann.send(R"({"type":"authenticate","payload":{"token":"ann-secret"}})");
  ann.receive("connection_ack");
  bob.send(R"({"type":"announce","id":6,"payload":{"text":"me"}})");
  CHECK_THAT(bob.receive(R"("reply_to":6)"), ContainsSubstring("Only an admin may announce"));
  ann.send(R"({"type":"announce","id":1,"payload":{"text":"Good evening"}})");
  CHECK_THAT(ann.receive(R"("reply_to":1)"), ContainsSubstring(R"("reached":2)"));
  CHECK_THAT(bob.receive("direct"), ContainsSubstring("Good evening"));

  Client third(port);
  CHECK_THROWS_WITH(Client(port), ContainsSubstring(" 503 ") && ContainsSubstring("Retry-After: "));
  for (int i = 0; i < 60; ++i) bob.send(R"({"type":"ping"})");
  CHECK_THAT(bob.receive("rate_limited"), ContainsSubstring("retry_after_ms"));
  ann.send(R"({"type":"stats","id":2})");
  CHECK_THAT(ann.receive(R"("reply_to":2)"),
             ContainsSubstring(R"("connections":2)") && ContainsSubstring(R"("refused_capacity":1)"));

  router.signal(SIGTERM);
  CHECK(ann.close_code() == 1001);
  CHECK(bob.close_code() == 1001);
  CHECK(third.close_code() == 1001);
  const auto ended = router.wait();
  CHECK(ended.exit_code == 0);
  CHECK(ended.err.empty());
}
