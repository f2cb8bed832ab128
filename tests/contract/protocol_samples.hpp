// Every command in words, and every event with something in it: what tests of a Protocol compare and feed.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "muster/protocol.hpp"

namespace muster::test {

/// Says everything a command holds, so that equal texts are equal commands.
[[nodiscard]] inline std::string describe(const Command& command) {
  const auto quoted = [](std::string_view text) { return " <" + std::string(text) + ">"; };
  const auto payload = [&](const Payload& value) {
    return " " + std::to_string(static_cast<int>(value.kind())) + quoted(value.view());
  };
  const auto number = [](auto value) { return " " + std::to_string(value); };
  const auto body = [&](const auto& c) -> std::string {
    using Body = std::decay_t<decltype(c)>;
    if constexpr (std::is_same_v<Body, command::Authenticate>) {
      return quoted(c.token);
    } else if constexpr (std::is_same_v<Body, command::Resume>) {
      std::string text = quoted(c.token) + quoted(c.auth);
      for (const command::ResumeRoom& room : c.rooms) {
        text += quoted(room.room) + number(room.position.epoch) + number(room.position.seq);
      }
      return text;
    } else if constexpr (std::is_same_v<Body, command::Publish>) {
      return quoted(c.room) + payload(c.data) + number(c.echo) + quoted(c.idempotency_key) +
             number(static_cast<int>(c.delivery.kind())) + quoted(c.delivery.key());
    } else if constexpr (std::is_same_v<Body, command::Send>) {
      return quoted(c.user) + payload(c.data) + number(c.queued);
    } else if constexpr (std::is_same_v<Body, command::AwarenessSet>) {
      return quoted(c.room) + quoted(c.client) + (c.state ? payload(*c.state) : " removes") + number(c.clock);
    } else if constexpr (std::is_same_v<Body, command::PresenceQuery>) {
      std::string text = quoted(c.room) + number(c.limit) + to_string(c.after);
      for (const std::string& user : c.users) text += quoted(user);
      return text;
    } else if constexpr (std::is_same_v<Body, command::AcknowledgeQueue>) {
      return number(c.queue_id);
    } else if constexpr (std::is_same_v<Body, command::HistoryQuery>) {
      return quoted(c.room) + number(c.after.epoch) + number(c.after.seq) + number(c.limit);
    } else if constexpr (std::is_same_v<Body, command::Answer>) {
      if (c.result) return number(c.request) + payload(c.result.value());
      const Error& error = c.result.error();
      return number(c.request) + quoted(error.name) + quoted(error.message) + payload(error.details);
    } else if constexpr (std::is_same_v<Body, command::ProfileSet>) {
      return payload(c.profile);
    } else if constexpr (std::is_same_v<Body, command::Ping>) {
      return payload(c.payload);
    } else if constexpr (std::is_same_v<Body, command::Custom>) {
      return quoted(c.type) + payload(c.payload);
    } else if constexpr (std::is_same_v<Body, command::Invalid>) {
      return quoted(to_string(c.error.code)) + quoted(c.error.message);
    } else if constexpr (std::is_same_v<Body, command::ListSubscriptions> ||
                         std::is_same_v<Body, command::SessionInfo>) {
      return {};
    } else {
      return quoted(c.room);
    }
  };
  return std::to_string(command.body.index()) + std::visit(body, command.body) + quoted(command.correlation.id) +
         number(command.correlation.form) + number(command.correlation.reply);
}

/// Every event, sparse and full; all names in it are `name`. Owns what the events point to.
class EventSamples {
 public:
  explicit EventSamples(std::string name)
      : name_(std::move(name)), strings_{name_, "r"}, members_{{id_, name_}, {ConnectionId(1), "bob"}} {
    payloads_ = {json("{\"a\":1}"), json(" [1 , 2]"), json("7"), text(name_), binary(name_), Payload()};
    for (const Payload& payload : payloads_) {
      AwarenessEntry entry;
      entry.client = name_;
      entry.owner.user = name_;
      entry.clock = ~std::uint64_t{0};
      entry.state = payload;
      entries_.push_back(entry);
    }
    users_ = {{name_, 0}, {"bob", 3}};
    for (const Payload& payload : payloads_) {
      shown_.push_back({id_, name_, payload});
      history_.push_back({history_.size() + 1, payload, history_.empty() ? ConnectionId() : id_, name_});
    }
    using State = event::ResumedRoom::State;
    resumed_ = {{name_, State::recovered}, {"g", State::gap}, {"d", State::denied}};
    error_ = {errc::rate_limited, name_, std::chrono::milliseconds(1500)};
    plain_error_ = {errc::not_found, "x", {}};
    own_error_ = {errc::permission_denied, name_, {}, name_, payloads_[0]};
    identity_ = {name_, name_, {name_}, time_};
    nobody_ = {name_, "", {}, {}};
    fill();
  }
  EventSamples(const EventSamples&) = delete;
  EventSamples& operator=(const EventSamples&) = delete;

  [[nodiscard]] const std::vector<Event>& events() const { return events_; }

 private:
  void fill() {
    using std::chrono::milliseconds;
    const Position position{(std::uint64_t{1} << 53U) - 1, 42};
    add(event::ConnectionAck{id_, name_, name_, milliseconds(30000), name_, milliseconds(300000)});
    add(event::ConnectionAck{id_, name_, "", milliseconds(0), "", milliseconds(0)});
    add(event::Resumed{id_, &resumed_});
    add(event::Resumed{id_, nullptr});
    add(event::AuthResult{&identity_, ""});
    add(event::AuthResult{&nobody_, ""});
    add(event::AuthResult{nullptr, name_});
    add(event::RoomJoined{name_, position, &members_, 2, true});
    add(event::RoomJoined{name_, {}, nullptr, 1000, false});
    add(event::RoomJoined{name_, {}, &no_members_, 0, false});
    add(event::RoomJoined{name_, position, nullptr, 3, false, true});
    add(event::RoomLeft{name_});
    add(event::RoomLeft{name_, true});
    add(event::Ack{});
    add(event::Ack{position, {}, {}, nullptr, {}});
    add(event::Ack{{}, std::size_t{3}, true, nullptr, {}});
    add(event::Ack{position, std::size_t{0}, false, nullptr, name_});
    add(event::Ack{{}, {}, {}, nullptr, {}, 12, true});
    add(event::Subscriptions{&strings_});
    add(event::Subscriptions{});
    for (const Payload& payload : payloads_) {
      add(event::Ack{{}, {}, {}, &payload, name_});
      add(event::RoomMessage{name_, position, id_, name_, &payload});
      add(event::RoomMessage{name_, {}, {}, "", &payload});
      add(event::DirectMessage{id_, name_, &payload, 7});
      add(event::DirectMessage{{}, "", &payload, 0});
    }
    add(event::Pong{&payloads_[0]});
    add(event::Pong{&payloads_.back()});
    add(event::Pong{});
    add(event::Progress{&payloads_[0]});
    add(event::Progress{});
    add(event::Request{7, name_, &payloads_[0], milliseconds(5000)});
    add(event::Request{~std::uint64_t{0}, "", nullptr, milliseconds(0)});
    add(event::History{name_, position.epoch, history_.data(), history_.size(), false, true});
    add(event::History{name_, 0, nullptr, 0, true, false});
    add(event::Gap{name_, 1, ~std::uint64_t{0}});
    add(event::AwarenessState{name_, entries_.data(), entries_.size()});
    add(event::AwarenessState{name_, entries_.data(), entries_.size(), true});
    add(event::AwarenessState{name_, nullptr, 0});
    add(event::AwarenessChanged{name_, entries_.data(), entries_.size()});
    add(event::AwarenessChanged{name_, nullptr, 0});
    add(event::PresenceState{users_.data(), users_.size()});
    add(event::PresenceState{users_.data(), users_.size(), true, name_});
    add(event::PresenceState{});
    add(event::PresenceState{nullptr, 0, true, name_, &members_});
    add(event::PresenceChanged{name_, &members_, &members_, nullptr, 0, false, 3});
    add(event::PresenceChanged{name_, &no_members_, &no_members_, nullptr, 0, false, 3, &shown_});
    add(event::PresenceChanged{name_, nullptr, &no_members_, nullptr, 0, false, 0});
    add(event::PresenceChanged{name_, nullptr, nullptr, nullptr, 0, false, 300});
    add(event::PresenceChanged{name_, nullptr, nullptr, members_.data(), members_.size(), true, 3});
    add(event::UsersOnline{&strings_});
    add(event::UsersOffline{&strings_});
    add(event::ReauthRequired{time_, milliseconds(30000)});
    add(event::Draining{milliseconds(4321)});
    add(event::Kicked{name_, true});
    add(event::Kicked{});
    add(event::SessionState{id_, name_, name_, &strings_, time_});
    add(event::SessionState{});
    add(event::Failure{&error_});
    add(event::Failure{&plain_error_});
    add(event::Failure{&own_error_});
    add(event::Failure{});
    add(event::Heartbeat{});
  }

  template <class E>
  void add(E event) {
    const auto kept = std::make_shared<const E>(std::move(event));
    events_.emplace_back(*kept);
    kept_.push_back(kept);
  }

  ConnectionId id_{0xfedcba9876543210U};
  WallTime time_{std::chrono::milliseconds(1800000000123)};
  std::string name_;
  std::vector<std::string> strings_;
  std::vector<Member> members_;
  std::vector<Member> shown_;
  std::vector<HistoryMessage> history_;
  std::vector<Member> no_members_;
  std::vector<Payload> payloads_;
  std::vector<AwarenessEntry> entries_;
  std::vector<event::UserPresence> users_;
  std::vector<event::ResumedRoom> resumed_;
  Error error_;
  Error plain_error_;
  Error own_error_;
  Identity identity_;
  Identity nobody_;
  std::vector<std::shared_ptr<const void>> kept_;
  std::vector<Event> events_;  ///< of those that are kept
};

}  // namespace muster::test
