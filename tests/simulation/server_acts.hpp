// ServerActs: the server of one random life: what its program does, and what happens to its executors and nodes.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "simulation/cluster_oracle.hpp"
#include "simulation/random_setup.hpp"
#include "support/sim.hpp"

namespace muster::test {

class ServerActs {
 protected:
  explicit ServerActs(std::uint64_t seed)
      : random_(seed * 7919 + 1), sim_(random_setup(random_, seed, broker_)), oracle_(sim_) {
    sim_.schedule.name = "seed " + std::to_string(seed);
    sim_.schedule.yield_one_in = 2 + random_.below(4);
    for (const char* tenant : {"", "t2"}) {
      for (const char* room : rooms) keys_.push_back({tenant, room});
    }
    reentrant_ = random_.one_in(2);
    do hot_ = random_.pick(rooms);
    while (hot_ == "secret");
    store_fails_ = random_.one_in(2);
    faulty_ = random_.one_in(3) ? 6 : 60;
    deadly_ = random_.one_in(3) ? 1 : 8;
    sim_.hook = [this](const std::string& line, Connection* connection) {
      const std::size_t node = sim_.hook_node;
      oracle_.hook(node, line, connection);
      if (connection != nullptr && reentrant_) reenter(sim_.manager(node), *connection);
    };
    sim_.schedule.after_task = [this] {
      if (!random_.one_in(8)) return;
      oracle_.check_limits(keys_);
      oracle_.check_stuck();
      const Schedule::Quiet quiet(sim_.schedule);
      oracle_.check_speakers();
    };
    sim_.authorizer->decide = [](const Access& access) {
      return access.target == "secret" ? Permission::deny() : Permission::allow();
    };
    sim_.authenticator->decide = [this](const Credentials& credentials) {
      auto who = ScriptedAuthenticator::judge(credentials.token);
      if (!who) return who;
      if (!calm_ && random_.one_in(8)) {
        who.value().expires_at =
            sim_.schedule.executors[0]->wall_now() + std::chrono::milliseconds(500 + random_.below(4000));
      }
      oracle_.accepted(credentials.connection, who.value().expires_at);
      return who;
    };
    sim_.authenticator->script = [this](const Credentials& credentials) {
      if (!is_slow_) return random_answer();
      openings_.push_back(credentials.connection);
      const std::size_t soon = random_.below(2);  // one draw a statement: compilers take those of one in any order
      return Answer::later(std::chrono::milliseconds(soon * random_.below(300)));
    };
    sim_.authorizer->script = [this](const Access&) { return random_answer(); };
  }

  static constexpr std::array<const char*, 6> rooms{"a", "b", "small:a", "short:a", "secret", "busy"};
  static constexpr std::array<const char*, 4> users{"ann", "bob", "cat", "dan"};

  Answer random_answer() {
    if (calm_ || !random_.one_in(faulty_)) return Answer::now();
    switch (random_.below(4)) {
      case 1:
        return Answer::later(std::chrono::milliseconds(1 + random_.below(300)));
      case 2:
        return random_.one_in(2) ? Answer::later(std::chrono::milliseconds(4000 + random_.below(4000)))
                                 : Answer::never();
      case 3:
        return random_.one_in(4) ? Answer::raise() : Answer::unavailable();
      default:
        return Answer::later(0ms);
    }
  }

  std::string some_room() { return random_.one_in(3) ? random_.pick(rooms) : hot_; }
  /// Most of the time somebody who is still there.
  std::size_t somebody() {
    std::size_t index = random_.below(oracle_.peers.size());
    for (int tries = 0; tries < 4 && !oracle_.peers[index].client.is_open(); ++tries) {
      index = random_.below(oracle_.peers.size());
    }
    return index;
  }

  /// The embedder's program, on some thread: here and now, or as a task.
  void on_server() {
    auto work = [this] { server_act(); };
    if (random_.one_in(2)) return work();
    auto& executor = random_.one_in(2) ? sim_.schedule.elsewhere : random_.pick(sim_.schedule.executors);
    (void)executor->post(work);
  }

  void server_act() {
    IConnectionManager& manager = sim_.manager(some_node());
    const ConnectionId id = oracle_.peers[somebody()].client.id();
    switch (random_.below(18)) {
      default:
        return server_publish(manager, random_.one_in(3) ? random_.pick(keys_) : RoomKey{"", hot_},
                              random_.one_in(2) ? id : ConnectionId());
      case 0:
        if (random_.one_in(deadly_))
          (void)manager.remove(id, random_.one_in(2) ? CloseReason::normal : CloseReason::policy);
        return;
      case 1:
        if (random_.one_in(deadly_)) (void)manager.kick(id, "out", random_.one_in(2));
        return;
      case 2:
        if (random_.one_in(8 * deadly_)) manager.close_all(CloseReason::going_away, "restart", [](std::size_t) {});
        return;
      case 3:
        manager.sweep_now([this](std::size_t found) {
          if (found != 0 && stopped_ == nullptr) oracle_.fail("a sweep found " + std::to_string(found));
        });
        return;
      case 4:
        (void)manager.send(id, json("1"));
        (void)manager.send_to_user({"", random_.pick(users)}, json("2"));
        (void)manager.send_to_all(json("3"));
        return;
      case 5:
        sim_.authorizer->withheld.release();
        return;
      case 6:
        sim_.authenticator->withheld.release();
        return;
      case 7:
        if (broker_) broker_->hold();
        return;
      case 8:
      case 9:
        if (broker_) random_.one_in(2) ? broker_->resume() : (void)broker_->release(1 + random_.below(5));
        return;
      case 10:
      case 11:
      case 12: {
        const UserKey user{random_.one_in(4) ? "t2" : "", random_.pick(users)};
        (void)manager.send_to_user(user, json("5"), Delivery::queued(), [this, user](const Result<Queued>& queued) {
          if (queued) oracle_.queues[user].stored.push_back(queued.value().queue_id);
        });
        return;
      }
      case 13:
        sim_.sessions->withheld.release();
        return;
      case 14:
        if (random_.one_in(4 * deadly_)) {
          const UserKey user{"", random_.pick(users)};
          oracle_.doubt(user);
          (void)manager.revoke(user);
        }
        return;
      case 15:
        if (!store_fails_) return;
        store_answers(random_answer());
        if (sim_.sessions->answer.kind == Answer::Kind::later) sim_.sessions->answer.after %= 100;
        return;
    }
  }

  void server_publish(IConnectionManager& manager, const RoomKey& key, ConnectionId exclude) {
    Publish publish;
    publish.tenant = key.tenant;
    publish.room = key.name;
    publish.exclude = exclude;
    (void)note_session(manager, exclude);
    publish.latest = random_.one_in(6);
    const std::uint64_t number = oracle_.publishing(publish);
    manager.publish(key, json(std::to_string(number)), publish.latest ? Delivery::latest("s") : Delivery::reliable(),
                    exclude, [this, number](const Result<Published>& done) {
                      if (core_holds_a_lock()) oracle_.fail("a publish was answered under a lock");
                      if (done) oracle_.published(number, done.value().position);
                    });
  }

  /// Who is excluded is so as what others know it by just now. False: the manager does not know it any more.
  bool note_session(IConnectionManager& manager, ConnectionId excluded) {
    const auto info = excluded ? manager.find(excluded) : std::nullopt;
    if (info) oracle_.speaks_for(excluded, info->member);
    return info.has_value();
  }

  void store_answers(Answer answer) {
    oracle_.store_changes();
    sim_.sessions->answer = answer;
  }

  /// What an embedder may do inside a hook: anything.
  void reenter(IConnectionManager& manager, Connection& connection) {
    switch (random_.below(calm_ ? 40 : 12)) {
      case 0:
        return server_publish(manager, {connection.identity().tenant, some_room()},
                              random_.one_in(2) ? connection.id() : ConnectionId());
      case 1:
        if (!random_.one_in(deadly_)) return;
        (void)manager.remove(random_.one_in(2) ? connection.id() : random_.pick(oracle_.peers).client.id());
        return;
      case 2: {
        Publish publish;
        publish.tenant = connection.identity().tenant;
        publish.room = some_room();
        publish.exclude = connection.id();
        publish.excludes_some_session = !note_session(manager, publish.exclude);
        connection.publish(publish.room, json(std::to_string(oracle_.publishing(publish))));
        return;
      }
      case 3:
        connection.send(json("4"));
        return;
      case 4:
        if (random_.one_in(2 * deadly_)) connection.close(CloseReason::policy, "in a hook");
        return;
      case 5:
        if (random_.one_in(2 * deadly_)) throw std::runtime_error("a hook of the embedder fails");
        return;
      default:
        return;
    }
  }

  void stop_an_executor() {
    auto& executors = sim_.schedule.executors;
    if (stopped_ != nullptr || executors.size() < 2 || !random_.one_in(40)) return;
    stopped_ = random_.pick(executors);
    stopped_->loop().stop();
    for (auto& peer : oracle_.peers) peer.orphaned = peer.orphaned || peer.client.executor() == stopped_;
  }

  [[nodiscard]] std::size_t some_node() {
    const auto up = sim_.nodes();
    return up.size() == 1 ? up.front() : random_.pick(up);
  }
  /// A process dies, and perhaps another takes its place at once; or one that is missing comes.
  void change_nodes() {
    const auto up = sim_.nodes();
    if (up.size() > 1 && random_.one_in(2)) {
      const std::size_t node = random_.pick(up);
      oracle_.died(node);
      sim_.kill_node(node, std::chrono::milliseconds(random_.one_in(2) ? 0 : random_.below(3000)));
      if (random_.one_in(2)) return;
    } else if (up.size() == most_nodes_) {
      return;
    }
    (void)sim_.start_node();
  }

  Random random_;
  std::shared_ptr<LoopbackBroker> broker_;
  Sim sim_;
  ClusterOracle oracle_;
  const std::size_t most_nodes_ = sim_.nodes().size();
  std::vector<RoomKey> keys_;
  std::shared_ptr<SimExecutor> stopped_;
  std::uint64_t clock_ = 0;
  /// Where most of it happens.
  std::string hot_;
  /// Of how many answers one is bad, and of how many blows one is struck.
  std::size_t faulty_ = 1;
  std::size_t deadly_ = 1;
  bool reentrant_ = false;
  bool store_fails_ = false;
  bool calm_ = false;
  /// Whether those who come are let in later; who came meanwhile.
  bool is_slow_ = false;
  std::vector<ConnectionId> openings_;
};

}  // namespace muster::test
