// A command router: clients prove who they are with their first message, then send commands; each is answered once, by
// the library or by a handler of this program, if the rules below let it through.
//
//   router [port]    then, for instance: npx wscat -c ws://127.0.0.1:8080/ws
//   > {"type":"authenticate","id":1,"payload":{"token":"bob-secret"}}
//   > {"type":"echo","id":2,"payload":{"x":1}}
//   > {"type":"announce","id":3,"payload":{"text":"Good evening"}}     bob may not; ann-secret may

#include <algorithm>
#include <memory>
#include <muster/auth/callback_authenticator.hpp>
#include <muster/auth/static_token_authenticator.hpp>
#include <muster/muster.hpp>
#include <muster/protocols/json_protocol.hpp>
#include <string>

#include "serve.hpp"

namespace {

bool has_role(const muster::Identity& who, const char* role) {
  return std::find(who.roles.begin(), who.roles.end(), role) != who.roles.end();
}

/// Everyone may do everything but announce.
std::shared_ptr<muster::Authorizer> rules() {
  return muster::callback_authorizer([](const muster::Access& access, const muster::Reply<muster::Permission>& done) {
    const bool restricted = access.action == muster::Action::custom && access.target == "announce";
    done(!restricted || has_role(*access.identity, "admin") ? muster::Permission::allow()
                                                            : muster::Permission::deny("Only an admin may announce"));
  });
}

muster::Payload describe(const muster::Metrics& metrics) {
  const auto member = [](const char* name, std::uint64_t value) {
    return "\"" + std::string(name) + "\":" + std::to_string(value);
  };
  return muster::json("{" + member("connections", metrics.connections) + "," +
                      member("messages_in", metrics.messages_in) + "," + member("errors", metrics.errors) + "," +
                      member("rate_limited", metrics.rate_limited) + "," +
                      member("refused_capacity", metrics.refused_capacity) + "}");
}

}  // namespace

int main(int argc, char** argv) {
  muster::Options limits;
  limits.max_connections = 3;                           // small, so that it is easily seen
  limits.message_rate = 20;                             // a second; 40 at once
  limits.rate_patience = std::chrono::milliseconds(0);  // who sends more is not slowed down first, but told at once

  const auto users = std::make_shared<muster::StaticTokenAuthenticator>(muster::StaticTokenAuthenticator::Tokens{
      {"ann-secret", {"ann", "", {"admin"}, {}}}, {"bob-secret", {"bob", "", {}, {}}}});
  muster::Components components;
  components.protocols = {std::make_shared<muster::JsonProtocol>()};
  auto manager = muster::make_connection_manager(limits, users, rules(), components);

  // Commands of our own beside subscribe, unsubscribe, list_subscriptions, ping and the others that are there. Handlers
  // must not keep the manager alive, which keeps them: it is captured by reference.
  manager->on("echo", [](muster::Connection& who, const muster::Payload& what) { who.reply(what); });
  manager->on("announce", [&manager](muster::Connection& who, const muster::Payload& what) {
    const std::size_t reached = manager->send_to_all(what);
    who.reply(muster::json("{\"reached\":" + std::to_string(reached) + "}"));
  });
  manager->on("stats",
              [&manager](muster::Connection& who, const muster::Payload&) { who.reply(describe(manager->metrics())); });

  return serve(manager, argc, argv);
}
