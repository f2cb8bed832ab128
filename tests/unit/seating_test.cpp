// Seating: rooms that the program puts people in, and takes them out of.
#include <algorithm>

#include "muster/auth/allow_all.hpp"
#include "muster/auth/allow_anonymous.hpp"
#include "muster/memory/loopback_broker.hpp"
#include "muster/protocols/json_protocol.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

/// What a `done` was told, in words.
struct Told {
  Texts all;
  SeatDone seat() {
    return [this](const Result<void>& result) {
      all.push_back(result ? "well" : std::string(to_string(result.error().code)));
    };
  }
  SeatsDone seats() {
    return [this](const Result<std::size_t>& result) {
      all.push_back(result ? std::to_string(result.value()) : std::string(to_string(result.error().code)));
    };
  }
};

TEST_CASE("the program seats a connection, whose client is told by whom", "[seating]") {
  CheckedSim sim;
  Told told;
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.connect("ann");
  sim.manager().join(ann.id(), "r", {}, told.seat());
  sim.advance(1s);
  CHECK(told.all == Texts{"well"});
  CHECK(ann.types() == Texts{"connection_ack", "room_joined", "awareness_state", "presence", "users_online"});
  CHECK(ann.last("room_joined")->text("by") == "server");
  CHECK(ann.last("room_joined")->reply_to().empty());
  CHECK(bob.last("room_joined")->value("by").empty());  // it asked itself
  CHECK(ann.members("r") == Texts{"ann", "bob"});
  CHECK(bob.members("r") == Texts{"ann", "bob"});
  CHECK(sim.told("joined ann r") == 1);
  bob.publish("r", "1");
  sim.run();
  CHECK(ann.messages("r") == Texts{"1"});
  CHECK(sim.authorizer->asked == 2);  // bob's join and publish

  sim.manager().leave(ann.id(), "r", told.seat());
  sim.advance(1s);
  CHECK(told.all == Texts{"well", "well"});
  CHECK(ann.last("room_left")->text("by") == "server");
  CHECK(bob.members("r") == Texts{"bob"});
  CHECK(sim.told("left ann r") == 1);
}

TEST_CASE("who is in the room, and who leaves one it is not in, is well, and is told nothing", "[seating]") {
  CheckedSim sim;
  Told told;
  const auto ann = sim.member("ann", "r");
  const auto before = ann.types();
  sim.manager().join(ann.id(), "r", {}, told.seat());
  sim.manager().leave(ann.id(), "never", told.seat());
  sim.run();
  CHECK(told.all == Texts{"well", "well"});
  CHECK(ann.types() == before);
}

TEST_CASE("a move leaves the old room only when there is a seat in the new one", "[seating]") {
  Options options;
  options.rooms_per_connection = 1;
  options.room.room_capacity = 1;
  CheckedSim sim(options);
  Told told;
  const auto bob = sim.member("bob", "full");
  const auto ann = sim.member("ann", "lobby");
  sim.manager().move(ann.id(), "lobby", "full", {}, told.seat());
  sim.run();
  CHECK(sim.manager().find(ann.id())->rooms == Texts{"lobby"});
  sim.manager().move(ann.id(), "lobby", "game", {}, told.seat());
  sim.run();
  CHECK(sim.manager().find(ann.id())->rooms == Texts{"game"});
  CHECK(ann.last("room_left")->text("room") == "lobby");
  sim.manager().move(ann.id(), "lobby", "other", {}, told.seat());  // it is not there any more
  sim.manager().move(ann.id(), "game", "game", {}, told.seat());
  sim.manager().join(ann.id(), "second", {}, told.seat());
  sim.manager().join(ann.id(), "a room", {}, told.seat());
  sim.run();
  CHECK(told.all == Texts{"room_full", "well", "not_in_room", "well", "too_many_rooms", "invalid_room"});
  CHECK(sim.manager().find(ann.id())->rooms == Texts{"game"});
}

TEST_CASE("a hook is told what becomes of the seat that it gives, if it asks", "[seating]") {
  Options options;
  options.room.room_capacity = 1;
  CheckedSim sim(options);
  Told told;
  const bool asks = GENERATE(true, false);
  sim.manager().on_connected(
      [&](Connection& connection) { connection.join("lobby", asks ? told.seat() : SeatDone()); });
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  CHECK(told.all == (asks ? Texts{"well", "room_full"} : Texts{}));
}

TEST_CASE("a seat that a hook gives and that is refused is logged, where nobody asks what became of it", "[seating]") {
  struct Lines final : Observer {
    void log(LogLevel, std::string_view message) override { all.emplace_back(message); }
    Texts all;
  };
  const auto lines = std::make_shared<Lines>();
  Components components;
  components.protocols = {std::make_shared<JsonProtocol>()};
  components.observer = lines;
  const auto manager = make_connection_manager({}, std::make_shared<AllowAnonymous>(), std::make_shared<AllowAll>(),
                                               std::move(components));
  manager->on_connected([](Connection& connection) { connection.join("no room"); });
  const auto executor = std::make_shared<ManualExecutor>();
  const auto pipe = std::make_shared<MemoryTransport>(executor);
  pipe->open(manager, OpenRequest());
  executor->run_ready();
  REQUIRE(lines->all.size() == 1);
  CHECK(lines->all[0].find("has no seat in room no room: room must have") != std::string::npos);
  manager->shutdown(nullptr);
  executor->advance(30s);
}

TEST_CASE("the authorizer is asked where the program says so", "[seating]") {
  CheckedSim sim;
  Told told;
  sim.authorizer->decide = [](const Access& access) {
    return access.target == "secret" ? Permission::deny("Members only") : Permission::allow();
  };
  const auto ann = sim.connect("ann");
  sim.manager().join(ann.id(), "secret", {true}, told.seat());
  sim.manager().join(ann.id(), "open", {true}, told.seat());
  sim.run();
  CHECK(told.all == Texts{"permission_denied", "well"});
  CHECK(sim.manager().find(ann.id())->rooms == Texts{"open"});
  CHECK(ann.count("error") == 0);  // it has asked for nothing
  sim.manager().join(ann.id(), "secret", {}, told.seat());
  sim.run();
  CHECK(told.all.back() == "well");
}

TEST_CASE("all connections of a user are seated, and counted", "[seating]") {
  CheckedSim sim({}, 2);
  Told told;
  const auto one = sim.connect("ann");
  const auto two = sim.connect("ann", Dial().on(1));
  const UserKey ann{"", "ann"};
  sim.manager().join(ann, "r", {}, told.seats());
  sim.run();
  CHECK(sim.manager().room({"", "r"})->size() == 2);
  sim.manager().leave(one.id(), "r");
  sim.run();
  sim.manager().move(ann, "r", "s", {}, told.seats());  // who is not there is not moved
  sim.run();
  CHECK(sim.manager().find(one.id())->rooms.empty());
  CHECK(sim.manager().find(two.id())->rooms == Texts{"s"});
  sim.manager().join({"", "nobody"}, "r", {}, told.seats());
  sim.manager().join(ann, "a room", {}, told.seats());
  sim.manager().leave(ann, "s", told.seats());
  sim.run();
  CHECK(told.all == Texts{"2", "2", "0", "invalid_room", "2"});
}

TEST_CASE("a done is called once, whatever becomes of the connection", "[seating]") {
  CheckedSim sim({}, 2);
  Told told;
  const auto ann = sim.connect("ann", Dial().on(1));
  sim.manager().join(ConnectionId(7), "r", {}, told.seat());
  CHECK(told.all == Texts{"not_found"});
  SECTION("it ends before its turn") {
    ann.hang_up();
    sim.manager().join(ann.id(), "r", {}, told.seat());
  }
  SECTION("it ends while the authorizer thinks") {
    sim.authorizer->answer = Answer::never();
    sim.manager().join(ann.id(), "r", {true}, told.seat());
    sim.manager().join(ann.id(), "s", {}, told.seat());
    sim.run();
    CHECK(told.all.size() == 1);
    ann.hang_up();
    sim.run();
    CHECK(told.all.size() == 3);
    told.all.pop_back();
  }
  sim.run();
  CHECK(told.all == Texts{"not_found", "not_found"});
  CHECK(sim.manager().room_count() == 0);
}

TEST_CASE("on_connected gives its rooms before anything else follows connection_ack", "[seating]") {
  CheckedSim sim;
  sim.hook = [](const std::string& line, Connection* connection) {
    if (line != "connected ann") return;
    connection->join("lobby");
    connection->join("team:1");
  };
  const auto late = GENERATE(false, true);
  if (late) sim.authenticator->answer = Answer::later(5ms);
  sim.manager().send_to_user({"", "ann"}, json("1"), Delivery::queued());
  sim.run();
  const auto ann = sim.dial("ann");
  ann.publish("lobby", "7").say("session_info", "{}");
  sim.advance(10ms);  // and no presence yet
  CHECK(ann.types() == Texts{"connection_ack", "room_joined", "awareness_state", "room_joined", "awareness_state",
                             "direct", "ack", "session_info"});
  CHECK(sim.manager().find(ann.id())->rooms == Texts{"lobby", "team:1"});
}

TEST_CASE("a seat that was given comes back with the session, whether its client knows of it or not", "[seating]") {
  const bool client_knows = GENERATE(true, false);
  const bool greets = GENERATE(false, true);
  CheckedSim sim;
  sim.authorizer->decide = [](const Access& access) {
    return access.action == Action::join ? Permission::deny("Ask the host") : Permission::allow();
  };
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  sim.manager().join(bob.id(), "r");
  sim.manager().join(ann.id(), "r");
  sim.advance(1s);
  const auto presences = bob.count("presence");
  if (greets) {
    sim.hook = [](const std::string& line, Connection* connection) {
      if (line == "connected ann") connection->join("lobby");
    };
  }
  ann.hang_up(CloseReason::lost);
  bob.publish("r", "1");
  sim.run();
  const auto again = sim.resume_session(ann, client_knows ? Texts{"r"} : Texts{});
  sim.advance(1s);
  CHECK(again.count("error") == 0);
  CHECK(again.members("r") == Texts{"ann", "bob"});
  CHECK(bob.count("presence") == presences);
  CHECK(again.messages("r") == (client_knows ? Texts{"1"} : Texts{}));
  if (client_knows) CHECK(again.resumed("r") == "recovered");
  CHECK(sim.manager().find(again.id())->member == ann.id());
  Texts rooms = sim.manager().find(again.id())->rooms;
  std::sort(rooms.begin(), rooms.end());
  CHECK(rooms == (greets ? Texts{"lobby", "r"} : Texts{"r"}));
  // And once more.
  again.hang_up(CloseReason::lost);
  sim.run();
  const auto third = sim.resume_session(again, {});
  CHECK(third.members("r") == Texts{"ann", "bob"});
}

TEST_CASE("a seat that the authorizer was asked about is asked about again", "[seating]") {
  CheckedSim sim;
  Told told;
  const auto ann = sim.connect("ann");
  sim.manager().join(ann.id(), "asked", {true}, told.seat());
  sim.manager().join(ann.id(), "decided", {}, told.seat());
  sim.run();
  CHECK(told.all == Texts{"well", "well"});
  sim.authorizer->decide = [](const Access& access) {
    return access.action == Action::join ? Permission::deny("Not any more") : Permission::allow();
  };
  SECTION("when the session comes back") {
    ann.hang_up(CloseReason::lost);
    sim.run();
    const auto again = sim.resume_session(ann, {"asked", "decided"});
    CHECK(again.resumed("asked") == "denied");
    CHECK(again.resumed("decided") == "recovered");
  }
  SECTION("when credentials are renewed") {
    ann.authenticate("ann");
    sim.run();
    CHECK(ann.error() == "permission_denied");
    sim.manager().leave(ann.id(), "asked");
    sim.run();
    ann.authenticate("ann");
    sim.run();
    CHECK(ann.last("auth_result")->value("authenticated") == "true");
  }
}

TEST_CASE("seats of a new connection whose resume is refused stay its own", "[seating]") {
  CheckedSim sim;
  sim.hook = [](const std::string& line, Connection* connection) {
    if (line == "connected ann") connection->join("lobby");
  };
  const auto before = sim.connect("ann");
  before.hang_up(CloseReason::lost);
  sim.run();
  SECTION("before it is known whose session it is") {
    const auto ann = sim.connect("ann");
    ann.resume_session(std::string("no token"), {});
    sim.run();
    CHECK(ann.error() == "resume_failed");
    CHECK(sim.manager().find(ann.id())->rooms == Texts{"lobby"});
  }
  SECTION("as its first message") {
    const auto ann = sim.connect("ann", Dial().silent());
    ann.resume_session(std::string("no token"), {}, "ann");
    sim.run();
    CHECK(ann.error() == "resume_failed");
    CHECK(sim.manager().find(ann.id())->rooms == Texts{"lobby"});
  }
  SECTION("and as the first message of one that comes back it is given behind the resume") {
    const auto ann = sim.connect("ann", Dial().silent());
    ann.resume_session(before, {"lobby"}, "ann");
    sim.run();
    CHECK(ann.resumed("lobby") == "recovered");
    CHECK(ann.count("room_joined") == 1);
    CHECK(sim.manager().find(ann.id())->rooms == Texts{"lobby"});
  }
}

TEST_CASE("seats that were laid down for a session which cannot be had are given again", "[seating]") {
  CheckedSim sim({}, 2);
  sim.hook = [](const std::string& line, Connection* connection) {
    if (line == "connected ann") connection->join("lobby");
  };
  const auto before = sim.connect("ann", Dial().on(1));
  before.executor()->hold(true);  // nobody has noticed that it is half-open, nor can it be asked
  const auto ann = sim.connect("ann");
  ann.resume_session(before, {"lobby"});
  sim.advance(6s);
  CHECK(ann.error() == "unavailable");
  CHECK(sim.manager().find(ann.id())->rooms == Texts{"lobby"});
  before.executor()->hold(false);
}

TEST_CASE("a seat that somebody else has taken while its session came back is told as left", "[seating]") {
  Options options;
  options.room.room_capacity = 1;
  CheckedSim sim(options);
  const auto bob = sim.connect("bob");
  const auto before = sim.connect("ann");
  before.hang_up(CloseReason::lost);
  sim.run();
  sim.hook = [](const std::string& line, Connection* connection) {
    if (line == "connected ann") connection->join("solo");
  };
  const auto ann = sim.connect("ann");
  CHECK(sim.manager().find(ann.id())->rooms == Texts{"solo"});
  sim.sessions->answer = Answer::later(50ms);
  ann.resume_session(before, {});
  sim.advance(75ms);  // the session is taken, and its queue is read
  sim.manager().join(bob.id(), "solo");
  sim.advance(1s);
  CHECK(ann.count("resumed") == 1);
  CHECK(sim.manager().find(ann.id())->rooms.empty());
  CHECK(sim.manager().find(bob.id())->rooms == Texts{"solo"});
  CHECK(ann.last("room_left")->text("by") == "server");
}

TEST_CASE("a session that comes back gets no more rooms than a connection may be in", "[seating]") {
  Options options;
  options.rooms_per_connection = 2;
  CheckedSim sim(options);
  const auto before = sim.member("ann", "a");
  sim.manager().join(before.id(), "b");
  sim.run();
  before.hang_up(CloseReason::lost);
  sim.run();
  sim.hook = [](const std::string& line, Connection* connection) {
    if (line == "connected ann") connection->join("c");
  };
  const auto ann = sim.resume_session(before, {"a"});
  CHECK(sim.manager().find(ann.id())->rooms == Texts{"a", "b"});
  CHECK(ann.last("room_left")->text("room") == "c");
}

TEST_CASE("what the program asks goes before the commands that wait", "[seating]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  sim.authorizer->script = [](const Access& access) {
    return access.target == "slow" ? Answer::later(5ms) : Answer::now();
  };
  ann.join("slow").publish("given", "1");
  sim.run();
  sim.manager().join(ann.id(), "given");
  sim.advance(1s);
  CHECK(ann.count("error") == 0);
  CHECK(sim.manager().find(ann.id())->rooms == Texts{"slow", "given"});
}

TEST_CASE("a handler's seat is there for the next command", "[seating]") {
  CheckedSim sim;
  sim.manager().on("enter", [](Connection& connection, const Payload&) { connection.join("r"); });
  sim.manager().on("go", [](Connection& connection, const Payload&) { connection.leave("r"); });
  const auto ann = sim.connect("ann");
  ann.say("enter", "{}").publish("r", "1").say("go", "{}").publish("r", "2");
  sim.run();
  CHECK(ann.count("error") == 1);
  CHECK(ann.error() == "not_in_room");
  CHECK(ann.types().back() == "error");
}

TEST_CASE("seats are given on a cluster, too, and its rooms are subscribed to first", "[seating][cluster]") {
  const auto broker = std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{}, 1);
  CheckedSim sim(Setup{{}, 1, 2, broker, 1});
  Told told;
  const auto ann = sim.connect("ann", Dial().at(0));
  const auto bob = sim.connect("bob", Dial().at(1));
  sim.manager(0).join(ann.id(), "r", {}, told.seat());
  sim.manager(1).join(bob.id(), "r", {}, told.seat());
  sim.advance(1s);
  ann.publish("r", "1");
  sim.run();
  CHECK(told.all == Texts{"well", "well"});
  CHECK(bob.messages("r") == Texts{"1"});
  CHECK(bob.members("r") == Texts{"ann", "bob"});
}

}  // namespace
}  // namespace muster::test
