// Every command in words, and every event with something in it: what tests of a Protocol compare and feed.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
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
      std::string text = quoted(c.room);
      for (const std::string& user : c.users) text += quoted(user);
      return text;
    } else if constexpr (std::is_same_v<Body, command::AcknowledgeQueue>) {
      return number(c.queue_id);
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
    using State = event::ResumedRoom::State;
    resumed_ = {{name_, State::recovered}, {"g", State::gap}, {"d", State::denied}};
    error_ = {errc::rate_limited, name_, std::chrono::milliseconds(1500)};
    plain_error_ = {errc::not_found, "x", {}};
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
    events_.emplace_back(event::ConnectionAck{id_, name_, name_, milliseconds(30000), name_, milliseconds(300000)});
    events_.emplace_back(event::ConnectionAck{id_, name_, "", milliseconds(0), "", milliseconds(0)});
    events_.emplace_back(event::Resumed{id_, &resumed_});
    events_.emplace_back(event::Resumed{id_, nullptr});
    events_.emplace_back(event::AuthResult{&identity_, ""});
    events_.emplace_back(event::AuthResult{&nobody_, ""});
    events_.emplace_back(event::AuthResult{nullptr, name_});
    events_.emplace_back(event::RoomJoined{name_, position, &members_, 2, true});
    events_.emplace_back(event::RoomJoined{name_, {}, nullptr, 1000, false});
    events_.emplace_back(event::RoomJoined{name_, {}, &no_members_, 0, false});
    events_.emplace_back(event::RoomLeft{name_});
    events_.emplace_back(event::Ack{});
    events_.emplace_back(event::Ack{position, {}, {}, nullptr, {}});
    events_.emplace_back(event::Ack{{}, std::size_t{3}, true, nullptr, {}});
    events_.emplace_back(event::Ack{position, std::size_t{0}, false, nullptr, name_});
    events_.emplace_back(event::Ack{{}, {}, {}, nullptr, {}, 12, true});
    events_.emplace_back(event::Subscriptions{&strings_});
    events_.emplace_back(event::Subscriptions{});
    for (const Payload& payload : payloads_) {
      events_.emplace_back(event::Ack{{}, {}, {}, &payload, name_});
      events_.emplace_back(event::RoomMessage{name_, position, id_, name_, &payload});
      events_.emplace_back(event::RoomMessage{name_, {}, {}, "", &payload});
      events_.emplace_back(event::DirectMessage{id_, name_, &payload, 7});
      events_.emplace_back(event::DirectMessage{{}, "", &payload, 0});
    }
    events_.emplace_back(event::Pong{&payloads_[0]});
    events_.emplace_back(event::Pong{&payloads_.back()});
    events_.emplace_back(event::Pong{});
    events_.emplace_back(event::Gap{name_, 1, ~std::uint64_t{0}});
    events_.emplace_back(event::AwarenessState{name_, entries_.data(), entries_.size()});
    events_.emplace_back(event::AwarenessState{name_, entries_.data(), entries_.size(), true});
    events_.emplace_back(event::AwarenessState{name_, nullptr, 0});
    events_.emplace_back(event::AwarenessChanged{name_, entries_.data(), entries_.size()});
    events_.emplace_back(event::AwarenessChanged{name_, nullptr, 0});
    events_.emplace_back(event::PresenceState{users_.data(), users_.size()});
    events_.emplace_back(event::PresenceState{users_.data(), users_.size(), true, name_});
    events_.emplace_back(event::PresenceState{});
    events_.emplace_back(event::PresenceChanged{name_, &members_, &members_, nullptr, 0, false, 3});
    events_.emplace_back(event::PresenceChanged{name_, nullptr, &no_members_, nullptr, 0, false, 0});
    events_.emplace_back(event::PresenceChanged{name_, nullptr, nullptr, nullptr, 0, false, 300});
    events_.emplace_back(event::PresenceChanged{name_, nullptr, nullptr, members_.data(), members_.size(), true, 3});
    events_.emplace_back(event::UsersOnline{&strings_});
    events_.emplace_back(event::UsersOffline{&strings_});
    events_.emplace_back(event::ReauthRequired{time_, milliseconds(30000)});
    events_.emplace_back(event::Draining{milliseconds(4321)});
    events_.emplace_back(event::Kicked{name_, true});
    events_.emplace_back(event::Kicked{});
    events_.emplace_back(event::SessionState{id_, name_, name_, &strings_, time_});
    events_.emplace_back(event::SessionState{});
    events_.emplace_back(event::Failure{&error_});
    events_.emplace_back(event::Failure{&plain_error_});
    events_.emplace_back(event::Failure{});
    events_.emplace_back(event::Heartbeat{});
  }

  ConnectionId id_{0xfedcba9876543210U};
  WallTime time_{std::chrono::milliseconds(1800000000123)};
  std::string name_;
  std::vector<std::string> strings_;
  std::vector<Member> members_;
  std::vector<Member> no_members_;
  std::vector<Payload> payloads_;
  std::vector<AwarenessEntry> entries_;
  std::vector<event::UserPresence> users_;
  std::vector<event::ResumedRoom> resumed_;
  Error error_;
  Error plain_error_;
  Identity identity_;
  Identity nobody_;
  std::vector<Event> events_;
};

}  // namespace muster::test
