// muster on a stock websocketpp server: it starts, serves, leaves the program what is its own, and stops.
#include <csignal>
#include <string>

#include "process.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::Process;

TEST_CASE("attach serves its path, and the program's own stays", "[attach]") {
  Process attach({MUSTER_ATTACH, "0"});
  const std::uint16_t port = attach.port();
  Client ann(port, "Authorization: Bearer ann-secret\r\n");
  CHECK_THAT(ann.receive("connection_ack"), ContainsSubstring(R"("user_id":"ann")"));
  ann.send(R"({"type":"join","payload":{"room":"lobby"}})");
  ann.receive("room_joined");
  Client bob(port);
  bob.send(R"({"type":"authenticate","payload":{"token":"bob-secret"}})");
  bob.receive("connection_ack");
  bob.send(R"({"type":"join","payload":{"room":"lobby"}})");
  bob.receive("room_joined");
  bob.send(R"({"type":"publish","id":1,"payload":{"room":"lobby","data":"hello"}})");
  CHECK_THAT(ann.receive(R"("message")"), ContainsSubstring(R"("data":"hello")"));
  CHECK_THROWS_WITH(Client(port, "Authorization: Bearer guess\r\n"), ContainsSubstring(" 401 "));

  CHECK_THAT(muster::test::http(port, "GET / HTTP/1.1"), ContainsSubstring("the program's own page"));
  {
    Client echo(port, {}, "/echo");
    echo.send("say it again");
    CHECK(echo.receive("again") == "say it again");
  }
  CHECK_THROWS_WITH(Client(port, {}, "/elsewhere"), ContainsSubstring(" 400 "));

  attach.signal(SIGTERM);
  CHECK(ann.close_code() == 1001);
  CHECK(bob.close_code() == 1001);
  const auto ended = attach.wait();
  CHECK(ended.exit_code == 0);
  CHECK(ended.err.empty());
}
