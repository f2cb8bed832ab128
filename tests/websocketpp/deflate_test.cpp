// permessage-deflate: what is agreed, what is compressed, and what a hostile peer cannot make of it.
#include "muster/transports/websocketpp/deflate.ipp"

#include <cstdio>

#include "contract/wire_format_contract.hpp"
#include "websocketpp/deflating.hpp"
#include "websocketpp/fixture.hpp"

using namespace muster;
using muster::websocketpp::detail::DeflateFormat;
using muster::websocketpp::detail::Inflater;
using muster::websocketpp::detail::Window;
using test::Compressor;
using test::deflated;
using test::Fixture;
using test::inflated;
using test::masked_frame;
using test::RawClient;

namespace {

constexpr std::uint8_t text_compressed = 0xc1;
constexpr std::uint8_t binary_compressed = 0xc2;
const std::string offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const std::string agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

muster::websocketpp::ListenerOptions on(int client_window_bits = 0) {
  muster::websocketpp::ListenerOptions options;
  options.deflate = true;
  options.deflate_client_window_bits = client_window_bits;
  return options;
}

std::string words(std::size_t size) {
  std::string text;
  for (int i = 0; text.size() < size; ++i)
    text += "{\"cursor\":{\"x\":" + std::to_string(i * 7 % 1000) + ",\"y\":" + std::to_string(i) + "}},";
  return text.substr(0, size);
}

/// As a frame's payload reaches the inflater.
std::string tailed(std::string_view payload) { return std::string(payload).append(test::deflate_tail); }

std::string noise(std::size_t size) {
  std::string bytes;
  for (std::uint32_t x = 7; bytes.size() < size;)
    bytes.push_back(static_cast<char>((x = x * 1664525U + 1013904223U) >> 24U));
  return bytes;
}

}  // namespace

TEST_CASE("DeflateFormat is a wire format", "[contract][wire_format][deflate]") {
  const int bits = GENERATE(9, 12, 15);
  test::wire_format_contract([&] { return std::make_shared<DeflateFormat>(bits, 256); },
                             [&](const test::WireFrame& frame) {
                               return (frame.first & 0x40U) != 0 ? inflated(frame.payload, bits) : frame.payload;
                             });
}

TEST_CASE("WebSocketFormat is a wire format", "[contract][wire_format]") {
  test::wire_format_contract([] { return std::make_shared<WebSocketFormat>(); },
                             [](const test::WireFrame& frame) {
                               CHECK((frame.first & 0x40U) == 0);
                               return frame.payload;
                             });
}

TEST_CASE("formats that may write other bytes have other keys", "[deflate]") {
  CHECK(DeflateFormat(15, 256).key() != DeflateFormat(14, 256).key());
  CHECK(DeflateFormat(15, 256).key() != DeflateFormat(15, 257).key());
  CHECK(DeflateFormat(9, 0).key() != WebSocketFormat().key());
}

TEST_CASE("only what becomes smaller is compressed", "[deflate]") {
  const DeflateFormat format(15, 256);
  const auto first_byte = [&format](FrameKind kind, const std::string& payload) {
    std::string bytes;
    format.append(kind, payload, bytes);
    return static_cast<unsigned char>(bytes[0]);
  };
  CHECK(first_byte(FrameKind::text, words(255)) == 0x81);
  CHECK(first_byte(FrameKind::text, words(256)) == 0xc1);
  CHECK(first_byte(FrameKind::binary, words(5000)) == 0xc2);
  CHECK(first_byte(FrameKind::binary, noise(5000)) == 0x82);
}

TEST_CASE("a bomb is inflated to the limit and one byte", "[deflate]") {
  const std::string bomb = tailed(deflated(std::string(64U << 20U, '\0')));
  Inflater inflater;
  CHECK(inflater.inflate(bomb, 65'536).result == Inflater::Result::too_big);
  // And the next message finds nothing of it.
  const auto next = inflater.inflate(tailed(deflated("fine")), 65'536);
  CHECK(next.result == Inflater::Result::done);
  CHECK(next.message == "fine");
}

TEST_CASE("a message of every size is inflated, those that fill the buffer just so too", "[deflate]") {
  Inflater inflater;
  const std::string text = words(129 * 1024);
  const std::string random = noise(129 * 1024);
  const auto comes_back = [&inflater](std::string_view message, std::size_t limit) {
    const auto [result, inflated] = inflater.inflate(tailed(deflated(std::string(message))), limit);
    return result == Inflater::Result::done && inflated == message;
  };
  std::string wrong;
  std::vector<std::size_t> sizes;
  for (std::size_t size = 0; size <= 128 * 1024; size += 97) sizes.push_back(size);
  for (std::size_t full = 1024; full <= 128 * 1024; full += 1024) sizes.insert(sizes.end(), {full - 1, full, full + 1});
  for (const std::size_t size : sizes) {
    const std::string_view message(size % 2 == 0 ? text : random);
    if (!comes_back(message.substr(0, size), 129 * 1024)) wrong += std::to_string(size) + " ";
    if (!comes_back(message.substr(0, size), size)) wrong += std::to_string(size) + " (as its limit) ";
  }
  CHECK(wrong.empty());
}

TEST_CASE("what ends within a block is damaged, whatever has come of it", "[deflate]") {
  Inflater inflater;
  for (const std::size_t size : {100U, 16U * 1024U, 32U * 1024U}) {
    const std::string whole = deflated(words(size));
    for (const std::size_t cut : {std::size_t{1}, whole.size() / 2}) {
      CHECK(inflater.inflate(tailed(std::string_view(whole).substr(0, whole.size() - cut)), 65'536).result ==
            Inflater::Result::damaged);
      // And the next message finds nothing of it.
      const auto next = inflater.inflate(tailed(deflated("fine")), 65'536);
      CHECK(next.result == Inflater::Result::done);
      CHECK(next.message == "fine");
    }
  }
}

TEST_CASE("a client's context is inflated from its window alone, which holds no more than it may", "[deflate]") {
  const int bits = GENERATE(9, 12, 15);
  const std::size_t limit = std::size_t{1} << static_cast<unsigned>(bits);
  Compressor compressor(bits);
  Inflater inflater;
  Window window(bits);
  const std::string text = words(200'000);
  const std::string random = noise(200'000);
  std::size_t sum = 0;
  std::size_t refers_back = 0;
  for (std::size_t i = 0; i < 400; ++i) {
    const std::size_t size = i * i * 37 % (i % 10 == 9 ? 100'000 : 3000);
    const std::string message = (i % 3 == 0 ? random : text).substr(i * 101 % 50'000, size);
    const std::string bytes = tailed(compressor.message(message, i % 17 == 16));
    const auto [result, inflated] = inflater.inflate(bytes, 200'000, window.view());
    REQUIRE(result == Inflater::Result::done);
    REQUIRE(inflated == message);
    window.append(inflated);
    sum += size;
    CHECK(window.view().size() == std::min(sum, limit));
    CHECK(window.capacity() <= limit);
    refers_back += Inflater().inflate(bytes, 200'000).result == Inflater::Result::beyond_window ? 1 : 0;
  }
  CHECK(refers_back > 100);
}

TEST_CASE("blocks without contents cost no more than their bytes", "[deflate]") {
  // Each of these two bytes is a stream of its own, which ends at once (RFC 1951, 3.2.6).
  std::string ends;
  while (ends.size() < 65'536) ends.append("\x03\x00", 2);
  ends.push_back('\0');  // the header of the block that the tail is
  std::string blocks;
  while (blocks.size() < 65'535) blocks.append("\x00\x00\x00\xff\xff", 5);
  blocks.push_back('\0');
  Inflater inflater;
  const auto seconds = [&inflater](const std::string& bytes) {
    double best = 1e9;
    for (int i = 0; i < 5; ++i) {
      const auto start = std::chrono::steady_clock::now();
      CHECK(inflater.inflate(tailed(bytes), 65'536).result == Inflater::Result::done);
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
  };
  // Against text. With a buffer that is cleared for each block they took hundreds of times as long.
  const std::string text = deflated(words(65'536));
  const double byte = seconds(text) / static_cast<double>(text.size());
  CHECK(seconds(ends) < 30 * byte * static_cast<double>(ends.size()));
  CHECK(seconds(blocks) < 30 * byte * static_cast<double>(blocks.size()));
}

TEST_CASE("offers are taken or declined as RFC 7692 says", "[websocketpp][deflate]") {
  struct Case {
    const char* offer;
    std::string answer;
  };
  const Case cases[] = {
      {"permessage-deflate", agreed},
      {"permessage-deflate; client_max_window_bits", agreed},
      {"Permessage-Deflate ; client_max_window_bits=8;server_no_context_takeover", agreed},
      {"permessage-deflate; client_no_context_takeover; server_max_window_bits=10",
       agreed + "; server_max_window_bits=10"},
      {"permessage-deflate; server_max_window_bits=\"15\"", agreed + "; server_max_window_bits=15"},
      {"x-webkit-deflate-frame, permessage-deflate", agreed},
      {"permessage-deflate; server_max_window_bits=8, permessage-deflate", agreed},
      {"permessage-deflate; mystery, permessage-deflate; server_max_window_bits=9",
       agreed + "; server_max_window_bits=9"},
      {"permessage-deflate\r\nSec-WebSocket-Extensions: permessage-bzip2", agreed},
      {"", ""},
      {"permessage-bzip2", ""},
      {"permessage-deflate; mystery", ""},
      {"permessage-deflate; server_max_window_bits", ""},
      {"permessage-deflate; server_max_window_bits=8", ""},
      {"permessage-deflate; server_max_window_bits=7", ""},
      {"permessage-deflate; server_max_window_bits=16", ""},
      {"permessage-deflate; server_max_window_bits=09", ""},
      {"permessage-deflate; server_max_window_bits=+9", ""},
      {"permessage-deflate; client_max_window_bits=", ""},
      {"permessage-deflate; client_max_window_bits=100", ""},
      {"permessage-deflate; client_max_window_bits=10; client_max_window_bits=10", ""},
      {"permessage-deflate; server_no_context_takeover=1", ""},
      {"permessage-deflate; server_no_context_takeover; server_no_context_takeover", ""},
      {"permessage-deflate; =; ;,,;", ""},
  };
  Fixture f({}, on());
  for (const Case& c : cases) {
    INFO(c.offer);
    (void)f.open("Sec-WebSocket-Extensions: " + std::string(c.offer) + "\r\n");
    CHECK(f.header("Sec-WebSocket-Extensions") == c.answer);
    CHECK((f.request(f.manager->count() - 1).wire_format != nullptr) == !c.answer.empty());
  }
}

TEST_CASE("an offer is taken with as much of the client's context as the listener bears", "[websocketpp][deflate]") {
  struct Case {
    int bits;
    const char* offer;
    std::string answer;
  };
  const std::string keeps = "permessage-deflate; server_no_context_takeover";
  const Case cases[] = {
      {15, "permessage-deflate", keeps},
      {15, "permessage-deflate; client_max_window_bits", keeps},
      {15, "permessage-deflate; client_max_window_bits=10", keeps},
      {15, "permessage-deflate; client_no_context_takeover; client_max_window_bits", agreed},
      {15, "permessage-deflate; server_max_window_bits=9", keeps + "; server_max_window_bits=9"},
      {10, "permessage-deflate; client_max_window_bits", keeps + "; client_max_window_bits=10"},
      {10, "permessage-deflate; client_max_window_bits=15; server_max_window_bits=12",
       keeps + "; client_max_window_bits=10; server_max_window_bits=12"},
      {10, "permessage-deflate; client_max_window_bits=10", keeps},
      {10, "permessage-deflate; client_max_window_bits=8", keeps},
      {10, "permessage-deflate; client_no_context_takeover", agreed},
      {10, "permessage-deflate", ""},
      {10, "permessage-deflate, permessage-deflate; client_no_context_takeover", agreed},
  };
  for (const Case& c : cases) {
    INFO(c.bits << ": " << c.offer);
    Fixture f({}, on(c.bits));
    (void)f.open("Sec-WebSocket-Extensions: " + std::string(c.offer) + "\r\n");
    CHECK(f.header("Sec-WebSocket-Extensions") == c.answer);
  }
  for (const int bits : {-1, 1, 8, 16}) {
    Fixture f({}, on(bits));
    CHECK_THROWS_AS(f.listen(), std::invalid_argument);
  }
}

TEST_CASE("clients that keep their context are understood, each by itself", "[websocketpp][deflate]") {
  const int bits = GENERATE(10, 15);
  Fixture f({}, on(bits));
  const std::string offers = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
  RawClient* const clients[] = {&f.open(offers), &f.open(offers)};
  Compressor compressors[] = {Compressor(bits), Compressor(bits)};
  std::vector<std::string> said[2];
  for (std::size_t i = 0; i < 30; ++i) {
    const std::size_t who = i % 2;
    const std::string message = noise(3000).substr(i / 2 * 10 + who * 1000, 900);
    said[who].push_back(message);
    clients[who]->send(masked_frame(binary_compressed, compressors[who].message(message)));
    said[who].push_back(message);
    clients[who]->send(test::binary_frame(message));  // which is no part of the context
  }
  REQUIRE(f.until([&] { return f.manager->messages(0) + f.manager->messages(1) == 60; }));
  for (const std::size_t who : {0U, 1U}) {
    for (std::size_t i = 0; i < 30; ++i) CHECK(f.manager->message(i, who) == said[who][i]);
  }
}

TEST_CASE("who keeps more context than was agreed is told so", "[websocketpp][deflate]") {
  const auto told = [](int bits, const std::string& its_bits = "") {
    Fixture f({}, on(bits));
    RawClient& client =
        f.open("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits" + its_bits + "\r\n");
    Compressor compressor;
    for (const std::string& message : {noise(900), noise(5000).substr(900), noise(900)}) {
      client.send(masked_frame(binary_compressed, compressor.message(message)));
    }
    const auto frame = f.frame(client);
    REQUIRE(frame);
    CHECK(frame->code() == 1002);
    CHECK(f.manager->messages() == 2);
    return frame->payload.substr(2);
  };
  CHECK(told(0) ==
        "client_no_context_takeover was agreed, yet a compressed message refers to an earlier one: "
        "keep to it, or do not compress");
  const std::string too_far = "A compressed message refers further back than the window that was agreed";
  CHECK(told(10) == too_far);
  CHECK(told(15, "=10") == too_far);  // by its own word, of which no more is held
}

TEST_CASE("nothing is agreed unless the listener says so", "[websocketpp][deflate]") {
  Fixture f;
  RawClient& client = f.open(offer);
  CHECK(f.header("Sec-WebSocket-Extensions").empty());
  CHECK(f.request().wire_format == nullptr);
  client.send(masked_frame(text_compressed, deflated("hello")));
  CHECK(f.frame(client)->code() == 1002);
}

TEST_CASE("connections that agreed to the same share one format", "[websocketpp][deflate]") {
  Fixture f({}, on());
  (void)f.open(offer);
  (void)f.open(offer);
  (void)f.open("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n");
  CHECK(f.request(0).wire_format == f.request(1).wire_format);
  CHECK(f.request(0).wire_format->key() != f.request(2).wire_format->key());
}

TEST_CASE("compressed messages come through, whole, cut and in fragments", "[websocketpp][deflate]") {
  Fixture f({}, on());
  RawClient& client = f.open(offer);
  const std::string text = words(5000);
  const std::string bytes = deflated(text);
  client.send(masked_frame(text_compressed, bytes));
  client.send(masked_frame(0x41, bytes.substr(0, 1)) + masked_frame(0x89, "ping") +
              masked_frame(0x00, bytes.substr(1, 300)) + masked_frame(0x00, "") +
              masked_frame(0x80, bytes.substr(301)));
  for (const char byte : masked_frame(binary_compressed, deflated(noise(700)))) client.send({&byte, 1});
  client.send(masked_frame(text_compressed, deflated("")));
  client.send(masked_frame(text_compressed, deflated("the last block", true)));
  client.send(masked_frame(text_compressed, deflated("caf\xc3\xa9", false, 0)));
  client.send(test::text_frame("plain") + masked_frame(0x01, "pl") + masked_frame(0x80, "ain"));
  REQUIRE(f.until([&] { return f.manager->messages() == 9; }));
  const std::vector<std::string> expected{text,          "ping",  text,   noise(700), "", "the last block",
                                          "caf\xc3\xa9", "plain", "plain"};
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(f.manager->message(i) == expected[i]);
  CHECK(f.manager->with([](auto& seen) { return seen[0]->messages[0].kind; }) == FrameKind::text);
  CHECK(f.manager->with([](auto& seen) { return seen[0]->messages[3].kind; }) == FrameKind::binary);
}

TEST_CASE("messages of two connections that interleave do not mix", "[websocketpp][deflate]") {
  Fixture f({}, on());
  RawClient& one = f.open(offer);
  RawClient& two = f.open(offer);
  const std::string a = deflated(words(3000));
  const std::string b = deflated(noise(3000));
  one.send(masked_frame(0x41, a.substr(0, 200)));
  two.send(masked_frame(0x42, b.substr(0, 200)));
  f.settle();
  one.send(masked_frame(0x80, a.substr(200)));
  two.send(masked_frame(0x80, b.substr(200)));
  REQUIRE(f.until([&] { return f.manager->messages(0) == 1 && f.manager->messages(1) == 1; }));
  CHECK(f.manager->message(0, 0) == words(3000));
  CHECK(f.manager->message(0, 1) == noise(3000));
}

TEST_CASE("the limit is that of the message, not of what travels", "[websocketpp][deflate]") {
  Options options;
  options.max_message_bytes = 10'000;
  Fixture f(options, on());
  RawClient& client = f.open(offer);
  client.send(masked_frame(text_compressed, deflated(words(10'000))));
  client.send(masked_frame(binary_compressed, deflated(noise(10'000), false, 0)));  // larger than its text
  client.send(test::text_frame(words(10'000)));
  CHECK(f.until([&] { return f.manager->messages() == 3; }));
  client.send(test::text_frame(words(10'001)));
  CHECK(f.frame(client)->code() == 1009);
}

TEST_CASE("what breaks the extension is closed with the reason's code", "[websocketpp][deflate]") {
  struct Case {
    const char* what;
    std::string bytes;
    CloseReason reason;
  };
  const std::string good = deflated(words(500));
  const Case cases[] = {
      {"a bomb", masked_frame(binary_compressed, deflated(std::string(8U << 20U, 'x'))), CloseReason::message_too_big},
      {"a bomb in fragments",
       masked_frame(0x41, deflated(std::string(100'000, 'x')).substr(0, 20)) +
           masked_frame(0x80, deflated(std::string(100'000, 'x')).substr(20)),
       CloseReason::message_too_big},
      {"one byte too much", masked_frame(text_compressed, deflated(std::string(65'537, 'x'))),
       CloseReason::message_too_big},
      {"too big as it travels", masked_frame(text_compressed, std::string(70'000, 'x')), CloseReason::message_too_big},
      {"too big as it travels, in fragments", masked_frame(0x41, noise(60'000)) + masked_frame(0x80, noise(60'000)),
       CloseReason::message_too_big},
      {"not UTF-8 inside", masked_frame(text_compressed, deflated("\xff\xfe")), CloseReason::invalid_utf8},
      {"cut UTF-8 inside", masked_frame(text_compressed, deflated("abc\xe2\x82")), CloseReason::invalid_utf8},
      {"not deflated", masked_frame(text_compressed, "hello, world"), CloseReason::protocol_error},
      {"cut off", masked_frame(text_compressed, good.substr(0, good.size() - 3)), CloseReason::protocol_error},
      {"nothing at all", masked_frame(text_compressed, ""), CloseReason::protocol_error},
      {"a reference beyond the beginning", masked_frame(text_compressed, std::string("\x4a\x04\x80\x01\x00", 5)),
       CloseReason::protocol_error},
      {"RSV1 on a continuation", masked_frame(0x41, good.substr(0, 9)) + masked_frame(0xc0, good.substr(9)),
       CloseReason::protocol_error},
      {"RSV1 on the continuation of a plain message", masked_frame(0x01, "a") + masked_frame(0xc0, "b"),
       CloseReason::protocol_error},
      {"RSV1 on a ping", masked_frame(0xc9, "x"), CloseReason::protocol_error},
      {"RSV1 on a close", masked_frame(0xc8, "\x03\xe8"), CloseReason::protocol_error},
      {"RSV2", masked_frame(0xe1, good), CloseReason::protocol_error},
  };
  for (const Case& c : cases) {
    INFO(c.what);
    Fixture f({}, on());
    RawClient& client = f.open(offer);
    client.send(test::text_frame("before") + c.bytes + test::text_frame("after"));
    const auto frame = f.frame(client);
    REQUIRE(frame);
    CHECK(frame->first == 0x88);
    CHECK(frame->code() == describe(c.reason).code);
    CHECK(f.manager->failures() == std::vector<CloseReason>{c.reason});
    CHECK(f.manager->messages() == 1);
    client.send(test::close_frame(frame->code()));
    CHECK(f.until([&] { return client.ended(); }));
    client.cut();  // the server lingers until then
    CHECK(f.until([&] { return f.manager->closings() == std::vector<CloseReason>{c.reason}; }));
    CHECK(f.manager->reserved() == 0);
  }
}
