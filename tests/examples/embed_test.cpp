// muster inside a program with its own loop: it starts, serves, and stops.
#include <csignal>
#include <string>

#include "process.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::Process;

TEST_CASE("embed lets in whom the program's own database knows, and sends its prices", "[embed]") {
  Process embed({MUSTER_EMBED, "0"});
  const std::uint16_t port = embed.port();
  Client ann(port, "Authorization: Bearer ann-secret\r\n");
  CHECK_THAT(ann.receive("connection_ack"), ContainsSubstring(R"("user_id":"ann")"));
  ann.send(R"({"type":"join","payload":{"room":"prices"}})");
  ann.receive(R"("price":)");
  ann.receive(R"("price":)");

  Client bob(port);
  bob.send(R"({"type":"authenticate","payload":{"token":"bob-secret"}})");
  CHECK_THAT(bob.receive("connection_ack"), ContainsSubstring(R"("user_id":"bob")"));
  CHECK_THROWS_WITH(Client(port, "Authorization: Bearer guess\r\n"), ContainsSubstring(" 401 "));

  embed.signal(SIGTERM);
  CHECK(ann.close_code() == 1001);
  CHECK(bob.close_code() == 1001);
  const auto ended = embed.wait();
  CHECK(ended.exit_code == 0);
  CHECK(ended.err.empty());
}
