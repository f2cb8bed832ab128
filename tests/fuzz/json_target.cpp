// The JSON protocol: what any bytes decode to, against a second reader, and that what comes of it can be told to others.

#include "contract/protocol_samples.hpp"
#include "fuzz/fuzz.hpp"
#include "muster/protocols/json_protocol.hpp"
#include "support/json_check.hpp"

namespace muster::fuzz {
namespace {

using test::describe;
using test::is_json;
using test::is_json_object;

const WallTime now{std::chrono::milliseconds(1'700'000'000'000)};

void check_told(const Protocol& protocol, const Event& event, const Correlation* correlation) {
  std::string out;
  must(protocol.encode(event, correlation, now, out) == FrameKind::text, "what is told is text");
  must(is_json_object(out), "what is told is a JSON object");
}

/// Names and data of a client's command, in the events that carry them to others.
struct Tell {
  const Protocol& protocol;
  const Correlation& correlation;
  std::string_view message;

  void data(std::string_view room, const Payload& payload) const {
    must(payload.empty() || (is_json(payload.view()) && message.find(payload.view()) != std::string_view::npos),
         "data is JSON, byte for byte as it came");
    check_told(protocol, event::RoomMessage{room, {1, 2}, ConnectionId(3), room, &payload}, nullptr);
    check_told(protocol, event::DirectMessage{ConnectionId(3), room, &payload, 4}, nullptr);
    check_told(protocol, event::Pong{&payload}, &correlation);
    check_told(protocol, event::Ack{{}, {}, {}, &payload, room}, &correlation);
  }
  void room(std::string_view name) const {
    const std::vector<Member> members{{ConnectionId(5), std::string(name)}};
    check_told(protocol, event::RoomJoined{name, {1, 2}, &members, 1, true}, &correlation);
    check_told(protocol, event::RoomLeft{name}, &correlation);
    check_told(protocol, event::Gap{name, 1, 2}, nullptr);
    check_told(protocol, event::PresenceChanged{name, &members, &members, nullptr, 0, false, 1}, nullptr);
  }

  void operator()(const command::Authenticate& c) const {
    check_told(protocol, event::AuthResult{nullptr, c.token}, &correlation);
  }
  void operator()(const command::Resume& c) const {
    std::vector<event::ResumedRoom> rooms;
    for (const auto& at : c.rooms) rooms.push_back({at.room, event::ResumedRoom::State::gap});
    check_told(protocol, event::Resumed{ConnectionId(1), &rooms}, &correlation);
  }
  void operator()(const command::Join& c) const { room(c.room); }
  void operator()(const command::Leave& c) const { room(c.room); }
  void operator()(const command::ListSubscriptions&) const {
    const std::vector<std::string> rooms{std::string(message)};
    check_told(protocol, event::Subscriptions{&rooms}, &correlation);
  }
  void operator()(const command::Publish& c) const { data(c.room, c.data); }
  void operator()(const command::Send& c) const { data(c.user, c.data); }
  void operator()(const command::AwarenessSet& c) const {
    if (c.state) must(is_json_object(c.state->view()), "a state is an object");
    AwarenessEntry entry;
    entry.client = c.client;
    entry.clock = c.clock;
    if (c.state) entry.state = *c.state;
    must(c.clock < std::uint64_t{1} << 53U, "a clock is exact in every reader");
    check_told(protocol, event::AwarenessChanged{c.room, &entry, 1}, nullptr);
    check_told(protocol, event::AwarenessState{c.room, &entry, 1}, &correlation);
  }
  void operator()(const command::AwarenessQuery& c) const { room(c.room); }
  void operator()(const command::PresenceQuery& c) const {
    must(c.room.empty() || c.users.empty(), "a query is by users or by room");
    std::vector<event::UserPresence> users;
    for (const std::string& user : c.users) users.push_back({user, 1, false});
    check_told(protocol, event::PresenceState{users.data(), users.size()}, &correlation);
    if (c.limit == 0) return;
    must(c.users.empty(), "members are asked of a room");
    const std::vector<Member> page{{c.after, c.room}};
    check_told(protocol, event::PresenceState{nullptr, 0, true, c.room, &page}, &correlation);
  }
  void operator()(const command::AcknowledgeQueue&) const {}
  void operator()(const command::HistoryQuery& c) const {
    room(c.room);
    const HistoryMessage told{c.after.seq, json("7"), ConnectionId(c.limit), c.room};
    check_told(protocol, event::History{c.room, c.after.epoch, &told, 1, false, true}, &correlation);
  }
  void operator()(const command::Answer& c) const {
    if (c.result) return data("", c.result.value());
    check_told(protocol, event::Failure{&c.result.error()}, &correlation);
  }
  void operator()(const command::ProfileSet& c) const {
    if (!c.profile.empty()) must(is_json_object(c.profile.view()), "a profile is an object");
    const std::vector<Member> shown{{ConnectionId(1), "ann", c.profile}};
    event::PresenceChanged presence;
    presence.joined = presence.left = presence.changed = &shown;
    check_told(protocol, presence, nullptr);
  }
  void operator()(const command::SessionInfo&) const {}
  void operator()(const command::Ping& c) const { data("", c.payload); }
  void operator()(const command::Custom& c) const { data(c.type, c.payload); }
  void operator()(const command::Invalid& c) const {
    must(!c.error.message.empty(), "who is not understood is told why");
    check_told(protocol, event::Failure{&c.error}, &correlation);
  }
};

}  // namespace

void run(std::string_view input) {
  Choices choices(input.substr(0, 64 * 1024));
  const unsigned choice = choices.byte();
  JsonProtocolOptions settings;
  if ((choice & 1U) != 0) settings.disabled_commands = {"publish", "ping"};
  const JsonProtocol protocol(settings);
  const DecodeLimits limits{1 + (choice >> 1U) % 40};
  const Alone alone(choices.rest());
  const std::string_view message = alone.view();

  const std::size_t before = held_bytes();
  std::vector<Command> commands;
  must(!protocol.decode(FrameKind::text, message, limits, commands), "text is never a reason to close");
  at_most(held_bytes(), before + 64 * message.size() + 8192, "a message costs memory in proportion to its bytes");
  must(commands.size() == 1, "one message is one command");
  const Command& command = commands.front();
  const auto* invalid = std::get_if<command::Invalid>(&command.body);

  test::JsonCheck second(message);
  if (second.holds() && is_json_object(message) && second.depth() <= limits.nesting) {
    must(invalid == nullptr || (invalid->error.message.find("not valid JSON") == std::string::npos &&
                                invalid->error.message.find("nested") == std::string::npos),
         "what is JSON is taken for it");
  } else {
    must(invalid != nullptr, "what is not JSON, or too deep, is refused");
  }
  must(command.correlation.id.empty() || (command.correlation.reply && is_json(command.correlation.id)),
       "an id is JSON");
  std::visit(Tell{protocol, command.correlation, message}, command.body);

  // Once more behind another message, and as a binary frame.
  std::vector<Command> again;
  (void)protocol.decode(FrameKind::text, "{", limits, again);
  must(!protocol.decode(FrameKind::text, message, limits, again) && again.size() == 2, "decoding appends");
  must(describe(again.back()) == describe(command), "the same bytes are the same command");
  must(protocol.decode(FrameKind::binary, message, limits, again).has_value() && again.size() == 2,
       "a binary frame is no part of it");

  // Whatever the server's own data and names are.
  for (const Payload& payload : {text(std::string(message)), binary(std::string(message))}) {
    check_told(protocol, event::RoomMessage{message, {1, 2}, ConnectionId(3), message, &payload}, nullptr);
  }
  const Error error{errc::internal, std::string(message), {}};
  check_told(protocol, event::Failure{&error}, nullptr);
  check_told(protocol, event::Kicked{message, true}, nullptr);
}

std::vector<std::string> seeds() {
  std::vector<std::string> all;
  for (
      const char* message : {
          R"({"type":"authenticate","id":1,"payload":{"token":"secret"}})",
          R"({"type":"resume","id":"a","payload":{"token":"t","auth":"s","rooms":{"r":{"epoch":1,"seq":2},"q":{"seq":0,"epoch":9}}}})",
          R"({"type":"join","id":1,"payload":{"room":"r"}})",
          R"({"type":"subscribe","payload":{"topic":"r"}})",
          R"({"type":"leave","id":-7,"payload":{"room":"r"}})",
          R"({"type":"unsubscribe","payload":{"topic":"r"}})",
          R"({"type":"list_subscriptions"})",
          R"({"type":"publish","id":1,"payload":{"room":"r","data":{"a":[1,2.5e3,null,true,"\ud83d\ude00"]},"echo":true,"idempotency_key":"k"}})",
          R"({"type":"publish","payload":{"room":"r","data":1,"delivery":{"latest":"k"}}})",
          R"({"type":"publish","payload":{"room":"r","data":1,"delivery":"reliable"}})",
          R"({"type":"send","id":1,"payload":{"user":"u","data":"d","queued":false}})",
          R"({"type":"awareness_update","payload":{"room":"r","client":"c","clock":9007199254740991,"state":{"x":1}}})",
          R"({"type":"awareness_update","payload":{"room":"r","clock":2,"state":null}})",
          R"({"type":"awareness_query","payload":{"room":"r"}})",
          R"({"type":"presence_query","payload":{"users":["a","b",""]}})",
          R"({"type":"presence_query","payload":{"room":"r"}})",
          R"({"type":"ack","payload":{"queue_id":18446744073709551615}})",
          R"({"type":"session_info","id":"x"})",
          R"({"type":"ping","id":1,"payload":{"t":-0.0e-12}})",
          R"({"type":"app.own","id":1,"payload":{"deep":[[[[[[[[{}]]]]]]]]}})",
          "\xef\xbb\xbf{\"type\":\"ping\"}",
          R"({"type":"\u0070ing","type":"ping","id":[1]} x)",
      }) {
    all.push_back('\x3e' + std::string(message));
  }
  all.push_back(std::string(1, '\x0d') + R"({"type":"publish","payload":{"room":"r","data":1}})");
  return all;
}

}  // namespace muster::fuzz
