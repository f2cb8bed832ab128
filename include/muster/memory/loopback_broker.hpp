// LoopbackBroker: joins several managers of one process, with delay, loss and failure on demand.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "muster/broker.hpp"
#include "muster/config.hpp"
#include "muster/core/base/mutex.hpp"
#include "muster/error.hpp"
#include "muster/function.hpp"
#include "muster/reply.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// A Broker without a network: for programs with several managers, and for tests of what a real broker may do.
///
/// It has no thread: a room's deliveries are made one after another, without a lock, by a thread that calls it; what
/// other threads and the sinks themselves add meanwhile, that thread delivers too. A call to a sink that is under way
/// when another thread calls `unsubscribe` or `detach` still ends; none begins for a subscription that has ended.
/// Changes of one key of state take effect in the order of the calls.
///
/// Memory: the latest `history_messages` of each room. Rooms that nobody is subscribed to are kept, for those who come
/// back, up to `idle_rooms`.
class LoopbackBroker final : public Broker {
 public:
  struct Limits {
    std::size_t history_messages = 256;
    std::size_t idle_rooms = 1024;
  };

  /// Rooms get random epochs, or those that follow from the seed.
  LoopbackBroker() : LoopbackBroker(Limits{}, std::random_device{}()) {}
  explicit LoopbackBroker(Limits limits, std::uint64_t seed) : limits_(limits), random_(seed) {}

  // Faults on demand.

  /// From now on nothing arrives: messages, state, losses and the answers to publish and subscribe wait. A publish and
  /// its answer are one delivery.
  void hold() {
    const core::Lock lock(mutex_);
    holding_ = true;
  }
  /// Lets the oldest `count` deliveries through, of all rooms or of one, which changes the order between rooms and
  /// never within one. Returns how many there were. Later ones still wait.
  std::size_t release(std::size_t count = std::numeric_limits<std::size_t>::max()) {
    std::size_t released = 0;
    for (; released < count; ++released) {
      std::optional<RoomKey> oldest;
      {
        const core::Lock lock(mutex_);
        std::uint64_t ticket = std::numeric_limits<std::uint64_t>::max();
        for (const auto& [key, room] : rooms_) {
          if (room.held.empty() || room.held.front().ticket >= ticket) continue;
          ticket = room.held.front().ticket;
          oldest = key;
        }
        if (oldest) let_through(rooms_.find(*oldest)->second, 1);
      }
      if (!oldest) break;
      deliver(*oldest);
    }
    return released;
  }
  std::size_t release(const RoomKey& key, std::size_t count) {
    std::size_t released = 0;
    {
      const core::Lock lock(mutex_);
      const auto room = rooms_.find(key);
      if (room != rooms_.end()) released = let_through(room->second, count);
    }
    deliver(key);
    return released;
  }
  /// Lets everything through, and holds no more.
  void resume() {
    {
      const core::Lock lock(mutex_);
      holding_ = false;
    }
    flow();
  }
  /// Deliveries that wait.
  [[nodiscard]] std::size_t waiting() const {
    const core::Lock lock(mutex_);
    std::size_t count = 0;
    for (const auto& room : rooms_) count += room.second.held.size();
    return count;
  }
  /// The next `count` messages get a position and reach nobody; who should have got one is told `lost` in its place.
  void lose_next(std::size_t count) {
    const core::Lock lock(mutex_);
    to_lose_ = count;
  }
  /// While it fails, publish and subscribe are answered `unavailable`; state travels when it works again.
  void fail(bool fails) {
    {
      const core::Lock lock(mutex_);
      failing_ = fails;
    }
    flow();
  }

  // Broker.

  [[nodiscard]] NodeId attach(std::weak_ptr<Sink> sink) override {
    const core::Lock lock(mutex_);
    nodes_.emplace(++last_node_, std::move(sink));
    return last_node_;
  }

  void detach(NodeId node) override {
    std::vector<RoomKey> changed;
    {
      const core::Lock lock(mutex_);
      if (nodes_.erase(node) == 0) return;
      for (auto& [key, room] : rooms_) {
        room.subscribers.erase(node);
        changed.push_back(key);
        for (auto at = room.states.begin(); at != room.states.end();) {
          if (at->second.node != node) {
            ++at;
            continue;
          }
          BrokerState removed = std::move(at->second.state);
          at = room.states.erase(at);
          ++removed.version;
          removed.value.reset();
          add(room, {0, others(room, node), std::move(removed), nullptr});
        }
      }
      std::sort(changed.begin(), changed.end());
    }
    for (const RoomKey& key : changed) deliver(key);
  }

  void publish(BrokerMessage message, Reply<Result<Position>> done) override {
    const RoomKey key = message.room;
    bool taken = false;
    {
      const core::Lock lock(mutex_);
      taken = !failing_;
      if (taken) {
        Room& room = find_or_make(key);
        const bool ordered = message.delivery.kind() != Delivery::Kind::latest;
        message.position = {room.epoch, ordered ? room.seq + 1 : 0};
        Delivered delivered{0, everyone(room), {}, answer(done, message.position)};
        if (to_lose_ == 0) {
          delivered.what = message;
        } else if (ordered) {
          delivered.what = Lost{{room.epoch, room.seq}, {room.epoch, room.seq + 2}};
        }
        // In this order: what finds no memory has not been published.
        if (ordered) room.history.push_back(std::move(message));
        try {
          add(room, std::move(delivered));
        } catch (...) {
          if (ordered) room.history.pop_back();
          throw;
        }
        if (to_lose_ != 0) --to_lose_;
        if (ordered) ++room.seq;
        if (room.history.size() > limits_.history_messages) room.history.pop_front();
      }
    }
    if (!taken) return done(cannot());
    deliver(key);
  }

  void subscribe(NodeId node, RoomKey key, std::optional<Position> known, Reply<Result<Position>> done) override {
    std::optional<Error> refusal;
    {
      const core::Lock lock(mutex_);
      if (failing_) {
        refusal = cannot();
      } else if (nodes_.count(node) == 0) {
        refusal = Error{errc::not_found, "The node is not attached", {}};
      } else {
        Room& room = find_or_make(key);
        const Position position{room.epoch, room.seq};
        const auto [at, is_new] = room.subscribers.emplace(node, last_subscription_ + 1);
        if (is_new || known) at->second = ++last_subscription_;
        const std::vector<Target> to{{node, at->second}};
        try {
          add(room, {0, to, {}, answer(std::move(done), position)});
          if (known) catch_up(room, *known, to);
          for (const auto& state : room.states) {
            if (state.second.node != node) add(room, {0, to, state.second.state, nullptr});
          }
        } catch (...) {  // what is on its way for a subscription that has ended arrives nowhere
          room.subscribers.erase(at);
          throw;
        }
      }
    }
    if (refusal) return done(*refusal);
    deliver(key);
  }

  void unsubscribe(NodeId node, const RoomKey& key) override {
    const core::Lock lock(mutex_);
    const auto room = rooms_.find(key);
    if (room == rooms_.end() || room->second.subscribers.erase(node) == 0) return;
    retire_if_idle(key, room->second);
  }

  void replicate(NodeId node, BrokerState state) override {
    const RoomKey key = state.room;
    {
      const core::Lock lock(mutex_);
      if (nodes_.count(node) == 0) return;
      if (!state.value && rooms_.count(key) == 0) return;
      Room& room = find_or_make(key);
      const std::pair id(state.kind, state.key);
      const auto at = room.states.find(id);
      const bool is_new = at == room.states.end();
      if (is_new ? !state.value : state.version <= at->second.state.version) return;
      Delivered delivered{0, others(room, node), state, nullptr};
      // In this order: what finds no memory has not been said.
      std::map<std::pair<BrokerState::Kind, std::string>, Kept> fresh;
      if (is_new) fresh.emplace(id, Kept{node, std::move(state)});
      add(room, std::move(delivered));
      if (is_new) {
        room.states.merge(fresh);
      } else if (state.value) {
        at->second = {node, std::move(state)};
      } else {
        room.states.erase(at);
      }
    }
    deliver(key);
  }

 private:
  struct Target {
    NodeId node;
    std::uint64_t subscription;
  };
  struct Lost {
    Position known;
    Position next;
  };
  /// One thing on its way: to an asker, to sinks, or to both.
  struct Delivered {
    std::uint64_t ticket = 0;
    std::vector<Target> to;
    std::variant<std::monostate, BrokerMessage, BrokerState, Lost> what;
    Function<void()> answer;
  };
  struct Kept {
    NodeId node;
    BrokerState state;
  };
  struct Room {
    std::uint64_t epoch = 0;
    std::uint64_t seq = 0;
    std::deque<BrokerMessage> history;
    std::map<NodeId, std::uint64_t> subscribers;
    std::map<std::pair<BrokerState::Kind, std::string>, Kept> states;
    std::deque<Delivered> held;
    std::deque<Delivered> ready;
    /// A thread delivers what is ready; until it is done the room stays.
    bool delivering = false;
    bool listed_idle = false;
  };

  static Error cannot() { return {errc::unavailable, "The broker cannot be reached", {}}; }
  static Function<void()> answer(Reply<Result<Position>> done, Position position) {
    return [done = std::move(done), position] { done(position); };
  }

  [[nodiscard]] Room& find_or_make(const RoomKey& key) MUSTER_REQUIRES(mutex_) {
    const auto [at, is_new] = rooms_.try_emplace(key);
    if (is_new) {
      at->second.epoch = std::uniform_int_distribution<std::uint64_t>(1, (std::uint64_t{1} << 53U) - 1)(random_);
    }
    return at->second;
  }
  static bool is_idle(const Room& room) {
    return room.subscribers.empty() && room.states.empty() && room.held.empty() && room.ready.empty() &&
           !room.delivering;
  }
  /// Lists it among the idle rooms, of which the first listed goes, if it is idle still. May end `room`.
  void retire_if_idle(const RoomKey& key, Room& room) MUSTER_REQUIRES(mutex_) {
    if (room.listed_idle || !is_idle(room)) return;
    room.listed_idle = true;
    idle_rooms_.push_back(key);
    if (idle_rooms_.size() <= limits_.idle_rooms) return;
    const auto oldest = rooms_.find(idle_rooms_.front());
    idle_rooms_.pop_front();
    oldest->second.listed_idle = false;
    if (is_idle(oldest->second)) rooms_.erase(oldest);
  }
  static std::vector<Target> everyone(const Room& room) { return others(room, 0); }
  static std::vector<Target> others(const Room& room, NodeId than) {
    std::vector<Target> to;
    for (const auto& [node, subscription] : room.subscribers) {
      if (node != than) to.push_back({node, subscription});
    }
    return to;
  }
  void catch_up(Room& room, Position known, const std::vector<Target>& to) MUSTER_REQUIRES(mutex_) {
    std::uint64_t from = known.seq + 1;
    if (known.epoch != room.epoch) {
      from = room.seq + 1;
      add(room, {0, to, Lost{known, {room.epoch, from}}, nullptr});
    } else if (from <= room.seq) {
      const std::uint64_t oldest = room.seq + 1 - room.history.size();
      if (from < oldest) {
        from = oldest;
        add(room, {0, to, Lost{known, {room.epoch, from}}, nullptr});
      }
      for (const BrokerMessage& message : room.history) {
        if (message.position.seq >= from) add(room, {0, to, message, nullptr});
      }
    }
  }
  void add(Room& room, Delivered delivered) MUSTER_REQUIRES(mutex_) {
    delivered.ticket = ++last_ticket_;
    (holding_ || failing_ || !room.held.empty() ? room.held : room.ready).push_back(std::move(delivered));
  }
  static std::size_t let_through(Room& room, std::size_t count) {
    count = std::min(count, room.held.size());
    for (std::size_t i = 0; i < count; ++i) {
      room.ready.push_back(std::move(room.held.front()));
      room.held.pop_front();
    }
    return count;
  }

  /// Delivers what waited for `resume` or for the end of a failure.
  void flow() MUSTER_EXCLUDES(mutex_) {
    std::vector<RoomKey> keys;
    {
      const core::Lock lock(mutex_);
      if (holding_ || failing_) return;
      for (auto& [key, room] : rooms_) {
        if (let_through(room, room.held.size()) != 0) keys.push_back(key);
      }
      std::sort(keys.begin(), keys.end());
    }
    for (const RoomKey& key : keys) deliver(key);
  }

  void deliver(const RoomKey& key) MUSTER_EXCLUDES(mutex_) {
    constexpr int attempts = 3;
    int failed = 0;
    for (bool first = true;; first = false) {
      Delivered* next = nullptr;
      {
        const core::Lock lock(mutex_);
        const auto at = rooms_.find(key);
        if (at == rooms_.end() || (first && at->second.delivering)) return;
        Room& room = at->second;
        if (!first && failed == 0) room.ready.pop_front();  // it has been delivered
        room.delivering = !room.ready.empty() && failed < attempts;
        if (!room.delivering) return retire_if_idle(key, room);
        next = &room.ready.front();  // stays where it is: nobody else takes it out
      }
      // A sink that throws has done nothing: it is called again, now and then with what comes next.
      failed = hand_over(key, *next) ? 0 : failed + 1;
    }
  }
  [[nodiscard]] bool hand_over(const RoomKey& key, Delivered& next) noexcept MUSTER_EXCLUDES(mutex_) {
    try {
      std::vector<std::shared_ptr<Sink>> sinks;
      {
        const core::Lock lock(mutex_);
        const Room& room = rooms_.find(key)->second;
        for (const Target& target : next.to) {
          const auto subscriber = room.subscribers.find(target.node);
          if (subscriber == room.subscribers.end() || subscriber->second != target.subscription) continue;
          if (auto sink = nodes_.find(target.node)->second.lock()) sinks.push_back(std::move(sink));
        }
      }
      if (next.answer) next.answer();
      for (const auto& sink : sinks) {
        if (const auto* message = std::get_if<BrokerMessage>(&next.what)) sink->on_message(*message);
        if (const auto* state = std::get_if<BrokerState>(&next.what)) sink->on_state(*state);
        if (const auto* lost = std::get_if<Lost>(&next.what)) sink->on_lost(key, lost->known, lost->next);
      }
      return true;
    } catch (...) {
      return false;
    }
  }

  const Limits limits_;
  mutable core::Mutex mutex_;
  std::mt19937_64 random_ MUSTER_GUARDED_BY(mutex_);
  std::map<NodeId, std::weak_ptr<Sink>> nodes_ MUSTER_GUARDED_BY(mutex_);
  std::unordered_map<RoomKey, Room> rooms_ MUSTER_GUARDED_BY(mutex_);
  std::deque<RoomKey> idle_rooms_ MUSTER_GUARDED_BY(mutex_);
  std::uint64_t last_ticket_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::uint64_t last_subscription_ MUSTER_GUARDED_BY(mutex_) = 0;
  NodeId last_node_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::size_t to_lose_ MUSTER_GUARDED_BY(mutex_) = 0;
  bool holding_ MUSTER_GUARDED_BY(mutex_) = false;
  bool failing_ MUSTER_GUARDED_BY(mutex_) = false;
};

}  // namespace MUSTER_ABI
}  // namespace muster
