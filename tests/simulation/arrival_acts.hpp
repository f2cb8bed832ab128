// ArrivalActs: those who come in one random life of a server, one by one or many at once, and those who come back.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "simulation/server_acts.hpp"

namespace muster::test {

class ArrivalActs : protected ServerActs {
 protected:
  using ServerActs::ServerActs;

  void connect() {
    if (oracle_.peers.size() >= 30) return;
    const std::string user = random_.pick(users);
    connect(user, random_.one_in(5) ? "t2" : "", true);
  }

  /// What is rare where they come one by one.
  void arrive() {
    if (oracle_.peers.size() >= 44) return;
    switch (random_.below(5)) {
      default:
        return burst();
      case 0:
        return cut_openings();
      case 1:
        return try_again();
    }
  }

 private:
  void connect(const std::string& user, const std::string& tenant, bool may_resume) {
    Dial dial;
    dial.tenant = tenant;
    dial.executor = random_.below(sim_.schedule.executors.size());
    dial.node = some_node();
    dial.address = RemoteAddress::v4(10, 0, 0, static_cast<std::uint8_t>(1 + random_.below(2)));
    const bool silent = random_.one_in(6);
    if (silent) dial.silent();
    if (!silent && random_.one_in(10)) dial.with("bad");
    const std::string name = user + "#" + std::to_string(oracle_.peers.size());
    const std::string token = dial.tenant.empty() ? user : user + "@" + dial.tenant;
    if (!silent && !dial.token) dial.with(token);
    if (!oracle_.peers.empty() && random_.one_in(20))
      dial.back_for(random_.pick(oracle_.peers).client.id());  // it is nobody's, or another's
    if (may_resume && !oracle_.peers.empty() && random_.one_in(2) && resume()) return;
    const Client client = dial_in(name, token, dial).client;
    if (silent || sim_.options().auth_mode == AuthMode::message_only) {
      if (random_.one_in(4)) return;
      client.authenticate(random_.one_in(6) ? "bad" : token);
    }
    if (!random_.one_in(4)) client.join(some_room());
  }

  /// Over a line that tells what is unsent: else there is no progress that anybody could see.
  Oracle::Peer& dial_in(const std::string& name, const std::string& token, const Dial& dial) {
    const Client client = sim_.dial(name, dial);
    client.pipe().system_holds(0);
    oracle_.peers.push_back({client, dial.tenant, token, sim_.schedule.executors[dial.executor] == stopped_, {}});
    Oracle::Peer& peer = oracle_.peers.back();
    peer.acknowledged_before = oracle_.acknowledged(Oracle::user_of(peer));
    peer.is_doubtful = sim_.sessions->answer.kind != Answer::Kind::now;
    return peer;
  }

  /// Somebody comes back, who may have noticed the loss before the server has. False: there is nobody.
  bool resume() {
    const std::size_t index = random_.below(oracle_.peers.size());
    const Oracle::Peer before = oracle_.peers[index];
    if (before.client.token().empty()) return false;
    if (random_.one_in(2)) before.client.hang_up(CloseReason::lost);
    if (random_.one_in(2)) sim_.run();
    std::size_t node = before.client.node();
    if (!sim_.is_up(node) || random_.one_in(3)) node = some_node();
    const Client client = resume(index, node, random_.below(sim_.schedule.executors.size())).client;
    if (random_.one_in(4)) client.join(some_room());
    return true;
  }
  /// Its user dials, and asks for its session.
  Oracle::Peer& resume(std::size_t index, std::size_t node, std::size_t executor) {
    const Oracle::Peer before = oracle_.peers[index];
    Dial dial;
    dial.tenant = before.tenant;
    dial.executor = executor;
    dial.node = node;
    dial.with(before.token);
    const bool silent = random_.one_in(4) || sim_.options().auth_mode == AuthMode::message_only;
    if (silent) dial.silent();
    if (random_.one_in(2)) dial.back_for(parse_connection_id(oracle_.member_of(before)));
    Texts asked;
    for (const auto& [room, view] : before.client.rooms()) {
      if (!view.stays.empty() && !random_.one_in(8)) asked.push_back(room);
    }
    bool spent = false, pending = false;
    for (const auto& peer : oracle_.peers) {
      if (store_fails_ || peer.resumes != index) continue;
      const bool has_spent = oracle_.has_spent(peer);
      spent = spent || has_spent;
      pending = pending || (!has_spent && !peer.token_was_spent);  // it came in time, and may come again
    }
    Oracle::Peer& peer = dial_in(before.token + "#" + std::to_string(oracle_.peers.size()), before.token, dial);
    peer.resumes = index;
    peer.token_was_spent = spent && !pending;
    peer.asks_for = {asked.begin(), asked.end()};
    peer.client.resume_session(before.client, asked, silent ? before.token : "");
    peer.resume_id = peer.client.last_id();
    peer.on_trial = silent;
    const auto store = sim_.sessions->answer.kind;  // what is taken late may come back late
    if (store == Answer::Kind::later || store == Answer::Kind::never) oracle_.peers[index].is_doubtful = true;
    return peer;
  }

  /// Several of one user at once: that is where its limit is met. Or those of it that are there go as another one
  /// comes, on another executor: that is where it is told to go and to come.
  void burst() {
    const UserKey user{random_.one_in(5) ? "t2" : "", random_.pick(users)};
    const bool swaps = random_.one_in(2);
    is_slow_ = !swaps && random_.one_in(3);
    for (std::size_t times = swaps ? 1 + random_.below(3) : 3 + random_.below(4); times > 0; --times) {
      std::size_t executor = random_.below(sim_.schedule.executors.size());
      std::size_t node = some_node();
      for (const auto& peer : oracle_.peers) {
        if (!swaps || Oracle::user_of(peer) != user || !peer.client.is_open()) continue;
        peer.client.hang_up();
        if (sim_.is_up(peer.client.node())) node = peer.client.node();
        if (sim_.schedule.executors[executor] == peer.client.executor())
          executor = (executor + 1) % sim_.schedule.executors.size();
      }
      dial_plainly(user, node, executor);
      if (swaps) sim_.run();
    }
    is_slow_ = false;
  }
  void dial_plainly(const UserKey& user, std::size_t node, std::size_t executor) {
    const std::string token = user.tenant.empty() ? user.user : user.user + "@" + user.tenant;
    Dial dial;
    dial.tenant = user.tenant;
    dial.executor = executor;
    dial.node = node;
    dial.with(token);
    const Client client = dial_in(user.user + "#" + std::to_string(oracle_.peers.size()), token, dial).client;
    if (sim_.options().auth_mode == AuthMode::message_only) client.authenticate(token);
    if (random_.one_in(2)) client.join(some_room());
  }

  /// Those who are still being let in are sent away, or go by themselves.
  void cut_openings() {
    is_slow_ = true;
    openings_.clear();
    const std::size_t first = oracle_.peers.size();
    for (std::size_t times = 1 + random_.below(3); times > 0; --times) {
      const char* const tenant = random_.one_in(5) ? "t2" : "";
      connect(random_.pick(users), tenant, false);
    }
    for (std::size_t steps = 1 + random_.below(12); steps > 0 && sim_.schedule.step(); --steps) {
    }
    is_slow_ = false;
    for (const ConnectionId id : openings_) {
      IConnectionManager& manager = sim_.manager(some_node());
      const std::size_t how = random_.below(3);
      if (how == 0) (void)manager.remove(id, CloseReason::policy);
      if (how == 1) (void)manager.kick(id, "not you", random_.one_in(2));
    }
    if (random_.one_in(4)) oracle_.peers[first].client.hang_up();
  }

  /// Somebody asks for a session in vain, and then once more: it must not be lost.
  void try_again() {
    const std::size_t index = somebody();
    const Oracle::Peer before = oracle_.peers[index];
    if (before.client.token().empty()) return;
    sim_.run();
    if (!oracle_.may_come_back_for(index)) return;
    const auto& executors = sim_.schedule.executors;
    const std::size_t executor = random_.below(executors.size());
    std::size_t node = before.client.node();
    if (!sim_.is_up(node)) node = some_node();
    if (store_fails_ && random_.one_in(2)) {
      store_answers(random_.one_in(2) ? Answer::unavailable() : Answer::raise());
      (void)resume(index, node, executor);
      sim_.run();
      store_answers(Answer::now());
    } else {
      // The old connection's executor is busy, and so the session is not handed over before the new one is gone, or has
      // waited long enough.
      before.client.executor()->hold(true);
      const Client client = resume(index, node, executor).client;
      sim_.run();
      if (random_.one_in(3))
        sim_.advance(sim_.options().answer_timeout + 10ms);
      else
        client.hang_up(CloseReason::lost);
      sim_.run();
      before.client.executor()->hold(false);
    }
    sim_.run();
    const bool may_come_back = oracle_.may_come_back_for(index);
    const Oracle::Peer& peer = resume(index, node, random_.below(executors.size()));
    sim_.run();
    if (may_come_back) oracle_.check_comeback(peer);
  }
};

}  // namespace muster::test
