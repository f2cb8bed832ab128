// Resuming: how another connection takes a session up again.
#pragma once

#include <algorithm>
#include <atomic>
#include <set>

#include "muster/core/outward/manager_calls.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// A resume on its way: the token's session, the rooms asked for, and which of them may be entered.
struct ConnectionManager::Resuming : Steps {
  Correlation correlation;
  std::string token_hash;
  std::vector<command::ResumeRoom> asked;
  Session session;
  ConnectionId member;
  std::vector<command::ResumeRoom> denied;  ///< asked for, but not the session's
  std::vector<bool> permitted;              ///< of `asked`, as far as it was found out
  int handovers = 0;
  /// Its token is spent, and no connection speaks for it yet: should the resume end here, it goes back.
  std::weak_ptr<ConnectionManager> taken_of;

  Resuming() = default;
  Resuming(const Resuming&) = delete;
  Resuming& operator=(const Resuming&) = delete;
  ~Resuming() {
    if (const auto manager = taken_of.lock()) manager->sessions_.give_back(token_hash, std::move(session));
  }
};

MUSTER_INLINE void ConnectionManager::on_command(ConnectionState& connection, Correlation& correlation,
                                                 command::Resume& resume) {
  const auto resuming = std::make_shared<Resuming>();
  resuming->correlation = correlation;
  resuming->token_hash = core::token_hash(resume.token);
  resuming->asked = std::move(resume.rooms);
  if (connection.live()) {
    take_session(connection, resuming);
    return;
  }
  connection.on_trial = true;
  authenticate_first(connection, correlation, std::move(resume.auth), false,
                     [this, resuming](ConnectionState& known) { take_session(known, resuming); });
}

MUSTER_INLINE void ConnectionManager::fail_resume(ConnectionState& connection, const Resuming& resuming, Error error) {
  ++counters_.resumes_failed;
  writer_.tell_error(connection, &resuming.correlation, std::move(error));
  end_trial(connection);
}

/// Whose resume came with its credentials was let in beyond the user's limit, since its ghost might be the one too many.
MUSTER_INLINE void ConnectionManager::end_trial(ConnectionState& connection) {
  if (!std::exchange(connection.on_trial, false)) return;
  const bool may_replace = options_.user_limit_policy == UserLimitPolicy::close_oldest;
  const auto yields = users_.overflow({connection.identity_->tenant, connection.identity_->user},
                                      options_.max_connections_per_user, may_replace, connection.shared_from_this());
  if (!yields) return;
  (void)ending_.remove(yields->id_, may_replace ? CloseReason::replaced : CloseReason::policy,
                       may_replace ? std::string() : core::too_many_of_user({}).message);
}

/// Spends the token: of two connections that bring it, one gets the session.
MUSTER_INLINE void ConnectionManager::take_session(ConnectionState& connection,
                                                   const std::shared_ptr<Resuming>& resuming) {
  if (connection.session_generation == 0) {
    fail_resume(connection, *resuming,
                sessions_.may_have(connection)
                    ? Error{errc::unavailable, "The session store takes no session now", std::chrono::seconds(1)}
                    : Error{errc::resume_failed, "Sessions do not resume here; join again", {}});
    return;
  }
  if (connection.resumed || !connection.memberships.empty()) {
    fail_resume(connection, *resuming, {errc::resume_failed, "resume must come once, and before the first join", {}});
    return;
  }
  questions_.ask<Result<Session>>(
      connection,
      [&](Reply<Result<Session>> reply) {
        store_->take(resuming->token_hash, {connection.identity_->tenant, connection.identity_->user}, connection.id_,
                     connection.loop->executor->now(), std::move(reply));
      },
      [this, resuming](ConnectionState& asker, Result<Session> session) {
        if (!session) {
          fail_resume(asker, *resuming, session.error());
          return;
        }
        resuming->session = std::move(session.value());
        resuming->taken_of = weak_from_this();
        resuming->member = parse_connection_id(resuming->session.id);
        claim_session(asker, resuming);
      },
      Error{errc::unavailable, "The session store did not answer in time", std::chrono::seconds(1)},
      [weak = weak_from_this(), token_hash = resuming->token_hash](Result<Session> session) {
        const auto manager = weak.lock();
        if (manager && session) manager->sessions_.give_back(token_hash, std::move(session.value()));
      });
}

/// In this process another connection may still speak for the session: its executor parts them, and then this one
/// takes its places. Its socket is not waited for.
MUSTER_INLINE void ConnectionManager::claim_session(ConnectionState& connection,
                                                    const std::shared_ptr<Resuming>& resuming) {
  const std::uint64_t generation = resuming->session.generation;
  const auto settle = [this, resuming, generation](ConnectionState& claimant) {
    ConnectionPtr speaker;
    bool was_held = false;
    const UserKey user{claimant.identity_->tenant, claimant.identity_->user};
    switch (kept_sessions_.claim(resuming->member, generation, claimant.shared_from_this(), speaker, was_held)) {
      case core::SessionTable::Claim::taken:
        resuming->taken_of.reset();
        claimant.member = resuming->member;
        claimant.session_generation = generation;
        claimant.resumed = true;
        if (was_held) {
          (void)users_.release(user);  // its own connection is there
        }
        adopt_session(claimant, resuming);
        return;
      case core::SessionTable::Claim::occupied:
        // A newer connection's turn; or its executor has stopped, and another thread is taking its connections down.
        if (++resuming->handovers < 8) return claim_session(claimant, resuming);
        fail_resume(claimant, *resuming,
                    {errc::unavailable, "The session's old connection is still ending", std::chrono::seconds(1)});
        return;
      case core::SessionTable::Claim::lost:
        resuming->taken_of.reset();
        fail_resume(claimant, *resuming, {errc::resume_failed, "Another connection has resumed the session", {}});
        return;
    }
  };
  const ConnectionPtr speaker = directory_.locate(resuming->member);
  if (!speaker) {
    settle(connection);
    return;
  }
  questions_.ask<bool>(
      connection,
      [&](Reply<bool> reply) {
        const ConnectionId member = resuming->member;
        const bool posted = post(speaker->loop, [speaker, member, generation, reply](ConnectionManager& manager) {
          if (speaker->live() && speaker->member == member && speaker->session_generation < generation) {
            speaker->handing_over = true;
            manager.ending_.end(*speaker, CloseReason::replaced, {});
          }
          reply(true);
        });
        if (posted) return;
        ending_.abandon(speaker->loop);
        reply(true);
      },
      [this, resuming, settle](ConnectionState& claimant, bool answered) {
        if (answered) {
          settle(claimant);
        } else {
          fail_resume(
              claimant, *resuming,
              {errc::unavailable, "The session's old connection did not answer in time", std::chrono::seconds(1)});
        }
      },
      false);
}

MUSTER_INLINE void ConnectionManager::adopt_session(ConnectionState& connection,
                                                    const std::shared_ptr<Resuming>& resuming) {
  admission_.forgive_connect(connection.remote_address());
  connection.previous_token_hash = resuming->token_hash;  // until it is known that `resumed` has arrived
  end_trial(connection);
  directory_.publish(connection);
  sessions_.save(connection, connection.token_hash, {}, TimePoint::max());
  sessions_.save(connection, connection.previous_token_hash, {}, TimePoint::max());

  std::set<std::string> had(resuming->session.rooms.begin(), resuming->session.rooms.end());
  for (const RoomPtr& room : kept_sessions_.rooms_of(connection.member)) had.insert(room->key.name);
  std::set<std::string> seen;
  auto& asked = resuming->asked;
  asked.erase(std::remove_if(asked.begin(), asked.end(),
                             [&](const command::ResumeRoom& room) { return !seen.insert(room.room).second; }),
              asked.end());
  // What the session did not have goes last, and is not asked about.
  const auto unknown = std::stable_partition(
      asked.begin(), asked.end(), [&](const command::ResumeRoom& room) { return had.count(room.room) != 0; });
  resuming->permitted.reserve(asked.size());
  std::vector<command::ResumeRoom> denied(std::make_move_iterator(unknown), std::make_move_iterator(asked.end()));
  asked.erase(unknown, asked.end());
  resuming->denied = std::move(denied);
  connection.queue_whole = true;
  queues_.deliver(connection, [this, resuming](ConnectionState& same) {
    one_after_another(same, resuming, &ConnectionManager::permit_rooms);
  });
}

/// Each room is authorised again, one after another.
MUSTER_INLINE void ConnectionManager::permit_rooms(ConnectionState& connection,
                                                   const std::shared_ptr<Resuming>& resuming) {
  const std::size_t next = resuming->permitted.size();
  if (next == resuming->asked.size()) {
    finish_resume(connection, *resuming);
    return;
  }
  const std::string& name = resuming->asked[next].room;
  questions_.ask<Permission>(
      connection,
      [&](Reply<Permission> reply) {
        authorizer_->authorize({connection.id_, connection.identity_, Action::join, name}, std::move(reply));
      },
      [this, resuming, name](ConnectionState& asker, const Permission& answer) {
        const auto go_on = [this, resuming](ConnectionState& same, bool permitted) {
          resuming->permitted.push_back(permitted);
          one_after_another(same, resuming, &ConnectionManager::permit_rooms);
        };
        if (answer && replicating_.is_on()) {
          const RoomPtr room = rooms_.find_or_make({asker.identity_->tenant, name});
          const bool asked =
              replicating_.subscribe_first(asker, room, [this, go_on, room](ConnectionState& same, const Error* error) {
                if (error != nullptr) (void)rooms_.retire(room);
                go_on(same, error == nullptr);
              });
          if (asked) return;
        }
        go_on(asker, static_cast<bool>(answer));
      },
      Permission::late());
}

/// Kept places that were not asked for, or are denied, are nobody's any more.
MUSTER_INLINE void ConnectionManager::give_up_rest(ConnectionState& connection) {
  Loop& loop = *connection.loop;
  const auto kept = kept_sessions_.rooms_of(connection.member);
  std::vector<core::Clearings> clearings;
  clearings.reserve(kept.size());
  for (const RoomPtr& room : kept) clearings.push_back(state_flush_.clearing_for(loop, connection.member, room));
  (void)kept_sessions_.take_rooms(connection.member);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const RoomPtr& room = kept[i];
    if (connection.membership(room->key.name) != nullptr) continue;
    state_flush_.clear_awareness(loop, clearings[i]);
    joining_.give_up_place(loop, room, connection.member);
    if (!connection.contain("A resume", [&] { connection.left_rooms.add(room); })) edges_.leave_untold(room);
    (void)connection.contain("The end of a room", [&] { rooms_.settle(loop, room); });
  }
}

/// Enters all rooms in one step, so that what the client is told is in order: what became of each, then each room,
/// then what it missed.
MUSTER_INLINE void ConnectionManager::finish_resume(ConnectionState& connection, Resuming& resuming) {
  struct There {
    RoomPtr room;
    core::Joining::Entered entered;
  };
  std::vector<There> there;
  std::vector<event::ResumedRoom> rooms;
  for (std::size_t i = 0; i < resuming.asked.size(); ++i) {
    const command::ResumeRoom& asked = resuming.asked[i];
    RoomPtr room;
    core::Joining::Entered entered;
    entered.retired = resuming.permitted[i];
    while (entered.retired) {
      room = rooms_.find_or_make({connection.identity_->tenant, asked.room});
      entered = joining_.take_place(connection, room, asked.position);
      if (replicating_.is_on() && entered.retired)
        break;  // it would have to be subscribed to again: the client may join it
    }
    if (entered.part == nullptr) {
      rooms.push_back({asked.room, event::ResumedRoom::State::denied});
      continue;
    }
    rooms.push_back(
        {asked.room, entered.recovered ? event::ResumedRoom::State::recovered : event::ResumedRoom::State::gap});
    there.push_back({room, std::move(entered)});
  }
  for (const auto& unknown : resuming.denied) rooms.push_back({unknown.room, event::ResumedRoom::State::denied});
  give_up_rest(connection);
  ++counters_.resumes;
  directory_.publish(connection);
  event::Resumed resumed;
  resumed.connection = connection.member;
  resumed.rooms = &rooms;
  writer_.tell(connection, resumed, &resuming.correlation);
  for (const There& one : there) {
    joining_.tell_joined(connection, nullptr, one.room, one.entered);
    if (connection.doomed || one.entered.next_seq > one.entered.position.seq) continue;
    catch_up_.tell_history(connection, *connection.membership(one.room->key.name), one.entered.position,
                           one.entered.replay);
  }
  connection.behind = true;  // what is left of a long replay follows by its cursors
  writer_.mark_dirty(connection);
  bool well = true;
  for (const There& one : there) well = joining_.after_joined(connection, one.room, one.entered) && well;
  if (!well) ending_.end(connection, CloseReason::internal_error, {});
}

}  // namespace MUSTER_ABI
}  // namespace muster
