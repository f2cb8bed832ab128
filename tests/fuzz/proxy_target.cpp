// What a proxy says before a connection's own bytes (PROXY protocol), cut in pieces of any size.

#include <array>
#include <asio/ip/address.hpp>

#include "fuzz/fuzz.hpp"
#include "muster/transports/websocketpp/proxy_header.ipp"

namespace muster::fuzz {
namespace {

using namespace muster::websocketpp::detail;
using State = ProxyHeader::State;

struct Reading {
  State state = State::bad;
  std::size_t used = 0;
  std::string source;
};

/// A second reader, which has the whole.
Reading read_plainly(std::string_view bytes) {
  const std::string_view signature("\r\n\r\n\0\r\nQUIT\n", 12);
  const auto whole = [](std::size_t used, std::string source) { return Reading{State::done, used, std::move(source)}; };
  if (bytes.substr(0, 12) == signature && bytes.size() >= 16) {
    const auto byte = [bytes](std::size_t at) { return static_cast<unsigned char>(bytes[at]); };
    const std::size_t length = byte(14) * 256U + byte(15);
    if (byte(12) != 0x20 && byte(12) != 0x21) return {};
    if ((byte(13) & 15U) > 2 || byte(13) >> 4U > 3) return {};
    if (bytes.size() < 16 + length) return {State::reading, bytes.size(), {}};
    if (byte(12) == 0x20 || (byte(13) != 0x11 && byte(13) != 0x21)) return whole(16 + length, {});
    if (length < (byte(13) == 0x11 ? 12U : 36U)) return {};
    std::array<unsigned char, 16> address{};
    for (std::size_t i = 0; i < (byte(13) == 0x11 ? 4U : 16U); ++i) address[i] = byte(16 + i);
    if (byte(13) == 0x21) return whole(16 + length, asio::ip::address_v6(address).to_string());
    return whole(16 + length, asio::ip::address_v4({address[0], address[1], address[2], address[3]}).to_string());
  }
  const std::size_t end = bytes.substr(0, 107).find('\n');
  if (end == std::string_view::npos) {
    const auto begins = [bytes](std::string_view with) {
      return bytes.substr(0, with.size()) == with.substr(0, bytes.size());
    };
    const bool may_become = (begins("PROXY ") && bytes.size() < 107) || begins(signature);
    return {may_become ? State::reading : State::bad, bytes.size(), {}};
  }
  if (bytes.substr(0, 6) != "PROXY ") {
    return {bytes.substr(0, 12) == signature.substr(0, bytes.size()) ? State::reading : State::bad, bytes.size(), {}};
  }
  if (bytes[end - 1] != '\r') return {};
  const std::string line(bytes.substr(6, end - 7));
  if (line.substr(0, 8) == "UNKNOWN " || line == "UNKNOWN") return whole(end + 1, {});
  std::vector<std::string> words(1);
  for (const char c : line) {
    if (c == ' ')
      words.emplace_back();
    else
      words.back().push_back(c);
  }
  if (words.size() != 5 || (words[0] != "TCP4" && words[0] != "TCP6")) return {};
  asio::ip::address source;
  for (const std::size_t i : {std::size_t{2}, std::size_t{1}}) {
    asio::error_code error;
    const auto address = asio::ip::make_address(words[i], error);
    if (error || address.is_v4() != (words[0] == "TCP4") || words[i].find('%') != std::string::npos) return {};
    source = address;
  }
  for (const std::size_t i : {std::size_t{3}, std::size_t{4}}) {
    if (words[i].empty() || words[i].size() > 5 || words[i].find_first_not_of("0123456789") != std::string::npos)
      return {};
    if (std::stoul(words[i]) > 65535) return {};
  }
  return whole(end + 1, source.to_string());
}

}  // namespace

void run(std::string_view input) {
  Choices choices(input.substr(0, 80 * 1024));
  const std::size_t piece = 1 + choices.byte();
  const Alone bytes(choices.rest());
  const std::size_t before = held_bytes();
  ProxyHeader header;
  std::size_t used = 0;
  for (std::size_t at = 0; at < bytes.view().size() && header.state() == State::reading; at += piece) {
    const std::string_view part = bytes.view().substr(at, piece);
    const std::size_t taken = header.read(part);
    must(taken <= part.size() && (taken == part.size() || header.state() != State::reading), "what is needed is taken");
    used += taken;
  }
  at_most(held_bytes(), before + 256, "a header costs nothing beyond its place");
  const Reading plain = read_plainly(bytes.view());
  must(header.state() == plain.state, "two readers agree");
  if (header.state() == State::done) {
    must(used == plain.used, "what is behind the header is left");
    must((header.source() ? header.source()->to_string() : std::string()) == plain.source,
         "two readers see the same address");
  }
  if (header.state() != State::reading) must(header.read("PROXY UNKNOWN\r\n") == 0, "after its end it takes nothing");
}

std::vector<std::string> seeds() {
  const std::string binary("\r\n\r\n\0\r\nQUIT\n", 12);
  const auto seed = [](char piece, const std::string& bytes) { return piece + bytes; };
  return {
      seed(0, "PROXY TCP4 192.0.2.7 192.0.2.1 12345 443\r\nGET / HTTP/1.1\r\n"),
      seed(7, "PROXY TCP6 2001:db8::7 ::1 1 65535\r\n"),
      seed(100, "PROXY UNKNOWN ffff:f...f:ffff 1 2\r\n"),
      seed(0, "PROXY TCP4 192.0.2.7 192.0.2.1 12345 65536\r\n"),
      seed(3, binary + std::string("\x21\x11\0\x0c", 4) + "abcdefghijklmnop"),
      seed(3, binary + std::string("\x21\x21\0\x30", 4) + std::string(60, '7')),
      seed(50, binary + std::string("\x20\0\0\0", 4) + "GET"),
      seed(50, binary + std::string("\x21\x11\0\x0b", 4) + std::string(11, '7')),
  };
}

}  // namespace muster::fuzz
