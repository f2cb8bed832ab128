// The acts of clients, their server and its clock, as bytes say them; and lists of acts to begin with.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/frame_script.hpp"
#include "fuzz/server_world.hpp"
#include "websocketpp/deflating.hpp"
#include "websocketpp/raw_client.hpp"

namespace muster::fuzz {

/// The first byte of an act, without its highest bit: with that, the next act follows before the server has come to rest.
enum class Act : unsigned char {
  connect,      // client
  upgrade,      // client, how
  raw,          // client, some bytes
  frame,        // client, then as frame_script.hpp says
  large,        // client, first byte, size, fill
  compressed,   // client, size, fill: so many of it, compressed
  blocks,       // client, how many, how often, some bytes: a message behind empty blocks; or compressed, it says
  command,      // client, which, which room
  json,         // client, some bytes: one text message
  piece,        // client, bytes at a time
  stall,        // client, whether
  half_close,   // client
  cut,          // client
  close,        // client, code, some bytes
  advance,      // how long
  publish,      // which room, size
  kick,         // which
  drain,        // how long
  close_all,    //
  revoke,       // which
  send_queued,  // which user
  answer,       // what
  step,         // how many handlers
  stop,         // the listener's end
  count
};

inline std::string room_of(unsigned choice) { return (choice % 8 == 7 ? "x" : "r") + std::to_string(choice % 4); }
inline std::string user_of(unsigned choice) { return choice % 2 != 0 ? "ann" : "bob"; }

inline std::string upgrade_of(unsigned how) {
  std::string extra;
  std::string target = "/ws";
  const std::string token = "token-" + user_of(how);
  switch ((how >> 1U) % 4) {
    case 0:
      extra += "Authorization: Bearer " + token + "\r\n";
      break;
    case 1:
      extra += "Sec-WebSocket-Protocol: muster.v1.json, bearer, " + token + "\r\n";
      break;
    case 2:
      break;
    default:
      extra += "Authorization: Bearer wrong\r\n";
  }
  if ((how & 8U) != 0) extra += "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
  if ((how & 16U) != 0) extra += "X-Forwarded-For: 198.51.100." + std::to_string(how & 3U) + "\r\n";
  if ((how & 32U) != 0) extra += "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n";
  if ((how & 192U) == 64U) target = "/other";
  return test::RawClient::upgrade_request(extra, target, (how & 192U) == 128U ? "Upgrade" : "");
}

inline std::string command_of(const Client& client, unsigned which, unsigned room) {
  const std::string in_room = R"("room":")" + room_of(room) + "\"";
  const auto say = [](const char* type, const std::string& payload) {
    return R"({"type":")" + std::string(type) + R"(","id":1,"payload":{)" + payload + "}}";
  };
  const std::string clock = R"(,"clock":)" + std::to_string(which + 1U);
  switch (which % 20) {
    case 0:
      return say("authenticate", R"("token":"token-)" + user_of(room) + "\"");
    case 1:
      return say("authenticate", R"("token":"wrong")");
    case 2:
      return say("join", in_room);
    case 3:
      return say("leave", in_room);
    case 4:
      return say("publish", in_room + R"(,"data":{"a":1})");
    case 5:
      return say("publish", in_room + R"(,"data":1,"delivery":{"latest":"k"})");
    case 6:
      return say("publish", in_room + R"(,"data":")" + std::string(1000, 'd') + R"(","echo":true)");
    case 7:
      return say("publish", in_room + R"(,"data":2,"idempotency_key":"k")");
    case 8:
      return say("awareness_update", in_room + clock + R"(,"state":{"x":1})");
    case 9:
      return say("awareness_update", in_room + clock + R"(,"state":null)");
    case 10:
      return say("awareness_update", in_room + clock + R"(,"client":"c","state":{})");
    case 11:
      return say("awareness_query", in_room);
    case 12:
      return say("presence_query", in_room);
    case 13:
      return say("presence_query", R"("users":["ann","bob","eve"])");
    case 14:
      return say("send", R"("user":")" + user_of(room) + R"(","data":1,"queued":true)");
    case 15:
      return say("ack", R"("queue_id":)" + std::to_string(room));
    case 16:
      return say("resume", R"("token":")" + client.in.resume_token() +
                               R"(","rooms":{"r0":{"epoch":1,"seq":0}},"auth":"token-)" + user_of(room) + "\"");
    case 17:
      return say("app", R"("n":")" + std::string(room, 'n') + "\"");
    case 18:
      return say("ping", "");
    default:
      return say("session_info", "");
  }
}

inline void act_of_client(World& world, Act what, Client& client, Choices& choices) {
  switch (what) {
    case Act::connect:
      return world.connect(client);
    case Act::upgrade:
      if (!client.open()) world.connect(client);
      return world.say(client, upgrade_of(choices.byte()));
    case Act::raw:
      return world.say(client, choices.some());
    case Act::frame:
      return world.say(client, next_frame(choices));
    case Act::large: {
      const unsigned first = choices.byte();
      const std::size_t size = size_of(choices.byte());
      return world.say(client, test::masked_frame(static_cast<std::uint8_t>(first),
                                                  std::string(size, static_cast<char>(choices.byte()))));
    }
    case Act::compressed: {
      const std::size_t size = size_of(choices.byte());
      return world.say(client,
                       test::masked_frame(0xc1, test::deflated(std::string(size, static_cast<char>(choices.byte())))));
    }
    case Act::blocks: {
      const unsigned how = choices.byte();
      const unsigned more = choices.below(32);
      const std::string_view raw = choices.some();
      if (how % 4 == 0) return world.say(client, test::masked_frame(0xc1, raw));
      // Empty blocks, which make nothing of much.
      std::string bytes;
      for (std::size_t i = size_of(how); i > 0 && bytes.size() < 64 * 1024; --i) bytes.append("\0\0\0\xff\xff", 5);
      const std::string frame = test::masked_frame(0xc1, bytes + test::deflated(R"({"type":"ping"})"));
      for (unsigned i = 0; i <= more; ++i) world.say(client, frame);
      return;
    }
    case Act::command: {
      const unsigned which = choices.byte();
      return world.say(client, test::text_frame(command_of(client, which, choices.byte())));
    }
    case Act::json:
      return world.say(client, test::text_frame(choices.some()));
    case Act::piece:
      client.piece = std::max<std::size_t>(1, size_of(choices.byte()));
      return;
    case Act::stall:
      client.stalled = choices.below(2) != 0;
      return;
    case Act::half_close:
      if (client.open()) ::shutdown(client.descriptor, SHUT_WR);
      return;
    case Act::cut:
      return client.cut();
    default: {
      const auto code = static_cast<std::uint16_t>(choices.number(2));
      return world.say(client, test::close_frame(code, choices.some()));
    }
  }
}

inline void act_of_server(World& world, Act what, Choices& choices) {
  IConnectionManager& manager = world.manager();
  const auto one = [&]() -> ConnectionId {
    const auto all = manager.connections({}, 4);
    return all.empty() ? ConnectionId() : all[choices.byte() % all.size()].id;
  };
  switch (what) {
    case Act::advance: {
      constexpr std::array<std::chrono::milliseconds, 8> steps{1ms, 50ms, 200ms, 1s, 3s, 5s, 11s, 61s};
      return world.advance(steps[choices.below(steps.size())]);
    }
    case Act::publish: {
      const std::string room = room_of(choices.byte());
      return world.publish(room, std::string(size_of(choices.below(200)), 'p'));
    }
    case Act::kick:
      return (void)manager.kick(one(), "kicked", choices.below(2) != 0);
    case Act::drain:
      return manager.drain(std::chrono::milliseconds(size_of(choices.below(160))), 100ms, nullptr);
    case Act::close_all:
      return manager.close_all(CloseReason::going_away, "all", nullptr);
    case Act::revoke:
      return (void)manager.revoke(one());
    case Act::send_queued:
      return world.queue(user_of(choices.byte()), "1");
    case Act::answer:
      return (void)world.seams().answer(choices.below(4) != 0);
    case Act::step:
      return world.step(choices.byte());
    default:
      return world.loop().stop();
  }
}

/// One act, and what follows of it.
inline void act(World& world, Choices& choices) {
  const unsigned first = choices.byte();
  const auto what = static_cast<Act>((first & 0x7fU) % static_cast<unsigned>(Act::count));
  if (what <= Act::close) {
    Client& client = world.client(choices.byte());
    act_of_client(world, what, client, choices);
  } else {
    act_of_server(world, what, choices);
  }
  if ((first & 0x80U) == 0 && what != Act::step) world.settle();
}

// ---- Lists of acts.

/// Writes an input.
class Script {
 public:
  /// The kind of server, and what else it has, as options_of reads them.
  explicit Script(unsigned kind, unsigned more = 0) { add(kind).add(more).add(0); }
  Script& add(unsigned byte) {
    bytes_.push_back(static_cast<char>(byte));
    return *this;
  }
  template <class... Bytes>
  Script& then(Act what, Bytes... more) {
    add(static_cast<unsigned>(what));
    (add(static_cast<unsigned>(more)), ...);
    return *this;
  }
  Script& some(std::string_view text) {
    add(static_cast<unsigned>(text.size()));
    bytes_.append(text);
    return *this;
  }
  operator std::string() const { return bytes_; }

 private:
  std::string bytes_;
};

[[nodiscard]] inline std::vector<std::string> server_seeds() {
  std::vector<std::string> seeds;
  const auto two_members = [](unsigned kind, unsigned more) {
    Script script(kind, more);
    script.then(Act::upgrade, 0, 0x0a).then(Act::upgrade, 1, 0x0b);
    for (unsigned client : {0U, 1U}) script.then(Act::command, client, 2, 0);
    return script;
  };
  for (unsigned kind = 0; kind < 8; ++kind) {
    Script all = two_members(kind, kind % 2);
    for (unsigned which = 3; which < 20; ++which) all.then(Act::command, which % 2, which, 0);
    seeds.push_back(all.then(Act::publish, 0, 90).then(Act::advance, 3).then(Act::close, 0, 0x03, 0xe8, 0));
  }
  for (unsigned more : {0U, 0x02U, 0x04U, 0x10U, 0x40U, 0x80U}) {
    Script hello(0, more);
    for (unsigned client = 0; client < 4; ++client)
      hello.then(Act::upgrade, client, client * 2).then(Act::answer, client);
    seeds.push_back(
        hello.then(Act::raw, 2).some("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").then(Act::advance, 5));
  }
  for (unsigned first : {0x81U, 0x01U, 0xc1U, 0x41U, 0x82U, 0x89U}) {
    seeds.push_back(Script(1, 1)
                        .then(Act::upgrade, 0, 0x0c)
                        .then(Act::piece, 0, 80)
                        .then(Act::large, 0, first, 100, 'a')
                        .then(Act::large, 0, 0x80, 90, 'b'));
  }
  seeds.push_back(Script(1)
                      .then(Act::upgrade, 0, 0x04)
                      .then(Act::piece, 0, 0x90)
                      .then(Act::large, 0, 0x01, 0xa8, 'a')
                      .then(Act::large, 0, 0x00, 0xa8, 'a')
                      .then(Act::large, 0, 0x00, 0xa8, 'a'));
  seeds.push_back(two_members(2, 1)
                      .then(Act::blocks, 0, 0x55, 20, 0)
                      .then(Act::blocks, 1, 0x31, 3, 0)
                      .then(Act::compressed, 1, 120, 'z')
                      .then(Act::advance, 3));
  seeds.push_back(two_members(0, 0)
                      .then(Act::drain, 120)
                      .then(Act::large, 0, 0x81, 0xd1, 'x')
                      .then(Act::large, 0, 0x81, 60, 'x')
                      .then(Act::advance, 4));
  seeds.push_back(two_members(0, 0)
                      .then(Act::frame, 0, 4, 0x81)
                      .some("{\"type\":\"ping\"}")
                      .then(Act::frame, 0, 1, 0x01)
                      .some("abc")
                      .add(6)
                      .add(0x7f));
  seeds.push_back(two_members(3, 32)
                      .then(Act::stall, 1, 1)
                      .then(Act::publish, 0, 160)
                      .then(Act::publish, 0, 150)
                      .then(Act::advance, 3)
                      .then(Act::stall, 1, 0));
  seeds.push_back(two_members(0, 0)
                      .then(Act::cut, 0)
                      .then(Act::publish, 0, 20)
                      .then(Act::upgrade, 0, 4)
                      .then(Act::command, 0, 16, 1)
                      .then(Act::half_close, 1));
  const std::string host = " HTTP/1.1\r\nHost: localhost\r\n";
  for (unsigned kind : {0U, 3U, 4U}) {
    Script http(kind, 0x80);
    for (unsigned client = 0; client < 4; ++client) http.then(Act::connect, client);
    http.then(Act::raw, 0).some("GET /" + host + "\r\nHEAD /late/x" + host + "\r\n");
    http.then(Act::raw, 1).some("POST /now" + host + "Content-Length: 4\r\n\r\nbodyGET /stream" + host + "\r\n");
    http.then(Act::raw, 2).some("POST /" + host + "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    http.then(Act::raw, 2).some("5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\nGET /stream?known" + host + "\r\n");
    http.then(Act::raw, 3).some("POST /now" + host + "Content-Length: 0\r\n\r\nGET /stream HTTP/1.0\r\n\r\n");
    http.then(Act::advance, 3).then(Act::raw, 2).some("PUT /stream" + host + "\r\nDELETE /late/y" + host + "\r\n");
    http.then(Act::upgrade, 0, 4).then(Act::half_close, 1).then(Act::advance, 7);
    seeds.push_back(http);
  }
  seeds.push_back(two_members(6, 4)
                      .then(Act::answer, 1)
                      .then(Act::answer, 1)
                      .then(Act::command, 0, 4, 0)
                      .then(Act::command, 0, 4, 0)
                      .then(Act::kick, 0, 1)
                      .then(Act::revoke, 0));
  return seeds;
}

}  // namespace muster::fuzz
