// The interceptor: what clients publish, seen before it goes.
#include <memory>
#include <stdexcept>
#include <utility>

#include "muster/memory/loopback_broker.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

/// What the last command was answered: "ack", or the error's code.
std::string answer(const Client& client) {
  const auto told = client.reply();
  if (!told) return "";
  return told->type() == "error" ? told->text("code") : told->type();
}

TEST_CASE("an interceptor lets pass, changes, refuses or takes over what clients publish", "[interceptor]") {
  CheckedSim sim;
  sim.manager().intercept([](Connection&, const Publication& publication) {
    const auto data = publication.data.view();
    if (data == R"({"do":"replace"})") return Verdict::replace(json(R"({"in":"place"})"));
    if (data == R"({"do":"refuse"})") return Verdict::refuse(Error{errc::not_supported, "Not in this room", {}});
    if (data == R"({"do":"take"})") return Verdict::take();
    return Verdict::pass();
  });
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  const std::string kind = GENERATE("reliable", "latest", "awareness");
  std::uint64_t clock = 0;
  const auto publish = [&](const std::string& data) {
    if (kind == "reliable") ann.publish("r", data);
    if (kind == "latest") ann.publish_latest("r", data, "k");
    if (kind == "awareness") ann.aware("r", data, ++clock, "a");
    sim.advance(1s);
    return answer(ann);
  };
  const auto seen = [&]() -> std::string {
    if (kind != "awareness") return bob.messages("r").empty() ? std::string() : bob.messages("r").back();
    const auto states = bob.awareness("r");
    return states.count("a") == 0 ? std::string() : states.at("a");
  };
  CHECK(publish(R"({"do":"take"})") == "ack");
  CHECK(ann.reply()->number("seq") == 0);
  CHECK(seen().empty());
  CHECK(publish(R"({"do":"pass"})") == "ack");
  CHECK(seen() == R"({"do":"pass"})");
  CHECK(publish(R"({"do":"replace"})") == "ack");
  CHECK(seen() == R"({"in":"place"})");
  CHECK(publish(R"({"do":"refuse"})") == "not_supported");
  CHECK(ann.reply()->text("message") == "Not in this room");
  CHECK(seen() == R"({"in":"place"})");
  CHECK(sim.manager().room({"", "r"})->position().seq == (kind == "reliable" ? 2 : 0));
  CHECK(bob.messages("r").size() == (kind == "awareness" ? 0 : 2));
}

TEST_CASE("an interceptor sees the connection, the room, the payload, its kind and its keys", "[interceptor]") {
  CheckedSim sim;
  Texts seen;
  sim.manager().intercept([&](Connection& connection, const Publication& what) {
    const char* const kinds[] = {"reliable", "latest", "awareness"};
    seen.push_back(connection.identity().user + " " + what.room.tenant + " " + what.room.name + " " +
                   kinds[static_cast<std::size_t>(what.kind)] + " " + std::string(what.data.view()) + " " +
                   std::string(what.key) + " " + std::string(what.idempotency_key));
    connection.reply(json("0"));  // does nothing
    return Verdict::pass();
  });
  const auto ann = sim.member("ann", "r", Dial().of("t"));
  ann.publish("r", "1").publish("r", "2", R"(,"idempotency_key":"i")").publish_latest("r", "3", "k");
  ann.aware("r", R"({"x":4})", 1, "a").aware("r", R"({"x":5})", 1);
  sim.run();
  CHECK(seen == Texts{"ann t r reliable 1  ", "ann t r reliable 2  i", "ann t r latest 3 k ",
                      R"(ann t r awareness {"x":4} a )", R"(ann t r awareness {"x":5} )" + to_string(ann.id()) + " "});
  CHECK(ann.count("ack") == 5);
}

TEST_CASE("an interceptor sees what clients may publish, and nothing else", "[interceptor]") {
  CheckedSim sim(Setup{{}, 1, 2, std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{}, 1)});
  std::size_t seen = 0;
  sim.manager().intercept([&](Connection&, const Publication&) { return ++seen, Verdict::pass(); });
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r", Dial().at(1));
  SECTION("what is allowed") {
    ann.publish("r", "1");
    sim.run();
    CHECK(seen == 1);
    CHECK(bob.messages("r") == Texts{"1"});
  }
  SECTION("not what the authorizer denies, or who is no member says") {
    sim.authorizer->decide = [](const Access&) { return Permission::deny(); };
    ann.publish("r", "1").aware("r", R"({"x":1})", 1);
    sim.authorizer->decide = nullptr;
    ann.publish("q", "1").aware("q", R"({"x":1})", 1);
    sim.authorizer->decide = [](const Access&) { return Permission::deny(); };
    sim.run();
    CHECK(seen == 0);
    CHECK(ann.count("error") == 4);
  }
  SECTION("not of a member that has left while it was asked about") {
    sim.authorizer->answer = Answer::later(50ms);
    ann.publish("r", "1");
    sim.run();
    sim.manager().leave(ann.id(), "r");
    sim.advance(1s);
    CHECK(seen == (answer(ann) == "ack" ? 1 : 0));
  }
  SECTION("not what the program publishes, other nodes do, or a client takes away") {
    sim.manager().publish({"", "r"}, json("1"));
    bob.publish("r", "2").aware("r", R"({"x":1})", 1);
    ann.aware("r", "null", 1);
    sim.advance(1s);
    CHECK(seen == 0);
    CHECK(ann.messages("r") == Texts{"1", "2"});
    CHECK(ann.count("ack") == 1);
  }
}

TEST_CASE("what an interceptor throws is as of a handler: an Error refuses, anything else closes", "[interceptor]") {
  CheckedSim sim;
  sim.manager().intercept([&](Connection&, const Publication& what) -> Verdict {
    if (what.data.view() == R"({"x":1})") throw Error{errc::too_large, "No", {}};
    throw std::runtime_error("an interceptor of the embedder fails");
  });
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  const bool awareness = GENERATE(true, false);
  const auto publish = [&](const std::string& data) {
    if (awareness) ann.aware("r", data, 1, "a");
    if (!awareness) ann.publish("r", data);
    sim.advance(1s);
  };
  publish(R"({"x":1})");
  CHECK(answer(ann) == "too_large");
  CHECK(ann.is_open());
  publish(R"({"x":2})");
  CHECK(ann.close_code() == 1011);
  CHECK(sim.manager().metrics().callback_failures == 1);
  CHECK(bob.messages("r").empty());
  CHECK(bob.awareness("r").empty());
}

TEST_CASE("a state that takes another's place is held to the same rules", "[interceptor]") {
  Options options;
  options.awareness_state_bytes = 20;
  CheckedSim sim(options);
  Payload instead = json(R"({"x":"23456789012"})");
  bool replaces = true;
  sim.manager().intercept(
      [&](Connection&, const Publication&) { return replaces ? Verdict::replace(instead) : Verdict::pass(); });
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  const auto set = [&](std::uint64_t clock) {
    ann.aware("r", R"({"x":1})", clock, "a");
    sim.advance(1s);
    return answer(ann);
  };
  REQUIRE(instead.view().size() == 19);
  CHECK(set(1) == "ack");
  instead = json(R"({"x":"2345678901234"})");
  REQUIRE(instead.view().size() == 21);
  CHECK(set(2) == "too_large");
  CHECK(bob.awareness("r") == States{{"a", R"({"x":"23456789012"})"}});
  instead = Payload();
  CHECK(set(3) == "ack");
  CHECK(bob.awareness("r").empty());
  CHECK(sim.manager().metrics().awareness_entries == 0);
  replaces = false;
  CHECK(set(4) == "ack");
  CHECK(bob.awareness("r") == States{{"a", R"({"x":1})"}});
}

TEST_CASE("a publish that is sent again is seen again, and published once", "[interceptor]") {
  CheckedSim sim;
  std::size_t seen = 0;
  sim.manager().intercept([&](Connection&, const Publication& what) {
    CHECK(what.idempotency_key == "once");
    return Verdict::replace(json(std::to_string(++seen)));
  });
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  for (int i = 0; i < 2; ++i) {
    ann.publish("r", "0", R"(,"idempotency_key":"once")");
    sim.run();
    CHECK(ann.reply()->number("seq") == 1);
  }
  CHECK(seen == 2);
  CHECK(bob.messages("r") == Texts{"1"});
}

TEST_CASE("an interceptor may do anything, and publish before what it looks at", "[interceptor]") {
  CheckedSim sim;
  const std::string what = GENERATE("publish", "close", "leave", "stop looking");
  bool ran = false;
  sim.manager().intercept([&](Connection& connection, const Publication& publication) {
    ran = true;
    if (what == "publish") connection.manager().publish(publication.room, json(R"("first")"));
    if (what == "close") connection.close(CloseReason::policy);
    if (what == "leave") connection.leave("r");
    if (what == "stop looking") connection.manager().intercept(nullptr);
    return Verdict::pass();
  });
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  ann.publish("r", "1");
  sim.run();
  CHECK(ran);
  CHECK(bob.messages("r") == (what == "publish" ? Texts{R"("first")", "1"} : Texts{"1"}));
  CHECK(ann.is_open() == (what != "close"));
  ran = false;
  if (what == "leave") CHECK(ann.count("room_left") == 1);
  if (what == "stop looking") {
    ann.publish("r", "2");
    sim.run();
    CHECK_FALSE(ran);
    CHECK(bob.messages("r") == Texts{"1", "2"});
  }
}

TEST_CASE("an interceptor comes and goes at any time, and is let go of when shutdown is done", "[interceptor]") {
  auto held = std::make_shared<const std::string>("2");
  const std::weak_ptr<const std::string> watch = held;
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  ann.publish("r", "1");
  sim.run();
  sim.manager().intercept([held = std::exchange(held, nullptr), keeps = sim.shared_manager()](
                              Connection&, const Publication&) { return Verdict::replace(json(*held)); });
  ann.publish("r", "1");
  sim.run();
  CHECK(bob.messages("r") == Texts{"1", "2"});
  if (GENERATE(true, false)) {
    sim.manager().intercept(nullptr);
    sim.run();
    CHECK(watch.expired());
    ann.publish("r", "1");
    sim.run();
    CHECK(bob.messages("r") == Texts{"1", "2", "1"});
  } else {
    sim.manager().shutdown(nullptr);
    sim.advance(30s);
    CHECK(watch.expired());
  }
}

}  // namespace
}  // namespace muster::test
