// What is stored for a user until it is acknowledged.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

Texts queued(const Client& client) {
  Texts data;
  for (const Told& told : client.all("direct")) data.push_back(told.value("data") + "#" + told.value("queue_id"));
  return data;
}
const UserKey ann_key{"", "ann"};

TEST_CASE("queued stores first, and who is online gets it at once", "[offline]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  std::optional<Queued> stored;
  CHECK(sim.manager().send_to_user(ann_key, json("1"), Delivery::queued(), [&](Result<Queued> result) {
    if (result) stored = result.value();
  }) == 1);
  REQUIRE(stored);
  CHECK(stored->queue_id == 1);
  sim.run();
  CHECK(queued(ann) == Texts{"1#1"});
  CHECK(sim.sessions->behind.queued_count() == 1);  // until it is acknowledged
  ann.say("ack", R"({"queue_id":1})");
  sim.run();
  CHECK(sim.sessions->behind.queued_count() == 0);
}

TEST_CASE("what was queued before the first connection lasts as long as any other", "[offline]") {
  CheckedSim sim;
  sim.advance(48h);  // a host that has been up for longer than offline_age
  sim.manager().send_to_user({"", "ann"}, json("1"), Delivery::queued(), nullptr);
  sim.advance(23h);
  const auto ann = sim.connect("ann");
  CHECK(ann.count("direct") == 1);
}

TEST_CASE("a new connection gets its queue first, in order, right after connection_ack", "[offline]") {
  CheckedSim sim;
  for (int i = 1; i <= 3; ++i) (void)sim.manager().send_to_user(ann_key, json(std::to_string(i)), Delivery::queued());
  sim.sessions->answer = Answer::later(1s);
  const auto ann = sim.dial("ann");
  ann.join("r");
  sim.advance(5s);
  CHECK(ann.types() == Texts{"connection_ack", "direct", "direct", "direct", "room_joined", "awareness_state",
                             "presence", "users_online"});
  CHECK(queued(ann) == Texts{"1#1", "2#2", "3#3"});
}

TEST_CASE("an unacknowledged message comes again, an acknowledged one never", "[offline]") {
  CheckedSim sim;
  for (int i = 1; i <= 3; ++i) (void)sim.manager().send_to_user(ann_key, json(std::to_string(i)), Delivery::queued());
  const auto first = sim.connect("ann");
  first.say("ack", R"({"queue_id":2})");
  sim.run();
  first.hang_up(CloseReason::lost);
  const auto second = sim.connect("ann");
  CHECK(queued(second) == Texts{"3#3"});
  second.say("ack", R"({"queue_id":99})");  // only what it was sent
  (void)sim.manager().send_to_user(ann_key, json("4"), Delivery::queued());
  sim.run();
  second.hang_up(CloseReason::lost);
  const auto third = sim.connect("ann");
  CHECK(queued(third) == Texts{"4#4"});
}

TEST_CASE("a half-open connection loses nothing that was queued", "[offline]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.stall();  // its network is gone, and nobody knows
  (void)sim.manager().send_to_user(ann_key, json("1"), Delivery::queued());
  sim.run();
  const auto again = sim.connect("ann");
  CHECK(queued(again) == Texts{"1#1"});
}

TEST_CASE("every device is sent the queue, and who comes new not what one has acknowledged", "[offline]") {
  CheckedSim sim({}, 2);
  const auto phone = sim.connect("ann");
  const auto desk = sim.connect("ann", Dial().on(1));
  (void)sim.manager().send_to_user(ann_key, json("1"), Delivery::queued());
  sim.run();
  CHECK(queued(phone) == Texts{"1#1"});
  CHECK(queued(desk) == Texts{"1#1"});
  phone.say("ack", R"({"queue_id":1})");
  sim.run();
  CHECK(queued(sim.connect("ann")).empty());
}

TEST_CASE("a device that was away gets what another has acknowledged", "[offline]") {
  CheckedSim sim({}, 2);
  const auto phone = sim.connect("ann");
  const auto desk = sim.connect("ann", Dial().on(1));
  phone.hang_up(CloseReason::lost);
  for (int i = 1; i <= 3; ++i) (void)sim.manager().send_to_user(ann_key, json(std::to_string(i)), Delivery::queued());
  sim.run();
  desk.say("ack", R"({"queue_id":2})");
  sim.run();
  CHECK(sim.sessions->behind.queued_count() == 3);
  const bool later = GENERATE(false, true);
  if (later) {
    desk.say("ack", R"({"queue_id":3})");
    sim.run();
  }
  const auto again = sim.resume_session(phone, {});
  // Acknowledging one acknowledges those before it: so what it was sent as a new one comes once more, in its place.
  CHECK(queued(again) == (later ? Texts{"1#1", "2#2", "3#3"} : Texts{"3#3", "1#1", "2#2", "3#3"}));
  CHECK(again.types().back() == "resumed");  // and with all of it in hand: it may acknowledge from then on
  again.say("ack", R"({"queue_id":3})");
  desk.say("ack", R"({"queue_id":3})");
  sim.run();
  CHECK(sim.sessions->behind.queued_count() == 0);
}

TEST_CASE("a session taken up gets its queue once, in order, and goes on from there", "[offline]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  for (int i = 1; i <= 3; ++i) (void)sim.manager().send_to_user(ann_key, json(std::to_string(i)), Delivery::queued());
  sim.run();
  ann.say("ack", R"({"queue_id":1})");
  sim.run();
  ann.hang_up(CloseReason::lost);
  const auto fail = GENERATE(false, true);
  const auto again = sim.connect("ann");
  CHECK(queued(again) == Texts{"2#2", "3#3"});
  again.resume_session(ann, {});
  sim.run();
  if (fail) sim.sessions->answer = Answer::unavailable();
  (void)sim.manager().send_to_user(ann_key, json("4"), Delivery::queued());
  sim.run();
  sim.sessions->answer = Answer::now();
  (void)sim.manager().send_to_user(ann_key, json("5"), Delivery::queued());
  sim.run();
  CHECK(queued(again) == (fail ? Texts{"2#2", "3#3", "5#4"} : Texts{"2#2", "3#3", "4#4", "5#5"}));
  again.say("ack", R"({"queue_id":3})");
  sim.run();
  CHECK(sim.sessions->behind.queued_count() == (fail ? 1 : 2));
}

TEST_CASE("a message waits no longer than the sessions that lack it", "[offline]") {
  CheckedSim sim;
  const auto phone = sim.connect("ann");
  const auto desk = sim.connect("ann");
  (void)sim.manager().send_to_user(ann_key, json("1"), Delivery::queued());
  sim.run();
  desk.say("ack", R"({"queue_id":1})");
  sim.run();
  CHECK(sim.sessions->behind.queued_count() == 1);
  const auto way = GENERATE(0, 1, 2);
  if (way == 0) phone.hang_up(CloseReason::normal);
  if (way == 1) (void)sim.manager().kick(phone.id(), "kicked", false);
  if (way == 2) {
    phone.hang_up(CloseReason::lost);
    sim.advance(sim.manager().options().resume_window + 1s);
    (void)sim.connect("bob");
  }
  sim.run();
  CHECK(sim.sessions->behind.queued_count() == 0);
}

TEST_CASE("a queue is bounded: the oldest goes, and is counted", "[offline]") {
  Options options;
  options.offline_messages = 2;
  CheckedSim sim(options);
  std::size_t dropped = 0;
  for (int i = 1; i <= 5; ++i) {
    (void)sim.manager().send_to_user(ann_key, json(std::to_string(i)), Delivery::queued(), [&](Result<Queued> result) {
      REQUIRE(result);
      dropped += result.value().dropped;
    });
  }
  CHECK(dropped == 3);
  CHECK(sim.manager().metrics().queued == 5);
  CHECK(sim.manager().metrics().queue_dropped == 3);
  CHECK(queued(sim.connect("ann")) == Texts{"4#4", "5#5"});
}

TEST_CASE("a queue larger than a client takes at once comes in parts", "[offline]") {
  Options options;
  options.unsent_soft_bytes = 1000;
  options.unsent_hard_bytes = 4000;
  CheckedSim sim(options);
  const std::string large(900, 'x');
  for (int i = 0; i < 20; ++i) (void)sim.manager().send_to_user(ann_key, json('"' + large + '"'), Delivery::queued());
  const auto ann = sim.connect("ann");
  ann.stall();
  sim.run();
  ann.resume();
  sim.run();
  CHECK(ann.count("direct") == 20);
  CHECK(ann.is_open());
}

TEST_CASE("messages that come while the queue is read keep their order", "[offline]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  sim.sessions->answer = Answer::later(100ms);
  for (int i = 1; i <= 3; ++i) {
    (void)sim.manager().send_to_user(ann_key, json(std::to_string(i)), Delivery::queued());
    sim.advance(150ms);
  }
  sim.advance(2s);
  CHECK(queued(ann) == Texts{"1#1", "2#2", "3#3"});
}

TEST_CASE("a store that fails does not swallow a message in silence", "[offline]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto kind = GENERATE(0, 1);
  sim.sessions->answer = kind == 0 ? Answer::unavailable() : Answer::raise();
  std::optional<errc> failed;
  (void)sim.manager().send_to_user(ann_key, json("1"), Delivery::queued(), [&](Result<Queued> result) {
    if (!result) failed = result.error().code;
  });
  sim.run();
  CHECK(failed == errc::unavailable);
  CHECK(queued(ann).empty());
  CHECK(sim.manager().metrics().session_store_failures > 0);
  sim.sessions->answer = Answer::now();
}

TEST_CASE("a reading that never ends is given up after the deadline", "[offline]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  (void)sim.sessions;
  sim.sessions->behind.enqueue(ann_key, {0, json("1")}, {}, sim.now(), Reply<Result<Queued>>([](const auto&) {}));
  sim.sessions->answer = Answer::never();
  (void)sim.manager().send_to_user(ann_key, json("2"), Delivery::queued());
  sim.run();
  sim.sessions->withheld.release();  // stored; the reading it set off is withheld again
  sim.run();
  sim.sessions->answer = Answer::now();
  sim.advance(6s);
  (void)sim.manager().send_to_user(ann_key, json("3"), Delivery::queued());
  sim.run();
  CHECK(queued(ann) == Texts{"1#1", "2#2", "3#3"});
}

TEST_CASE("clients may queue where send is allowed, and the sender is named", "[offline]") {
  Options options;
  options.allow_send = true;
  CheckedSim sim(options);
  const auto bob = sim.connect("bob");
  bob.say("send", R"({"user":"ann","data":1,"queued":true})");
  sim.run();
  REQUIRE(bob.reply());
  CHECK(bob.reply()->value("queued") == "true");
  CHECK(bob.reply()->number("delivered") == 0);
  const auto ann = sim.connect("ann");
  REQUIRE(ann.count("direct") == 1);
  CHECK(ann.last("direct")->value("from").find("bob") != std::string::npos);
}

TEST_CASE("without offline queues queued is answered not_supported", "[offline]") {
  Options options;
  options.offline_messages = 0;
  CheckedSim sim(options);
  std::optional<errc> failed;
  (void)sim.manager().send_to_user(ann_key, json("1"), Delivery::queued(), [&](Result<Queued> result) {
    if (!result) failed = result.error().code;
  });
  CHECK(failed == errc::not_supported);
}

TEST_CASE("who queues is answered once, when the store has answered", "[offline]") {
  CheckedSim sim;
  const auto kind = GENERATE(Answer::Kind::now, Answer::Kind::never, Answer::Kind::unavailable, Answer::Kind::raise);
  sim.sessions->answer.kind = kind;
  int answers = 0;
  (void)sim.manager().send_to_user(ann_key, json("1"), Delivery::queued(),
                                   [&answers](const Result<Queued>&) { ++answers; });
  sim.advance(1min);
  CHECK(answers == (kind == Answer::Kind::never ? 0 : 1));
  sim.sessions->answer = Answer::now();
  sim.sessions->withheld.release();
  sim.advance(1min);
  CHECK(answers == 1);
}

TEST_CASE("what no queue can hold is too_large, and goes to nobody", "[offline]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  std::optional<errc> failed;
  const std::string large = '"' + std::string(Options().offline_bytes, 'x') + '"';
  (void)sim.manager().send_to_user(ann_key, json(large), Delivery::queued(), [&failed](const Result<Queued>& result) {
    if (!result) failed = result.error().code;
  });
  sim.run();
  CHECK(failed == errc::too_large);
  CHECK(queued(ann).empty());
}

}  // namespace
}  // namespace muster::test
