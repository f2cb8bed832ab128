// Acts: everything that may happen in one random life of a server, all of it decided by a seed.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "simulation/server_acts.hpp"

namespace muster::test {

class Acts : protected ServerActs {
 protected:
  using ServerActs::ServerActs;
  using ServerActs::some_room;

  void act() {
    if (oracle_.peers.size() < 3) return connect();
    const std::size_t chance = random_.below(100);
    if (chance < 10) return connect();
    if (chance < 82) return command(somebody());
    if (chance < 94) return on_server();
    if (chance < 98) return rush();
    if (most_nodes_ > 1 && random_.one_in(2)) return change_nodes();
    stop_an_executor();
  }

  void connect() {
    if (oracle_.peers.size() >= 30) return;
    const std::string user = random_.pick(users);
    Dial dial;
    if (random_.one_in(5)) dial.tenant = "t2";
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
    if (!oracle_.peers.empty() && random_.one_in(2) && resume()) return;
    const Client client = dial_in(name, dial);
    oracle_.peers.push_back({client, dial.tenant, token, sim_.schedule.executors[dial.executor] == stopped_, {}});
    oracle_.peers.back().acknowledged_before = oracle_.acknowledged(Oracle::user_of(oracle_.peers.back()));
    if (silent || sim_.options().auth_mode == AuthMode::message_only) {
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
    dial.node = before.client.node();
    if (!sim_.is_up(dial.node) || random_.one_in(3)) dial.node = some_node();
    dial.with(before.token);
    const bool silent = random_.one_in(4) || sim_.options().auth_mode == AuthMode::message_only;
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

  /// Most of the time one it is in.
  std::string some_room(const Client& client) {
    std::vector<std::string> joined;
    for (const auto& [room, view] : client.rooms()) {
      if (view.joined) joined.push_back(room);
    }
    return joined.empty() || random_.one_in(8) ? some_room() : random_.pick(joined);
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
};

}  // namespace muster::test
