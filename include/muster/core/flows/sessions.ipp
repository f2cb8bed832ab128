// Tokens, what is stored, and graces.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>

#include "muster/core/flows/sessions.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Whether a client whose connection ended like this may come back to its session.
[[nodiscard]] constexpr bool may_resume(CloseReason reason) noexcept {
  return reason == CloseReason::lost || reason == CloseReason::going_away || reason == CloseReason::heartbeat_timeout ||
         reason == CloseReason::slow_consumer || reason == CloseReason::internal_error ||
         reason == CloseReason::rate_limited || reason == CloseReason::auth_required;
}

MUSTER_INLINE bool Sessions::may_have(const ConnectionState& connection) const {
  return options_.resume_window > std::chrono::milliseconds(0) && !connection.chosen_id &&
         connection.identity_->returns;
}

MUSTER_INLINE std::string Sessions::open(ConnectionState& connection) {
  if (!may_have(connection)) return {};
  std::string token = entropy_.token();
  connection.token_hash = sha256(token);
  connection.session_generation = 1;
  // A store that refuses inside the call is believed; one that answers later may still fail, and a resume with it.
  const std::shared_ptr<std::atomic<bool>> refused(new std::atomic<bool>(false));
  save(connection, to_hex(connection.token_hash), {}, TimePoint::max(), refused);
  if (!*refused) return token;
  connection.session_generation = 0;
  return {};
}

MUSTER_INLINE void Sessions::save(ConnectionState& connection, std::string token_hash, std::vector<std::string> rooms,
                                  TimePoint expires, std::shared_ptr<std::atomic<bool>> refused) {
  Session session{connection.member, user_of(connection), connection.session_generation, connection.id_,
                  std::move(rooms)};
  const bool well = connection.contain("The session store", [&] {
    store_.save(std::move(token_hash), std::move(session), connection.loop->executor->now(), expires,
                Reply<Result<void>>([this, life = life_.handle(), refused](const Result<void>& saved) {
                  // That another connection has taken the session since is no failure of the store's.
                  if (saved || saved.error().code == errc::resume_failed) return;
                  if (const auto alive = life.lock()) ++failed_;
                  if (refused) *refused = true;
                }));
  });
  if (well) return;
  ++failed_;
  if (refused) *refused = true;
}

MUSTER_INLINE void Sessions::forget(std::string token_hash) {
  if (token_hash.empty()) return;
  try {
    store_.forget(std::move(token_hash), Reply<Result<void>>([](const Result<void>&) {}));
  } catch (...) {
    ++failed_;
  }
}

MUSTER_INLINE void Sessions::give_back(const std::string& token_hash, Session session) {
  const TimePoint at = loops_.read_clock();
  try {
    store_.save(token_hash, std::move(session), at, at + options_.resume_window,
                Reply<Result<void>>([](const Result<void>&) {}));
  } catch (...) {
    ++failed_;
  }
}

/// A stored one may be taken up for as long as `resume_window`.
MUSTER_INLINE void Sessions::revoke(const Revocation& which) {
  for (const LoopPtr& loop : loops_.all()) {
    (void)loop->post([this, loop, which] {
      for (auto at = loop->graces.begin(); at != loop->graces.end();) {
        const Grace& grace = at->second;
        const bool ends = which.session
                              ? grace.member == *which.session
                              : grace.user.tenant == which.tenant && (!which.user || grace.user.user == *which.user);
        if (!ends) {
          ++at;
          continue;
        }
        forget(to_hex(grace.token_hash));
        forget(grace.previous_token_hash);
        at = end_grace(*loop, at);
      }
    });
  }
  try {
    store_.revoke(which, Reply<Result<std::size_t>>([this, life = life_.handle()](const Result<std::size_t>& done) {
                    const auto alive = life.lock();
                    if (!alive || done) return;
                    ++failed_;
                    failures_.log(LogLevel::error, "Stored sessions could not be revoked: " + done.error().message);
                  }));
  } catch (const std::exception& failure) {
    ++failed_;
    failures_.log(LogLevel::error, std::string("Stored sessions could not be revoked: ") + failure.what());
  }
}

/// Whether the seats of a connection that ends are kept; a place among the kept sessions is then taken.
MUSTER_INLINE bool Sessions::waits(const ConnectionState& connection, CloseReason reason, bool socket_gone) noexcept {
  if (connection.session_generation == 0 || !admission_.is_open() || connection.loop->stopped) return false;
  if (connection.handing_over) return table_.reserve(0);
  if (reason == CloseReason::going_away && !socket_gone) return false;  // this server goes, and its rooms with it
  if (reason == CloseReason::auth_required) return false;               // it may come back, but is no member meanwhile
  return options_.presence_grace > std::chrono::milliseconds(0) && may_resume(reason) &&
         table_.reserve(options_.max_connections);
}

[[nodiscard]] inline Grace grace_of(const ConnectionState& connection, const UserKey& user) {
  return {connection.member,     connection.session_generation,    user,
          connection.token_hash, connection.previous_token_hash(), false};
}

/// Keeps the seats of a connection that ends for its session, or changes nothing. False: it does not wait.
MUSTER_INLINE bool Sessions::keep(ConnectionState& connection, CloseReason reason, bool socket_gone) noexcept {
  if (!waits(connection, reason, socket_gone)) return false;
  Loop& loop = *connection.loop;
  const auto grace =
      connection.handing_over ? options_.answer_timeout : std::min(options_.presence_grace, options_.resume_window);
  auto planned = loop.graces.end();
  const bool kept = connection.contain("A session", [&] {
    const UserKey user = user_of(connection);
    planned = loop.graces.emplace(loop.executor->now() + grace, grace_of(connection, user));
    SessionTable::Kept seats;
    seats.rooms.reserve(connection.memberships.size());
    for (const Membership& membership : connection.memberships) {
      seats.rooms.push_back(membership.room);
      if (membership.decided) seats.decided.push_back(membership.room);
    }
    table_.hold(connection.member, connection.session_generation, seats);
    users_.hold(user);
  });
  if (!kept) {
    if (planned != loop.graces.end()) loop.graces.erase(planned);
    table_.give_back();
    return false;
  }
  loop.arm(loop.grace_timer, loop.graces.begin()->first);
  return true;
}

MUSTER_INLINE bool Sessions::keeps_data(ConnectionState& connection, CloseReason reason) noexcept {
  const bool may_come_back = connection.handing_over || may_resume(reason);
  if (!connection.has_data() || connection.session_generation == 0 || !may_come_back) return false;
  if (!admission_.is_open() || connection.loop->stopped) return false;
  Loop& loop = *connection.loop;
  auto planned = loop.graces.end();
  bool kept = false;
  const bool well = connection.contain("A session's data", [&] {
    planned =
        loop.graces.emplace(loop.executor->now() + options_.resume_window, grace_of(connection, user_of(connection)));
    planned->second.of_data = true;
    kept = table_.stay(connection.member, connection.session_generation, connection.shared_from_this(),
                       options_.max_connections);
  });
  if (well && kept) {
    loop.arm(loop.grace_timer, loop.graces.begin()->first);
  } else if (planned != loop.graces.end()) {
    loop.graces.erase(planned);
  }
  return well && kept;
}

MUSTER_INLINE void Sessions::part_with_data(ConnectionState& connection) noexcept {
  table_.part(connection.member,
              {std::exchange(connection.rare->data, {}), connection.loop, connection.rare->data_ends});
}

MUSTER_INLINE void Sessions::claimed(const SessionTable::Parked& parked, ConnectionId member) {
  const LoopPtr loop = parked.ends_on.lock();
  if (!loop) return;
  (void)loop->post([loop, member, when = parked.ends_at] {
    const auto [first, last] = loop->graces.equal_range(when);
    const auto grace =
        std::find_if(first, last, [&](const auto& at) { return at.second.of_data && at.second.member == member; });
    if (grace != last) loop->graces.erase(grace);
  });
}

MUSTER_INLINE void Sessions::part_from(ConnectionState& connection, CloseReason reason,
                                       std::vector<std::string> names) noexcept {
  if (connection.session_generation == 0) return;
  const TimePoint expires = connection.loop->executor->now() + options_.resume_window;
  for (const bool previous : {false, true}) {
    (void)connection.contain("The session store", [&] {
      std::string token = previous ? connection.previous_token_hash() : to_hex(connection.token_hash);
      if (token.empty()) return;
      if (may_resume(reason) && !connection.handing_over) {
        save(connection, std::move(token), names, expires);
      } else {
        forget(std::move(token));
      }
    });
  }
}

MUSTER_INLINE void Sessions::run_graces(Loop& loop, TimePoint now) noexcept {
  while (!loop.graces.empty() && loop.graces.begin()->first <= now) {
    if (!loop.contain("The end of a session", [&] { end_grace(loop, loop.graces.begin()); })) {
      loop.arm(loop.grace_timer, loop.executor->now() + retry_delay);
      return;
    }
  }
  if (!loop.graces.empty()) loop.arm(loop.grace_timer, loop.graces.begin()->first);
}

MUSTER_INLINE void Sessions::run_due_graces(Loop& loop) { run_graces(loop, loop.executor->now()); }

/// Nobody came back: the others are told now. Or nothing has changed, and it throws.
MUSTER_INLINE Graces::iterator Sessions::end_grace(Loop& loop, Graces::iterator at) {
  if (at->second.of_data) {
    (void)table_.expire_parked(at->second.member, at->second.generation);
    return loop.graces.erase(at);
  }
  Clearings clearing = state_flush_.clearing_for(loop, at->second.member, nullptr);
  const Grace grace = std::move(at->second);
  const auto next = loop.graces.erase(at);
  std::vector<RoomPtr> rooms;
  if (!table_.expire(grace.member, grace.generation, rooms)) return next;
  for (const RoomPtr& room : rooms) joining_.give_up_seat(loop, room, grace.member);
  state_flush_.clear_awareness(loop, clearing);
  (void)edges_.tell(loop, grace.user, users_.release(grace.user), rooms);
  for (const RoomPtr& room : rooms) {
    (void)loop.contain("The end of a room", [&] { rooms_.settle(loop, room); });
  }
  return next;
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
