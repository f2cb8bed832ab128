// A resume, step by step: take, claim, adopt, permit, finish.
#pragma once

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "muster/core/flows/resuming.hpp"
#include "muster/core/outward/one_after_another.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// A resume on its way: the token's session, the rooms asked for, and which of them may be entered.
struct Resuming::Attempt : Steps {
  Sessions& sessions;
  Correlation correlation;
  std::string token_hash;
  std::vector<command::ResumeRoom> asked;  ///< then those that the program gave, which the client does not know of
  std::size_t known = 0;                   ///< of `asked`, to the client
  std::set<std::string> given;             ///< by the program: they come back whether the client names them or not
  std::set<std::string> decided;           ///< of them: nobody is asked about them
  Session session;
  std::vector<command::ResumeRoom> denied;  ///< asked for, but not the session's
  std::vector<char> permitted;              ///< which of `asked`, as far as it was found out
  std::vector<Rooms::HoldPtr> holds;        ///< with a broker: on those that it tries to enter
  int handovers = 0;
  /// Its token is spent, and no connection speaks for it yet: should the resume end here, it goes back.
  std::weak_ptr<const void> taken;

  explicit Attempt(Sessions& of) : sessions(of) {}
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;
  ~Attempt() {
    if (const auto alive = taken.lock()) sessions.give_back(token_hash, std::move(session));
  }
};

MUSTER_INLINE void Resuming::begin(ConnectionState& connection, const Correlation& correlation,
                                   command::Resume resume) {
  const std::shared_ptr<Attempt> attempt(new Attempt(sessions_));
  attempt->correlation = correlation;
  attempt->token_hash = token_hash(resume.token);
  attempt->asked = std::move(resume.rooms);
  if (connection.live()) {
    take(connection, attempt);
    return;
  }
  connection.on_trial = true;
  authenticating_.first(connection, correlation, std::move(resume.auth), false,
                        [this, attempt](ConnectionState& known) { take(known, attempt); });
}

MUSTER_INLINE void Resuming::fail(ConnectionState& connection, const Attempt& attempt, Error error) {
  ++failed_;
  writer_.tell_error(connection, &attempt.correlation, std::move(error));
  end_trial(connection);
  for (const std::string& room : attempt.given) {
    seating_.change(connection, SeatChange::into(room, JoinAs{attempt.decided.count(room) == 0}));
  }
}

/// Whose resume came with its credentials was let in beyond the user's limit, since its ghost might be the one too many.
MUSTER_INLINE void Resuming::end_trial(ConnectionState& connection) {
  if (!std::exchange(connection.on_trial, false)) return;
  const bool may_replace = options_.user_limit_policy == UserLimitPolicy::close_oldest;
  const auto yields = users_.end_trial(user_of(connection), options_.max_connections_per_user, may_replace,
                                       connection.shared_from_this());
  if (!yields) return;
  (void)ending_.remove(yields->id_, may_replace ? CloseReason::replaced : CloseReason::policy,
                       may_replace ? std::string() : too_many_of_user({}).message);
}

/// Spends the token: of two connections that bring it, one gets the session.
MUSTER_INLINE void Resuming::take(ConnectionState& connection, const std::shared_ptr<Attempt>& attempt) {
  if (connection.session_generation == 0) {
    fail(connection, *attempt,
         sessions_.may_have(connection)
             ? Error{errc::unavailable, "The session store takes no session now", std::chrono::seconds(1)}
             : Error{errc::resume_failed, "Sessions do not resume here; join again", {}});
    return;
  }
  const auto by_client = [](const Membership& membership) { return !membership.given; };
  if (connection.resumed || std::any_of(connection.memberships.begin(), connection.memberships.end(), by_client)) {
    fail(connection, *attempt, {errc::resume_failed, "resume must come once, and before the first join", {}});
    return;
  }
  questions_.ask<Result<Session>>(
      connection,
      [&](Reply<Result<Session>> reply) {
        store_.take(attempt->token_hash, user_of(connection), connection.id_, connection.loop->executor->now(),
                    std::move(reply));
      },
      [this, attempt](ConnectionState& asker, Result<Session> session) {
        if (!session) {
          fail(asker, *attempt, session.error());
          return;
        }
        attempt->session = std::move(session.value());
        attempt->taken = life_.handle();
        lay_down_given(asker, *attempt);
        claim(asker, attempt);
      },
      Error{errc::unavailable, "The session store did not answer in time", std::chrono::seconds(1)},
      [this, life = life_.handle(), token_hash = attempt->token_hash](Result<Session> session) {
        const auto alive = life.lock();
        if (alive && session) sessions_.give_back(token_hash, std::move(session.value()));
      });
}

/// Seats that the program gave the new connection: the session gets them, or else the connection again.
MUSTER_INLINE void Resuming::lay_down_given(ConnectionState& connection, Attempt& attempt) {
  while (!connection.memberships.empty()) {
    const std::string room = connection.memberships.back().room->key.name;
    attempt.given.insert(room);
    if (connection.memberships.back().decided) attempt.decided.insert(room);
    joining_.leave(connection, room);
  }
}

/// In this process another connection may still speak for the session: its executor parts them, and then this one
/// takes its seats. Its socket is not waited for.
MUSTER_INLINE void Resuming::claim(ConnectionState& connection, const std::shared_ptr<Attempt>& attempt) {
  const std::uint64_t generation = attempt->session.generation;
  const auto settle = [this, attempt, generation](ConnectionState& asker) {
    ConnectionPtr speaker;
    bool was_held = false;
    SessionTable::Parked parked;
    switch (
        kept_sessions_.claim(attempt->session.id, generation, asker.shared_from_this(), speaker, was_held, parked)) {
      case SessionTable::Claim::taken:
        attempt->taken.reset();
        directory_.set_member(asker, attempt->session.id);
        asker.session_generation = generation;
        asker.resumed = true;
        if (was_held) {
          (void)users_.release(user_of(asker));  // its own connection is there
        }
        if (!parked.data.empty()) {
          Sessions::claimed(parked, asker.member);
          requesting_.join(asker, parked.data);
          asker.seldom().data.merge(std::move(parked.data));
        }
        Profiles::restore(asker, directory_);
        adopt(asker, attempt);
        return;
      case SessionTable::Claim::occupied:
        // A newer connection's turn; or its executor has stopped, and another thread is taking its connections down.
        if (++attempt->handovers < 8) return claim(asker, attempt);
        fail(asker, *attempt,
             {errc::unavailable, "The session's old connection is still ending", std::chrono::seconds(1)});
        return;
      case SessionTable::Claim::lost:
        attempt->taken.reset();
        fail(asker, *attempt, {errc::resume_failed, "Another connection has resumed the session", {}});
        return;
    }
  };
  const ConnectionPtr speaker = directory_.locate(attempt->session.id);
  if (!speaker) {
    settle(connection);
    return;
  }
  questions_.ask<Result<void>>(
      connection,
      [&](Reply<Result<void>> reply) {
        const ConnectionId member = attempt->session.id;
        const bool posted = speaker->loop->post([this, speaker, member, generation, reply] {
          if (speaker->live() && speaker->member == member && speaker->session_generation < generation) {
            speaker->handing_over = true;
            ending_.end(*speaker, CloseReason::replaced, {});
          } else if (speaker->live() && speaker->id_ == member && speaker->member != member) {
            // Under one id others would know two: the session was this connection's until it took up its own.
            return reply(
                Error{errc::resume_failed, "The session's connection has resumed another one; join again", {}});
          }
          reply({});
        });
        if (posted) return;
        ending_.abandon(speaker->loop);
        reply({});
      },
      [this, attempt, settle](ConnectionState& asker, const Result<void>& parted) {
        if (parted) return settle(asker);
        if (parted.error().code == errc::resume_failed) attempt->taken.reset();
        fail(asker, *attempt, parted.error());
      },
      Error{errc::unavailable, "The session's old connection did not answer in time", std::chrono::seconds(1)});
}

MUSTER_INLINE void Resuming::adopt(ConnectionState& connection, const std::shared_ptr<Attempt>& attempt) {
  admission_.forgive_connect(connection.remote_address());
  connection.seldom().previous_token_hash = attempt->token_hash;  // until it is known that `resumed` has arrived
  end_trial(connection);
  directory_.publish(connection);
  sessions_.save(connection, to_hex(connection.token_hash), {}, TimePoint::max());
  sessions_.save(connection, attempt->token_hash, {}, TimePoint::max());

  std::set<std::string> had(attempt->session.rooms.begin(), attempt->session.rooms.end());
  auto kept = kept_sessions_.kept_of(connection.member);
  for (const RoomPtr& room : kept.rooms) had.insert(room->key.name);
  for (const RoomPtr& room : kept.decided) {
    attempt->given.insert(room->key.name);
    attempt->decided.insert(room->key.name);
  }
  had.insert(attempt->given.begin(), attempt->given.end());
  std::set<std::string> seen;
  std::vector<command::ResumeRoom> asked;
  for (command::ResumeRoom& room : attempt->asked) {
    if (!seen.insert(room.room).second) continue;
    // What the session did not have is not asked about.
    (had.count(room.room) != 0 ? asked : attempt->denied).push_back(std::move(room));
  }
  attempt->known = asked.size();
  for (const std::string& room : attempt->given) {
    if (seen.count(room) == 0) asked.push_back({room, {}});
  }
  attempt->permitted.reserve(asked.size());
  attempt->asked = std::move(asked);
  connection.queue_whole = true;
  queues_.deliver(connection, [this, attempt](ConnectionState& same) {
    one_after_another(attempt, [&] { permit(same, attempt); });
  });
}

/// Each room is authorised again, one after another, but for those that the program gave.
MUSTER_INLINE void Resuming::permit(ConnectionState& connection, const std::shared_ptr<Attempt>& attempt) {
  const std::size_t next = attempt->permitted.size();
  if (next == attempt->asked.size()) {
    finish(connection, *attempt);
    return;
  }
  const std::string& name = attempt->asked[next].room;
  const auto go_on = [this, attempt](ConnectionState& same, bool permitted) {
    attempt->permitted.push_back(permitted);
    one_after_another(attempt, [&] { permit(same, attempt); });
  };
  const auto subscribe = [this, attempt, go_on, name](ConnectionState& permitted) {
    if (replicating_.is_on()) {
      Rooms::HoldPtr hold;
      while (!hold) hold = rooms_.hold(permitted, rooms_.find_or_make({permitted.identity_->tenant, name}));
      attempt->holds.push_back(hold);
      const bool asked = rooms_.subscribe_first(
          permitted, hold, [go_on](ConnectionState& same, const Error* error) { go_on(same, error == nullptr); });
      if (asked) return;
    }
    go_on(permitted, true);
  };
  if (attempt->decided.count(name) != 0) return subscribe(connection);
  authorizing_.ask(connection, connection.identity_, Action::join, name,
                   [go_on, subscribe](ConnectionState& asker, const Permission& answer) {
                     if (answer) return subscribe(asker);
                     go_on(asker, false);
                   });
}

/// Kept seats that were not asked for, or are denied, are nobody's any more.
MUSTER_INLINE void Resuming::give_up_rest(ConnectionState& connection) {
  Loop& loop = *connection.loop;
  const auto kept = kept_sessions_.kept_of(connection.member).rooms;
  Clearings clearings;  // one for each
  for (const RoomPtr& room : kept) {
    clearings.splice(clearings.end(), state_flush_.clearing_for(loop, connection.member, room));
  }
  (void)kept_sessions_.take_rooms(connection.member);
  for (const RoomPtr& room : kept) {
    Clearings clearing;
    clearing.splice(clearing.end(), clearings, clearings.begin());
    if (connection.membership(room->key.name) != nullptr) continue;
    state_flush_.clear_awareness(loop, clearing);
    joining_.give_up_seat(loop, room, connection.member);
    if (!connection.contain("A resume", [&] { connection.left_rooms.add(room); })) edges_.leave_untold(room);
    (void)connection.contain("The end of a room", [&] { rooms_.settle(loop, room); });
  }
}

/// Enters all rooms in one step, so that what the client is told is in order: what became of each, then each room,
/// then what it missed.
MUSTER_INLINE void Resuming::finish(ConnectionState& connection, Attempt& attempt) {
  struct There {
    RoomPtr room;
    Joining::Entered entered;
    bool by_server = false;
  };
  std::vector<There> there;
  std::vector<std::string> lost;  ///< of the program's: the client may have heard of a seat
  std::vector<event::ResumedRoom> rooms;
  for (std::size_t i = 0; i < attempt.asked.size(); ++i) {
    const command::ResumeRoom& asked = attempt.asked[i];
    const bool by_server = i >= attempt.known;
    RoomPtr room;
    Joining::Entered entered;
    const bool too_many = by_server && joining_.refuse_early(connection, asked.room, false);
    entered.retired = attempt.permitted[i] && !too_many;
    while (entered.retired) {
      room = rooms_.find_or_make({connection.identity_->tenant, asked.room});
      entered = joining_.take_seat(connection, room, by_server ? std::nullopt : std::optional(asked.position));
    }
    using State = event::ResumedRoom::State;
    const bool entered_it = entered.part != nullptr;
    if (!by_server) {
      rooms.push_back({asked.room, !entered_it ? State::denied : entered.recovered ? State::recovered : State::gap});
    }
    if (!entered_it) {
      if (by_server) lost.push_back(asked.room);
      continue;
    }
    connection.memberships.back().given = attempt.given.count(asked.room) != 0;
    connection.memberships.back().decided = attempt.decided.count(asked.room) != 0;
    there.push_back({room, std::move(entered), by_server});
  }
  for (const auto& unknown : attempt.denied) rooms.push_back({unknown.room, event::ResumedRoom::State::denied});
  give_up_rest(connection);
  ++resumed_;
  directory_.publish(connection);
  event::Resumed resumed;
  resumed.connection = connection.member;
  resumed.rooms = &rooms;
  writer_.tell(connection, resumed, &attempt.correlation);
  for (const std::string& room : lost) {
    event::RoomLeft left;
    left.room = room;
    left.by_server = true;
    writer_.tell(connection, left);
  }
  for (const There& one : there) {
    joining_.tell_joined(connection, nullptr, one.room, one.entered, one.by_server);
    if (connection.ends_soon || one.entered.next_seq > one.entered.position.seq) continue;
    catch_up_.tell_history(connection, *connection.membership(one.room->key.name), one.entered.position,
                           one.entered.replay);
  }
  attempt.holds.clear();  // whoever was asked late may keep the attempt
  requesting_.repeat(connection);
  connection.behind = true;  // what is left of a long replay follows by its cursors
  writer_.mark_dirty(connection);
  bool well = true;
  for (const There& one : there) well = joining_.after_joined(connection, one.room, one.entered) && well;
  if (!well) ending_.end(connection, CloseReason::internal_error, {});
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
