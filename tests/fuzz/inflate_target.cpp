// permessage-deflate: whatever a peer calls compressed, against zlib by itself; and what is compressed comes back.

#include <zlib.h>

#include "fuzz/fuzz.hpp"
#include "muster/transports/websocketpp/deflate.ipp"
#include "websocketpp/deflating.hpp"

namespace muster::fuzz {
namespace {

using websocketpp::detail::DeflateFormat;
using websocketpp::detail::Inflater;
using websocketpp::detail::Window;

constexpr std::string_view tail = websocketpp::detail::deflate_tail;

/// The message, by one call of zlib for each stream, into a buffer that is large enough from the beginning.
Inflater::Result plainly(std::string_view deflated, std::size_t limit, std::string& out, std::string_view window) {
  z_stream stream{};
  must(inflateInit2(&stream, -15) == Z_OK, "zlib has memory");
  must(inflateSetDictionary(&stream, reinterpret_cast<const Bytef*>(window.data()), static_cast<uInt>(window.size())) ==
           Z_OK,
       "and takes a window");
  out.resize(limit + 1);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(deflated.data()));
  stream.avail_in = static_cast<uInt>(deflated.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  int status = Z_OK;
  while ((status = ::inflate(&stream, Z_SYNC_FLUSH)) == Z_STREAM_END && stream.avail_in != 0 && stream.avail_out != 0) {
    (void)inflateReset(&stream);
  }
  const bool all = stream.avail_in == 0;
  const bool full = stream.avail_out == 0;
  const bool at_block = (stream.data_type & 128) != 0;
  out.resize(out.size() - stream.avail_out);
  inflateEnd(&stream);
  if (full) return Inflater::Result::too_big;
  if (status == Z_STREAM_END) return Inflater::Result::done;
  return (status == Z_OK || status == Z_BUF_ERROR) && all && at_block ? Inflater::Result::done
                                                                      : Inflater::Result::damaged;
}

void check_same(Inflater& inflater, std::string_view deflated, std::size_t limit, std::string_view window = {}) {
  std::string expected;
  const auto result = plainly(deflated, limit, expected, window);
  const Alone alone(deflated);
  const auto [seen, message] = inflater.inflate(alone.view(), limit, window);
  must((seen == Inflater::Result::beyond_window ? Inflater::Result::damaged : seen) == result, "what zlib says of it");
  if (result == Inflater::Result::done) must(message == expected, "and the bytes it makes of it");
}

/// What a client compresses, in whatever way, comes out; what is larger than the limit does not.
void check_round(Inflater& inflater, std::string_view message, std::size_t limit, unsigned how) {
  const std::string deflated =
      test::deflated(message, (how & 1U) != 0, static_cast<int>((how >> 1U) % 10)).append(tail);
  const auto [result, inflated] = inflater.inflate(deflated, limit);
  if (message.size() > limit) return must(result == Inflater::Result::too_big, "a message beyond the limit is none");
  must(result == Inflater::Result::done && inflated == message, "what a client compressed is what it said");
}

/// What a client compresses that keeps its context comes out, message by message, and its window is bounded.
void check_context(Inflater& inflater, std::string_view all, unsigned how) {
  const int bits = 9 + static_cast<int>(how % 7);
  test::Compressor compressor(bits);
  Window window(bits);
  all = all.substr(0, 80'000);
  for (unsigned i = 0; i < 6; ++i) {
    const std::string_view message = all.substr(i * all.size() / 12, all.size() / 2);
    const std::string deflated = compressor.message(message, (how >> i & 1U) != 0).append(tail);
    const auto [result, inflated] = inflater.inflate(deflated, 40'000, window.view());
    must(result == Inflater::Result::done && inflated == message, "what a client compressed is what it said");
    window.append(inflated);
    at_most(window.capacity(), std::size_t{1} << static_cast<unsigned>(bits),
            "a window is held for no larger than it is");
  }
}

/// What we compress, a client with that window can read; what would not become smaller is left as it is.
void check_ours(std::string_view message, int window_bits, std::size_t least) {
  const DeflateFormat format(window_bits, least);
  for (const std::string& one :
       {std::string(message), std::string(message.substr(message.size() / 2)), std::string(message)}) {
    std::string frame;
    format.append(FrameKind::text, one, frame);
    const auto byte = [&frame](std::size_t i) { return static_cast<unsigned char>(frame[i]); };
    const std::size_t header = byte(1) < 126 ? 2 : byte(1) == 126 ? 4 : 10;
    const bool packed = (byte(0) & 0x40U) != 0;
    const std::string payload = frame.substr(header);
    must(packed ? payload.size() < one.size() && one.size() >= least : payload == one,
         "only what becomes smaller is compressed");
    if (packed) must(test::inflated(payload, window_bits) == one, "and it can be read");
  }
}

/// A message of runs: a few bytes of input make many.
std::string message_from(Choices& choices) {
  std::string message;
  for (unsigned runs = choices.below(8); runs > 0 && message.size() < 200'000; --runs) {
    const std::string_view piece = choices.some();
    // What ends just where a buffer does is not left to luck.
    const std::size_t round = piece.size() % 4 == 3 ? 4096 : 1;
    const std::size_t end = (message.size() + choices.number(2)) / round * round;
    while (!piece.empty() && message.size() < end) message.append(piece);
    message.resize(std::min(message.size(), end));
  }
  return message.append(choices.rest());
}

}  // namespace

void run(std::string_view input) {
  Choices choices(input.substr(0, 16 * 1024));
  const unsigned what = choices.byte();
  const unsigned how = choices.byte();
  constexpr std::size_t limits[] = {1, 100, 16 * 1024 - 1, 16 * 1024, 32 * 1024, 64 * 1024, 64 * 1024 + 1, 300 * 1024};
  const std::size_t limit = limits[(what >> 2U) % 8];
  const std::size_t before = held_bytes();
  Inflater inflater;
  if (what % 4 == 0) {
    const std::string deflated = std::string(choices.rest()).append(tail);
    check_same(inflater, deflated, limit);
    check_round(inflater, "what came before leaves nothing", 64 * 1024, how);
    check_same(inflater, deflated, limit);
    check_same(inflater, deflated, limit, std::string(how * 128U, 'w'));
  } else if (what % 4 == 1) {
    // Blocks without end, which make nothing: they cost their bytes.
    std::string deflated(choices.bytes(4));
    const std::string block(choices.some());
    while (!block.empty() && deflated.size() < 16'384) deflated.append(block);
    check_same(inflater, deflated.append(tail), limit);
  } else if (what % 4 == 2) {
    const std::string message = message_from(choices);
    check_round(inflater, message, limit, how);
    check_round(inflater, "a small one", limit, how);
    check_context(inflater, message, how);
  } else {
    check_ours(message_from(choices), 9 + static_cast<int>(how % 7), how >> 3U);
  }
  at_most(held_bytes(), before + 2 * limit + 128 * 1024, "an inflater holds no more than a message may have");
}

std::vector<std::string> seeds() {
  std::vector<std::string> seeds;
  const auto head = [](unsigned what, unsigned how) {
    return std::string{static_cast<char>(what), static_cast<char>(how)};
  };
  for (unsigned limit = 0; limit < 8; ++limit) {
    const unsigned at = limit << 2U;
    seeds.push_back(head(at, 0) + test::deflated("hello, hello, hello"));
    seeds.push_back(head(at, 0) + test::deflated(std::string(20'000, 'x'), true) + "abc");
    seeds.push_back(head(at | 1U, 0) + std::string("\0\0\0\xff\xff", 5).append(1, '\5') +
                    std::string("\0\0\0\xff\xff", 5));
    seeds.push_back(head(at | 2U, 12) + std::string("\1\2ab\x3f\x00", 6) + "rest");
    seeds.push_back(head(at | 3U, 30 + limit) + std::string("\2\3abc\x0f\x00\4wxyz\x01\x10", 14) + "end");
  }
  return seeds;
}

}  // namespace muster::fuzz
