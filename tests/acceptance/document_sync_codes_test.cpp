// Document sync, 3 of 3: the codes that connections are closed with, and a protocol that knows fewer of them.
//
// | requirement | test |
// | --- | --- |
// | 1000 | 1000: a handler ends the connection as the client wished, or the server removes it |
// | 1001 | 1001: close_all, drain and shutdown |
// | 1008 | 1008: too many invalid messages, too many frames, too much before authentication |
// | 1011 | 1011: the embedder's handler or hook throws |
// | 4001 | 4001: no authentication in time, none at all, or none again when the credentials end |
// | 4002 | 4002: a bad token, at first or again, and another user's |
// | 4003 | 4003: a refused document, where that closes, and revoked credentials |
// | the upgrade's statuses | an upgrade is refused 401 and 503 before there is anything to close |
// | a map of a protocol's own | a protocol's own map sends 1008 for what is refused, and the default map stays as it is |
// | the map is the codes' alone | what the embedder hears is the reason, whatever the code |
#include <stdexcept>

#include "support/checked_sim.hpp"
#include "support/recoded_protocol.hpp"

namespace muster::test {
namespace {

/// For clients that know 1000, 1001, 1008 and 1011 only: what is refused to them is a policy (1008).
std::uint16_t plain_code(CloseReason reason, std::uint16_t usual) {
  switch (reason) {
    case CloseReason::auth_required:
    case CloseReason::auth_failed:
    case CloseReason::permission_denied:
    case CloseReason::revoked:
      return 1008;
    default:
      return usual;
  }
}

struct Coded {
  explicit Coded(Options options = {}) : sim(setup(std::move(options))) {
    sim.manager().on("goodbye", [](Connection& who, const Payload&) { who.close(CloseReason::normal); });
    sim.manager().on("break", [](Connection&, const Payload&) { throw std::runtime_error("a bug of the embedder"); });
    sim.authorizer->decide = [](const Access& access) {
      return access.target == "doc:secret" ? Permission::deny() : Permission::allow();
    };
    // "ann 60": ann, for 60 s.
    sim.authenticator->decide = [this](const Credentials& credentials) {
      const auto space = credentials.token.find(' ');
      auto who = ScriptedAuthenticator::judge(credentials.token.substr(0, space));
      if (who && space != std::string::npos) {
        who.value().expires_at =
            sim.schedule.executors[0]->wall_now() + std::chrono::seconds(std::stoi(credentials.token.substr(space)));
      }
      return who;
    };
  }
  static Setup setup(Options options) {
    options.heartbeat = 0s;
    options.close_on_permission_denied = true;
    Setup setup;
    setup.options = std::move(options);
    setup.protocols = {std::make_shared<RecodedProtocol>("documents.v1.json", plain_code)};
    return setup;
  }
  CheckedSim sim;
};

TEST_CASE("1000: a handler ends the connection as the client wished, or the server removes it",
          "[acceptance][document_sync]") {
  Coded scene;
  const auto ann = scene.sim.connect("ann");
  const auto bob = scene.sim.connect("bob");
  ann.subscribe("doc:1").say("goodbye", "{}");
  CHECK(scene.sim.manager().remove(bob.id()));
  scene.sim.run();
  CHECK(ann.close_code() == 1000);
  CHECK(bob.close_code() == 1000);
}

TEST_CASE("1001: close_all, drain and shutdown", "[acceptance][document_sync]") {
  Coded scene;
  const auto ann = scene.sim.connect("ann");
  SECTION("close_all") { scene.sim.manager().close_all(CloseReason::going_away, "", nullptr); }
  SECTION("drain") { scene.sim.manager().drain(1s, 1s, nullptr); }
  SECTION("shutdown") { scene.sim.manager().shutdown(nullptr); }
  scene.sim.advance(2s);
  CHECK(ann.close_code() == 1001);
}

TEST_CASE("1008: too many invalid messages, too many frames, too much before authentication",
          "[acceptance][document_sync]") {
  Options options;
  options.rate_patience = 0ms;
  Coded scene(options);
  const auto ann = scene.sim.connect("ann");
  for (int i = 0; i < 10; ++i) ann.raw("{");
  const auto bob = scene.sim.connect("bob");
  for (int i = 0; i < 2000; ++i) bob.pong();
  const auto eve = scene.sim.connect("eve", Dial().silent());
  eve.authenticate(std::string(17 * 1024, 'x'));
  scene.sim.run();
  for (const auto& client : {ann, bob, eve}) CHECK(client.close_code() == 1008);
}

TEST_CASE("1011: the embedder's handler or hook throws", "[acceptance][document_sync]") {
  Coded scene;
  const auto ann = scene.sim.connect("ann");
  const auto bob = scene.sim.connect("bob");
  const auto cat = scene.sim.connect("cat");
  scene.sim.hook = [](const std::string& line, Connection*) {
    if (line == "joined bob doc:1") throw std::runtime_error("a bug of the embedder");
  };
  for (const auto& client : {ann, bob, cat}) client.subscribe("doc:1");
  ann.say("break", "{}");
  scene.sim.run();
  CHECK(ann.close_code() == 1011);
  CHECK(bob.close_code() == 1011);
  CHECK(cat.is_open());
}

TEST_CASE("4001: no authentication in time, none at all, or none again when the credentials end",
          "[acceptance][document_sync]") {
  Coded scene;
  const auto silent = scene.sim.connect("silent", Dial().silent());
  const auto rash = scene.sim.connect("rash", Dial().silent());
  const auto expiring = scene.sim.connect("ann", Dial().with("ann 60"));
  rash.subscribe("doc:1");
  scene.sim.run();
  CHECK(rash.error() == "auth_required");
  CHECK(rash.close_code() == 4001);
  scene.sim.advance(5s);
  CHECK(silent.close_code() == 4001);
  CHECK(silent.close_text() == "Authentication timeout");
  scene.sim.advance(84s);
  CHECK(expiring.count("reauth_required") == 1);
  CHECK(expiring.is_open());
  scene.sim.advance(2s);
  CHECK(expiring.close_code() == 4001);
}

TEST_CASE("4002: a bad token, at first or again, and another user's", "[acceptance][document_sync]") {
  Coded scene;
  const auto eve = scene.sim.connect("eve", Dial().silent());
  const auto ann = scene.sim.connect("ann");
  const auto bob = scene.sim.connect("bob");
  eve.authenticate("bad");
  ann.authenticate("bad");
  bob.authenticate("ann");
  scene.sim.run();
  for (const auto& client : {eve, ann, bob}) {
    CHECK(client.last("auth_result")->value("authenticated") == "false");
    CHECK_FALSE(client.last("auth_result")->text("error").empty());
    CHECK(client.close_code() == 4002);
  }
}

TEST_CASE("4003: a refused document, where that closes, and revoked credentials", "[acceptance][document_sync]") {
  Coded scene;
  const auto ann = scene.sim.connect("ann");
  const auto bob = scene.sim.connect("bob");
  ann.subscribe("doc:1").subscribe("doc:secret");
  CHECK(scene.sim.manager().revoke(UserKey{"", "bob"}) == 1);
  scene.sim.run();
  CHECK(ann.error() == "permission_denied");
  CHECK(ann.close_code() == 4003);
  CHECK(bob.close_code() == 4003);
}

TEST_CASE("an upgrade is refused 401 and 503 before there is anything to close", "[acceptance][document_sync]") {
  Options options;
  options.max_connections = 1;
  Coded scene(options);
  const auto bad = scene.sim.connect("bad");
  const auto ann = scene.sim.connect("ann");
  const auto late = scene.sim.connect("bob");
  REQUIRE(bad.pipe().answer());
  REQUIRE(late.pipe().answer());
  CHECK(describe(bad.pipe().answer()->reason).http_status == 401);
  CHECK(describe(late.pipe().answer()->reason).http_status == 503);
  for (const auto& client : {bad, late}) CHECK(client.close_code() == 0);
  CHECK(ann.is_open());
}

TEST_CASE("a protocol's own map sends 1008 for what is refused, and the default map stays as it is",
          "[acceptance][document_sync]") {
  const bool plain = GENERATE(true, false);
  const auto code = [plain](std::uint16_t usual, std::uint16_t mapped) { return plain ? mapped : usual; };
  Coded scene;
  auto& sim = scene.sim;
  const auto connect = [&](const std::string& name, Dial how = {}) {
    const auto client = sim.connect(name, plain ? how.speaking("documents.v1.json") : how);
    REQUIRE(client.pipe().answer());
    CHECK(client.pipe().answer()->subprotocol == (plain ? "documents.v1.json" : ""));
    return client;
  };
  const auto silent = connect("silent", Dial().silent());
  const auto rash = connect("rash", Dial().silent());
  const auto eve = connect("eve", Dial().silent());
  const auto expiring = connect("ann", Dial().with("ann 60"));
  const auto denied = connect("denied");
  const auto revoked = connect("revoked");
  rash.subscribe("doc:1");
  eve.authenticate("bad");
  denied.subscribe("doc:secret");
  (void)sim.manager().revoke(revoked.id());
  // What is not refused to anybody.
  const auto flood = connect("flood");
  for (int i = 0; i < 10; ++i) flood.raw("{");
  const auto broken = connect("broken");
  broken.say("break", "{}");
  const auto gone = connect("gone");
  gone.say("goodbye", "{}");
  sim.advance(100s);
  CHECK(silent.close_code() == code(4001, 1008));
  CHECK(rash.close_code() == code(4001, 1008));
  CHECK(eve.close_code() == code(4002, 1008));
  CHECK(expiring.close_code() == code(4001, 1008));
  CHECK(denied.close_code() == code(4003, 1008));
  CHECK(revoked.close_code() == code(4003, 1008));
  CHECK(flood.close_code() == 1008);
  CHECK(broken.close_code() == 1011);
  CHECK(gone.close_code() == 1000);
  const auto last = connect("last");
  sim.manager().shutdown(nullptr);
  sim.run();
  CHECK(last.close_code() == 1001);
}

TEST_CASE("what the embedder hears is the reason, whatever the code", "[acceptance][document_sync]") {
  Coded scene;
  const auto ann = scene.sim.connect("ann", Dial().speaking("documents.v1.json"));
  const auto bob = scene.sim.connect("bob");
  for (const auto& client : {ann, bob}) client.subscribe("doc:1");
  scene.sim.run();
  (void)scene.sim.manager().revoke_tenant("");
  scene.sim.run();
  CHECK(ann.close_code() == 1008);
  CHECK(bob.close_code() == 4003);
  CHECK(ann.close_text() == bob.close_text());
  CHECK(scene.sim.told("left ann doc:1 revoked") == 1);
  CHECK(scene.sim.told("disconnected ann revoked") == 1);
  CHECK(scene.sim.manager().metrics().closed[static_cast<std::size_t>(CloseReason::revoked)] == 2);
}

}  // namespace
}  // namespace muster::test
