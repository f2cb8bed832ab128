// Acts: everything that may happen in one random life of a server, all of it decided by a seed.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "simulation/oracle.hpp"
#include "simulation/random_setup.hpp"
#include "support/sim.hpp"

namespace muster::test {

class Acts {
 protected:
  explicit Acts(std::uint64_t seed)
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
      oracle_.hook(line, connection);
      if (connection != nullptr && reentrant_) reenter(*connection);
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
    sim_.authenticator->script = [this](const Credentials&) { return random_answer(); };
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

  void act() {
    if (oracle_.peers.size() < 3) return connect();
    const std::size_t chance = random_.below(100);
    if (chance < 10) return connect();
    if (chance < 82) return command(somebody());
    if (chance < 94) return on_server();
    if (chance < 98) return rush();
    stop_an_executor();
  }

  void connect() {
    if (oracle_.peers.size() >= 30) return;
    const std::string user = random_.pick(users);
    Dial dial;
    if (random_.one_in(5)) dial.tenant = "t2";
    dial.executor = random_.below(sim_.schedule.executors.size());
    dial.address = RemoteAddress::v4(10, 0, 0, static_cast<std::uint8_t>(1 + random_.below(2)));
    const bool silent = random_.one_in(6);
    if (silent) dial.silent();
    if (!silent && random_.one_in(10)) dial.with("bad");
    const std::string name = user + "#" + std::to_string(oracle_.peers.size());
    const std::string token = dial.tenant.empty() ? user : user + "@" + dial.tenant;
    if (!silent && !dial.token) dial.with(token);
    if (!oracle_.peers.empty() && random_.one_in(20))
      dial.back_for(random_.pick(oracle_.peers).client.id());  // it is nobody's, or another's
    if (!oracle_.peers.empty() && random_.one_in(2) && resume()) return;
    const Client client = dial_in(name, dial);
    oracle_.peers.push_back({client, dial.tenant, token, sim_.schedule.executors[dial.executor] == stopped_, {}});
    oracle_.peers.back().acknowledged_before = oracle_.acknowledged(Oracle::user_of(oracle_.peers.back()));
    if (silent || sim_.manager().options().auth_mode == AuthMode::message_only) {
      if (random_.one_in(4)) return;
      client.authenticate(random_.one_in(6) ? "bad" : token);
    }
    if (!random_.one_in(4)) client.join(some_room());
  }

  /// Over a line that tells what is unsent: else there is no progress that anybody could see.
  Client dial_in(const std::string& name, const Dial& dial) {
    const Client client = sim_.dial(name, dial);
    client.pipe().system_holds(0);
    return client;
  }

  /// Somebody comes back, who may have noticed the loss before the server has. False: there is nobody.
  bool resume() {
    const std::size_t index = random_.below(oracle_.peers.size());
    const Oracle::Peer before = oracle_.peers[index];
    if (before.client.token().empty()) return false;
    if (random_.one_in(2)) before.client.hang_up(CloseReason::lost);
    if (random_.one_in(2)) sim_.run();
    Dial dial;
    dial.tenant = before.tenant;
    dial.executor = random_.below(sim_.schedule.executors.size());
    dial.with(before.token);
    const bool silent = random_.one_in(4) || sim_.manager().options().auth_mode == AuthMode::message_only;
    if (silent) dial.silent();
    if (random_.one_in(2)) dial.back_for(parse_connection_id(oracle_.member_of(before)));
    Texts asked;
    for (const auto& [room, view] : before.client.rooms()) {
      if (!view.stays.empty() && !random_.one_in(8)) asked.push_back(room);
    }
    bool spent = false;
    for (const auto& peer : oracle_.peers) {
      spent = spent || (!store_fails_ && peer.resumes == index && oracle_.has_spent(peer));
    }
    const Client client = dial_in(before.token + "#" + std::to_string(oracle_.peers.size()), dial);
    oracle_.peers.push_back(
        {client, dial.tenant, before.token, sim_.schedule.executors[dial.executor] == stopped_, {}});
    Oracle::Peer& peer = oracle_.peers.back();
    peer.resumes = index;
    peer.token_was_spent = spent;
    peer.asks_for = {asked.begin(), asked.end()};
    peer.acknowledged_before = oracle_.acknowledged(Oracle::user_of(peer));
    client.resume_session(before.client, asked, silent ? before.token : "");
    if (random_.one_in(4)) client.join(some_room());
    return true;
  }

  std::string some_room() { return random_.one_in(3) ? random_.pick(rooms) : hot_; }
  /// Most of the time one it is in.
  std::string some_room(const Client& client) {
    std::vector<std::string> joined;
    for (const auto& [room, view] : client.rooms()) {
      if (view.joined) joined.push_back(room);
    }
    return joined.empty() || random_.one_in(8) ? some_room() : random_.pick(joined);
  }
  /// Most of the time somebody who is still there.
  std::size_t somebody() {
    std::size_t index = random_.below(oracle_.peers.size());
    for (int tries = 0; tries < 4 && !oracle_.peers[index].client.is_open(); ++tries) {
      index = random_.below(oracle_.peers.size());
    }
    return index;
  }

  void command(std::size_t index) {
    Oracle::Peer& peer = oracle_.peers[index];
    const Client& client = peer.client;
    if (client.count("connection_ack") == 0 && !random_.one_in(8)) {
      if (client.pipe().connection()) client.authenticate(peer.token);
      return;
    }
    const std::string room = some_room(client);
    switch (random_.below(30)) {
      default:
        return publish(peer, index, room);
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5:
        client.join(some_room());
        return;
      case 6:
      case 7:
        client.leave(room);
        return;
      case 8:
      case 9:
      case 10:
      case 11:
        clock_ += 10;
        {
          const std::string state = random_.one_in(4) ? "null" : R"({"at":)" + std::to_string(clock_) + "}";
          const std::string id = random_.one_in(3) ? "" : random_.one_in(2) ? "x" : "y";
          if (state == "null" && id.empty()) peer.nulled.insert(room);
          client.aware(room, state, clock_, id);
          return;
        }
      case 12:
        client.stall();
        return;
      case 13:
      case 14:
        client.resume();
        return;
      case 15:
        client.pipe().take_per_turn(random_.one_in(2) ? 0 : 1 + random_.below(100),
                                    std::chrono::milliseconds(random_.one_in(2) ? 0 : 20 + random_.below(400)));
        return;
      case 16:
        if (random_.one_in(deadly_)) client.pipe().fail_write(1 + random_.below(5));
        return;
      case 17:
        if (random_.one_in(deadly_)) client.vanish();
        return;
      case 18:
        if (!random_.one_in(deadly_)) return;
        client.hang_up(random_.one_in(2)   ? CloseReason::normal
                       : random_.one_in(2) ? CloseReason::lost
                                           : CloseReason::going_away);
        return;
      case 19:
        if (random_.one_in(8))
          client.raw("not json");
        else
          client.say("ping", "{}");
        return;
      case 20:
        client.say(random_.one_in(2) ? "awareness_query" : "presence_query", R"({"room":")" + room + "\"}");
        return;
      case 21:
        client.pong();
        return;
      case 24:
        client.pipe().receive_part(1 + random_.below(100));
        return;
      case 22:
        acknowledge(peer);
        return;
      case 23:
        if (random_.one_in(3))
          client.authenticate(random_.one_in(12) ? "bad" : random_.one_in(12) ? "eve" : peer.token);
        return;
    }
  }

  void acknowledge(Oracle::Peer& peer) {
    std::uint64_t newest = 0;
    for (const Told& direct : peer.client.all("direct")) newest = std::max(newest, direct.number("queue_id"));
    if (newest == 0) return;
    std::uint64_t& asked = oracle_.queues[Oracle::user_of(peer)].asked;
    asked = std::max(asked, newest);
    peer.client.say("ack", R"({"queue_id":)" + std::to_string(newest) + "}");
    peer.acknowledges[peer.client.last_id()] = newest;
  }

  /// Many at once, in one room: that is where interleavings are.
  void rush() {
    const std::string room = some_room();
    const std::size_t kind = random_.below(6);
    for (std::size_t i = 0; i < oracle_.peers.size(); ++i) {
      const Client& client = oracle_.peers[i].client;
      if (!client.is_open() || client.count("connection_ack") == 0) continue;
      // 4 and more: those who are in it leave, all or some of the others come.
      if (kind >= 4) {
        if (client.view(room).joined)
          client.leave(room);
        else if (kind == 4 || random_.one_in(3))
          client.join(room);
        continue;
      }
      const std::size_t what = kind < 3 ? kind : random_.below(3);
      if (what == 0) client.join(room);
      if (what == 1) client.leave(room);
      if (what == 2) publish(oracle_.peers[i], i, room);
    }
  }

  void publish(Oracle::Peer& peer, std::size_t index, const std::string& room) {
    Publish publish;
    publish.tenant = peer.tenant;
    publish.room = room;
    publish.publisher = index;
    const std::size_t how = random_.below(6);
    publish.latest = how == 0;
    publish.echo = how == 1;
    const std::size_t times = random_.one_in(6) ? 1 + random_.below(40) : 1;
    for (std::size_t i = 0; i < times; ++i) {
      const std::uint64_t number = oracle_.publishing(publish);
      const std::string data = std::to_string(number);
      if (publish.latest)
        peer.client.publish_latest(room, data, "k");
      else if (publish.echo)
        peer.client.publish_echo(room, data);
      else
        peer.client.publish(room, data);
      peer.publishes[peer.client.last_id()] = number;
    }
  }

  /// The embedder's program, on some thread: here and now, or as a task.
  void on_server() {
    auto work = [this] { server_act(); };
    if (random_.one_in(2)) return work();
    auto& executor = random_.one_in(2) ? sim_.schedule.elsewhere : random_.pick(sim_.schedule.executors);
    (void)executor->post(work);
  }

  void server_act() {
    IConnectionManager& manager = sim_.manager();
    const ConnectionId id = oracle_.peers[somebody()].client.id();
    switch (random_.below(18)) {
      default:
        return server_publish(random_.one_in(3) ? random_.pick(keys_) : RoomKey{"", hot_},
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
        if (random_.one_in(4 * deadly_)) (void)manager.revoke(UserKey{"", random_.pick(users)});
        return;
      case 15:
        if (!store_fails_) return;
        sim_.sessions->answer = random_answer();
        if (sim_.sessions->answer.kind == Answer::Kind::later) sim_.sessions->answer.after %= 100;
        return;
    }
  }

  void server_publish(const RoomKey& key, ConnectionId exclude) {
    Publish publish;
    publish.tenant = key.tenant;
    publish.room = key.name;
    publish.exclude = exclude;
    publish.latest = random_.one_in(6);
    const std::uint64_t number = oracle_.publishing(publish);
    sim_.manager().publish(key, json(std::to_string(number)),
                           publish.latest ? Delivery::latest("s") : Delivery::reliable(), exclude,
                           [this, number](const Result<Published>& done) {
                             if (core_holds_a_lock()) oracle_.fail("a publish was answered under a lock");
                             if (done) oracle_.published(number, done.value().position);
                           });
  }

  /// What an embedder may do inside a hook: anything.
  void reenter(Connection& connection) {
    switch (random_.below(calm_ ? 40 : 12)) {
      case 0:
        return server_publish({connection.identity().tenant, some_room()},
                              random_.one_in(2) ? connection.id() : ConnectionId());
      case 1:
        if (!random_.one_in(deadly_)) return;
        (void)sim_.manager().remove(random_.one_in(2) ? connection.id() : random_.pick(oracle_.peers).client.id());
        return;
      case 2: {
        Publish publish;
        publish.tenant = connection.identity().tenant;
        publish.room = some_room();
        publish.exclude = connection.id();
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

  Random random_;
  std::shared_ptr<LoopbackBroker> broker_;
  Sim sim_;
  Oracle oracle_;
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
};

}  // namespace muster::test
