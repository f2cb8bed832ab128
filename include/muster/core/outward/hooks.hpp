// Hooks: the embedder's handlers and hooks, and the one place where each of them is called.
#pragma once

#include <atomic>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/connection_manager.hpp"
#include "muster/core/base/function_ref.hpp"
#include "muster/core/connection/connection_state.hpp"
#include "muster/core/outward/call.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// One that serves a type of command: the one or the other function is empty.
struct Handler {
  MessageHandler at_once;
  RespondingHandler later;
  HandlerOptions options;
};

/// Registered before the first connection opens, read-only from then on.
class Hooks {
 public:
  void on(std::string type, Handler handler) {
    must_be_closed("on");
    if (type.empty()) throw std::invalid_argument("on: the type of message is empty");
    must_be_given("on(\"" + type + "\")", handler.at_once || handler.later);
    if (handler.options.timeout.count() < 0) {
      throw std::invalid_argument("on(\"" + type + "\"): the timeout is negative");
    }
    given_.handlers[std::move(type)] = std::move(handler);
  }
  void on_connected(ConnectionHook hook) { add(given_.connected, "on_connected", std::move(hook)); }
  void on_joined(JoinHook hook) { add(given_.joined, "on_joined", std::move(hook)); }
  void on_left(LeaveHook hook) { add(given_.left, "on_left", std::move(hook)); }
  void on_disconnected(DisconnectHook hook) { add(given_.disconnected, "on_disconnected", std::move(hook)); }
  void on_user_online(UserHook hook) { add(given_.online, "on_user_online", std::move(hook)); }
  void on_user_offline(UserHook hook) { add(given_.offline, "on_user_offline", std::move(hook)); }
  void on_room_opened(RoomHook hook) { add(given_.room_opened, "on_room_opened", std::move(hook)); }
  void on_room_emptied(RoomHook hook) { add(given_.room_emptied, "on_room_emptied", std::move(hook)); }
  void open() noexcept { opened_ = true; }
  /// When no executor has anything left that would call one.
  void clear() noexcept { given_ = {}; }

  [[nodiscard]] const Handler* handler(const std::string& type) const {
    const auto found = given_.handlers.find(type);
    return found == given_.handlers.end() ? nullptr : &found->second;
  }

  /// Runs a handler's code; `refused` gets the Error that it threw to refuse its command. False: it threw anything else.
  bool handle(ConnectionState& connection, FunctionRef<void()> code, std::optional<Error>& refused) noexcept {
    return connection.contain("A message handler", [&] {
      const Call call(connection);
      try {
        code();
      } catch (Error& error) {
        refused = std::move(error);
      }
    });
  }

  // Each event, told to all its hooks in the order they were registered. False: one threw.
  bool connected(ConnectionState& connection) noexcept { return each(given_.connected, "on_connected", connection); }
  bool joined(ConnectionState& connection, const RoomKey& room, const Joining& joining) noexcept {
    return each(given_.joined, "on_joined", connection, room, joining);
  }
  bool left(ConnectionState& connection, const RoomKey& room, const Leaving& leaving) noexcept {
    return each(given_.left, "on_left", connection, room, leaving);
  }
  bool disconnected(ConnectionState& connection, CloseReason reason) noexcept {
    return each(given_.disconnected, "on_disconnected", connection, reason);
  }
  bool user_edge(Loop& loop, const UserKey& user, bool online) noexcept {
    return each(online ? given_.online : given_.offline, online ? "on_user_online" : "on_user_offline", loop, user);
  }
  bool room_edge(Loop& loop, const RoomKey& room, bool open) noexcept {
    return each(open ? given_.room_opened : given_.room_emptied, open ? "on_room_opened" : "on_room_emptied", loop,
                room);
  }

 private:
  struct Given {
    std::map<std::string, Handler, std::less<>> handlers;
    std::vector<ConnectionHook> connected;
    std::vector<JoinHook> joined;
    std::vector<LeaveHook> left;
    std::vector<DisconnectHook> disconnected;
    std::vector<UserHook> online;
    std::vector<UserHook> offline;
    std::vector<RoomHook> room_opened;
    std::vector<RoomHook> room_emptied;
  };

  void must_be_closed(const char* what) const {
    if (opened_) throw std::logic_error(std::string(what) + " must be called before the first connection opens");
  }
  static void must_be_given(const std::string& what, bool given) {
    if (!given) throw std::invalid_argument(what + ": the function is empty");
  }
  template <class Hook>
  void add(std::vector<Hook>& to, const char* what, Hook hook) {
    must_be_closed(what);
    must_be_given(what, static_cast<bool>(hook));
    to.push_back(std::move(hook));
  }

  /// The embedder may use the connection until its code returns.
  template <class F, class... Arguments>
  bool lend(ConnectionState& connection, const char* where, const F& code, const Arguments&... arguments) noexcept {
    return connection.contain(where, [&] {
      const Call call(connection);
      code(connection, arguments...);
    });
  }
  template <class Hook, class... Arguments>
  bool each(const std::vector<Hook>& hooks, const char* where, ConnectionState& connection,
            const Arguments&... arguments) noexcept {
    bool well = true;
    for (const Hook& hook : hooks) well = lend(connection, where, hook, arguments...) && well;
    return well;
  }
  template <class Hook, class Key>
  bool each(const std::vector<Hook>& hooks, const char* where, Loop& loop, const Key& key) noexcept {
    bool well = true;
    for (const Hook& hook : hooks) well = loop.contain(where, [&] { hook(key); }) && well;
    return well;
  }

  Given given_;
  std::atomic<bool> opened_{false};
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
