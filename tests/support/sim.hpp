// Sim: a whole muster in one thread, whose clock, order and faults a seed and the test decide.
//
//   Sim sim;
//   auto ann = sim.member("ann", "canvas:1");
//   auto bob = sim.member("bob", "canvas:1");
//   ann.publish("canvas:1", R"("hi")");
//   sim.run();
//   CHECK(bob.messages("canvas:1") == Texts{R"("hi")"});
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/connection_manager.hpp"
#include "muster/protocols/json_protocol.hpp"
#include "support/client.hpp"
#include "support/schedule.hpp"
#include "support/scripted.hpp"

namespace muster::test {

using namespace std::chrono_literals;
using Numbers = std::vector<std::uint64_t>;
using States = std::map<std::string, std::string>;

/// How a client connects.
struct Dial {
  std::string tenant;
  std::size_t executor = 0;
  std::size_t node = 0;
  RemoteAddress address;
  /// None: the name, with the tenant. Empty: no token in the upgrade.
  std::optional<std::string> token;
  ConnectionId id;
  ConnectionId resumes;
  std::vector<std::string> subprotocols;
  Texts headers;
  Texts cookies;
  std::optional<ClientCertificate> client_certificate;

  Dial& of(std::string which) { return tenant = std::move(which), *this; }
  Dial& on(std::size_t which) { return executor = which, *this; }
  Dial& at(std::size_t which) { return node = which, *this; }
  Dial& from(RemoteAddress where) { return address = std::move(where), *this; }
  Dial& with(std::string what) { return token = std::move(what), *this; }
  Dial& as(ConnectionId which) { return id = which, *this; }
  Dial& back_for(ConnectionId session) { return resumes = session, *this; }
  Dial& speaking(std::string subprotocol) { return subprotocols = {std::move(subprotocol)}, *this; }
  /// Without a token: it has to authenticate by its first message.
  Dial& silent() { return token = std::string(), *this; }
};

/// What is lost is told at once: for tests that are not about sessions.
inline Options without_sessions(Options options = {}) {
  options.resume_window = std::chrono::milliseconds(0);
  return options;
}

struct Setup {
  Options options;
  std::size_t executors = 1;
  /// Managers; more than one need a broker.
  std::size_t nodes = 1;
  std::shared_ptr<Broker> broker;
  std::uint64_t seed = 1;
  /// Beside muster.v1.json, which comes first.
  std::vector<std::shared_ptr<const Protocol>> protocols = {};
};

class Sim {
 public:
  explicit Sim(Options options = {}, std::size_t executors = 1)
      : Sim(Setup{std::move(options), executors, 1, nullptr, 1}) {}

  explicit Sim(const Setup& setup)
      : schedule(setup.seed, setup.executors),
        authenticator(std::make_shared<ScriptedAuthenticator>(schedule)),
        authorizer(std::make_shared<ScriptedAuthorizer>(schedule)),
        sessions(std::make_shared<ScriptedSessionStore>(schedule)),
        setup_(setup) {
    if (setup.broker) broker = std::make_shared<ScriptedBroker>(schedule, setup.broker);
    for (std::size_t node = 0; node < setup.nodes; ++node) (void)start_node();
  }

  /// Everything goes the way a program would: shutdown, then the executors, then the manager.
  ~Sim() {
    authenticator->withheld.release();
    authorizer->withheld.release();
    sessions->withheld.release();
    hook = nullptr;
    schedule.after_task = nullptr;
    for (const std::size_t node : nodes()) manager(node).shutdown(nullptr);
    schedule.advance(30s);
    schedule.stop();
    for (const Client& client : clients) client.pipe().let_go();  // nodes have died, and executors stopped
  }
  Sim(const Sim&) = delete;
  Sim& operator=(const Sim&) = delete;

  [[nodiscard]] IConnectionManager& manager(std::size_t node = 0) { return *managers_[node]; }
  [[nodiscard]] const std::shared_ptr<IConnectionManager>& shared_manager(std::size_t node = 0) {
    return managers_[node];
  }

  [[nodiscard]] const Options& options() const { return setup_.options; }

  // Nodes that come and go.

  /// The numbers of those that are up.
  [[nodiscard]] std::vector<std::size_t> nodes() const {
    std::vector<std::size_t> up;
    for (std::size_t node = 0; node < managers_.size(); ++node) {
      if (is_up(node)) up.push_back(node);
    }
    return up;
  }
  [[nodiscard]] bool is_up(std::size_t node) const { return managers_[node] != nullptr; }
  /// One more manager; its number has been nobody's before.
  std::size_t start_node() {
    const std::size_t node = managers_.size();
    Components components;
    components.protocols = {std::make_shared<JsonProtocol>()};
    components.protocols.insert(components.protocols.end(), setup_.protocols.begin(), setup_.protocols.end());
    components.broker = broker;
    components.session_store = sessions;
    components.awareness_store = std::make_shared<ScriptedAwarenessStore>(schedule);
    components.random_seed = setup_.seed + node;
    components.clock = [this] { return schedule.now(); };
    managers_.push_back(make_connection_manager(setup_.options, authenticator, authorizer, std::move(components)));
    listen(*managers_.back(), node);
    return node;
  }
  /// A process dies: its manager says goodbye to nobody, its sockets are gone, and the broker notices after `unnoticed`.
  /// Not from inside a task.
  void kill_node(std::size_t node, std::chrono::milliseconds unnoticed = 0ms) {
    if (broker) broker->notices_after = unnoticed;
    managers_[node] = nullptr;
    for (const Client& client : clients) {
      if (client.node() == node) client.hang_up(CloseReason::lost);
    }
  }

  /// A client that has asked to connect; nothing has run.
  Client dial(std::string name, Dial how = {}) {
    Client client(name, schedule.executors[how.executor], how.node);
    OpenRequest request;
    request.remote_address = how.address;
    request.token = how.token ? *how.token : how.tenant.empty() ? name : name + "@" + how.tenant;
    if (!request.token.empty()) request.token_source = TokenSource::authorization_header;
    request.id = how.id;
    request.resumes = how.resumes;
    request.subprotocols = std::move(how.subprotocols);
    request.headers = std::move(how.headers);
    request.cookies = std::move(how.cookies);
    request.client_certificate = std::move(how.client_certificate);
    client.pipe().open(managers_[how.node], std::move(request), [client](const Decision& decision) {
      client.count_answer();
      if (decision.connection) client.set_id(decision.connection->id());
    });
    clients.push_back(client);
    return client;
  }
  /// A client whose opening has run as far as it goes.
  Client connect(std::string name, Dial how = {}) {
    Client client = dial(std::move(name), std::move(how));
    run();
    return client;
  }

  /// A client that is in this room.
  Client member(std::string name, std::string_view room, Dial how = {}) {
    Client client = connect(std::move(name), std::move(how));
    client.join(room);
    run();
    return client;
  }
  /// The user of `before` on another connection, which has asked for its session with these rooms.
  Client resume_session(const Client& before, const Texts& rooms, Dial how = {}) {
    Client client = connect(before.name(), std::move(how));
    client.resume_session(before, rooms);
    run();
    return client;
  }

  void run() { schedule.run(); }
  void advance(TimePoint::duration time) { schedule.advance(time); }
  [[nodiscard]] TimePoint now() const { return schedule.now(); }

  /// What the hooks said, in order: "connected ann", "online ann", "joined ann r", "left ann r", "left ann r kicked",
  /// "disconnected ann kicked", "offline ann"; of a user of a tenant, "online ann@t" and "offline ann@t".
  [[nodiscard]] const Texts& story() const { return story_; }
  void forget_story() { story_.clear(); }
  [[nodiscard]] std::size_t told(std::string_view line) const {
    return static_cast<std::size_t>(std::count(story_.begin(), story_.end(), line));
  }

  /// What no test may find: faults of the schedule, and what clients were told wrongly.
  [[nodiscard]] Texts wrong() const {
    Texts all = schedule.faults;
    for (const Client& client : clients) {
      for (const auto& what : client.wrong()) all.push_back(client.name() + ": " + what);
      if (client.pipe().violations() != 0) all.push_back(client.name() + ": its transport was misused");
    }
    return all;
  }
  /// Whether nothing is left of anybody: every table empty, every place given back.
  [[nodiscard]] bool is_empty(std::size_t node = 0) {
    const Metrics now = manager(node).metrics();
    return now.connections == 0 && now.pending == 0 && now.reserved == 0 && now.users == 0 &&
           now.awareness_entries == 0 && manager(node).connections({}, 10).empty();
  }

  Schedule schedule;
  const std::shared_ptr<ScriptedAuthenticator> authenticator;
  const std::shared_ptr<ScriptedAuthorizer> authorizer;
  /// All nodes'.
  const std::shared_ptr<ScriptedSessionStore> sessions;
  std::shared_ptr<ScriptedBroker> broker;
  std::vector<Client> clients;
  /// Called in every hook, after the story was written: (line, connection or null). May throw.
  std::function<void(const std::string&, Connection*)> hook;
  /// Whose hook that is.
  std::size_t hook_node = 0;

 private:
  void listen(IConnectionManager& manager, std::size_t node) {
    manager.on_connected([this, node](Connection& c) { tell(node, "connected " + c.identity().user, &c); });
    manager.on_joined([this, node](Connection& c, const RoomKey& room, const Joining&) {
      tell(node, "joined " + c.identity().user + " " + room.name, &c);
    });
    manager.on_left([this, node](Connection& c, const RoomKey& room, const Leaving& leaving) {
      const auto& reason = leaving.reason;
      tell(node, "left " + c.identity().user + " " + room.name + (reason ? " " + std::string(to_string(*reason)) : ""),
           &c);
    });
    manager.on_disconnected([this, node](Connection& c, CloseReason reason) {
      tell(node, "disconnected " + c.identity().user + " " + std::string(to_string(reason)), &c);
    });
    const auto named = [](const UserKey& user) {
      return user.tenant.empty() ? user.user : user.user + "@" + user.tenant;
    };
    manager.on_user_online([this, node, named](const UserKey& user) { tell(node, "online " + named(user), nullptr); });
    manager.on_user_offline(
        [this, node, named](const UserKey& user) { tell(node, "offline " + named(user), nullptr); });
  }
  void tell(std::size_t node, std::string line, Connection* connection) {
    story_.push_back(line);
    schedule.seam("a hook");
    hook_node = node;
    if (hook) hook(line, connection);
  }

  const Setup setup_;
  std::vector<std::shared_ptr<IConnectionManager>> managers_;
  Texts story_;
};

}  // namespace muster::test
