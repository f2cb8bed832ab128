// What JsonProtocol reads: each sentence of muster.v1.json that concerns what clients send.
#include "unit/json_protocol_fixture.hpp"

using namespace muster;
using namespace muster::test;

TEST_CASE("each command is read with its members", "[json][decode]") {
  CHECK(read_as<command::Authenticate>(R"({"type":"authenticate","payload":{"token":"s3cret"}})").token == "s3cret");
  CHECK(read_as<command::Join>(R"({"type":"join","payload":{"room":"canvas:1"}})").room == "canvas:1");
  CHECK(read_as<command::Leave>(R"({"type":"leave","payload":{"room":"canvas:1"}})").room == "canvas:1");
  CHECK(read_as<command::AwarenessQuery>(R"({"type":"awareness_query","payload":{"room":"r"}})").room == "r");
  CHECK(read_as<command::AcknowledgeQueue>(R"({"type":"ack","payload":{"queue_id":18446744073709551615}})").queue_id ==
        18446744073709551615U);
  (void)read_as<command::ListSubscriptions>(R"({"type":"list_subscriptions"})");
  (void)read_as<command::SessionInfo>(R"({"type":"session_info","payload":{}})");

  const auto send = read_as<command::Send>(R"({"type":"send","payload":{"user":"bob","data":[1],"queued":true}})");
  CHECK(send.user == "bob");
  CHECK(send.data.view() == "[1]");
  CHECK(send.queued);
  CHECK_FALSE(read_as<command::Send>(R"({"type":"send","payload":{"user":"bob","data":1}})").queued);
}

TEST_CASE("a publish has defaults for all but room and data", "[json][decode]") {
  const auto plain = read_as<command::Publish>(R"({"type":"publish","payload":{"room":"r","data":{"x":1}}})");
  CHECK(plain.room == "r");
  CHECK(plain.data.view() == R"({"x":1})");
  CHECK(plain.data.kind() == PayloadKind::json);
  CHECK_FALSE(plain.echo);
  CHECK(plain.idempotency_key.empty());
  CHECK(plain.delivery.kind() == Delivery::Kind::reliable);

  const auto full = read_as<command::Publish>(
      R"({"type":"publish","payload":{"echo":true,"delivery":{"latest":"cursor"},"data":0,"idempotency_key":"k","room":"r"}})");
  CHECK(full.echo);
  CHECK(full.idempotency_key == "k");
  CHECK(full.delivery.kind() == Delivery::Kind::latest);
  CHECK(full.delivery.key() == "cursor");
  CHECK(read_as<command::Publish>(R"({"type":"publish","payload":{"room":"r","data":0,"delivery":"reliable"}})")
            .delivery.kind() == Delivery::Kind::reliable);
}

TEST_CASE("an awareness update sets an object or removes with null", "[json][decode]") {
  const auto set = read_as<command::AwarenessSet>(
      R"({"type":"awareness_update","payload":{"room":"r","state":{ "x" : 1.0 },"clock":9007199254740991,"client":"c"}})");
  CHECK(set.room == "r");
  CHECK(set.client == "c");
  CHECK(set.clock == 9007199254740991U);
  REQUIRE(set.state.has_value());
  CHECK(set.state->view() == R"({ "x" : 1.0 })");
  const auto removed =
      read_as<command::AwarenessSet>(R"({"type":"awareness_update","payload":{"room":"r","state":null,"clock":0}})");
  CHECK_FALSE(removed.state.has_value());
  CHECK(removed.client.empty());
}

TEST_CASE("a presence query asks by users or by room", "[json][decode]") {
  const auto by_users =
      read_as<command::PresenceQuery>(R"({"type":"presence_query","payload":{"users":["ann","b\u006fb",""]}})");
  CHECK(by_users.users == std::vector<std::string>{"ann", "bob", ""});
  CHECK(read_as<command::PresenceQuery>(R"({"type":"presence_query","payload":{"users":[]}})").users.empty());
  const auto by_room = read_as<command::PresenceQuery>(R"({"type":"presence_query","payload":{"room":"r"}})");
  CHECK(by_room.room == "r");
  CHECK(by_room.limit == 0);
}

TEST_CASE("a presence query reads a room's members in pages", "[json][decode]") {
  const auto first = read_as<command::PresenceQuery>(R"({"type":"presence_query","payload":{"room":"r","limit":7}})");
  CHECK(first.limit == 7);
  CHECK_FALSE(first.after);
  const auto next =
      read_as<command::PresenceQuery>(R"({"type":"presence_query","payload":{"room":"r","after":"00000000000000a1"}})");
  CHECK(next.limit > 1000);
  CHECK(next.after == ConnectionId(0xa1));
  const auto refused =
      GENERATE(R"({"room":"r","after":"ann"})", R"({"room":"r","after":7})", R"({"room":"r","limit":-1})",
               R"({"users":["ann"],"limit":1})", R"({"users":["ann"],"after":"00000000000000a1"})");
  INFO(refused);
  CHECK(problem(std::string(R"({"type":"presence_query","payload":)") + refused + "}") != "");
}

TEST_CASE("a resume names rooms with epoch and seq", "[json][decode]") {
  const auto resume = read_as<command::Resume>(
      R"({"type":"resume","payload":{"token":"t","auth":"a","rooms":{"r":{"epoch":5,"seq":7},"\u0073":{"seq":0,"epoch":9007199254740991,"new":[{}]}}}})");
  CHECK(resume.token == "t");
  CHECK(resume.auth == "a");
  REQUIRE(resume.rooms.size() == 2);
  CHECK(resume.rooms[0].room == "r");
  CHECK(resume.rooms[0].position == Position{5, 7});
  CHECK(resume.rooms[1].room == "s");
  CHECK(resume.rooms[1].position == Position{9007199254740991U, 0});
  CHECK(read_as<command::Resume>(R"({"type":"resume","payload":{"token":"t","rooms":{}}})").rooms.empty());
}

TEST_CASE("subscribe and unsubscribe are join and leave in other words", "[json][decode]") {
  const Command subscribe = read(R"({"type":"subscribe","payload":{"topic":"t"}})");
  REQUIRE(std::holds_alternative<command::Join>(subscribe.body));
  CHECK(std::get<command::Join>(subscribe.body).room == "t");
  const Command unsubscribe = read(R"({"type":"unsubscribe","payload":{"topic":"t"}})");
  REQUIRE(std::holds_alternative<command::Leave>(unsubscribe.body));
  CHECK(std::get<command::Leave>(unsubscribe.body).room == "t");
  CHECK(problem(R"({"type":"subscribe","payload":{"room":"r"}})") == "subscribe: 'topic' is missing");
}

TEST_CASE("application data is taken byte for byte", "[json][decode]") {
  const std::string exact =
      R"({"a" : 1.0e3,  "b":[ 1, -0.0 ,"\u00e9\/" ,"é😀",1e400,123456789012345678901234567890] ,"a":null })";
  CHECK(read_as<command::Publish>(R"({"type":"publish","payload":{"data":  )" + exact + R"(  ,"room":"r"}})")
            .data.view() == exact);
  CHECK(read_as<command::Send>(R"({"type":"send","payload":{"user":"u","data":)" + exact + "}}").data.view() == exact);
  CHECK(read_as<command::AwarenessSet>(R"({"type":"awareness_update","payload":{"room":"r","clock":1,"state":)" +
                                       exact + "}}")
            .state->view() == exact);
  CHECK(read_as<command::Ping>(R"({"type":"ping","payload":)" + exact + "}").payload.view() == exact);
  for (const char* value :
       {"null", "true", "false", "0", "-1.5E+2", "\"\"", "\"\\\"\\\\\"", "[]", "{}", "[[1],{\"a\":null}]"}) {
    const std::string message = std::string(R"({"type":"publish","payload":{"room":"r","data":)") + value + "}}";
    CHECK(read_as<command::Publish>(message).data.view() == value);
  }
}

TEST_CASE("types that are not built in reach the embedder with their payload as it stands", "[json][decode]") {
  const auto custom = read_as<command::Custom>(R"({"type":"cursor_move","payload":{ "x":1, "x":2.50 }})");
  CHECK(custom.type == "cursor_move");
  CHECK(custom.payload.view() == R"({ "x":1, "x":2.50 })");
  CHECK(custom.payload.kind() == PayloadKind::json);
  CHECK(read_as<command::Custom>(R"({"type":"cursor_move"})").payload.empty());
  CHECK(read_as<command::Custom>(R"({"type":"Publish"})").type == "Publish");
  CHECK(read_as<command::Custom>(R"({"type":""})").type.empty());
}

TEST_CASE("a built-in type that is switched off is like one that never was", "[json][decode]") {
  JsonProtocolOptions options;
  options.disabled_commands = {"publish", "join", "ping"};
  const JsonProtocol protocol(options);
  const Command publish = read(R"({"type":"publish","id":1,"payload":{"room":7}})", protocol);
  REQUIRE(std::holds_alternative<command::Custom>(publish.body));
  CHECK(std::get<command::Custom>(publish.body).type == "publish");
  CHECK(std::get<command::Custom>(publish.body).payload.view() == R"({"room":7})");
  CHECK_FALSE(read(R"({"type":"ping"})", protocol).correlation.reply);
  CHECK(std::holds_alternative<command::Leave>(read(R"({"type":"leave","payload":{"room":"r"}})", protocol).body));
  CHECK(std::holds_alternative<command::Join>(read(R"({"type":"subscribe","payload":{"topic":"r"}})", protocol).body));
}

TEST_CASE("the options choose name and path, and are checked", "[json]") {
  const JsonProtocol standard;
  CHECK(standard.name() == "muster.v1.json");
  CHECK(standard.path() == "/ws");
  const JsonProtocol other({"chat.v2", "/chat", {}});
  CHECK(other.name() == "chat.v2");
  CHECK(other.path() == "/chat");
  CHECK_THROWS_AS(JsonProtocol({"", "/ws", {}}), std::invalid_argument);
  CHECK_THROWS_AS(JsonProtocol({"n", "ws", {}}), std::invalid_argument);
  CHECK_THROWS_WITH(JsonProtocol({"n", "/ws", {"publsh"}}), Catch::Contains("publsh"));
}

TEST_CASE("a reply is owed to whoever gave an id, and to those who always wait for one", "[json][decode]") {
  const auto reply = [](std::string_view message) { return read(message).correlation.reply; };
  CHECK(reply(R"({"type":"authenticate","payload":{"token":"t"}})"));
  CHECK(reply(R"({"type":"resume","payload":{"token":"t","rooms":{}}})"));
  CHECK(reply(R"({"type":"join","payload":{"room":"r"}})"));
  CHECK(reply(R"({"type":"subscribe","payload":{"topic":"r"}})"));
  CHECK(reply(R"({"type":"ping"})"));
  CHECK(reply(R"({"type":"awareness_query","payload":{"room":"r"}})"));
  CHECK(reply(R"({"type":"presence_query","payload":{"room":"r"}})"));
  CHECK(reply(R"({"type":"list_subscriptions"})"));
  CHECK(reply(R"({"type":"session_info"})"));
  for (const char* type :
       {"leave\",\"payload\":{\"room\":\"r\"}", "unsubscribe\",\"payload\":{\"topic\":\"r\"}",
        "publish\",\"payload\":{\"room\":\"r\",\"data\":1}", "send\",\"payload\":{\"user\":\"u\",\"data\":1}",
        "awareness_update\",\"payload\":{\"room\":\"r\",\"state\":null,\"clock\":1}",
        "ack\",\"payload\":{\"queue_id\":1}", "custom\""}) {
    CHECK_FALSE(reply("{\"type\":\"" + std::string(type) + "}"));
    CHECK(reply("{\"id\":0,\"type\":\"" + std::string(type) + "}"));
  }
}

TEST_CASE("an id is an integer or a string of at most 128 bytes, kept as the same text", "[json][decode]") {
  const auto ping = [](const std::string& id) { return R"({"type":"ping","id":)" + id + "}"; };
  for (const std::string& id :
       {std::string("0"), std::string("-7"), std::string("-0"), std::string("12345678901234567890123"),
        std::string("\"\""), std::string("\"a b\""), std::string(R"("\u0041\n")"), std::string("\"é\""),
        "\"" + std::string(128, 'x') + "\"", std::string(128, '1')}) {
    CHECK(problem(ping(id)).empty());
    CHECK(id_of(ping(id)) == id);
  }
  // 128 bytes of what it says, not of how that is written.
  std::string escaped;
  for (int i = 0; i < 128; ++i) escaped += "\\u0041";
  CHECK(id_of(ping("\"" + escaped + "\"")) == "\"" + escaped + "\"");
  for (const std::string& id : {std::string("1.5"), std::string("1e3"), std::string("1E3"), std::string("1.0"),
                                std::string("null"), std::string("true"), std::string("[]"), std::string("{}"),
                                "\"" + std::string(129, 'x') + "\"", std::string(129, '1'), "\"" + escaped + "A\""}) {
    CHECK(problem(ping(id)) == "'id' must be an integer or a string of at most 128 bytes");
    CHECK(id_of(ping(id)).empty());
  }
}

TEST_CASE("what is wrong is said with the id, wherever that stands", "[json][decode]") {
  CHECK(id_of(R"({"id":7,"type":"join","payload":{}})") == "7");
  CHECK(id_of(R"({"type":"join","payload":{},"id":"a"})") == "\"a\"");
  CHECK(id_of(R"({"type":5,"id":7})") == "7");
  CHECK(id_of(R"({"id":7,"type":"join","payload":[]})") == "7");
  CHECK(id_of(R"({"id":7,"type":"join",)") == "7");
  CHECK(id_of(R"({"type":"join",,"id":7})").empty());
  CHECK(id_of(R"({"id":7,"id":7,"type":"ping"})").empty());
  std::string deep = R"({"type":"publish","payload":{"room":"r","data":)" + std::string(40, '[') + std::string(40, ']');
  deep += R"(},"id":7})";
  CHECK(problem(deep) == "The message is nested deeper than 32 levels");
  CHECK(id_of(deep) == "7");
}

TEST_CASE("a message is one object with a type, and a payload that is an object", "[json][decode]") {
  for (const char* message : {"[]", "1", "\"x\"", "null", "true", "[{\"type\":\"ping\"}]", " -1 "}) {
    CHECK(problem(message) == "The message must be a JSON object");
  }
  CHECK(problem("{}") == "'type' is missing");
  CHECK(problem(R"({"id":1})") == "'type' is missing");
  for (const char* type : {"1", "null", "[]", "{}", "true"}) {
    CHECK(problem(std::string("{\"type\":") + type + "}") == "'type' must be a string");
  }
  for (const char* payload : {"1", "null", "[]", "\"x\"", "false"}) {
    for (const char* type : {"ping", "join", "custom"}) {
      CHECK(problem(std::string("{\"type\":\"") + type + "\",\"payload\":" + payload + "}") ==
            "'payload' must be an object");
    }
  }
  (void)read_as<command::Ping>(" \t\r\n{ \"type\" : \"ping\" , \"payload\" : { } }\n ");
}

TEST_CASE("unknown members are ignored, at the top and in payloads", "[json][decode]") {
  (void)read_as<command::Join>(
      R"({"v":2,"type":"join","trace":{"type":1,"id":[],"payload":3},"payload":{"room":"r","color":{"room":1},"x":[[]],"token":5}})");
  (void)read_as<command::Join>(
      R"({"type":"join","payload":{"room":"r","token":5,"token":6,"users":3,"rooms":[],"delivery":1}})");
}

TEST_CASE("duplicate members at the top are refused, known or not, however they are spelled", "[json][decode]") {
  CHECK(problem(R"({"type":"ping","type":"ping"})") == "'type' appears twice");
  CHECK(problem(R"({"type":"ping","\u0074ype":"ping"})") == "'type' appears twice");
  CHECK(problem(R"({"type":"ping","type":"ping","type":"ping"})") == "'type' appears twice");
  CHECK(problem(R"({"type":"ping","id":1,"id":1})") == "'id' appears twice");
  CHECK(problem(R"({"type":"ping","payload":{},"payload":{}})") == "'payload' appears twice");
  CHECK(problem(R"({"type":"ping","x":1,"y":2,"\u0078":3})") == "'x' appears twice");
  CHECK(problem(R"({"type":"ping","":1,"":2})") == "'' appears twice");
  (void)read_as<command::Ping>(R"({"type":"ping","x":1,"X":2,"x ":3})");
}

TEST_CASE("duplicates of members that are read are refused, of others not", "[json][decode]") {
  const auto twice = [](std::string_view type, std::string_view members) {
    return problem("{\"type\":\"" + std::string(type) + "\",\"payload\":{" + std::string(members) + "}}");
  };
  CHECK(twice("join", R"("room":"a","room":"a")") == "join: 'room' appears twice");
  CHECK(twice("join", R"("room":"a","\u0072oom":"b")") == "join: 'room' appears twice");
  CHECK(twice("publish", R"("room":"a","data":1,"data":2)") == "publish: 'data' appears twice");
  CHECK(twice("publish", R"("room":"a","data":1,"echo":true,"echo":true)") == "publish: 'echo' appears twice");
  CHECK(twice("publish", R"("room":"a","data":1,"delivery":"reliable","delivery":"reliable")") ==
        "publish: 'delivery' appears twice");
  CHECK(twice("publish", R"("room":"a","data":1,"delivery":{"latest":"a","latest":"b"})") ==
        R"(publish: 'delivery' must be "reliable" or {"latest": string})");
  CHECK(twice("awareness_update", R"("room":"a","state":null,"state":null,"clock":1)") ==
        "awareness_update: 'state' appears twice");
  CHECK(twice("awareness_update", R"("room":"a","state":null,"clock":1,"clock":1)") ==
        "awareness_update: 'clock' appears twice");
  CHECK(twice("presence_query", R"("users":[],"users":[])") == "presence_query: 'users' appears twice");
  CHECK(twice("resume", R"("token":"t","rooms":{"a":{"epoch":1,"seq":1},"\u0061":{"epoch":1,"seq":1}})") ==
        "resume: 'rooms' names a room twice");
  CHECK_FALSE(twice("resume", R"("token":"t","rooms":{"a":{"epoch":1,"seq":1,"seq":2}})").empty());
  (void)read_as<command::Publish>(
      R"({"type":"publish","payload":{"room":"r","user":1,"user":2,"data":{"a":1,"a":2}}})");
}

TEST_CASE("a missing or wrong member is named", "[json][decode]") {
  const auto with = [](std::string_view type, std::string_view members) {
    return problem("{\"type\":\"" + std::string(type) + "\",\"payload\":{" + std::string(members) + "}}");
  };
  CHECK(problem(R"({"type":"join"})") == "join: 'room' is missing");
  CHECK(with("join", R"("Room":"r")") == "join: 'room' is missing");
  CHECK(with("join", R"("room":7)") == "join: 'room' must be a string");
  CHECK(with("join", R"("room":null)") == "join: 'room' must be a string");
  CHECK(with("leave", "") == "leave: 'room' is missing");
  CHECK(with("unsubscribe", "") == "unsubscribe: 'topic' is missing");
  CHECK(with("awareness_query", R"("room":["r"])") == "awareness_query: 'room' must be a string");
  CHECK(with("authenticate", "") == "authenticate: 'token' is missing");
  CHECK(with("authenticate", R"("token":{})") == "authenticate: 'token' must be a string");
  CHECK(with("publish", R"("data":1)") == "publish: 'room' is missing");
  CHECK(with("publish", R"("room":"r")") == "publish: 'data' is missing");
  CHECK(with("publish", R"("room":"r","data":1,"echo":1)") == "publish: 'echo' must be true or false");
  CHECK(with("publish", R"("room":"r","data":1,"echo":"true")") == "publish: 'echo' must be true or false");
  CHECK(with("publish", R"("room":"r","data":1,"idempotency_key":5)") == "publish: 'idempotency_key' must be a string");
  CHECK(with("publish", R"("room":"r","data":1,"idempotency_key":")" + std::string(64, 'k') + "\"").empty());
  CHECK(with("publish", R"("room":"r","data":1,"idempotency_key":")" + std::string(65, 'k') + "\"") ==
        "publish: 'idempotency_key' must be a string of at most 64 bytes");
  for (const char* delivery : {"1", "null", "true", "[]", "\"latest\"", "\"queued\"", "{}", "{\"latest\":1}",
                               "{\"latest\":null}", "{\"latest\":{}}", "{\"newest\":\"k\"}"}) {
    CHECK(with("publish", R"("room":"r","data":1,"delivery":)" + std::string(delivery)) ==
          R"(publish: 'delivery' must be "reliable" or {"latest": string})");
  }
  CHECK(with("send", R"("data":1)") == "send: 'user' is missing");
  CHECK(with("send", R"("user":"u")") == "send: 'data' is missing");
  CHECK(with("send", R"("user":"u","data":1,"queued":0)") == "send: 'queued' must be true or false");
  CHECK(with("awareness_update", R"("state":{},"clock":1)") == "awareness_update: 'room' is missing");
  CHECK(with("awareness_update", R"("room":"r","clock":1)") == "awareness_update: 'state' is missing");
  CHECK(with("awareness_update", R"("room":"r","state":{})") == "awareness_update: 'clock' is missing");
  for (const char* state : {"1", "true", "\"x\"", "[]"}) {
    CHECK(with("awareness_update", R"("room":"r","clock":1,"state":)" + std::string(state)) ==
          "awareness_update: 'state' must be an object or null");
  }
  for (const char* clock : {"-1", "-0", "1.0", "1e2", "\"1\"", "null", "{}", "9007199254740992", "18446744073709551616",
                            "99999999999999999999999999"}) {
    CHECK(with("awareness_update", R"("room":"r","state":{},"clock":)" + std::string(clock)) ==
          "awareness_update: 'clock' must be an integer from 0 to 9007199254740991");
  }
  CHECK(with("awareness_update", R"("room":"r","state":{},"clock":1,"client":1)") ==
        "awareness_update: 'client' must be a string");
  CHECK(
      with("awareness_update", R"("room":"r","state":{},"clock":1,"client":")" + std::string(128, 'c') + "\"").empty());
  CHECK(with("awareness_update", R"("room":"r","state":{},"clock":1,"client":")" + std::string(129, 'c') + "\"") ==
        "awareness_update: 'client' must be a string of at most 128 bytes");
  CHECK(with("ack", "") == "ack: 'queue_id' is missing");
  CHECK(with("ack", R"("queue_id":"1")") == "ack: 'queue_id' must be an integer from 0 to 18446744073709551615");
  CHECK(with("presence_query", "") == "presence_query: 'users' or 'room' is missing");
  CHECK(with("presence_query", R"("users":[],"room":"r")") == "presence_query: 'users' and 'room' exclude each other");
  CHECK(with("presence_query", R"("room":"")") == "presence_query: 'room' must not be empty");
  for (const char* users : {"1", "{}", "\"ann\"", "[1]", "[\"a\",null]", "[[\"a\"]]", "[{}]"}) {
    CHECK(with("presence_query", R"("users":)" + std::string(users)) ==
          "presence_query: 'users' must be an array of strings");
  }
  CHECK(with("resume", R"("rooms":{})") == "resume: 'token' is missing");
  CHECK(with("resume", R"("token":"t")") == "resume: 'rooms' is missing");
  CHECK(with("resume", R"("token":"t","auth":1,"rooms":{})") == "resume: 'auth' must be a string");
  for (const char* rooms :
       {"1", "[]", "{\"r\":1}", "{\"r\":[]}", "{\"r\":{}}", "{\"r\":{\"epoch\":1}}", "{\"r\":{\"seq\":1}}"}) {
    CHECK(with("resume", R"("token":"t","rooms":)" + std::string(rooms)) ==
          R"(resume: 'rooms' must be an object of the form {room: {"epoch": n, "seq": n}})");
  }
  for (const char* seq : {"-1", "1.5", "\"1\"", "null", "[]", "{}", "18446744073709551616"}) {
    CHECK(with("resume", R"("token":"t","rooms":{"r":{"epoch":1,"seq":)" + std::string(seq) + "}}") ==
          "resume: 'seq' must be an integer from 0 to 18446744073709551615");
  }
}

TEST_CASE("nesting counts from the frame's outermost value", "[json][decode]") {
  const auto message = [](std::size_t levels) {  // the frame and its payload are two
    return R"({"type":"publish","payload":{"room":"r","data":)" + std::string(levels - 2, '[') +
           std::string(levels - 2, ']') + "}}";
  };
  CHECK(problem(message(32)).empty());
  CHECK(problem(message(33)) == "The message is nested deeper than 32 levels");
  CHECK(problem(message(5), {5}).empty());
  CHECK(problem(message(6), {5}) == "The message is nested deeper than 5 levels");
  CHECK(problem(message(5000), {5000}).empty());
  CHECK(problem(message(5001), {5000}) == "The message is nested deeper than 5000 levels");
  CHECK(problem(R"({"type":"ping","unknown":[[[]]]})", {3}) == "The message is nested deeper than 3 levels");
  CHECK(problem(R"({"type":"ping"})", {1}).empty());
  CHECK(problem(R"({"type":"ping","payload":{}})", {1}) == "The message is nested deeper than 1 levels");
}

TEST_CASE("member names and types are compared after unescaping", "[json][decode]") {
  const auto join = read_as<command::Join>(
      R"({"\u0074\u0079\u0070\u0065":"jo\u0069n","p\u0061yload":{"r\u006fom":"a\u0062\u00e9\ud83d\ude00\n\"\\\/"}})");
  CHECK(join.room == "ab\xc3\xa9\xf0\x9f\x98\x80\n\"\\/");
  CHECK(read_as<command::Join>(R"({"type":"join","payload":{"room":"a\u0000b"}})").room == std::string("a\0b", 3));
  const auto publish = read_as<command::Publish>(
      R"({"type":"publish","payload":{"r\u006fom":"\u0061","idempotency_key":"\u0062","delivery":{"\u006catest":"\u0063"},"d\u0061ta":"\u0064"}})");
  CHECK(publish.room == "a");
  CHECK(publish.idempotency_key == "b");
  CHECK(publish.delivery.key() == "c");
  CHECK(publish.data.view() == R"("\u0064")");
}

TEST_CASE("the default close codes are those of the table", "[json]") {
  const JsonProtocol protocol;
  CHECK(protocol.close_code(CloseReason::normal) == 1000);
  CHECK(protocol.close_code(CloseReason::unsupported_data) == 1003);
  CHECK(protocol.close_code(CloseReason::slow_consumer) == 4008);
  for (const CloseReasonEntry& entry : close_reasons) CHECK(protocol.close_code(entry.reason) == entry.code);
}
