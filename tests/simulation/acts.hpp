// Acts: everything that may happen in one random life of a server, all of it decided by a seed.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "simulation/arrival_acts.hpp"

namespace muster::test {

class Acts : protected ArrivalActs {
 protected:
  using ArrivalActs::ArrivalActs;
  using ArrivalActs::some_room;

  void act() {
    if (oracle_.peers.size() < 3) return connect();
    const std::size_t chance = random_.below(100);
    if (chance < 10) return connect();
    if (chance < 82) return command(somebody());
    if (chance < 92) return on_server();
    if (chance < 95) return rush();
    if (chance < 98) return arrive();
    if (most_nodes_ > 1 && random_.one_in(2)) return change_nodes();
    stop_an_executor();
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
      case 15: {
        const std::chrono::milliseconds delay(random_.one_in(2) ? 0 : 20 + random_.below(400));
        client.pipe().take_per_turn(random_.one_in(2) ? 0 : 1 + random_.below(100), delay);
        return;
      }
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
