// JsonProtocol keeps the promises of a Protocol.
#include "contract/protocol_contract.hpp"
#include "muster/protocols/json_protocol.hpp"
#include "support/json_check.hpp"

using namespace muster;

namespace {

const std::vector<std::string> messages{
    R"({"type":"authenticate","id":1,"payload":{"token":"t"}})",
    R"({"type":"resume","payload":{"token":"t","auth":"a","rooms":{"r":{"epoch":5,"seq":7},"s":{"seq":0,"epoch":1}}}})",
    R"({"type":"join","id":"a","payload":{"room":"r"}})",
    R"({"type":"subscribe","id":2,"payload":{"topic":"r"}})",
    R"({"type":"leave","payload":{"room":"r"}})",
    R"({"type":"unsubscribe","id":3,"payload":{"topic":"r"}})",
    R"({"type":"list_subscriptions"})",
    R"({"id":4,"payload":{"data":{"a":[1,2.5e3,"\u00e9\ud83d\ude00"]},"room":"caf\u00e9 with a name too long to be held inside"},"type":"publish"})",
    R"({"type":"publish","payload":{"room":"r","data":"é😀","echo":true,"idempotency_key":"k","delivery":"reliable"}})",
    R"({"type":"publish","payload":{"room":"r","data":null,"delivery":{"latest":"cursor"}}})",
    R"({"type":"send","id":5,"payload":{"user":"bob","data":[],"queued":true}})",
    R"({"type":"awareness_update","payload":{"room":"r","state":{"x":1},"clock":3,"client":"c"}})",
    R"({"type":"awareness_update","payload":{"room":"r","state":null,"clock":4}})",
    R"({"type":"awareness_query","payload":{"room":"r"}})",
    R"({"type":"presence_query","payload":{"users":["ann","b\u006fb"]}})",
    R"({"type":"presence_query","payload":{"room":"r"}})",
    R"({"type":"presence_query","payload":{"room":"r","limit":10,"after":"00000000000000a1"}})",
    R"({"type":"ack","payload":{"queue_id":9}})",
    R"({"type":"session_info","id":"\u0001"})",
    R"({"type":"ping","payload":{"t":[[[0]]]}})",
    R"({"type":"cursor_move","id":-7,"payload":{"x":1,"x":2}})",
};

}  // namespace

TEST_CASE("JsonProtocol is a protocol", "[contract][protocol][json]") {
  test::protocol_contract({std::make_shared<JsonProtocol>(), messages, test::is_json_object});
}

TEST_CASE("JsonProtocol without some of its commands is a protocol", "[contract][protocol][json]") {
  JsonProtocolOptions options;
  options.name = "chat.v1";
  options.path = "/chat";
  options.disabled_commands = {"publish", "resume", "ping"};
  test::protocol_contract({std::make_shared<JsonProtocol>(options), messages, test::is_json_object});
}
