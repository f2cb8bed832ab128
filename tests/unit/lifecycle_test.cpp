// How a connection comes to be: authentication in the upgrade or by the first message, in time, late, or never.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("a token in the upgrade connects, and connection_ack says who one is", "[lifecycle]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann", Dial().of("acme"));
  REQUIRE(ann.is_open());
  CHECK(ann.types() == Texts{"connection_ack"});
  const auto ack = ann.last("connection_ack");
  REQUIRE(ack);
  CHECK(ack->text("connection") == to_string(ann.id()));
  CHECK(ack->text("user_id") == "ann");
  CHECK(ack->text("tenant") == "acme");
  CHECK(ack->number("heartbeat_ms") == 30000);
  CHECK(ack->text("resume_token").size() == 32);
  CHECK(sim.manager().connection_count() == 1);
  CHECK(sim.manager().pending_count() == 0);
}

TEST_CASE("what the authenticator gets tells where the token was and who asks", "[lifecycle]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann", Dial().from(RemoteAddress::v4(10, 0, 0, 1)));
  CHECK(sim.authenticator->last.token == "ann");
  CHECK(sim.authenticator->last.source == TokenSource::authorization_header);
  CHECK(sim.authenticator->last.connection == ann.id());
  CHECK(sim.authenticator->last.remote_address.text == "10.0.0.1");
  CHECK(sim.authenticator->last.path == "/ws");
}

TEST_CASE("a bad token in the upgrade is refused before there is a connection", "[lifecycle]") {
  CheckedSim sim;
  const auto eve = sim.connect("bad");
  const auto answer = eve.pipe().answer();
  REQUIRE(answer);
  CHECK_FALSE(answer->accepted);
  CHECK(answer->reason == CloseReason::auth_failed);
  CHECK(describe(answer->reason).http_status == 401);
  CHECK(sim.is_empty());
  CHECK(sim.story().empty());
  CHECK(sim.manager().metrics().refused_auth == 1);
}

TEST_CASE("without a token the first message authenticates: auth_result, then connection_ack", "[lifecycle]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann", Dial().silent());
  REQUIRE(ann.is_open());
  CHECK(sim.manager().pending_count() == 1);
  CHECK(sim.manager().connection_count() == 0);
  CHECK_FALSE(sim.manager().contains(ann.id()));
  CHECK(sim.story().empty());

  ann.authenticate("ann@acme");
  sim.run();
  CHECK(ann.types() == Texts{"auth_result", "connection_ack"});
  const auto result = ann.last("auth_result");
  REQUIRE(result);
  CHECK(result->value("authenticated") == "true");
  CHECK(result->text("user_id") == "ann");
  CHECK(result->text("tenant") == "acme");
  CHECK(sim.manager().pending_count() == 0);
  CHECK(sim.manager().contains(ann.id()));
  CHECK(sim.authenticator->last.source == TokenSource::message);
}

TEST_CASE("no first message in time closes 4001, and traffic does not extend the time", "[lifecycle]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann", Dial().silent());
  for (int i = 0; i < 4; ++i) {
    sim.advance(1s);
    ann.pong();
  }
  sim.advance(999ms);
  CHECK(ann.is_open());
  sim.advance(1ms);
  CHECK_FALSE(ann.is_open());
  CHECK(ann.close_code() == 4001);
  CHECK(ann.close_text() == "Authentication timeout");
  CHECK(sim.is_empty());
}

TEST_CASE("a first message that is not authenticate is auth_required, and closes 4001", "[lifecycle]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann", Dial().silent());
  ann.join("r");
  sim.run();
  CHECK(ann.error() == "auth_required");
  CHECK(ann.close_code() == 4001);
  CHECK(sim.manager().room_count() == 0);
  CHECK(sim.is_empty());
}

TEST_CASE("authenticate without a token is auth_required, and closes 4001", "[lifecycle]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann", Dial().silent());
  ann.authenticate("");
  sim.run();
  CHECK(ann.close_code() == 4001);
  CHECK(sim.authenticator->asked == 0);
  CHECK(sim.is_empty());
}

TEST_CASE("a bad token in the first message is told, and closes 4002", "[lifecycle]") {
  CheckedSim sim;
  const auto eve = sim.connect("eve", Dial().silent());
  eve.authenticate("bad");
  sim.run();
  const auto result = eve.last("auth_result");
  REQUIRE(result);
  CHECK(result->value("authenticated") == "false");
  CHECK_FALSE(result->text("error").empty());
  CHECK(eve.close_code() == 4002);
  CHECK(eve.count("connection_ack") == 0);
  CHECK(sim.is_empty());
}

TEST_CASE("who is refused before it was authenticated is rejected in the end, who goes by itself is disconnected",
          "[lifecycle]") {
  CheckedSim sim;
  const auto silent = sim.connect("silent", Dial().silent());
  const auto bad = sim.connect("bad", Dial().silent());
  const auto rash = sim.connect("rash", Dial().silent());
  const auto gone = sim.connect("gone", Dial().silent());
  std::vector<std::shared_ptr<Connection>> connections;
  for (const auto& client : {silent, bad, rash, gone}) {
    connections.push_back(client.pipe().connection());
    CHECK(connections.back()->status() == ConnectionStatus::authenticating);
  }
  bad.authenticate("bad");
  rash.join("r");
  gone.hang_up();
  sim.advance(5s);
  for (const auto& client : {silent, bad, rash}) CHECK(client.close_code() != 0);
  for (std::size_t i = 0; i < 3; ++i) CHECK(connections[i]->status() == ConnectionStatus::rejected);
  CHECK(connections[3]->status() == ConnectionStatus::disconnected);
}

TEST_CASE("more than pre_auth_messages before authentication closes 1008", "[lifecycle]") {
  Options options;
  options.pre_auth_messages = 3;
  CheckedSim sim(options);
  sim.authenticator->answer = Answer::never();
  const auto eve = sim.connect("eve", Dial().silent());
  for (int i = 0; i < 3; ++i) eve.authenticate("eve");
  sim.run();
  CHECK(eve.is_open());
  eve.authenticate("eve");
  sim.run();
  CHECK(eve.close_code() == 1008);
  CHECK(sim.is_empty());
}

TEST_CASE("more than pre_auth_bytes before authentication closes 1008", "[lifecycle]") {
  Options options;
  options.pre_auth_bytes = 100;
  CheckedSim sim(options);
  const auto eve = sim.connect("eve", Dial().silent());
  eve.authenticate(std::string(200, 'x'));
  sim.run();
  CHECK(eve.close_code() == 1008);
  CHECK(sim.authenticator->asked == 0);
  CHECK(sim.is_empty());
}

TEST_CASE("an answer that comes later, from another thread, is as good", "[lifecycle]") {
  CheckedSim sim;
  sim.authenticator->answer = Answer::later(100ms);
  const auto ann = sim.connect("ann");
  CHECK_FALSE(ann.pipe().answer());
  CHECK(sim.manager().pending_count() == 1);
  sim.advance(100ms);
  CHECK(ann.is_open());
  CHECK(sim.manager().connection_count() == 1);
}

TEST_CASE("an upgrade whose authenticator never answers is refused 503 after answer_timeout", "[lifecycle]") {
  CheckedSim sim;
  sim.authenticator->answer = Answer::never();
  const auto ann = sim.connect("ann");
  sim.advance(4999ms);
  CHECK_FALSE(ann.pipe().answer());
  sim.advance(1ms);
  const auto answer = ann.pipe().answer();
  REQUIRE(answer);
  CHECK_FALSE(answer->accepted);
  CHECK(describe(answer->reason).http_status == 503);
  CHECK(answer->error.code == errc::unavailable);
  CHECK(sim.is_empty());

  sim.authenticator->withheld.release();  // too late
  sim.run();
  CHECK(sim.is_empty());
  CHECK(sim.story().empty());
}

TEST_CASE("a first message whose authenticator never answers ends by a deadline", "[lifecycle]") {
  CheckedSim sim;
  sim.authenticator->answer = Answer::never();
  const auto ann = sim.connect("ann", Dial().silent());
  ann.authenticate("ann");
  sim.advance(5s);
  CHECK_FALSE(ann.is_open());
  sim.authenticator->withheld.release();
  sim.run();
  CHECK(sim.is_empty());
  CHECK(ann.count("connection_ack") == 0);
}

TEST_CASE("an authenticator that throws refuses", "[lifecycle]") {
  CheckedSim sim;
  sim.authenticator->answer = Answer::raise();
  const auto ann = sim.connect("ann");
  const auto answer = ann.pipe().answer();
  REQUIRE(answer);
  CHECK_FALSE(answer->accepted);
  CHECK(sim.manager().metrics().callback_failures == 1);
  CHECK(sim.is_empty());
}

TEST_CASE("a peer that goes away before it is authenticated leaves nothing, and a late answer does nothing",
          "[lifecycle]") {
  CheckedSim sim;
  sim.authenticator->answer = Answer::never();
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob", Dial().silent());
  bob.authenticate("bob");
  sim.run();
  CHECK(sim.manager().pending_count() == 2);
  ann.hang_up(CloseReason::lost);
  bob.hang_up(CloseReason::lost);
  sim.run();
  CHECK(sim.is_empty());
  sim.authenticator->withheld.release();
  sim.run();
  CHECK(sim.is_empty());
  CHECK(sim.story().empty());
}

TEST_CASE("auth_mode upgrade_only refuses who brings no token", "[lifecycle]") {
  Options options;
  options.auth_mode = AuthMode::upgrade_only;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann", Dial().silent());
  REQUIRE(ann.pipe().answer());
  CHECK(ann.pipe().answer()->reason == CloseReason::auth_required);
  CHECK(sim.connect("bob").is_open());
}

TEST_CASE("auth_mode message_only takes no token from the upgrade", "[lifecycle]") {
  Options options;
  options.auth_mode = AuthMode::message_only;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  CHECK(ann.is_open());
  CHECK(sim.manager().pending_count() == 1);
  ann.authenticate("ann");
  sim.run();
  CHECK(sim.manager().connection_count() == 1);
}

TEST_CASE("commands behind an authentication in flight wait for it", "[lifecycle]") {
  CheckedSim sim;
  sim.authenticator->answer = Answer::later(50ms);
  const auto ann = sim.connect("ann", Dial().silent());
  ann.authenticate("ann").join("r").say("ping", "{}");
  sim.run();
  CHECK(ann.types().empty());
  sim.advance(50ms);
  CHECK(ann.types() == Texts{"auth_result", "connection_ack", "room_joined", "awareness_state", "pong"});
}

TEST_CASE("an id of the embedder's own is kept, and a taken one refused", "[lifecycle]") {
  CheckedSim sim;
  Dial dial;
  dial.id = ConnectionId(77);
  const auto ann = sim.connect("ann", dial);
  CHECK(ann.id() == ConnectionId(77));
  const auto bob = sim.connect("bob", dial);
  REQUIRE(bob.pipe().answer());
  CHECK_FALSE(bob.pipe().answer()->accepted);
  CHECK(bob.pipe().answer()->error.code == errc::invalid_message);
  CHECK(sim.manager().metrics().reserved == 1);
}

TEST_CASE("ten invalid messages in a row close 1008, a good one starts the count again", "[lifecycle]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  for (int i = 0; i < 9; ++i) ann.raw("no json");
  ann.say("ping", "{}");
  for (int i = 0; i < 9; ++i) ann.raw("no json");
  sim.run();
  CHECK(ann.is_open());
  CHECK(ann.error() == "invalid_message");
  CHECK(ann.count("error") == 18);
  ann.raw("no json");
  sim.run();
  CHECK(ann.close_code() == 1008);
}

TEST_CASE("a binary frame closes 1003", "[lifecycle]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.binary("x");
  sim.run();
  CHECK(ann.close_code() == 1003);
  CHECK(sim.is_empty());
}

TEST_CASE("a message above max_message_bytes closes 1009", "[lifecycle]") {
  Options options;
  options.max_message_bytes = 200;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann");
  ann.join("r").publish("r", quoted(std::string(300, 'x')));
  sim.run();
  CHECK(ann.close_code() == 1009);
}

TEST_CASE("JSON nested too deeply is invalid_message", "[lifecycle]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.join("r").publish("r", std::string(40, '[') + std::string(40, ']'));
  sim.run();
  CHECK(ann.error() == "invalid_message");
  CHECK(ann.is_open());
}

TEST_CASE("who is not authenticated yet has an identity with empty members", "[lifecycle]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann", Dial().silent());
  const auto connection = ann.pipe().connection();
  REQUIRE(connection);
  const Identity& nobody = connection->identity();
  CHECK((nobody.user.empty() && nobody.tenant.empty() && nobody.roles.empty() && !nobody.expires_at));
  ann.authenticate("ann@acme");
  sim.run();
  CHECK(connection->identity().user == "ann");
  CHECK(connection->identity().tenant == "acme");
}

}  // namespace
}  // namespace muster::test
