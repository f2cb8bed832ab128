// ClusterOracle: what must be the same at every node of a broker when everything has come to rest.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "simulation/oracle.hpp"

namespace muster::test {

/// Everything the other oracles ask is asked of each node. Not promised on a broker yet, and left out by name; each line
/// goes with its mend:
///
///   an epoch anew under live members    no history has one: its broker keeps its epochs
///   a leave that tells the broker late  no history has one: a subscription here waits for the end of the one before it
///   a session that moves to a node      `moved`: whether it is listed, counted, and told as left or null; and whether
///                                       its first token is good again when its newer connection has ended for good
///                                       before the older one's node has noticed
///   a drop not noticed yet              `check_speakers` asks each node for itself: a moved session may have two connections
///   lost messages in a quiet room       no history has one: its broker loses nothing
///   capacity across nodes               `counted_members`: each node counts its own
///   the order of owners                 `check_states` looks at client ids that nobody else may use
///   idempotency across nodes            no history has keys
///   offline queues across nodes         `check_lacking` is asked where there is one node; the queue itself, everywhere
///   history a node never had            a gap names it, which `check_stay` takes
class ClusterOracle : public Oracle {
 public:
  using Oracle::Oracle;

  void check_nodes(const std::vector<RoomKey>& rooms) {
    const auto moved_sessions = moved();
    for (const RoomKey& key : rooms) {
      Members there;
      for (const std::size_t node : sim_.nodes()) {
        for (const ConnectionInfo& info : sim_.manager(node).connections_in(key)) {
          there.emplace(to_string(info.member), info.user);
        }
      }
      std::optional<Position> position;
      std::optional<States> states;
      for (const std::size_t node : sim_.nodes()) {
        const bool has_members = !sim_.manager(node).connections_in(key).empty();
        check_listed(node, key, there, has_members, moved_sessions);
        if (!has_members) continue;
        const Position at = sim_.manager(node).room(key)->position();
        if (position && at != *position) fail(named(node, key) + " is at another position than elsewhere");
        position = at;
        check_states(node, key, there, moved_sessions, states);
      }
    }
  }

 private:
  /// Member -> user.
  using Members = std::map<std::string, std::string>;
  /// Client id -> state and clock.
  using States = std::map<std::string, std::pair<std::string, std::uint64_t>>;

  [[nodiscard]] static std::string named(std::size_t node, const RoomKey& key) {
    return key.name + " of node " + std::to_string(node);
  }

  void check_listed(std::size_t node, const RoomKey& key, const Members& there, bool has_members,
                    const std::set<std::string>& moved_sessions) {
    std::set<std::string> listed;
    for (const Member& member : sim_.manager(node).room(key)->members()) {
      const std::string id = to_string(member.connection);
      listed.insert(id);
      if (moved_sessions.count(id) != 0) continue;
      const auto known = there.find(id);
      if (known == there.end()) {
        fail(named(node, key) + " lists " + member.user + " (" + id + "), who is gone");
      } else if (known->second != member.user) {
        fail(named(node, key) + " takes " + known->second + " for " + member.user);
      }
    }
    for (const auto& [id, user] : there) {
      if (has_members && moved_sessions.count(id) == 0 && listed.count(id) == 0) {
        fail(named(node, key) + " does not list " + user + " (" + id + ")");
      }
    }
  }

  /// `first`: those of the node before.
  void check_states(std::size_t node, const RoomKey& key, const Members& there,
                    const std::set<std::string>& moved_sessions, std::optional<States>& first) {
    States own;
    for (const AwarenessEntry& entry : sim_.manager(node).awareness().get_all(key)) {
      const std::string owner = to_string(entry.owner.connection);
      if (entry.client != owner || moved_sessions.count(owner) != 0) continue;
      if (there.count(owner) == 0) fail(named(node, key) + " knows what " + owner + " does, who is gone");
      own[entry.client] = {std::string(entry.state.view()), entry.clock};
    }
    if (first && *first != own) fail(named(node, key) + " knows other states than elsewhere");
    first = std::move(own);
  }
};

}  // namespace muster::test
