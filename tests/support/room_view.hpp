// RoomView: what one client knows of one room from what it was told, and what it was told wrongly.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "muster/types.hpp"
#include "support/frames.hpp"

namespace muster::test {

struct RoomView {
  struct Message {
    std::uint64_t seq = 0;  ///< 0: `latest`, without a place in the order
    std::string data;
    std::string from;  ///< connection
    std::string from_user;
  };
  struct Gap {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
  };
  /// From a room_joined to a room_left, or to the end.
  struct Stay {
    std::uint64_t epoch = 0;
    std::uint64_t joined_at = 0;
    std::vector<Message> messages;
    std::vector<Gap> gaps;
    /// Everything up to here was delivered or named.
    std::uint64_t known = 0;
    bool over = false;
    /// As the room_joined said.
    bool recovered = false;
    std::uint64_t newest_at_join = 0;
  };
  struct State {
    std::string state;
    std::uint64_t clock = 0;
  };

  bool joined = false;
  /// Asked for in a resume: the next room_joined goes on from here.
  std::optional<Position> resumes_at;
  std::vector<Stay> stays;
  std::map<std::string, std::string> members;   ///< connection -> user
  std::map<std::string, std::string> profiles;  ///< of those that have one, by connection
  std::uint64_t member_count = 0;
  bool lossy = false;  ///< told counts only, since the last whole list
  std::map<std::string, State> awareness;
  /// The clock of the last null of each client id.
  std::map<std::string, std::uint64_t> nulls;
  std::size_t nulls_told = 0;
  /// How often each connection was told as left, over all stays.
  std::map<std::string, std::size_t> lefts;
  std::vector<std::string> wrong;

  /// As room_joined, but told neither who is there nor where the order begins.
  void subscribed() {
    if (!joined) begin({});
  }
  void unsubscribed() { on_left(); }

  void tell(const Told& told) {
    const std::string type = told.type();
    if (type == "room_joined") return on_joined(told);
    if (type == "presence_state" || type == "error" || type == "ack") return;
    if (type == "room_left") return on_left();
    if (!joined) return complain(type + " while not in the room");
    if (type == "message") return on_message(told);
    if (type == "gap") return on_gap(told);
    if (type == "presence") return on_presence(told);
    if (type == "awareness_state") return on_awareness(told, false);
    if (type == "awareness_update") return on_awareness(told, true);
  }

 private:
  std::map<std::string, std::string> list_;  ///< of members, as far as it has come

  void complain(std::string what) { wrong.push_back(std::move(what)); }

  void begin(Stay stay) {
    joined = true;
    awareness.clear();
    nulls.clear();
    stays.push_back(std::move(stay));
  }
  void on_joined(const Told& told) {
    const std::uint64_t seq = told.number("seq");
    const std::uint64_t epoch = told.number("epoch");
    members.clear();
    profiles.clear();
    for (const auto* member : told.list("members")) {
      members[Told::text(*member, "connection")] = Told::text(*member, "user");
      note_profile(*member);
    }
    member_count = told.number("member_count");
    lossy = !told.payload().HasMember("members");
    list_.clear();
    if (joined) return;  // a second join changes nothing
    Stay stay;
    stay.epoch = epoch;
    stay.joined_at = stay.known = stay.newest_at_join = seq;
    if (resumes_at && told.reply_to().empty()) {  // part of a resume, not the answer to a join
      stay.joined_at = stay.known = resumes_at->epoch != epoch ? 0 : std::min(seq, resumes_at->seq);
    }
    stay.recovered = told.value("recovered") == "true";
    begin(std::move(stay));
  }
  void on_left() {
    if (!joined) return;  // leaving is idempotent
    joined = false;
    stays.back().over = true;
    members.clear();
    awareness.clear();
  }
  void on_message(const Told& told) {
    Message message;
    message.seq = told.number("seq");
    message.data = told.value("data");
    const auto from = told.payload().FindMember("from");
    if (from != told.payload().MemberEnd() && from->value.IsObject()) {
      message.from = Told::text(from->value, "connection");
      message.from_user = Told::text(from->value, "user");
    }
    Stay& stay = stays.back();
    if (message.seq != 0) {
      if (stay.epoch == 0) stay.epoch = told.number("epoch");  // a subscriber's first message
      if (told.number("epoch") != stay.epoch) complain("a message of another epoch");
      if (message.seq <= stay.known) {
        complain("seq " + std::to_string(message.seq) + " after " + std::to_string(stay.known));
      } else {
        stay.known = message.seq;
      }
    }
    stay.messages.push_back(std::move(message));
  }
  void on_gap(const Told& told) {
    const Gap gap{told.number("from"), told.number("to")};
    Stay& stay = stays.back();
    if (gap.from > gap.to || gap.from <= stay.known) {
      complain("a gap of " + std::to_string(gap.from) + " to " + std::to_string(gap.to) + " after " +
               std::to_string(stay.known));
    } else {
      stay.known = gap.to;
    }
    stay.gaps.push_back(gap);
  }
  void on_presence(const Told& told) {
    member_count = told.number("member_count");
    const auto has = [&](const char* name) { return told.payload().HasMember(name); };
    if (has("members")) {
      for (const auto* member : told.list("members")) {
        list_[Told::text(*member, "connection")] = Told::text(*member, "user");
        note_profile(*member);
      }
      if (has("more")) return;
      for (const auto& [id, user] : members) {
        if (list_.count(id) == 0) ++lefts[id];
      }
      members = std::exchange(list_, {});
      lossy = false;
      return;
    }
    lossy = lossy || !has("joined");
    for (const auto* member : told.list("left")) {
      members.erase(Told::text(*member, "connection"));
      ++lefts[Told::text(*member, "connection")];
    }
    for (const auto* member : told.list("joined")) {
      members[Told::text(*member, "connection")] = Told::text(*member, "user");
      note_profile(*member);
    }
    for (const auto* member : told.list("changed")) {
      // What was on its way while the list was told may name who came since.
      members[Told::text(*member, "connection")] = Told::text(*member, "user");
      note_profile(*member);
    }
  }
  void note_profile(const rapidjson::Value& member) {
    const std::string profile = Told::value(member, "profile");
    if (profile.empty()) {
      profiles.erase(Told::text(member, "connection"));
    } else {
      profiles[Told::text(member, "connection")] = profile;
    }
  }
  void on_awareness(const Told& told, bool change) {
    for (const auto* entry : told.list("states")) {
      const std::string client = Told::text(*entry, "client");
      const std::uint64_t clock = Told::number(*entry, "clock");
      const std::string state = Told::value(*entry, "state");
      const auto known = awareness.find(client);
      // A change that was on its way while this client joined; the clock is there to tell.
      if (change && known != awareness.end() && clock < known->second.clock) continue;
      if (state != "null") {
        awareness[client] = {state, clock};
        continue;
      }
      ++nulls_told;
      const auto told_before = nulls.find(client);
      if (known == awareness.end() && told_before != nulls.end() && told_before->second == clock) {
        complain("the null of " + client + " at clock " + std::to_string(clock) + " was told twice");
      }
      nulls[client] = clock;
      awareness.erase(client);
    }
  }
};

}  // namespace muster::test
