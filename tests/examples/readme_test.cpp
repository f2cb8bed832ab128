// The program of the README: it says where it listens, knows one user, and relays her moves.
#include <csignal>
#include <string>

#include "process.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::Process;

TEST_CASE("the README's program relays moves, refuses strangers and says who is gone", "[readme]") {
  Process game({MUSTER_README});
  const std::uint16_t port = game.port();
  CHECK_THAT(game.out(), ContainsSubstring("listening on ws://127.0.0.1:" + std::to_string(port) + "/ws\n"));
  CHECK_THROWS_WITH(Client(port, "Authorization: Bearer guess\r\n"), ContainsSubstring(" 401 "));
  const std::string ann = "Authorization: Bearer ann-secret\r\n";
  Client desk(port, ann);
  desk.send(R"({"type":"join","payload":{"room":"game:7"}})");
  desk.receive("room_joined");
  {
    Client phone(port, ann);
    phone.send(R"({"type":"join","payload":{"room":"game:7"}})");
    phone.receive("room_joined");
    phone.send(R"({"type":"move","id":1,"payload":{"to":"e4"}})");
    CHECK_THAT(phone.receive("reply_to"), ContainsSubstring(R"("type":"ack")"));
    CHECK_THAT(desk.receive(R"("type":"message")"), ContainsSubstring(R"("data":{"to":"e4"})"));
  }
  CHECK(game.until("ann is gone\n"));
}
