// EchoProtocol: messages without an envelope. What a client says is a command, and what it is told is a payload, each in the
// kind of frame that it is of; `echo` is the handler that sends back.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "muster/connection_manager.hpp"
#include "muster/protocol.hpp"

namespace muster::test {

class EchoProtocol final : public Protocol {
 public:
  /// The type of every message but "join ROOM", and "state STATE", which is the sender's awareness in the room "hall".
  static constexpr const char* type = "message";
  static void echo(Connection& connection, const Payload& payload) { connection.reply(payload); }

  [[nodiscard]] std::string_view name() const noexcept override { return "echo"; }

  [[nodiscard]] std::optional<CloseReason> decode(FrameKind kind, std::string_view message, const DecodeLimits&,
                                                  std::vector<Command>& commands) const override {
    constexpr std::string_view join = "join ";
    constexpr std::string_view state = "state ";
    Command& command = commands.emplace_back();
    if (kind == FrameKind::text && message.substr(0, join.size()) == join) {
      command.body = command::Join{std::string(message.substr(join.size()))};
    } else if (kind == FrameKind::text && message.substr(0, state.size()) == state) {
      command::AwarenessSet& set = command.body.emplace<command::AwarenessSet>();
      set.room = "hall";
      set.state = text(std::string(message.substr(state.size())));
    } else {
      command.body =
          command::Custom{type, kind == FrameKind::text ? text(std::string(message)) : binary(std::string(message))};
    }
    return std::nullopt;
  }

  [[nodiscard]] std::optional<FrameKind> encode(const Event& event, const Correlation*, WallTime,
                                                std::string& out) const override {
    const Payload* payload = nullptr;
    if (const auto* answer = event.get_if<event::Ack>()) payload = answer->payload;
    if (const auto* published = event.get_if<event::RoomMessage>()) payload = published->data;
    if (const auto* direct = event.get_if<event::DirectMessage>()) payload = direct->data;
    if (payload == nullptr) return std::nullopt;
    out += payload->view();
    return payload->kind() == PayloadKind::binary ? FrameKind::binary : FrameKind::text;
  }
};

}  // namespace muster::test
