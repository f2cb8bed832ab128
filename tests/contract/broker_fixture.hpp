// What a Broker's contract needs of an implementation, and the sinks that play managers.
//
// A sink writes down what it gets and finds fault: a call while another for the same room is under way, a message out of
// order or twice, a state that is older than one it had.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "contract/questions.hpp"
#include "muster/broker.hpp"

namespace muster::test {

/// Owns one broker without nodes. `run_until` also lets what is carried arrive.
class BrokerFixture : public SeamFixture<Broker> {
 public:
  /// The next messages get a position and reach nobody; false: it cannot lose on demand.
  [[nodiscard]] virtual bool lose_next(std::size_t) { return false; }
  /// How many messages of a room it keeps for those who come back; 0: unknown, and running out is not tested.
  [[nodiscard]] virtual std::size_t history_messages() const { return 0; }
};
using MakeBrokerFixture = std::function<std::unique_ptr<BrokerFixture>()>;

/// One manager's end, as far as the contract is concerned.
class RecordingSink final : public Broker::Sink {
 public:
  void on_message(const BrokerMessage& message) override {
    const Call call(*this, message.room);
    const std::lock_guard<std::mutex> lock(mutex_);
    Room& room = rooms_[message.room];
    room.messages.push_back(message);
    if (message.position.seq == 0) return;
    if (room.next.epoch == message.position.epoch && message.position.seq != room.next.seq) {
      faults_.push_back("message " + std::to_string(message.position.seq) + " came in place of " +
                        std::to_string(room.next.seq));
    }
    room.next = {message.position.epoch, message.position.seq + 1};
  }
  void on_state(const BrokerState& state) override {
    const Call call(*this, state.room);
    const std::lock_guard<std::mutex> lock(mutex_);
    Room& room = rooms_[state.room];
    ++room.state_calls;
    const auto key = std::pair(state.kind, state.key);
    const auto at = room.states.find(key);
    if (at != room.states.end() && at->second.version > state.version)
      faults_.push_back("an older state of " + state.key);
    if (state.value) {
      room.states[key] = state;
    } else {
      room.removed[key] = state;
      room.states.erase(key);
    }
  }
  void on_lost(const RoomKey& key, Position known, Position next) override {
    const Call call(*this, key);
    const std::lock_guard<std::mutex> lock(mutex_);
    Room& room = rooms_[key];
    room.losses.emplace_back(known, next);
    if (room.next.epoch == known.epoch && room.next.seq != known.seq + 1) faults_.emplace_back("lost what had come");
    room.next = next;
  }

  [[nodiscard]] std::vector<BrokerMessage> messages(const RoomKey& key) const { return read(key).messages; }
  [[nodiscard]] std::vector<std::string> payloads(const RoomKey& key) const {
    std::vector<std::string> bytes;
    for (const auto& message : messages(key)) bytes.emplace_back(message.data.view());
    return bytes;
  }
  [[nodiscard]] std::vector<std::pair<Position, Position>> losses(const RoomKey& key) const { return read(key).losses; }
  /// Key -> value of one kind.
  [[nodiscard]] std::map<std::string, std::string> states(const RoomKey& key, BrokerState::Kind kind) const {
    std::map<std::string, std::string> values;
    for (const auto& [which, state] : read(key).states) {
      if (which.first == kind) values[which.second] = std::string(state.value->view());
    }
    return values;
  }
  [[nodiscard]] std::optional<BrokerState> state(const RoomKey& key, BrokerState::Kind kind,
                                                 const std::string& which) const {
    const Room room = read(key);
    const auto at = room.states.find({kind, which});
    return at == room.states.end() ? std::nullopt : std::optional(at->second);
  }
  [[nodiscard]] std::optional<BrokerState> removed(const RoomKey& key, BrokerState::Kind kind,
                                                   const std::string& which) const {
    const Room room = read(key);
    const auto at = room.removed.find({kind, which});
    return at == room.removed.end() ? std::nullopt : std::optional(at->second);
  }
  /// Messages, losses and changes of state together.
  [[nodiscard]] std::size_t calls(const RoomKey& key) const {
    const Room room = read(key);
    return room.messages.size() + room.losses.size() + room.state_calls;
  }
  [[nodiscard]] std::vector<std::string> faults() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return faults_;
  }
  /// Called within each call, after it was written down; set before there are any.
  std::function<void()> on_call;

 private:
  struct Room {
    std::vector<BrokerMessage> messages;
    std::vector<std::pair<Position, Position>> losses;
    std::map<std::pair<BrokerState::Kind, std::string>, BrokerState> states;
    std::map<std::pair<BrokerState::Kind, std::string>, BrokerState> removed;
    std::size_t state_calls = 0;
    Position next;
    bool busy = false;
  };
  /// Marks the room as busy for as long as the call lasts.
  class Call {
   public:
    Call(RecordingSink& sink, const RoomKey& key) : sink_(sink), key_(key) {
      const std::lock_guard<std::mutex> lock(sink_.mutex_);
      bool& busy = sink_.rooms_[key_].busy;
      if (busy) sink_.faults_.emplace_back("two calls for one room at a time");
      busy = true;
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() {
      if (sink_.on_call) sink_.on_call();
      const std::lock_guard<std::mutex> lock(sink_.mutex_);
      sink_.rooms_[key_].busy = false;
    }

   private:
    RecordingSink& sink_;
    const RoomKey key_;
  };
  [[nodiscard]] Room read(const RoomKey& key) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto at = rooms_.find(key);
    return at == rooms_.end() ? Room{} : at->second;
  }

  mutable std::mutex mutex_;
  std::map<RoomKey, Room> rooms_;
  std::vector<std::string> faults_;
};

}  // namespace muster::test
