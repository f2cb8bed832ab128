// What JsonProtocol makes of bytes that mean harm: every one answered, none believed, against a second opinion.
#include <random>
#include <set>

#include "unit/json_protocol_fixture.hpp"

using namespace muster;
using namespace muster::test;

namespace {

/// A publish of `data`.
std::string publish(std::string_view data) {
  return R"({"type":"publish","payload":{"room":"r","data":)" + std::string(data) + "}}";
}
/// A join of the room written as `room`.
std::string join(std::string_view room) { return R"({"type":"join","payload":{"room":")" + std::string(room) + "\"}}"; }

bool is_broken(std::string_view message) {
  return problem(message).rfind("The message is not valid JSON, at byte ", 0) == 0;
}

}  // namespace

TEST_CASE("a binary frame is no part of this protocol, nor is a control frame", "[json][hostile]") {
  const JsonProtocol protocol;
  std::vector<Command> commands;
  for (const FrameKind kind : {FrameKind::binary, FrameKind::ping, FrameKind::pong}) {
    CHECK(protocol.decode(kind, R"({"type":"ping"})", {}, commands) == CloseReason::unsupported_data);
  }
  CHECK(commands.empty());
}

TEST_CASE("what is not JSON is told with its place", "[json][hostile]") {
  for (const char* message : {"",
                              " ",
                              "{",
                              "}",
                              "{]",
                              "{\"type\"}",
                              "{\"type\":}",
                              "{\"type\":\"ping\"",
                              "{\"type\":\"ping\",}",
                              "{type:\"ping\"}",
                              "{'type':'ping'}",
                              "{\"type\":\"ping\"}}",
                              "{\"type\":\"ping\"} x",
                              "{\"type\":\"ping\"}{\"type\":\"ping\"}",
                              "{\"type\":\"ping\"},",
                              "// c\n{\"type\":\"ping\"}",
                              "\xef\xbb\xbf{\"type\":\"ping\"}",
                              "{\"type\":\"ping\",\"a\":NaN}",
                              "{\"type\":\"ping\",\"a\":Infinity}",
                              "{\"type\":\"ping\",\"a\":nul}",
                              "{\"type\":\"ping\",\"a\":True}",
                              "{\"type\":\"pi\nng\"}",
                              "{\"type\":\"pi\tng\"}",
                              "{\"type\":\"\\x70ing\"}",
                              "{\"type\":\"\\u12\"}",
                              "{\"type\":\"ping"}) {
    INFO(message);
    CHECK(is_broken(message));
  }
  CHECK(problem(R"({"type":"ping",})") ==
        "The message is not valid JSON, at byte 15: Missing a name for object member.");
}

TEST_CASE("a NUL is not the end of a message", "[json][hostile]") {
  CHECK(is_broken(std::string(R"({"type":"ping"})") + '\0'));
  CHECK(is_broken(std::string(R"({"type":"ping"})") + '\0' + "garbage"));
  CHECK(is_broken(std::string("\0{\"type\":\"ping\"}", 16)));
  CHECK(is_broken(std::string("{\"type\":\"pi\0ng\"}", 16)));
  CHECK(is_broken(publish(std::string("[1,\0 2]", 7))));
  CHECK(is_broken(publish(std::string("1\0", 2))));
}

TEST_CASE("numbers are checked by the grammar, and of any size", "[json][hostile]") {
  for (const char* number :
       {"0", "-0", "1", "-1", "10", "0.0", "0.5e-0", "1e5", "1E+5", "1e400", "-1e400", "1e-400",
        "1e99999999999999999999", "1e-99999999999999999999", "18446744073709551616", "1.7976931348623157e309"}) {
    INFO(number);
    CHECK(read_as<command::Publish>(publish(number)).data.view() == number);
    CHECK(read_as<command::Publish>(publish("[" + std::string(number) + "," + number + "]")).data.view().size() > 3);
  }
  for (const char* number : {"+1",      "-",    "--1",   "01",   "-01",   "00",    ".5",    "1.",    "1.e5",
                             "1e",      "1e+",  "1e-",   "1ee5", "1.5.3", "1e5e7", "1E5E7", "1E5e7", "1e5.3",
                             "1.5e3.2", "0x10", "1_000", "1,",   "1e-5.", "0e-5e", "1a",    "1-"}) {
    INFO(number);
    CHECK(is_broken(publish(number)));
    CHECK_FALSE(problem(number).empty());
    CHECK(is_broken(publish("[" + std::string(number) + "]")));
  }
  const std::string digits(1024 * 1024, '9');
  CHECK(read_as<command::Publish>(publish(digits)).data.view() == digits);
  CHECK(read_as<command::Publish>(publish("0." + digits + "e-" + digits)).data.view().size() == 2 * digits.size() + 4);
  CHECK_FALSE(problem(R"({"type":"ping","id":)" + digits + "}").empty());
  CHECK_FALSE(problem(R"({"type":"ack","payload":{"queue_id":)" + digits + "}}").empty());
}

TEST_CASE("half a surrogate pair is refused wherever it stands", "[json][hostile]") {
  for (const char* half : {R"(\ud800)", R"(\udc00)", R"(\ud83d)", R"(\ude00\ud83d)", R"(\ud83dx)", R"(\ud83d\u0041)",
                           R"(\ud83d\ud83d\ude00)", R"(x\udfffx)", R"(\uD83D\n)", R"(\udc00\udc00)"}) {
    INFO(half);
    const std::string quoted = "\"" + std::string(half) + "\"";
    CHECK(is_broken(join(half)));
    CHECK(is_broken(publish(quoted)));
    CHECK(is_broken(publish("[[" + quoted + "]]")));
    CHECK(is_broken(publish("{" + quoted + ":1}")));
    CHECK(is_broken("{\"type\":" + quoted + "}"));
    CHECK(is_broken("{\"type\":\"ping\"," + quoted + ":1}"));
    CHECK(is_broken("{\"type\":\"ping\",\"id\":" + quoted + "}"));
  }
  CHECK(read_as<command::Join>(join(R"(\ud83d\ude00)")).room == "\xf0\x9f\x98\x80");
  CHECK(read_as<command::Publish>(publish(R"("\uFFFF\ufeff")")).data.view() == R"("\uFFFF\ufeff")");
}

TEST_CASE("bytes that are not UTF-8 are refused wherever they stand", "[json][hostile]") {
  for (const char* bytes :
       {"\x80",         "\xbf",          "\xc0\x80",         "\xc0\xaf",         "\xc1\xbf",
        "\xc3",         "\xc3(",         "\xe0\x80\x80",     "\xe0\x9f\xbf",     "\xe2\x82",
        "\xe2(\xa1",    "\xed\xa0\x80",  "\xed\xbf\xbf",     "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf",
        "\xf0\x9f\x98", "\xf0(\x8c\xbc", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80",
        "\xfe",         "\xff"}) {
    // At every distance from the eight-byte steps, and with plain text behind.
    for (std::size_t before = 0; before < 10; ++before) {
      for (const char* after : {"", "x", "0123456789abcdef"}) {
        const std::string text = std::string(before, 'p') + bytes + after;
        CHECK(is_broken(join(text)));
        CHECK(is_broken(publish("\"" + text + "\"")));
        CHECK(is_broken(publish("{\"a\":[{\"" + text + "\":1}]}")));
      }
    }
  }
  for (const char* text : {"\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\x7f"}) {
    for (std::size_t before = 0; before < 10; ++before) {
      const std::string room = std::string(before, 'p') + text;
      CHECK(read_as<command::Join>(join(room)).room == room);
    }
  }
  CHECK(is_broken("{\"type\":\"ping\"}\xc3\xa9"));
}

TEST_CASE("control characters are refused in strings and around them", "[json][hostile]") {
  for (char c = 1; c < 0x20; ++c) {
    CHECK(is_broken(join(std::string("a") + c + "b")));
    CHECK(is_broken(publish(std::string("\"0123456") + c + "89\"")));
    const bool white_space = c == '\t' || c == '\n' || c == '\r';
    CHECK(is_broken(publish(std::string(1, c) + "1")) == !white_space);
  }
}

TEST_CASE("depth costs neither stack nor patience", "[json][hostile]") {
  constexpr std::size_t size = 1024 * 1024;
  CHECK(problem(std::string(size, '[')) == "The message must be a JSON object");
  std::string objects;
  while (objects.size() < size) objects += "{\"a\":";
  CHECK(problem(objects) == "The message is nested deeper than 32 levels");
  CHECK(problem(publish(std::string(size, '['))) == "The message is nested deeper than 32 levels");
  CHECK(problem(publish(std::string(size, '[') + std::string(size, ']'))) ==
        "The message is nested deeper than 32 levels");
  CHECK(problem(publish(std::string(size, '[')), {size + 2}).find("not valid JSON") != std::string::npos);
}

TEST_CASE("a message of a million members is answered", "[json][hostile]") {
  std::string many = R"({"type":"ping")";
  for (int i = 0; many.size() < 1024 * 1024; ++i) many += ",\"" + std::to_string(i) + "\":0";
  CHECK(problem(many + "}").empty());
  CHECK(problem(many + ",\"7\":0}") == "'7' appears twice");
  CHECK(problem("{\"type\":\"ping\",\"" + std::string(100000, 'x') + "\":1,\"" + std::string(100000, 'x') + "\":2}")
            .size() < 100);
  std::string rooms = R"({"type":"resume","payload":{"token":"t","rooms":{"0")";
  for (int i = 1; rooms.size() < 1024 * 1024; ++i) rooms += R"(:{"epoch":1,"seq":1},")" + std::to_string(i) + "\"";
  CHECK(read_as<command::Resume>(rooms + R"(:{"epoch":1,"seq":1}}}})").rooms.size() > 30000);
}

TEST_CASE("a message beyond what offsets can name is refused before it is read", "[json][hostile]") {
  const char byte = '{';
  CHECK(problem(std::string_view(&byte, 0x80000000U)) == "The message is too large");
}

TEST_CASE("nothing of a hostile message is left for the next one", "[json][hostile]") {
  const std::string good =
      R"({"type":"publish","id":"i","payload":{"room":"r\u006f","data":{"a":[1,"x"]},"delivery":{"latest":"k"}}})";
  const JsonProtocol used;
  std::vector<Command> commands;
  for (const std::string& hostile :
       {std::string("{\"type\":\"publish\",\"id\":7,\"payload\":{\"room\":\"a"), publish("[[["), publish("1}"),
        publish(std::string(1000, '[')), publish("\"\\ud800\""), publish("\"\xe2\x82"), join("\xf0\x9f"),
        join("\\ud83d"), std::string("{\"type\":\"ping\",\"type\":"), std::string(40, '['), std::string("\0", 1),
        std::string()}) {
    INFO(hostile);
    commands.clear();
    CHECK_FALSE(used.decode(FrameKind::text, hostile, {}, commands).has_value());
    REQUIRE(commands.size() == 1);
    CHECK(std::holds_alternative<command::Invalid>(commands[0].body));
    CHECK(used.decode(FrameKind::binary, hostile, {}, commands) == CloseReason::unsupported_data);
    const Command next = read(good, used);
    CHECK(next.correlation.id == R"("i")");
    REQUIRE(std::holds_alternative<command::Publish>(next.body));
    const auto& said = std::get<command::Publish>(next.body);
    const auto fresh = read_as<command::Publish>(good);
    CHECK(said.room == "ro");
    CHECK(said.data.view() == R"({"a":[1,"x"]})");
    CHECK(said.room == fresh.room);
    CHECK(said.data.view() == fresh.data.view());
    CHECK(said.delivery.kind() == fresh.delivery.kind());
    CHECK(said.delivery.key() == fresh.delivery.key());
    CHECK(said.echo == fresh.echo);
  }
}

TEST_CASE("20,000 changed messages are judged as a second reader judges them", "[json][hostile]") {
  const std::vector<std::string> good{
      R"({"type":"publish","id":12,"payload":{"room":"r","data":{"a":[1,-2.5e3,true,null],"b":"\u00e9\ud83d\ude00é😀"}}})",
      R"({"type":"publish","payload":{"delivery":{"latest":"k"},"data":[[[]],{"x":{"y":[0.5]}}],"room":"r","echo":false}})",
      R"({"id":"a\n","type":"awareness_update","payload":{"room":"r","state":{"x":1},"clock":3,"client":"c"}})",
      R"({"type":"resume","payload":{"token":"t","rooms":{"r":{"epoch":5,"seq":7},"s":{"seq":0,"epoch":1}}}})",
      R"({"type":"presence_query","payload":{"users":["ann","b\u006fb"]},"x":[1,2,{"z":0}]})"};
  const std::string_view pieces[] = {"{",         "}",
                                     "[",         "]",
                                     ",",         ":",
                                     "\"",        "\\",
                                     "\\u",       "\\ud800",
                                     "\\udc00",   "0",
                                     "-",         ".",
                                     "e",         "1e-",
                                     "null",      " ",
                                     "\n",        "\xc3",
                                     "\xa9",      "\xed\xa0\x80",
                                     "\xff",      "\x01",
                                     "\"type\":", "[[[[[[[[[[[[[[[[["};
  std::mt19937 random(7);
  const auto below = [&random](std::size_t bound) { return random() % bound; };
  std::size_t valid = 0;
  std::size_t deep = 0;
  std::set<std::size_t> bodies;
  for (int i = 0; i < 20000; ++i) {
    std::string message = good[below(good.size())];
    for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
      const std::size_t at = below(message.size() + 1);
      const std::size_t size = below(3);
      switch (below(5)) {
        case 0:
          message.erase(at, size);
          break;
        case 1:
          message.insert(at, pieces[below(std::size(pieces))]);
          break;
        case 2:
          message.replace(at, std::min(size, message.size() - at), pieces[below(std::size(pieces))]);
          break;
        case 3:
          message.insert(at, message.substr(below(message.size() + 1), below(20)));
          break;
        default:
          if (at < message.size()) message[at] = static_cast<char>(below(256));
      }
    }
    INFO("round " << i << ": " << message);
    Command command = read(message);
    bodies.insert(command.body.index());
    const std::string wrong = std::holds_alternative<command::Invalid>(command.body)
                                  ? std::get<command::Invalid>(command.body).error.message
                                  : std::string();
    JsonCheck check(message);
    const bool holds = check.holds();
    const bool object = is_json_object(message);
    if (holds && object && check.depth() <= 32) {
      ++valid;
      if (wrong.find("not valid JSON") != std::string::npos || wrong.find("nested") != std::string::npos) FAIL(wrong);
    } else if (wrong.empty()) {
      FAIL("accepted");
    }
    if (holds && check.depth() > 32) ++deep;
    if (!command.correlation.id.empty() && !is_json(command.correlation.id)) FAIL(command.correlation.id);
    if (const auto* publish = std::get_if<command::Publish>(&command.body)) {
      if (!is_json(publish->data.view())) FAIL(publish->data.view());
      if (message.find(publish->data.view()) == std::string::npos) FAIL(publish->data.view());
    }
    if (const auto* set = std::get_if<command::AwarenessSet>(&command.body)) {
      if (set->state && !is_json_object(set->state->view())) FAIL(set->state->view());
    }
    CHECK(read(message).correlation.id == command.correlation.id);
  }
  // The changes must have left something to disagree about.
  CHECK(valid > 1000);
  CHECK(bodies.size() >= 6);
}
