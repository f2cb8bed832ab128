// What outlives a connection: its seats, its presence, its awareness; for how long, and for whom.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

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

TEST_CASE("a session nobody takes up is told as left once, when the grace ends", "[sessions]") {
  CheckedSim sim;
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  ann.aware("r", R"({"x":1})", 4);
  sim.advance(1s);
  ann.hang_up(CloseReason::lost);
  sim.advance(9900ms);
  CHECK(bob.members("r") == Texts{"ann", "bob"});
  CHECK(bob.awareness("r").size() == 1);
  sim.advance(200ms);
  CHECK(bob.members("r") == Texts{"bob"});
  CHECK(bob.awareness("r").empty());
  CHECK(bob.view("r").nulls_told == 1);
  CHECK(bob.view("r").nulls.at(to_string(ann.id())) == 5);
  CHECK(sim.told("offline ann") == 1);
  CHECK_FALSE(sim.manager().is_online({"", "ann"}));
}

TEST_CASE("a logout and a leave are told at once", "[sessions]") {
  CheckedSim sim;
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  const auto cat = sim.member("cat", "r");
  ann.aware("r", "{}", 1);
  sim.advance(1s);
  ann.hang_up(CloseReason::normal);
  cat.leave("r");
  sim.advance(100ms);
  CHECK(bob.members("r") == Texts{"bob"});
  CHECK(bob.awareness("r").empty());
  CHECK(sim.told("offline ann") == 1);
  const auto again = sim.resume_session(ann, {"r"});
  CHECK(again.error() == "resume_failed");
}

TEST_CASE("a reload (1001) waits for the grace", "[sessions]") {
  CheckedSim sim;
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  sim.advance(1s);
  ann.hang_up(CloseReason::going_away);
  sim.advance(1s);
  CHECK(bob.members("r") == Texts{"ann", "bob"});
}

TEST_CASE("a token works once, for its user, within the window", "[sessions]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  const auto bob = sim.connect("bob");
  bob.resume_session(ann, {"r"});
  sim.run();
  CHECK(bob.error() == "resume_failed");
  const auto elsewhere = sim.resume_session(ann, {"r"}, Dial().of("acme"));
  CHECK(elsewhere.error() == "resume_failed");
  bob.say("resume", R"({"token":"00000000000000000000000000000000","rooms":{}})");
  sim.run();
  CHECK(bob.count("error") == 2);

  const auto first = sim.resume_session(ann, {"r"});
  CHECK(first.resumed("r") == "recovered");
  first.say("ping", "{}");  // the first command after resumed: the answer has arrived
  sim.run();
  first.hang_up(CloseReason::lost);
  const auto late = sim.resume_session(ann, {"r"});
  CHECK(late.error() == "resume_failed");
  late.join("r");  // and goes on as new
  sim.run();
  CHECK(late.count("room_joined") == 1);
}

TEST_CASE("a token is good for the window after the drop, and not beyond", "[sessions]") {
  Options options;
  options.heartbeat = 0s;
  CheckedSim sim(options);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "s");
  sim.advance(24h);  // however long it was connected
  for (const auto& client : {ann, bob}) client.hang_up(CloseReason::lost);
  sim.advance(299s);
  const auto in_time = sim.resume_session(ann, {"r"});
  CHECK(in_time.resumed("r") == "gap");  // the room itself is gone: nobody was there, and it kept nothing
  sim.advance(2s);
  const auto too_late = sim.resume_session(bob, {"s"});
  CHECK(too_late.error() == "resume_failed");
}

TEST_CASE("the previous token stays good until the first command after resumed", "[sessions]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  const auto lost = sim.resume_session(ann, {"r"});
  lost.hang_up(CloseReason::lost);  // before the client had read the answer
  const auto again = sim.resume_session(ann, {"r"});
  CHECK(again.resumed("r") == "recovered");
  CHECK(again.last("resumed")->text("connection") == to_string(ann.id()));
  again.say("ping", "{}");
  sim.run();
  again.hang_up(CloseReason::lost);
  const auto third = sim.resume_session(again, {"r"});  // the newest token stands for the session as well
  CHECK(third.resumed("r") == "recovered");
}

TEST_CASE("who cannot return has no session, and leaves at once", "[sessions]") {
  CheckedSim sim;
  sim.authenticator->decide = [](const Credentials& credentials) {
    auto who = ScriptedAuthenticator::judge(credentials.token);
    if (who) who.value().returns = credentials.token != "guest";
    return who;
  };
  const auto bob = sim.member("bob", "r");
  const auto guest = sim.member("guest", "r");
  sim.advance(1s);
  CHECK(guest.token().empty());
  guest.hang_up(CloseReason::lost);
  sim.advance(100ms);
  CHECK(bob.members("r") == Texts{"bob"});
}

TEST_CASE("a member in its grace keeps its seat in a full room", "[sessions]") {
  Options options;
  options.room.room_capacity = 1;
  CheckedSim sim(options);
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  const auto bob = sim.member("bob", "r");
  CHECK(bob.error() == "room_full");
  const auto again = sim.resume_session(ann, {"r"});
  CHECK(again.resumed("r") == "recovered");
  again.hang_up();
  bob.join("r");
  sim.run();
  CHECK(bob.count("room_joined") == 1);
}

TEST_CASE("the session store is late, silent, refusing or throwing", "[sessions]") {
  CheckedSim sim;
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  sim.run();
  SECTION("late") {
    const auto again = sim.connect("ann");
    sim.sessions->answer = Answer::later(2s);
    again.resume_session(ann, {"r"});
    sim.advance(5s);  // it takes the session, then reads its queue
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
    const auto again = sim.resume_session(ann, {"r"});  // and is not kept out by it
    CHECK(again.error() == "unavailable");
    CHECK(sim.manager().metrics().session_store_failures > 0);
  }
  SECTION("throwing") {
    sim.sessions->answer = Answer::raise();
    const auto again = sim.resume_session(ann, {"r"});
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
  const auto bob = sim.member("bob", "r");
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

TEST_CASE("the store never has a resume token, only what it hashes to", "[sessions]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.hang_up(CloseReason::lost);
  sim.run();
  std::optional<errc> refused;
  sim.sessions->behind.take(ann.token(), {"", "ann"}, ConnectionId(9), sim.now(),
                            Reply<Result<Session>>([&refused](const Result<Session>& taken) {
                              if (!taken) refused = taken.error().code;
                            }));
  CHECK(refused == errc::resume_failed);
  CHECK(sim.resume_session(ann, {}).last("resumed"));
}

}  // namespace
}  // namespace muster::test
