// Credentials that end, are renewed, are revoked.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

/// "ann 60": ann, for 60 s from now.
Options no_heartbeat() {
  Options options;
  options.heartbeat = 0s;
  return options;
}
void expiring(Sim& sim) {
  sim.authenticator->decide = [&sim](const Credentials& credentials) -> Authentication {
    const auto space = credentials.token.find(' ');
    if (space == std::string::npos) return ScriptedAuthenticator::judge(credentials.token);
    auto who = ScriptedAuthenticator::judge(credentials.token.substr(0, space));
    if (who) {
      who.value().expires_at =
          sim.schedule.executors[0]->wall_now() + std::chrono::seconds(std::stoi(credentials.token.substr(space)));
    }
    return who;
  };
}

TEST_CASE("reauth_required comes reauth_lead before the expiry, the close reauth_grace after it", "[identity]") {
  CheckedSim sim(no_heartbeat());
  expiring(sim);
  const auto ann = sim.connect("ann", Dial().with("ann 60"));
  sim.advance(29s);
  CHECK(ann.count("reauth_required") == 0);
  sim.advance(2s);
  REQUIRE(ann.count("reauth_required") == 1);
  CHECK(ann.last("reauth_required")->number("grace_ms") == 30'000);
  CHECK(ann.last("reauth_required")->number("expires_at") > 0);
  sim.advance(58s);  // 89 s
  CHECK(ann.is_open());
  sim.advance(2s);
  CHECK(ann.close_code() == 4001);
  CHECK(ann.count("reauth_required") == 1);
}

/// A certificate with so much of its time left.
Dial certified(Sim& sim, std::chrono::seconds left, std::string token) {
  Dial with;
  with.token = std::move(token);
  with.client_certificate = ClientCertificate{"CN=ann", "CN=Devices", {"DNS:a", "DNS:b"}, {}};
  with.client_certificate->expires_at = sim.schedule.executors[0]->wall_now() + left;
  return with;
}

TEST_CASE("an authenticator is shown the client certificate, also when it is asked again", "[identity]") {
  CheckedSim sim(no_heartbeat());
  Texts shown;
  sim.authenticator->decide = [&](const Credentials& credentials) {
    const auto& certificate = credentials.client_certificate;
    shown.push_back(certificate ? certificate->subject + "/" + certificate->issuer + "/" +
                                      std::to_string(certificate->alt_names.size()) + certificate->alt_names.front()
                                : "none");
    return ScriptedAuthenticator::judge(credentials.token);
  };
  const auto ann = sim.connect("ann", certified(sim, 3600s, "ann"));
  ann.authenticate("ann");
  sim.run();
  CHECK(shown == Texts{"CN=ann/CN=Devices/2DNS:a", "CN=ann/CN=Devices/2DNS:a"});
  const auto bob = sim.connect("bob");
  CHECK(shown.back() == "none");
}

TEST_CASE("an identity ends with the client certificate, whatever its token says, and however often it is renewed",
          "[identity]") {
  CheckedSim sim(no_heartbeat());
  expiring(sim);
  const auto ann = sim.connect("ann", certified(sim, 60s, "ann 1000"));
  const auto bob = sim.connect("bob", certified(sim, 1000s, "bob 60"));  // the earlier end holds
  sim.advance(29s);
  CHECK(ann.count("reauth_required") + bob.count("reauth_required") == 0);
  sim.advance(2s);
  CHECK(ann.count("reauth_required") == 1);
  CHECK(bob.count("reauth_required") == 1);
  ann.authenticate("ann 1000");
  bob.authenticate("bob 100");
  sim.advance(10s);
  CHECK(ann.last("auth_result")->value("authenticated") == "true");
  CHECK(ann.count("reauth_required") == 1);  // it would be renewed for ever, and no later
  sim.advance(20s);                          // 61 s
  ann.authenticate("ann 1000");
  sim.run();
  CHECK(ann.last("auth_result")->text("error") == "The client certificate has expired");
  CHECK(ann.close_code() == 4002);
  CHECK(bob.is_open());
  CHECK_FALSE(sim.connect("ann", certified(sim, 0s, "ann 1000")).is_open());
}

TEST_CASE("a session whose credentials ended may be resumed with new ones", "[identity]") {
  CheckedSim sim(no_heartbeat());
  expiring(sim);
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.connect("ann", Dial().with("ann 60"));
  ann.join("r");
  sim.advance(1s);
  sim.advance(90s);  // the token service is away for that long
  REQUIRE(ann.close_code() == 4001);
  CHECK(bob.members("r") == Texts{"bob"});  // it is no member meanwhile
  bob.publish("r", "1");
  sim.run();
  const auto again = sim.connect("ann", Dial().with("ann 60"));
  again.resume_session(ann, {"r"});
  sim.run();
  CHECK(again.resumed("r") == "recovered");
  CHECK(again.messages("r") == Texts{"1"});
  CHECK(again.last("resumed")->text("connection") == to_string(ann.id()));
}

TEST_CASE("a token shorter than the lead is warned about at once", "[identity]") {
  CheckedSim sim(no_heartbeat());
  expiring(sim);
  const auto ann = sim.connect("ann", Dial().with("ann 10"));
  sim.advance(10ms);
  CHECK(ann.count("reauth_required") == 1);
  CHECK(ann.is_open());
}

TEST_CASE("a fresh token of the same user is authorised for every room, then swapped in", "[identity]") {
  CheckedSim sim(no_heartbeat());
  expiring(sim);
  const auto ann = sim.connect("ann", Dial().with("ann 60"));
  ann.join("a").join("b");
  sim.advance(40s);
  std::vector<std::string> asked;
  sim.authorizer->decide = [&](const Access& access) {
    if (access.action == Action::join) asked.push_back(access.target);
    return Permission::allow();
  };
  ann.authenticate("ann 1000");
  sim.run();
  REQUIRE(ann.count("auth_result") == 1);
  CHECK(ann.last("auth_result")->value("authenticated") == "true");
  CHECK(ann.count("connection_ack") == 1);  // only on first success
  std::sort(asked.begin(), asked.end());
  CHECK(asked == Texts{"a", "b"});
  sim.advance(900s);
  CHECK(ann.is_open());
  CHECK(ann.count("reauth_required") == 1);
  sim.advance(90s);
  CHECK(ann.count("reauth_required") == 2);
}

TEST_CASE("whole or nothing: one room refused, and the old credentials stay", "[identity]") {
  CheckedSim sim(no_heartbeat());
  expiring(sim);
  const auto ann = sim.connect("ann", Dial().with("ann 60"));
  ann.join("a").join("b");
  sim.run();
  sim.authorizer->decide = [](const Access& access) {
    return access.target == "a" ? Permission::deny() : Permission::allow();
  };
  ann.authenticate("ann 1000");
  sim.run();
  CHECK(ann.error() == "permission_denied");
  CHECK(ann.count("auth_result") == 0);
  CHECK(ann.is_open());
  CHECK(sim.manager().find(ann.id())->rooms.size() == 2);
  sim.advance(91s);
  CHECK(ann.close_code() == 4001);  // the old expiry
}

TEST_CASE("credentials of another user close 4002, bad ones too, unavailable ones do not", "[identity]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  const auto cat = sim.connect("cat");
  const auto dan = sim.connect("dan");
  ann.authenticate("eve");
  bob.authenticate("bad");
  dan.authenticate("dan@other");
  sim.run();
  for (const auto& client : {ann, bob, dan}) {
    CHECK(client.last("auth_result")->value("authenticated") == "false");
    CHECK(client.close_code() == 4002);
  }
  sim.authenticator->answer = Answer::unavailable();
  cat.authenticate("cat");
  sim.run();
  CHECK(cat.error() == "unavailable");
  CHECK(cat.is_open());
}

TEST_CASE("roles of the new credentials count from then on", "[identity]") {
  CheckedSim sim;
  sim.authenticator->decide = [](const Credentials& credentials) {
    return accept(Identity{"ann", "", {credentials.token}, {}});
  };
  sim.authorizer->decide = [](const Access& access) {
    return access.identity->roles.at(0) == "writer" || access.action == Action::join ? Permission::allow()
                                                                                     : Permission::deny();
  };
  const auto ann = sim.connect("ann", Dial().with("reader"));
  ann.join("r").publish("r", "1");
  sim.run();
  CHECK(ann.error() == "permission_denied");
  ann.authenticate("writer").publish("r", "2");
  sim.run();
  CHECK(ann.reply()->type() == "ack");
  CHECK(sim.manager().find(ann.id())->roles == Texts{"writer"});
}

TEST_CASE("revoke closes 4003 by user, tenant and connection, and no session comes back", "[identity]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann", Dial().of("acme"));
  const auto tablet = sim.connect("ann", Dial().of("acme"));
  const auto bob = sim.connect("bob", Dial().of("acme"));
  const auto cat = sim.connect("cat", Dial().of("ajax"));
  const auto dan = sim.connect("dan", Dial().of("ajax"));
  const auto gone = sim.connect("ann", Dial().of("acme"));
  for (const auto& client : {ann, bob, gone}) client.join("r");
  sim.advance(1s);
  gone.hang_up(CloseReason::lost);
  sim.run();
  CHECK(bob.members("r") == Texts{"ann", "ann", "bob"});
  CHECK(sim.manager().revoke(UserKey{"acme", "ann"}) == 2);
  sim.advance(1s);
  CHECK(ann.close_code() == 4003);
  CHECK(tablet.close_code() == 4003);
  CHECK(bob.members("r") == Texts{"bob"});  // the one in its grace as well
  const auto again = sim.connect("ann", Dial().of("acme"));
  again.resume_session(gone, {"r"});
  sim.run();
  CHECK(again.error() == "resume_failed");
  CHECK(sim.manager().revoke(cat.id()) == 1);
  CHECK(sim.manager().revoke_tenant("acme") == 2);
  CHECK(sim.manager().revoke(UserKey{"acme", "nobody"}) == 0);
  sim.run();
  CHECK(cat.close_code() == 4003);
  CHECK(bob.close_code() == 4003);
  CHECK(dan.is_open());
}

TEST_CASE("revoke of a connection that was lost ends its grace, and its session", "[identity]") {
  CheckedSim sim;
  const auto bob = sim.connect("bob");
  const auto ann = sim.connect("ann");
  const auto laptop = sim.connect("ann");
  for (const auto& client : {bob, ann, laptop}) client.join("r");
  sim.advance(1s);
  for (const auto& client : {ann, laptop}) client.hang_up(CloseReason::lost);
  sim.run();
  CHECK(sim.manager().revoke(ann.id()) == 0);  // there is no connection to close
  sim.advance(1s);
  CHECK(bob.members("r") == Texts{"ann", "bob"});
  const auto again = sim.connect("ann");
  again.resume_session(ann, {"r"});
  sim.run();
  CHECK(again.error() == "resume_failed");
  again.resume_session(laptop, {"r"});  // the other session is as good as before
  sim.run();
  CHECK(again.resumed("r") == "recovered");
}

}  // namespace
}  // namespace muster::test
