// What JsonProtocol writes: each event of muster.v1.json, byte for byte.
#include <rapidjson/document.h>

#include "contract/protocol_samples.hpp"
#include "unit/json_protocol_fixture.hpp"

using namespace muster;
using namespace muster::test;
using std::chrono::milliseconds;

namespace {
const ConnectionId ann(0x00000000000000a1U);
const ConnectionId bob(0xffffffffffffffffU);
const std::vector<Member> both{{ann, "ann"}, {bob, "bob"}};
const std::vector<Member> nobody;
const WallTime later{milliseconds(1800000000123)};
const Position position{9007199254740991U, 42};
}  // namespace

TEST_CASE("authentication is told", "[json][encode]") {
  const Identity identity{"ann", "red", {"admin"}, later};
  CHECK(
      tell(event::AuthResult{&identity, ""}) ==
      message_of("auth_result", R"({"authenticated":true,"user_id":"ann","tenant":"red","expires_at":1800000000123})"));
  const Identity forever{"ann", "", {}, {}};
  CHECK(tell(event::AuthResult{&forever, ""}) ==
        message_of("auth_result", R"({"authenticated":true,"user_id":"ann","tenant":""})"));
  CHECK(tell(event::AuthResult{nullptr, "The token is not valid"}) ==
        message_of("auth_result", R"({"authenticated":false,"error":"The token is not valid"})"));
  CHECK(tell(event::ConnectionAck{ann, "ann", "red", milliseconds(30000), "tok", milliseconds(300000)}) ==
        message_of("connection_ack", R"({"connection":"00000000000000a1","user_id":"ann","tenant":"red",)"
                                     R"("heartbeat_ms":30000,"resume_token":"tok","resume_ttl_ms":300000})"));
  CHECK(tell(event::ConnectionAck{bob, "bob", "", milliseconds(0), "", milliseconds(0)}) ==
        message_of("connection_ack",
                   R"({"connection":"ffffffffffffffff","user_id":"bob","tenant":"","heartbeat_ms":0})"));
  CHECK(tell(event::ReauthRequired{later, milliseconds(30000)}) ==
        message_of("reauth_required", R"({"expires_at":1800000000123,"grace_ms":30000})"));
}

TEST_CASE("joining and leaving are told", "[json][encode]") {
  CHECK(tell(event::RoomJoined{"r", position, &both, 2, true}) ==
        message_of("room_joined",
                   R"({"room":"r","seq":42,"epoch":9007199254740991,"members":[)"
                   R"({"connection":"00000000000000a1","user":"ann"},)"
                   R"({"connection":"ffffffffffffffff","user":"bob"}],"member_count":2,"recovered":true})"));
  CHECK(tell(event::RoomJoined{"r", {5, 0}, nullptr, 300, false}) ==
        message_of("room_joined", R"({"room":"r","seq":0,"epoch":5,"member_count":300,"recovered":false})"));
  CHECK(tell(event::RoomLeft{"r"}) == message_of("room_left", R"({"room":"r"})"));
  CHECK(tell(event::RoomLeft{"r", true}) == message_of("room_left", R"({"room":"r","by":"server"})"));
  CHECK(tell(event::RoomJoined{"r", {5, 0}, nullptr, 300, false, true}) ==
        message_of("room_joined",
                   R"({"room":"r","seq":0,"epoch":5,"member_count":300,"recovered":false,"by":"server"})"));
}

TEST_CASE("subscribe and unsubscribe are answered in their own words", "[json][encode]") {
  const auto ack = [](std::string_view message) {
    return R"({"type":"ack","timestamp":1700000000000,"reply_to":1,"payload":{"success":true,"message":")" +
           std::string(message) + "\"}}";
  };
  const Correlation subscribe = read(R"({"type":"subscribe","id":1,"payload":{"topic":"t"}})").correlation;
  CHECK(tell(event::RoomJoined{"t", position, &both, 2, false}, &subscribe) == ack("Subscribed to t"));
  CHECK(tell(event::Ack{{}, {}, {}, nullptr, "t"}, &subscribe) == ack("Subscribed to t"));
  const Correlation unsubscribe = read(R"({"type":"unsubscribe","id":1,"payload":{"topic":"t"}})").correlation;
  CHECK(tell(event::RoomLeft{"t"}, &unsubscribe) == ack("Unsubscribed from t"));
  const Error error{errc::room_full, "x", {}};
  CHECK(tell(event::Failure{&error}, &subscribe) ==
        R"({"type":"error","timestamp":1700000000000,"reply_to":1,"payload":{"code":"room_full","message":"x"}})");
}

TEST_CASE("an ack carries what there is", "[json][encode]") {
  CHECK(tell(event::Ack{}) == message_of("ack", "{}"));
  CHECK(tell(event::Ack{position, {}, {}, nullptr, {}}) == message_of("ack", R"({"seq":42,"epoch":9007199254740991})"));
  CHECK(tell(event::Ack{{}, std::size_t{2}, true, nullptr, {}}) ==
        message_of("ack", R"({"delivered":2,"queued":true})"));
  CHECK(tell(event::Ack{{}, std::size_t{0}, false, nullptr, {}}) ==
        message_of("ack", R"({"delivered":0,"queued":false})"));
  CHECK(tell(event::Ack{{}, {}, false, nullptr, "r"}) == message_of("ack", R"({"queued":false})"));
}

TEST_CASE("a handler's reply is the ack's payload if it is an object, else its result", "[json][encode]") {
  const auto ack = [](const Payload& payload) { return tell(event::Ack{{}, {}, {}, &payload, {}}); };
  CHECK(ack(json(R"({ "a" : 1.0 })")) == message_of("ack", R"({ "a" : 1.0 })"));
  CHECK(ack(json("\n {}")) == message_of("ack", "\n {}"));
  CHECK(ack(json("[1]")) == message_of("ack", R"({"result":[1]})"));
  CHECK(ack(json("7")) == message_of("ack", R"({"result":7})"));
  CHECK(ack(text("{}")) == message_of("ack", R"({"result":"{}"})"));
  CHECK(ack(binary("{}")) == message_of("ack", R"({"result":"e30="})"));
  CHECK(ack(Payload()) == message_of("ack", R"({"result":null})"));
}

TEST_CASE("a reply names the id in the client's own spelling", "[json][encode]") {
  for (const char* id : {"7", "-0", "12345678901234567890123", "\"a\"", "\"\"", R"("\u0041\/")", "\"\xc3\xa9\""}) {
    const Correlation correlation = read(R"({"type":"ping","id":)" + std::string(id) + "}").correlation;
    CHECK(tell(event::Pong{}, &correlation) ==
          R"({"type":"pong","timestamp":1700000000000,"reply_to":)" + std::string(id) + R"(,"payload":{}})");
  }
  const Correlation none = read(R"({"type":"ping"})").correlation;
  CHECK(tell(event::Pong{}, &none) == message_of("pong", "{}"));
}

TEST_CASE("room messages and direct messages are told", "[json][encode]") {
  const Payload data = json(R"({"a" : 1.0e3})");
  CHECK(tell(event::RoomMessage{"r", position, ann, "ann", &data}) ==
        message_of("message", R"({"room":"r","seq":42,"epoch":9007199254740991,)"
                              R"("from":{"connection":"00000000000000a1","user":"ann"},"data":{"a" : 1.0e3}})"));
  // `latest` messages have no seq; the server has no connection.
  CHECK(tell(event::RoomMessage{"r", {}, ann, "ann", &data}) ==
        message_of("message",
                   R"({"room":"r","from":{"connection":"00000000000000a1","user":"ann"},"data":{"a" : 1.0e3}})"));
  CHECK(tell(event::RoomMessage{"r", {5, 1}, {}, "", &data}) ==
        message_of("message", R"({"room":"r","seq":1,"epoch":5,"from":null,"data":{"a" : 1.0e3}})"));
  CHECK(tell(event::DirectMessage{ann, "ann", &data, 9}) ==
        message_of("direct",
                   R"({"from":{"connection":"00000000000000a1","user":"ann"},"data":{"a" : 1.0e3},"queue_id":9})"));
  CHECK(tell(event::DirectMessage{{}, "", &data, 0}) == message_of("direct", R"({"data":{"a" : 1.0e3}})"));
  CHECK(tell(event::Gap{"r", 3, 18446744073709551615U}) ==
        message_of("gap", R"({"room":"r","from":3,"to":18446744073709551615})"));
}

TEST_CASE("awareness is told", "[json][encode]") {
  std::vector<AwarenessEntry> entries(2);
  entries[0].client = "c";
  entries[0].owner.user = "ann";
  entries[0].clock = 7;
  entries[0].state = json(R"({ "x":1 })");
  entries[1].client = "d";
  entries[1].owner.user = "bob";
  entries[1].clock = 8;
  CHECK(tell(event::AwarenessState{"r", entries.data(), 1}) ==
        message_of("awareness_state",
                   R"({"room":"r","states":[{"client":"c","user":"ann","state":{ "x":1 },"clock":7}]})"));
  CHECK(tell(event::AwarenessState{"r", nullptr, 0, true}) ==
        message_of("awareness_state", R"({"room":"r","states":[],"more":true})"));
  CHECK(tell(event::AwarenessState{"r", nullptr, 0}) == message_of("awareness_state", R"({"room":"r","states":[]})"));
  CHECK(tell(event::AwarenessChanged{"r", entries.data(), 2}) ==
        message_of("awareness_update", R"({"room":"r","states":[{"client":"c","state":{ "x":1 },"clock":7},)"
                                       R"({"client":"d","state":null,"clock":8}]})"));
  entries[1].state = text("");
  CHECK(tell(event::AwarenessChanged{"r", &entries[1], 1}) ==
        message_of("awareness_update", R"({"room":"r","states":[{"client":"d","state":null,"clock":8}]})"));
}

TEST_CASE("presence is told", "[json][encode]") {
  const std::vector<event::UserPresence> users{{"ann", 2}, {"bob", 0}};
  CHECK(tell(event::PresenceState{users.data(), 1, true, "r"}) ==
        message_of("presence_state",
                   R"({"room":"r","users":[{"user":"ann","online":true,"connections":2}],"more":true})"));
  CHECK(tell(event::PresenceState{users.data(), users.size()}) ==
        message_of("presence_state", R"({"users":[{"user":"ann","online":true,"connections":2},)"
                                     R"({"user":"bob","online":false,"connections":0}]})"));
  CHECK(tell(event::PresenceChanged{"r", &both, &nobody, nullptr, 0, false, 2}) ==
        message_of("presence", R"({"room":"r","joined":[{"connection":"00000000000000a1","user":"ann"},)"
                               R"({"connection":"ffffffffffffffff","user":"bob"}],"left":[],"member_count":2})"));
  CHECK(tell(event::PresenceChanged{"r", nullptr, nullptr, nullptr, 0, false, 300}) ==
        message_of("presence", R"({"room":"r","member_count":300})"));
  CHECK(tell(event::PresenceChanged{"r", nullptr, nullptr, both.data(), 1, true, 2}) ==
        message_of("presence", R"({"room":"r","members":[{"connection":"00000000000000a1","user":"ann"}],"more":true,)"
                               R"("member_count":2})"));
  const std::vector<std::string> names{"ann", "bob"};
  CHECK(tell(event::UsersOnline{&names}) == message_of("users_online", R"({"users":["ann","bob"]})"));
  CHECK(tell(event::UsersOffline{&names}) == message_of("users_offline", R"({"users":["ann","bob"]})"));
}

TEST_CASE("the other events are told", "[json][encode]") {
  const std::vector<std::string> rooms{"a", "b"};
  CHECK(tell(event::Subscriptions{&rooms}) == message_of("subscriptions", R"({"subscriptions":["a","b"]})"));
  CHECK(tell(event::Subscriptions{}) == message_of("subscriptions", R"({"subscriptions":[]})"));
  CHECK(tell(event::SessionState{ann, "ann", "red", &rooms, later}) ==
        message_of("session_info", R"({"connection":"00000000000000a1","user":"ann","tenant":"red","rooms":["a","b"],)"
                                   R"("connected_at":1800000000123})"));
  CHECK(tell(event::Draining{milliseconds(4321)}) == message_of("draining", R"({"reconnect_after_ms":4321})"));
  CHECK(tell(event::Kicked{"spam", false}) == message_of("kicked", R"({"reason":"spam","reconnect":false})"));
  const Payload payload = json(R"({ "t":1 })");
  CHECK(tell(event::Pong{&payload}) == message_of("pong", R"({ "t":1 })"));
  CHECK(tell(event::Pong{}) == message_of("pong", "{}"));
}

TEST_CASE("errors have their code's name and say when to try again", "[json][encode]") {
  const Error limited{errc::rate_limited, "Too many messages", milliseconds(250)};
  CHECK(tell(event::Failure{&limited}) ==
        message_of("error", R"({"code":"rate_limited","message":"Too many messages","retry_after_ms":250})"));
  for (int code = static_cast<int>(errc::auth_required); code <= static_cast<int>(errc::internal); ++code) {
    const Error error{static_cast<errc>(code), "", {}};
    CHECK(tell(event::Failure{&error}) ==
          message_of("error", R"({"code":")" + std::string(to_string(error.code)) + R"(","message":""})"));
  }
}

TEST_CASE("each kind of payload has its form", "[json][encode]") {
  const auto data = [](const Payload& payload) {
    const std::string whole = tell(event::DirectMessage{{}, "", &payload, 0});
    const std::string head = message_of("direct", R"({"data":)");
    return whole.substr(head.size() - 1, whole.size() - head.size() - 1);
  };
  CHECK(data(json(" [ 1.0 ] ")) == " [ 1.0 ] ");
  CHECK(data(Payload()) == "null");
  CHECK(data(text("a\"b\\c\n\r\t\x01\x1f\x7f/\xc3\xa9\xf0\x9f\x98\x80")) ==
        "\"a\\\"b\\\\c\\n\\u000d\\u0009\\u0001\\u001f\x7f/\xc3\xa9\xf0\x9f\x98\x80\"");
  CHECK(data(text("")) == "\"\"");
  CHECK(data(text(std::string("\0", 1))) == "\"\\u0000\"");
  CHECK(data(binary("")) == "\"\"");
  CHECK(data(binary("f")) == "\"Zg==\"");
  CHECK(data(binary("fo")) == "\"Zm8=\"");
  CHECK(data(binary("foo")) == "\"Zm9v\"");
  CHECK(data(binary("\xfb\xff\xfe")) == "\"+//+\"");
}

TEST_CASE("text that is not UTF-8 is mended, not sent", "[json][encode]") {
  const auto user = [](const std::string& name) {
    const std::vector<std::string> names{name};
    return tell(event::UsersOnline{&names});
  };
  const auto becomes = [](const std::string& name) {
    return message_of("users_online", "{\"users\":[\"" + name + "\"]}");
  };
  CHECK(user("a\xff"
             "b") == becomes("a\xef\xbf\xbd"
                             "b"));
  CHECK(user("\xed\xa0\x80") == becomes("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"));  // a surrogate
  CHECK(user("\xc0\xaf") == becomes("\xef\xbf\xbd\xef\xbf\xbd"));                  // longer than needed
  CHECK(user("12345678\xf0\x9f\x98") == becomes("12345678\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"));
  CHECK(user("\xf4\x8f\xbf\xbf") == becomes("\xf4\x8f\xbf\xbf"));
}

TEST_CASE("its clients are pinged, and told no heartbeat", "[json][encode]") {
  std::string out = "kept";
  CHECK(JsonProtocol().heartbeat() == HeartbeatStyle::ping);
  CHECK_FALSE(JsonProtocol().encode(event::Heartbeat{}, nullptr, WallTime(), out));
  CHECK(out == "kept");
}

TEST_CASE("RapidJSON reads everything that is written, and finds what was put in", "[json][encode]") {
  for (const std::string& name :
       {std::string("ann"), std::string("\"\\\n\x01 \xc3\xa9\xf0\x9f\x98\x80"), std::string(5000, '\\')}) {
    const EventSamples samples(name);
    for (const Event& event : samples.events()) {
      if (event.get_if<event::Heartbeat>() != nullptr) continue;
      const std::string bytes = tell(event);
      rapidjson::Document document;
      document.Parse<rapidjson::kParseValidateEncodingFlag>(bytes.data(), bytes.size());
      REQUIRE_FALSE(document.HasParseError());
      REQUIRE(document.IsObject());
      CHECK(document.MemberCount() == 3);
      CHECK(document["type"].IsString());
      CHECK(document["timestamp"].GetInt64() == 1700000000000);
      REQUIRE(document["payload"].IsObject());
      // Neither == nor iterators here: as C++20, those of RapidJSON 1.1 are ambiguous, or call themselves.
      const rapidjson::Value& payload = document["payload"];
      for (const char* member : {"room", "user", "user_id", "reason"}) {
        if (!payload.HasMember(member) || payload[member].GetStringLength() == 0) continue;
        const std::string_view value(payload[member].GetString(), payload[member].GetStringLength());
        if (value != name) FAIL(member);
      }
    }
  }
}
