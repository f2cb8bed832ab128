// Several managers on one port: whose an upgrade is, whose limits hold for it, and whose place it takes.
#include <stdexcept>

#include "muster/auth/allow_all.hpp"
#include "muster/auth/allow_anonymous.hpp"
#include "muster/muster.hpp"
#include "muster/protocols/json_protocol.hpp"
#include "support/wait_for.hpp"
#include "websocketpp/fixture.hpp"

using namespace muster;
using muster::websocketpp::Site;
using test::Fixture;
using test::RawClient;
using test::RecordingManager;
using test::wait_for;

namespace {

std::string at(std::string_view target, std::string_view host = "localhost", std::string_view extra = {}) {
  std::string request = RawClient::upgrade_request(extra, target);
  return request.replace(request.find("localhost"), 9, host);
}

std::shared_ptr<IConnectionManager> real_manager() {
  Options options;
  options.close_timeout = std::chrono::milliseconds(200);
  Components components;
  components.protocols = {std::make_shared<JsonProtocol>()};
  return make_connection_manager(std::move(options), std::make_shared<AllowAnonymous>(), std::make_shared<AllowAll>(),
                                 std::move(components));
}

std::string heard(RawClient& client, const std::string& words) {
  std::string found;
  (void)wait_for([&] {
    client.pump();
    while (auto frame = client.take_frame()) {
      if (frame->payload.find(words) != std::string::npos) found = frame->payload;
    }
    return !found.empty() || client.ended();
  });
  return found;
}

}  // namespace

TEST_CASE("an upgrade is the first site's whose host and path it has, else the listener's own",
          "[websocketpp][sites]") {
  Options strict;
  strict.allowed_origins = {"https://page.example"};
  const auto by_path = std::make_shared<RecordingManager>(strict);
  const auto by_host = std::make_shared<RecordingManager>();
  const auto below = std::make_shared<RecordingManager>();
  muster::websocketpp::ListenerOptions listener;
  listener.sites = {Site{"", "/admin", by_path}, Site{"app.example:8443", "", by_host},
                    Site{"*.app.example", "/ws", below}};
  Fixture f({}, listener);
  struct Case {
    std::string request;
    RecordingManager* whose;  ///< none: refused, 403
  };
  const Case cases[] = {
      {at("/ws"), f.manager.get()},
      {at("/admin"), by_path.get()},
      {at("/admin/ws?a=/b"), by_path.get()},
      {at("/administrator"), f.manager.get()},
      {at("/Admin"), f.manager.get()},
      {at("/admin", "app.example:8443"), nullptr},  // the path's, which knows no such host
      {at("/ws", "App.Example:8443"), by_host.get()},
      {at("/ws", "app.example"), nullptr},
      {at("/ws", "a.app.example:1"), below.get()},
      {at("/other", "a.app.example"), nullptr},
      {at("/ws", "a.app.example@localhost"), nullptr},
      {at("/admin/x", "localhost", "Origin: https://page.example\r\n"), by_path.get()},
      {at("/ws", "localhost", "Origin: https://page.example\r\n"), nullptr},
  };
  for (const Case& c : cases) {
    INFO(c.request.substr(0, 100));
    std::map<RecordingManager*, std::size_t> before;
    for (const auto& manager : {f.manager, by_path, by_host, below}) before[manager.get()] = manager->count();
    RawClient& client = f.connect();
    client.send(c.request + test::text_frame("hello"));
    const int status = f.status(client);
    CHECK(status == (c.whose != nullptr ? 101 : c.request.find('@') == std::string::npos ? 403 : 400));
    for (const auto& manager : {f.manager, by_path, by_host, below}) {
      const std::size_t expected = before[manager.get()] + (manager.get() == c.whose ? 1 : 0);
      CHECK(manager->count() == expected);
      if (manager.get() != c.whose) continue;
      CHECK(f.until([&] { return manager->messages(expected - 1) == 1; }));
      CHECK(manager->reserved() == 1);
    }
    client.cut();
    for (const auto& manager : {f.manager, by_path, by_host, below})
      CHECK(f.until([&] { return manager->reserved() == 0; }));
  }
  CHECK(by_path->refusals().size() == 1);  // the refusal is told to whom it concerns
  CHECK(by_host->refusals().empty());
}

TEST_CASE("a connection takes its own manager's place, also where the listener's own has none",
          "[websocketpp][sites]") {
  const auto other = std::make_shared<RecordingManager>();
  muster::websocketpp::ListenerOptions listener;
  listener.sites = {Site{"", "/other", other}};
  listener.extra_sockets = 1;
  Fixture f({}, listener);
  f.manager->places = 0;
  other->places = 1;
  CHECK(f.ask(at("/ws")) == 503);
  CHECK(f.ask(at("/other")) == 101);
  CHECK(other->reserved() == 1);
  RawClient& waiting = f.connect();  // the extra place is free again, and this one has it
  f.settle();
  CHECK_FALSE(waiting.ended());
  waiting.send(at("/other"));
  CHECK(f.status(waiting) == 503);
  CHECK(f.until([&] { return other->refusals().size() == 1; }));
  CHECK(other->refusals()[0].reason == RefusedFor::capacity);
  // The own manager's place is given back for the other's.
  f.manager->places = 1;
  RawClient& first = f.connect();
  CHECK(f.until([&] { return f.manager->reserved() == 1; }));
  first.send(at("/other"));
  CHECK(f.status(first) == 503);
  CHECK(f.manager->reserved() == 0);
}

TEST_CASE("managers on one loop have nothing in common, and the server stops them all", "[websocketpp][sites]") {
  const auto own = real_manager();
  const auto other = real_manager();
  muster::websocketpp::ServerOptions options;
  options.sites = {Site{"other.example", "", other}, Site{"another.example", "", other}};
  muster::websocketpp::Server server(own, options);
  server.start();
  RawClient one(server.port());
  RawClient two(server.port());
  one.send(at("/ws"));
  two.send(at("/ws", "other.example"));
  for (RawClient* client : {&one, &two}) {
    REQUIRE(wait_for([&] {
      client->pump();
      return client->take_head().has_value();
    }));
    client->send(test::text_frame(R"({"type":"join","id":1,"payload":{"room":"r"}})"));
    CHECK_FALSE(heard(*client, "room_joined").empty());
  }
  CHECK(own->connection_count() == 1);
  CHECK(other->connection_count() == 1);
  own->publish({"", "r"}, text("from own"));
  other->publish({"", "r"}, text("from other"));
  CHECK(heard(one, "from").find("from own") != std::string::npos);
  CHECK(heard(two, "from").find("from other") != std::string::npos);
  server.stop();
  CHECK(own->connection_count() == 0);
  CHECK(other->connection_count() == 0);
  for (RawClient* client : {&one, &two}) {
    CHECK(wait_for([&] {
      client->pump();
      return client->ended();
    }));
  }
}

TEST_CASE("a site that cannot be meant is refused by name", "[websocketpp][sites]") {
  using Catch::Matchers::Contains;
  const auto other = std::make_shared<RecordingManager>();
  const auto problem = [&](const Site& site) {
    Fixture f;
    f.settings.sites = {site};
    try {
      f.listen();
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK_THAT(problem({"a.example", "", nullptr}), Contains("site \"a.example\" has no manager"));
  CHECK_THAT(problem({"", "", other}), Contains("a site needs a host or a path"));
  CHECK_THAT(problem({"http://a.example", "", other}), Contains("neither a host nor a host and its port"));
  CHECK_THAT(problem({"", "admin", other}), Contains("must begin with /"));
  CHECK_THAT(problem({"", "/admin/", other}), Contains("not end with it"));
  CHECK_THAT(problem({"", "/", other}), Contains("must begin with /"));
  CHECK(problem({"a.example:80", "/x", other}).empty());
}
