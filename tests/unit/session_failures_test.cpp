// Sessions and queues when something fails in between: a token is not spent in vain, a revocation reaches everything,
// a queue is read again.
#include "muster/memory/loopback_broker.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("a token is good again after a resume that found the store silent", "[sessions][failures]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  sim.run();
  const auto second = sim.connect("ann");
  sim.sessions->answer = Answer::later(6s);  // it takes the session, and says so too late
  second.resume_session(ann, {"r"});
  sim.advance(5500ms);
  REQUIRE(second.error() == "unavailable");
  sim.sessions->answer = Answer::now();
  sim.advance(2s);
  second.resume_session(ann, {"r"});
  sim.run();
  CHECK(second.resumed("r") == "recovered");
}

TEST_CASE("a token is good again when its taker went before it had the session", "[sessions][failures]") {
  CheckedSim sim(Options{}, 2);
  const auto ann = sim.member("ann", "r");  // still there, as a ghost
  const auto second = sim.connect("ann", Dial().on(1));
  second.resume_session(ann, {"r"});
  sim.schedule.executors[1]->loop().run_ready();  // taken; the old connection is asked to part
  second.hang_up(CloseReason::lost);
  sim.run();
  const auto third = sim.connect("ann", Dial().on(1));
  third.resume_session(ann, {"r"});
  sim.run();
  REQUIRE(third.last("resumed"));
  CHECK(third.last("resumed")->text("connection") == to_string(ann.id()));
}

TEST_CASE("no token is handed out for a session that the store refused", "[sessions][failures]") {
  CheckedSim sim;
  sim.sessions->answer = GENERATE(Answer::unavailable(), Answer::raise());
  const auto ann = sim.member("ann", "r");
  CHECK(ann.count("room_joined") == 1);  // it is no reason to keep anybody out
  CHECK(ann.token().empty());
  ann.say("resume", R"({"token":"x","rooms":{}})");
  sim.run();
  CHECK(ann.error() == "unavailable");
  sim.sessions->answer = Answer::now();
  CHECK_FALSE(sim.connect("bob").token().empty());
}

TEST_CASE("a revocation reaches sessions that wait in the store", "[sessions][failures]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r", Dial().of("acme"));
  const auto bob = sim.member("bob", "r", Dial().of("acme"));
  ann.hang_up(CloseReason::lost);
  bob.hang_up(CloseReason::lost);
  sim.advance(30s);  // beyond the grace: nothing of them is left but their tokens
  bool all = false;
  SECTION("by user") { (void)sim.manager().revoke(UserKey{"acme", "ann"}); }
  SECTION("by session") { (void)sim.manager().revoke(ann.id()); }
  SECTION("by tenant") {
    (void)sim.manager().revoke_tenant("acme");
    all = true;
  }
  sim.run();
  const auto again = sim.resume_session(ann, {"r"}, Dial().of("acme"));
  CHECK(again.error() == "resume_failed");
  const auto other = sim.resume_session(bob, {"r"}, Dial().of("acme"));
  CHECK(other.error() == (all ? "resume_failed" : ""));
}

TEST_CASE("a revocation by a session's id reaches it whichever connection spoke for it last", "[sessions][failures]") {
  CheckedSim sim;
  const auto ann = sim.member("ann", "r");
  ann.hang_up(CloseReason::lost);
  const auto again = sim.resume_session(ann, {"r"});
  REQUIRE(again.last("resumed"));
  again.hang_up(CloseReason::lost);
  sim.advance(30s);
  (void)sim.manager().revoke(ann.id());
  sim.run();
  const auto third = sim.connect("ann");
  third.resume_session(again, {"r"});
  sim.run();
  CHECK(third.error() == "resume_failed");
}

TEST_CASE("a resume while another thread takes its old connection down ends", "[sessions][failures]") {
  CheckedSim sim(Options{}, 3);
  const auto first = sim.member("ann", "r", Dial().on(0));
  first.hang_up(CloseReason::lost);
  const auto ann = sim.resume_session(first, {"r"}, Dial().on(0));
  const auto second = sim.connect("ann", Dial().on(2));
  sim.advance(1s);
  ann.executor()->loop().stop();
  bool inside = false;
  sim.hook = [&](const std::string& line, Connection*) {
    if (line.rfind("left ann r", 0) != 0 || std::exchange(inside, true)) return;
    second.resume_session(ann, {"r"});
    sim.schedule.executors[2]->loop().run_ready();
    CHECK(second.error() == "unavailable");
  };
  sim.manager().sweep_now(nullptr);
  sim.run();
  CHECK(inside);
  second.resume_session(ann, {"r"});
  sim.run();
  CHECK(second.last("resumed"));
}

TEST_CASE("a queue that could not be read is read again, without anything new in it", "[offline][failures]") {
  CheckedSim sim;
  sim.manager().send_to_user({"", "ann"}, json("1"), Delivery::queued(), nullptr);
  sim.run();
  SECTION("the first reading fails") {
    sim.sessions->answer = Answer::unavailable();
    const auto ann = sim.connect("ann");
    sim.advance(1s);
    CHECK(ann.count("direct") == 0);
    sim.sessions->answer = Answer::now();
    sim.advance(10s);
    CHECK(ann.count("direct") == 1);
  }
  SECTION("a later one is never answered") {
    const auto ann = sim.connect("ann");
    REQUIRE(ann.count("direct") == 1);
    sim.manager().send_to_user({"", "ann"}, json("2"), Delivery::queued(), nullptr);
    sim.sessions->answer = Answer::never();
    sim.run();
    CHECK(ann.count("direct") == 1);
    sim.sessions->answer = Answer::now();
    sim.advance(11s);
    CHECK(ann.count("direct") == 2);
  }
}

TEST_CASE("a broken pipe gives its blocks up on its executor, whoever holds the connection", "[ending][failures]") {
  CheckedSim sim(without_sessions());
  const auto pipe = std::make_shared<MemoryTransport>(sim.schedule.executors[0]);
  std::shared_ptr<Connection> held;
  OpenRequest request;
  request.token = "ann";
  request.token_source = TokenSource::authorization_header;
  REQUIRE(pipe->open(sim.shared_manager(), std::move(request),
                     [&](const Decision& decision) { held = decision.connection; }));
  sim.run();
  REQUIRE(held);
  pipe->fail_write(1);
  (void)sim.manager().send(held->id(), json(quoted(std::string(10'000, 'x'))));
  sim.run();
  CHECK(sim.manager().connection_count() == 0);
  (void)sim.member("bob", "r");  // the executor has gone on, and holds nothing of that turn itself
  CHECK(sim.manager().metrics().waiting_bytes < 10'000);
}

}  // namespace
}  // namespace muster::test
