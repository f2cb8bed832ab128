// RFC 6455, kind by kind: frames of every length, pings, reserved bits and opcodes, fragments, UTF-8, closes, large messages.
#include "websocketpp/conformance.hpp"

#include <array>

using namespace muster;
using test::Case;
using test::EchoServer;
using test::fin;
using test::fragments;
using test::masked_frame;
using test::play;
using test::Seen;

namespace {

constexpr std::uint8_t opcodes[] = {1, 2};

std::string close_payload(std::uint16_t code, std::string_view text = {}) {
  return std::string{static_cast<char>(code >> 8U), static_cast<char>(code & 0xffU)}.append(text);
}
Seen message(unsigned opcode, std::string payload) { return {fin | opcode, std::move(payload)}; }
Seen text_message(std::string payload) { return message(1, std::move(payload)); }
Seen pong(std::string payload) { return message(10, std::move(payload)); }
std::string ping(std::string_view payload) { return masked_frame(0x89, payload); }

std::string filled(std::size_t size, bool text) {
  std::string bytes(size, '*');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(text ? ' ' + i * 31 % 95 : i * 131 % 256);
  return bytes;
}

/// As the network may hand it over: whole, and byte by byte.
void play_all(const std::vector<Case>& cases) {
  EchoServer server;
  for (const Case& one : cases) {
    play(server, one);
    if (one.sent.size() < 1000) play(server, one, 1);
  }
}

}  // namespace

TEST_CASE("a message of every length comes back as what it is", "[conformance]") {
  EchoServer server;
  for (const std::uint8_t opcode : opcodes) {
    for (const std::size_t size : {0U, 1U, 125U, 126U, 127U, 128U, 65'535U, 65'536U}) {
      const std::string payload = filled(size, opcode == 1);
      const Case one{"opcode " + std::to_string(opcode) + ", " + std::to_string(size) + " bytes",
                     masked_frame(fin | opcode, payload),
                     {message(opcode, payload)}};
      for (const std::size_t piece : {std::string::npos, std::size_t{997}, std::size_t{1}}) {
        if (piece != 1 || size < 1000) play(server, one, piece);
      }
    }
  }
}

TEST_CASE("every ping is answered with what it brought, and a pong with nothing", "[conformance]") {
  std::string ten;
  std::vector<Seen> pongs;
  for (int i = 0; i < 10; ++i) {
    ten += ping("payload-" + std::to_string(i));
    pongs.push_back(pong("payload-" + std::to_string(i)));
  }
  play_all({
      {"an empty ping", ping(""), {pong("")}},
      {"a text", ping("hello"), {pong("hello")}},
      {"binary",
       ping(std::string("\x00\xff\xfe\xfd\xfc\xfb\x00\xff", 8)),
       {pong(std::string("\x00\xff\xfe\xfd\xfc\xfb\x00\xff", 8))}},
      {"as long as it may be", ping(filled(125, false)), {pong(filled(125, false))}},
      {"too long", ping(filled(126, false)), {}, 1002},
      {"a pong of its own accord", masked_frame(0x8a, ""), {}},
      {"one with a payload", masked_frame(0x8a, "unasked"), {}},
      {"one before a ping", masked_frame(0x8a, "unasked") + ping("asked"), {pong("asked")}},
      {"ten pings", ten, pongs},
  });
}

TEST_CASE("reserved bits that nothing has negotiated end the connection", "[conformance]") {
  std::vector<Case> cases;
  for (unsigned rsv = 1; rsv <= 7; ++rsv) {
    for (const unsigned opcode : {1U, 2U, 8U, 9U, 10U}) {
      const auto first = static_cast<std::uint8_t>(fin | rsv << 4U | opcode);
      const std::string payload = opcode == 8 ? close_payload(1000) : "hello";
      const std::string name = "rsv " + std::to_string(rsv) + ", opcode " + std::to_string(opcode);
      cases.push_back({name, masked_frame(first, payload) + ping("never"), {}, 1002});
      cases.push_back({name + " behind a message",
                       masked_frame(0x81, "before") + masked_frame(first, payload) + ping("never"),
                       {text_message("before")},
                       1002});
    }
  }
  play_all(cases);
}

TEST_CASE("reserved opcodes end the connection", "[conformance]") {
  std::vector<Case> cases;
  for (const unsigned opcode : {3U, 4U, 5U, 6U, 7U, 11U, 12U, 13U, 14U, 15U}) {
    for (const char* payload : {"", "reserved"}) {
      const std::string frame = masked_frame(static_cast<std::uint8_t>(fin | opcode), payload);
      const std::string name = "opcode " + std::to_string(opcode) + " with \"" + payload + "\"";
      cases.push_back({name, frame, {}, 1002});
      cases.push_back(
          {name + " between", masked_frame(0x81, "before") + frame + ping("never"), {text_message("before")}, 1002});
    }
  }
  play_all(cases);
}

TEST_CASE("fragments come back as one message, and stand in an order", "[conformance]") {
  const std::string start = masked_frame(0x01, "fragment1");
  const std::string middle = masked_frame(0x00, "fragment2");
  const std::string last = masked_frame(0x80, "fragment3");
  std::vector<Case> cases{
      {"a ping in fragments", masked_frame(0x09, "fragment1") + masked_frame(0x80, "fragment2"), {}, 1002},
      {"a pong in fragments", masked_frame(0x0a, "fragment1") + masked_frame(0x80, "fragment2"), {}, 1002},
      {"a close in fragments", masked_frame(0x08, close_payload(1000)) + masked_frame(0x80, ""), {}, 1002},
      {"two", start + last, {text_message("fragment1fragment3")}},
      {"three, binary",
       masked_frame(0x02, "\xff") + middle + last,
       {message(2,
                "\xff"
                "fragment2fragment3")}},
      {"a ping between", start + ping("ping") + last, {pong("ping"), text_message("fragment1fragment3")}},
      {"several between",
       start + ping("1") + middle + ping("2") + ping("3") + last,
       {pong("1"), pong("2"), pong("3"), text_message("fragment1fragment2fragment3")}},
      {"all of them empty",
       masked_frame(0x01, "") + masked_frame(0x00, "") + masked_frame(0x80, ""),
       {text_message("")}},
      {"empty but for one", masked_frame(0x01, "") + middle + masked_frame(0x80, ""), {text_message("fragment2")}},
      {"empty and binary", masked_frame(0x02, "") + masked_frame(0x80, ""), {message(2, "")}},
      {"the end of nothing", last + masked_frame(0x81, "never"), {}, 1002},
      {"the middle of nothing", middle + masked_frame(0x81, "never"), {}, 1002},
      {"more behind the end", start + last + last, {text_message("fragment1fragment3")}, 1002},
      {"a start within a message", start + masked_frame(0x01, "again") + last, {}, 1002},
      {"a whole message within one", start + masked_frame(0x81, "whole"), {}, 1002},
      {"one behind the other",
       start + last + start + last,
       {text_message("fragment1fragment3"), text_message("fragment1fragment3")}},
      {"a message that is never ended, and a close", start + test::close_frame(1000), {}, 1000},
  };
  play_all(cases);
}

TEST_CASE("a text is UTF-8, however it is cut", "[conformance]") {
  struct Sequence {
    std::string bytes;
    bool good;
  };
  std::vector<Sequence> sequences{
      {"", true},
      {"Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!", true},
      {"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", true},
      // The first and the last of each length.
      {std::string("\0", 1), true},
      {"\x7f", true},
      {"\xc2\x80", true},
      {"\xdf\xbf", true},
      {"\xe0\xa0\x80", true},
      {"\xef\xbf\xbf", true},
      {"\xf0\x90\x80\x80", true},
      {"\xf4\x8f\xbf\xbf", true},
      // Around the surrogates, and what is no character and may be written all the same.
      {"\xed\x9f\xbf", true},
      {"\xee\x80\x80", true},
      {"\xef\xbf\xbd", true},
      {"\xef\xbf\xbe", true},
      {"\xf0\x9f\xbf\xbe", true},
      // Beyond Unicode, five bytes, six bytes, and bytes that are never there.
      {"\xf4\x90\x80\x80", false},
      {"\xf7\xbf\xbf\xbf", false},
      {"\xf8\x88\x80\x80\x80", false},
      {"\xfb\xbf\xbf\xbf\xbf", false},
      {"\xfc\x84\x80\x80\x80\x80", false},
      {"\xfd\xbf\xbf\xbf\xbf\xbf", false},
      {"\xfe", false},
      {"\xff", false},
      {"\xfe\xfe\xff\xff", false},
      // Continuations alone, and too many.
      {"\x80", false},
      {"\xbf", false},
      {"\x80\xbf\x80\xbf", false},
      {"\xc2\x80\x80", false},
      // Longer than need be.
      {"\xc0\xaf", false},
      {"\xc0\x80", false},
      {"\xc1\xbf", false},
      {"\xe0\x80\xaf", false},
      {"\xe0\x9f\xbf", false},
      {"\xf0\x80\x80\xaf", false},
      {"\xf0\x8f\xbf\xbf", false},
      {"\xf8\x80\x80\x80\xaf", false},
      {"\xfc\x80\x80\x80\x80\xaf", false},
      // Halves of surrogate pairs, and pairs.
      {"\xed\xa0\x80", false},
      {"\xed\xaf\xbf", false},
      {"\xed\xb0\x80", false},
      {"\xed\xbf\xbf", false},
      {"\xed\xa0\x80\xed\xb0\x80", false},
  };
  // Characters that are not whole: behind each a space, and the end of the message.
  for (const std::string whole :
       {"\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    for (std::size_t size = 1; size < whole.size(); ++size) {
      sequences.push_back({whole.substr(0, size), false});
      sequences.push_back({whole.substr(0, size) + ' ', false});
    }
  }
  EchoServer server;
  for (const auto& [bytes, good] : sequences) {
    for (const std::string& around : {std::string(), std::string("\xce\xba\xe1\xbd\xb9")}) {
      std::string sequence = around;
      sequence.append(bytes).append(around);
      std::string name;
      for (const char byte : sequence) name += std::to_string(static_cast<unsigned char>(byte)) + " ";
      const std::vector<Seen> answers = good ? std::vector<Seen>{text_message(sequence)} : std::vector<Seen>{};
      const std::uint16_t code = good ? 0 : 1007;
      const std::string whole = masked_frame(0x81, sequence);
      play(server, {name, whole, answers, code});
      play(server, {name, whole, answers, code}, 1);
      play(server, {name + "in fragments", fragments(1, sequence, 1), answers, code});
    }
  }
}

TEST_CASE("what is not UTF-8 is seen before the message is whole", "[conformance]") {
  const std::string good = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";
  EchoServer server;
  for (const std::string bad : {"\xf4\x90\x80\x80", "\xed\xa0\x80", "\xc0\xaf", "\xff"}) {
    play(server, {"in a fragment", masked_frame(0x01, good) + masked_frame(0x00, bad), {}, 1007});
    // The frame says that more is to come, and that does not.
    const std::string frame = masked_frame(0x81, good + bad + good);
    play(server, {"in a frame", frame.substr(0, frame.size() - good.size()), {}, 1007});
    play(server, {"byte by byte", frame.substr(0, frame.size() - good.size()), {}, 1007}, 1);
  }
}

TEST_CASE("a close is answered with its code, and nothing behind it is looked at", "[conformance]") {
  const std::string close = test::close_frame(1000);
  std::vector<Case> cases{
      {"a message before it", masked_frame(0x81, "hello") + close, {text_message("hello")}, 1000},
      {"a large one before it",
       masked_frame(0x81, filled(262'144, true)) + close,
       {text_message(filled(262'144, true))},
       1000},
      {"twice", close + close, {}, 1000},
      {"a ping behind it", close + ping("never"), {}, 1000},
      {"a message behind it", close + masked_frame(0x81, "never"), {}, 1000},
      {"within a message", masked_frame(0x01, "frag") + close + masked_frame(0x80, "ment"), {}, 1000},
      {"without a code", masked_frame(0x88, ""), {}, 1000},
      {"of one byte", masked_frame(0x88, "x"), {}, 1002},
      {"with a text", test::close_frame(1000, "so long"), {}, 1000},
      {"with as much as it may have", test::close_frame(1000, std::string(123, '*')), {}, 1000},
      {"with more", test::close_frame(1000, std::string(124, '*')), {}, 1002},
      {"with a text that is not UTF-8", test::close_frame(1000, "\xce\xba\xe1\xbd\xb9\xed\xa0\x80"), {}, 1007},
      {"with a text that ends within a character", test::close_frame(1000, "\xce"), {}, 1007},
  };
  for (const int code : {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999}) {
    const auto good = static_cast<std::uint16_t>(code);
    cases.push_back({"code " + std::to_string(code), test::close_frame(good), {}, good});
  }
  for (const int code : {0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65'535}) {
    cases.push_back({"code " + std::to_string(code), test::close_frame(static_cast<std::uint16_t>(code)), {}, 1002});
  }
  play_all(cases);
}

TEST_CASE("large messages come back, in one frame, in many and in small pieces", "[conformance]") {
  constexpr std::size_t mebibyte = 1U << 20U;
  EchoServer server;
  for (const std::uint8_t opcode : opcodes) {
    const std::string kind = "opcode " + std::to_string(opcode) + ", ";
    for (const std::size_t size : {mebibyte / 4, mebibyte, 4 * mebibyte, 16 * mebibyte}) {
      const std::string payload = filled(size, opcode == 1);
      play(server, {kind + std::to_string(size), masked_frame(fin | opcode, payload), {message(opcode, payload)}});
    }
    const std::string payload = filled(mebibyte, opcode == 1);
    for (const std::size_t size : {64U, 256U, 1024U, 4096U, 16'384U, 65'536U, 262'144U, 1'048'576U}) {
      play(server, {kind + "fragments of " + std::to_string(size),
                    fragments(opcode, payload, size),
                    {message(opcode, payload)}});
    }
    for (const std::size_t piece : {64U, 128U, 256U, 512U, 1024U, 2048U}) {
      play(server, {kind + "a frame", masked_frame(fin | opcode, payload), {message(opcode, payload)}}, piece);
    }
    const std::string odd = filled(65'536, opcode == 1);
    play(server, {kind + "fragments of 1300", fragments(opcode, odd, 1300), {message(opcode, odd)}});
  }
}

TEST_CASE("a thousand messages of a size come back in order", "[conformance]") {
  EchoServer server;
  for (const std::uint8_t opcode : opcodes) {
    for (const std::size_t size : {0U, 16U, 64U, 256U, 1024U}) {
      const std::string payload = filled(size, opcode == 1);
      Case one{"opcode " + std::to_string(opcode) + ", size " + std::to_string(size), {}, {}};
      for (int i = 0; i < 1000; ++i) {
        one.sent += masked_frame(fin | opcode, payload);
        one.answers.push_back(message(opcode, payload));
      }
      play(server, one);
    }
  }
}
