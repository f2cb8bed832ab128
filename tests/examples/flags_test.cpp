// The command line of muster_server: what it takes, and what it says about the rest.
#include "server/flags.hpp"

#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "server/option_flags.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::ContainsSubstring;
using muster_server::read_flags;
using muster_server::Settings;
using muster_server::Stop;
using namespace std::chrono_literals;

namespace {

Settings good(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"--auth", "anonymous"});
  auto read = read_flags(arguments);
  if (const auto* stop = std::get_if<Stop>(&read)) FAIL(stop->text);
  return std::get<Settings>(read);
}

/// What is said about arguments that are refused, checked to be whole lines and exit code 2.
std::string refused(std::vector<std::string> arguments) {
  auto read = read_flags(std::move(arguments));
  const auto* stop = std::get_if<Stop>(&read);
  REQUIRE(stop != nullptr);
  CHECK(stop->code == 2);
  CHECK(stop->text.rfind("muster_server: ", 0) == 0);
  CHECK(stop->text.back() == '\n');
  return stop->text;
}

std::string refused_with(const std::string& flag, const std::string& value) {
  std::string text = refused({"--auth", "anonymous", flag, value});
  CHECK(std::count(text.begin(), text.end(), '\n') == 1);
  CHECK_THAT(text, ContainsSubstring(flag));
  return text;
}

/// Names of the fields that a struct of a public header declares.
std::vector<std::string> fields_of(const std::string& name) {
  std::ifstream header(MUSTER_SOURCE_DIR "/include/muster/options.hpp");
  const std::regex field(R"(^  (?:std::|bool|[A-Z])[A-Za-z0-9_:<> ,]* ([a-z_]+)(?: = .*|\{.*\})?;.*$)");
  std::vector<std::string> fields;
  bool inside = false;
  for (std::string line; std::getline(header, line);) {
    std::smatch match;
    if (line == "struct " + name + " {") inside = true;
    if (line == "};") inside = false;
    if (inside && std::regex_match(line, match, field)) fields.push_back(match[1]);
  }
  return fields;
}

std::set<std::string> flag_names() {
  std::set<std::string> names{"rooms-by-prefix"};
  for (const auto& group : muster_server::option_flags()) {
    for (const auto& flag : group.flags) names.insert(flag.name);
  }
  for (const auto& flag : muster_server::room_flags()) names.insert(flag.name);
  return names;
}

}  // namespace

TEST_CASE("every field of the options has its flag", "[flags]") {
  const std::set<std::string> names = flag_names();
  std::size_t seen = 0;
  for (const std::string structure : {"Options", "RoomOptions"}) {
    for (std::string field : fields_of(structure)) {
      if (field == "room") continue;  // the room flags themselves
      ++seen;
      std::replace(field.begin(), field.end(), '_', '-');
      const std::string singular = field == "trusted-proxies" ? "trusted-proxy" : field.substr(0, field.size() - 1);
      INFO(field);
      CHECK((names.count(field) == 1 || names.count(singular) == 1));
    }
  }
  CHECK(seen == names.size());
}

TEST_CASE("the defaults are those of the library", "[flags]") {
  const Settings settings = good({});
  const muster::Options defaults;
  CHECK(settings.options.max_connections == defaults.max_connections);
  CHECK(settings.options.heartbeat == defaults.heartbeat);
  CHECK(settings.options.room.room_capacity == defaults.room.room_capacity);
  CHECK(settings.server.address == "127.0.0.1");
  CHECK(settings.server.port == 8080);
  CHECK_FALSE(settings.server.deflate);
  CHECK(settings.anonymous());
  CHECK_FALSE(settings.health_port);
}

TEST_CASE("a flag sets its field", "[flags]") {
  const Settings settings = good({"--port",
                                  "0",
                                  "--threads",
                                  "4",
                                  "--deflate",
                                  "--deflate-min-bytes=1KiB",
                                  "--deflate-client-window-bits=15",
                                  "--heartbeat",
                                  "500ms",
                                  "--pong-timeout=500ms",
                                  "--auth-timeout",
                                  "2m",
                                  "--max-message-bytes",
                                  "128KiB",
                                  "--byte-rate=0",
                                  "--presence-scope",
                                  "tenant",
                                  "--allow-send",
                                  "--room-capacity",
                                  "7",
                                  "--history-bytes",
                                  "1MiB",
                                  "--allowed-origin",
                                  "a.example",
                                  "--allowed-origin",
                                  "[::1]:8080"});
  CHECK(settings.server.port == 0);
  CHECK(good({"--health-port", "9000"}).health_port == std::uint16_t{9000});
  CHECK(settings.server.threads == 4);
  CHECK(settings.server.deflate);
  CHECK(settings.server.deflate_min_bytes == 1024);
  CHECK(settings.server.deflate_client_window_bits == 15);
  CHECK(settings.options.heartbeat == 500ms);
  CHECK(settings.options.auth_timeout == 2min);
  CHECK(settings.options.max_message_bytes == 128 * 1024);
  CHECK(settings.options.byte_rate == 0);
  CHECK(settings.options.presence_scope == muster::PresenceScope::tenant);
  CHECK(settings.options.allow_send);
  CHECK(settings.options.room.room_capacity == 7);
  CHECK(settings.options.room.history_bytes == 1024 * 1024);
  CHECK(settings.options.allowed_origins == std::vector<std::string>{"a.example", "[::1]:8080"});
}

TEST_CASE("what a flag shows as its default can be given to it", "[flags]") {
  muster::Options options;
  for (const auto& group : muster_server::option_flags()) {
    for (const auto& flag : group.flags) {
      const std::string shown = flag.show(options);
      if (shown.empty()) continue;
      INFO(flag.name << " " << shown);
      CHECK(flag.read(options, shown).empty());
      CHECK(flag.show(options) == shown);
    }
  }
}

TEST_CASE("rooms may differ by the prefix of their names", "[flags]") {
  const Settings settings = good({"--rooms-by-prefix", "canvas:=room-capacity=500,awareness-interval=20ms",
                                  "--rooms-by-prefix", "chat.=history-messages=0", "--room-capacity", "50"});
  const auto& canvas = settings.options.room_options("canvas:lobby");
  CHECK(canvas.room_capacity == 500);
  CHECK(canvas.awareness_interval == 20ms);
  CHECK(settings.options.room_options("chat.1").history_messages == 0);
  // What a prefix does not say is as the other flags say, wherever they stand.
  CHECK(settings.options.room_options("chat.1").room_capacity == 50);
  CHECK(settings.options.room_options("other").room_capacity == 50);

  for (const char* wrong : {"canvas:", "=room-capacity=1", "c=", "c=room-capacity", "c=room-capacity=many",
                            "c=heartbeat=1s", "c=room-capacity=1,", "c=room-capacity=1,,history-age=1s"}) {
    INFO(wrong);
    refused_with("--rooms-by-prefix", wrong);
  }
  CHECK_THAT(refused({"--auth", "anonymous", "--rooms-by-prefix", "c=room-capacity=1", "--rooms-by-prefix",
                      "c=room-capacity=2"}),
             ContainsSubstring("twice"));
}

TEST_CASE("a wrong value is one line that names the flag", "[flags]") {
  for (const char* port : {"many", "65536", "-1", "80 ", "8e3", ""}) refused_with("--port", port);
  for (const char* threads : {"0", "257"}) refused_with("--threads", threads);
  for (const char* heartbeat : {"30", "s", "-5s", "30 s", "30S", "1h30m", "1.5s", "3651d", "99999999999999999999s"}) {
    refused_with("--heartbeat", heartbeat);
  }
  for (const char* size : {"KiB", "64kb", "64 KiB", "-1", "99999999999GiB"}) refused_with("--max-message-bytes", size);
  for (const char* count : {"-1", "1k", "4294967296"}) refused_with("--max-connections", count);
  refused_with("--presence-scope", "everyone");
  refused_with("--log-level", "loud");
  CHECK_THAT(refused({"--auth", "anonymous", "--port"}), ContainsSubstring("--port"));
  CHECK_THAT(refused({"--auth", "anonymous", "--port", "1", "--port", "2"}),
             ContainsSubstring("--port is given twice"));
  CHECK_THAT(refused({"--auth", "anonymous", "--allow-send=perhaps"}), ContainsSubstring("--allow-send"));
  CHECK_THAT(refused({"--auth", "anonymous", "--deflate=perhaps"}), ContainsSubstring("--deflate takes no value"));
  refused_with("--deflate-min-bytes", "some");
  refused_with("--deflate-client-window-bits", "8");
  refused_with("--deflate-client-window-bits", "16");
}

TEST_CASE("one proxy and one name are all that stands behind a proxy", "[flags]") {
  const Settings settings = good({"--behind-proxy", "10.0.0.0/8", "--public-name", "app.example", "--allowed-host",
                                  "b.example", "--proxy-protocol"});
  CHECK(settings.options.trusted_proxies == std::vector<std::string>{"10.0.0.0/8"});
  CHECK(settings.options.allowed_hosts == std::vector<std::string>{"app.example", "b.example"});
  CHECK(settings.options.allowed_origins == std::vector<std::string>{"app.example"});
  CHECK(settings.server.proxy_protocol);
  CHECK_FALSE(good({}).server.proxy_protocol);
  CHECK_THAT(refused_with("--behind-proxy", "10.0.0.1"), ContainsSubstring("--public-name"));
  CHECK_THAT(refused_with("--public-name", "app.example"), ContainsSubstring("--behind-proxy"));
  CHECK_THAT(refused({"--auth", "anonymous", "--proxy-protocol"}), ContainsSubstring("--behind-proxy"));
}

TEST_CASE("an unknown flag is one line that names it", "[flags]") {
  CHECK(refused({"--no-such-flag", "1"}) == "muster_server: unknown argument --no-such-flag; see --help\n");
  CHECK(refused({"--auth", "anonymous", "stray"}) == "muster_server: unknown argument stray; see --help\n");
}

TEST_CASE("options that contradict each other are named by their flags, each in a line", "[flags]") {
  CHECK(refused({"--auth", "anonymous", "--auth-timeout", "0", "--unsent-soft-bytes", "2GiB"}) ==
        "muster_server: --auth-timeout must be above 0\n"
        "muster_server: --unsent-soft-bytes must be above 0 and at most --unsent-hard-bytes\n");
  CHECK_THAT(refused_with("--tls-cert", "cert.pem"), ContainsSubstring("--tls-key"));
  refused_with("--http-timeout", "0");
  for (const char* flag : {"--tls-ciphers", "--tls-ciphersuites", "--tls-client-ca"}) {
    CHECK_THAT(refused_with(flag, "x"), ContainsSubstring(std::string(flag) + " needs --tls-cert"));
  }
  CHECK_THAT(refused_with("--tls-min-version", "1.3"), ContainsSubstring("--tls-min-version needs --tls-cert"));
  CHECK_THAT(refused_with("--tls-min-version", "1.1"), ContainsSubstring("must be one of 1.2, 1.3"));
  CHECK_THAT(refused_with("--tls-client-cert", "optional"),
             ContainsSubstring("--tls-client-cert needs --tls-client-ca"));
  CHECK_THAT(refused({"--auth", "anonymous", "--tls-cert", "c", "--tls-key", "k", "--tls-ciphers", "HIGH",
                      "--tls-min-version", "1.3"}),
             ContainsSubstring("--tls-ciphers are those of TLS 1.2"));
}

TEST_CASE("flags of TLS set the options of the listener", "[flags]") {
  const auto settings =
      good({"--tls-cert", "c", "--tls-key", "k", "--tls-ciphersuites", "TLS_AES_128_GCM_SHA256", "--tls-min-version",
            "1.3", "--tls-tickets", "0", "--tls-client-ca", "ca", "--tls-client-cert", "optional"});
  CHECK(settings.server.tls_min_version == muster::websocketpp::TlsVersion::tls_1_3);
  CHECK(settings.server.tls_ciphersuites == "TLS_AES_128_GCM_SHA256");
  CHECK(settings.server.tls_tickets == 0);
  CHECK(settings.server.tls_client_ca_file == "ca");
  CHECK_FALSE(settings.server.tls_client_certificate_required);
  CHECK(good({}).server.tls_client_certificate_required);
}

TEST_CASE("what somebody wrote is repeated as it was written", "[flags]") {
  using muster_server::by_flag;
  CHECK(by_flag("auth_timeout must be above 0; (total_bytes, trusted_proxies: heartbeat).") ==
        "--auth-timeout must be above 0; (--total-bytes, --trusted-proxy: --heartbeat).");
  for (const char* path :
       {"/etc/heartbeat/total_bytes", "total_bytes.json", "./heartbeat", "my-heartbeat", "heartbeat/"}) {
    CHECK(by_flag(std::string("file ") + path + ": No such file") == std::string("file ") + path + ": No such file");
  }
  CHECK(by_flag(R"(trusted_proxies: "heartbeat" and "a heartbeat b")") ==
        R"(--trusted-proxy: "heartbeat" and "a heartbeat b")");
}

TEST_CASE("who may connect is always said", "[flags]") {
  CHECK_THAT(refused({}), ContainsSubstring("--auth is required"));
  for (const char* auth : {"", "tokens", "tokens:", "Anonymous", "anyone"}) {
    CHECK_THAT(refused({"--auth", auth}), ContainsSubstring("--auth"));
  }
  auto read = read_flags({"--auth", "tokens:secrets/tokens.json"});
  REQUIRE(std::holds_alternative<Settings>(read));
  CHECK(std::get<Settings>(read).tokens_file == "secrets/tokens.json");
}

TEST_CASE("keys of tokens have an algorithm, a file, and a kid where there are several", "[flags]") {
  auto read = read_flags({"--auth",
                          "jwt",
                          "--jwt-key",
                          "2026=ES256:keys/a=b:c.pem",
                          "--jwt-key",
                          "a1==HS256:s.txt",
                          "--jwt-issuer",
                          "https://id.example",
                          "--jwt-audience",
                          "chat",
                          "--jwt-user-claim",
                          "email",
                          "--jwt-tenant-claim",
                          "",
                          "--jwt-roles-claim",
                          "scope",
                          "--jwt-leeway",
                          "1500ms",
                          "--jwt-allow-without-expiry",
                          "--roles",
                          "roles.json"});
  if (const auto* stop = std::get_if<Stop>(&read)) FAIL(stop->text);
  const auto& settings = std::get<Settings>(read);
  CHECK_FALSE(settings.anonymous());
  REQUIRE(settings.jwt_keys.size() == 2);
  CHECK(settings.jwt_keys[0].id == "2026");
  CHECK(settings.jwt_keys[0].algorithm == muster::JwtAlgorithm::ES256);
  CHECK(settings.jwt_keys[0].file == "keys/a=b:c.pem");
  CHECK(settings.jwt_keys[1].id == "a1=");
  CHECK(settings.jwt_keys[1].algorithm == muster::JwtAlgorithm::HS256);
  CHECK(settings.jwt.issuer == "https://id.example");
  CHECK(settings.jwt.audience == "chat");
  CHECK(settings.jwt.user_claim == "email");
  CHECK(settings.jwt.tenant_claim.empty());
  CHECK(settings.jwt.roles_claim == "scope");
  CHECK(settings.jwt.leeway == 1500ms);
  CHECK(settings.jwt.allow_without_expiry);
  CHECK(settings.roles_file == "roles.json");

  auto one = read_flags({"--auth", "jwt", "--jwt-key", "RS256:/k/x=ES256:y"});
  REQUIRE(std::holds_alternative<Settings>(one));
  CHECK(std::get<Settings>(one).jwt_keys.at(0).algorithm == muster::JwtAlgorithm::RS256);
  CHECK(std::get<Settings>(one).jwt_keys.at(0).file == "/k/x=ES256:y");
  CHECK(std::get<Settings>(one).jwt_keys.at(0).id.empty());

  CHECK(refused({"--auth", "jwt"}) == "muster_server: --auth jwt needs a --jwt-key to check tokens with\n");
  for (const char* key :
       {"", "key.pem", "ES256", "ES256:", "=ES256:x", "es256:x", "none:x", "a=RS512:x", "a:ES256:x"}) {
    CHECK_THAT(refused({"--auth", "jwt", "--jwt-key", key}), ContainsSubstring("--jwt-key must be as in"));
  }
  CHECK(refused({"--auth", "jwt", "--jwt-key", "ES256:k", "--jwt-leeway", "2d"}) ==
        "muster_server: --jwt-leeway must be at most 24h\n");
  for (const std::vector<std::string>& flag : {std::vector<std::string>{"--jwt-key", "ES256:k"},
                                               {"--jwt-issuer", "x"},
                                               {"--jwt-tenant-claim", ""},
                                               {"--jwt-allow-without-expiry"}}) {
    std::vector<std::string> arguments{"--auth", "anonymous"};
    arguments.insert(arguments.end(), flag.begin(), flag.end());
    CHECK(refused(arguments) == "muster_server: " + flag[0] + " needs --auth jwt\n");
  }
}

TEST_CASE("bots leave room for people, and have no tokens", "[flags]") {
  CHECK(good({"--bots", "99"}).bots == 99);
  refused_with("--bots", "100");
  CHECK(good({"--bots", "100", "--room-capacity", "0"}).bots == 100);
  CHECK_THAT(refused({"--auth", "anonymous", "--bots", "10", "--rooms-by-prefix", "canvas:=room-capacity=10"}),
             ContainsSubstring("leaves no place"));
  CHECK_THAT(refused({"--auth", "tokens:f", "--bots", "1"}), ContainsSubstring("--auth anonymous"));
  CHECK_THAT(refused({"--auth", "anonymous", "--bots", "1", "--bot-room", "a\"b"}), ContainsSubstring("--bot-room"));
}

TEST_CASE("help shows every flag with its default, in lines of at most 120 columns", "[flags]") {
  auto read = read_flags({"--help"});
  const auto* stop = std::get_if<Stop>(&read);
  REQUIRE(stop != nullptr);
  CHECK(stop->code == 0);
  for (const std::string& name : flag_names()) CHECK_THAT(stop->text, ContainsSubstring("--" + name + " "));
  CHECK_THAT(stop->text, ContainsSubstring("between pings; 0: none [30s]"));
  std::istringstream lines(stop->text);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 120);
}
