// What the canvas suites share: a server of canvases as its embedder sets it up.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include "support/checked_sim.hpp"

namespace muster::test {

/// Tokens come with the upgrade only; everything else is muster's default, room capacity (100 users), heartbeat (30 s),
/// connects per address (60 in 60 s) and connections (1,000) included.
inline Options canvas_options() {
  Options options;
  options.auth_mode = AuthMode::upgrade_only;
  return options;
}

/// A client's token is its name, "name@tenant", or either with a time to live: "ann 60".
class CanvasSim : public CheckedSim {
 public:
  explicit CanvasSim(Options options = canvas_options(), std::size_t executors = 1)
      : CheckedSim(std::move(options), executors) {
    authenticator->decide = [this](const Credentials& credentials) {
      const auto space = credentials.token.find(' ');
      auto who = ScriptedAuthenticator::judge(credentials.token.substr(0, space));
      if (who && space != std::string::npos) {
        who.value().expires_at =
            schedule.executors[0]->wall_now() + std::chrono::seconds(std::stoi(credentials.token.substr(space)));
      }
      return who;
    };
  }
  /// Lets time pass while every client answers its pings.
  void live(std::chrono::seconds time) {
    for (; time > 0s; time -= 1s) {
      advance(1s);
      for (const auto& client : clients) {
        if (client.is_open()) client.pong();
      }
    }
    run();
  }
};

}  // namespace muster::test
