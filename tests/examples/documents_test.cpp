// Document sync as a program: subscribing, editing, reading, and the codes one is closed with.
#include <csignal>
#include <string>

#include "process.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::Process;

namespace {

Client connect(std::uint16_t port, const std::string& user, const std::string& subprotocol = "muster.v1.json") {
  return Client(port, "Authorization: Bearer " + user + "-secret\r\nSec-WebSocket-Protocol: " + subprotocol + "\r\n");
}

const std::string subscribe = R"({"type":"subscribe","id":1,"payload":{"topic":"doc:1"}})";

}  // namespace

TEST_CASE("documents keeps a document for those who open it, and says when it is closed", "[documents]") {
  Process documents({MUSTER_DOCUMENTS, "0"});
  const std::uint16_t port = documents.port();
  {
    Client ann = connect(port, "ann");
    Client bob = connect(port, "bob");
    for (Client* one : {&ann, &bob}) {
      one->send(subscribe);
      CHECK_THAT(one->receive("reply_to"), ContainsSubstring(R"({"success":true,"message":"Subscribed to doc:1"})"));
      CHECK_THAT(one->receive("direct"), ContainsSubstring(R"({"document":"doc:1","edits":[]})"));
    }
    ann.send(R"({"type":"edit","id":2,"payload":{"document":"doc:1","insert":"hello"}})");
    CHECK_THAT(ann.receive(R"("reply_to":2)"), ContainsSubstring(R"("number":1)"));
    CHECK_THAT(bob.receive(R"("type":"message")"),
               ContainsSubstring(R"("data":{"number":1,"edit":{"document":"doc:1","insert":"hello"}})") &&
                   ContainsSubstring(R"("user":"ann")"));
    ann.send(R"({"type":"edit","id":3,"payload":{"document":"doc:2"}})");
    CHECK_THAT(ann.receive(R"("reply_to":3)"), ContainsSubstring("subscribe to the document"));
    ann.send(R"({"type":"edit","id":4,"payload":[7]})");
    CHECK_THAT(ann.receive(R"("reply_to":4)"), ContainsSubstring("invalid_message"));

    Client eve = connect(port, "eve");
    eve.send(subscribe);
    CHECK_THAT(eve.receive("direct"),
               ContainsSubstring(R"("edits":[{"number":1,"edit":{"document":"doc:1","insert":"hello"}}])"));
    documents.signal(SIGTERM);
    for (Client* one : {&ann, &bob, &eve}) CHECK(one->close_code() == 1001);
  }
  const auto ended = documents.wait();
  CHECK(ended.exit_code == 0);
  CHECK(ended.err.empty());
  CHECK_THAT(ended.out, ContainsSubstring("\ndoc:1 is closed, with 1 edits\n"));
}

TEST_CASE("documents closes whom it refuses 4003, or 1008 where a client knows no other", "[documents]") {
  Process documents({MUSTER_DOCUMENTS, "0"});
  const std::uint16_t port = documents.port();
  CHECK_THROWS_WITH(connect(port, "nobody"), ContainsSubstring(" 401 "));
  for (const bool few : {false, true}) {
    const std::string subprotocol = few ? "documents.v1.json" : "muster.v1.json";
    Client eve = connect(port, "eve", subprotocol);  // reads only
    eve.send(subscribe);
    eve.receive("Subscribed");
    eve.send(R"({"type":"edit","id":2,"payload":{"document":"doc:1","insert":"mine"}})");
    CHECK_THAT(eve.receive(R"("reply_to":2)"),
               ContainsSubstring("permission_denied") && ContainsSubstring("only read"));
    CHECK(eve.close_code() == (few ? 1008 : 4003));

    Client lost = connect(port, "bob", subprotocol);
    lost.send(R"({"type":"subscribe","payload":{"topic":"lobby"}})");
    CHECK(lost.close_code() == (few ? 1008 : 4003));

    Client bad(port, "Sec-WebSocket-Protocol: " + subprotocol + "\r\n");
    bad.send(R"({"type":"authenticate","payload":{"token":"guess"}})");
    CHECK(bad.close_code() == (few ? 1008 : 4002));
  }
}
