// What outlives a connection: its place, its presence, its awareness; and how another connection takes it up.
#include "muster/memory/loopback_broker.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

std::string id_of(const Client& client) { return to_string(client.id()); }

TEST_CASE("connection_ack carries a token where sessions can resume, and no two are alike", "[sessions]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  const auto ack = ann.last("connection_ack");
  REQUIRE(ack);
  CHECK(ack->text("resume_token").size() == 32);  // 128 bits
  CHECK(ack->number("resume_ttl_ms") == 300'000);
  CHECK(ann.token() != bob.token());

  Options off;
  off.resume_window = 0s;
  CheckedSim without(off);
  const auto cat = without.connect("cat");
  CHECK_FALSE(cat.last("connection_ack")->has("resume_token"));
}

TEST_CASE("resume keeps place, presence and awareness, and replays what was missed", "[sessions]") {
  const bool other_executor = GENERATE(false, true);
  CheckedSim sim({}, 2);
  const auto bob = sim.connect("bob");
  bob.join("r");
  const auto ann = sim.connect("ann");
  ann.join("r").aware("r", R"({"x":1})", 1);
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

  const auto again = sim.connect("ann", Dial().on(other_executor ? 1 : 0));
  again.resume_session(ann, {"r"});
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

TEST_CASE("a resumed connection is known to others by its session's first id", "[sessions]") {
  CheckedSim sim;
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  bob.join("r");
  ann.join("r");
  sim.run();
  ann.hang_up(CloseReason::lost);
  const auto again = sim.connect("ann");
  again.resume_session(ann, {"r"});
  sim.run();
  CHECK(again.last("resumed")->text("connection") == id_of(ann));
  again.publish("r", "7");
  sim.run();
  CHECK(bob.view("r").stays.back().messages.back().from == id_of(ann));
  CHECK(again.messages("r").empty());  // the publisher is excluded, under either id
  CHECK(sim.manager().find(ann.id())->id == again.id());
  CHECK(sim.manager().find(again.id())->member == ann.id());
  CHECK(sim.manager().connections_in({"", "r"}).size() == 2);
  CHECK(sim.manager().send(ann.id(), json("1")) == 1);
  bob.publish("r", "8");
  sim.manager().room({"", "r"})->publish(json("9"), Delivery::reliable(), again.id());
  sim.manager().room({"", "r"})->publish(json("10"), Delivery::reliable(), ann.id());
  CHECK(sim.manager().room({"", "r"})->send_to([&](const Member& m) { return m.connection == ann.id(); },
                                               json("11")) == 1);
  sim.run();
  CHECK(again.count("direct") == 1);
  CHECK(again.messages("r") == Texts{"8", "11"});
}

TEST_CASE("the old socket lingers: it is closed 4005 and the session has one connection", "[sessions]") {
  CheckedSim sim({}, 2);
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  bob.join("r");
  ann.join("r").aware("r", R"({"x":1})", 1);
  sim.advance(1s);
  const auto presences = bob.count("presence");
  const auto again = sim.connect("ann", Dial().on(1));  // nobody has noticed that the first is half-open
  again.resume_session(ann, {"r"});
  sim.advance(15s);
  CHECK(ann.close_code() == 4005);
  CHECK(again.resumed("r") == "recovered");
  CHECK(bob.count("presence") == presences);
  CHECK(bob.view("r").nulls_told == 0);
  CHECK(sim.manager().room({"", "r"})->size() == 2);
  CHECK(sim.manager().connection_count({"", "ann"}) == 1);
}

TEST_CASE("a session nobody takes up is told as left once, when the grace ends", "[sessions]") {
  CheckedSim sim;
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  bob.join("r");
  ann.join("r").aware("r", R"({"x":1})", 4);
  sim.advance(1s);
  ann.hang_up(CloseReason::lost);
  sim.advance(9900ms);
  CHECK(bob.members("r") == Texts{"ann", "bob"});
  CHECK(bob.awareness("r").size() == 1);
  sim.advance(200ms);
  CHECK(bob.members("r") == Texts{"bob"});
  CHECK(bob.awareness("r").empty());
  CHECK(bob.view("r").nulls_told == 1);
  CHECK(bob.view("r").nulls.at(id_of(ann)) == 5);
  CHECK(sim.told("offline ann") == 1);
  CHECK_FALSE(sim.manager().is_online({"", "ann"}));
}

TEST_CASE("a logout and a leave are told at once", "[sessions]") {
  CheckedSim sim;
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  const auto cat = sim.connect("cat");
  bob.join("r");
  ann.join("r").aware("r", "{}", 1);
  cat.join("r");
  sim.advance(1s);
  ann.hang_up(CloseReason::normal);
  cat.leave("r");
  sim.advance(100ms);
  CHECK(bob.members("r") == Texts{"bob"});
  CHECK(bob.awareness("r").empty());
  CHECK(sim.told("offline ann") == 1);
  const auto again = sim.connect("ann");
  again.resume_session(ann, {"r"});
  sim.run();
  CHECK(again.error() == "resume_failed");
}

TEST_CASE("a reload (1001) waits for the grace", "[sessions]") {
  CheckedSim sim;
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  bob.join("r");
  ann.join("r");
  sim.advance(1s);
  ann.hang_up(CloseReason::going_away);
  sim.advance(1s);
  CHECK(bob.members("r") == Texts{"ann", "bob"});
}

TEST_CASE("a token works once, for its user, within the window", "[sessions]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.run();
  ann.hang_up(CloseReason::lost);
  const auto bob = sim.connect("bob");
  bob.resume_session(ann, {"r"});
  sim.run();
  CHECK(bob.error() == "resume_failed");
  const auto elsewhere = sim.connect("ann", Dial().of("acme"));
  elsewhere.resume_session(ann, {"r"});
  sim.run();
  CHECK(elsewhere.error() == "resume_failed");
  bob.say("resume", R"({"token":"00000000000000000000000000000000","rooms":{}})");
  sim.run();
  CHECK(bob.count("error") == 2);

  const auto first = sim.connect("ann");
  first.resume_session(ann, {"r"});
  sim.run();
  CHECK(first.resumed("r") == "recovered");
  first.say("ping", "{}");  // the first command after resumed: the answer has arrived
  sim.run();
  first.hang_up(CloseReason::lost);
  const auto late = sim.connect("ann");
  late.resume_session(ann, {"r"});
  sim.run();
  CHECK(late.error() == "resume_failed");
  late.join("r");  // and goes on as new
  sim.run();
  CHECK(late.count("room_joined") == 1);
}

TEST_CASE("a token is good for the window after the drop, and not beyond", "[sessions]") {
  Options options;
  options.heartbeat = 0s;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.join("r");
  bob.join("s");
  sim.advance(24h);  // however long it was connected
  for (const auto& client : {ann, bob}) client.hang_up(CloseReason::lost);
  sim.advance(299s);
  const auto in_time = sim.connect("ann");
  in_time.resume_session(ann, {"r"});
  sim.run();
  CHECK(in_time.resumed("r") == "gap");  // the room itself is gone: nobody was there, and it kept nothing
  sim.advance(2s);
  const auto too_late = sim.connect("bob");
  too_late.resume_session(bob, {"s"});
  sim.run();
  CHECK(too_late.error() == "resume_failed");
}

TEST_CASE("the previous token stays good until the first command after resumed", "[sessions]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.run();
  ann.hang_up(CloseReason::lost);
  const auto lost = sim.connect("ann");
  lost.resume_session(ann, {"r"});
  sim.run();
  lost.hang_up(CloseReason::lost);  // before the client had read the answer
  const auto again = sim.connect("ann");
  again.resume_session(ann, {"r"});
  sim.run();
  CHECK(again.resumed("r") == "recovered");
  CHECK(again.last("resumed")->text("connection") == id_of(ann));
  again.say("ping", "{}");
  sim.run();
  again.hang_up(CloseReason::lost);
  const auto third = sim.connect("ann");  // the newest token stands for the session as well
  third.resume_session(again, {"r"});
  sim.run();
  CHECK(third.resumed("r") == "recovered");
}

TEST_CASE("who cannot return has no session, and leaves at once", "[sessions]") {
  CheckedSim sim;
  sim.authenticator->decide = [](const Credentials& credentials) {
    auto who = ScriptedAuthenticator::judge(credentials.token);
    if (who) who.value().returns = credentials.token != "guest";
    return who;
  };
  const auto bob = sim.connect("bob");
  const auto guest = sim.connect("guest");
  bob.join("r");
  guest.join("r");
  sim.advance(1s);
  CHECK(guest.token().empty());
  guest.hang_up(CloseReason::lost);
  sim.advance(100ms);
  CHECK(bob.members("r") == Texts{"bob"});
}

TEST_CASE("of two connections with one token, one has the session in the end", "[sessions]") {
  CheckedSim sim({}, 3);
  const auto bob = sim.connect("bob", Dial().on(2));
  const auto ann = sim.connect("ann");
  bob.join("r");
  ann.join("r");
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
  const auto again = sim.connect("ann");
  again.resume_session(ann, {"a", "b", "d"});
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
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  bob.join("r");
  ann.join("r");
  sim.run();
  ann.hang_up(CloseReason::lost);
  for (int i = 1; i <= 5; ++i) bob.publish("r", std::to_string(i));
  sim.run();
  const auto again = sim.connect("ann");
  again.resume_session(ann, {"r"});
  sim.run();
  CHECK(again.resumed("r") == "gap");
  CHECK(again.messages("r") == Texts{"4", "5"});
  REQUIRE(again.view("r").stays.back().gaps.size() == 1);
  CHECK(again.view("r").stays.back().gaps[0].from == 1);
  CHECK(again.view("r").stays.back().gaps[0].to == 3);
}

TEST_CASE("a wrong epoch or a future seq is a gap", "[sessions]") {
  CheckedSim sim;
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  bob.join("r");
  ann.join("r");
  sim.run();
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
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.run();
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
  const auto none = sim.connect("ann", Dial().silent());
  none.resume_session(again, {"r"});
  sim.run();
  CHECK(none.close_code() == 4001);
}

TEST_CASE("resume comes once, before the first join", "[sessions]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.run();
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
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  bob.join("r");
  ann.join("r").aware("r", R"({"x":1})", 9, "cursor");
  sim.advance(1s);
  ann.hang_up(CloseReason::lost);
  const auto again = sim.connect("ann");
  again.resume_session(ann, {"r"});
  again.aware("r", R"({"x":2})", 1, "cursor");  // a reloaded page counts from 1
  sim.advance(1s);
  CHECK(bob.awareness("r").at("cursor") == R"({"x":2})");
  CHECK(bob.view("r").awareness.at("cursor").clock == 10);
}

TEST_CASE("a member in its grace keeps its place in a full room", "[sessions]") {
  Options options;
  options.room.room_capacity = 1;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.run();
  ann.hang_up(CloseReason::lost);
  const auto bob = sim.connect("bob");
  bob.join("r");
  sim.run();
  CHECK(bob.error() == "room_full");
  const auto again = sim.connect("ann");
  again.resume_session(ann, {"r"});
  sim.run();
  CHECK(again.resumed("r") == "recovered");
  again.hang_up();
  bob.join("r");
  sim.run();
  CHECK(bob.count("room_joined") == 1);
}

TEST_CASE("the session store is late, silent, refusing or throwing", "[sessions]") {
  CheckedSim sim;
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  bob.join("r");
  ann.join("r");
  sim.run();
  ann.hang_up(CloseReason::lost);
  sim.run();
  SECTION("late") {
    const auto again = sim.connect("ann");
    sim.sessions->answer = Answer::later(2s);
    again.resume_session(ann, {"r"});
    sim.advance(3s);
    CHECK(again.resumed("r") == "recovered");
  }
  SECTION("silent") {
    const auto again = sim.connect("ann");
    sim.sessions->answer = Answer::never();
    again.resume_session(ann, {"r"});
    sim.advance(6s);
    CHECK(again.error() == "unavailable");
    sim.sessions->answer = Answer::now();
    sim.sessions->withheld.release();
    again.join("s");
    sim.run();
    CHECK(again.count("room_joined") == 1);
  }
  SECTION("refusing") {
    sim.sessions->answer = Answer::unavailable();
    const auto again = sim.connect("ann");  // and is not kept out by it
    again.resume_session(ann, {"r"});
    sim.run();
    CHECK(again.error() == "unavailable");
    CHECK(sim.manager().metrics().session_store_failures > 0);
  }
  SECTION("throwing") {
    sim.sessions->answer = Answer::raise();
    const auto again = sim.connect("ann");
    again.resume_session(ann, {"r"});
    sim.run();
    CHECK(again.error() == "unavailable");
    again.hang_up(CloseReason::lost);
    sim.run();
  }
  sim.sessions->answer = Answer::now();
}

TEST_CASE("kept sessions are bounded, and nothing is left of them", "[sessions]") {
  Options options;
  options.max_connections = 2;
  options.connect_rate_per_ip = 0;
  CheckedSim sim(options);
  const auto bob = sim.connect("bob");
  bob.join("r");
  for (int i = 0; i < 5; ++i) {
    const auto one = sim.connect("u" + std::to_string(i));
    one.join("r");
    sim.run();
    one.hang_up(CloseReason::lost);
    sim.run();
  }
  CHECK(sim.manager().metrics().sessions_held == 2);
  CHECK(sim.manager().room({"", "r"})->size() == 3);
  bob.hang_up();
  sim.advance(10min);
  CHECK(sim.is_empty());
  CHECK(sim.manager().room_count() == 0);
  CHECK(sim.manager().metrics().sessions_held == 0);
  CHECK(sim.sessions->behind.session_count() <= 5);
}

TEST_CASE("a session resumes at another node, which was told nothing", "[sessions]") {
  Setup setup;
  setup.nodes = 2;
  setup.broker = std::make_shared<LoopbackBroker>();
  CheckedSim sim(std::move(setup));
  const auto bob = sim.connect("bob", Dial().at(1));
  const auto ann = sim.connect("ann");
  bob.join("r");
  ann.join("r");
  sim.advance(1s);
  ann.hang_up(CloseReason::lost);
  sim.run();
  bob.publish("r", "1");
  sim.run();
  const auto again = sim.connect("ann", Dial().at(1));
  again.resume_session(ann, {"r"});
  sim.advance(1s);
  CHECK(again.resumed("r") != "");
  CHECK(again.resumed("r") != "denied");
  CHECK(again.messages("r") == Texts{"1"});
}

TEST_CASE("an id of the embedder's own may come again: no session goes by it", "[sessions]") {
  CheckedSim sim;
  Dial chosen;
  chosen.id = ConnectionId(77);
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann", chosen);
  for (const auto& client : {bob, ann}) client.join("r");
  sim.advance(1s);
  CHECK(ann.token().empty());
  ann.hang_up(CloseReason::lost);
  sim.advance(1s);
  CHECK(bob.members("r") == Texts{"bob"});  // there is nothing to wait for
  const auto again = sim.connect(GENERATE(as<std::string>{}, "ann", "cat"), chosen);
  again.join("r");
  sim.advance(1s);
  CHECK(again.is_open());
  CHECK(sim.manager().room({"", "r"})->size() == 2);
  for (const auto& client : {bob, again}) client.hang_up();
  sim.run();
  CHECK(sim.is_empty());
  CHECK(sim.manager().metrics().sessions_held == 0);
}

}  // namespace
}  // namespace muster::test
