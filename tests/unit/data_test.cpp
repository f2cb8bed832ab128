// What a program keeps with connections and rooms.
#include "muster/data.hpp"

#include <memory>
#include <string>
#include <utility>

#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

struct Watched {
  static inline int alive = 0;
  Watched() { ++alive; }
  ~Watched() { --alive; }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;
  std::string name;
};
struct Score {
  int points = 0;
};

/// A program that keeps a name with each connection: "name" sets it, "read" looks at it, and so does the end.
struct Names {
  explicit Names(CheckedSim& sim) : sim_(sim) {
    sim.manager().on("name", [](Connection& connection, const Payload& payload) {
      connection.data<Watched>().name = payload.view();
    });
    sim.manager().on("read", [told = told_](Connection& connection, const Payload&) {
      const Watched* const there = connection.data().find<Watched>();
      told->read = there == nullptr ? "none" : there->name;
    });
    sim.manager().on_disconnected([told = told_](Connection& connection, CloseReason) {
      if (const Watched* const there = connection.data().find<Watched>()) told->last += there->name + " ";
    });
  }
  Client named(const std::string& user, const std::string& payload, Dial how = {}) {
    Client client = sim_.connect(user, std::move(how));
    client.say("name", payload);
    sim_.run();
    return client;
  }
  std::string read(const Client& client) {
    told_->read = "not asked";
    client.say("read", "{}");
    sim_.run();
    return told_->read;
  }
  [[nodiscard]] const std::string& last() const { return told_->last; }

 private:
  struct ToldAll {
    std::string read, last;
  };
  CheckedSim& sim_;
  const std::shared_ptr<ToldAll> told_ = std::make_shared<ToldAll>();  // hooks outlive this
};

TEST_CASE("Data holds one object of each type", "[data]") {
  Data data;
  CHECK(data.empty());
  CHECK(data.find<Score>() == nullptr);
  data.get<Score>().points = 3;
  CHECK(data.get<Score>().points == 3);
  CHECK(data.emplace<Watched>().name.empty());
  data.emplace<Watched>().name = "new";
  CHECK(Watched::alive == 1);
  Data other;
  other.get<Watched>().name = "other";
  data.merge(std::move(other));
  CHECK(data.get<Watched>().name == "other");
  CHECK(data.get<Score>().points == 3);
  CHECK(data.erase<Watched>());
  CHECK_FALSE(data.erase<Watched>());
  CHECK(Watched::alive == 0);
}

TEST_CASE("a connection's data is its own, and gone with it once on_disconnected has seen it", "[data]") {
  CheckedSim sim;
  Names names(sim);
  const auto ann = names.named("ann", R"({"a":1})");
  const auto bob = sim.connect("bob");
  CHECK(names.read(ann) == R"({"a":1})");
  CHECK(names.read(bob) == "none");
  CHECK(Watched::alive == 1);
  ann.hang_up();
  sim.run();
  CHECK(names.last() == R"({"a":1} )");
  CHECK(Watched::alive == 0);
}

TEST_CASE("a session that is resumed has its data again, from its grace or after it", "[data]") {
  Options options;
  options.presence_grace = 10s;
  options.resume_window = 60s;
  CheckedSim sim(options, 2);
  Names names(sim);
  const auto ann = names.named("ann", R"({"a":1})");
  ann.hang_up(CloseReason::lost);
  sim.advance(GENERATE(1s, 30s));
  CHECK(Watched::alive == 1);
  const auto back = names.named("ann", R"({"a":2})", Dial().on(GENERATE(std::size_t{0}, std::size_t{1})));
  CHECK(Watched::alive == 2);
  back.resume_session(ann, {});
  sim.run();
  CHECK(back.count("resumed") == 1);
  CHECK(Watched::alive == 1);  // the session's, in place of what the new connection had
  CHECK(names.read(back) == R"({"a":1})");

  back.hang_up(CloseReason::lost);
  sim.advance(30s);
  const auto again = sim.resume_session(back, {});
  CHECK(names.read(again) == R"({"a":1})");
  again.hang_up(CloseReason::lost);
  sim.advance(61s);
  CHECK(Watched::alive == 0);
}

TEST_CASE("a session that is taken over while its connection is there takes its data along", "[data]") {
  CheckedSim sim({}, 2);
  Names names(sim);
  const auto ann = names.named("ann", R"({"a":1})");
  const auto back = sim.resume_session(ann, {}, Dial().on(1));
  CHECK(back.count("resumed") == 1);
  CHECK(names.last() == R"({"a":1} )");  // told of the old connection, before the new one had it
  CHECK(names.read(back) == R"({"a":1})");
  CHECK(Watched::alive == 1);
  back.hang_up();
  sim.run();
  CHECK(Watched::alive == 0);
}

TEST_CASE("a session keeps its data over a resume that came to nothing", "[data]") {
  CheckedSim sim({}, 2);
  Names names(sim);
  const auto ann = names.named("ann", R"({"a":1})");
  const auto second = sim.connect("ann", Dial().on(1));
  second.resume_session(ann, {});
  second.hang_up(CloseReason::lost);  // before the first has handed its session over
  sim.run();
  const auto third = sim.resume_session(ann, {});
  CHECK(third.count("resumed") == 1);
  CHECK(names.read(third) == R"({"a":1})");
}

TEST_CASE("data is not kept for a session that cannot resume", "[data]") {
  Options options;
  SECTION("for sessions do not") { options.resume_window = 0ms; }
  SECTION("for it was revoked") {}
  SECTION("for there are as many as connections may be") { options.max_connections = 1; }
  CheckedSim sim(options);
  Names names(sim);
  const auto ann = names.named("ann", R"({"a":1})");
  ann.hang_up(CloseReason::lost);
  sim.run();
  if (options.max_connections == 1) {
    CHECK(Watched::alive == 1);
    const auto bob = names.named("bob", R"({"b":1})");
    bob.hang_up(CloseReason::lost);
    sim.run();
    CHECK(Watched::alive == 1);
    sim.advance(std::chrono::minutes(6));
  } else if (options.resume_window.count() != 0) {
    CHECK(Watched::alive == 1);
    (void)sim.manager().revoke(UserKey{"", "ann"});
    sim.run();
  }
  CHECK(Watched::alive == 0);
}

TEST_CASE("data may be asked for in a call that was given the connection, and nowhere else", "[data]") {
  Connection* kept = nullptr;
  CheckedSim sim;
  sim.manager().on_connected([&](Connection& connection) {
    connection.data<Score>().points = 1;
    kept = &connection;
  });
  const auto ann = sim.connect("ann");
  REQUIRE(kept != nullptr);
  CHECK_THROWS_AS(kept->data(), std::logic_error);
}

TEST_CASE("what a program keeps with a room is there from its opening until it was told as empty", "[data]") {
  std::string last;
  CheckedSim sim({}, 2);
  const RoomKey key{"", "r"};
  const auto room = sim.manager().room(key);
  CHECK(room->data<Watched>() == nullptr);
  sim.manager().on_room_opened(
      [&](const RoomKey& opened) { sim.manager().room(opened)->data<Watched>()->name = "made"; });
  sim.manager().on_room_emptied(
      [&](const RoomKey& emptied) { last = sim.manager().room(emptied)->data<Watched>()->name; });
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.member("bob", "r", Dial().on(1));
  REQUIRE(room->data<Watched>() != nullptr);
  CHECK(room->data<Watched>()->name == "made");
  room->data<Watched>()->name = "used";
  CHECK(room->data<Score>()->points == 0);
  ann.leave("r");
  sim.run();
  CHECK(Watched::alive == 1);
  bob.leave("r");
  sim.run();
  CHECK(last == "used");
  CHECK(Watched::alive == 0);
  CHECK(room->data<Watched>() == nullptr);

  const auto carl = sim.member("carl", "r");
  CHECK(room->data<Watched>()->name == "made");
}

}  // namespace
}  // namespace muster::test
