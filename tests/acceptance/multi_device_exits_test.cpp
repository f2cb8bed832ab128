// What a registry of users with several devices must do when one goes: clean up, however it goes.
//
// | requirement                                 | test                                                                  |
// |---------------------------------------------|-----------------------------------------------------------------------|
// | clean-up on every exit path of one device   | whatever ends one device, it is cleaned up and the others stay        |
// | clean-up when everything is closed          | whatever closes everyone, nothing is left                             |
// | clean-up of who never got in                | whatever ends a device that is not let in, nothing is left            |
#include <functional>
#include <stdexcept>

#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

struct Exit {
  const char* name;
  std::function<void(Sim&, const Client& device)> happens;
  /// Of the device; by default, ann's that lasts.
  const char* token = "ann";
  std::size_t devices_per_user = 0;
};

Exit found_by_the_adapter(const char* name, CloseReason reason) {
  return {name,
          [reason](Sim& sim, const Client& device) { sim.manager().fail(*device.pipe().connection(), reason, ""); }};
}
Exit says(const char* name, std::string text, int times = 1) {
  return {name, [text = std::move(text), times](Sim&, const Client& device) {
            for (int i = 0; i < times; ++i) device.raw(text);
          }};
}

/// The rooms of a session are authorised one by one; until then its places are kept, whatever happens.
std::function<void(Sim&, const Client&)> cut_off_while_resuming(CloseReason how) {
  return [how](Sim& sim, const Client& device) {
    device.hang_up(CloseReason::lost);
    const auto next = sim.connect("ann");
    sim.authorizer->answer = Answer::later(2s);
    next.resume_session(device, {"r"});
    sim.advance(1s);
    next.hang_up(how);
    sim.run();
    sim.authorizer->answer = Answer::now();
  };
}

const std::vector<Exit>& exits() {
  static const std::vector<Exit> all{
      {"it logs out", [](Sim&, const Client& device) { device.hang_up(CloseReason::normal); }},
      {"its page is reloaded", [](Sim&, const Client& device) { device.hang_up(CloseReason::going_away); }},
      {"its network goes", [](Sim&, const Client& device) { device.hang_up(CloseReason::lost); }},
      {"it vanishes in silence", [](Sim&, const Client& device) { device.vanish(); }},
      {"a write finds it gone",
       [](Sim& sim, const Client& device) {
         device.pipe().fail_write(1);
         (void)sim.manager().send(device.id(), json("1"));
       }},
      {"it does not read",
       [](Sim& sim, const Client& device) {
         device.stall();
         (void)sim.manager().send(device.id(), json("1"));
       }},
      {"it does not read, and much is to be told",
       [](Sim& sim, const Client& device) {
         device.stall();
         for (int i = 0; i < 30; ++i) (void)sim.manager().send(device.id(), json('"' + std::string(50000, 'x') + '"'));
       }},
      {"it is removed", [](Sim& sim, const Client& device) { (void)sim.manager().remove(device.id()); }},
      {"it is kicked", [](Sim& sim, const Client& device) { (void)sim.manager().kick(device.id(), "Out", true); }},
      {"it is revoked", [](Sim& sim, const Client& device) { (void)sim.manager().revoke(device.id()); }},
      {"a handler closes it", [](Sim&, const Client& device) { device.say("close_me", "{}"); }},
      {"a handler throws", [](Sim&, const Client& device) { device.say("throw", "{}"); }},
      {"it offers another user's token", [](Sim&, const Client& device) { device.authenticate("eve"); }},
      {"it offers a bad token", [](Sim&, const Client& device) { device.authenticate("bad"); }},
      {"its credentials end", [](Sim&, const Client&) {}, "ann for 10 s"},
      {"too many devices: the oldest goes",
       [](Sim& sim, const Client&) {
         const auto third = sim.connect("ann");
         sim.run();
         third.hang_up();
       },
       "ann", 2},
      {"another connection takes its session up, and logs out",
       [](Sim& sim, const Client& device) {
         const auto next = sim.connect("ann");
         next.resume_session(device, {"r"});
         sim.run();
         next.hang_up();
       }},
      {"its session is being taken up, and that connection logs out", cut_off_while_resuming(CloseReason::normal)},
      {"its session is being taken up, and that connection is lost", cut_off_while_resuming(CloseReason::lost)},
      {"its executor stops", [](Sim&, const Client& device) { device.executor()->loop().stop(); }},
      says("it is not allowed to", R"({"type":"join","payload":{"room":"forbidden"}})"),
      says("it talks nonsense", "nonsense", 10),
      says("it floods", R"({"type":"ping"})", 600),
      says("its message is too long", std::string(70000, ' ')),
      {"it sends binary", [](Sim&, const Client& device) { device.binary("x"); }},
      found_by_the_adapter("protocol error", CloseReason::protocol_error),
      found_by_the_adapter("unsupported data", CloseReason::unsupported_data),
      found_by_the_adapter("not UTF-8", CloseReason::invalid_utf8),
      found_by_the_adapter("too big on the wire", CloseReason::message_too_big),
  };
  return all;
}
constexpr std::size_t exit_count = 29;

/// Lets time pass for those who live.
void pass(Sim& sim, std::chrono::seconds time, const std::vector<Client>& living) {
  for (auto second = 0s; second < time; ++second) {
    for (const auto& client : living) client.pong();
    sim.advance(1s);
  }
}

std::size_t told_of(const Sim& sim, const std::string& beginning) {
  const auto begins = [&beginning](const std::string& line) { return line.rfind(beginning, 0) == 0; };
  return static_cast<std::size_t>(std::count_if(sim.story().begin(), sim.story().end(), begins));
}

TEST_CASE("whatever ends one device, it is cleaned up and the others stay", "[acceptance]") {
  REQUIRE(exits().size() == exit_count);
  const Exit& exit = exits()[GENERATE(range(std::size_t{0}, exit_count))];
  CAPTURE(exit.name);
  Options options;
  options.close_on_permission_denied = true;
  options.max_connections_per_user = exit.devices_per_user;
  options.user_limit_policy = UserLimitPolicy::close_oldest;
  CheckedSim sim(options, 2);
  sim.manager().on("throw", [](Connection&, const Payload&) { throw std::runtime_error("a handler fails"); });
  sim.manager().on("close_me", [](Connection& device, const Payload&) { device.close(CloseReason::normal); });
  sim.authorizer->decide = [](const Access& access) {
    return access.target == "forbidden" ? Permission::deny() : Permission::allow();
  };
  sim.authenticator->decide = [&sim](const Credentials& credentials) -> Authentication {
    if (credentials.token != "ann for 10 s") return ScriptedAuthenticator::judge(credentials.token);
    return accept(Identity{"ann", "", {}, sim.schedule.executors[0]->wall_now() + 10s});
  };

  const auto device = sim.connect("ann", Dial().on(1).with(exit.token));
  const auto laptop = sim.connect("ann");
  const auto bob = sim.connect("bob");
  device.aware("r", "{}", 1);  // before it joins: refused, and no trace of it
  for (const auto& client : {device, laptop, bob}) client.join("r");
  sim.run();
  device.aware("r", R"({"x":1})", 1);
  sim.advance(1s);
  CHECK(bob.awareness("r").size() == 1);

  exit.happens(sim, device);
  pass(sim, 120s, {laptop, bob});
  CHECK_FALSE(sim.manager().contains(device.id()));
  CHECK(sim.manager().find(laptop.id())->user == "ann");
  REQUIRE(sim.manager().connections_of({"", "ann"}).size() == 1);
  CHECK(sim.manager().connections_of({"", "ann"})[0].id == laptop.id());
  CHECK(sim.manager().connection_count() == 2);
  CHECK(sim.manager().room({"", "r"})->size() == 2);
  CHECK(bob.members("r") == Texts{"ann", "bob"});
  CHECK(bob.awareness("r").empty());
  CHECK(bob.view("r").nulls_told == 1);
  CHECK(told_of(sim, "offline ann") == 0);
  CHECK(told_of(sim, "connected ann") - told_of(sim, "disconnected ann") == 1);
  CHECK(told_of(sim, "joined ann r") - told_of(sim, "left ann r") == 1);
  const Metrics now = sim.manager().metrics();
  CHECK(now.reserved == 2);
  CHECK(now.awareness_entries == 0);
  CHECK(now.sessions_held == 0);

  laptop.hang_up();
  bob.hang_up();
  sim.run();
  CHECK(told_of(sim, "offline ann") == 1);
  CHECK(sim.is_empty());
  CHECK(sim.manager().room_count() == 0);
}

TEST_CASE("whatever closes everyone, nothing is left", "[acceptance]") {
  const std::string how = GENERATE(as<std::string>{}, "close_all", "shutdown", "drain", "revoke tenant", "all vanish");
  CAPTURE(how);
  CheckedSim sim({}, 2);
  std::vector<Client> clients;
  for (std::size_t i = 0; i < 9; ++i) {
    clients.push_back(sim.connect("u" + std::to_string(i / 3), Dial().on(i % 2).of("acme")));
    clients.back().join("r");
    sim.run();
    clients.back().aware("r", "{}", 1);
  }
  const auto pending = sim.connect("pending", Dial().silent());
  sim.run();
  clients[4].vanish();  // and does not answer the close frame
  auto& manager = sim.manager();
  if (how == "close_all") manager.close_all(CloseReason::going_away, "", nullptr);
  if (how == "shutdown") manager.shutdown(nullptr);
  if (how == "drain") manager.drain(5s, 5s, nullptr);
  if (how == "revoke tenant") CHECK(manager.revoke_tenant("acme") == 9);
  for (const auto& client : clients) {
    if (how == "all vanish") client.vanish();
  }
  sim.advance(2min);
  for (std::size_t user = 0; user < 3; ++user) CHECK(sim.told("offline u" + std::to_string(user) + "@acme") == 1);
  CHECK(told_of(sim, "disconnected") == 9);
  CHECK(told_of(sim, "left") == 9);
  CHECK(sim.is_empty());
  CHECK(manager.room_count() == 0);
  CHECK(manager.metrics().sessions_held == 0);
}

TEST_CASE("whatever ends a device that is not let in, nothing is left", "[acceptance]") {
  const std::string how = GENERATE(as<std::string>{}, "it hangs up", "it is lost", "bad token", "no answer",
                                   "no first message", "flood", "the authenticator throws", "shutdown");
  CAPTURE(how);
  CheckedSim sim;
  if (how == "no answer") sim.authenticator->answer = Answer::never();
  if (how == "the authenticator throws") sim.authenticator->answer = Answer::raise();
  const auto device = sim.connect("ann", Dial().silent());
  if (how == "it hangs up") device.hang_up();
  if (how == "it is lost") device.hang_up(CloseReason::lost);
  if (how == "bad token") device.authenticate("bad");
  if (how == "no answer" || how == "the authenticator throws") device.authenticate("ann");
  if (how == "flood") device.raw(std::string(20000, ' '));
  if (how == "shutdown") sim.manager().shutdown(nullptr);
  sim.advance(1min);
  CHECK_FALSE(device.is_open());
  CHECK(sim.story().empty());
  CHECK(sim.is_empty());
}

}  // namespace
}  // namespace muster::test
