// Oracle: what was done in one history, and what therefore must be true of what everyone was told.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "simulation/arrival_oracle.hpp"
#include "simulation/random_setup.hpp"

namespace muster::test {

/// One publish. Its payload is its number, so that a message is known by what it carries.
struct Publish {
  std::string tenant;
  std::string room;
  /// The client that published; none: the server.
  std::optional<std::size_t> publisher;
  bool echo = false;
  bool latest = false;
  /// Who else must not get it.
  ConnectionId exclude;
  /// Its session, which nobody could be asked for any more.
  bool excludes_some_session = false;
  std::optional<Position> position;
};

class Oracle : public ArrivalOracle {
 public:
  using ArrivalOracle::ArrivalOracle;

  /// Records a publish and returns its number.
  std::uint64_t publishing(Publish publish) {
    publishes_[++last_publish_] = std::move(publish);
    return last_publish_;
  }
  void published(std::uint64_t number, Position position) {
    if (position.seq == 0) return;
    place(publishes_[number].tenant, publishes_[number].room, position, number);
  }

  // Hooks, as they run.

  void hook(std::size_t node, const std::string& line, Connection* connection) {
    const std::string what = line.substr(0, line.find(' '));
    if (!sim_.is_up(node)) return fail("a hook of a node that has died: " + line);
    if (connection == nullptr) return edge(node, line.substr(line.find(' ') + 1), what == "online");
    Life& life = lives_[connection->id()];
    const Peer* peer = peer_of(connection->id());
    if (peer != nullptr && !peer->orphaned && !peer->client.executor()->loop().is_running()) {
      fail("a hook of " + peer->client.name() + " ran elsewhere: " + line);
    }
    const auto room = [&line] {
      const auto from = line.find(' ', line.find(' ') + 1) + 1;
      return line.substr(from, line.find(' ', from) - from);
    };
    if (what == "connected") {
      if (life.connected || life.disconnected) fail("on_connected twice: " + line);
      life.connected = true;
      life.node = node;
      return;
    }
    if (!life.connected || life.disconnected) fail("a hook before on_connected or after on_disconnected: " + line);
    if (what == "joined" || what == "left") follow(node, what, *connection, room(), line);
    if (what == "joined" && !life.rooms.insert(room()).second) fail("on_joined twice: " + line);
    if (what == "left" && life.rooms.erase(room()) == 0) fail("on_left of a room it was not in: " + line);
    if (what == "disconnected") {
      if (!life.rooms.empty()) fail("on_disconnected before on_left: " + line);
      const auto info = sim_.manager(node).find(connection->id());
      if (info && info->id == connection->id()) fail("on_disconnected before the tables changed: " + line);
      life.disconnected = true;
      life.reason = line.substr(line.rfind(' ') + 1);
      ended(connection->id(), life.reason);
      if (peer != nullptr) check_cut(peer->client.pipe(), peer->client.name(), life.reason);
    }
  }

  // Checks.

  /// Whoever said anything, a part of a message even, or took anything of what was pending within pong_timeout is not
  /// cut as silent; nor as slow who took anything within unsent_age.
  void check_cut(const MemoryTransport& pipe, const std::string& who, const std::string& reason) {
    const Options& options = sim_.options();
    const auto within = [&](TimePoint when, std::chrono::milliseconds time) {
      const auto since = sim_.now() - when;
      return since > 0s && since < time;
    };
    if (reason == "heartbeat_timeout" && !pipe.is_vanished()) {  // else with what it had said
      if (within(pipe.heard_at(), options.pong_timeout)) fail(who + " was cut while it spoke");
      if (within(pipe.took_at(), options.pong_timeout)) fail(who + " was cut while it took what was sent");
    }
    // The first look comes after an eighth of the time: what the peer took until then is no progress.
    if (reason == "slow_consumer" && options.unsent_hard_bytes == never_unsent &&
        within(pipe.took_at(), options.unsent_age * 7 / 8)) {
      fail(who + " was cut as slow while it took what was sent");
    }
  }
  /// At any moment: who takes nothing is closed. It has unsent_age, and what is left of the one in which it last took.
  void check_stuck() {
    const Options& options = sim_.options();
    const auto most = 2 * options.unsent_age + options.auth_timeout + 1s;
    for (const Peer& peer : peers) {
      const MemoryTransport& pipe = peer.client.pipe();
      SimExecutor& executor = *peer.client.executor();
      const auto since = pipe.stuck_since();
      if (!since || sim_.now() - *since <= most || pipe.closing() || pipe.aborted() || !pipe.connection()) continue;
      if (executor.is_held() || executor.is_ready() || executor.loop().is_running() || executor.loop().is_stopped())
        continue;
      fail(peer.client.name() + " takes nothing, and is there");
    }
  }

  /// At any moment: no limit is overshot.
  void check_limits(const std::vector<RoomKey>& rooms) {
    const Schedule::Quiet quiet(sim_.schedule);
    const Options& options = sim_.options();
    for (const std::size_t node : sim_.nodes()) {
      // To each that is there one place may be lent, for as long as it takes to find out who asks for it.
      if (options.max_connections != 0 && sim_.manager(node).metrics().reserved > 2 * options.max_connections) {
        fail("max_connections was overshot");
      }
      for (const RoomKey& key : rooms) {
        const RoomOptions& room = options.room_options(key.name);
        if (room.room_capacity == 0) continue;
        const auto members = counted_members(node, key);
        const std::set<std::string> users(members.begin(), members.end());
        const std::size_t counted = room.capacity_counts == CapacityCounts::users ? users.size() : members.size();
        if (counted > room.room_capacity) fail("the capacity of " + key.name + " was overshot");
      }
    }
    for (const Peer& peer : peers) {
      if (!peer.client.id() || !sim_.is_up(peer.client.node())) continue;
      const auto info = manager_of(peer).find(peer.client.id());
      if (info && options.rooms_per_connection != 0 && info->rooms.size() > options.rooms_per_connection) {
        fail("rooms_per_connection was overshot by " + peer.client.name());
      }
    }
  }

  /// At rest, with everyone reading: what everyone was told is what is true.
  void check_views() {
    const auto moved_sessions = moved();
    read_acknowledgements();
    for (std::size_t i = 0; i < peers.size(); ++i) {
      for (const auto& [room, view] : peers[i].client.rooms()) {
        for (const auto& stay : view.stays) place_messages(i, room, stay);
      }
    }
    for (std::size_t i = 0; i < peers.size(); ++i) {
      seen_.clear();
      for (const auto& [room, view] : peers[i].client.rooms()) {
        for (std::size_t stay = 0; stay < view.stays.size(); ++stay) {
          check_stay(i, room, view.stays[stay], view.joined && stay + 1 == view.stays.size() && is_alive(peers[i]));
        }
        if (view.joined && is_alive(peers[i])) {
          check_members(i, room, view, moved_sessions);
          check_awareness(i, room, view);
        }
      }
    }
  }

  /// After everyone was closed: nobody is left anywhere, and every end was one end.
  void check_end(const std::vector<RoomKey>& rooms, bool all_hooks) {
    for (const std::size_t node : sim_.nodes()) check_empty(sim_.manager(node), rooms);
    for (const Peer& peer : peers) check_ending(peer);
    if (all_hooks) {
      for (const auto& [id, life] : lives_) {
        if (life.connected && !life.disconnected) fail("no on_disconnected of " + to_string(id));
      }
    }
  }

  /// With all that its hooks would have said.
  void died(std::size_t node) override {
    ArrivalOracle::died(node);
    for (auto at = lives_.begin(); at != lives_.end();) {
      at = at->second.node == node ? lives_.erase(at) : std::next(at);
    }
  }

 private:
  struct Life {
    std::size_t node = 0;
    bool connected = false;
    bool disconnected = false;
    std::set<std::string> rooms;
    std::string reason;
  };
  using Place = std::tuple<std::string, std::string, std::uint64_t, std::uint64_t>;

  /// The users of the members that count for a room's capacity at a node: of several nodes, those it is certain of.
  [[nodiscard]] std::vector<std::string> counted_members(std::size_t node, const RoomKey& key) const {
    std::vector<std::string> users;
    if (!several_nodes) {
      for (const Member& member : sim_.manager(node).room(key)->members()) users.push_back(member.user);
    } else {
      for (const ConnectionInfo& info : sim_.manager(node).connections_in(key)) users.push_back(info.user);
    }
    return users;
  }
  void check_empty(IConnectionManager& manager, const std::vector<RoomKey>& rooms) {
    const Metrics now = manager.metrics();
    if (now.connections != 0) fail(std::to_string(now.connections) + " ghosts among the connections");
    if (now.pending != 0) fail(std::to_string(now.pending) + " ghosts among the pending");
    if (now.reserved != 0) fail(std::to_string(now.reserved) + " places were never given back");
    if (now.users != 0) fail(std::to_string(now.users) + " ghosts among the users");
    if (now.rooms != 0) fail(std::to_string(now.rooms) + " rooms are left");
    if (now.awareness_entries != 0) fail(std::to_string(now.awareness_entries) + " awareness entries are left");
    if (now.waiting_bytes != 0) fail(std::to_string(now.waiting_bytes) + " bytes wait for nobody");
    if (manager.awareness().size() != 0) fail("the awareness store is not empty");
    if (manager.connection_count() != 0 || !manager.connections({}, 10).empty()) fail("a lookup finds a ghost");
    for (const RoomKey& key : rooms) {
      if (manager.room(key)->size() != 0 || !manager.connections_in(key).empty()) fail("a ghost in " + key.name);
    }
  }

  [[nodiscard]] bool is_excluded(const Publish& publish, std::size_t index) const {
    const std::string member = member_of(peers[index]);
    return (publish.publisher && !publish.echo && member_of(peers[*publish.publisher]) == member) ||
           (publish.exclude && to_string(publish.exclude) == member);
  }
  /// Excluded under an id that stood for a session at some time only: either is right.
  [[nodiscard]] bool may_be_excluded(const Publish& publish, std::size_t index) const {
    if (is_excluded(publish, index)) return true;
    const std::string member = member_of(peers[index]);
    if (publish.publisher && !publish.echo && spoke_for(peers[*publish.publisher]) == member) return true;
    if (publish.excludes_some_session) return true;
    const Peer* excluded = publish.exclude ? peer_of(publish.exclude) : nullptr;
    return excluded != nullptr && spoke_for(*excluded) == member;
  }

  void place(const std::string& tenant, const std::string& room, Position position, std::uint64_t number) {
    Publish& publish = publishes_[number];
    if (publish.position && *publish.position != position)
      fail("publish " + std::to_string(number) + " has two positions");
    publish.position = position;
    const auto at = placed_.emplace(Place{tenant, room, position.epoch, position.seq}, number);
    if (at.first->second != number) {
      fail(room + ": seq " + std::to_string(position.seq) + " is both publish " + std::to_string(at.first->second) +
           " and " + std::to_string(number));
    }
  }
  void read_acknowledgements() {
    for (Peer& peer : peers) {
      for (const Told& told : peer.client.log()) {
        const auto found = peer.publishes.find(told.reply_to());
        if (found == peer.publishes.end() || told.type() != "ack") continue;
        published(found->second, {told.number("epoch"), told.number("seq")});
      }
    }
  }
  void place_messages(std::size_t index, const std::string& room, const RoomView::Stay& stay) {
    for (const auto& message : stay.messages) {
      const std::uint64_t number = std::stoull(message.data);
      if (publishes_.count(number) == 0) {
        fail(peers[index].client.name() + " got a message that nobody sent: " + message.data);
      } else if (message.seq != 0) {
        place(peers[index].tenant, room, {stay.epoch, message.seq}, number);
      }
    }
  }

  void check_stay(std::size_t index, const std::string& room, const RoomView::Stay& stay, bool lasts) {
    const Peer& peer = peers[index];
    const std::string who = peer.client.name() + " in " + room;
    std::set<std::uint64_t> known;
    for (const auto& message : stay.messages) {
      const std::uint64_t number = std::stoull(message.data);
      const auto found = publishes_.find(number);
      if (found == publishes_.end()) continue;
      const Publish& publish = found->second;
      if (publish.room != room || publish.tenant != peer.tenant) fail(who + " got a message of another room");
      if (is_excluded(publish, index)) fail(who + " got " + message.data + ", from which it was excluded");
      if (!seen_.insert(number).second) fail(who + " got " + message.data + " twice");
      if (publish.latest != (message.seq == 0)) fail(who + ": a seq where there is none, or none where there is one");
      if (message.seq != 0) known.insert(message.seq);
    }
    for (const auto& gap : stay.gaps) {
      for (std::uint64_t seq = gap.from; seq <= gap.to && gap.to - gap.from < 100000; ++seq) known.insert(seq);
    }
    std::uint64_t end = stay.known;
    if (lasts) {
      const Position now = manager_of(peer).room({peer.tenant, room})->position();
      if (now.epoch != stay.epoch) fail(who + ": the room changed its epoch under a member");
      if (now.seq < end) fail(who + " saw more than there is");
      end = now.seq;
    }
    // Its own publishes whose place nobody told it or anyone.
    std::size_t unplaced = 0;
    for (const auto& [number, publish] : publishes_) {
      if (!publish.position && !publish.latest && publish.room == room && publish.tenant == peer.tenant &&
          may_be_excluded(publish, index)) {
        ++unplaced;
      }
    }
    for (std::uint64_t seq = stay.joined_at + 1; seq <= end; ++seq) {
      if (known.count(seq) != 0) continue;
      const auto at = placed_.find(Place{peer.tenant, room, stay.epoch, seq});
      if (at == placed_.end() && unplaced > 0) {
        --unplaced;
        continue;
      }
      if (at == placed_.end() || !may_be_excluded(publishes_[at->second], index)) {
        fail(who + " never heard of seq " + std::to_string(seq) + " (" +
             (at == placed_.end() ? "nobody knows whose" : "publish " + std::to_string(at->second)) + ", joined at " +
             std::to_string(stay.joined_at) + ", room at " + std::to_string(end) + ")");
      }
    }
  }

  /// `moved_sessions`: of which a node may know two places.
  void check_members(std::size_t index, const std::string& room, const RoomView& view,
                     const std::set<std::string>& moved_sessions) {
    const Peer& peer = peers[index];
    const auto members = manager_of(peer).room({peer.tenant, room})->members();
    const std::string who = peer.client.name() + " in " + room;
    const auto settled = [&](const auto& all) {
      std::map<std::string, std::string> kept;
      for (const auto& [id, user] : all) {
        if (moved_sessions.count(id) == 0) kept.emplace(id, user);
      }
      return kept;
    };
    std::map<std::string, std::string> truth;
    for (const Member& member : members) truth[to_string(member.connection)] = member.user;
    const bool is_settled =
        settled(truth).size() == members.size() && settled(view.members).size() == view.members.size();
    if (is_settled && view.member_count != members.size()) {
      fail(who + " counts " + std::to_string(view.member_count) + " members of " + std::to_string(members.size()));
    }
    const std::size_t most = sim_.options().room_options(room).presence_list_max;
    if (view.lossy && members.size() > most - most / 5)
      return;  // counts are told, until the room is well below the bound
    if (members.size() > most && !view.lossy) fail(who + " is told names in a room that is too large");
    if (settled(view.members) != settled(truth)) fail(who + " does not see who is there");
  }

  void check_awareness(std::size_t index, const std::string& room, const RoomView& view) {
    const Peer& peer = peers[index];
    std::map<std::string, std::pair<std::string, std::uint64_t>> truth;
    std::map<std::string, std::pair<std::string, std::uint64_t>> seen;
    for (const auto& [client, state] : view.awareness) seen[client] = {state.state, state.clock};
    for (const AwarenessEntry& entry : manager_of(peer).awareness().get_all({peer.tenant, room})) {
      truth[entry.client] = {std::string(entry.state.view()), entry.clock};
    }
    if (seen == truth) return;
    std::string text = peer.client.name() + " in " + room + " sees other awareness than there is; sees";
    for (const auto& [client, state] : seen) text += " " + client + "@" + std::to_string(state.second);
    text += "; true are";
    for (const auto& [client, state] : truth) text += " " + client + "@" + std::to_string(state.second);
    fail(text);
  }

  void check_ending(const Peer& peer) {
    const MemoryTransport& pipe = peer.client.pipe();
    const std::string& who = peer.client.name();
    if (pipe.violations() != 0) fail(who + ": the transport was written or closed after its close");
    if (peer.orphaned) return;
    if (!pipe.is_gone()) fail(who + " was never closed");
    const auto life = lives_.find(peer.client.id());
    if (life == lives_.end() || !life->second.disconnected || !pipe.closing()) return;
    for (const auto& entry : close_reasons) {
      if (entry.name == life->second.reason && entry.code != pipe.closing()->code) {
        fail(who + " was told " + std::to_string(pipe.closing()->code) + " for " + life->second.reason);
      }
    }
  }

  std::uint64_t last_publish_ = 0;
  std::map<std::uint64_t, Publish> publishes_;
  std::map<Place, std::uint64_t> placed_;
  std::set<std::uint64_t> seen_;
  std::map<ConnectionId, Life> lives_;
};

}  // namespace muster::test
