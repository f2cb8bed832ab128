// EchoProtocol, of both kinds of frame, keeps the promises of a Protocol.
#include "contract/protocol_contract.hpp"
#include "support/echo_protocol.hpp"

using namespace muster;

TEST_CASE("EchoProtocol is a protocol", "[contract][protocol]") {
  const FrameKind kind = GENERATE(FrameKind::text, FrameKind::binary);
  test::protocol_contract({std::make_shared<test::EchoProtocol>(),
                           {"hello", "", "join hall"},
                           [](std::string_view) { return true; },
                           kind});
}
