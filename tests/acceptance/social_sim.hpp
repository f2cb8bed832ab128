// SocialSim: the social application of the examples, on virtual time.
#pragma once

#include "social.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {

/// For tests in which time passes and nobody answers pings.
[[nodiscard]] inline Options without_heartbeat() {
  Options options = Social::options();
  options.heartbeat = std::chrono::milliseconds(0);
  return options;
}

class SocialSim : public CheckedSim {
 public:
  explicit SocialSim(Options options = Social::options(), std::size_t executors = 1)
      : CheckedSim(std::move(options), executors), social_(manager()) {
    authorizer->decide = Social::may;
    authenticator->decide = [](const Credentials& credentials) -> Authentication {
      if (credentials.token == "staff") return accept(Identity{"staff", "", {"staff"}, {}});
      return ScriptedAuthenticator::judge(credentials.token);
    };
  }
  /// What was sent is served while the application is there.
  ~SocialSim() { run(); }

  /// A device of this user, with its inbox open.
  Client enter(const std::string& user, Dial how = {}) {
    const Client device = connect(user, std::move(how));
    device.join("inbox:" + user);
    run();
    return device;
  }

 private:
  Social social_;
};

/// The events a client got, as they are, in the order they came; without what it asked for.
[[nodiscard]] inline Texts events(const Client& client) {
  Texts events;
  for (const Told& told : client.log()) {
    if (told.type() == "direct" || told.type() == "message") events.push_back(told.value("data"));
  }
  return events;
}
/// The users whose coming or going it was told, in order, itself left out.
[[nodiscard]] inline Texts told_users(const Client& client, std::string_view type) {
  Texts users;
  for (const Told& told : client.all(type)) {
    for (const std::string& user : told.texts("users")) {
      if (user != client.name()) users.push_back(user);
    }
  }
  return users;
}

}  // namespace muster::test
