// Requests: what the program asks clients, each with one outcome.
#include "support/checked_sim.hpp"
#include "support/echo_protocol.hpp"

namespace muster::test {
namespace {

/// What became of requests, in words: also of those that end with the manager, after this.
struct Outcomes {
  const std::shared_ptr<Texts> kept = std::make_shared<Texts>();
  const Texts& all = *kept;
  RequestDone done() {
    return [told = kept](const Result<Payload>& result) {
      if (result) {
        told->emplace_back(result.value().view());
      } else {
        told->push_back(std::string(to_string(result.error().code)) +
                        (result.error().name.empty() ? "" : " " + result.error().name));
      }
    };
  }
};

std::string number_of(const Client& client) { return std::string(client.last("request")->value("request")); }
void answer(const Client& client, const std::string& number, const std::string& with) {
  client.raw(R"({"type":"answer","payload":{"request":)" + number + "," + with + "}}");
}

TEST_CASE("a client answers what the program asks, or refuses in its own words", "[requesting]") {
  CheckedSim sim;
  Outcomes outcomes;
  const auto ann = sim.connect("ann");
  sim.manager().request(ann.id(), "confirm", json(R"({"price":7})"), 5s, outcomes.done());
  sim.run();
  const auto told = ann.last("request");
  REQUIRE(told);
  CHECK(told->text("type") == "confirm");
  CHECK(told->value("data") == R"({"price":7})");
  CHECK(told->value("timeout_ms") == "5000");
  CHECK(outcomes.all.empty());
  answer(ann, number_of(ann), R"("data":{"agreed":true})");
  answer(ann, number_of(ann), R"("data":"again")");
  sim.run();
  CHECK(outcomes.all == Texts{R"({"agreed":true})"});

  Error refusal;
  sim.manager().request(ann.id(), "confirm", {}, 5s, [&](const Result<Payload>& result) { refusal = result.error(); });
  sim.run();
  answer(ann, number_of(ann), R"("error":{"code":"busy","message":"Later","details":{"in":3}})");
  sim.run();
  CHECK(refusal.code == errc::permission_denied);
  CHECK(refusal.name == "busy");
  CHECK(refusal.message == "Later");
  CHECK(refusal.details == json(R"({"in":3})"));
  sim.advance(10s);
  CHECK(outcomes.all.size() == 1);
}

TEST_CASE("an answer in bad form is refused, and one that nobody waits for is taken", "[requesting]") {
  CheckedSim sim;
  Outcomes outcomes;
  const auto ann = sim.connect("ann");
  sim.manager().request(ann.id(), "confirm", {}, 5s, outcomes.done());
  sim.run();
  const std::string number = number_of(ann);
  const Texts bad{R"({"data":1})",
                  R"({"request":)" + number + "}",
                  R"({"request":)" + number + R"(,"data":1,"error":{"code":"x"}})",
                  R"({"request":)" + number + R"(,"error":"x"})",
                  R"({"request":)" + number + R"(,"error":{"message":"x"}})",
                  R"({"request":)" + number + R"(,"error":{"code":"x","code":"y"}})",
                  R"({"request":)" + number + R"(,"error":{"code":7}})"};
  for (const std::string& payload : bad) {
    ann.say("answer", payload);
    sim.run();
    CHECK(ann.reply()->text("code") == "invalid_message");
  }
  CHECK(outcomes.all.empty());
  ann.say("answer", R"({"request":12345,"data":1})");
  sim.run();
  CHECK(ann.reply()->type() == "ack");
  answer(ann, number, R"("data":null)");
  sim.run();
  CHECK(outcomes.all == Texts{"null"});
}

TEST_CASE("a request that is not answered is late at its deadline, and what comes then is in vain", "[requesting]") {
  CheckedSim sim;
  Outcomes outcomes;
  const auto ann = sim.connect("ann");
  sim.manager().request(ann.id(), "confirm", {}, 5s, outcomes.done());
  sim.run();
  sim.advance(4999ms);
  CHECK(outcomes.all.empty());
  sim.advance(1ms);
  CHECK(outcomes.all == Texts{"unavailable"});
  answer(ann, number_of(ann), R"("data":1)");
  sim.run();
  CHECK(outcomes.all == Texts{"unavailable"});
}

TEST_CASE("who is gone for good is told as gone", "[requesting]") {
  CheckedSim sim;
  Outcomes outcomes;
  const auto ann = sim.connect("ann");
  sim.manager().request(ann.id(), "confirm", {}, 5s, outcomes.done());
  sim.run();
  ann.hang_up();
  sim.run();
  CHECK(outcomes.all == Texts{"not_found"});
  sim.manager().request(ann.id(), "confirm", {}, 5s, outcomes.done());
  sim.run();
  CHECK(outcomes.all == Texts{"not_found", "not_found"});
  sim.manager().request(ConnectionId(1), "confirm", {}, 5s, nullptr);
}

TEST_CASE("a request outlives its connection: whoever resumes the session is asked again", "[requesting]") {
  Options options;
  options.presence_grace = 2s;
  CheckedSim sim(options, 2);
  Outcomes outcomes;
  const auto ann = sim.connect("ann");
  sim.manager().request(ann.id(), "confirm", json("1"), 60s, outcomes.done());
  sim.run();
  ann.hang_up(CloseReason::lost);
  sim.advance(GENERATE(1s, 20s));
  CHECK(outcomes.all.empty());
  const auto back = sim.resume_session(ann, {}, Dial().on(GENERATE(std::size_t{0}, std::size_t{1})));
  REQUIRE(back.count("request") == 1);
  CHECK(number_of(back) == number_of(ann));
  CHECK(back.last("request")->value("data") == "1");
  CHECK(std::stoul(back.last("request")->value("timeout_ms")) < 60'000);
  SECTION("and answers") {
    answer(back, number_of(back), R"("data":2)");
    sim.run();
    CHECK(outcomes.all == Texts{"2"});
  }
  SECTION("or is late all the same") {
    sim.advance(60s);
    CHECK(outcomes.all == Texts{"unavailable"});
  }
  SECTION("or goes for good") {
    back.hang_up();
    sim.run();
    CHECK(outcomes.all == Texts{"not_found"});
  }
  sim.advance(60s);
  CHECK(outcomes.all.size() == 1);
}

TEST_CASE("a request is late at its deadline, also while nobody has resumed the session", "[requesting]") {
  CheckedSim sim;
  Outcomes outcomes;
  const auto ann = sim.connect("ann");
  sim.manager().request(ann.id(), "confirm", {}, 5s, outcomes.done());
  sim.run();
  ann.hang_up(CloseReason::lost);
  sim.advance(6s);
  CHECK(outcomes.all == Texts{"unavailable"});
  const auto back = sim.resume_session(ann, {});
  CHECK(back.count("request") == 0);
}

TEST_CASE("what a new connection was asked before it resumed a session goes on", "[requesting]") {
  CheckedSim sim;
  Outcomes outcomes;
  sim.manager().on_connected([&](Connection& connection) { connection.request("hello", {}, 60s, outcomes.done()); });
  const auto ann = sim.connect("ann");
  const std::string first = number_of(ann);
  ann.hang_up(CloseReason::lost);
  sim.run();
  const auto back = sim.connect("ann");
  const std::string second = number_of(back);
  CHECK(second != first);
  back.resume_session(ann, {});
  sim.run();
  answer(back, second, R"("data":"second")");
  answer(back, first, R"("data":"first")");
  sim.run();
  CHECK(outcomes.all == Texts{"\"second\"", "\"first\""});
}

TEST_CASE("requests are bounded, and a protocol that carries none says so", "[requesting]") {
  Options options;
  options.waiting_commands = 2;
  CheckedSim sim(Setup{options, 1, 1, nullptr, 1, {std::make_shared<EchoProtocol>()}});
  Outcomes outcomes;
  const auto ann = sim.connect("ann");
  for (int i = 0; i < 3; ++i) sim.manager().request(ann.id(), "confirm", {}, 5s, outcomes.done());
  sim.run();
  CHECK(outcomes.all == Texts{"too_many"});
  sim.advance(5s);
  CHECK(outcomes.all == Texts{"too_many", "unavailable", "unavailable"});
  sim.manager().request(ann.id(), "confirm", {}, 5s, outcomes.done());
  sim.run();
  CHECK(ann.count("request") == 3);

  const auto bob = sim.connect("bob", Dial().speaking(std::string(EchoProtocol().name())));
  Outcomes of_bob;
  sim.manager().request(bob.id(), "confirm", {}, 5s, of_bob.done());
  sim.run();
  CHECK(of_bob.all == Texts{"not_supported"});
}

TEST_CASE("a handler that is to answer in order may wait for seats and for its client's answer", "[requesting]") {
  CheckedSim sim;
  Outcomes outcomes;
  sim.manager().on("play", [&](Connection& connection, const Payload&, Responder respond) {
    const auto later = std::make_shared<Responder>(std::move(respond));
    connection.manager().join(
        connection.id(), "game", {}, [later, &sim, id = connection.id()](const Result<void>& seated) {
          REQUIRE(seated);
          sim.manager().request(id, "ready", {}, 5s, [later](const Result<Payload>& ready) { (*later)(ready); });
        });
  });
  const auto ann = sim.connect("ann");
  ann.raw(R"({"type":"play","id":1})");
  sim.run();
  CHECK(ann.members("game") == Texts{"ann"});
  answer(ann, number_of(ann), R"("data":{"ready":true})");
  ann.raw(R"({"type":"ping","id":2})");
  sim.run();
  REQUIRE(ann.count("ack") == 1);
  CHECK(ann.last("ack")->reply_to() == "1");
  CHECK(ann.last("ack")->value("ready") == "true");
  CHECK(ann.count("pong") == 1);

  ann.raw(R"({"type":"play","id":3})");
  sim.run();
  ann.raw(R"({"type":"ping","id":4})");
  sim.run();
  CHECK(ann.count("pong") == 1);  // it waits
  sim.advance(5s);
  CHECK(ann.error() == "unavailable");
  CHECK(ann.count("pong") == 2);
}

TEST_CASE("a client's answer is read behind commands that wait for the handler that asked", "[requesting]") {
  CheckedSim sim;
  sim.manager().on("buy", [&](Connection& connection, const Payload&, Responder respond) {
    const auto later = std::make_shared<Responder>(std::move(respond));
    connection.request("confirm", {}, 2s, [later](const Result<Payload>& said) { (*later)(said); });
  });
  const auto ann = sim.connect("ann");
  ann.raw(R"({"type":"buy","id":1})").raw(R"({"type":"ping","id":2})").raw(R"({"type":"ping","id":3})");
  sim.run();
  CHECK(ann.count("pong") == 0);
  answer(ann, number_of(ann), R"("data":{"yes":true})");
  sim.run();
  CHECK(ann.last("ack")->value("yes") == "true");
  CHECK(ann.count("pong") == 2);
}

TEST_CASE("a session that comes back again and again has no more requests open than may be", "[requesting]") {
  Options options;
  options.waiting_commands = 2;
  CheckedSim sim(options);
  Outcomes outcomes;
  sim.manager().on_connected([&](Connection& connection) { connection.request("hello", {}, 60s, outcomes.done()); });
  Client ann = sim.connect("ann");
  for (int i = 0; i < 4; ++i) {
    ann.hang_up(CloseReason::lost);
    sim.run();
    ann = sim.resume_session(ann, {});
  }
  CHECK(outcomes.all == Texts(3, "too_many"));
}

TEST_CASE("a handler asks its own client", "[requesting]") {
  CheckedSim sim;
  Outcomes outcomes;
  sim.manager().on("buy", [&](Connection& connection, const Payload&) {
    connection.request("confirm", json("1"), 5s, outcomes.done());
  });
  const auto ann = sim.connect("ann");
  ann.say("buy", "{}");
  sim.run();
  answer(ann, number_of(ann), R"("data":"yes")");
  sim.run();
  CHECK(outcomes.all == Texts{"\"yes\""});
}

}  // namespace
}  // namespace muster::test
