// What every WireFormat promises, as checks that any implementation can be run through.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "muster/wire_format.hpp"
#include "support/catch.hpp"

namespace muster::test {

/// One frame of a server (RFC 6455, 5.2), cut out of `bytes`; fails the test for anything but a whole, unmasked one.
struct WireFrame {
  std::uint8_t first = 0;
  std::string payload;

  [[nodiscard]] static WireFrame take(std::string& bytes) {
    const auto byte = [&bytes](std::size_t i) { return static_cast<unsigned char>(bytes.at(i)); };
    WireFrame frame;
    frame.first = byte(0);
    std::uint64_t size = byte(1);
    REQUIRE(size < 128);  // not masked
    std::size_t header = 2;
    if (size >= 126) {
      const std::size_t digits = size == 126 ? 2 : 8;
      size = 0;
      for (std::size_t i = 0; i < digits; ++i) size = size << 8U | byte(2 + i);
      CHECK(size > (digits == 2 ? 125U : 0xffffU));  // the shortest form
      header += digits;
    }
    REQUIRE(bytes.size() >= header + size);
    frame.payload = bytes.substr(header, static_cast<std::size_t>(size));
    bytes.erase(0, header + static_cast<std::size_t>(size));
    return frame;
  }
};

/// `make` makes formats of one key. `read` is the peer: the message that a data frame carries.
inline void wire_format_contract(const std::function<std::shared_ptr<const WireFormat>()>& make,
                                 const std::function<std::string(const WireFrame&)>& read) {
  const auto format = make();
  const auto other = make();
  const auto frame_of = [&format](FrameKind kind, std::string_view payload) {
    std::string bytes;
    format->append(kind, payload, bytes);
    WireFrame frame = WireFrame::take(bytes);
    CHECK(bytes.empty());  // one frame, and nothing behind it
    return frame;
  };
  std::string noise;
  for (std::uint32_t i = 0, x = 1; i < 100'000; ++i)
    noise.push_back(static_cast<char>((x = x * 1664525U + 1013904223U) >> 24U));
  std::string words;
  while (words.size() < 100'000)
    words += R"({"type":"message","payload":{"room":"canvas:1","seq":)" + std::to_string(words.size()) + "}}";

  SECTION("the key is the same for all that write alike") {
    CHECK(format->key() == other->key());
    CHECK(format->key() == format->key());
  }
  SECTION("a data frame of any length carries its message") {
    for (const std::string& text : {noise, words}) {
      for (const int length : {0, 1, 125, 126, 255, 256, 1000, 65'535, 65'536, 100'000}) {
        for (const FrameKind kind : {FrameKind::text, FrameKind::binary}) {
          const std::string payload = text.substr(0, static_cast<std::size_t>(length));
          const WireFrame frame = frame_of(kind, payload);
          CHECK((frame.first & 0x8fU) == (0x80U | static_cast<unsigned>(kind)));  // final, and the kind's opcode
          CHECK((frame.first & 0x30U) == 0);
          CHECK(read(frame) == payload);
        }
      }
    }
  }
  SECTION("a control frame is written as it is") {
    for (const FrameKind kind : {FrameKind::ping, FrameKind::pong}) {
      for (const std::string& payload : {std::string(), std::string(125, 'p')}) {
        const WireFrame frame = frame_of(kind, payload);
        CHECK(frame.first == (0x80U | static_cast<unsigned>(kind)));
        CHECK(frame.payload == payload);
      }
    }
  }
  SECTION("what is there stays, and frames follow each other") {
    std::string bytes = "before";
    for (const int length : {10, 3000, 0, 70'000})
      format->append(FrameKind::text, words.substr(0, static_cast<std::size_t>(length)), bytes);
    REQUIRE(bytes.substr(0, 6) == "before");
    bytes.erase(0, 6);
    for (const int length : {10, 3000, 0, 70'000})
      CHECK(read(WireFrame::take(bytes)) == words.substr(0, static_cast<std::size_t>(length)));
    CHECK(bytes.empty());
  }
  SECTION("one key writes the same bytes, whatever was written before") {
    std::string first;
    std::string second;
    other->append(FrameKind::text, noise, first);
    first.clear();
    format->append(FrameKind::text, words, first);
    other->append(FrameKind::text, words, second);
    CHECK(first == second);
  }
  SECTION("any thread may call it") {
    std::string expected;
    format->append(FrameKind::text, words, expected);
    std::vector<std::string> written(4);
    std::vector<std::thread> threads;
    for (std::string& bytes : written) {
      threads.emplace_back([&] {
        for (int i = 0; i < 10; ++i) {
          bytes.clear();
          format->append(FrameKind::text, words, bytes);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::string& bytes : written) CHECK(bytes == expected);
  }
}

}  // namespace muster::test
