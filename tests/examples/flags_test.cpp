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
  CHECK(settings.anonymous());
}

TEST_CASE("a flag sets its field", "[flags]") {
  const Settings settings = good({"--port",
                                  "0",
                                  "--threads",
                                  "4",
                                  "--heartbeat",
                                  "500ms",
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
  CHECK(settings.server.threads == 4);
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
}

TEST_CASE("an unknown flag is one line that names it", "[flags]") {
  CHECK(refused({"--no-such-flag", "1"}) == "muster_server: unknown argument --no-such-flag; see --help\n");
  CHECK(refused({"--auth", "anonymous", "stray"}) == "muster_server: unknown argument stray; see --help\n");
}

TEST_CASE("what the core does not do yet is refused, not ignored", "[flags]") {
  std::size_t unsupported = 0;
  for (const auto& group : muster_server::option_flags()) {
    for (const auto& flag : group.flags) {
      if (flag.supported) continue;
      ++unsupported;
      CHECK(refused({"--auth", "anonymous", "--" + flag.name, "0"}) ==
            "muster_server: --" + flag.name + " is not supported yet\n");
    }
  }
  CHECK(unsupported > 0);
}

TEST_CASE("options that contradict each other are named by their flags, each in a line", "[flags]") {
  CHECK(refused({"--auth", "anonymous", "--auth-timeout", "0", "--unsent-soft-bytes", "2GiB"}) ==
        "muster_server: --auth-timeout must be above 0\n"
        "muster_server: --unsent-soft-bytes must be above 0 and at most --unsent-hard-bytes\n");
  CHECK_THAT(refused_with("--tls-cert", "cert.pem"), ContainsSubstring("--tls-key"));
  refused_with("--http-timeout", "0");
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
  CHECK_THAT(stop->text, ContainsSubstring("(not supported yet)"));
  std::istringstream lines(stop->text);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 120);
}
