// What is delivered: immutable bytes, and how.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "muster/config.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// What the bytes of a Payload are, so that each Protocol can carry them: JSON travels as it is, text as a string,
/// binary as the protocol's form of bytes.
enum class PayloadKind : std::uint8_t { json, text, binary };

/// Immutable application data. Copies share the bytes; safe to read from any thread.
class Payload {
 public:
  Payload() = default;
  Payload(std::string bytes, PayloadKind kind)
      : bytes_(std::make_shared<const std::string>(std::move(bytes))), kind_(kind) {}
  [[nodiscard]] std::string_view view() const noexcept {
    return bytes_ ? std::string_view(*bytes_) : std::string_view();
  }
  [[nodiscard]] PayloadKind kind() const noexcept { return kind_; }
  [[nodiscard]] bool empty() const noexcept { return view().empty(); }

 private:
  std::shared_ptr<const std::string> bytes_;
  PayloadKind kind_ = PayloadKind::json;
};

/// `value` must be one valid JSON value; it is forwarded byte for byte and, from server code, not checked again.
[[nodiscard]] inline Payload json(std::string value) { return {std::move(value), PayloadKind::json}; }
[[nodiscard]] inline Payload text(std::string value) { return {std::move(value), PayloadKind::text}; }
[[nodiscard]] inline Payload binary(std::string value) { return {std::move(value), PayloadKind::binary}; }

/// How a message is delivered.
class Delivery {
 public:
  enum class Kind : std::uint8_t { reliable, latest, queued };

  /// Ordered; delivered exactly once while connected, or named in a gap.
  [[nodiscard]] static Delivery reliable() { return {}; }
  /// State rather than event: of those with one key only the newest need arrive (typing, cursors). Has no seq.
  [[nodiscard]] static Delivery latest(std::string key) { return {Kind::latest, std::move(key)}; }
  /// To a user: stored until acknowledged, also while nobody is online.
  [[nodiscard]] static Delivery queued() { return {Kind::queued, {}}; }

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] const std::string& key() const noexcept { return key_; }

  Delivery() = default;

 private:
  Delivery(Kind kind, std::string key) : kind_(kind), key_(std::move(key)) {}
  Kind kind_ = Kind::reliable;
  std::string key_;
};

}  // namespace MUSTER_ABI
}  // namespace muster
