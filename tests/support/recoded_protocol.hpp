// RecodedProtocol: muster.v1.json under another name, for clients that know other close codes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "muster/protocols/json_protocol.hpp"

namespace muster::test {

class RecodedProtocol final : public Protocol {
 public:
  /// The code of a reason, whose usual one is the second argument.
  using Codes = std::function<std::uint16_t(CloseReason, std::uint16_t)>;

  RecodedProtocol(std::string name, Codes codes) : json_({std::move(name), "/ws", {}}), codes_(std::move(codes)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return json_.name(); }
  [[nodiscard]] std::string_view path() const noexcept override { return json_.path(); }
  [[nodiscard]] std::optional<CloseReason> decode(FrameKind kind, std::string_view message, const DecodeLimits& limits,
                                                  std::vector<Command>& commands) const override {
    return json_.decode(kind, message, limits, commands);
  }
  [[nodiscard]] std::optional<FrameKind> encode(const Event& event, const Correlation* correlation, WallTime now,
                                                std::string& out) const override {
    if (event.get_if<event::RoomMessage>() != nullptr) ++room_messages_;
    return json_.encode(event, correlation, now, out);
  }
  [[nodiscard]] std::uint16_t close_code(CloseReason reason) const noexcept override {
    return codes_(reason, json_.close_code(reason));
  }
  /// How many it has encoded.
  [[nodiscard]] int room_messages() const noexcept { return room_messages_; }

 private:
  const JsonProtocol json_;
  const Codes codes_;
  mutable std::atomic<int> room_messages_{0};
};

}  // namespace muster::test
