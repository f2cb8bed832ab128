// Hooks: the embedder's handlers and hooks, and the one place where each of them is called.
#pragma once

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/connection_manager.hpp"
#include "muster/core/base/function_ref.hpp"
#include "muster/core/base/mutex.hpp"
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

/// The handlers of one time. Each loop refers to one table, and changes over to the newest between two commands: so
/// nothing is locked or counted for a command, and a handler that runs is not let go of.
struct HandlerTable {
  std::map<std::string, std::shared_ptr<const Handler>, std::less<>> by_type;
  std::shared_ptr<const PublishInterceptor> interceptor;  ///< null: nobody looks

  [[nodiscard]] const Handler* find(std::string_view type) const {
    const auto found = by_type.find(type);
    return found == by_type.end() ? nullptr : found->second.get();
  }
};

/// Hooks are registered before the first connection opens, and read-only from then on. Handlers come and go.
class Hooks {
 public:
  // Any thread. Who changes handlers has every loop `refresh`, so that it lets go of the old ones.

  void on(std::string type, Handler handler) {
    if (type.empty()) throw std::invalid_argument("on: the type of message is empty");
    must_be_given("on(\"" + type + "\")", handler.at_once || handler.later);
    if (handler.options.timeout.count() < 0) {
      throw std::invalid_argument("on(\"" + type + "\"): the timeout is negative");
    }
    const auto shared = std::make_shared<const Handler>(std::move(handler));
    change([&](HandlerTable& table) { table.by_type.insert_or_assign(std::move(type), shared); });
  }
  /// False: there is none.
  bool off(std::string_view type) {
    bool was_there = false;
    change([&](HandlerTable& table) {
      const auto found = table.by_type.find(type);
      was_there = found != table.by_type.end();
      if (was_there) table.by_type.erase(found);
    });
    return was_there;
  }
  void intercept(PublishInterceptor interceptor) {
    std::shared_ptr<const PublishInterceptor> shared;
    if (interceptor) shared = std::make_shared<const PublishInterceptor>(std::move(interceptor));
    change([&](HandlerTable& table) { table.interceptor = shared; });
  }
  /// On the loop: what serves now. Not while a handler runs.
  [[nodiscard]] const HandlerTable& serving(Loop& loop) const {
    if (loop.handlers.get() != newest_.load(std::memory_order_acquire)) refresh(loop);
    return *loop.handlers;
  }
  void refresh(Loop& loop) const {
    std::shared_ptr<const HandlerTable> before;  // ends after the section
    Lock lock(mutex_);
    before = std::exchange(loop.handlers, handlers_);
  }

  void on_connected(ConnectionHook hook) { add(given_.connected, "on_connected", std::move(hook)); }
  void on_joined(JoinHook hook) { add(given_.joined, "on_joined", std::move(hook)); }
  void on_left(LeaveHook hook) { add(given_.left, "on_left", std::move(hook)); }
  void on_disconnected(DisconnectHook hook) { add(given_.disconnected, "on_disconnected", std::move(hook)); }
  void on_slow(SlowHook hook) { add(given_.slow, "on_slow", std::move(hook)); }
  void on_caught_up(SlowHook hook) { add(given_.caught_up, "on_caught_up", std::move(hook)); }
  void on_user_online(UserHook hook) { add(given_.online, "on_user_online", std::move(hook)); }
  void on_user_offline(UserHook hook) { add(given_.offline, "on_user_offline", std::move(hook)); }
  void on_room_opened(RoomHook hook) { add(given_.room_opened, "on_room_opened", std::move(hook)); }
  void on_room_emptied(RoomHook hook) { add(given_.room_emptied, "on_room_emptied", std::move(hook)); }
  void open() noexcept { opened_ = true; }
  /// When no executor has anything left that would call one.
  void clear() noexcept {
    given_ = {};
    std::vector<std::weak_ptr<HandlerTable>> tables;
    {
      Lock lock(mutex_);
      is_over_ = true;
      tables.swap(tables_);
    }
    // An executor that has stopped changes over no more: its table goes here.
    for (const auto& one : tables) {
      const auto table = one.lock();
      if (!table) continue;
      table->by_type.clear();
      table->interceptor.reset();
    }
  }

  /// Runs a handler's code; `refused` gets the Error that it threw to refuse its command. False: it threw anything else.
  bool handle(ConnectionState& connection, FunctionRef<void()> code, std::optional<Error>& refused,
              const char* where = "A message handler") noexcept {
    return connection.contain(where, [&] {
      const Call call(connection);
      connection.loop->time([&] {
        try {
          code();
        } catch (Error& error) {
          refused = std::move(error);
        }
      });
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
  bool slow_edge(ConnectionState& connection, bool is_slow, const Slow& slow) noexcept {
    return each(is_slow ? given_.slow : given_.caught_up, is_slow ? "on_slow" : "on_caught_up", connection, slow);
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
    std::vector<ConnectionHook> connected;
    std::vector<JoinHook> joined;
    std::vector<LeaveHook> left;
    std::vector<DisconnectHook> disconnected;
    std::vector<SlowHook> slow;
    std::vector<SlowHook> caught_up;
    std::vector<UserHook> online;
    std::vector<UserHook> offline;
    std::vector<RoomHook> room_opened;
    std::vector<RoomHook> room_emptied;
  };

  /// The next table is made of the last. After the end nothing would let go of it.
  void change(FunctionRef<void(HandlerTable&)> code) {
    std::shared_ptr<HandlerTable> before;  // ends after the section
    Lock lock(mutex_);
    if (is_over_) return;
    const auto next = std::make_shared<HandlerTable>(*handlers_);
    code(*next);
    tables_.erase(std::remove_if(tables_.begin(), tables_.end(), [](const auto& one) { return one.expired(); }),
                  tables_.end());
    tables_.push_back(next);
    before = std::exchange(handlers_, next);
    newest_.store(next.get(), std::memory_order_release);
  }

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
      connection.loop->time([&] { code(connection, arguments...); });
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
    for (const Hook& hook : hooks) {
      const auto code = [&] {
        const Call call(loop);
        loop.time([&] { hook(key); });
      };
      well = loop.contain(where, code) && well;
    }
    return well;
  }

  Given given_;
  std::atomic<bool> opened_{false};
  mutable Mutex mutex_;
  std::shared_ptr<HandlerTable> handlers_ MUSTER_GUARDED_BY(mutex_) = std::make_shared<HandlerTable>();
  std::atomic<const HandlerTable*> newest_{handlers_.get()};                   ///< `handlers_`, to be compared with
  std::vector<std::weak_ptr<HandlerTable>> tables_ MUSTER_GUARDED_BY(mutex_);  ///< that may be in use
  bool is_over_ MUSTER_GUARDED_BY(mutex_) = false;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
