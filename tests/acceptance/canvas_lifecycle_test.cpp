// A canvas server, 2 of 2: the life of a connection, and of the session that survives it.
//
// | requirement | test |
// | --- | --- |
// | every state | a connection goes through every state, each seen |
// | rejected | rejected is final: nothing of it is known, and nothing late revives it |
// | illegal while connecting | connecting: what comes before the answer waits, and is dropped with a refusal |
// | illegal while authenticating | authenticating: everything but authenticate is auth_required and ends it |
// | illegal while connected | connected: what needs a room is not_in_room, and leaving none is no error |
// | illegal in a room | in_room: joining again changes nothing, resuming is refused |
// | illegal while disconnecting | disconnecting: whatever the hooks try, it ends once |
// | illegal once disconnected | disconnected: nothing reaches it, nothing comes from it |
// | a reload | a tab that reloads takes its place up again, and nobody sees it go |
// | reconnect token valid for 5 min | a reconnect token is good for 299 s, and not for 301 s |
// | reconnect token is one user's, once | a reconnect token is its user's, and works once |
// | reauth_required | reauth_required comes in time, and a fresh token goes on with everything |
// | reauth grace | without a fresh token the connection lasts for the grace, then closes 4001 |
// | reauth by somebody else | nobody else's token renews a connection |
// | resume passes the authoriser | a canvas that was closed to a user meanwhile is not resumed |
#include "canvas.hpp"

namespace muster::test {
namespace {

/// The state of a connection, pending ones included; none: the manager knows of no such connection.
std::optional<ConnectionStatus> status_of(Sim& sim, ConnectionId id) {
  std::optional<ConnectionStatus> status;
  sim.manager().explain(id, [&status](const auto& story) {
    if (story) status = story->info.status;
  });
  sim.run();
  return status;
}

TEST_CASE("a connection goes through every state, each seen", "[acceptance][canvas]") {
  CanvasSim sim;
  const ConnectionId id(7);
  sim.authenticator->answer = Answer::later(1s);
  const auto ann = sim.dial("ann", Dial().as(id));
  sim.run();
  CHECK(status_of(sim, id) == ConnectionStatus::connecting);
  CHECK_FALSE(sim.manager().contains(id));  // lookups see who is authenticated
  CHECK(sim.manager().pending_count() == 1);
  sim.advance(1s);
  const auto connection = ann.pipe().connection();
  CHECK(connection->status() == ConnectionStatus::connected);
  CHECK(sim.manager().find(id)->status == ConnectionStatus::connected);
  ann.join("canvas:1").join("canvas:2");
  sim.run();
  CHECK(connection->status() == ConnectionStatus::in_room);
  ann.leave("canvas:1");
  sim.run();
  CHECK(sim.manager().find(id)->status == ConnectionStatus::in_room);
  ann.leave("canvas:2");
  sim.run();
  CHECK(sim.manager().find(id)->status == ConnectionStatus::connected);
  std::vector<ConnectionStatus> ending;
  sim.hook = [&](const std::string&, Connection* one) {
    if (one != nullptr) ending.push_back(one->status());
  };
  ann.hang_up();
  sim.run();
  CHECK(ending == std::vector<ConnectionStatus>{ConnectionStatus::disconnecting});
  CHECK(connection->status() == ConnectionStatus::disconnected);
  CHECK_FALSE(status_of(sim, id));

  // authenticating is the state of who may send the token later, which takes another mode.
  CanvasSim lenient(Options{});
  const auto bob = lenient.connect("bob", Dial().silent().as(id));
  CHECK(status_of(lenient, id) == ConnectionStatus::authenticating);
  bob.authenticate("bob");
  lenient.run();
  CHECK(status_of(lenient, id) == ConnectionStatus::connected);
}

TEST_CASE("rejected is final: nothing of it is known, and nothing late revives it", "[acceptance][canvas]") {
  CanvasSim sim;
  const ConnectionId id(7);
  sim.authenticator->answer = Answer::never();
  const auto late = sim.dial("late", Dial().as(id));
  sim.advance(5s);  // the deadline of the answer
  REQUIRE(late.pipe().answer());
  CHECK_FALSE(late.pipe().answer()->accepted);
  CHECK_FALSE(status_of(sim, id));
  late.join("canvas:1").hang_up();
  CHECK_FALSE(sim.manager().remove(id));
  sim.authenticator->withheld.release();
  sim.advance(1s);
  CHECK_FALSE(late.is_open());
  CHECK(late.log().empty());
  CHECK(sim.story().empty());
  CHECK(sim.is_empty());
  sim.authenticator->answer = Answer::now();
  CHECK(sim.connect("ann", Dial().as(id)).is_open());  // not even its id is taken
}

TEST_CASE("connecting: what comes before the answer waits, and is dropped with a refusal", "[acceptance][canvas]") {
  CanvasSim sim;
  sim.authenticator->answer = Answer::later(1s);
  const auto ann = sim.dial("ann");
  const auto bad = sim.dial("bad");
  for (const auto& client : {ann, bad}) client.join("canvas:1");
  sim.run();
  CHECK(sim.manager().room_count() == 0);
  CHECK(sim.manager().connection_count() == 0);
  sim.advance(1s);
  CHECK(ann.types() == Texts{"connection_ack", "room_joined", "awareness_state"});
  CHECK(bad.log().empty());
  CHECK(sim.manager().room({"", "canvas:1"})->size() == 1);
}

TEST_CASE("authenticating: everything but authenticate is auth_required and ends it", "[acceptance][canvas]") {
  for (const char* type : {"join", "leave", "publish", "awareness_update", "ping", "session_info", "list_subscriptions",
                           "presence_query", "awareness_query", "send", "no_such_type"}) {
    INFO(type);
    CanvasSim sim(Options{});
    const auto eve = sim.connect("eve", Dial().silent());
    const auto connection = eve.pipe().connection();
    eve.say(type, R"({"room":"canvas:1","data":1,"state":{},"clock":1,"users":[],"user":"ann"})");
    sim.run();
    CHECK(eve.error() == "auth_required");
    CHECK(eve.close_code() == 4001);
    CHECK(connection->status() == ConnectionStatus::rejected);
    CHECK(sim.manager().room_count() == 0);
    CHECK(sim.story().empty());
    CHECK(sim.is_empty());
  }
}

TEST_CASE("connected: what needs a room is not_in_room, and leaving none is no error", "[acceptance][canvas]") {
  CanvasSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  bob.join("canvas:1");
  sim.run();
  const auto refused = [&](const Client& said) {
    sim.run();
    return said.reply() ? said.reply()->text("code") : std::string();
  };
  CHECK(refused(ann.publish("canvas:1", "1")) == "not_in_room");
  CHECK(refused(ann.aware("canvas:1", "{}", 1)) == "not_in_room");
  CHECK(refused(ann.say("awareness_query", R"({"room":"canvas:1"})")) == "not_in_room");
  CHECK(refused(ann.say("presence_query", R"({"room":"canvas:1"})")) == "not_in_room");
  ann.leave("canvas:1");
  sim.run();
  CHECK(ann.reply()->type() == "room_left");
  CHECK(sim.told("left ann canvas:1") == 0);
  CHECK(sim.manager().find(ann.id())->status == ConnectionStatus::connected);
  CHECK(bob.count("message") == 0);
  CHECK(bob.members("canvas:1") == Texts{"bob"});
  CHECK(sim.manager().awareness().size() == 0);
}

TEST_CASE("in_room: joining again changes nothing, resuming is refused", "[acceptance][canvas]") {
  CanvasSim sim;
  const auto ann = sim.connect("ann");
  ann.join("canvas:1").join("canvas:1");
  sim.run();
  CHECK(ann.count("room_joined") == 2);
  CHECK(sim.told("joined ann canvas:1") == 1);
  CHECK(sim.manager().room({"", "canvas:1"})->size() == 1);
  ann.resume_session(ann, {"canvas:1"});
  sim.run();
  CHECK(ann.error() == "resume_failed");
  CHECK(ann.is_open());
  CHECK(sim.manager().find(ann.id())->rooms == Texts{"canvas:1"});
}

TEST_CASE("disconnecting: whatever the hooks try, it ends once", "[acceptance][canvas]") {
  CanvasSim sim(without_sessions(canvas_options()));
  auto& manager = sim.manager();
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  for (const char* room : {"canvas:1", "canvas:2"}) {
    ann.join(room);
    bob.join(room);
  }
  sim.run();
  sim.forget_story();
  const auto connection = ann.pipe().connection();
  const auto told = ann.log().size();
  sim.hook = [&](const std::string&, Connection* ending) {
    if (ending == nullptr) return;
    ending->send(json("1"));
    ending->close(CloseReason::internal_error, "again");
    (void)manager.send(ending->id(), json("1"));
    (void)manager.remove(ending->id(), CloseReason::kicked);
    manager.fail(*ending, CloseReason::protocol_error, "again");
    manager.received(*ending, FrameKind::text, R"({"type":"join","id":1,"payload":{"room":"canvas:3"}})");
    manager.received(*ending, FrameKind::ping, "1");
    manager.publish({"", "canvas:1"}, json("2"));
    ending->publish("canvas:2", json("3"));
  };
  CHECK(manager.remove(ann.id(), CloseReason::policy, "enough"));
  CHECK(manager.remove(ann.id(), CloseReason::kicked, "twice"));
  sim.run();
  sim.hook = nullptr;
  CHECK(ann.close_code() == 1008);
  CHECK(ann.close_text() == "enough");
  CHECK(ann.log().size() == told);
  CHECK(sim.story() ==
        Texts{"left ann canvas:2 policy", "left ann canvas:1 policy", "disconnected ann policy", "offline ann"});
  CHECK(bob.messages("canvas:1") == Texts{"2", "2", "2"});  // the others are spoken to as ever
  CHECK(bob.messages("canvas:2") == Texts{"3", "3", "3"});
  CHECK(manager.room({"", "canvas:3"})->size() == 0);
  CHECK(connection->status() == ConnectionStatus::disconnected);
}

TEST_CASE("disconnected: nothing reaches it, nothing comes from it", "[acceptance][canvas]") {
  CanvasSim sim;
  auto& manager = sim.manager();
  const auto ann = sim.connect("ann");
  ann.join("canvas:1");
  sim.run();
  const auto connection = ann.pipe().connection();
  ann.hang_up();
  sim.run();
  sim.forget_story();
  const auto told = ann.log().size();
  CHECK_FALSE(manager.remove(ann.id()));
  CHECK_FALSE(manager.kick(ann.id(), "", false));
  CHECK(manager.revoke(ann.id()) == 0);
  CHECK(manager.send(ann.id(), json("1")) == 0);
  CHECK(manager.send_to_user({"", "ann"}, json("1")) == 0);
  manager.received(*connection, FrameKind::text, R"({"type":"join","payload":{"room":"canvas:1"}})");
  manager.closed(*connection, CloseReason::lost);
  sim.run();
  CHECK(connection->status() == ConnectionStatus::disconnected);
  CHECK(ann.log().size() == told);
  CHECK(sim.story().empty());
  CHECK(sim.is_empty());
  CHECK(manager.room_count() == 0);
}

TEST_CASE("a tab that reloads takes its place up again, and nobody sees it go", "[acceptance][canvas]") {
  CanvasSim sim(canvas_options(), 2);
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann", Dial().on(1));
  bob.join("canvas:1");
  ann.join("canvas:1").aware("canvas:1", R"({"x":1})", 1);
  sim.advance(1s);
  const auto presences = bob.count("presence");
  ann.hang_up(CloseReason::going_away);
  sim.advance(2s);
  bob.publish("canvas:1", R"("while you were away")");
  sim.run();
  const auto again = sim.connect("ann");
  again.resume_session(ann, {"canvas:1"});
  sim.live(30s);
  CHECK(again.types().front() == "connection_ack");  // the upgrade's token: a session alone lets nobody in
  CHECK(again.resumed("canvas:1") == "recovered");
  CHECK(again.messages("canvas:1") == Texts{R"("while you were away")"});
  CHECK(again.awareness("canvas:1").size() == 1);
  CHECK(bob.count("presence") == presences);
  CHECK(bob.view("canvas:1").nulls_told == 0);
  CHECK(sim.told("offline ann") == 0);
  const auto without = sim.connect("ann", Dial().silent());
  CHECK_FALSE(without.is_open());
}

TEST_CASE("a reconnect token is good for 299 s, and not for 301 s", "[acceptance][canvas]") {
  const bool in_time = GENERATE(true, false);
  CanvasSim sim;
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  for (const auto& client : {ann, bob}) client.join("canvas:1");
  CHECK(ann.last("connection_ack")->number("resume_ttl_ms") == 300'000);
  sim.live(3600s);  // the time runs from the drop, however long it was connected
  bob.publish("canvas:1", "1");
  sim.run();
  ann.hang_up(CloseReason::lost);
  sim.run();
  bob.publish("canvas:1", "2");
  sim.live(in_time ? 299s : 301s);
  CHECK(bob.members("canvas:1") == Texts{"bob"});  // the grace of 10 s is over either way
  const auto again = sim.connect("ann");
  again.resume_session(ann, {"canvas:1"});
  sim.run();
  if (in_time) {
    CHECK(again.resumed("canvas:1") == "recovered");
    CHECK(again.messages("canvas:1") == Texts{"2"});
    CHECK(again.last("resumed")->text("connection") == to_string(ann.id()));
  } else {
    CHECK(again.error() == "resume_failed");
    CHECK(again.count("resumed") == 0);
    again.join("canvas:1");  // and goes on as new
    sim.run();
    CHECK(again.count("room_joined") == 1);
  }
  sim.advance(1s);
  CHECK(bob.members("canvas:1") == Texts{"ann", "bob"});
}

TEST_CASE("a reconnect token is its user's, and works once", "[acceptance][canvas]") {
  CanvasSim sim;
  const auto ann = sim.connect("ann", Dial().of("acme"));
  ann.join("canvas:1");
  sim.run();
  ann.hang_up(CloseReason::lost);
  sim.run();
  for (const auto& thief : {sim.connect("bob", Dial().of("acme")), sim.connect("ann", Dial().of("ajax"))}) {
    thief.resume_session(ann, {"canvas:1"});
    sim.run();
    CHECK(thief.error() == "resume_failed");
    CHECK(thief.is_open());
    CHECK(sim.manager().find(thief.id())->rooms.empty());
  }
  const auto again = sim.connect("ann", Dial().of("acme"));
  again.resume_session(ann, {"canvas:1"});
  again.say("ping", "{}");  // by this the server knows that the answer has arrived
  sim.run();
  CHECK(again.resumed("canvas:1") == "recovered");
  const auto third = sim.connect("ann", Dial().of("acme"));
  third.resume_session(ann, {"canvas:1"});
  sim.run();
  CHECK(third.error() == "resume_failed");
  CHECK(again.is_open());
}

TEST_CASE("reauth_required comes in time, and a fresh token goes on with everything", "[acceptance][canvas]") {
  CanvasSim sim;
  const auto ann = sim.connect("ann", Dial().with("ann 100"));
  const auto bob = sim.connect("bob");
  for (const auto& client : {ann, bob}) client.join("canvas:1");
  ann.aware("canvas:1", R"({"x":1})", 1);
  sim.live(69s);
  CHECK(ann.count("reauth_required") == 0);
  sim.live(2s);  // 30 s before the end
  REQUIRE(ann.count("reauth_required") == 1);
  const auto told = *ann.last("reauth_required");
  const auto wall =
      std::chrono::duration_cast<std::chrono::milliseconds>(sim.schedule.executors[0]->wall_now().time_since_epoch());
  CHECK(told.number("grace_ms") == 30'000);
  CHECK(told.number("expires_at") == static_cast<std::uint64_t>((wall + 29s).count()));
  ann.authenticate("ann 1000");
  sim.live(120s);
  CHECK(ann.last("auth_result")->value("authenticated") == "true");
  CHECK(ann.is_open());
  CHECK(ann.count("reauth_required") == 1);
  CHECK(bob.members("canvas:1") == Texts{"ann", "bob"});
  CHECK(bob.awareness("canvas:1").size() == 1);
  CHECK(bob.view("canvas:1").nulls_told == 0);
  CHECK(sim.told("joined ann canvas:1") == 1);
}

TEST_CASE("without a fresh token the connection lasts for the grace, then closes 4001", "[acceptance][canvas]") {
  CanvasSim sim;
  const auto ann = sim.connect("ann", Dial().with("ann 100"));
  const auto late = sim.connect("bob", Dial().with("bob 100"));
  for (const auto& client : {ann, late}) client.join("canvas:1");
  sim.live(129s);  // the end, and 29 s of the grace
  CHECK(ann.is_open());
  ann.publish("canvas:1", "1");
  late.authenticate("bob 100");
  sim.live(2s);
  CHECK(late.messages("canvas:1") == Texts{"1"});
  CHECK(late.is_open());
  CHECK(ann.close_code() == 4001);
  CHECK(sim.told("left ann canvas:1 auth_required") == 1);
  sim.advance(1s);
  CHECK(late.members("canvas:1") == Texts{"bob"});  // at once: what ended is no reload
}

TEST_CASE("nobody else's token renews a connection", "[acceptance][canvas]") {
  const char* token = GENERATE("eve", "ann@ajax", "bad", "ann -1");
  CanvasSim sim;
  const auto ann = sim.connect("ann", Dial().with("ann@acme 100"));
  ann.join("canvas:1");
  sim.live(80s);
  ann.authenticate(token);
  sim.run();
  CHECK(ann.last("auth_result")->value("authenticated") == "false");
  CHECK(ann.close_code() == 4002);
  CHECK(sim.told("left ann canvas:1 auth_failed") == 1);
}

TEST_CASE("a canvas that was closed to a user meanwhile is not resumed", "[acceptance][canvas]") {
  CanvasSim sim;
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  for (const auto& client : {ann, bob}) client.join("canvas:1").join("canvas:2");
  sim.advance(1s);
  ann.hang_up(CloseReason::lost);
  sim.run();
  sim.authorizer->decide = [](const Access& access) {
    return access.target == "canvas:2" && access.identity->user == "ann" ? Permission::deny() : Permission::allow();
  };
  bob.publish("canvas:2", R"("not for ann")");
  const auto again = sim.connect("ann");
  again.resume_session(ann, {"canvas:1", "canvas:2"});
  sim.advance(1s);
  CHECK(again.resumed("canvas:1") == "recovered");
  CHECK(again.resumed("canvas:2") == "denied");
  CHECK(again.messages("canvas:2").empty());
  CHECK(bob.members("canvas:2") == Texts{"bob"});
}

}  // namespace
}  // namespace muster::test
