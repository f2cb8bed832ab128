// Profiles: what others are shown of a member, and who may change it.
#include <stdexcept>

#include "muster/memory/loopback_broker.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

const Payload red = json(R"({"colour":"red"})");
const Payload blue = json(R"({"colour":"blue"})");

/// Who says "NAME red" is shown as red from the first.
struct Colours : CheckedSim {
  explicit Colours(Options options = {}, std::size_t executors = 1)
      : Colours(Setup{std::move(options), executors, 1, nullptr, 1}) {}
  explicit Colours(Setup setup) : CheckedSim(std::move(setup)) {
    authenticator->decide = [](const Credentials& credentials) -> Authentication {
      Identity identity;
      identity.user = credentials.token.substr(0, credentials.token.find(' '));
      if (credentials.token.find(" red") != std::string::npos) identity.profile = red;
      return accept(std::move(identity));
    };
  }
  static Dial shown_red() { return Dial().with("ann red"); }
};

TEST_CASE("a member is shown with the profile of its identity, in every list of members", "[profile]") {
  Colours sim;
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r", Colours::shown_red());
  sim.advance(1s);
  CHECK(bob.profiles("r") == Texts{R"(ann {"colour":"red"})"});
  CHECK(ann.profiles("r") == Texts{R"(ann {"colour":"red"})"});
  const auto carl = sim.member("carl", "r");
  CHECK(carl.profiles("r") == Texts{R"(ann {"colour":"red"})"});
  const auto members = sim.manager().room({"", "r"})->members();
  REQUIRE(members.size() == 3);
  CHECK(std::count_if(members.begin(), members.end(), [](const Member& member) { return member.profile == red; }) == 1);
  CHECK(sim.manager().find(ann.id())->profile == red);
  CHECK(sim.manager().find(bob.id())->profile.empty());
}

TEST_CASE("the program changes profiles, by connection and by user, and the others are told once an interval",
          "[profile]") {
  Colours sim({}, 2);
  const auto bob = sim.member("bob", "r");
  const auto one = sim.member("ann", "r");
  const auto two = sim.member("ann", "r", Dial().on(1));
  sim.advance(1s);
  const std::size_t before = bob.count("presence");
  CHECK(sim.manager().set_profile(one.id(), blue) == 1);
  sim.run();
  CHECK(sim.manager().set_profile(one.id(), red) == 1);
  sim.advance(1s);
  CHECK(bob.count("presence") == before + 1);
  CHECK(bob.profiles("r") == Texts{R"(ann {"colour":"red"})"});
  CHECK(sim.manager().set_profile(UserKey{"", "ann"}, blue) == 2);
  sim.advance(1s);
  CHECK(bob.profiles("r") == Texts{R"(ann {"colour":"blue"})", R"(ann {"colour":"blue"})"});
  CHECK(sim.manager().set_profile(UserKey{"", "ann"}, {}) == 2);
  sim.advance(1s);
  CHECK(bob.profiles("r").empty());
  CHECK(bob.members("r") == Texts{"ann", "ann", "bob"});
  CHECK(sim.manager().set_profile(ConnectionId(1), blue) == 0);

  const std::size_t told = bob.count("presence");
  CHECK(sim.manager().set_profile(one.id(), {}) == 1);  // it has none
  sim.advance(1s);
  CHECK(bob.count("presence") == told);
}

TEST_CASE("a handler changes the profile of its connection", "[profile]") {
  Colours sim;
  sim.manager().on("paint", [](Connection& connection, const Payload&) { connection.set_profile(blue); });
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  ann.say("paint", "{}");
  sim.advance(1s);
  CHECK(bob.profiles("r") == Texts{R"(ann {"colour":"blue"})"});
}

TEST_CASE("a client changes its own profile where that is allowed", "[profile]") {
  Options options;
  options.profile_bytes = 32;
  SECTION("by default it may not") {
    Colours sim(options);
    const auto ann = sim.member("ann", "r");
    ann.say("profile_update", R"({"profile":{"colour":"red"}})");
    sim.advance(1s);
    CHECK(ann.error() == "permission_denied");
    CHECK(ann.profiles("r").empty());
  }
  SECTION("and to nothing, or within profile_bytes") {
    options.allow_profile = true;
    Colours sim(options);
    const auto bob = sim.member("bob", "r");
    const auto ann = sim.member("ann", "r");
    ann.say("profile_update", R"({"profile":{"colour":"red"}})");
    sim.advance(1s);
    CHECK(ann.reply()->type() == "ack");
    CHECK(bob.profiles("r") == Texts{R"(ann {"colour":"red"})"});
    ann.say("profile_update", R"({"profile":{"colour":"much too long for it"}})");
    sim.advance(1s);
    CHECK(ann.error() == "too_large");
    ann.say("profile_update", R"({"profile":"red"})").say("profile_update", "{}");
    sim.advance(1s);
    CHECK(ann.error() == "invalid_message");
    CHECK(bob.profiles("r") == Texts{R"(ann {"colour":"red"})"});
    ann.say("profile_update", R"({"profile":null})");
    sim.advance(1s);
    CHECK(bob.profiles("r").empty());
  }
}

TEST_CASE("profiles are bounded, also an authenticator's", "[profile]") {
  Options options;
  options.profile_bytes = red.view().size() - 1;
  Colours sim(options);
  const auto ann = sim.member("ann", "r", Colours::shown_red());
  CHECK(ann.profiles("r").empty());
  CHECK(ann.is_open());
  CHECK_THROWS_AS(sim.manager().set_profile(ann.id(), red), std::invalid_argument);
  CHECK_THROWS_AS(sim.manager().set_profile(UserKey{"", "ann"}, red), std::invalid_argument);
}

TEST_CASE("what was set is kept over a resume, with the seat and without, and by new credentials", "[profile]") {
  Options options;
  options.presence_grace = 10s;
  options.resume_window = 60s;
  Colours sim(options);
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r", Colours::shown_red());
  CHECK(sim.manager().set_profile(ann.id(), blue) == 1);
  sim.run();
  ann.authenticate("ann red");
  sim.advance(1s);
  CHECK(bob.profiles("r") == Texts{R"(ann {"colour":"blue"})"});
  ann.hang_up(CloseReason::lost);
  sim.advance(GENERATE(1s, 30s));
  const auto back = sim.resume_session(ann, {"r"}, Colours::shown_red());
  sim.advance(1s);
  CHECK(back.count("resumed") == 1);
  CHECK(bob.profiles("r") == Texts{R"(ann {"colour":"blue"})"});
  CHECK(back.profiles("r") == Texts{R"(ann {"colour":"blue"})"});
}

TEST_CASE("who comes back to its seat with another identity is shown as that says", "[profile]") {
  Colours sim;
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  sim.run();
  const auto back = sim.resume_session(ann, {"r"}, Colours::shown_red());
  sim.advance(1s);
  CHECK(bob.profiles("r") == Texts{R"(ann {"colour":"red"})"});
}

TEST_CASE("who leaves, changes its profile and is back within one interval is shown with it", "[profile]") {
  Options options;
  options.allow_profile = true;
  Colours sim(options);
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  sim.advance(1s);
  ann.leave("r").say("profile_update", R"({"profile":{"colour":"red"}})").join("r");
  sim.advance(1s);
  CHECK(bob.profiles("r") == Texts{R"(ann {"colour":"red"})"});
}

TEST_CASE("a profile that is set while new credentials are judged stays", "[profile]") {
  Colours sim;
  const auto ann = sim.member("ann", "r");
  sim.authorizer->answer = Answer::never();
  ann.authenticate("ann red");
  sim.run();
  REQUIRE(sim.authorizer->withheld.count() == 1);
  CHECK(sim.manager().set_profile(ann.id(), blue) == 1);
  sim.run();
  sim.authorizer->withheld.release();
  sim.advance(1s);
  CHECK(ann.count("auth_result") == 1);
  CHECK(sim.manager().find(ann.id())->profile == blue);
}

TEST_CASE("a seat that is taken up with another profile is shown at other nodes", "[profile]") {
  Colours sim(Setup{{}, 2, 2, std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{}, 1), 1});
  const auto bob = sim.member("bob", "r", Dial().on(1).at(1));
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  sim.run();
  const auto back = sim.resume_session(ann, {"r"}, Colours::shown_red());
  sim.advance(1s);
  CHECK(bob.profiles("r") == Texts{R"(ann {"colour":"red"})"});
}

TEST_CASE("members of other nodes are shown as well", "[profile]") {
  Colours sim(Setup{{}, 2, 2, std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{}, 1), 1});
  const auto ann = sim.member("ann", "r", Colours::shown_red());
  const auto bob = sim.member("bob", "r", Dial().on(1).at(1));
  sim.advance(1s);
  CHECK(bob.profiles("r") == Texts{R"(ann {"colour":"red"})"});
  CHECK(sim.manager().set_profile(ann.id(), blue) == 1);
  sim.advance(1s);
  CHECK(bob.profiles("r") == Texts{R"(ann {"colour":"blue"})"});
  ann.leave("r");
  sim.advance(1s);
  CHECK(bob.members("r") == Texts{"bob"});
}

TEST_CASE("a member that was behind is told the newest profile, and in a crowd nobody is", "[profile]") {
  Options options;
  options.unsent_soft_bytes = 1000;
  options.room.presence_list_max = 3;
  Colours sim(options);
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  sim.advance(1s);
  bob.stall();
  for (int i = 0; i < 40; ++i) ann.publish("r", quoted(std::string(100, 'x')));
  sim.run();
  (void)sim.manager().set_profile(ann.id(), red);
  sim.advance(1s);
  (void)sim.manager().set_profile(ann.id(), blue);
  sim.advance(1s);
  bob.resume();
  sim.advance(1s);
  CHECK(bob.profiles("r") == Texts{R"(ann {"colour":"blue"})"});
  CHECK(bob.last("presence")->list("joined").empty());
  CHECK(bob.last("presence")->list("changed").size() == 1);

  const auto carl = sim.member("carl", "r");
  const auto dan = sim.member("dan", "r");
  sim.advance(1s);
  const std::size_t told = bob.count("presence");
  (void)sim.manager().set_profile(ann.id(), red);
  sim.advance(1s);
  CHECK(bob.count("presence") == told);
}

}  // namespace
}  // namespace muster::test
