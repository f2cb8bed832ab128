// A social application: messages, receipts, who is typing, payments, likes, and who is online. Its events: social.hpp.
//
//   social [port]    then, in two terminals: npx wscat -c ws://127.0.0.1:8080/ws -H "Authorization: Bearer ann"
//   > {"type":"join","payload":{"room":"inbox:ann"}}
//   > {"type":"message","id":1,"payload":{"to":"bob","text":"hello"}}
//
// Whoever comes with a token is the user of that name, to keep the example small: not for use.

#include "social.hpp"

#include <memory>
#include <muster/auth/callback_authenticator.hpp>
#include <muster/muster.hpp>
#include <muster/protocols/json_protocol.hpp>
#include <string>

#include "serve.hpp"

int main(int argc, char** argv) {
  const auto users = muster::callback_authenticator([](const muster::Credentials& credentials, const auto& done) {
    muster::Identity who{credentials.token, "", {}, {}};
    if (who.user == "staff") who.roles.emplace_back("staff");
    done(muster::accept(std::move(who)));
  });
  const auto rules =
      muster::callback_authorizer([](const muster::Access& access, const auto& done) { done(Social::may(access)); });
  muster::Components components;
  components.protocols = {std::make_shared<muster::JsonProtocol>()};
  const auto manager = muster::make_connection_manager(Social::options(), users, rules, components);
  Social social(*manager);

  return serve(manager, argc, argv);
}
