// SessionOracle: who came and came back in one history, and what must be true of sessions, credentials and queues.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/sim.hpp"

namespace muster::test {

class SessionOracle {
 public:
  explicit SessionOracle(Sim& sim) : several_nodes(sim.nodes().size() > 1), sim_(sim) {}
  virtual ~SessionOracle() = default;
  SessionOracle(const SessionOracle&) = delete;
  SessionOracle& operator=(const SessionOracle&) = delete;

  struct Peer {
    Client client;
    std::string tenant;
    std::string token;
    /// Its executor was stopped under it, or its node has died.
    bool orphaned = false;
    /// Command id -> publish.
    std::map<std::string, std::uint64_t> publishes;
    /// Whose session it asked for, if any; and whether that token was spent already when it did.
    std::optional<std::size_t> resumes = {};
    std::string resume_id = {};  ///< of the command
    bool on_trial = false;       ///< its credentials came with that command
    std::set<std::string> asks_for = {};
    bool token_was_spent = false;
    /// What its user had acknowledged for certain when it dialled.
    std::uint64_t acknowledged_before = 0;
    /// Rooms where it took its own awareness back.
    std::set<std::string> nulled = {};
    /// Command id -> queue id.
    std::map<std::string, std::uint64_t> acknowledges = {};
    /// The store may have lost its session.
    bool is_doubtful = false;
  };
  /// They share a broker, and may die.
  const bool several_nodes;
  std::vector<Peer> peers;
  std::vector<std::string> faults;

  void fail(std::string what) {
    if (faults.size() < 10) faults.push_back(std::move(what));
  }

  [[nodiscard]] bool has_resumed(const Peer& peer) const { return peer.client.count("resumed") != 0; }
  /// The id others know it by.
  [[nodiscard]] std::string member_of(const Peer& peer) const {
    const auto resumed = peer.client.last("resumed");
    return resumed ? resumed->text("connection") : to_string(peer.client.id());
  }
  /// Likewise, also of one that was let into its session and never heard of it.
  [[nodiscard]] std::string spoke_for(const Peer& peer) const {
    const auto found = members_.find(peer.client.id());
    return found == members_.end() ? member_of(peer) : to_string(found->second);
  }
  void speaks_for(ConnectionId connection, ConnectionId member) { members_[connection] = member; }
  /// Whether a command after `resumed` was answered: then the token it resumed with is spent.
  [[nodiscard]] bool has_spent(const Peer& peer) const {
    bool resumed = false;
    for (const Told& told : peer.client.log()) {
      if (resumed && !told.reply_to().empty()) return true;
      resumed = resumed || told.type() == "resumed";
    }
    return false;
  }
  struct Queue {
    std::vector<std::uint64_t> stored;
    std::uint64_t asked = 0;  ///< the largest acknowledged, heard or not
  };
  std::map<UserKey, Queue> queues;
  [[nodiscard]] static UserKey user_of(const Peer& peer) {
    return {peer.tenant, peer.token.substr(0, peer.token.find('@'))};
  }
  [[nodiscard]] std::uint64_t acknowledged(const UserKey& user) const {
    std::uint64_t newest = 0;
    for (const Peer& peer : peers) {
      if (user_of(peer) != user || peer.acknowledges.empty()) continue;
      for (const Told& told : peer.client.log()) {
        const auto found = peer.acknowledges.find(told.reply_to());
        if (found != peer.acknowledges.end() && told.type() == "ack") newest = std::max(newest, found->second);
      }
    }
    return newest;
  }
  /// When each connection's credentials end, the latest it was given; none: never.
  std::map<ConnectionId, std::optional<WallTime>> expiries;
  void accepted(ConnectionId id, std::optional<WallTime> until) {
    const auto [at, first] = expiries.emplace(id, until);
    if (!first && at->second && (!until || *until > *at->second)) at->second = until;
  }

  /// At rest: `fresh` has just connected, and must have its user's whole queue.
  void check_queue(const Client& fresh, const UserKey& user, SessionStore& store) {
    std::vector<std::uint64_t> kept;
    store.pending({user}, 0, sim_.now(), Reply<Result<std::vector<QueuedMessage>>>([&](const auto& pending) {
                    for (const auto& message : pending.value()) kept.push_back(message.queue_id);
                  }));
    std::vector<std::uint64_t> told;
    for (const Told& direct : fresh.all("direct")) {
      if (direct.has("queue_id")) told.push_back(direct.number("queue_id"));
    }
    if (told != kept) {
      fail(user.user + " was told " + std::to_string(told.size()) + " of " + std::to_string(kept.size()) +
           " queued messages");
    }
    const std::size_t bound = sim_.options().offline_messages;
    if (kept.size() > bound) fail("the queue of " + user.user + " is above its bound");
    const Queue& queue = queues[user];
    auto newest = queue.stored;
    std::sort(newest.begin(), newest.end());
    for (std::size_t i = newest.size(); i > 0 && i + bound > newest.size(); --i) {
      if (newest[i - 1] <= queue.asked) break;
      if (std::find(kept.begin(), kept.end(), newest[i - 1]) == kept.end()) {
        fail("queued message " + std::to_string(newest[i - 1]) + " of " + user.user + " is gone unacknowledged");
      }
    }
    for (const std::uint64_t id : kept) {
      if (id <= acknowledged(user))
        fail("queued message " + std::to_string(id) + " was acknowledged, and is still there");
    }
  }

  /// At rest: who is there was sent all that its session lacks.
  void check_lacking(const Peer& peer, SessionStore& store) {
    std::set<std::uint64_t> told;
    for (const Told& direct : peer.client.all("direct")) {
      if (direct.has("queue_id")) told.insert(direct.number("queue_id"));
    }
    store.pending({user_of(peer), parse_connection_id(member_of(peer))}, 0, sim_.now(),
                  Reply<Result<std::vector<QueuedMessage>>>([&](const auto& pending) {
                    for (const auto& message : pending.value()) {
                      if (told.count(message.queue_id) == 0) {
                        fail(peer.client.name() + " was never told queued message " + std::to_string(message.queue_id));
                      }
                    }
                  }));
  }

  /// At rest.
  void check_sessions() {
    const WallTime now = sim_.schedule.executors[0]->wall_now();
    const auto moved_sessions = moved();
    for (const Peer& peer : peers) {
      const std::string& who = peer.client.name();
      const bool was_spent = peer.token_was_spent && moved_sessions.count(member_of(peer)) == 0;
      if (peer.resumes && was_spent && has_resumed(peer)) fail(who + " resumed with a token that was spent");
      for (const Told& told : peer.client.log()) {
        if (peer.resumes) break;  // the session it takes up may lack what another device has
        if (told.type() == "direct" && told.has("queue_id") && told.number("queue_id") <= peer.acknowledged_before) {
          fail(who + " got queued message " + told.value("queue_id") + " after it was acknowledged");
        }
      }
      const auto expiry = expiries.find(peer.client.id());
      if (expiry != expiries.end() && expiry->second && is_alive(peer) &&
          *expiry->second + sim_.options().reauth_grace + 1s < now) {
        fail(who + " is still there after its credentials have ended");
      }
      for (const auto& [room, view] : peer.client.rooms()) {
        for (const auto& stay : view.stays) {
          if (stay.recovered && stay.joined_at < stay.newest_at_join && !stay.gaps.empty() &&
              stay.gaps.front().from <= stay.joined_at + 1) {
            fail(who + " was told that " + room + " is recovered, and then of a gap");
          }
        }
      }
    }
    for (const Kept& kept : kept_) {
      for (const Peer& peer : peers) {
        if (peer.tenant != kept.room.tenant || moved_sessions.count(to_string(kept.member)) != 0) continue;
        // Who is behind is told what is true when it has caught up, and then what it missed of that as it comes.
        if (peer.client.pipe().took_at() != TimePoint{} || has_resumed(peer)) continue;
        const auto found = peer.client.rooms().find(kept.room.name);
        if (found == peer.client.rooms().end()) continue;
        const auto lefts = found->second.lefts.find(to_string(kept.member));
        if (lefts != found->second.lefts.end() && lefts->second > kept.joins) {
          fail(peer.client.name() + " was told that somebody left " + kept.room.name + " more often than it came");
        }
      }
      // It is there still, it never left by itself, and it always came back in time, to the node that kept its seat.
      if (kept.broken || !kept.there || moved_sessions.count(to_string(kept.member)) != 0) continue;
      bool given_up = false;
      for (const Peer& peer : peers) {
        given_up = given_up || (has_resumed(peer) && member_of(peer) == to_string(kept.member) &&
                                (peer.asks_for.count(kept.room.name) == 0 || was_denied(peer, kept.room.name)));
      }
      if (given_up) continue;
      bool keeps_awareness = sim_.options().awareness_ttl == 0s;
      for (const Peer& peer : peers) {
        if (member_of(peer) == to_string(kept.member) && peer.nulled.count(kept.room.name) != 0)
          keeps_awareness = false;
      }
      for (const Peer& peer : peers) {
        if (peer.tenant != kept.room.tenant) continue;
        const auto found = peer.client.rooms().find(kept.room.name);
        if (found == peer.client.rooms().end()) continue;
        if (keeps_awareness && found->second.nulls.count(to_string(kept.member)) != 0) {
          fail(peer.client.name() + " was told null of a session in " + kept.room.name + ", which came back in time");
        }
        const auto lefts = found->second.lefts.find(to_string(kept.member));
        if (lefts != found->second.lefts.end()) {
          fail(peer.client.name() + " was told that a session left " + kept.room.name + ", which came back in time");
        }
      }
    }
  }
  /// Whether a resume may not enter the room again: its seat there is given up.
  [[nodiscard]] static bool was_denied(const Peer& peer, const std::string& room) {
    for (const Told& resumed : peer.client.all("resumed")) {
      const auto rooms = resumed.payload().FindMember("rooms");
      if (rooms == resumed.payload().MemberEnd() || !rooms->value.IsObject()) continue;
      if (Told::text(rooms->value, room.c_str()) == "denied") return true;
    }
    return false;
  }
  /// At any moment.
  void check_speakers() {
    for (const std::size_t node : sim_.nodes()) {
      std::set<ConnectionId> members;
      for (const ConnectionInfo& info : sim_.manager(node).connections({}, 1000)) {
        if (!members.insert(info.member).second) fail("a session has two connections");
      }
    }
  }

  [[nodiscard]] bool is_alive(const Peer& peer) const {
    if (peer.orphaned || !peer.client.id() || !sim_.is_up(peer.client.node())) return false;
    const auto info = manager_of(peer).find(peer.client.id());
    return info && info->id == peer.client.id();  // and not another one that speaks for its session
  }
  /// Only while its node is up.
  [[nodiscard]] IConnectionManager& manager_of(const Peer& peer) const { return sim_.manager(peer.client.node()); }

  /// The sessions that were asked for at another node than theirs, by what others know them as.
  [[nodiscard]] std::set<std::string> moved() const {
    std::set<std::string> all;
    for (const Peer& peer : peers) {
      if (!peer.resumes) continue;
      const Peer& before = peers[*peer.resumes];
      const std::string member = member_of(before);
      if (before.client.node() == peer.client.node() && all.count(member) == 0) continue;
      all.insert({member, to_string(before.client.id()), member_of(peer)});
    }
    return all;
  }

  /// The process ends with all that it kept.
  virtual void died(std::size_t node) {
    for (Peer& peer : peers) peer.orphaned = peer.orphaned || peer.client.node() == node;
    for (Kept& kept : kept_) kept.broken = kept.broken || kept.node == node;
  }

 protected:
  void follow(std::size_t node, const std::string& what, const Connection& connection, const std::string& room,
              const std::string& line) {
    const RoomKey key{connection.identity().tenant, room};
    const auto info = sim_.manager(node).find(connection.id());
    if (what == "joined") {
      const ConnectionId member = info ? info->member : connection.id();
      members_[connection.id()] = member;
      Kept& kept = kept_of(key, member);
      if (kept.dropped_at != TimePoint{}) {
        const auto grace = std::min(sim_.options().presence_grace, sim_.options().resume_window);
        if (sim_.now() - kept.dropped_at >= grace || sim_.options().max_connections < 1000) kept.broken = true;
      }
      kept.there = true;
      kept.node = node;
      ++kept.joins;
      return;
    }
    Kept& kept = kept_of(key, members_[connection.id()]);
    kept.there = false;
    kept.dropped_at = sim_.now();
    // "left ann r" without a reason is a leave; these reasons end a session.
    const std::string reason = line.substr(line.rfind(' ') + 1);
    const bool waits = reason == "lost" || reason == "heartbeat_timeout" || reason == "slow_consumer" ||
                       reason == "internal_error" || reason == "rate_limited";
    const Peer* peer = peer_of(connection.id());
    const bool orphaned = peer != nullptr && peer->orphaned;  // no executor is there to keep its seats
    if (!waits || orphaned) kept.broken = true;
  }
  [[nodiscard]] const Peer* peer_of(ConnectionId id) const {
    for (const Peer& peer : peers) {
      if (peer.client.id() == id) return &peer;
    }
    return nullptr;
  }

  Sim& sim_;

 private:
  /// The stay of a session in a room, over all its connections.
  struct Kept {
    RoomKey room;
    ConnectionId member;
    bool there = false;
    std::size_t node = 0;
    std::size_t joins = 0;
    /// It left for good once, or came back too late.
    bool broken = false;
    TimePoint dropped_at{};
  };
  Kept& kept_of(const RoomKey& room, ConnectionId member) {
    for (Kept& kept : kept_) {
      if (kept.room == room && kept.member == member) return kept;
    }
    Kept fresh;
    fresh.room = room;
    fresh.member = member;
    kept_.push_back(fresh);
    return kept_.back();
  }
  std::vector<Kept> kept_;
  std::map<ConnectionId, ConnectionId> members_;
};

}  // namespace muster::test
