// Resume: how another connection takes up a session, and what it is told that it missed.
#include "muster/memory/loopback_broker.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("resume keeps seats, presence and awareness, and replays what was missed", "[sessions]") {
  const bool other_executor = GENERATE(false, true);
  CheckedSim sim({}, 2);
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  ann.aware("r", R"({"x":1})", 1);
  sim.advance(1s);
  sim.forget_story();
  const auto presences = bob.count("presence");
  ann.hang_up(CloseReason::lost);
  sim.run();
  CHECK(sim.story() == Texts{"left ann r lost", "disconnected ann lost"});
  bob.publish("r", "1").publish("r", "2");
  sim.advance(5s);
  CHECK(bob.members("r") == Texts{"ann", "bob"});
  CHECK(sim.manager().is_online({"", "ann"}));
  CHECK(sim.manager().metrics().sessions_held == 1);

  const auto again = sim.resume_session(ann, {"r"}, Dial().on(other_executor ? 1 : 0));
  sim.advance(20s);
  CHECK(again.resumed("r") == "recovered");
  CHECK(again.messages("r") == Texts{"1", "2"});
  CHECK(again.members("r") == Texts{"ann", "bob"});
  CHECK(again.awareness("r").size() == 1);
  // Nobody saw it go: no presence, no null.
  CHECK(bob.count("presence") == presences);
  CHECK(bob.members("r") == Texts{"ann", "bob"});
  CHECK(bob.view("r").nulls_told == 0);
  CHECK(sim.told("offline ann") == 0);
  CHECK(sim.told("online ann") == 0);
  CHECK(sim.manager().metrics().sessions_held == 0);
  CHECK(sim.manager().metrics().resumes == 1);
}

TEST_CASE("a session that is handed out to who is gone by then waits again", "[sessions]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  sim.run();
  const auto taker = sim.connect("ann");
  sim.sessions->answer = Answer::later(2s);
  taker.resume_session(ann, {"r"});
  sim.run();
  taker.hang_up();
  sim.sessions->answer = Answer::now();
  sim.advance(3s);
  CHECK(sim.resume_session(ann, {"r"}).resumed("r") == "recovered");
}

TEST_CASE("a resumed connection is known to others by its session's first id", "[sessions]") {
  CheckedSim sim;
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  const auto again = sim.resume_session(ann, {"r"});
  CHECK(again.last("resumed")->text("connection") == to_string(ann.id()));
  again.publish("r", "7");
  sim.run();
  CHECK(bob.view("r").stays.back().messages.back().from == to_string(ann.id()));
  CHECK(again.messages("r").empty());  // the publisher is excluded, under either id
  CHECK(sim.manager().find(ann.id())->id == again.id());
  CHECK(sim.manager().find(again.id())->member == ann.id());
  CHECK(sim.manager().connections_in({"", "r"}).size() == 2);
  CHECK(sim.manager().send(ann.id(), json("1")) == 1);
  bob.publish("r", "8");
  sim.manager().room({"", "r"})->publish(json("9"), Delivery::reliable(), again.id());
  sim.manager().room({"", "r"})->publish(json("10"), Delivery::reliable(), ann.id());
  CHECK(sim.manager().room({"", "r"})->send_to([&](const Member& m) { return m.connection == ann.id(); }, json("11")) ==
        1);
  sim.run();
  CHECK(again.count("direct") == 1);
  CHECK(again.messages("r") == Texts{"8", "11"});
}

TEST_CASE("the old socket lingers: it is closed 4005 and the session has one connection", "[sessions]") {
  CheckedSim sim({}, 2);
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  ann.aware("r", R"({"x":1})", 1);
  sim.advance(1s);
  const auto presences = bob.count("presence");
  const auto again = sim.resume_session(ann, {"r"}, Dial().on(1));  // nobody has noticed that the first is half-open
  sim.advance(15s);
  CHECK(ann.close_code() == 4005);
  CHECK(again.resumed("r") == "recovered");
  CHECK(bob.count("presence") == presences);
  CHECK(bob.view("r").nulls_told == 0);
  CHECK(sim.manager().room({"", "r"})->size() == 2);
  CHECK(sim.manager().connection_count({"", "ann"}) == 1);
}

TEST_CASE("of two connections with one token, one has the session in the end", "[sessions]") {
  CheckedSim sim({}, 3);
  const auto bob = sim.member("bob", "r", Dial().on(2));
  const auto ann = sim.member("ann", "r");
  sim.advance(1s);
  const auto presences = bob.count("presence");
  const bool alive = GENERATE(false, true);
  if (!alive) ann.hang_up(CloseReason::lost);
  const auto one = sim.connect("ann", Dial().on(1));
  const auto two = sim.connect("ann", Dial().on(2));
  one.resume_session(ann, {"r"});
  two.resume_session(ann, {"r"});
  sim.advance(1s);
  // The first's answer may have been lost, as far as the server knows: the second gets the session from it.
  const auto has_it = [](const Client& c) { return c.count("resumed") == 1 && c.is_open(); };
  CHECK(has_it(one) != has_it(two));
  CHECK(sim.manager().connections_in({"", "r"}).size() == 2);
  CHECK(sim.manager().room({"", "r"})->size() == 2);
  CHECK(bob.count("presence") == presences);
}

TEST_CASE("rooms: those asked for that the session had, each authorised again", "[sessions]") {
  CheckedSim sim;
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  for (const auto& client : {ann, bob}) client.join("a").join("b").join("c");
  ann.aware("b", "{}", 1).aware("c", "{}", 1);
  bob.join("d");
  sim.advance(1s);
  ann.hang_up(CloseReason::lost);
  sim.authorizer->decide = [](const Access& access) {
    return access.target == "b" ? Permission::deny() : Permission::allow();
  };
  const auto again = sim.resume_session(ann, {"a", "b", "d"});
  sim.advance(1s);
  CHECK(again.resumed("a") == "recovered");
  CHECK(again.resumed("b") == "denied");
  CHECK(again.resumed("d") == "denied");  // not the session's
  CHECK(again.count("room_joined") == 1);
  CHECK(bob.members("a") == Texts{"ann", "bob"});
  CHECK(bob.members("b") == Texts{"bob"});  // denied
  CHECK(bob.members("c") == Texts{"bob"});  // not asked for
  CHECK(bob.awareness("b").empty());
  CHECK(bob.awareness("c").empty());
}

TEST_CASE("what history no longer holds is a gap", "[sessions]") {
  Options options;
  options.room.history_messages = 2;
  CheckedSim sim(options);
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  for (int i = 1; i <= 5; ++i) bob.publish("r", std::to_string(i));
  sim.run();
  const auto again = sim.resume_session(ann, {"r"});
  CHECK(again.resumed("r") == "gap");
  CHECK(again.messages("r") == Texts{"4", "5"});
  REQUIRE(again.view("r").stays.back().gaps.size() == 1);
  CHECK(again.view("r").stays.back().gaps[0].from == 1);
  CHECK(again.view("r").stays.back().gaps[0].to == 3);
}

TEST_CASE("a wrong epoch or a future seq is a gap", "[sessions]") {
  CheckedSim sim;
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  bob.publish("r", "1");
  sim.run();
  const auto epoch = bob.view("r").stays.back().epoch;
  const auto again = sim.connect("ann");
  const bool future = GENERATE(false, true);
  again.resume_session(ann.token(), {{"r", future ? Position{epoch, 99} : Position{7, 1}}});
  sim.run();
  CHECK(again.resumed("r") == "gap");
  bob.publish("r", "2");
  sim.run();
  CHECK(again.last("message")->value("data") == "2");
}

TEST_CASE("resume as the first message authenticates again", "[sessions]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  const auto again = sim.connect("ann", Dial().silent());
  again.resume_session(ann, {"r"}, "ann");
  sim.run();
  CHECK(again.resumed("r") == "recovered");
  CHECK(again.types() == Texts{"connection_ack", "resumed", "room_joined", "awareness_state"});
  again.hang_up(CloseReason::lost);

  const auto bad = sim.connect("eve", Dial().silent());
  bad.resume_session(again, {"r"}, "bad");
  sim.run();
  CHECK(bad.close_code() == 4002);
  const auto none = sim.resume_session(again, {"r"}, Dial().silent());
  CHECK(none.close_code() == 4001);
}

TEST_CASE("resume comes once, before the first join", "[sessions]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  const auto again = sim.connect("ann");
  again.join("s");
  again.resume_session(ann, {});
  sim.run();
  CHECK(again.error() == "resume_failed");
  CHECK(again.is_open());
}

TEST_CASE("a resumed session takes its client ids over at clock + 1", "[sessions]") {
  CheckedSim sim;
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  ann.aware("r", R"({"x":1})", 9, "cursor");
  sim.advance(1s);
  ann.hang_up(CloseReason::lost);
  const auto again = sim.connect("ann");
  again.resume_session(ann, {"r"});
  again.aware("r", R"({"x":2})", 1, "cursor");  // a reloaded page counts from 1
  sim.advance(1s);
  CHECK(bob.awareness("r").at("cursor") == R"({"x":2})");
  CHECK(bob.view("r").awareness.at("cursor").clock == 10);
}

TEST_CASE("a session resumes at another node, which was told nothing", "[sessions]") {
  Setup setup;
  setup.nodes = 2;
  setup.broker = std::make_shared<LoopbackBroker>();
  CheckedSim sim(std::move(setup));
  const auto bob = sim.member("bob", "r", Dial().at(1));
  const auto ann = sim.member("ann", "r");
  sim.advance(1s);
  ann.hang_up(CloseReason::lost);
  sim.run();
  bob.publish("r", "1");
  sim.run();
  const auto again = sim.resume_session(ann, {"r"}, Dial().at(1));
  sim.advance(1s);
  CHECK(again.resumed("r") != "");
  CHECK(again.resumed("r") != "denied");
  CHECK(again.messages("r") == Texts{"1"});
}

TEST_CASE("a room that others have left while the next was still asked about is there for who resumes", "[sessions]") {
  Setup setup;
  setup.broker = std::make_shared<LoopbackBroker>();
  setup.options.presence_grace = 0ms;  // no place keeps the room
  CheckedSim sim(std::move(setup));
  const auto bob = sim.connect("bob");
  const auto ann = sim.member("ann", "a");
  ann.join("b").publish("a", "1");
  sim.run();
  ann.hang_up(CloseReason::lost);
  sim.run();
  sim.authorizer->answer = Answer::later(1s);
  const auto again = sim.resume_session(ann, {"a", "b"});
  sim.advance(1100ms);  // a is permitted and subscribed to, b is asked about
  sim.authorizer->answer = Answer::now();
  bob.join("a").leave("a");
  sim.run();
  CHECK(sim.broker->unsubscribed == 2);  // after ann, of both
  sim.advance(1s);
  CHECK(again.resumed("a") == "gap");
  CHECK(again.resumed("b") == "recovered");
  again.publish_echo("a", "2");
  sim.run();
  CHECK(again.messages("a") == Texts{"2"});
}

TEST_CASE("a session that its connection has left for another one is not resumed", "[sessions]") {
  CheckedSim sim({}, 2);
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  const auto second = sim.connect("ann");
  const auto third = sim.connect("ann", Dial().on(1));
  sim.sessions->answer = Answer::later(10ms);
  third.resume_session(second, {});
  sim.run();
  sim.schedule.executors[1]->hold(true);
  sim.advance(20ms);  // it has taken the session, and does not know yet
  sim.sessions->answer = Answer::now();
  second.resume_session(ann, {"r"});
  sim.run();
  REQUIRE(second.resumed("r") == "recovered");
  sim.schedule.executors[1]->hold(false);
  sim.run();
  CHECK(third.error() == "resume_failed");
  third.join("r");
  sim.run();
  const auto there = sim.manager().connections_in({"", "r"});
  REQUIRE(there.size() == 2);
  CHECK(there[0].member != there[1].member);
  CHECK(sim.manager().find(second.id())->id == second.id());
}

}  // namespace
}  // namespace muster::test
