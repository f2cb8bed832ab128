// The seam that says what a connection may do, and where.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "muster/error.hpp"
#include "muster/reply.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// What a client command asks to do. `custom` is a command that a handler of the embedder serves.
enum class Action : std::uint8_t { join, publish, send, awareness, query, custom };

[[nodiscard]] constexpr std::string_view to_string(Action action) noexcept {
  constexpr std::string_view names[] = {"join", "publish", "send", "awareness", "query", "custom"};
  return names[static_cast<std::size_t>(action)];
}

/// One question: may `identity` do `action` on `target`?
struct Access {
  ConnectionId connection;
  /// Immutable; may be kept beyond the call.
  std::shared_ptr<const Identity> identity;
  Action action = Action::join;
  /// A room name (join, publish, awareness, query), a user (send, query), or a command's type (custom).
  std::string target;
};

/// Yes, or why not.
class Permission {
 public:
  [[nodiscard]] static Permission allow() { return {}; }
  [[nodiscard]] static Permission deny(std::string message = "You may not do this here") {
    Permission permission;
    permission.allowed_ = false;
    permission.message_ = std::move(message);
    return permission;
  }
  /// It could not be found out; the command is answered `unavailable`.
  [[nodiscard]] static Permission late(std::string message = "Try again later") {
    Permission permission = deny(std::move(message));
    permission.unavailable_ = true;
    return permission;
  }
  /// The same answer, which holds for so long: until then the connection is not asked about again with that action and
  /// target, unless it has shown new credentials since, or has been told more such answers than Options::permissions_kept.
  /// `late` never holds.
  [[nodiscard]] Permission hold_for(std::chrono::milliseconds time) && {
    holds_for_ = time;
    return std::move(*this);
  }
  [[nodiscard]] std::chrono::milliseconds holds_for() const noexcept { return holds_for_; }
  [[nodiscard]] explicit operator bool() const noexcept { return allowed_; }
  [[nodiscard]] bool unavailable() const noexcept { return unavailable_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }

 private:
  bool allowed_ = true;
  bool unavailable_ = false;
  std::chrono::milliseconds holds_for_{0};
  std::string message_;
};

/// Says what is allowed. Asked for every client command that touches a room, a user or a handler of the embedder.
///
/// Threads, answers and exceptions as for Authenticator; a throw before the answer is `Permission::late`. An answer inside
/// the call is the fast path: one that comes later holds back that connection's further commands.
class Authorizer {
 public:
  virtual ~Authorizer() = default;
  virtual void authorize(const Access& access, Reply<Permission> done) = 0;

 protected:
  Authorizer() = default;
  Authorizer(const Authorizer&) = default;
  Authorizer& operator=(const Authorizer&) = default;
};

}  // namespace MUSTER_ABI
}  // namespace muster
