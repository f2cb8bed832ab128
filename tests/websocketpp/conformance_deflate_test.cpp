// RFC 7692: messages of every size and kind come back through whatever a client and the listener agree to.
#include "websocketpp/conformance.hpp"
#include "websocketpp/deflating.hpp"

using namespace muster;
using test::Compressor;
using test::EchoServer;
using test::fin;
using test::fragments;
using test::Seen;

namespace {

/// A client: what it offers, what the listener bears of it, and how it compresses.
struct Peer {
  std::string offer;
  int listener_bits;
  std::string answer;
  int window_bits;
  bool keeps_context;
  int server_window_bits;
};

const std::string server_keeps_none = "permessage-deflate; server_no_context_takeover";
const std::string nobody_keeps = server_keeps_none + "; client_no_context_takeover";
const Peer peers[] = {
    {"permessage-deflate", 0, nobody_keeps, 15, false, 15},
    {"permessage-deflate; server_no_context_takeover; client_max_window_bits", 0, nobody_keeps, 15, false, 15},
    {"permessage-deflate; client_max_window_bits; server_max_window_bits=9", 0,
     nobody_keeps + "; server_max_window_bits=9", 15, false, 9},
    {"permessage-deflate; client_max_window_bits; server_max_window_bits=15", 0,
     nobody_keeps + "; server_max_window_bits=15", 15, false, 15},
    {"permessage-deflate; client_max_window_bits=9; server_max_window_bits=9; server_no_context_takeover", 0,
     nobody_keeps + "; server_max_window_bits=9", 9, false, 9},
    {"permessage-deflate; nothing_known, permessage-deflate; server_max_window_bits=12", 0,
     nobody_keeps + "; server_max_window_bits=12", 15, false, 12},
    {"permessage-deflate", 15, server_keeps_none, 15, true, 15},
    {"permessage-deflate; client_max_window_bits; server_max_window_bits=9", 15,
     server_keeps_none + "; server_max_window_bits=9", 15, true, 9},
    {"permessage-deflate; client_max_window_bits", 9, server_keeps_none + "; client_max_window_bits=9", 9, true, 15},
    {"permessage-deflate; client_max_window_bits=12", 15, server_keeps_none, 12, true, 15},
    {"permessage-deflate; client_no_context_takeover", 15, nobody_keeps, 15, false, 15},
};

/// What a size is filled with: prose, JSON and HTML as text; noise, runs and tables as binary.
std::string contents(unsigned kind, std::size_t size, std::size_t number) {
  std::string bytes;
  std::uint32_t random = static_cast<std::uint32_t>(number);
  for (std::size_t i = number * 7; bytes.size() < size; ++i) {
    random = random * 1664525U + 1013904223U;
    const std::string n = std::to_string(i * i % 9973);
    switch (kind) {
      case 0:
        bytes += "of the " + n +
                 " who came, gr\xc3\xb6\xc3\x9f"
                 "er and smaller, ";
        break;
      case 1:
        bytes += R"({"id":)" + n + R"(,"at":[)" + std::to_string(i % 100) + ",7]},";
        break;
      case 2:
        bytes += "<tr class=\"row\"><td>" + n + "</td></tr>\n";
        break;
      case 3:
        bytes += static_cast<char>(random >> 24U);
        break;
      case 4:
        bytes.append(i % 300, static_cast<char>(i));
        break;
      default:
        bytes += std::string("\0\xff\0", 3) + static_cast<char>(i % 251) + n;
        break;
    }
  }
  bytes.resize(size);
  if (kind == 0 && !bytes.empty() && bytes.back() == '\xc3') bytes.back() = '.';
  return bytes;
}

}  // namespace

TEST_CASE("compressed messages come back, whatever was agreed", "[conformance][deflate]") {
  constexpr unsigned kinds = 6;
  for (const Peer& peer : peers) {
    INFO(peer.offer << ", deflate_client_window_bits = " << peer.listener_bits);
    muster::websocketpp::ListenerOptions listening;
    listening.deflate = true;
    listening.deflate_min_bytes = 0;
    listening.deflate_client_window_bits = peer.listener_bits;
    EchoServer server(listening);
    for (unsigned kind = 0; kind < kinds; ++kind) {
      const std::uint8_t opcode = kind < 3 ? 1 : 2;
      const std::string head = server.open("Sec-WebSocket-Extensions: " + peer.offer + "\r\n");
      CHECK(head.find("Sec-WebSocket-Extensions: " + peer.answer + "\r\n") != std::string::npos);
      std::optional<Compressor> compressor;
      for (const std::size_t size : {0U, 16U, 64U, 256U, 1024U, 4096U, 8192U, 16'384U, 32'768U, 65'536U, 131'072U}) {
        for (const std::size_t fragment : {std::size_t{1} << 30U, std::size_t{256}}) {
          for (std::size_t i = 0; i < 2; ++i) {
            INFO("kind " << kind << ", " << size << " bytes, fragments of " << fragment << ", the one of number " << i);
            const std::string message = contents(kind, size, i);
            if (!compressor || !peer.keeps_context) compressor.emplace(peer.window_bits);
            server.send(fragments(0x40U | opcode, compressor->message(message), fragment), std::string::npos);
            const auto frame = server.frame();
            REQUIRE(frame);
            const bool packed = (frame->first & 0x40U) != 0;
            if (size != 16) CHECK(packed == (kind != 3 && size != 0));  // noise, and nothing, become no smaller
            CHECK(frame->first == (packed ? fin | 0x40U | opcode : static_cast<unsigned>(fin | opcode)));
            CHECK(((packed ? test::inflated(frame->second, peer.server_window_bits) : frame->second) == message));
          }
        }
      }
      std::vector<Seen> seen;
      server.end(seen, 0);
      CHECK(seen == std::vector<Seen>{{0x88, "\x03\xe8"}});
    }
  }
}
