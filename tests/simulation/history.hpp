// History: one random life of a server: acts one after another while time passes, an end, and what was wrong.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "simulation/acts.hpp"

namespace muster::test {

class History : Acts {
 public:
  explicit History(std::uint64_t seed) : Acts(seed) {}

  /// Lives it. What was wrong, if anything, is in the answer.
  std::vector<std::string> run() {
    const std::size_t events = 50 + random_.below(450);
    for (std::size_t i = 0; i < events; ++i) {
      act();
      pass_time();
    }
    settle();
    oracle_.check_views();
    oracle_.check_edges(stopped_ == nullptr);
    oracle_.check_openings();
    oracle_.check_sessions();
    oracle_.check_places();
    oracle_.check_nodes(keys_);
    check_secret();
    check_queues();
    end();
    oracle_.check_end(keys_, stopped_ == nullptr);
    for (const auto& what : sim_.wrong()) oracle_.fail(what);
    return oracle_.faults;
  }

  /// How much happened, for people.
  [[nodiscard]] std::string summary() {
    std::uint64_t connected = 0;
    std::uint64_t deliveries = 0;
    std::uint64_t gaps = 0;
    for (const std::size_t node : sim_.nodes()) {
      const Metrics now = sim_.manager(node).metrics();
      connected += now.connections_total;
      deliveries += now.deliveries;
      gaps += now.gaps;
    }
    std::size_t stays = 0;
    for (const auto& peer : oracle_.peers) {
      for (const auto& [room, view] : peer.client.rooms()) stays += view.stays.size();
    }
    std::string text = std::to_string(oracle_.peers.size()) + " peers, " + std::to_string(sim_.nodes().size()) +
                       " nodes, " + std::to_string(connected) + " connected, " + std::to_string(stays) + " joins, " +
                       std::to_string(deliveries) + " deliveries, " + std::to_string(gaps) + " gaps\n";
    for (const auto& line : sim_.story()) text += "  " + line + "\n";
    return text;
  }

  /// Everything that could be seen, as one number.
  [[nodiscard]] std::uint64_t trace() const {
    std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a
    const auto mix = [&hash](std::string_view text) {
      for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 1099511628211ULL;
    };
    for (const auto& line : sim_.story()) mix(line);
    for (const Client& client : sim_.clients) {
      mix(std::to_string(client.pipe().writes()) + "/" + std::to_string(client.pipe().bytes()) + client.close_text());
      for (const Told& told : client.log()) mix(told.type() + compact(told.payload()));
    }
    return hash;
  }

 private:
  void pass_time() {
    if (held_ == 0 && random_.one_in(80)) hold(1 + random_.below(12));
    if (held_ != 0 && --held_ == 0) release();
    const std::size_t chance = random_.below(20);
    if (chance < 12) {
      for (std::size_t steps = random_.below(12); steps > 0 && sim_.schedule.step(); --steps) {
      }
    } else if (chance < 16) {
      sim_.run();
    } else if (chance < 19) {
      sim_.advance(std::chrono::milliseconds(1 + random_.below(200)));
    } else {
      if (!random_.one_in(8)) beat();
      sim_.advance(std::chrono::milliseconds(200 + random_.below(3000)));
    }
    oracle_.check_user_limits();
  }

  void beat() {
    for (const auto& peer : oracle_.peers) {
      if (uploads_)
        peer.client.pipe().receive_part(1);
      else
        peer.client.pong();
    }
  }

  /// One executor, or the whole server, gets no processor.
  void hold(std::size_t turns) {
    held_ = turns;
    const auto& executors = sim_.schedule.executors;
    if (random_.one_in(2)) return random_.pick(executors)->hold(true);
    for (const auto& executor : executors) executor->hold(true);
  }
  void release() {
    for (const auto& executor : sim_.schedule.executors) executor->hold(false);
  }

  /// Everybody reads again or is gone, every answer came, and every batch was told.
  void settle() {
    calm_ = true;
    held_ = 0;
    release();
    for (const auto& peer : oracle_.peers) {
      peer.client.pipe().take_per_turn(0);
      peer.client.pipe().fail_write(0);
      peer.client.resume();
      if (peer.client.pipe().is_vanished()) peer.client.hang_up(CloseReason::lost);
    }
    sim_.authenticator->withheld.release();
    sim_.authorizer->withheld.release();
    sim_.sessions->answer = Answer::now();
    sim_.sessions->withheld.release();
    if (broker_) broker_->resume();
    // Whoever is on a stopped executor is found when somebody looks.
    for (const std::size_t node : sim_.nodes()) {
      if (stopped_ != nullptr) sim_.manager(node).sweep_now(nullptr);
    }
    for (int i = 0; i < 20; ++i) {
      beat();
      sim_.advance(500ms);
    }
    reentrant_ = false;
    if (broker_) broker_->resume();  // a hook may have held it
    beat();
    sim_.advance(300ms);
  }

  /// Each user connects once more, where there is a place: what waits for it is what it is told.
  void check_queues() {
    const auto& executors = sim_.schedule.executors;
    Dial dial;
    while (executors[dial.executor] == stopped_) ++dial.executor;
    for (const auto& [user, queue] : std::map<UserKey, Oracle::Queue>(oracle_.queues)) {
      const std::string token = user.tenant.empty() ? user.user : user.user + "@" + user.tenant;
      const bool silent = sim_.options().auth_mode == AuthMode::message_only;
      dial.node = some_node();
      const Client fresh = sim_.dial("fresh " + user.user, silent ? dial.silent() : dial.with(token));
      if (silent) fresh.authenticate(token);
      sim_.run();
      if (fresh.count("connection_ack") != 0) oracle_.check_queue(fresh, user, sim_.sessions->behind);
    }
    for (const auto& peer : oracle_.peers) {
      if (!oracle_.several_nodes && oracle_.is_alive(peer)) oracle_.check_lacking(peer, sim_.sessions->behind);
    }
  }

  void check_secret() {
    for (const std::size_t node : sim_.nodes()) {
      for (const auto& key : keys_) {
        if (key.name == "secret" && sim_.manager(node).room(key)->size() != 0)
          oracle_.fail("somebody is in the secret room");
      }
    }
    for (const auto& peer : oracle_.peers) {
      const auto& views = peer.client.rooms();
      const auto found = views.find("secret");
      if (found != views.end() && !found->second.stays.empty())
        oracle_.fail(peer.client.name() + " was let into the secret room");
    }
  }

  void end() {
    const std::size_t how = random_.below(4);
    if (how == 0) {
      for (const auto& peer : oracle_.peers) peer.client.hang_up();
      sim_.run();
    }
    const auto up = sim_.nodes();
    for (const std::size_t node : up) end(sim_.manager(node), how);
    sim_.advance(20s);
    if (ends_told_ != up.size()) oracle_.fail("the end was never told");
    sim_.advance(sim_.options().room.history_age);
    for (const std::size_t node : up) {
      sim_.manager(node).sweep_now([this](std::size_t found) {
        if (found != 0 && stopped_ == nullptr) oracle_.fail("the last sweep found " + std::to_string(found));
      });
    }
    sim_.run();
  }
  void end(IConnectionManager& manager, std::size_t how) {
    if (how < 2) return manager.close_all(CloseReason::going_away, "", [this](std::size_t) { ++ends_told_; });
    if (how == 2) return manager.shutdown([this] { ++ends_told_; });
    manager.drain(std::chrono::milliseconds(random_.below(3000)), 1s, [this](Drained) { ++ends_told_; });
  }

  /// For how many turns an executor is held.
  std::size_t held_ = 0;
  std::size_t ends_told_ = 0;
  /// Instead of pongs, parts of a message that never ends.
  const bool uploads_ = random_.one_in(4);
};

}  // namespace muster::test
