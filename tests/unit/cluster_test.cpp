// Several managers that share rooms through a broker.
#include "muster/memory/loopback_broker.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

struct Cluster {
  explicit Cluster(Options options = {}, std::size_t nodes = 2)
      : broker(std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{}, 1)),
        sim(Setup{std::move(options), 2, nodes, broker, 1}),
        ann(sim.connect("ann", Dial().at(0).on(0))),
        bob(sim.connect("bob", Dial().at(1).on(1))) {}
  void join() {
    ann.join("r");
    sim.run();
    bob.join("r");
    sim.advance(1s);
  }
  std::shared_ptr<LoopbackBroker> broker;
  CheckedSim sim;
  Client ann;
  Client bob;
};

TEST_CASE("members on several nodes see one order", "[cluster]") {
  Cluster cluster;
  cluster.join();
  for (int i = 0; i < 20; ++i) {
    cluster.ann.publish_echo("r", std::to_string(i));
    cluster.bob.publish_echo("r", std::to_string(100 + i));
    if (i % 3 == 0) cluster.sim.run();
  }
  cluster.sim.run();
  CHECK(cluster.ann.messages("r").size() == 40);
  CHECK(cluster.ann.messages("r") == cluster.bob.messages("r"));
  CHECK(cluster.ann.seqs("r") == cluster.bob.seqs("r"));
  CHECK(cluster.ann.last("ack")->number("seq") > 0);
}

TEST_CASE("members and awareness of other nodes are seen, and go when their connection goes", "[cluster]") {
  Cluster cluster;
  cluster.join();
  CHECK(cluster.ann.members("r") == Texts{"ann", "bob"});
  CHECK(cluster.bob.members("r") == Texts{"ann", "bob"});
  CHECK(cluster.sim.manager(0).room({"", "r"})->size() == 2);
  cluster.ann.aware("r", R"({"x":1})", 1, "a");
  cluster.sim.advance(1s);
  CHECK(cluster.bob.awareness("r") == States{{"a", R"({"x":1})"}});
  cluster.ann.hang_up();
  cluster.sim.advance(1s);
  CHECK(cluster.bob.members("r") == Texts{"bob"});
  CHECK(cluster.bob.awareness("r").empty());
  CHECK(cluster.bob.view("r").nulls_told == 1);
}

TEST_CASE("who joins on another node later starts at the room's position", "[cluster]") {
  Cluster cluster;
  cluster.ann.join("r");
  cluster.sim.run();
  for (int i = 0; i < 5; ++i) cluster.ann.publish("r", std::to_string(i));
  cluster.ann.aware("r", "{}", 1, "a");
  cluster.sim.run();
  cluster.bob.join("r");
  cluster.sim.advance(1s);
  CHECK(cluster.bob.last("room_joined")->number("seq") == 5);
  CHECK(cluster.bob.last("room_joined")->number("epoch") == cluster.ann.last("room_joined")->number("epoch"));
  CHECK(cluster.bob.messages("r").empty());
  CHECK(cluster.bob.awareness("r").size() == 1);
  cluster.ann.publish("r", "5");
  cluster.sim.run();
  CHECK(cluster.bob.messages("r") == Texts{"5"});
}

TEST_CASE("who comes back to a room sees what members at other nodes do still", "[cluster]") {
  Cluster cluster;
  cluster.join();
  cluster.ann.aware("r", R"({"x":1})", 1, "a");
  cluster.sim.advance(1s);
  cluster.bob.leave("r");
  cluster.sim.advance(1s);
  cluster.bob.join("r");
  cluster.sim.advance(1s);
  CHECK(cluster.bob.awareness("r") == States{{"a", R"({"x":1})"}});
  cluster.ann.aware("r", "null", 2, "a");
  cluster.sim.advance(1s);
  CHECK(cluster.bob.awareness("r").empty());
}

TEST_CASE("a join that is given up ends no subscription that another waits for", "[cluster]") {
  Cluster cluster;
  cluster.bob.join("r");
  cluster.sim.run();
  const auto cat = cluster.sim.connect("cat", Dial().at(0).on(0));
  cluster.broker->hold();
  cluster.ann.join("r");
  cat.join("r");
  cluster.sim.run();
  cluster.ann.hang_up();
  cluster.sim.run();
  cluster.broker->resume();
  cluster.sim.run();
  REQUIRE(cat.count("room_joined") == 1);
  cluster.bob.publish("r", "1");
  cluster.sim.run();
  CHECK(cat.messages("r") == Texts{"1"});
  cat.leave("r");
  cluster.sim.run();
  CHECK(cluster.sim.broker->unsubscribed == 1);
}

TEST_CASE("a publish that the broker does not take is answered unavailable", "[cluster]") {
  Cluster cluster;
  cluster.join();
  cluster.broker->fail(true);
  cluster.ann.publish("r", "1");
  cluster.sim.run();
  CHECK(cluster.ann.error() == "unavailable");
  cluster.broker->fail(false);
  cluster.ann.publish("r", "2");
  cluster.sim.run();
  CHECK(cluster.bob.messages("r") == Texts{"2"});
}

TEST_CASE("a join that the broker does not answer is unavailable after answer_timeout", "[cluster]") {
  Cluster cluster;
  cluster.sim.broker->answer = Answer::never();
  cluster.ann.join("r");
  cluster.sim.run();
  CHECK(cluster.ann.count("room_joined") == 0);
  cluster.sim.advance(5s);
  CHECK(cluster.ann.error() == "unavailable");
  cluster.sim.broker->answer = Answer::now();
  cluster.ann.join("r");
  cluster.sim.run();
  CHECK(cluster.ann.count("room_joined") == 1);
}

TEST_CASE("a publish that the broker never answers is unavailable after answer_timeout", "[cluster]") {
  Cluster cluster;
  cluster.join();
  cluster.sim.broker->answer = Answer::never();
  cluster.ann.publish("r", "1");
  cluster.sim.advance(5s);
  CHECK(cluster.ann.error() == "unavailable");
}

TEST_CASE("messages that the broker lost are named as a gap", "[cluster]") {
  Cluster cluster;
  cluster.join();
  cluster.ann.publish("r", "1");
  cluster.sim.run();
  cluster.broker->lose_next(2);
  cluster.ann.publish("r", "2").publish("r", "3");
  cluster.sim.run();
  cluster.ann.publish("r", "4");
  cluster.sim.run();
  CHECK(cluster.bob.messages("r") == Texts{"1", "4"});
  const auto& stay = cluster.bob.view("r").stays.back();
  std::size_t named = 0;
  for (const auto& gap : stay.gaps) named += gap.to - gap.from + 1;
  CHECK(named == 2);
  CHECK(stay.known == 4);
}

TEST_CASE("deliveries that the broker delays arrive in order when it is back", "[cluster]") {
  Cluster cluster;
  cluster.join();
  cluster.broker->hold();
  for (int i = 0; i < 5; ++i) cluster.ann.publish("r", std::to_string(i));
  cluster.sim.run();
  CHECK(cluster.bob.messages("r").empty());
  cluster.broker->resume();
  cluster.sim.run();
  CHECK(cluster.bob.messages("r") == Texts{"0", "1", "2", "3", "4"});
}

TEST_CASE("a node that shuts down leaves nothing of its members at the others", "[cluster]") {
  Cluster cluster;
  cluster.join();
  cluster.ann.aware("r", "{}", 1, "a");
  cluster.sim.advance(1s);
  cluster.sim.manager(0).shutdown(nullptr);
  cluster.sim.advance(1s);
  CHECK(cluster.bob.members("r") == Texts{"bob"});
  CHECK(cluster.bob.awareness("r").empty());
  CHECK(cluster.sim.manager(1).room({"", "r"})->size() == 1);
}

TEST_CASE("clients are closed and cleaned up without waiting for a broker that does not answer", "[cluster]") {
  Cluster cluster;
  cluster.join();
  cluster.sim.broker->answer = Answer::never();
  cluster.broker->hold();
  cluster.ann.publish("r", "1");
  cluster.sim.run();
  cluster.ann.hang_up();
  cluster.sim.run();
  CHECK(cluster.sim.is_empty(0));
  CHECK(cluster.sim.told("disconnected ann normal") == 1);
  cluster.broker->resume();
}

TEST_CASE("a subscription that nobody waits for any more is ended", "[cluster]") {
  Cluster cluster;
  cluster.sim.broker->answer = Answer::later(6s);
  cluster.ann.join("r");
  cluster.sim.advance(5500ms);
  REQUIRE(cluster.ann.error() == "unavailable");
  CHECK(cluster.sim.broker->unsubscribed == 0);
  cluster.sim.advance(2s);
  CHECK(cluster.sim.broker->unsubscribed == 1);
  cluster.sim.broker->answer = Answer::now();
  cluster.ann.join("r");
  cluster.sim.run();
  CHECK(cluster.ann.count("room_joined") == 1);
}

TEST_CASE("a subscription whose asker is gone is ended when it is answered", "[cluster]") {
  Cluster cluster;
  cluster.broker->hold();
  cluster.ann.join("r");
  cluster.sim.run();
  cluster.ann.hang_up();
  cluster.sim.run();
  CHECK(cluster.sim.broker->unsubscribed == 0);
  CHECK(cluster.sim.manager(0).metrics().rooms == 1);
  cluster.broker->resume();
  cluster.sim.run();
  CHECK(cluster.sim.broker->unsubscribed == 1);
  CHECK(cluster.sim.manager(0).metrics().rooms == 0);
}

/// Answers when the test does, and says what the test says.
struct PuppetBroker final : Broker {
  NodeId attach(std::weak_ptr<Sink> to) override {
    sink = std::move(to);
    return 1;
  }
  void detach(NodeId) override {}
  void publish(BrokerMessage, Reply<Result<Position>>) override {}
  void subscribe(NodeId, RoomKey, std::optional<Position>, Reply<Result<Position>> done) override {
    asked.push_back(std::move(done));
  }
  void unsubscribe(NodeId, const RoomKey&) override { ++unsubscribed; }
  void replicate(NodeId, BrokerState) override {}
  void say_there(ConnectionId member, const std::string& user) const {
    BrokerState state;
    state.room = {"", "r"};
    state.key = to_string(member);
    state.user = user;
    state.owner = member;
    state.version = 1;
    state.value = Payload();
    sink.lock()->on_state(state);
  }
  void say(std::uint64_t seq) const {
    BrokerMessage message;
    message.room = {"", "r"};
    message.position = {7, seq};
    message.data = json(std::to_string(seq));
    sink.lock()->on_message(message);
  }
  std::weak_ptr<Sink> sink;
  std::vector<Reply<Result<Position>>> asked;
  std::size_t unsubscribed = 0;
};

TEST_CASE("a question that is kept for ever keeps no room but its own", "[cluster]") {
  const auto broker = std::make_shared<PuppetBroker>();
  Options options;
  options.presence_grace = 0ms;
  CheckedSim sim(Setup{options, 1, 1, broker, 1});
  const auto ann = sim.connect("ann");
  for (const char* room : {"a", "b"}) {
    ann.join(room);
    sim.run();
    broker->asked.back()(Position{7, 4});
    sim.run();
  }
  ann.hang_up(CloseReason::lost);
  sim.run();
  REQUIRE(broker->unsubscribed == 2);
  const auto again = sim.resume_session(ann, {"a", "b"});
  REQUIRE(broker->asked.size() == 3);
  broker->asked[2](Position{7, 4});
  sim.run();
  REQUIRE(broker->asked.size() == 4);  // for b, and it is never answered
  sim.advance(options.answer_timeout + 1s);
  CHECK(again.resumed("a") == "recovered");
  CHECK(again.resumed("b") == "denied");
  again.leave("a");
  sim.run();
  CHECK(broker->unsubscribed == 3);
  CHECK(sim.manager().room_count() == 1);
  broker->asked.clear();
  sim.run();
  CHECK(sim.manager().room_count() == 0);
}

TEST_CASE("what comes before the answer to a subscription is of one before it", "[cluster]") {
  const auto broker = std::make_shared<PuppetBroker>();
  CheckedSim sim(Setup{{}, 1, 1, broker, 1});
  const auto ann = sim.connect("ann");
  ann.join("r");
  sim.run();
  REQUIRE(broker->asked.size() == 1);
  broker->say_there(ConnectionId(1), "eve");
  broker->say(9);
  broker->sink.lock()->on_lost({"", "r"}, {7, 9}, {7, 12});
  broker->asked[0](Position{7, 4});
  sim.run();
  REQUIRE(ann.count("room_joined") == 1);
  CHECK(ann.last("room_joined")->number("seq") == 4);
  broker->say_there(ConnectionId(2), "bob");
  broker->say(5);
  sim.advance(1s);
  CHECK(ann.members("r") == Texts{"ann", "bob"});
  CHECK(ann.messages("r") == Texts{"5"});
}

TEST_CASE("who joins while the room before is unsubscribed hears what is published", "[cluster]") {
  CheckedSim sim(Setup{without_sessions(), 2, 1, std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{}, 1), 1});
  const auto ann = sim.member("ann", "r", Dial().on(0));
  const auto bob = sim.connect("bob", Dial().on(1));
  bool inside = false;
  sim.broker->before_unsubscribe = [&] {
    if (std::exchange(inside, true)) return;
    bob.join("r");
    sim.schedule.executors[1]->loop().run_ready(50);
  };
  ann.leave("r");
  sim.run();
  REQUIRE(inside);
  REQUIRE(bob.count("room_joined") == 1);
  sim.manager().publish({"", "r"}, json("1"));
  sim.run();
  CHECK(bob.messages("r") == Texts{"1"});
}

TEST_CASE("an unsubscribe that fails leaves the room alone that was made anew meanwhile", "[cluster]") {
  CheckedSim sim(Setup{without_sessions(), 3, 1, std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{}, 1), 1});
  const auto ann = sim.connect("ann", Dial().on(0));
  const auto bob = sim.connect("bob", Dial().on(1));
  const auto cat = sim.connect("cat", Dial().on(2));
  auto& last = *sim.schedule.executors[2];
  sim.broker->answer = Answer::unavailable();
  cat.join("r");
  while (sim.manager().room_count() == 0) REQUIRE(last.loop().run_one());
  last.hold(true);  // with the task that looks whether the room is to end
  sim.broker->answer = Answer::now();
  ann.join("r");
  sim.run();
  bool inside = false;
  sim.broker->before_unsubscribe = [&] {
    if (std::exchange(inside, true)) return;
    bob.join("r");
    sim.schedule.executors[1]->loop().run_ready(50);
    throw std::runtime_error("the broker fails");
  };
  ann.leave("r");
  sim.run();
  REQUIRE(inside);
  REQUIRE(bob.count("room_joined") == 1);
  last.hold(false);
  sim.run();
  sim.manager().publish({"", "r"}, json("1"));
  sim.run();
  CHECK(bob.messages("r") == Texts{"1"});
}

TEST_CASE("what another node told an executor that has stopped is told by the others", "[cluster]") {
  CheckedSim sim(Setup{without_sessions(), 3, 2, std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{}, 1), 1});
  const auto bob = sim.member("bob", "r", Dial().at(1).on(1));
  const auto dan = sim.member("dan", "r", Dial().at(1).on(2));
  const auto ann = sim.connect("ann", Dial().at(0).on(0));
  sim.advance(1s);
  ann.join("r");
  ann.executor()->loop().run_ready();
  dan.executor()->loop().stop();  // with the task that was to tell of ann
  sim.manager(1).sweep_now(nullptr);
  sim.advance(1s);
  CHECK(bob.members("r") == Texts{"ann", "bob"});
  bob.hang_up();
  sim.advance(1s);
}

TEST_CASE("a state flush that went with its executor is made up for", "[cluster]") {
  CheckedSim sim(without_sessions(), 2);
  const auto ann = sim.member("ann", "r", Dial().on(0));
  const auto bob = sim.member("bob", "r", Dial().on(1));
  sim.advance(1s);
  const auto cat = sim.connect("cat", Dial().on(0));
  cat.join("r");
  while (sim.manager().room({"", "r"})->size() < 3) REQUIRE(ann.executor()->loop().run_one());
  ann.executor()->loop().stop();  // with the flush that was to tell of cat
  sim.manager().sweep_now(nullptr);
  sim.advance(1s);
  CHECK(bob.members("r") == Texts{"bob"});
  const auto dan = sim.member("dan", "r", Dial().on(1));
  sim.advance(1s);
  CHECK(bob.members("r") == Texts{"bob", "dan"});
}

TEST_CASE("a revocation ends connections of its own manager, and others' only there", "[cluster]") {
  Cluster cluster;
  const auto here = cluster.sim.connect("eve", Dial().at(0).on(0));
  const auto there = cluster.sim.connect("eve", Dial().at(1).on(1));
  CHECK(cluster.sim.manager(0).revoke(UserKey{"", "eve"}) == 1);
  cluster.sim.run();
  CHECK(here.close_code() == 4003);
  CHECK(there.is_open());
  there.hang_up(CloseReason::lost);
  cluster.sim.run();
  const auto again = cluster.sim.connect("eve", Dial().at(1).on(1));
  again.resume_session(there, {});
  cluster.sim.run();
  CHECK(again.last("resumed"));
}

TEST_CASE("a server's publish is answered once, when the broker has answered", "[cluster]") {
  Cluster cluster;
  cluster.join();
  const bool taken = GENERATE(true, false);
  if (taken) cluster.broker->hold();
  if (!taken) cluster.broker->fail(true);
  Texts answers;
  cluster.sim.manager().room({"", "r"})->publish(
      json("1"), Delivery::reliable(), {}, [&](const Result<Published>& result) {
        answers.push_back(result ? "taken" : std::string(to_string(result.error().code)));
      });
  cluster.sim.advance(1min);
  CHECK(answers == (taken ? Texts{} : Texts{"unavailable"}));
  cluster.broker->resume();
  cluster.broker->fail(false);
  cluster.sim.advance(1min);
  CHECK(answers == Texts{taken ? "taken" : "unavailable"});
}

}  // namespace
}  // namespace muster::test
