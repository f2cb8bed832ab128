// Text, binary and empty messages: each event says in which kind of frame it is told, whichever way it comes.
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/crowd.hpp"
#include "support/echo_protocol.hpp"
#include "support/frames.hpp"

namespace muster::test {
namespace {

using Messages = std::vector<std::pair<FrameKind, std::string>>;

const std::vector<Payload> payloads{text("hello"), binary("\xff\x01"), text(""), binary(""), json("{}"), Payload()};
const Messages as_frames{{FrameKind::text, "hello"}, {FrameKind::binary, "\xff\x01"}, {FrameKind::text, ""},
                         {FrameKind::binary, ""},    {FrameKind::text, "{}"},         {FrameKind::text, ""}};

/// Some who are told in bare messages, and what each has got.
struct Bare {
  explicit Bare(std::size_t count) : crowd(SteppedCrowd::no_limits(), std::make_shared<EchoProtocol>()), got(count) {
    crowd.manager->on(EchoProtocol::type, EchoProtocol::echo);
    crowd.add(count, "join hall");
    for (std::size_t i = 0; i < count; ++i) {
      crowd.peers[i].transport->watch(
          [&into = got[i], reader = FrameReader()](const Span* spans, std::size_t spans_count) mutable {
            std::vector<Frame> frames;
            for (std::size_t k = 0; k < spans_count; ++k) reader.feed({spans[k].data, spans[k].size}, frames);
            for (const Frame& frame : frames) into.emplace_back(frame.kind, frame.payload);
          });
    }
  }
  Messages take(std::size_t who) {
    crowd.run();
    return std::exchange(got[who], {});
  }

  SteppedCrowd crowd;
  std::vector<Messages> got;
};

TEST_CASE("an answer is of the kind that its event says, and may be empty", "[protocol]") {
  Bare bare(1);
  Connection& connection = *bare.crowd.peers[0].connection;
  for (const FrameKind kind : {FrameKind::text, FrameKind::binary}) {
    for (const char* message : {"hello", ""}) {
      bare.crowd.manager->received(connection, kind, message);
      CHECK(bare.take(0) == Messages{{kind, message}});
    }
  }
}

TEST_CASE("what is sent and published is of its own kind for everybody, and may be empty", "[protocol]") {
  Bare bare(3);
  IConnectionManager& manager = *bare.crowd.manager;
  const auto everybody_gets = [&bare](const Messages& expected) {
    for (std::size_t i = 0; i < bare.got.size(); ++i) CHECK(bare.take(i) == expected);
  };
  SECTION("in a room, together and one by one") {
    for (const Payload& payload : payloads) manager.publish({"", "hall"}, payload);
    everybody_gets(as_frames);
    for (std::size_t i = 0; i < payloads.size(); ++i) {
      manager.publish({"", "hall"}, payloads[i]);
      everybody_gets({as_frames[i]});
    }
  }
  SECTION("in a room, but for the one it is from") {
    for (const Payload& payload : payloads) {
      manager.publish({"", "hall"}, payload, Delivery::reliable(), bare.crowd.peers[0].connection->id());
    }
    CHECK(bare.take(1) == as_frames);
    CHECK(bare.take(0).empty());
  }
  SECTION("to all, and to one") {
    for (const Payload& payload : payloads) CHECK(manager.send_to_all(payload) == 3);
    everybody_gets(as_frames);
    for (const Payload& payload : payloads) CHECK(manager.send(bare.crowd.peers[1].connection->id(), payload) == 1);
    CHECK(bare.take(1) == as_frames);
  }
}

TEST_CASE("an empty state is none: nobody has what others were told is gone", "[protocol][awareness]") {
  Bare bare(1);
  const auto states = [&bare] {
    bare.crowd.settle();
    return bare.crowd.manager->awareness().get_all({"", "hall"}).size();
  };
  bare.crowd.say(bare.crowd.peers[0], "state typing");
  CHECK(states() == 1);
  bare.crowd.say(bare.crowd.peers[0], "state ");
  CHECK(states() == 0);
}

TEST_CASE("an event that a protocol does not tell is no message at all", "[protocol]") {
  Bare bare(1);
  const auto writes = bare.crowd.writes();
  (void)bare.crowd.manager->kick(bare.crowd.peers[0].connection->id(), "away", false);
  CHECK(bare.take(0).empty());
  CHECK(bare.crowd.writes() == writes);
}

}  // namespace
}  // namespace muster::test
