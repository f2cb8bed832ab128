// Limits over several rooms or commands: rooms created, bytes kept, replies asked for, publishes said twice.
#pragma once

#include "muster/core/connection/connection_state.ipp"

namespace muster {
inline namespace MUSTER_ABI {

MUSTER_INLINE RoomPtr ConnectionManager::room_for(ConnectionState& connection, const Correlation& correlation,
                                                  const RoomKey& key) {
  if (RoomPtr room = rooms_.find(key)) return room;
  const auto wait = connection.rooms_created.take(options_.rooms_created_per_minute, std::chrono::minutes(1),
                                                  connection.loop->executor->now());
  if (wait.count() != 0) {
    connection.loop->counters.rate_limited.add();
    writer_.tell_error(connection, &correlation,
                       {errc::rate_limited,
                        "A connection may create " + std::to_string(options_.rooms_created_per_minute) +
                            " rooms a minute; wait as long as retry_after_ms says, or join a room that exists",
                        wait});
    return nullptr;
  }
  const auto fresh =
      std::make_shared<RoomState>(key, options_.room_options(key.name), entropy_.epoch(), bytes_.account(key.tenant));
  const RoomPtr room = rooms_.find_or_add(fresh);
  if (room != fresh) connection.rooms_created.give_back();  // another connection was faster
  return room;
}

/// What a publish added is dropped elsewhere, so the work is paid by what came in. Should others keep too little, or
/// be too many to ask, the room drops its own: then the budget is as it was before.
MUSTER_INLINE void ConnectionManager::relieve(const RoomPtr& room) {
  core::ByteBudget::list(*room->account, room);
  constexpr int most_rooms = 64;
  for (int asked = 0; !bytes_.fits(*room->account) && asked <= most_rooms; ++asked) {
    RoomPtr victim = room;
    if (asked < most_rooms) victim = std::static_pointer_cast<RoomState>(bytes_.victim(room->account));
    if (!victim && room->held == 0) return;  // nobody keeps anything: it is what slow peers wait for
    if (!victim) victim = room;
    std::uint64_t dropped = 0;
    bool over = false;
    {
      core::Lock lock(victim->mutex);
      victim->settle();
      while (!bytes_.fits(*room->account) && victim->held != 0) {
        if (victim->history.empty()) {
          victim->keys.drop_oldest();
        } else {
          victim->history.drop_oldest();
          ++dropped;
        }
        victim->settle();
      }
      over = victim->members.empty() && victim->history.empty();
    }
    counters_.history_dropped += dropped;
    if (over) (void)retire_if_empty(victim);  // it was there for its history only
  }
}

/// What waits cannot be given up: once it is beyond the limit by itself, nothing is added to it.
MUSTER_INLINE std::optional<Error> ConnectionManager::refuse_when_full(const RoomKey& key) {
  if (!bytes_.is_full()) return std::nullopt;
  if (const RoomPtr room = rooms_.find(key)) relieve(room);
  ++counters_.refused_when_full;
  return Error{errc::unavailable, "Too much waits for connections that are behind (the server's option total_bytes)",
               std::chrono::seconds(1)};
}

MUSTER_INLINE std::chrono::milliseconds ConnectionManager::debt(ConnectionState& connection, TimePoint now_here) const {
  return std::max({connection.message_budget.debt(options_.message_rate, now_here),
                   connection.byte_budget.debt(options_.byte_rate, now_here),
                   connection.frame_budget.debt(options_.frame_rate, now_here)});
}

MUSTER_INLINE void ConnectionManager::read_on(ConnectionState& paced) {
  keep_pace(paced, paced.loop->executor->now());
  go_on(paced);
}

MUSTER_INLINE bool ConnectionManager::exceeds_for_long(ConnectionState& connection, TimePoint now_here) {
  if (!connection.pace) {
    connection.pace = std::make_unique<core::Pace>(&connection, core::fire_for_connection<&ConnectionManager::read_on>);
    connection.pace->since = now_here;
  }
  return now_here - connection.pace->since >= options_.rate_patience;
}

MUSTER_INLINE void ConnectionManager::keep_pace(ConnectionState& connection, TimePoint now_here) {
  const bool owes = connection.message_budget.owes() || connection.byte_budget.owes() || connection.frame_budget.owes();
  if (!owes && !connection.pace) return;
  const auto wait = debt(connection, now_here);
  if (wait.count() != 0) {
    (void)exceeds_for_long(connection, now_here);
    connection.loop->arm(connection.pace->timer, now_here + wait);
    return pause(connection, core::Pause::rate, true);
  }
  if (!connection.pace) return;
  pause(connection, core::Pause::rate, false);
  const auto spare = [now_here](core::TokenBucket& budget, std::size_t rate) {
    return budget.until(rate, static_cast<double>(rate), now_here).count() == 0;
  };
  if (spare(connection.message_budget, options_.message_rate) && spare(connection.byte_budget, options_.byte_rate) &&
      spare(connection.frame_budget, options_.frame_rate)) {
    connection.pace.reset();
  }
}

/// A publish with a key on its way through the broker. Whoever sends it again meanwhile gets its answer, whatever that
/// is. A broker that drops the question has answered, too: nobody may have got the message, so the key is free again.
class ConnectionManager::KeyedPublish {
 public:
  KeyedPublish(RoomPtr room, std::string user, std::string key, PublishDone done)
      : room_(std::move(room)), user_(std::move(user)), key_(std::move(key)), done_(std::move(done)) {}
  ~KeyedPublish() {
    try {
      answer(Error{errc::unavailable, "The broker gave no answer", std::chrono::seconds(1)});
    } catch (...) {  // those who wait are answered by their deadlines
      core::Lock lock(room_->mutex);
      if (room_->keys.unanswered(user_, key_) != nullptr) room_->keys.forget(user_, key_);
      room_->settle();
    }
  }
  KeyedPublish(const KeyedPublish&) = delete;
  KeyedPublish& operator=(const KeyedPublish&) = delete;

  void answer(const Result<Published>& result) {
    if (std::exchange(answered_, true)) return;
    std::vector<PublishDone> waiting;
    waiting.push_back(std::move(done_));
    {
      core::Lock lock(room_->mutex);
      if (auto* mine = room_->keys.unanswered(user_, key_)) {
        for (PublishDone& other : mine->waiting) waiting.push_back(std::move(other));
        mine->waiting.clear();
        if (result) {
          mine->answered = true;
          mine->position = result.value().position;
          if (mine->position.seq != 0) mine->epoch = mine->position.epoch;
        } else {
          room_->keys.forget(user_, key_);
        }
        room_->settle();
      }
    }
    for (PublishDone& done : waiting) {
      if (done) done(result);
    }
  }

 private:
  const RoomPtr room_;
  const std::string user_;
  const std::string key_;
  PublishDone done_;
  bool answered_ = false;
};

MUSTER_INLINE void ConnectionManager::publish_once(const RoomKey& key, Draft draft, PublishDone done) {
  const std::string idempotency_key = std::exchange(draft.idempotency_key, {});
  const RoomPtr room = rooms_.find(key);
  if (!room) {
    publish_draft(key, std::move(draft), std::move(done));
    return;
  }
  const TimePoint at = loops_.now();
  std::optional<Position> known;
  {
    core::Lock lock(room->mutex);
    if (auto* first = room->keys.find(draft.from_user, idempotency_key, room->epoch, at, options_.idempotency_age)) {
      if (!first->answered) {
        first->waiting.push_back(std::move(done));
        return;
      }
      known = first->position;
    } else {
      room->keys.remember(draft.from_user, {idempotency_key, room->epoch, {}, false, at, {}}, options_.idempotency_keys,
                          options_.idempotency_age);
      room->settle();
    }
  }
  if (known) {
    if (done) done(Published{*known, 0});
    return;
  }
  const auto pending = std::make_shared<KeyedPublish>(room, draft.from_user, idempotency_key, std::move(done));
  publish_draft(key, std::move(draft), [pending](Result<Published> result) { pending->answer(result); });
}

}  // namespace MUSTER_ABI
}  // namespace muster
