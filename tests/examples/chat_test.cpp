// The smallest useful server: it starts, serves, and stops.
#include <csignal>
#include <string>

#include "process.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::Process;

TEST_CASE("chat tells who comes, what they say and who goes", "[chat]") {
  Process chat({MUSTER_CHAT, "0"});
  const std::uint16_t port = chat.port();
  Client ann(port);
  ann.send(R"({"type":"join","payload":{"room":"chat"}})");
  ann.receive("room_joined");
  {
    Client bob(port);
    bob.send(R"({"type":"join","payload":{"room":"chat"}})");
    CHECK_THAT(ann.receive(R"("came")"), ContainsSubstring("anonymous-"));
    bob.receive("room_joined");
    bob.send(R"({"type":"say","id":1,"payload":{"words":"hello"}})");
    CHECK_THAT(ann.receive("words"), ContainsSubstring(R"("data":{"words":"hello"})"));
    CHECK_THAT(bob.receive("reply_to"), ContainsSubstring(R"("type":"ack")"));
  }
  ann.receive(R"("went")");

  chat.signal(SIGTERM);
  CHECK(ann.close_code() == 1001);
  const auto ended = chat.wait();
  CHECK(ended.exit_code == 0);
  CHECK(ended.err.empty());
}
