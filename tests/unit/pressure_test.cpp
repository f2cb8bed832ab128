// Back-pressure as the program is told it: who is slow, who has caught up, and how long things take.
#include <optional>
#include <stdexcept>
#include <utility>

#include "muster/memory/loopback_broker.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

Options tight(Options options = {}) {
  options.unsent_soft_bytes = 1000;
  options.unsent_hard_bytes = 20000;
  options.heartbeat = 0s;
  options.message_rate = options.frame_rate = 0;
  return options;
}

const std::string hundred_bytes = quoted(std::string(100, 'x'));

/// What the two hooks said.
struct Heard {
  explicit Heard(Sim& sim, std::size_t node = 0) {
    sim.manager(node).on_slow([this](Connection& connection, const Slow& slow) {
      lines.push_back("slow " + connection.identity().user);
      last = slow;
      if (hook) hook(connection);
    });
    sim.manager(node).on_caught_up([this](Connection& connection, const Slow& slow) {
      lines.push_back("caught up " + connection.identity().user);
      last = slow;
      if (hook) hook(connection);
    });
  }
  Texts lines;
  Slow last;
  std::function<void(Connection&)> hook;
};

Published publish(Sim& sim, const std::string& room, ConnectionId exclude = {}) {
  std::optional<Published> published;
  sim.manager().publish({"", room}, json("0"), Delivery::reliable(), exclude, [&](Result<Published> result) {
    REQUIRE(result);
    published = result.value();
  });
  sim.run();
  REQUIRE(published);
  return *published;
}

/// Publishes four times as much as fits below the soft mark.
void publish_much(Sim& sim, const Client& by, const std::string& room = "r") {
  for (int i = 0; i < 40; ++i) by.publish(room, hundred_bytes);
  sim.run();
}

TEST_CASE("who does not keep up is told to be slow and to have caught up, in turns, with since when and how much",
          "[pressure]") {
  CheckedSim sim(tight());
  Heard told(sim);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  publish_much(sim, ann);
  CHECK(told.lines.empty());
  sim.advance(1s);
  bob.stall();
  const TimePoint since = sim.now();
  ann.publish("r", "1");
  sim.run();
  CHECK(told.lines.empty());  // what waits is little
  sim.advance(2s);
  bob.pipe().system_holds(5000);
  publish_much(sim, ann);
  CHECK(told.lines == Texts{"slow bob"});
  CHECK(told.last.since == since);
  CHECK(told.last.lasts == 2s);
  CHECK(told.last.unsent_bytes > 6000);
  publish_much(sim, ann);
  CHECK(told.lines == Texts{"slow bob"});
  sim.advance(1s);
  bob.resume();
  sim.run();
  CHECK(told.lines == Texts{"slow bob", "caught up bob"});
  CHECK(told.last.since == since);
  CHECK(told.last.lasts == 3s);
  CHECK(told.last.unsent_bytes == 0);
  bob.stall();
  publish_much(sim, ann);
  CHECK(told.lines == Texts{"slow bob", "caught up bob", "slow bob"});
  CHECK(told.last.since == sim.now());
  CHECK(sim.manager().metrics().slowed == 2);
  bob.resume();
  sim.run();
  CHECK(told.lines.size() == 4);
  CHECK(bob.messages("r").size() == 161);
}

TEST_CASE("a publish answers how many of those it goes to are behind", "[pressure]") {
  CheckedSim sim(tight());
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  const auto cid = sim.member("cid", "r");
  CHECK(publish(sim, "r").behind == 0);
  bob.stall();
  cid.stall();
  publish_much(sim, ann);
  CHECK(publish(sim, "r").reached == 3);
  CHECK(publish(sim, "r").behind == 2);
  CHECK(publish(sim, "r", ann.id()).behind == 2);
  CHECK(publish(sim, "r", bob.id()).behind == 1);
  CHECK(publish(sim, "elsewhere").behind == 0);
  SECTION("a room that is joined or left meanwhile") {
    bob.join("q").leave("r");
    sim.run();
    CHECK(publish(sim, "q").behind == 1);
    CHECK(publish(sim, "r").behind == 1);
  }
  SECTION("they catch up") {
    bob.resume();
    sim.run();
    CHECK(publish(sim, "r").behind == 1);
    cid.resume();
    sim.run();
    CHECK(publish(sim, "r").behind == 0);
  }
  SECTION("they are lost, and their seats are kept") {
    bob.hang_up(CloseReason::lost);
    sim.run();
    CHECK(sim.manager().room({"", "r"})->size() == 3);
    CHECK(publish(sim, "r").reached == 2);
    CHECK(publish(sim, "r").behind == 1);
    const auto again = sim.resume_session(bob, {"r"});
    CHECK(publish(sim, "r").reached == 3);
    CHECK(publish(sim, "r").behind == 1);
  }
}

TEST_CASE("a publish through a broker answers how many of this process are behind", "[pressure]") {
  CheckedSim sim(Setup{tight(), 1, 2, std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{}, 1)});
  Heard told(sim, 1);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r", Dial().at(1));
  bob.stall();
  publish_much(sim, ann);
  CHECK(told.lines == Texts{"slow bob"});
  CHECK(publish(sim, "r").behind == 0);
  std::optional<Published> there;
  sim.manager(1).publish({"", "r"}, json("0"), Delivery::reliable(), {},
                         [&](Result<Published> result) { there = result.value(); });
  sim.run();
  REQUIRE(there);
  CHECK(there->reached == 1);
  CHECK(there->behind == 1);
}

TEST_CASE("a connection that ends while it is slow has never caught up", "[pressure]") {
  CheckedSim sim(tight());
  Heard told(sim);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  bob.stall();
  publish_much(sim, ann);
  REQUIRE(told.lines == Texts{"slow bob"});
  SECTION("it goes") { bob.hang_up(CloseReason::lost); }
  SECTION("it is let go for it") { sim.advance(sim.options().unsent_age * 2); }
  SECTION("it is closed, and its pipe is free after that") {
    (void)sim.manager().remove(bob.id(), CloseReason::policy);
    sim.run();
    bob.resume();
  }
  sim.run();
  CHECK(sim.told("left bob r") + sim.manager().connections_in({"", "r"}).size() == 1);
  CHECK(told.lines == Texts{"slow bob"});
  CHECK(publish(sim, "r").behind == 0);
}

TEST_CASE("what is sent to a connection alone counts, too", "[pressure]") {
  CheckedSim sim(tight());
  Heard told(sim);
  const auto ann = sim.connect("ann");
  ann.stall();
  for (int i = 0; i < 5; ++i) (void)sim.manager().send(ann.id(), json(hundred_bytes));
  sim.run();
  CHECK(told.lines.empty());
  for (int i = 0; i < 5; ++i) (void)sim.manager().send(ann.id(), json(hundred_bytes));
  sim.run();
  CHECK(told.lines == Texts{"slow ann"});
  ann.resume();
  sim.run();
  CHECK(told.lines == Texts{"slow ann", "caught up ann"});
}

TEST_CASE("state that waits for one turn of a full pipe is nothing to tell, and state that piles up is", "[pressure]") {
  CheckedSim sim(tight());
  Heard told(sim);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  sim.advance(1s);
  bob.stall();
  ann.publish("r", "1");
  sim.run();
  ann.publish_latest("r", "1", "k");
  sim.run();
  CHECK(told.lines.empty());
  ann.publish_latest("r", "2", "k");
  sim.run();
  CHECK(told.lines == Texts{"slow bob"});
  bob.resume();
  sim.run();
  CHECK(told.lines == Texts{"slow bob", "caught up bob"});
  CHECK(bob.messages("r") == Texts{"1", "2"});
}

TEST_CASE("what is over before the hooks' task has run is not told", "[pressure]") {
  CheckedSim sim(tight());
  Heard told(sim);
  const auto ann = sim.member("ann", "r");
  sim.advance(1s);
  ann.stall();
  (void)sim.manager().send(ann.id(), json("0"));
  sim.run();
  const auto publish_latest = [&] { sim.manager().publish({"", "r"}, json("0"), Delivery::latest("k")); };
  publish_latest();  // waits, as it may
  sim.run();
  SECTION("its pipe is free again") {
    for (int i = 0; i < 14; ++i) (void)sim.manager().send(ann.id(), json(hundred_bytes));
    ann.resume();
    sim.run();
    CHECK(ann.count("direct") == 15);
  }
  SECTION("it has ended") {
    publish_latest();
    (void)sim.manager().remove(ann.id(), CloseReason::policy);
    sim.run();
    CHECK(sim.told("disconnected ann policy") == 1);
  }
  CHECK(told.lines.empty());
}

TEST_CASE("the hooks of slow connections may do anything", "[pressure]") {
  CheckedSim sim(tight());
  Heard told(sim);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r");
  const auto cid = sim.member("cid", "r");
  const char* what = GENERATE("close", "throw", "send", "leave", "publish");
  told.hook = [&, what = std::string(what)](Connection& connection) {
    if (what == "close") connection.close(CloseReason::slow_consumer);
    if (what == "throw") throw std::runtime_error("a hook of the embedder fails");
    if (what == "send") connection.send(json(hundred_bytes));
    if (what == "leave") connection.leave("r");
    if (what == "publish") connection.publish("r", json(R"("bob is slow")"));
  };
  bob.stall();
  publish_much(sim, ann);
  CHECK(told.lines == Texts{"slow bob"});
  bob.resume();
  sim.run();
  const bool ends = std::string(what) == "close" || std::string(what) == "throw";
  CHECK(told.lines.size() == (ends ? 1 : 2));
  CHECK(bob.is_open() == !ends);
  CHECK(sim.manager().metrics().callback_failures == (std::string(what) == "throw" ? 1 : 0));
  if (std::string(what) == "send") CHECK(bob.count("direct") == 2);
  if (std::string(what) == "leave") CHECK(sim.manager().connections_in({"", "r"}).size() == 2);
  if (std::string(what) == "publish") CHECK(ann.messages("r").size() == 2);
  CHECK(cid.messages("r").size() == (std::string(what) == "publish" ? 42 : 40));
}

TEST_CASE("a histogram's buckets have bounds of 1, 2 and 5 from 10 us to 10 s", "[pressure]") {
  using namespace std::chrono;
  CHECK(Histogram::bounds.front() == 10us);
  CHECK(Histogram::bounds[1] == 20us);
  CHECK(Histogram::bounds[2] == 50us);
  CHECK(Histogram::bounds[9] == 10ms);
  CHECK(Histogram::bounds.back() == 10s);
  CHECK(Histogram::bucket_of(0ns) == 0);
  for (std::size_t i = 0; i < Histogram::bounds.size(); ++i) {
    CHECK(Histogram::bucket_of(Histogram::bounds[i]) == i);
    CHECK(Histogram::bucket_of(Histogram::bounds[i] + 1ns) == i + 1);
  }
  CHECK(Histogram::bucket_of(hours(1)) == Histogram::bounds.size());
  Histogram two;
  two.counts[3] = two.counts[19] = 1;
  CHECK(two.count() == 2);
}

TEST_CASE("metrics say how long handlers and hooks take, commands wait, and loops are late", "[pressure]") {
  CheckedSim sim;
  const auto takes = [&sim](std::chrono::microseconds time) { sim.schedule.clock->move_to(sim.now() + time); };
  const auto bucket = [](std::chrono::nanoseconds time) { return Histogram::bucket_of(time); };
  SECTION("handlers, also those that refuse, and hooks") {
    sim.manager().on("work", [&](Connection&, const Payload& payload) {
      takes(3ms);
      if (!payload.empty()) throw Error{errc::invalid_message, "Not like this", {}};
    });
    sim.hook = [&](const std::string& line, Connection*) {
      if (line == "connected ann") takes(70us);
    };
    const auto ann = sim.connect("ann");
    const Histogram before = sim.manager().metrics().handler_time;
    CHECK(before.counts[bucket(70us)] == 1);
    CHECK(before.sum == 70us);
    ann.raw(R"({"type":"work"})").raw(R"({"type":"work","payload":{}})");
    sim.run();
    const Histogram after = sim.manager().metrics().handler_time;
    CHECK(after.counts[bucket(3ms)] == 2);
    CHECK(after.count() == before.count() + 2);
    CHECK(after.sum == 70us + 6ms);
  }
  SECTION("commands that wait for the answer to another") {
    const auto ann = sim.connect("ann");
    sim.authorizer->answer = Answer::later(40ms);
    ann.join("r").say("ping", "{}").say("ping", "{}");  // the second is not read before the first has gone on
    sim.advance(1s);
    CHECK(ann.count("pong") == 2);
    const Histogram waited = sim.manager().metrics().command_wait;
    CHECK(waited.counts[bucket(40ms)] == 1);
    CHECK(waited.count() == 1);
    CHECK(waited.sum == 40ms);
  }
  SECTION("timers") {
    const auto ann = sim.connect("ann");
    sim.advance(sim.options().heartbeat);
    ann.pong();
    sim.run();
    const Histogram before = sim.manager().metrics().loop_lag;
    CHECK(before.count() > 0);
    CHECK(before.count() == before.counts[0]);
    CHECK(before.sum == 0ns);
    const auto next = ann.executor()->loop().next_time();
    REQUIRE(next);
    sim.schedule.clock->move_to(*next + 4s);
    sim.run();
    const Histogram after = sim.manager().metrics().loop_lag;
    CHECK(after.counts[bucket(4s)] == 1);
    CHECK(after.sum >= 4s);
  }
}

}  // namespace
}  // namespace muster::test
