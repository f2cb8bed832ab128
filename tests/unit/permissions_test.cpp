// Permissions that hold for a while: what is asked again, and what is not.
#include <string>

#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

/// Answers that hold this long.
void hold(Sim& sim, std::chrono::milliseconds time, bool allowed = true) {
  sim.authorizer->decide = [time, allowed](const Access&) {
    return (allowed ? Permission::allow() : Permission::deny("You may not")).hold_for(time);
  };
}

/// How often the authorizer is asked while the client does this.
template <class F>
std::size_t asked(Sim& sim, F what) {
  const std::size_t before = sim.authorizer->asked;
  what();
  sim.run();
  return sim.authorizer->asked - before;
}

TEST_CASE("a permission holds for the time it names, for its connection, action and target", "[permissions]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  ann.join("q");
  sim.run();
  const auto other = sim.member("ann", "r");
  const auto publish = [&](const Client& who, const std::string& room) {
    return asked(sim, [&] { who.publish(room, "1"); });
  };
  CHECK(publish(ann, "r") == 1);
  CHECK(publish(ann, "r") == 1);  // it did not say that it holds
  hold(sim, 10s);
  const bool later = GENERATE(false, true);
  if (later) sim.authorizer->answer = Answer::later(0ms);
  CHECK(publish(ann, "r") == 1);
  CHECK(publish(ann, "r") == 0);
  CHECK(publish(ann, "q") == 1);
  CHECK(publish(other, "r") == 1);
  CHECK(asked(sim, [&] { ann.aware("r", R"({"x":1})", 1); }) == 1);
  sim.advance(10s - 1ms);
  CHECK(publish(ann, "r") == 0);
  sim.advance(1ms);
  CHECK(publish(ann, "r") == 1);
  CHECK(publish(ann, "r") == 0);
  CHECK(other.messages("r").size() == 7);
}

TEST_CASE("a refusal may hold, too, and `late` never does", "[permissions]") {
  Options options;
  options.close_on_permission_denied = GENERATE(false, true);
  CheckedSim sim(options);
  const auto ann = sim.member("ann", "r");
  SECTION("late") {
    sim.authorizer->decide = [](const Access&) { return Permission::late().hold_for(1h); };
    for (int i = 0; i < 2; ++i) {
      CHECK(asked(sim, [&] { ann.publish("r", "1"); }) == 1);
      CHECK(ann.error() == "unavailable");
    }
  }
  SECTION("denied") {
    hold(sim, 10s, false);
    const auto bob = sim.connect("bob");
    CHECK(asked(sim, [&] { bob.join("r").join("r"); }) == 1);
    CHECK(bob.count("error") == (options.close_on_permission_denied ? 1 : 2));
    CHECK(bob.last("error")->text("message") == "You may not");
    CHECK(bob.is_open() != options.close_on_permission_denied);
  }
}

TEST_CASE("with new credentials everything is asked again", "[permissions]") {
  CheckedSim sim;
  hold(sim, std::chrono::milliseconds::max());
  const auto ann = sim.member("ann", "r");
  const auto publish = [&] { return asked(sim, [&] { ann.publish("r", "1"); }); };
  CHECK(publish() == 1);
  CHECK(publish() == 0);
  SECTION("the new ones hold") {
    CHECK(asked(sim, [&] { ann.authenticate("ann"); }) == 1);  // about its room
    CHECK(publish() == 1);
    CHECK(publish() == 0);
  }
  SECTION("the old ones hold, and what is known of them") {
    sim.authorizer->decide = [](const Access&) { return Permission::deny(); };
    CHECK(asked(sim, [&] { ann.authenticate("ann"); }) == 1);
    CHECK(publish() == 0);
    CHECK(ann.reply()->type() == "ack");
  }
}

TEST_CASE("what new credentials may is not kept for the old ones, where those stay", "[permissions]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  ann.join("q");
  sim.run();
  sim.authorizer->decide = [](const Access& access) {
    return access.target == "q" ? Permission::allow().hold_for(1h) : Permission::deny();
  };
  CHECK(asked(sim, [&] { ann.authenticate("ann"); }) == 2);
  CHECK(ann.error() == "permission_denied");
  ann.leave("q");
  sim.run();
  CHECK(asked(sim, [&] { ann.join("q"); }) == 1);
}

TEST_CASE("so many permissions are kept for a connection: permissions_kept, and the one that ends first goes",
          "[permissions]") {
  Options options;
  options.permissions_kept = 2;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto ask = [&](const std::string& user) {
    return asked(sim, [&] { ann.say("presence_query", R"({"users":[)" + quoted(user) + "]}"); });
  };
  hold(sim, 20s);
  CHECK(ask("a") == 1);
  hold(sim, 10s);
  CHECK(ask("b") == 1);
  CHECK(ask("a") == 0);
  CHECK(ask("b") == 0);
  hold(sim, 30s);
  CHECK(ask("c") == 1);
  CHECK(ask("a") == 0);
  CHECK(ask("c") == 0);
  CHECK(ask("b") == 1);
  CHECK(ask("a") == 1);
}

TEST_CASE("permissions_kept 0 keeps none", "[permissions]") {
  Options options;
  options.permissions_kept = 0;
  CheckedSim sim(options);
  hold(sim, 20s);
  const auto ann = sim.member("ann", "r");
  for (int i = 0; i < 2; ++i) CHECK(asked(sim, [&] { ann.publish("r", "1"); }) == 1);
}

TEST_CASE("permissions of targets with 256 bytes are kept, and of longer ones not", "[permissions]") {
  CheckedSim sim;
  hold(sim, 20s);
  const auto ann = sim.connect("ann");
  const auto ask = [&](std::size_t bytes) {
    return asked(sim, [&] { ann.say("presence_query", R"({"users":[)" + quoted(std::string(bytes, 'u')) + "]}"); });
  };
  CHECK(ask(256) == 1);
  CHECK(ask(256) == 0);
  CHECK(ask(257) == 1);
  CHECK(ask(257) == 1);
}

TEST_CASE("a command that asks many questions is answered with what is known of some", "[permissions]") {
  CheckedSim sim;
  hold(sim, 20s);
  const auto ann = sim.connect("ann");
  const auto ask = [&](const std::string& users) {
    return asked(sim, [&] { ann.say("presence_query", R"({"users":)" + users + "}"); });
  };
  CHECK(ask(R"(["a","b"])") == 2);
  CHECK(ask(R"(["a","c","b","ann"])") == 2);
  CHECK(ann.count("presence_state") == 2);
}

TEST_CASE("a seat that the program has authorised is judged by what is known, too", "[permissions]") {
  CheckedSim sim;
  hold(sim, 20s);
  const auto ann = sim.member("ann", "r");
  ann.leave("r");
  sim.run();
  CHECK(asked(sim, [&] { sim.manager().join(ann.id(), "r", JoinAs{true}); }) == 0);
  CHECK(asked(sim, [&] { sim.manager().join(ann.id(), "q", JoinAs{true}); }) == 1);
  CHECK(sim.manager().connections_in({"", "q"}).size() == 1);
}

}  // namespace
}  // namespace muster::test
