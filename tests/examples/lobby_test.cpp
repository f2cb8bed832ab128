// The lobby: players are seated by the server, in games whose state is told to their players alone.
#include <csignal>
#include <string>

#include "process.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::Process;

namespace {

struct Player : Client {
  Player(std::uint16_t port, const std::string& name) : Client(port, "Authorization: Bearer " + name + "-secret\r\n") {
    CHECK_THAT(receive("room_joined"), ContainsSubstring(R"("room":"lobby")") && ContainsSubstring(R"("by":"server")"));
  }
};

}  // namespace

TEST_CASE("lobby seats players in games, and tells each game its state", "[lobby]") {
  Process lobby({MUSTER_LOBBY, "0"});
  const std::uint16_t port = lobby.port();
  Player ann(port, "ann");
  Player bob(port, "bob");
  CHECK_THAT(ann.receive(R"("user":"bob")"), ContainsSubstring(R"("profile":{"name":"Bob"})"));

  ann.send(R"({"type":"join","id":1,"payload":{"room":"game:blue"}})");
  CHECK_THAT(ann.receive(R"("reply_to":1)"), ContainsSubstring("the server seats you"));
  ann.send(R"({"type":"back","id":2})");
  CHECK_THAT(ann.receive(R"("reply_to":2)"), ContainsSubstring(R"("code":"not_playing")"));
  ann.send(R"({"type":"play","id":3,"payload":{}})");
  CHECK_THAT(ann.receive(R"("reply_to":3)"), ContainsSubstring(R"("code":"no_name")"));

  ann.send(R"({"type":"play","id":4,"payload":{"game":"blue"}})");
  CHECK_THAT(ann.receive("room_joined"), ContainsSubstring(R"("room":"game:blue")"));
  CHECK_THAT(ann.receive(R"("reply_to":4)"), ContainsSubstring(R"("type":"ack")"));
  ann.send(R"({"type":"steer","payload":{"x":1,"y":-0.5}})");
  CHECK_THAT(ann.receive(R"("x":1.0)"), ContainsSubstring(R"("y":-0.5)") && ContainsSubstring(R"("from":null)"));
  bob.send(R"({"type":"play","id":1,"payload":{"game":"blue"}})");
  bob.receive(R"("reply_to":1)");
  CHECK_THAT(bob.receive(R"("ships":)"), ContainsSubstring(R"("user":"ann")") && ContainsSubstring(R"("user":"bob")"));

  Player cat(port, "cat");
  cat.send(R"({"type":"play","id":1,"payload":{"game":"blue"}})");
  CHECK_THAT(cat.receive(R"("reply_to":1)"), ContainsSubstring(R"("code":"game_full")"));
  cat.send(R"({"type":"play","id":2,"payload":{"game":"red"}})");
  cat.receive(R"("reply_to":2)");
  cat.send(R"({"type":"games","id":3})");
  CHECK_THAT(cat.receive(R"("reply_to":3)"), ContainsSubstring(R"({"blue":2,"red":1})"));
  Player eve(port, "eve");
  eve.send(R"({"type":"play","id":1,"payload":{"game":"red"}})");
  CHECK_THAT(eve.receive(R"("reply_to":1)"), ContainsSubstring(R"("code":"banned")"));

  cat.send(R"({"type":"put_out","id":4,"payload":{"user":"ann"}})");
  CHECK_THAT(cat.receive(R"("reply_to":4)"), ContainsSubstring(R"("code":"no_referee")"));
  Player max(port, "max");
  max.send(R"({"type":"put_out","id":1,"payload":{"user":"ann"}})");
  max.receive(R"("reply_to":1)");
  CHECK_THAT(ann.receive("kicked"), ContainsSubstring("The referee"));
  CHECK(ann.close_code() == 4004);
  bob.send(R"({"type":"back","id":2})");
  CHECK_THAT(bob.receive("room_left"), ContainsSubstring(R"("room":"game:blue")"));

  max.send(R"({"type":"join","payload":{"room":"results"}})");
  max.receive("room_joined");
  max.send(R"({"type":"history_query","id":2,"payload":{"room":"results"}})");
  CHECK_THAT(max.receive(R"("reply_to":2)"), ContainsSubstring(R"("data":{"game":"blue","ticks":)"));

  lobby.signal(SIGTERM);
  CHECK(max.close_code() == 1001);
  const auto ended = lobby.wait();
  CHECK(ended.exit_code == 0);
  CHECK(ended.err.empty());
}
