// ArrivalOracle: who is let in, how users come and go, and who may come back in one history.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "simulation/session_oracle.hpp"

namespace muster::test {

class ArrivalOracle : public SessionOracle {
 public:
  using SessionOracle::SessionOracle;

  /// Nothing would run if no time passed, and everybody could.
  [[nodiscard]] bool is_at_rest() const {
    const auto rests = [](const std::shared_ptr<SimExecutor>& executor) {
      return !executor->is_held() && !executor->is_ready() && !executor->loop().is_running() &&
             !executor->loop().is_stopped();
    };
    const auto& executors = sim_.schedule.executors;
    return std::all_of(executors.begin(), executors.end(), rests) && rests(sim_.schedule.elsewhere);
  }
  /// What was asked of the store until now may be answered late, or the answer come to nothing.
  void store_changes() {
    for (Peer& peer : peers) {
      if (peer.resumes && !is_answered(peer)) peers[*peer.resumes].is_doubtful = true;
    }
  }
  void doubt(const UserKey& user) {
    for (Peer& peer : peers) peer.is_doubtful = peer.is_doubtful || user_of(peer) == user;
  }

  // Checks.

  /// At rest: no user has more connections than it may; who asks for a session is one more until it has the answer.
  void check_user_limits() {
    const std::size_t limit = sim_.options().max_connections_per_user;
    if (limit == 0 || !is_at_rest()) return;
    const Schedule::Quiet quiet(sim_.schedule);
    for (const std::size_t node : sim_.nodes()) {
      std::map<UserKey, std::size_t> most;
      std::map<UserKey, std::size_t> there;
      for (const Peer& peer : peers) {
        if (peer.client.node() != node || !peer.client.is_open()) continue;
        const UserKey user = user_of(peer);
        most[user] += peer.on_trial && !is_answered(peer) ? 1 : 0;
        there.emplace(user, sim_.manager(node).connection_count(user));
      }
      for (const auto& [user, count] : there) {
        if (count <= limit + most[user]) continue;
        fail(user.user + " has " + std::to_string(count) + " connections at a time, of " + std::to_string(limit));
      }
    }
  }
  /// At rest, of each node: nobody has a place that is only lent or that nobody is at, and no user more than it may have.
  void check_places() {
    const Options& options = sim_.options();
    for (const std::size_t node : sim_.nodes()) {
      const Metrics now = sim_.manager(node).metrics();
      if (options.max_connections != 0 && now.reserved > options.max_connections) {
        fail("there are more places than max_connections");
      }
      std::size_t sockets = 0;
      for (const Peer& peer : peers) sockets += peer.client.node() == node && !peer.orphaned && peer.client.is_open();
      if (now.reserved != sockets) {
        fail(std::to_string(now.reserved) + " places are taken by " + std::to_string(sockets) + " sockets");
      }
      std::map<UserKey, std::size_t> users;
      for (const ConnectionInfo& info : sim_.manager(node).connections({}, 1000)) ++users[{info.tenant, info.user}];
      if (now.users != users.size()) {
        fail(std::to_string(now.users) + " users are there of " + std::to_string(users.size()));
      }
      for (const auto& [user, count] : users) {
        if (options.max_connections_per_user != 0 && count > options.max_connections_per_user) {
          fail(user.user + " has more connections than max_connections_per_user");
        }
      }
    }
  }

  /// At rest: every opening was answered, and once, unless the peer has gone before.
  void check_openings() {
    for (const Peer& peer : peers) {
      const MemoryTransport& pipe = peer.client.pipe();
      const bool went = pipe.is_gone() && !pipe.closing() && !pipe.aborted();
      if (peer.client.answers() > 1) fail(peer.client.name() + " was answered more than once");
      if (peer.client.answers() == 0 && !peer.orphaned && !went) fail(peer.client.name() + " was never answered");
    }
  }
  /// At rest: of each user it was told what is so. `all_hooks`: no executor has stopped with what it was to tell.
  void check_edges(bool all_hooks) {
    for (const auto& [at, told] : edges_) {
      const auto& [node, user] = at;
      const bool is = sim_.manager(node).is_online(key_of(user));
      if (told.online && !is) fail(user + " went online and never offline");
      if (all_hooks && !told.online && is) fail(user + " is there, and was not told to be online");
    }
  }

  /// Whether nothing speaks against it that the session of this peer is taken up now, whatever was tried before. What
  /// is asked while an executor is held is left out: a token whose resume failed is good again when the executor of the
  /// old connection has gone on.
  [[nodiscard]] bool may_come_back_for(std::size_t index) {
    const Peer& before = peers[index];
    const bool store_is_well = sim_.sessions->answer.kind == Answer::Kind::now && sim_.sessions->withheld.count() == 0;
    if (!is_at_rest() || !store_is_well || before.is_doubtful || before.resumes || before.client.token().empty())
      return false;
    if (!waits_still(before)) return false;
    for (std::size_t i = 0; i < peers.size(); ++i) {
      const Peer& other = peers[i];
      if (other.resumes != index) continue;
      if (has_resumed(other) || other.orphaned || is_resumed(i)) return false;
      if (is_answered(other)) continue;
      if (other.client.is_open() || !waits_still(other)) return false;
    }
    return true;
  }
  /// Somebody came back when it could, and everything has come to rest.
  void check_comeback(const Peer& peer) {
    for (const Told& told : peer.client.all("error")) {
      if (told.reply_to() != peer.resume_id || told.text("code") != "resume_failed") continue;
      // It may have been sent away meanwhile: by a hook, or by the newer one.
      if (waits_still(peers[*peer.resumes])) fail(peer.client.name() + " lost its session to a resume that failed");
    }
  }

  void died(std::size_t node) override {
    SessionOracle::died(node);
    edges_.erase(edges_.lower_bound({node, ""}), edges_.lower_bound({node + 1, ""}));
  }

 protected:
  /// As it is told: a user goes online and offline in turn, and the one is told before the other is.
  void edge(std::size_t node, const std::string& user, bool online) {
    Edges& told = edges_[{node, user}];
    const std::string what = user + (online ? " went online" : " went offline");
    if (told.now) fail(what + " while another edge of it was told");
    if (told.online == online) fail(what + " twice");
    told.online = online;
    told.now = true;
    for (int i = 0; i < 6; ++i) (void)sim_.manager(node).is_online(key_of(user));  // others run meanwhile
    told.now = false;
  }
  void ended(ConnectionId id, const std::string& reason) { ends_[id] = {reason, sim_.now()}; }

 private:
  struct Edges {
    bool online = false;
    bool now = false;
  };
  struct End {
    std::string reason;
    TimePoint when;
  };

  [[nodiscard]] static UserKey key_of(const std::string& user) {
    const auto at = user.find('@');
    return at == std::string::npos ? UserKey{"", user} : UserKey{user.substr(at + 1), user.substr(0, at)};
  }
  [[nodiscard]] static bool is_answered(const Peer& peer) {
    for (const Told& told : peer.client.log()) {
      if (told.reply_to() == peer.resume_id) return true;
    }
    return false;
  }
  [[nodiscard]] bool is_resumed(std::size_t index) const {
    return std::any_of(peers.begin(), peers.end(), [&](const Peer& peer) { return peer.resumes == index; });
  }
  /// Whether a connection is there, or has ended so that it may come back, and not too long ago.
  [[nodiscard]] bool waits_still(const Peer& peer) const {
    constexpr std::array<std::string_view, 7> may_resume{
        "lost", "going_away", "heartbeat_timeout", "slow_consumer", "internal_error", "rate_limited", "auth_required"};
    if (peer.orphaned) return false;
    const auto end = ends_.find(peer.client.id());
    if (end == ends_.end()) return true;
    const auto& [reason, when] = end->second;
    if (sim_.now() - when >= sim_.options().resume_window) return false;
    // By who wanted its session, and did not get it.
    if (reason == "replaced") return sim_.options().max_connections_per_user == 0;
    return std::find(may_resume.begin(), may_resume.end(), reason) != may_resume.end();
  }

  std::map<std::pair<std::size_t, std::string>, Edges> edges_;
  std::map<ConnectionId, End> ends_;
};

}  // namespace muster::test
