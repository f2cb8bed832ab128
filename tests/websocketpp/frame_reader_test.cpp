// The reader of frames alone: it is dead after its first fault, judges each length by itself, and finds a close frame.
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "muster/transports/websocketpp/frames.ipp"
#include "support/catch.hpp"
#include "websocketpp/raw_client.hpp"

namespace {

/// Allocations that are still given out; below 0: all.
int allocations_left = -1;

}  // namespace

// None of these is inlined: gcc would see one of malloc and new with the other of free and delete.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  if (allocations_left == 0) return nullptr;
  if (allocations_left > 0) --allocations_left;
  return std::malloc(size == 0 ? 1 : size);
}
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (void* const at = operator new(size, std::nothrow)) return at;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* at) noexcept { std::free(at); }
[[gnu::noinline]] void operator delete(void* at, std::size_t) noexcept { operator delete(at); }

using muster::test::masked_frame;
using muster::websocketpp::detail::Frames;
using muster::websocketpp::detail::Readers;

namespace {

struct Reader {
  explicit Reader(std::size_t limit = 1000, bool compressed = false) : own(readers.lend(limit, compressed)) {}

  /// Reads in pieces; false: there was a fault, and no step after it.
  bool read(std::string bytes, std::size_t piece = std::string::npos) {
    for (std::size_t at = 0; at < bytes.size();) {
      const auto step = frames.read(bytes.data() + at, std::min(piece, bytes.size() - at));
      if (step.error) {
        error = step.error;
        return false;
      }
      at += step.used;
      if (step.message) messages.push_back(step.message->get_payload());
    }
    return true;
  }

  Readers readers;
  std::unique_ptr<Frames> own;
  Frames& frames = *own;
  std::vector<std::string> messages;
  std::error_code error;
};

/// A header that says how long its frame is, in eight bytes, and no more.
std::string header(unsigned char first, std::uint64_t length) {
  std::string bytes{static_cast<char>(first), '\xff'};
  for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>((length >> shift) & 0xffU));
  return bytes.append("\1\2\3\4", 4);
}

const std::string text = masked_frame(0x81, "hello");
const std::string goodbye = masked_frame(0x88, "\x03\xe8");

std::vector<std::string> faults() {
  return {masked_frame(0xc1, "x"),
          masked_frame(0x83, "x"),
          masked_frame(0x80, "x"),
          masked_frame(0x09, "x"),
          masked_frame(0x89, std::string(126, 'x')),
          masked_frame(0x81, "\xff"),
          masked_frame(0x81, std::string(1001, 'x')),
          std::string("\x81\x05hello"),
          masked_frame(0x01, "x") + text,
          std::string("\x81\xfe\0\x05\1\2\3\4hello", 13)};
}

}  // namespace

TEST_CASE("a reader is dead after its first fault, however it is fed on", "[websocketpp][frames]") {
  const std::string rest = masked_frame(0x82, std::string(200, 'x')).substr(2);  // would end a header that was refused
  for (const std::string& fault : faults()) {
    for (std::size_t piece = 1; piece <= fault.size(); ++piece) {
      Reader reader;
      REQUIRE(reader.read(text, piece));
      REQUIRE_FALSE(reader.read(fault, piece));
      for (const std::string& more : {rest, text, fault, goodbye, header(0x82, 500)})
        CHECK_FALSE(reader.read(more, piece));
      CHECK_FALSE(reader.frames.skip_to_close(goodbye.data(), goodbye.size()));
      CHECK(reader.messages == std::vector<std::string>{"hello"});
    }
  }
}

TEST_CASE("a reader is dead after an exception", "[websocketpp][frames]") {
  const std::string message = masked_frame(0x82, std::string(800, 'x'));
  int thrown = 0;
  for (int allowed = 0; allowed < 8; ++allowed) {
    Reader reader;
    std::string bytes = message;
    std::size_t at = 0;
    bool threw = false;
    allocations_left = allowed;
    try {
      while (at < bytes.size()) at += reader.frames.read(bytes.data() + at, bytes.size() - at).used;
    } catch (const std::bad_alloc&) {
      threw = true;
    }
    allocations_left = -1;
    if (!threw) continue;
    ++thrown;
    CHECK_FALSE(reader.read(text));
    CHECK_FALSE(reader.frames.skip_to_close(goodbye.data(), goodbye.size()));
    CHECK(reader.messages.empty());
  }
  CHECK(thrown > 0);
}

TEST_CASE("a length is judged by itself, right behind its header", "[websocketpp][frames]") {
  using ::websocketpp::processor::error::to_ws;
  namespace status = ::websocketpp::close::status;
  const auto told = [](const std::string& bytes, bool compressed = false) {
    Reader reader(1000, compressed);
    return reader.read(bytes) ? 0 : to_ws(reader.error);
  };
  const std::uint64_t top_bit = std::uint64_t{1} << 63U;
  const std::string begun = masked_frame(0x02, std::string(600, 'x'));
  CHECK(told(header(0x82, top_bit)) == status::protocol_error);
  CHECK(told(header(0x82, ~std::uint64_t{0})) == status::protocol_error);
  CHECK(told(header(0x82, top_bit - 1)) == status::message_too_big);
  CHECK(told(header(0x82, 65'536)) == status::message_too_big);
  CHECK(told(masked_frame(0x82, std::string(1000, 'x'))) == 0);
  CHECK(told(masked_frame(0x82, std::string(1001, 'x')).substr(0, 8)) == status::message_too_big);
  // A message in frames: what is left of the limit.
  CHECK(told(begun + header(0x80, top_bit)) == status::protocol_error);
  CHECK(told(begun + header(0x80, 65'536)) == status::message_too_big);
  CHECK(told(begun + masked_frame(0x80, std::string(400, 'x'))) == 0);
  CHECK(told(begun + masked_frame(0x80, std::string(401, 'x')).substr(0, 8)) == status::message_too_big);
  CHECK(told(begun + masked_frame(0x00, {}) + masked_frame(0x80, std::string(401, 'x')).substr(0, 8)) ==
        status::message_too_big);
  // Compressed, it may be a little longer than what it stands for; what is not compressed may not.
  CHECK(told(masked_frame(0xc2, std::string(1067, 'x')), true) == 0);
  CHECK(told(masked_frame(0xc2, std::string(1068, 'x')).substr(0, 8), true) == status::message_too_big);
  CHECK(told(masked_frame(0x82, std::string(1001, 'x')).substr(0, 8), true) == status::message_too_big);
}

TEST_CASE("a close frame is found behind whatever comes before it, from wherever the reader stood",
          "[websocketpp][frames]") {
  const std::string stream = masked_frame(0x01, std::string(200, 'x')) + masked_frame(0x89, "ping") +
                             masked_frame(0x00, {}) + masked_frame(0x80, std::string(300, 'y')) +
                             masked_frame(0x82, {});
  // What is not looked at: no UTF-8, a message of any size, a reserved opcode.
  const std::string unread =
      masked_frame(0x81, "\xff") + masked_frame(0x82, std::string(70'000, 'x')) + masked_frame(0x83, "x");
  for (std::size_t stood = 0; stood <= stream.size(); ++stood) {
    Reader reader;
    REQUIRE(reader.read(stream.substr(0, stood)));
    const std::string rest = stream.substr(stood) + unread + goodbye;
    CHECK_FALSE(reader.frames.skip_to_close(rest.data(), rest.size() - 1));
    CHECK(reader.frames.skip_to_close(rest.data() + rest.size() - 1, 1));
    CHECK_FALSE(reader.frames.skip_to_close(goodbye.data(), goodbye.size()));
  }
  Reader reader;
  const std::string rest = unread + goodbye;
  for (std::size_t at = 0; at < rest.size(); ++at)
    CHECK(reader.frames.skip_to_close(&rest[at], 1) == (at + 1 == rest.size()));
}

TEST_CASE("a length that no frame can have ends the search for a close frame", "[websocketpp][frames]") {
  Reader reader;
  const std::string bytes = header(0x82, std::uint64_t{1} << 63U) + goodbye;
  CHECK_FALSE(reader.frames.skip_to_close(bytes.data(), bytes.size()));
  CHECK_FALSE(reader.frames.skip_to_close(goodbye.data(), goodbye.size()));
}

TEST_CASE("A reader is at rest between two messages, and serves whoever has the next") {
  Reader reader(1000, true);
  CHECK(reader.frames.at_rest());
  const std::string fragment = masked_frame(0x01, "half, ");
  const std::string rest = masked_frame(0x80, "whole");
  for (std::size_t at = 1; at <= fragment.size(); ++at) {
    REQUIRE(reader.read(fragment.substr(at - 1, 1)));
    CHECK_FALSE(reader.frames.at_rest());
  }
  REQUIRE(reader.read(masked_frame(0x89, "ping")));
  CHECK_FALSE(reader.frames.at_rest());
  REQUIRE(reader.read(rest));
  CHECK(reader.frames.at_rest());

  // The next one is another's: of another limit, and nothing was agreed.
  Frames* const before = reader.own.get();
  reader.readers.take_back(std::move(reader.own));
  Reader other;
  other.own = reader.readers.lend(5, false);
  CHECK(other.own.get() == before);
  std::string compressed = masked_frame(0xc1, "x");
  CHECK(other.own->read(compressed.data(), compressed.size()).error);
  CHECK_FALSE(other.own->at_rest());

  other.own = reader.readers.lend(5, false);
  std::string long_one = masked_frame(0x82, "longer");
  CHECK(other.own->read(long_one.data(), long_one.size()).used == 2);
  CHECK(other.own->read(long_one.data() + 2, long_one.size() - 2).error);
}
