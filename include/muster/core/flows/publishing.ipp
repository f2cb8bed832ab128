// Numbers, history and what is pending, in one step under the room's lock.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "muster/core/flows/publishing.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// What is beyond the room's bound is refused where it is published.
[[nodiscard]] inline std::optional<Error> refuse_beyond_pace(const RoomState& room, const Delivery& delivery,
                                                             const Payload& data) MUSTER_REQUIRES(room.mutex) {
  const std::size_t rate = room.options().latest_bytes_per_second;
  if (delivery.kind() != Delivery::Kind::latest || rate == 0) return std::nullopt;
  const std::size_t beyond = room.paced.read().beyond(data.view(), delivery.key(), rate);
  if (beyond == 0) return std::nullopt;
  return Error{
      errc::rate_limited,
      "More of the room's state waits than latest_bytes_per_second tells in eight seconds; publish under fewer "
      "keys, or later",
      std::chrono::milliseconds(1 + 1000 * beyond / rate)};
}

MUSTER_INLINE void Publishing::publish(const RoomKey& key, Draft draft, PublishDone done) {
  if (draft.delivery.kind() == Delivery::Kind::queued) {
    if (done) done(Error{errc::not_supported, "A room has no offline queue; publish reliable or latest", {}});
    return;
  }
  if (!replicating_.is_on()) {
    const Result<Published> published = publish_here(key, std::move(draft));
    if (done) done(published);
    return;
  }
  if (auto full = rooms_.refuse_when_full(key)) {
    if (done) done(std::move(*full));
    return;
  }
  if (!draft.idempotency_key.empty()) {
    publish_once(key, std::move(draft), std::move(done));
    return;
  }
  BrokerMessage message;
  message.room = key;
  message.data = std::move(draft.data);
  message.delivery = std::move(draft.delivery);
  message.from = draft.from;
  message.from_user = std::move(draft.from_user);
  message.exclude = draft.exclude;
  Published here;
  std::optional<Error> refused;
  if (const RoomPtr room = table_.find(key)) {
    Lock lock(room->mutex);
    here.reached = room->reach(message.exclude);
    here.behind = room->slow_among(message.exclude);
    refused = refuse_beyond_pace(*room, message.delivery, message.data);
  }
  if (refused) {
    if (done) done(std::move(*refused));
    return;
  }
  replicating_.publish(std::move(message),
                       Reply<Result<Position>>([done = std::move(done), here](Result<Position> position) mutable {
                         if (!done) return;
                         if (position) {
                           here.position = position.value();
                           done(here);
                         } else {
                           done(position.error());
                         }
                       }));
}

MUSTER_INLINE void Publishing::hand_out(RoomState& room, const std::shared_ptr<Entry>& entry,
                                        std::vector<RoomPartPtr>& flushes, std::uint64_t& conflated, Plan& plan) {
  const std::size_t rate = room.options().latest_bytes_per_second;
  // Once the bound is lifted, too, as long as older ones wait.
  if (!entry->latest || (rate == 0 && room.paced.read().empty())) {
    entry->serial = ++room.last_serial;
    return append_pending(room, entry, flushes, conflated);
  }
  LoopPtr somewhere = room.loop_of_a_member();
  if (!somewhere) return;
  PacedLatest& paced = room.paced.make();
  // Where other nodes publish, nobody could be refused for it here.
  while (paced.beyond(entry->data.view(), entry->latest_key, rate) != 0) {
    (void)paced.take(0);
    ++conflated;
  }
  if (paced.add(entry)) ++conflated;
  room.count_waiting();
  if (const auto due = room.plan_latest(entry->at)) plan = {std::move(somewhere), *due};
}

MUSTER_INLINE Result<Published> Publishing::publish_here(const RoomKey& key, Draft draft) {
  Published published;
  if (auto full = rooms_.refuse_when_full(key)) return std::move(*full);
  const auto entry = std::make_shared<Entry>();
  entry->data = std::move(draft.data);
  entry->from = draft.from;
  entry->from_user = std::move(draft.from_user);
  entry->exclude = draft.exclude;
  entry->latest_key = draft.delivery.key();
  entry->latest = draft.delivery.kind() == Delivery::Kind::latest;
  entry->at = loops_.read_clock();
  std::vector<RoomPartPtr> flushes;
  Plan plan;
  RoomPtr room;
  for (;;) {
    room = table_.find(key);
    const bool kept = !entry->latest && keeps_history(room ? room->options() : options_.room_options(key.name));
    if (!room && !kept) return published;
    if (!room) {
      if (!loops_.has_clock()) rooms_.sweep_unattended();
      room = rooms_.find_or_make(key);
    }
    std::uint64_t conflated = 0;
    bool retired = false;
    {
      Lock lock(room->mutex);
      retired = room->retired;
      if (!retired) {
        room->history.expire(entry->at, room->options());
        room->settle();
        if (room->members.empty() && room->history.empty() && !kept) return published;
        if (!draft.idempotency_key.empty()) {
          if (const auto* first = room->keys.make().find(entry->from_user, draft.idempotency_key, room->epoch,
                                                         entry->at, options_.idempotency_age)) {
            published.position = first->position;
            return published;
          }
        }
        if (auto error = refuse_beyond_pace(*room, draft.delivery, entry->data)) return std::move(*error);
        // All that may fail comes first, and leaves no trace: a number that is given out is in the history.
        prepare_pending(*room, 1, flushes);
        const bool keyed = !draft.idempotency_key.empty();
        if (!entry->latest) published.position = {room->epoch, entry->seq = room->last_seq + 1};
        if (keyed) {
          room->keys.make().remember(entry->from_user,
                                     {draft.idempotency_key, room->epoch, published.position, true, entry->at, {}},
                                     options_.idempotency_keys, options_.idempotency_age);
        }
        published.reached = room->reach(entry->exclude);
        published.behind = room->slow_among(entry->exclude);
        try {
          if (!entry->latest) {
            room->history.append(entry, room->options());
            room->last_seq = entry->seq;
            ++room->published;
          }
          hand_out(*room, entry, flushes, conflated, plan);
        } catch (...) {  // of what has no number
          if (keyed) room->keys.make().forget(entry->from_user, draft.idempotency_key);
          throw;
        }
        room->settle();
      }
    }
    if (conflated != 0) conflated_ += conflated;
    if (!retired) break;
    table_.erase(room);
  }
  fan_out_.post_flushes(room, flushes);
  if (plan.loop) state_flush_.plan_latest(plan.loop, room, plan.due);
  rooms_.relieve(room);
  return published;
}

/// A publish with a key on its way through the broker. Whoever sends it again meanwhile gets its answer, whatever that
/// is. A broker that drops the question has answered, too: nobody may have got the message, so the key is free again.
class Publishing::KeyedPublish {
 public:
  KeyedPublish(RoomPtr room, std::string user, std::string key, PublishDone done)
      : room_(std::move(room)), user_(std::move(user)), key_(std::move(key)), done_(std::move(done)) {}
  ~KeyedPublish() {
    try {
      answer(Error{errc::unavailable, "The broker gave no answer", std::chrono::seconds(1)});
    } catch (...) {  // those who wait are answered by their deadlines
      Lock lock(room_->mutex);
      IdempotencyKeys* const keys = room_->keys.get();
      if (keys != nullptr && keys->unanswered(user_, key_) != nullptr) keys->forget(user_, key_);
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
      Lock lock(room_->mutex);
      IdempotencyKeys* const keys = room_->keys.get();
      if (auto* mine = keys != nullptr ? keys->unanswered(user_, key_) : nullptr) {
        for (PublishDone& other : mine->waiting) waiting.push_back(std::move(other));
        mine->waiting.clear();
        if (result) {
          mine->answered = true;
          mine->position = result.value().position;
          if (mine->position.seq != 0) mine->epoch = mine->position.epoch;
        } else {
          keys->forget(user_, key_);
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

MUSTER_INLINE void Publishing::publish_once(const RoomKey& key, Draft draft, PublishDone done) {
  const std::string idempotency_key = std::exchange(draft.idempotency_key, {});
  const RoomPtr room = table_.find(key);
  if (!room) {
    publish(key, std::move(draft), std::move(done));
    return;
  }
  const TimePoint at = loops_.read_clock();
  std::optional<Position> known;
  {
    Lock lock(room->mutex);
    if (auto* first =
            room->keys.make().find(draft.from_user, idempotency_key, room->epoch, at, options_.idempotency_age)) {
      if (!first->answered) {
        first->waiting.push_back(std::move(done));
        return;
      }
      known = first->position;
    } else {
      room->keys.make().remember(draft.from_user, {idempotency_key, room->epoch, {}, false, at, {}},
                                 options_.idempotency_keys, options_.idempotency_age);
      room->settle();
    }
  }
  if (known) {
    if (done) done(Published{*known, 0, 0});
    return;
  }
  const auto pending = std::make_shared<KeyedPublish>(room, draft.from_user, idempotency_key, std::move(done));
  publish(key, std::move(draft), [pending](Result<Published> result) { pending->answer(result); });
}

MUSTER_INLINE void Publishing::take(const BrokerMessage& message) {
  const RoomPtr room = table_.find(message.room);
  if (!room) return;
  const auto entry = std::make_shared<Entry>();
  entry->data = message.data;
  entry->from = message.from;
  entry->from_user = message.from_user;
  entry->exclude = message.exclude;
  entry->latest = message.delivery.kind() == Delivery::Kind::latest;
  entry->latest_key = message.delivery.key();
  entry->seq = message.position.seq;
  entry->at = loops_.read_clock();
  std::vector<RoomPartPtr> flushes;
  std::uint64_t conflated = 0;
  Plan plan;
  {
    Lock lock(room->mutex);
    if (!room->subscribed) return;
    if (!entry->latest && entry->seq <= room->last_seq && message.position.epoch == room->epoch)
      return;  // known already
    prepare_pending(*room, 1, flushes);
    if (!entry->latest) {
      room->history.append(entry, room->options());
      room->epoch = message.position.epoch;
      room->last_seq = entry->seq;
      ++room->published;
      room->settle();
    }
    hand_out(*room, entry, flushes, conflated, plan);
  }
  conflated_ += conflated;
  fan_out_.post_flushes(room, flushes);
  if (plan.loop) state_flush_.plan_latest(plan.loop, room, plan.due);
  rooms_.relieve(room);
}

/// The numbers up to before `next` are skipped: members find them missing in the history, and are told a gap.
MUSTER_INLINE void Publishing::skip(const RoomKey& key, Position next) {
  const RoomPtr room = table_.find(key);
  if (!room || next.seq == 0) return;
  Lock lock(room->mutex);
  if (!room->subscribed) return;
  room->epoch = next.epoch;
  room->last_seq = std::max(room->last_seq, next.seq - 1);
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
