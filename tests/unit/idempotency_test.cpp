// Publishes with an idempotency_key: said again they are answered as before, and delivered once.
#include "muster/core/room/idempotency.hpp"

#include "muster/memory/loopback_broker.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

const Client& publish_keyed(const Client& who, std::string_view data, std::string_view key,
                            std::string_view room = "r") {
  return who.publish(room, data, R"(,"idempotency_key":)" + quoted(key));
}

Numbers ack_seqs(const Client& who) {
  Numbers seqs;
  for (const Told& ack : who.all("ack")) seqs.push_back(ack.number("seq"));
  return seqs;
}

struct Two {
  explicit Two(Options options = {}) : sim(std::move(options)), ann(sim.connect("ann")), bob(sim.connect("bob")) {
    ann.join("r");
    bob.join("r");
    sim.run();
  }
  CheckedSim sim;
  Client ann;
  Client bob;
};

TEST_CASE("an idempotency_key repeated returns the first seq and epoch, and delivers nothing again", "[idempotency]") {
  Two two;
  publish_keyed(two.ann, "1", "k");
  two.ann.publish("r", "2");
  publish_keyed(two.ann, "3", "k");
  two.sim.run();
  REQUIRE(ack_seqs(two.ann) == Numbers{1, 2, 1});
  CHECK(two.ann.all("ack")[0].number("epoch") == two.ann.all("ack")[2].number("epoch"));
  CHECK(two.bob.messages("r") == Texts{"1", "2"});
  publish_keyed(two.ann, "4", "another");
  two.sim.run();
  CHECK(two.bob.messages("r") == Texts{"1", "2", "4"});
}

TEST_CASE("an idempotency_key is its user's, also from another connection, and its room's", "[idempotency]") {
  Two two;
  two.ann.join("s");
  publish_keyed(two.ann, "1", "k");
  publish_keyed(two.bob, "2", "k");
  publish_keyed(two.ann, "3", "k", "s");
  two.sim.run();
  CHECK(two.bob.messages("r") == Texts{"1"});
  CHECK(two.ann.messages("r") == Texts{"2"});
  CHECK(two.sim.manager().room({"", "s"})->position().seq == 1);
  two.ann.hang_up();
  const auto again = two.sim.connect("ann");
  again.join("r");
  two.sim.run();
  publish_keyed(again, "1", "k");
  two.sim.run();
  CHECK(ack_seqs(again) == Numbers{1});
  CHECK(two.bob.messages("r") == Texts{"1"});
}

TEST_CASE("an idempotency_key is forgotten after idempotency_age", "[idempotency]") {
  Options options;
  options.idempotency_age = 10s;
  options.heartbeat = 0s;
  Two two(options);
  publish_keyed(two.ann, "1", "k");
  two.sim.advance(9900ms);
  publish_keyed(two.ann, "2", "k");
  two.sim.run();
  CHECK(two.bob.messages("r") == Texts{"1"});
  two.sim.advance(100ms);  // a repeat does not extend it
  publish_keyed(two.ann, "3", "k");
  two.sim.run();
  CHECK(two.bob.messages("r") == Texts{"1", "3"});
  CHECK(ack_seqs(two.ann) == Numbers{1, 1, 2});
}

TEST_CASE("an idempotency_key of idempotency_key_bytes is taken, a longer one is too_large or names the member",
          "[idempotency]") {
  Options options;
  options.idempotency_key_bytes = 10;
  Two two(options);
  publish_keyed(two.ann, "1", std::string(10, 'k'));
  two.sim.run();
  CHECK(two.bob.messages("r") == Texts{"1"});
  publish_keyed(two.ann, "2", std::string(11, 'k'));
  two.sim.run();
  REQUIRE(two.ann.error() == "too_large");
  CHECK(two.ann.last("error")->text("message") == "idempotency_key may have 10 bytes");
  publish_keyed(two.ann, "3", std::string(65, 'k'));  // more than the protocol takes
  two.sim.run();
  REQUIRE(two.ann.error() == "invalid_message");
  CHECK(two.ann.last("error")->text("message").find("'idempotency_key'") != std::string::npos);
  CHECK(two.bob.messages("r") == Texts{"1"});
}

TEST_CASE("without idempotency_keys a key is refused rather than ignored", "[idempotency]") {
  Options options;
  options.idempotency_keys = 0;
  Two two(options);
  publish_keyed(two.ann, "1", "k");
  two.sim.run();
  CHECK(two.ann.error() == "not_supported");
  CHECK(two.bob.messages("r").empty());
}

TEST_CASE("a room remembers idempotency_keys, and who floods it forgets its own", "[idempotency]") {
  Options options;
  options.idempotency_keys = 8;
  options.message_rate = 0;
  Two two(options);
  publish_keyed(two.bob, "0", "k");
  for (int i = 0; i < 8; ++i) publish_keyed(two.ann, std::to_string(i), "k" + std::to_string(i));
  two.sim.run();
  const auto seq = two.sim.manager().room({"", "r"})->position().seq;
  publish_keyed(two.bob, "0", "k");
  for (int i = 1; i < 8; ++i) publish_keyed(two.ann, std::to_string(i), "k" + std::to_string(i));
  two.sim.run();
  CHECK(two.sim.manager().room({"", "r"})->position().seq == seq);  // all of them known: 1 of bob, 7 of ann
  publish_keyed(two.ann, "0", "k0");
  two.sim.run();
  CHECK(two.sim.manager().room({"", "r"})->position().seq == seq + 1);
}

TEST_CASE("a new room epoch forgets the keys", "[idempotency]") {
  Options options;
  options.room.history_messages = 0;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.join("r");
  publish_keyed(ann, "1", "k");
  ann.leave("r");
  ann.join("r");
  publish_keyed(ann, "2", "k");
  sim.run();
  REQUIRE(ann.count("ack") == 2);
  CHECK(ann.all("ack")[0].number("epoch") != ann.all("ack")[1].number("epoch"));
  CHECK(ack_seqs(ann) == Numbers{1, 1});
}

TEST_CASE("a latest message with a key is delivered once, too, and has no seq", "[idempotency]") {
  Two two;
  for (int i = 0; i < 2; ++i) {
    two.ann.publish("r", std::to_string(i), R"(,"delivery":{"latest":"cursor"},"idempotency_key":"k")");
    two.sim.run();
  }
  CHECK(two.bob.messages("r") == Texts{"0"});
  CHECK(ack_seqs(two.ann) == Numbers{0, 0});
}

TEST_CASE("a key that was refused may be used again", "[idempotency]") {
  Two two;
  two.sim.authorizer->decide = [](const Access& access) {
    return access.action == Action::publish ? Permission::deny() : Permission::allow();
  };
  publish_keyed(two.ann, "1", "k");
  two.sim.run();
  CHECK(two.ann.error() == "permission_denied");
  two.sim.authorizer->decide = nullptr;
  publish_keyed(two.ann, "2", "k");
  two.sim.run();
  CHECK(two.bob.messages("r") == Texts{"2"});
}

struct Clustered {
  Clustered()
      : broker(std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{}, 1)),
        sim(Setup{{}, 2, 2, broker, 1}),
        ann(sim.connect("ann")),
        second(sim.connect("ann", Dial().on(1))),
        bob(sim.connect("bob", Dial().at(1))) {
    for (const Client* client : {&ann, &second, &bob}) {
      client->join("r");
      sim.run();
    }
  }
  std::shared_ptr<LoopbackBroker> broker;
  CheckedSim sim;
  Client ann;
  Client second;  ///< of the same user
  Client bob;
};

TEST_CASE("with a broker a repeat waits for the first and gets its answer", "[idempotency][cluster]") {
  Clustered c;
  c.sim.broker->answer = Answer::later(1s);
  publish_keyed(c.ann, "1", "k");
  c.sim.run();
  publish_keyed(c.second, "2", "k");
  c.sim.run();
  CHECK(c.ann.count("ack") + c.second.count("ack") == 0);
  c.sim.advance(1s);
  CHECK(ack_seqs(c.ann) == Numbers{1});
  CHECK(ack_seqs(c.second) == Numbers{1});
  CHECK(c.bob.messages("r") == Texts{"1"});
  publish_keyed(c.ann, "3", "k");  // and is remembered
  c.sim.run();
  CHECK(ack_seqs(c.ann) == Numbers{1, 1});
  CHECK(c.bob.messages("r") == Texts{"1"});
}

TEST_CASE("with a broker a publish that failed leaves its key free, and who waited is told", "[idempotency][cluster]") {
  Clustered c;
  const bool dropped = GENERATE(false, true);
  if (dropped) {
    c.sim.broker->answer = Answer::never();  // the question is dropped
    publish_keyed(c.ann, "1", "k");
    c.sim.run();
    CHECK(c.ann.error() == "unavailable");
  } else {
    c.broker->fail(true);
    c.sim.broker->answer = Answer::later(1s);
    publish_keyed(c.ann, "1", "k");
    c.sim.run();
    publish_keyed(c.second, "2", "k");
    c.sim.advance(1s);
    CHECK(c.ann.error() == "unavailable");
    CHECK(c.second.error() == "unavailable");
    c.broker->fail(false);
  }
  c.sim.broker->answer = Answer::now();
  publish_keyed(c.ann, "3", "k");
  c.sim.run();
  CHECK(c.bob.messages("r") == Texts{"3"});
}

TEST_CASE("with a broker that answers after answer_timeout the repeat gets the first seq all the same",
          "[idempotency][cluster]") {
  Clustered c;
  c.sim.broker->answer = Answer::later(8s);
  publish_keyed(c.ann, "1", "k");
  c.sim.advance(6s);
  CHECK(c.ann.error() == "unavailable");
  c.sim.broker->answer = Answer::now();
  publish_keyed(c.ann, "1", "k");
  c.sim.advance(3s);
  CHECK(ack_seqs(c.ann) == Numbers{1});
  CHECK(c.bob.messages("r") == Texts{"1"});
}

TEST_CASE("idempotency keys are charged, and cost nothing once they are gone", "[idempotency]") {
  core::IdempotencyKeys keys;
  const auto remember = [&keys](const std::string& user, const std::string& key, TimePoint at) {
    (void)keys.remember(user, {key, 1, {1, 1}, true, at, {}}, 4, 10s);
  };
  const TimePoint start{};
  remember("ann", "a", start + 1s);
  const auto one = keys.bytes();
  CHECK(one > sizeof(core::IdempotencyKeys::Publish));
  remember("ann", "b", start + 2s);
  remember("bob", "a", start + 3s);
  CHECK(keys.size() == 3);
  CHECK(keys.find("ann", "a", 1, start + 10s, 10s) != nullptr);
  CHECK(keys.find("ann", "a", 2, start + 10s, 10s) == nullptr);  // another epoch
  CHECK(keys.size() == 2);
  for (int i = 0; i < 100; ++i) remember("user" + std::to_string(i % 7), std::to_string(i), start + 4s);
  CHECK(keys.size() == 4);
  keys.expire(start + 14s, 10s);
  CHECK(keys.size() == 0);
  CHECK(keys.bytes() == 0);
}

TEST_CASE("looking for expired keys takes no longer for there being many that are not", "[idempotency]") {
  core::IdempotencyKeys keys;
  constexpr int many = 30'000;
  for (int i = 0; i < many; ++i) {
    (void)keys.remember("user" + std::to_string(i), {"k", 1, {1, 1}, true, TimePoint{} + 1s, {}}, many, 1h);
  }
  // Each time through all of them would be more than a test may take.
  for (int i = 0; i < 10 * many; ++i) keys.expire(TimePoint{} + 2s, 1h);
  CHECK(keys.size() == many);
}

}  // namespace
}  // namespace muster::test
