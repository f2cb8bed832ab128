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
  Payload(std::string bytes, PayloadKind kind) : body_(std::make_shared<const Body>(Body{std::move(bytes), kind})) {}
  [[nodiscard]] std::string_view view() const noexcept {
    return body_ ? std::string_view(body_->bytes) : std::string_view();
  }
  [[nodiscard]] PayloadKind kind() const noexcept { return body_ ? body_->kind : PayloadKind::json; }
  [[nodiscard]] bool empty() const noexcept { return view().empty(); }
  friend bool operator==(const Payload& a, const Payload& b) noexcept {
    return a.kind() == b.kind() && a.view() == b.view();
  }
  friend bool operator!=(const Payload& a, const Payload& b) noexcept { return !(a == b); }

 private:
  struct Body {
    std::string bytes;
    PayloadKind kind;
  };
  std::shared_ptr<const Body> body_;
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
