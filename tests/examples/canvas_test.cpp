// muster_server as a canvas server: the page, tokens at the upgrade, rooms with limits of their own.
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "process.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::http;
using muster::test::Process;
using muster::test::StartsWith;

namespace {

/// Two tenants; the file is gone with it.
class Tokens {
 public:
  Tokens() {
    std::ofstream(path) << R"({"ann-secret": {"user": "ann", "tenant": "acme"},
                               "bob-secret": {"user": "bob", "tenant": "acme"},
                               "eve-secret": {"user": "eve", "tenant": "ajax"}})";
  }
  Tokens(const Tokens&) = delete;
  Tokens& operator=(const Tokens&) = delete;
  ~Tokens() { std::filesystem::remove(path); }
  const std::string path =
      (std::filesystem::temp_directory_path() / ("muster-canvas-" + std::to_string(getpid()) + ".json")).string();
};

std::string bearer(const std::string& user) { return "Authorization: Bearer " + user + "-secret\r\n"; }

}  // namespace

TEST_CASE("muster_server serves canvases: the page, upgrade-only tokens, tenants apart, what one is told in order",
          "[canvas]") {
  const Tokens tokens;
  Process server({MUSTER_SERVER, "--port", "0", "--static", MUSTER_CANVAS_PAGE, "--auth", "tokens:" + tokens.path,
                  "--auth-mode", "upgrade_only", "--rooms-by-prefix", "canvas:=room-capacity=1"});
  const std::uint16_t port = server.port();
  CHECK_THAT(http(port, "GET /"), StartsWith("HTTP/1.1 200 ") && ContainsSubstring("<title>"));
  CHECK_THAT(http(port, "GET /client.js"), StartsWith("HTTP/1.1 200 "));
  CHECK_THROWS_WITH(Client(port), ContainsSubstring(" 401 "));
  CHECK_THROWS_WITH(Client(port, bearer("guess")), ContainsSubstring(" 401 "));

  const std::string join = R"({"type":"join","id":1,"payload":{"room":"canvas:lobby"}})";
  Client ann(port, bearer("ann"));
  CHECK_THAT(ann.receive(""), ContainsSubstring(R"("type":"connection_ack")") &&
                                  ContainsSubstring(R"("heartbeat_ms":30000)") &&
                                  ContainsSubstring(R"("resume_ttl_ms":300000)"));
  ann.send(join);
  CHECK_THAT(ann.receive(""), ContainsSubstring(R"("type":"room_joined")"));
  CHECK_THAT(ann.receive(""), ContainsSubstring(R"("type":"awareness_state")"));

  Client tab(port, bearer("ann"));
  tab.send(join);
  CHECK_THAT(tab.receive(R"("reply_to":1)"), ContainsSubstring(R"("member_count":2)"));
  Client bob(port, bearer("bob"));
  bob.send(join);
  CHECK_THAT(bob.receive(R"("reply_to":1)"), ContainsSubstring("room_full"));
  Client eve(port, bearer("eve"));
  eve.send(join);
  CHECK_THAT(eve.receive(R"("reply_to":1)"), ContainsSubstring(R"("member_count":1)"));

  ann.send(R"({"type":"publish","id":2,"payload":{"room":"canvas:lobby","data":{"kind":"shapes?"}}})");
  CHECK_THAT(tab.receive(R"("type":"message")"), ContainsSubstring(R"("data":{"kind":"shapes?"})"));
  server.signal(SIGTERM);
  for (Client* one : {&ann, &tab, &bob, &eve}) CHECK(one->close_code() == 1001);
  CHECK(server.wait().exit_code == 0);
}
