// Where a token may travel, what it proves there, how a refusal reaches a browser, and that nobody else learns the token.
#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "muster/auth/allow_all.hpp"
#include "muster/muster.hpp"
#include "muster/protocols/json_protocol.hpp"
#include "muster/transports/websocketpp.hpp"
#include "support/catch.hpp"
#include "support/wait_for.hpp"
#include "websocketpp/raw_client.hpp"

using namespace muster;
using test::RawClient;
using test::wait_for;

namespace {

/// Knows one token, keeps what it was shown, and quotes the token of whoever makes it stumble.
class Gatekeeper final : public Authenticator {
 public:
  void authenticate(const Credentials& credentials, Reply<Authentication> done) override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      shown_.push_back(credentials);
    }
    if (credentials.token.rfind("stumble", 0) == 0) {
      throw std::runtime_error("no row for " + credentials.token + ", really none for " + credentials.token);
    }
    done(credentials.token == "ann-secret" ? accept("ann") : reject());
  }
  [[nodiscard]] std::vector<Credentials> shown() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return shown_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Credentials> shown_;
};

class Log final : public Observer {
 public:
  void log(LogLevel, std::string_view message) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    text_.append(message).append("\n");
  }
  [[nodiscard]] std::string text() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return text_;
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;
};

/// A server with the real core on a port of its own.
class Served {
 public:
  explicit Served(Options options = {}) : manager(make(std::move(options))), server_(manager, {}) { server_.start(); }
  ~Served() { server_.stop(); }

  /// What an upgrade is answered: its status, or the code of the close that comes right behind a 101; 0: it is open.
  int ask(const std::string& headers, const std::string& target = "/ws") {
    client = std::make_unique<RawClient>(server_.port());
    client->send(RawClient::upgrade_request(headers, target));
    answered.clear();
    std::optional<std::string> head;
    REQUIRE(wait_for([&] {
      client->pump();
      return (head = client->take_head()) || client->ended();
    }));
    REQUIRE(head);
    answered = *head;
    const int status = std::stoi(head->substr(9, 3));
    if (status != 101) {
      REQUIRE(wait_for([&] {
        client->pump();
        return client->ended();
      }));
      answered += client->in;
      return status;
    }
    // Whatever the server does next, it answers a ping or has closed before.
    client->send(test::masked_frame(0x89, "open?"));
    return close_code("open?");
  }
  /// Sends a first message, and waits for `words`. The code of the close that came instead; 0: none did.
  int say(const std::string& json, const std::string& words) {
    client->send(test::text_frame(json));
    return close_code(words);
  }

  /// Waits for the last client's connection_ack, which a pong may overtake.
  bool is_welcome() {
    return answered.find("connection_ack") != std::string::npos || close_code("connection_ack") == 0;
  }

  const std::shared_ptr<Gatekeeper> gatekeeper = std::make_shared<Gatekeeper>();
  const std::shared_ptr<Log> log = std::make_shared<Log>();
  const std::shared_ptr<IConnectionManager> manager;
  std::unique_ptr<RawClient> client;
  /// Everything the last client was told.
  std::string answered;

 private:
  std::shared_ptr<IConnectionManager> make(Options options) {
    options.connect_rate_per_ip = 0;
    options.close_timeout = std::chrono::milliseconds(200);  // these clients do not answer a close
    Components components;
    components.protocols = {std::make_shared<JsonProtocol>()};
    components.observer = log;
    return make_connection_manager(std::move(options), gatekeeper, std::make_shared<AllowAll>(), std::move(components));
  }
  int close_code(const std::string& words) {
    int code = -1;
    (void)wait_for([&] {
      client->pump();
      while (const auto frame = client->take_frame()) {
        answered += frame->payload;
        if (frame->opcode() == 8) code = frame->code();
        if (frame->opcode() != 8 && frame->payload.find(words) != std::string::npos) code = 0;
        if (code >= 0) return true;
      }
      return client->ended();
    });
    return code;
  }

  muster::websocketpp::Server server_;
};

std::string bearer(const std::string& token) { return "Authorization: Bearer " + token + "\r\n"; }
std::string authenticate(const std::string& token) {
  return R"({"type":"authenticate","payload":{"token":")" + token + R"("}})";
}
const std::string own_page = "Origin: http://localhost\r\n";

}  // namespace

TEST_CASE("the authenticator is shown the token of each source, and which it was", "[websocketpp][identity]") {
  Options options;
  options.auth_cookie = "session";
  options.auth_query = true;
  Served served(options);
  struct Case {
    TokenSource source;
    std::string headers;
    std::string target;
  };
  const Case cases[] = {
      {TokenSource::authorization_header, bearer("ann-secret"), "/ws?a=1"},
      {TokenSource::subprotocol, "Sec-WebSocket-Protocol: muster.v1.json, bearer, ann-secret\r\n", "/ws?a=1"},
      {TokenSource::cookie, own_page + "Cookie: session=ann-secret\r\n", "/ws?a=1"},
      {TokenSource::query, "", "/ws?token=ann-secret&a=1"},
  };
  for (const Case& one : cases) {
    CHECK(served.ask(one.headers, one.target) == 0);
    const Credentials shown = served.gatekeeper->shown().back();
    CHECK(shown.token == "ann-secret");
    CHECK(shown.source == one.source);
    CHECK(shown.path == "/ws");
    CHECK(shown.query == "a=1");
    CHECK(shown.origin == (one.source == TokenSource::cookie ? "http://localhost" : ""));
    CHECK(shown.remote_address.text == "127.0.0.1");
  }
  CHECK(served.ask("") == 0);
  CHECK(served.say(authenticate("ann-secret"), "connection_ack") == 0);
  CHECK(served.gatekeeper->shown().back().source == TokenSource::message);
}

TEST_CASE("the authenticator is shown the headers and cookies that were asked for by name", "[websocketpp][identity]") {
  Options options;
  options.credential_headers = {"X-Device", "x-none"};
  options.credential_cookies = {"sid", "none"};
  Served served(options);
  const std::string device = "x-device: phone\r\nX-Device: tablet\r\n";
  CHECK(served.ask(bearer("ann-secret") + device + own_page + "Cookie: other=1; sid=\"abc\"\r\n") == 0);
  const Credentials shown = served.gatekeeper->shown().back();
  CHECK(shown.header("X-Device") == "phone, tablet");
  CHECK(shown.cookie("sid") == "abc");
  CHECK(shown.headers.size() + shown.cookies.size() == 2);
  CHECK(served.ask(bearer("ann-secret") + "Cookie: sid=abc\r\n") == 0);
  CHECK(served.gatekeeper->shown().back().cookies.empty());  // no Origin: nobody knows whose page had it sent
}

TEST_CASE("one bad token is refused, even if the next source has a good one", "[websocketpp][identity]") {
  Options options;
  options.auth_query = true;
  Served served(options);
  CHECK(served.ask(bearer("guess") + "Sec-WebSocket-Protocol: muster.v1.json, bearer, ann-secret\r\n",
                   "/ws?token=ann-secret") == 401);
  CHECK(served.gatekeeper->shown().size() == 1);
}

TEST_CASE("auth_mode says where a token may come from", "[websocketpp][identity]") {
  Options options;
  SECTION("upgrade_or_message, the default: from both") {
    Served served(options);
    CHECK(served.ask(bearer("ann-secret")) == 0);
    CHECK(served.is_welcome());
    CHECK(served.ask("") == 0);
    CHECK(served.say(authenticate("ann-secret"), "connection_ack") == 0);
    CHECK(served.ask(bearer("guess")) == 401);
  }
  SECTION("upgrade_only") {
    options.auth_mode = AuthMode::upgrade_only;
    Served served(options);
    CHECK(served.ask(bearer("ann-secret")) == 0);
    CHECK(served.ask("") == 401);
  }
  SECTION("message_only: what the upgrade brings is not even looked at") {
    options.auth_mode = AuthMode::message_only;
    Served served(options);
    CHECK(served.ask(bearer("guess")) == 0);
    CHECK(served.answered.find("connection_ack") == std::string::npos);
    CHECK(served.gatekeeper->shown().empty());
    CHECK(served.say(authenticate("ann-secret"), "connection_ack") == 0);
    CHECK(served.gatekeeper->shown().size() == 1);
    CHECK(served.ask(bearer("ann-secret")) == 0);
    CHECK(served.say(R"({"type":"join","payload":{"room":"r"}})", "joined") == 4001);
  }
}

TEST_CASE("a cookie proves nothing without an Origin, or with another site's", "[websocketpp][identity]") {
  Options options;
  options.auth_cookie = "session";
  Served served(options);
  const std::string cookie = "Cookie: session=ann-secret\r\n";
  CHECK(served.ask(own_page + cookie) == 0);
  CHECK(served.ask(cookie) == 403);
  CHECK(served.ask("Origin: \r\n" + cookie) == 403);
  CHECK(served.ask("Origin: null\r\n" + cookie) == 403);
  CHECK(served.ask("Origin: http://evil.example\r\n" + cookie) == 403);
  CHECK(served.ask("Origin: http://localhost.evil.example\r\n" + cookie) == 403);
  CHECK(served.gatekeeper->shown().size() == 1);
  // Beside a token that no browser sends by itself it does not count, nor does another cookie.
  CHECK(served.ask(bearer("ann-secret") + cookie) == 0);
  CHECK(served.gatekeeper->shown().back().source == TokenSource::authorization_header);
  CHECK(served.ask("Cookie: sessions=ann-secret; theme=dark\r\n" + bearer("ann-secret")) == 0);
}

TEST_CASE("refuse_with close_code tells browsers every refusal of the core's", "[websocketpp][identity]") {
  Options options;
  options.refuse_with = RefuseWith::close_code;
  options.auth_mode = AuthMode::upgrade_only;
  options.max_connections = 2;
  Served served(options);
  const auto nobody_is_in = [&] { return served.manager->metrics().reserved == 0; };
  CHECK(served.ask("") == 4001);
  CHECK(served.ask(bearer("guess")) == 4002);
  CHECK(served.answered.find("The token is not valid") != std::string::npos);
  served.client->cut();
  CHECK(wait_for(nobody_is_in));
  {
    CHECK(served.ask(bearer("ann-secret")) == 0);
    const auto first = std::move(served.client);
    CHECK(served.ask(bearer("ann-secret")) == 0);
    const auto second = std::move(served.client);
    CHECK(served.ask(bearer("ann-secret")) == 1013);
  }
  // What is no refusal of a connection stays HTTP: nothing is opened for another site's page, and a path is just wrong.
  CHECK(served.ask("Origin: http://evil.example\r\n" + bearer("ann-secret")) == 403);
  CHECK(served.ask(bearer("ann-secret"), "/other") == 404);
}

TEST_CASE("refuse_with http_status, the default, never opens what it refuses", "[websocketpp][identity]") {
  Options options;
  options.auth_mode = AuthMode::upgrade_only;
  options.max_connections = 1;
  Served served(options);
  const auto nobody_is_in = [&] { return served.manager->metrics().reserved == 0; };
  for (const auto& headers : {std::string(), bearer("guess")}) {
    CHECK(served.ask(headers) == 401);
    served.client->cut();
    CHECK(wait_for(nobody_is_in));
  }
  CHECK(served.ask(bearer("ann-secret")) == 0);
  const auto first = std::move(served.client);
  CHECK(served.ask(bearer("ann-secret")) == 503);
}

TEST_CASE("a token is told in no log line, no explanation and no answer", "[websocketpp][identity]") {
  Options options;
  options.auth_cookie = "session";
  options.auth_query = true;
  Served served(options);
  const auto tells = [](const std::string& text) { return text.find("secret") != std::string::npos; };
  for (const std::string token : {"ann-secret", "eve-secret", "stumble-secret"}) {
    const bool good = token == "ann-secret";
    for (const auto& [headers, target] :
         std::vector<std::pair<std::string, std::string>>{{bearer(token), "/ws"},
                                                          {"Sec-WebSocket-Protocol: bearer, " + token + "\r\n", "/ws"},
                                                          {own_page + "Cookie: session=" + token + "\r\n", "/ws"},
                                                          {"", "/ws?token=" + token}}) {
      INFO(headers << target);
      CHECK((served.ask(headers, target) == 0) == good);
      CHECK_FALSE(tells(served.answered));
    }
    CHECK(served.ask("") == 0);
    CHECK((served.say(authenticate(token), "connection_ack") == 0) == good);
    CHECK_FALSE(tells(served.answered));
  }
  // Requests that are refused before anybody is asked.
  CHECK(served.ask("Origin: http://evil.example\r\n" + bearer("ann-secret"), "/ws?token=ann-secret") == 403);
  CHECK_FALSE(tells(served.answered));
  CHECK(served.ask(bearer("ann-secret"), "/other?token=ann-secret") == 404);
  CHECK_FALSE(tells(served.answered));
  CHECK(served.ask("Sec-WebSocket-Protocol: bearer, ann-secret, no token\r\n") == 400);
  CHECK_FALSE(tells(served.answered));

  CHECK(served.log->text().find("no row for [token], really none for [token]") != std::string::npos);
  CHECK_FALSE(tells(served.log->text()));

  REQUIRE(served.ask("", "/ws?token=ann-secret&a=1") == 0);
  const auto page = served.manager->connections({}, 100);
  REQUIRE_FALSE(page.empty());
  for (const auto& info : page) {
    std::mutex mutex;
    std::optional<Explanation> story;
    bool told = false;
    served.manager->explain(info.id, [&](std::optional<Explanation> answer) {
      const std::lock_guard<std::mutex> lock(mutex);
      story = std::move(answer);
      told = true;
    });
    REQUIRE(wait_for([&] {
      const std::lock_guard<std::mutex> lock(mutex);
      return told;
    }));
    if (!story) continue;  // its client went
    for (const std::string& text :
         {story->info.user, story->info.tenant, story->info.remote_address, story->protocol}) {
      CHECK_FALSE(tells(text));
    }
  }
}
