// DocumentProtocol, which has conversations, keeps the promises of a Protocol, whichever way its heartbeat goes.
#include "contract/protocol_contract.hpp"
#include "support/document_protocol.hpp"

using namespace muster;

TEST_CASE("DocumentProtocol is a protocol", "[contract][protocol]") {
  test::DocumentProtocol::Form form;
  form.heartbeat = GENERATE(HeartbeatStyle::ping, HeartbeatStyle::message, HeartbeatStyle::client);
  test::ProtocolSubject subject{std::make_shared<test::DocumentProtocol>(form),
                                {"first", "second", "echo third", "resume abc"},
                                [](std::string_view) { return true; },
                                FrameKind::binary};
  subject.names = {{"room", "plan"}};
  test::protocol_contract(subject);
}
