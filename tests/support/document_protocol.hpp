// DocumentProtocol: a small one whose messages name no room, since that stands in the path, as those of y-websocket. With it
// other protocols than muster.v1.json are tried: state per connection, names in the path, each way of a heartbeat.
#pragma once

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "muster/protocol.hpp"

namespace muster::test {

class DocumentProtocol final : public Protocol {
 public:
  struct Form {
    std::string name = "document";
    std::string path = "/doc/{room}";
    HeartbeatStyle heartbeat = HeartbeatStyle::ping;
  };
  DocumentProtocol() : DocumentProtocol(Form()) {}
  explicit DocumentProtocol(Form form) : form_(std::move(form)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return form_.name; }
  [[nodiscard]] std::string_view path() const noexcept override { return form_.path; }
  [[nodiscard]] HeartbeatStyle heartbeat() const noexcept override { return form_.heartbeat; }
  [[nodiscard]] std::unique_ptr<Conversation> converse(const PathMatch& at) const override {
    if (at.query == "throw") throw std::runtime_error("no conversation");
    return std::make_unique<Talk>(std::string(at["room"]));
  }

  /// What is published, as it is; else one word for the event, and what it is about.
  [[nodiscard]] std::optional<FrameKind> encode(const Event& event, const Correlation*, WallTime,
                                                std::string& out) const override {
    if (const auto* published = event.get_if<event::RoomMessage>()) {
      out += published->data->view();
      return FrameKind::binary;
    }
    if (const auto* joined = event.get_if<event::RoomJoined>()) {
      out += "joined " + std::string(joined->room);
      return FrameKind::binary;
    }
    if (const auto* ack = event.get_if<event::ConnectionAck>()) {
      out += "token " + std::string(ack->resume_token);
      return FrameKind::binary;
    }
    if (const auto* failure = event.get_if<event::Failure>()) {
      out += "error " + std::string(failure->error != nullptr ? to_string(failure->error->code) : std::string_view());
      return FrameKind::binary;
    }
    if (event.get_if<event::Heartbeat>() == nullptr || form_.heartbeat != HeartbeatStyle::message) return {};
    out += "alive?";
    return FrameKind::binary;
  }

 private:
  /// "alive" asks nothing; "resume TOKEN" takes a session up; the first of all others joins the room, and each is published
  /// there, to its publisher as well if it begins with "echo".
  class Talk final : public Conversation {
   public:
    explicit Talk(std::string room) : room_(std::move(room)) {}

    [[nodiscard]] std::optional<CloseReason> decode(FrameKind kind, std::string_view message, const DecodeLimits&,
                                                    std::vector<Command>& commands) override {
      constexpr std::string_view resume = "resume ";
      if (kind != FrameKind::binary) return CloseReason::unsupported_data;
      if (message == "alive") return std::nullopt;
      if (message == "throw an exception") throw std::runtime_error("a conversation that breaks its promise");
      if (message.substr(0, resume.size()) == resume) {
        commands.emplace_back().body = command::Resume{std::string(message.substr(resume.size())), {}, {{room_, {}}}};
        joined_ = true;
        return std::nullopt;
      }
      if (!std::exchange(joined_, true)) commands.emplace_back().body = command::Join{room_};
      command::Publish publish;
      publish.room = room_;
      publish.data = binary(std::string(message));
      publish.echo = message.substr(0, 4) == "echo";
      commands.emplace_back().body = std::move(publish);
      return std::nullopt;
    }

   private:
    const std::string room_;
    bool joined_ = false;
  };

  const Form form_;
};

}  // namespace muster::test
