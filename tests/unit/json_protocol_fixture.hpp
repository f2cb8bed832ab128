// The little language of the JSON protocol's tests: read what a client sends, tell what a server says.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "muster/protocols/json_protocol.hpp"
#include "support/catch.hpp"
#include "support/json_check.hpp"

namespace muster::test {

/// The one command of a text message.
inline Command read(std::string_view message, const JsonProtocol& protocol = JsonProtocol(), DecodeLimits limits = {}) {
  std::vector<Command> commands;
  const std::optional<CloseReason> closed = protocol.decode(FrameKind::text, message, limits, commands);
  REQUIRE_FALSE(closed.has_value());
  REQUIRE(commands.size() == 1);
  return std::move(commands.front());
}

template <class Body>
Body read_as(std::string_view message) {
  INFO(message);
  Command command = read(message);
  if (const auto* invalid = std::get_if<command::Invalid>(&command.body)) FAIL(invalid->error.message);
  REQUIRE(std::holds_alternative<Body>(command.body));
  return std::get<Body>(std::move(command.body));
}

/// What is wrong with a message, in the sentence the client gets; empty: nothing.
inline std::string problem(std::string_view message, DecodeLimits limits = {}) {
  const Command command = read(message, JsonProtocol(), limits);
  const auto* const invalid = std::get_if<command::Invalid>(&command.body);
  if (invalid == nullptr) return {};
  CHECK(invalid->error.code == errc::invalid_message);
  CHECK_FALSE(invalid->error.message.empty());
  return invalid->error.message;
}

/// The id of a message's command, as it will be echoed.
inline std::string id_of(std::string_view message) { return read(message).correlation.id; }

/// The bytes of an event at 1700000000000 ms. They are JSON, or the test fails.
inline std::string tell(const Event& event, const Correlation* correlation = nullptr) {
  std::string out;
  CHECK(JsonProtocol().encode(event, correlation, WallTime(std::chrono::milliseconds(1700000000000)), out) ==
        FrameKind::text);
  CHECK(is_json_object(out));
  return out;
}

/// An event of that type without a reply_to.
inline std::string message_of(std::string_view type, std::string_view payload) {
  return "{\"type\":\"" + std::string(type) + "\",\"timestamp\":1700000000000,\"payload\":" + std::string(payload) +
         "}";
}

}  // namespace muster::test
