// Sessions whose connection has ended: what is kept for them, how long, and what is told when nobody comes back.
#pragma once

#include <algorithm>

#include "muster/core/outward/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Whether a client whose connection ended like this may come back to its session.
[[nodiscard]] constexpr bool may_resume(CloseReason reason) noexcept {
  return reason == CloseReason::lost || reason == CloseReason::going_away || reason == CloseReason::heartbeat_timeout ||
         reason == CloseReason::slow_consumer || reason == CloseReason::internal_error ||
         reason == CloseReason::rate_limited || reason == CloseReason::auth_required;
}

}  // namespace core

/// Whether the places of a connection that ends are kept; a place among the kept sessions is then taken.
MUSTER_INLINE bool ConnectionManager::session_waits(const ConnectionState& connection, CloseReason reason,
                                                    bool socket_gone) noexcept {
  if (connection.session_generation == 0 || !admission_.is_open() || connection.loop->stopped) return false;
  if (connection.handing_over) return kept_sessions_.reserve(0);
  if (reason == CloseReason::going_away && !socket_gone) return false;  // this server goes, and its rooms with it
  if (reason == CloseReason::auth_required) return false;               // it may come back, but is no member meanwhile
  return options_.presence_grace > std::chrono::milliseconds(0) && core::may_resume(reason) &&
         kept_sessions_.reserve(options_.max_connections);
}

/// Keeps the places of a connection that ends for its session, or changes nothing. False: it does not wait.
MUSTER_INLINE bool ConnectionManager::keep_session(ConnectionState& connection, CloseReason reason,
                                                   bool socket_gone) noexcept {
  if (!session_waits(connection, reason, socket_gone)) return false;
  Loop& loop = *connection.loop;
  const auto grace =
      connection.handing_over ? options_.answer_timeout : std::min(options_.presence_grace, options_.resume_window);
  auto planned = loop.graces.end();
  const bool kept = connection.contain("A session", [&] {
    const UserKey user{connection.identity_->tenant, connection.identity_->user};
    planned = loop.graces.emplace(loop.executor->now() + grace,
                                  core::Grace{connection.member, connection.session_generation, user,
                                              connection.token_hash, connection.previous_token_hash});
    std::vector<RoomPtr> rooms;
    rooms.reserve(connection.memberships.size());
    for (const Membership& membership : connection.memberships) rooms.push_back(membership.room);
    kept_sessions_.hold(connection.member, connection.session_generation, rooms);
    users_.hold(user);
  });
  if (!kept) {
    if (planned != loop.graces.end()) loop.graces.erase(planned);
    kept_sessions_.give_back();
    return false;
  }
  loop.arm(loop.grace_timer, loop.graces.begin()->first);
  return true;
}

MUSTER_INLINE void ConnectionManager::part_from_session(ConnectionState& connection, CloseReason reason,
                                                        std::vector<std::string> names) noexcept {
  if (connection.session_generation == 0) return;
  const TimePoint expires = connection.loop->executor->now() + options_.resume_window;
  for (const std::string* token : {&connection.token_hash, &connection.previous_token_hash}) {
    if (token->empty()) continue;
    (void)connection.contain("The session store", [&] {
      if (core::may_resume(reason) && !connection.handing_over) {
        save_session(connection, *token, names, expires);
      } else {
        forget_session(*token);
      }
    });
  }
}

MUSTER_INLINE void ConnectionManager::run_graces(Loop& loop, TimePoint now_here) noexcept {
  while (!loop.graces.empty() && loop.graces.begin()->first <= now_here) {
    if (!loop.contain("The end of a session", [&] { end_grace(loop, loop.graces.begin()); })) {
      loop.arm(loop.grace_timer, loop.executor->now() + core::retry_delay);
      return;
    }
  }
  if (!loop.graces.empty()) loop.arm(loop.grace_timer, loop.graces.begin()->first);
}
MUSTER_INLINE void ConnectionManager::run_due_graces(Loop& loop) { run_graces(loop, loop.executor->now()); }

/// Nobody came back: the others are told now. Or nothing has changed, and it throws.
MUSTER_INLINE core::Graces::iterator ConnectionManager::end_grace(Loop& loop, core::Graces::iterator at) {
  core::Clearings clearing = state_flush_.clearing_for(loop, at->second.member, nullptr);
  const core::Grace grace = std::move(at->second);
  const auto next = loop.graces.erase(at);
  const auto rooms = kept_sessions_.expire(grace.member, grace.generation);
  if (!rooms) return next;
  for (const RoomPtr& room : *rooms) joining_.give_up_place(loop, room, grace.member);
  state_flush_.clear_awareness(loop, clearing);
  (void)edges_.tell(loop, grace.user, users_.release(grace.user), *rooms);
  for (const RoomPtr& room : *rooms) {
    (void)loop.contain("The end of a room", [&] { rooms_.settle(loop, room); });
  }
  return next;
}

/// Ends the grace of those that `chosen` picks, on every executor; `for_good`: they cannot resume any more.
MUSTER_INLINE void ConnectionManager::end_graces(std::function<bool(const core::Grace&)> chosen, bool for_good) {
  for (const LoopPtr& loop : loops_.all()) {
    (void)post(loop, [loop, chosen, for_good](ConnectionManager& manager) {
      for (auto at = loop->graces.begin(); at != loop->graces.end();) {
        if (!chosen(at->second)) {
          ++at;
          continue;
        }
        if (for_good) {
          manager.forget_session(at->second.token_hash);
          manager.forget_session(at->second.previous_token_hash);
        }
        at = manager.end_grace(*loop, at);
      }
    });
  }
}

}  // namespace MUSTER_ABI
}  // namespace muster
