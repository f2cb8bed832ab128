// own_port: what holds for every example that has its own port, and muster on it by adopt.
#pragma once

#include <csignal>
#include <string>

#include "process.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

namespace muster::test {

/// An upgrade, and right behind it a message for which others wait for the answer.
inline std::string upgrade_in_a_hurry() {
  const std::string message = R"({"type":"join","payload":{"room":"lobby"}})";
  return "GET /ws?from=somewhere HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
         "Authorization: Bearer bob-secret\r\n\r\n\x81" +
         std::string(1, static_cast<char>(0x80U | message.size())) + std::string(4, '\0') + message;
}

/// All that comes until there is `part`.
inline std::string read_until(const Socket& socket, std::string_view part) {
  std::string all;
  while (all.find(part) == std::string::npos) REQUIRE(socket.read(all));
  return all;
}

inline void check_own_port(const char* example) {
  Process program({example, "0"});
  const std::uint16_t port = program.port();
  Client ann(port, "Authorization: Bearer ann-secret\r\n");
  CHECK_THAT(ann.receive("connection_ack"), ContainsSubstring(R"("user_id":"ann")"));
  ann.send(R"({"type":"join","payload":{"room":"lobby"}})");
  ann.receive("room_joined");
  {
    const Socket bob(port);
    bob.write(upgrade_in_a_hurry());
    const std::string heard = read_until(bob, "room_joined");
    CHECK_THAT(heard, ContainsSubstring("HTTP/1.1 101 ") && ContainsSubstring(R"("user_id":"bob")"));
  }
  CHECK_THROWS_WITH(Client(port, "Authorization: Bearer guess\r\n"), ContainsSubstring(" 401 "));
  CHECK_THROWS_WITH(Client(port, "Authorization: Bearer ann-secret\r\nOrigin: https://evil.example\r\n"),
                    ContainsSubstring(" 403 "));
  CHECK_THROWS_WITH(Client(port, {}, "/elsewhere"), ContainsSubstring(" 404 "));
  CHECK_THAT(http(port, "GET /"), ContainsSubstring("the program's own page"));

  program.signal(SIGTERM);
  CHECK(ann.close_code() == 1001);
  const auto ended = program.wait();
  CHECK(ended.exit_code == 0);
  CHECK(ended.err.empty());
}

}  // namespace muster::test
