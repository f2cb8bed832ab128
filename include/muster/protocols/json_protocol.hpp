// JsonProtocol: the default wire protocol, muster.v1.json; one JSON object (RFC 8259) in each text frame.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "muster/protocol.hpp"

namespace muster {
inline namespace MUSTER_ABI {

struct JsonProtocolOptions {
  /// The WebSocket subprotocol.
  std::string name = "muster.v1.json";
  /// The URL path.
  std::string path = "/ws";
  /// Built-in message types a client shall not use. They become `command::Custom`, as unknown ones do, and are answered
  /// unknown_message unless the embedder handles them. An alias is a type of its own: `join` does not name `subscribe`.
  std::set<std::string> disabled_commands;
};

/// All of it, for authors of clients: json_protocol.md, beside this header.
///
/// In:  `{"type": string, "id"?: string or integer, "payload"?: object}`
/// Out: `{"type": string, "timestamp": ms since epoch, "reply_to"?: the id, "payload": object}`
///
/// A message is read in one pass, by an iterative parser: neither depth nor size of the input uses stack. Members the
/// type does not know are ignored, duplicates of known ones refused, and so is every duplicate at the top. What cannot
/// be read is `command::Invalid` with a sentence that names the member, and with the id wherever that could be read.
///
/// Application data (`data`, `state`, the payloads of `ping` and of custom types) is checked to be JSON in valid UTF-8
/// (lone surrogates in escapes included) and copied byte for byte. Numbers in it are not interpreted, so that their
/// range and spelling survive. An absent payload is an empty Payload.
///
/// Server data: a Payload of kind json is written as it is, an empty one as null; text as a string, in which bytes that
/// are not UTF-8 become U+FFFD; binary as base64 with padding (RFC 4648, 4) in a string.
///
/// Threads: as Protocol; the object is immutable.
class JsonProtocol final : public Protocol {
 public:
  /// Throws std::invalid_argument when `name` is empty, `path` does not begin with '/', or `disabled_commands` names
  /// something that is not a built-in type.
  explicit JsonProtocol(JsonProtocolOptions options = {});

  [[nodiscard]] std::string_view name() const noexcept override { return name_; }
  [[nodiscard]] std::string_view path() const noexcept override { return path_; }
  [[nodiscard]] bool serves(std::string_view type) const noexcept override;

  [[nodiscard]] std::optional<CloseReason> decode(FrameKind kind, std::string_view message, const DecodeLimits& limits,
                                                  std::vector<Command>& commands) const override;
  [[nodiscard]] std::optional<FrameKind> encode(const Event& event, const Correlation* correlation, WallTime now,
                                                std::string& out) const override;

 private:
  std::string name_;
  std::string path_;
  /// One bit for each built-in type.
  std::uint32_t disabled_ = 0;
};

}  // namespace MUSTER_ABI
}  // namespace muster

#if !defined(MUSTER_COMPILED)
#include "muster/protocols/json_protocol/json_protocol.ipp"
#endif
