// muster_server as a process: what it says, what it serves, how it ends.
#include "process.hpp"

#include <unistd.h>

#include <csignal>
#include <deque>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "text_matchers.hpp"

namespace fs = std::filesystem;
using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::Ended;
using muster::test::EndsWith;
using muster::test::http;
using muster::test::Process;
using muster::test::StartsWith;

namespace {

std::vector<std::string> command(std::vector<std::string> flags) {
  flags.insert(flags.begin(), MUSTER_SERVER);
  return flags;
}

/// A directory for one test.
class Folder {
 public:
  Folder() { fs::create_directories(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path_); }
  [[nodiscard]] std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name) << bytes;
    return path_ / name;
  }
  [[nodiscard]] std::string path() const { return path_; }

 private:
  fs::path path_ = fs::temp_directory_path() / ("muster-process-" + std::to_string(getpid()));
};

/// The one line on standard error of a server that refuses to start.
std::string refusal(std::vector<std::string> flags) {
  const Ended ended = Process(command(std::move(flags))).wait();
  CHECK(ended.exit_code == 2);
  CHECK(ended.out.empty());
  REQUIRE_FALSE(ended.err.empty());
  CHECK(ended.err.find('\n') == ended.err.size() - 1);
  return ended.err;
}

}  // namespace

TEST_CASE("it says where it listens, serves, and ends with 1001 for everyone", "[server]") {
  Process server(command({"--auth", "anonymous", "--port", "0"}));
  const std::uint16_t port = server.port();
  CHECK(server.out() == "listening on http://127.0.0.1:" + std::to_string(port) + "\n");
  Client ann(port);
  Client bob(port);
  for (Client* one : {&ann, &bob}) {
    one->send(R"({"type":"join","id":1,"payload":{"room":"r"}})");
    one->receive("room_joined");
  }
  ann.send(R"({"type":"publish","payload":{"room":"r","data":"hello"}})");
  CHECK_THAT(bob.receive(R"("type":"message")"), ContainsSubstring(R"("data":"hello")"));

  CHECK_THAT(http(port, "GET /healthz"), StartsWith("HTTP/1.1 200 "));
  CHECK_THAT(http(port, "GET /readyz"), StartsWith("HTTP/1.1 200 "));
  CHECK_THAT(http(port, "GET /metrics"), ContainsSubstring("\nmuster_connections 2\n"));
  CHECK_THAT(http(port, "GET /"), StartsWith("HTTP/1.1 404 "));
  CHECK_THAT(http(port, "DELETE /healthz"),
             StartsWith("HTTP/1.1 405 ") && ContainsSubstring("Allow: GET, HEAD, OPTIONS"));
  CHECK_THAT(http(port, "GET /ws"), StartsWith("HTTP/1.1 426 ") && ContainsSubstring("a proxy may have removed it"));

  server.signal(SIGTERM);
  CHECK(ann.close_code() == 1001);
  CHECK(bob.close_code() == 1001);
  CHECK(server.wait().exit_code == 0);
}

TEST_CASE("it serves the files of a folder, and nothing beside it", "[server]") {
  const Folder folder;
  (void)folder.write("index.html", "<p>home</p>");
  fs::create_directory(fs::path(folder.path()) / "sub");
  (void)folder.write("sub/index.html", "<p>sub</p>");
  (void)folder.write("large.bin", std::string(5'000'000, 'x'));
  Process server(command({"--auth", "anonymous", "--port", "0", "--static", folder.path()}));
  const std::uint16_t port = server.port();
  const std::string page = http(port, "GET /");
  CHECK_THAT(page, StartsWith("HTTP/1.1 200 ") && EndsWith("\r\n\r\n<p>home</p>"));
  CHECK_THAT(page, ContainsSubstring("Content-Type: text/html; charset=utf-8\r\n"));
  CHECK_THAT(page, ContainsSubstring("Cache-Control: no-cache\r\n"));
  CHECK_THAT(page, ContainsSubstring("X-Content-Type-Options: nosniff\r\n"));
  CHECK_THAT(http(port, "GET /index.html?v=1"), EndsWith("<p>home</p>"));
  CHECK_THAT(http(port, "HEAD /"), ContainsSubstring("Content-Length: 11\r\n") && EndsWith("\r\n\r\n"));
  CHECK_THAT(http(port, "GET /sub?a=b"), StartsWith("HTTP/1.1 307 ") && ContainsSubstring("Location: /sub/?a=b\r\n"));
  CHECK_THAT(http(port, "GET /sub/"), EndsWith("<p>sub</p>"));
  const std::string large = http(port, "GET /large.bin");
  CHECK(large.size() - large.find("\r\n\r\n") - 4 == 5'000'000);
  for (const char* path : {"/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "//etc/passwd"}) {
    CHECK_THAT(http(port, std::string("GET ") + path), StartsWith("HTTP/1.1 4"));
  }
}

TEST_CASE("tokens let in whom the file names", "[server]") {
  const Folder folder;
  const std::string file = folder.write(
      "tokens.json",
      R"({"s3cret": {"user": "ann", "tenant": "acme"}, "old": {"user": "bob", "expires_at": 1000000000000}})");
  Process server(command({"--auth", "tokens:" + file, "--port", "0"}));
  const std::uint16_t port = server.port();
  Client ann(port, "Authorization: Bearer s3cret\r\n");
  CHECK_THAT(ann.receive("connection_ack"),
             ContainsSubstring(R"("user_id":"ann")") && ContainsSubstring(R"("tenant":"acme")"));
  CHECK_THROWS_WITH(Client(port, "Authorization: Bearer guess\r\n"), ContainsSubstring(" 401 "));
  CHECK_THROWS_WITH(Client(port, "Authorization: Bearer old\r\n"), ContainsSubstring(" 401 "));
}

TEST_CASE("roles say who may do what", "[server]") {
  const Folder folder;
  const std::string tokens =
      folder.write("tokens.json", R"({"a": {"user": "ann", "roles": ["editor"]}, "b": {"user": "bob", "tenant": "acme"},
                        "c": {"user": "cat"}})");
  const std::string roles = folder.write("roles.json", R"([
    {"role": "*", "actions": ["join"], "pattern": "canvas:*"},
    {"role": "editor", "actions": ["publish"], "pattern": "canvas:*"},
    {"role": "*", "actions": ["*"], "pattern": "user:{user}:*"}
  ])");
  Process server(command({"--auth", "tokens:" + tokens, "--roles", roles, "--port", "0", "--allow-send"}));
  Client ann(server.port(), "Authorization: Bearer a\r\n");
  Client cat(server.port(), "Authorization: Bearer c\r\n");
  const auto join = [](const std::string& room) {
    return R"({"type":"join","id":1,"payload":{"room":")" + room + R"("}})";
  };
  const auto publish = [](const std::string& room) {
    return R"({"type":"publish","id":2,"payload":{"room":")" + room + R"(","data":1}})";
  };
  for (Client* one : {&ann, &cat}) {
    one->send(join("canvas:1"));
    one->receive("room_joined");
    one->send(join("elsewhere"));
    CHECK_THAT(one->receive("error"), ContainsSubstring("permission_denied"));
  }
  cat.send(publish("canvas:1"));
  CHECK_THAT(cat.receive("error"), ContainsSubstring("permission_denied"));
  ann.send(publish("canvas:1"));
  CHECK_THAT(cat.receive(R"("type":"message")"), ContainsSubstring("canvas:1"));
  cat.send(join("user:ann:notes"));
  CHECK_THAT(cat.receive("error"), ContainsSubstring("permission_denied"));
  cat.send(join("user:cat:notes"));
  cat.receive("room_joined");
  cat.send(publish("user:cat:notes"));
  cat.receive(R"("type":"ack")");
  cat.send(R"({"type":"send","id":3,"payload":{"user":"ann","data":1}})");
  CHECK_THAT(cat.receive("error"), ContainsSubstring("permission_denied"));
}

TEST_CASE("bots move about their room, and go with the server", "[server]") {
  Process server(command({"--auth", "anonymous", "--port", "0", "--bots", "3", "--bot-room", "zoo"}));
  const std::uint16_t port = server.port();
  Client ann(port);
  ann.send(R"({"type":"join","payload":{"room":"zoo"}})");
  for (const char* bot : {"Ada", "Alan", "Grace"}) {
    CHECK_THAT(ann.receive("{\"name\":\"" + std::string(bot) + "\""), ContainsSubstring(R"("bot":true)") &&
                                                                          ContainsSubstring(R"("x":0.)") &&
                                                                          ContainsSubstring(R"("color":"#)"));
  }
  server.signal(SIGINT);
  CHECK(ann.close_code() == 1001);
  CHECK(server.wait().exit_code == 0);
}

TEST_CASE("a limit is a flag", "[server]") {
  Process server(command({"--auth", "anonymous", "--port", "0", "--max-connections", "2", "--room-capacity", "1"}));
  const std::uint16_t port = server.port();
  Client ann(port);
  Client bob(port);
  CHECK_THROWS_WITH(Client(port), ContainsSubstring(" 503 ") && ContainsSubstring("Retry-After: "));
  for (Client* one : {&ann, &bob}) one->send(R"({"type":"join","id":1,"payload":{"room":"r"}})");
  ann.receive("room_joined");
  bob.receive("room_full");
  CHECK_THAT(http(port, "GET /metrics"), ContainsSubstring("\nmuster_refused_total{reason=\"capacity\"} "));
}

TEST_CASE("the soft limit of open files is raised", "[server]") {
  auto limited =
      command({"--auth", "anonymous", "--port", "0", "--connect-rate-per-ip", "0", "--max-connections-per-ip", "0"});
  limited.insert(limited.begin(), {"/bin/sh", "-c", R"(ulimit -S -n 64; exec "$0" "$@")"});
  Process server(limited);
  const std::uint16_t port = server.port();
  std::deque<Client> clients;
  for (int i = 0; i < 80; ++i) {
    clients.emplace_back(port);
    clients.back().receive("connection_ack");
  }
}

TEST_CASE("load balancers ask as they are made, by any name", "[server]") {
  Process server(command({"--auth", "anonymous", "--port", "0"}));
  const std::uint16_t port = server.port();
  const auto ask = [port](const std::string& request) {
    const muster::test::Socket socket(port);
    socket.write(request + "\r\n\r\n");
    std::string answer;
    while (answer.find("\r\n\r\n") == std::string::npos && socket.read(answer)) {
    }
    return answer;
  };
  for (const char* method : {"GET", "HEAD", "OPTIONS"}) {
    for (const char* path : {"/healthz", "/readyz"}) {
      const std::string line = std::string(method) + " " + path;
      CHECK_THAT(ask(line + " HTTP/1.0"), StartsWith("HTTP/1.1 200 "));
      CHECK_THAT(ask(line + " HTTP/1.1"), StartsWith("HTTP/1.1 200 "));
      CHECK_THAT(ask(line + " HTTP/1.1\r\nHost: 10.1.2.3:8080"), StartsWith("HTTP/1.1 200 "));
    }
  }
  CHECK_THAT(ask("OPTIONS / HTTP/1.0"), StartsWith("HTTP/1.1 204 ") && ContainsSubstring("Allow: GET, HEAD, OPTIONS"));
  CHECK_THAT(ask("GET /metrics HTTP/1.1\r\nHost: 10.1.2.3:8080"), StartsWith("HTTP/1.1 403 "));
  CHECK_THAT(http(port, "GET /metrics"), ContainsSubstring("\nmuster_refused_total{reason=\"host\"} 1\n"));
}

TEST_CASE("health and metrics may have a port of their own, whatever comes to the public one", "[server]") {
  Process server(command({"--auth", "anonymous", "--port", "0", "--health-port", "0", "--max-connections", "1"}));
  const std::uint16_t port = server.port();
  const std::string line = "health and metrics on http://127.0.0.1:";
  const std::size_t at = server.out().find(line);
  REQUIRE(at != std::string::npos);
  const auto health = static_cast<std::uint16_t>(std::stoi(server.out().substr(at + line.size())));
  Client ann(port);
  ann.receive("connection_ack");
  CHECK_THROWS_WITH(Client(port), ContainsSubstring(" 503 "));
  for (const char* path : {"/healthz", "/readyz", "/metrics"}) {
    CHECK_THAT(http(health, std::string("GET ") + path), StartsWith("HTTP/1.1 200 "));
    CHECK_THAT(http(port, std::string("GET ") + path), StartsWith("HTTP/1.1 404 "));
  }
  CHECK_THAT(http(health, "GET /metrics"), ContainsSubstring("\nmuster_reserved_connections 1\n") &&
                                               ContainsSubstring("\nmuster_refused_total{reason=\"capacity\"} 1\n"));
  CHECK_THROWS_WITH(Client(health), ContainsSubstring(" 404 "));
  CHECK_THAT(http(health, "GET /"), StartsWith("HTTP/1.1 404 "));
  server.signal(SIGTERM);
  CHECK(ann.close_code() == 1001);
  CHECK(server.wait().exit_code == 0);
}

TEST_CASE("behind a proxy two flags let its users in, each by an address of their own", "[server]") {
  const std::string site = "Origin: https://app.example\r\nX-Forwarded-For: 192.0.2.7\r\n";
  {
    Process server(command({"--auth", "anonymous", "--port", "0"}));
    const std::uint16_t port = server.port();
    for (int i = 0; i < 3; ++i) {
      CHECK_THROWS_WITH(Client(port, site, "/ws", "app.example"),
                        ContainsSubstring(" 403 ") && ContainsSubstring("--allowed-host NAME"));
    }
    CHECK_THROWS_WITH(Client(port, site), ContainsSubstring(" 403 ") && ContainsSubstring("--allowed-origin NAME"));
    CHECK_THROWS_WITH(Client(port, {}, "/nowhere"), ContainsSubstring(" 404 "));
    server.signal(SIGTERM);
    const std::string log = server.wait().err;
    CHECK_THAT(log,
               ContainsSubstring("info: refused 127.0.0.1 (host): The Host \"app.example\" is not in allowed_hosts"));
    CHECK(log.find("(host)") == log.rfind("(host)"));
    CHECK_THAT(log, ContainsSubstring("info: refused 127.0.0.1 (origin): The Origin \"https://app.example\""));
    CHECK_THAT(log, ContainsSubstring("info: refused 127.0.0.1 (path): Nothing is served at this path: /nowhere"));
  }
  Process server(command({"--auth", "anonymous", "--port", "0", "--behind-proxy", "127.0.0.1", "--public-name",
                          "app.example", "--max-connections-per-ip", "1"}));
  const std::uint16_t port = server.port();
  Client ann(port, site, "/ws", "app.example");
  Client bob(port, "Origin: https://app.example\r\nX-Forwarded-For: 192.0.2.8\r\n", "/ws", "app.example");
  ann.receive("connection_ack");
  bob.receive("connection_ack");
  CHECK_THROWS_WITH(Client(port, site, "/ws", "app.example"), ContainsSubstring(" 429 "));
  CHECK_THROWS_WITH(Client(port, site, "/ws", "other.example"), ContainsSubstring(" 403 "));
}

TEST_CASE("while it drains it is alive, and not ready", "[server]") {
  Process server(command({"--auth", "anonymous", "--port", "0", "--drain-deadline", "1h"}));
  const std::uint16_t port = server.port();
  Client ann(port);
  ann.receive("connection_ack");
  server.signal(SIGTERM);
  CHECK_THAT(ann.receive("draining"), ContainsSubstring(R"("reconnect_after_ms":)"));
  CHECK_THAT(http(port, "GET /readyz"), StartsWith("HTTP/1.1 503 "));
  CHECK_THAT(http(port, "GET /healthz"), StartsWith("HTTP/1.1 200 "));
}

TEST_CASE("a second signal ends it at once", "[server]") {
  // Frozen, so that it does not answer the close frame and the first signal waits.
  Process server(command({"--auth", "anonymous", "--port", "0", "--close-timeout", "1h"}));
  Client ann(server.port());
  ann.receive("connection_ack");
  server.signal(SIGTERM);
  CHECK_THROWS(ann.receive("no such message"));  // the close frame came: the first signal was taken
  server.signal(SIGTERM);
  CHECK(server.wait().exit_code == 128 + SIGTERM);
}

TEST_CASE("what cannot work is one line and exit code 2", "[server]") {
  const Folder folder;
  const std::string bad = folder.write("bad.json", "{\n\"t\": {\"name\": \"ann\"}}");
  CHECK_THAT(refusal({"--no-such-flag"}), ContainsSubstring("--no-such-flag"));
  CHECK_THAT(refusal({"--auth", "tokens:/no/such/file"}), ContainsSubstring("/no/such/file"));
  CHECK_THAT(refusal({"--auth", "tokens:" + bad}), ContainsSubstring("bad.json line 2: unknown member \"name\""));
  const std::string rule = folder.write("roles.json", "[\n{\"role\": \"*\", \"action\": [\"join\"]}]");
  CHECK_THAT(refusal({"--auth", "anonymous", "--roles", rule}),
             ContainsSubstring("--roles: ") && ContainsSubstring("roles.json line 2: unknown member \"action\""));
  CHECK_THAT(refusal({"--auth", "anonymous", "--static", "/no/such/folder"}), ContainsSubstring("/no/such/folder"));
  CHECK_THAT(refusal({"--auth", "anonymous", "--address", "no.such.name.invalid", "--port", "0"}),
             ContainsSubstring("no.such.name.invalid"));
  CHECK_THAT(refusal({"--auth", "anonymous", "--port", "0", "--tls-cert", bad, "--tls-key", bad}),
             ContainsSubstring("bad.json"));
  CHECK_THAT(refusal({"--auth", "anonymous", "--trusted-proxy", "nonsense"}), ContainsSubstring("--trusted-proxy"));

  Process server(command({"--auth", "anonymous", "--port", "0"}));
  const std::string port = std::to_string(server.port());
  CHECK_THAT(refusal({"--auth", "anonymous", "--port", port}), ContainsSubstring(port));
}
