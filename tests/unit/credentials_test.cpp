// What an authenticator is shown of the upgrade request, and what it says beyond a name.
#include <any>

#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

Options named() {
  Options options;
  options.credential_headers = {"X-Device", "X-Region"};
  options.credential_cookies = {"session"};
  return options;
}

TEST_CASE("an authenticator is shown the headers and cookies that were asked for, also when it is asked again",
          "[credentials]") {
  Texts shown;
  CheckedSim sim(named());
  sim.authenticator->decide = [&](const Credentials& credentials) {
    shown.push_back(std::string(credentials.header("X-Device")) + "/" + std::string(credentials.header("X-Region")) +
                    "/" + std::string(credentials.cookie("session")) + "/" + std::string(credentials.header("Host")) +
                    "/" + std::to_string(credentials.headers.size() + credentials.cookies.size()));
    return accept(credentials.token);
  };
  Dial with;
  with.headers = {"phone", ""};
  with.cookies = {"abc"};
  const auto ann = sim.connect("ann", with);
  CHECK(shown == Texts{"phone//abc//2"});
  ann.authenticate("ann");
  sim.run();
  CHECK(shown == Texts{"phone//abc//2", "phone//abc//2"});

  const auto bob = sim.connect("bob");  // an adapter that says nothing of them
  CHECK(shown.back() == "////0");
  Dial only_region;
  only_region.headers = {"", "eu"};
  const auto carl = sim.connect("carl", only_region);
  CHECK(shown.back() == "/eu///1");
}

TEST_CASE("an identity carries claims and the program's own type to handlers and the authorizer", "[credentials]") {
  struct Account {
    int level = 0;
  };
  CheckedSim sim;
  sim.authenticator->decide = [](const Credentials& credentials) {
    Identity identity;
    identity.user = credentials.token;
    identity.claims = json(R"({"plan":"gold"})");
    identity.account = Account{7};
    return accept(std::move(identity));
  };
  int level = 0;
  std::string claims;
  sim.manager().on_connected([&](Connection& connection) {
    claims = connection.identity().claims.view();
    level = std::any_cast<Account>(&connection.identity().account)->level;
  });
  sim.authorizer->decide = [](const Access& access) {
    return std::any_cast<Account>(&access.identity->account)->level > 5 ? Permission::allow() : Permission::deny();
  };
  const auto ann = sim.member("ann", "r");
  CHECK(claims == R"({"plan":"gold"})");
  CHECK(level == 7);
  CHECK(ann.members("r") == Texts{"ann"});
}

}  // namespace
}  // namespace muster::test
