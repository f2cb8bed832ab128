#include "flags.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>
#include <muster/config.hpp>

#include "option_flags.hpp"
#include "values.hpp"

namespace muster_server {
namespace {

constexpr const char* description =
    "muster_server: connections, rooms, presence and awareness for browsers and programs, over WebSocket at /ws.\n"
    "It also answers /healthz, /readyz and /metrics (Prometheus). Whoever is let in may join and publish everywhere,\n"
    "unless --roles says who may do what.\n";

constexpr const char* footer =
    "DURATION: a number with its unit, as in 500ms, 30s, 5m, 24h or 7d; only 0 needs none.\n"
    "SIZE: bytes, or a number with its unit, as in 64KiB, 1MiB or 2GiB.\n"
    "The tokens file is a JSON object: {\"TOKEN\": {\"user\": \"ann\", \"tenant\": \"acme\", \"roles\": [\"editor\"], "
    "\"expires_at\": MS}};\n"
    "all but user may be left out; MS counts from 1970-01-01.\n"
    "The roles file is a JSON array of rules: [{\"role\": \"editor\", \"actions\": [\"join\", \"publish\"], "
    "\"pattern\": \"canvas:*\"}];\n"
    "what no rule allows is refused.\n"
    "SIGHUP reads the files of --auth, --jwt-key, --roles, --tls-cert and --tls-client-ca again, all of them or,\n"
    "if one is bad, none.";

constexpr Names<muster::LogLevel, 4> log_levels{{{"debug", muster::LogLevel::debug},
                                                 {"info", muster::LogLevel::info},
                                                 {"warning", muster::LogLevel::warning},
                                                 {"error", muster::LogLevel::error}}};

using muster::websocketpp::TlsVersion;
constexpr Names<TlsVersion, 2> tls_versions{{{"1.2", TlsVersion::tls_1_2}, {"1.3", TlsVersion::tls_1_3}}};
constexpr Names<bool, 2> client_certificates{{{"required", true}, {"optional", false}}};

/// CLI11's, without the second empty line between groups.
class Layout : public CLI::Formatter {
 public:
  Layout() { column_width(38); }
  std::string make_group(std::string group, bool is_positional,
                         std::vector<const CLI::Option*> options) const override {
    return Formatter::make_group(std::move(group), is_positional, std::move(options)).substr(1);
  }
  std::string make_usage(const CLI::App* app, std::string name) const override {
    return Formatter::make_usage(app, std::move(name)) + "\n";
  }
};

/// What a flag does with its one value.
using Read = std::function<Problem(const std::string&)>;

/// Adds flags that report problems as "--name must be ...", whichever library reads the command line.
class FlagSet {
 public:
  explicit FlagSet(CLI::App& app) : app_(app) {}

  CLI::Option* value(const std::string& name, const std::string& value_name, const std::string& help,
                     const std::string& shown, Read read, bool is_repeatable = false) {
    const std::string flag = "--" + name;
    CLI::Option* option = app_.add_option(
        flag,
        [flag, read, is_repeatable](const CLI::results_t& results) {
          if (results.size() > 1 && !is_repeatable) throw CLI::ParseError(flag + " is given twice", exit_usage);
          for (const std::string& text : results) {
            const Problem problem = read(text);
            if (!problem.empty()) throw CLI::ParseError(flag + " " + problem, exit_usage);
          }
          return true;
        },
        help + (shown.empty() ? "" : " [" + shown + "]"));
    if (is_repeatable) option->expected(1, CLI::detail::expected_max_vector_size);
    // Each time one value: CLI11 would otherwise take [::1] for a list, and what follows for more values.
    option->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    return option->type_name(value_name)->group(group_);
  }

  template <class Owner>
  void field(const Flag<Owner>& flag, Owner& owner) {
    Read read = [flag, &owner](const std::string& text) { return flag.read(owner, text); };
    CLI::Option* option = value(flag.name, flag.value_name, flag.help, flag.show(owner), std::move(read),
                                flag.takes == Flag<Owner>::Takes::several_values);
    if (flag.takes == Flag<Owner>::Takes::nothing) option->expected(0)->type_size(0);
  }

  void switch_on(const std::string& name, const std::string& help, bool& field) {
    const Read read = [&field](const std::string& text) {
      field = text == "true";
      return field || text == "false" ? Problem() : Problem("takes no value but true or false");
    };
    value(name, "", help, "", read)->expected(0)->type_size(0);
  }

  void group(const std::string& title) { group_ = title; }

 private:
  CLI::App& app_;
  std::string group_;
};

Read number(std::uint64_t least, std::uint64_t most, std::function<void(std::uint64_t)> take) {
  return [=](const std::string& text) {
    std::uint64_t value = 0;
    Problem problem = read_number(text, least, most, value);
    if (problem.empty()) take(value);
    return problem;
  };
}

template <class Field>
Read non_empty(Field& field) {
  return [&field](const std::string& text) {
    field = text;
    return text.empty() ? Problem("must not be empty") : Problem();
  };
}

void add_server_flags(FlagSet& flags, Settings& settings, std::string& auth) {
  auto& server = settings.server;
  server.port = 8080;
  flags.group("Server");
  flags.value("address", "ADDRESS", "where to listen; 0.0.0.0 or :: for everywhere", server.address,
              non_empty(server.address));
  flags.value("port", "PORT", "0: the system picks one", std::to_string(server.port),
              number(0, std::numeric_limits<std::uint16_t>::max(),
                     [&server](std::uint64_t port) { server.port = static_cast<std::uint16_t>(port); }));
  flags.value("health-port", "PORT", "for /healthz, /readyz and /metrics alone, plain HTTP; none: on --port", "",
              number(0, std::numeric_limits<std::uint16_t>::max(),
                     [&settings](std::uint64_t port) { settings.health_port = static_cast<std::uint16_t>(port); }));
  flags.value("threads", "COUNT", "loops, each one thread; a connection stays on its loop",
              std::to_string(server.threads), number(1, 256, [&server](std::uint64_t n) { server.threads = n; }));
  flags.value("tls-cert", "FILE", "certificate chain (PEM); with --tls-key: https and wss", "",
              non_empty(server.tls_certificate_file));
  flags.value("tls-key", "FILE", "its private key (PEM)", "", non_empty(server.tls_key_file));
  flags.value("tls-min-version", "VERSION", "the oldest that is spoken: 1.2, 1.3",
              show_choice(server.tls_min_version, tls_versions),
              [&server](const std::string& text) { return read_choice(text, tls_versions, server.tls_min_version); });
  flags.value("tls-ciphers", "LIST", "of TLS 1.2, as OpenSSL writes them; none: its own choice", "",
              non_empty(server.tls_ciphers));
  flags.value("tls-ciphersuites", "LIST", "of TLS 1.3", "", non_empty(server.tls_ciphersuites));
  flags.value("tls-tickets", "COUNT", "with each a client resumes a session later; 0: none does",
              std::to_string(server.tls_tickets),
              number(0, 16, [&server](std::uint64_t n) { server.tls_tickets = n; }));
  flags.value("tls-client-ca", "FILE", "clients need a certificate that one of these (PEM) has signed", "",
              non_empty(server.tls_client_ca_file));
  flags.value("tls-client-cert", "NAME", "with --tls-client-ca: required, optional",
              show_choice(server.tls_client_certificate_required, client_certificates),
              [&settings](const std::string& text) {
                settings.has_client_cert_flag = true;
                return read_choice(text, client_certificates, settings.server.tls_client_certificate_required);
              });
  flags.value(
      "behind-proxy", "ADDRESS", "or a network: a reverse proxy of yours, with --public-name; repeatable", "",
      [&settings](const std::string& text) {
        settings.options.trusted_proxies.push_back(text);
        settings.behind_proxy = true;
        return text.empty() ? Problem("must not be empty") : Problem();
      },
      true);
  flags.value(
      "public-name", "HOST", "the site's name there: its Host is answered, its pages may connect; repeatable", "",
      [&settings](const std::string& text) {
        settings.options.allowed_hosts.push_back(text);
        settings.options.allowed_origins.push_back(text);
        settings.has_public_name = true;
        return text.empty() ? Problem("must not be empty") : Problem();
      },
      true);
  flags.switch_on("proxy-protocol", "trusted proxies begin with a PROXY header, version 1 or 2", server.proxy_protocol);
  flags.value("unsent-low-water-bytes", "SIZE", "what the system keeps unsent for a slow peer; 0: its own, megabytes",
              show_size(server.unsent_low_water_bytes),
              [&server](const std::string& text) { return read_size(text, server.unsent_low_water_bytes); });
  flags.switch_on("deflate", "compress messages (permessage-deflate) for clients that offer it", server.deflate);
  flags.value("deflate-min-bytes", "SIZE", "messages of fewer bytes are sent as they are",
              show_size(server.deflate_min_bytes),
              [&server](const std::string& text) { return read_size(text, server.deflate_min_bytes); });
  flags.value("deflate-client-window-bits", "BITS",
              "9 to 15: clients may keep a context of 2^BITS bytes each; 0: none does",
              std::to_string(server.deflate_client_window_bits), [&server](const std::string& text) {
                std::uint64_t bits = 0;
                Problem problem = text == "0" ? Problem() : read_number(text, 9, 15, bits);
                if (problem.empty()) server.deflate_client_window_bits = static_cast<int>(bits);
                return problem;
              });
  flags.value("auth", "WHO", "required: anonymous (everyone, each a user of their own), tokens:FILE or jwt", "",
              non_empty(auth));
  flags.value("roles", "FILE", "who may do what; without it whoever is let in may do everything", "",
              non_empty(settings.roles_file));
  flags.value("static", "DIR", "serve its files, index.html at /", "", non_empty(settings.static_directory));
  flags.value("log-level", "NAME", "to standard error: debug, info, warning, error",
              show_choice(settings.log_level, log_levels),
              [&settings](const std::string& text) { return read_choice(text, log_levels, settings.log_level); });
  flags.value("bots", "COUNT", "users that move about by themselves, for demos; --auth anonymous only", "0",
              number(0, 1000, [&settings](std::uint64_t n) { settings.bots = n; }));
  flags.value("bot-room", "ROOM", "where they are", settings.bot_room, non_empty(settings.bot_room));
  flags.value("extra-sockets", "COUNT", "beside connections, until what they ask for is known",
              std::to_string(server.extra_sockets),
              [&server](const std::string& text) { return read_count(text, server.extra_sockets); });
  flags.value("refused-sockets", "COUNT", "beside connections, being told that they are refused",
              std::to_string(server.refused_sockets),
              [&server](const std::string& text) { return read_count(text, server.refused_sockets); });
  flags.value("http-sockets", "COUNT", "beside connections, for plain HTTP", std::to_string(server.http_sockets),
              [&server](const std::string& text) { return read_count(text, server.http_sockets); });
  flags.value("http-timeout", "DURATION", "for a peer to take some of an answer to plain HTTP",
              show_duration(server.http_timeout),
              [&server](const std::string& text) { return read_duration(text, server.http_timeout); });
}

/// Splits "2026=ES256:keys/a.pem". The algorithm is found first: an id may end in '=', a file may have both signs.
Problem read_jwt_key_flag(const std::string& text, std::vector<JwtKeyFile>& keys) {
  for (const auto algorithm : {muster::JwtAlgorithm::HS256, muster::JwtAlgorithm::RS256, muster::JwtAlgorithm::ES256}) {
    const std::string name = std::string(to_string(algorithm)) + ":";
    std::size_t at = 0;
    if (text.compare(0, name.size(), name) != 0) {
      at = text.find("=" + name);
      if (at == std::string::npos || at == 0 || text.find(':') < at) continue;
      ++at;
    }
    const std::string file = text.substr(at + name.size());
    if (file.empty()) break;
    keys.push_back({algorithm, file, at == 0 ? std::string() : text.substr(0, at - 1)});
    return {};
  }
  return "must be as in ES256:key.pem or 2026=RS256:key.pem, with HS256, RS256 or ES256, not \"" + text + "\"";
}

/// `given` becomes the name of one of these flags that was given.
void add_jwt_flags(FlagSet& flags, Settings& settings, std::string& given) {
  muster::JwtOptions& jwt = settings.jwt;
  const auto add = [&](const std::string& name, const std::string& value_name, const std::string& help,
                       const std::string& shown, Read read, bool is_repeatable = false) {
    return flags.value(
        name, value_name, help, shown,
        [&given, name, read = std::move(read)](const std::string& text) {
          given = "--" + name;
          return read(text);
        },
        is_repeatable);
  };
  const auto text = [](std::string& field) {
    return [&field](const std::string& value) {
      field = value;
      return Problem();
    };
  };
  flags.group("JSON Web Tokens, with --auth jwt");
  add(
      "jwt-key", "[KID=]ALG:FILE", "HS256: a secret; RS256, ES256: a public key (PEM); repeatable with KIDs", "",
      [&settings](const std::string& value) { return read_jwt_key_flag(value, settings.jwt_keys); }, true);
  add("jwt-issuer", "TEXT", "what \"iss\" must be; none: anything", "", non_empty(jwt.issuer));
  add("jwt-audience", "TEXT", "what \"aud\" must be or contain; none: tokens must have none", "",
      non_empty(jwt.audience));
  add("jwt-user-claim", "NAME", "the claim that names the user", jwt.user_claim, non_empty(jwt.user_claim));
  add("jwt-tenant-claim", "NAME", "the claim that names the tenant; empty: none does", jwt.tenant_claim,
      text(jwt.tenant_claim));
  add("jwt-roles-claim", "NAME", "the claim that lists the roles; empty: none does", jwt.roles_claim,
      text(jwt.roles_claim));
  add("jwt-leeway", "DURATION", "how far the issuer's clock may be off", show_duration(jwt.leeway),
      [&jwt](const std::string& value) {
        const Problem problem = read_duration(value, jwt.leeway);
        return problem.empty() && jwt.leeway > std::chrono::hours(24) ? Problem("must be at most 24h") : problem;
      });
  add("jwt-allow-without-expiry", "", "take tokens without \"exp\", which never end", "",
      [&jwt](const std::string&) {
        jwt.allow_without_expiry = true;
        return Problem();
      })
      ->expected(0)
      ->type_size(0);
}

Problem read_auth(const std::string& auth, const std::string& jwt_flag, Settings& settings) {
  constexpr std::string_view tokens = "tokens:";
  if (auth.empty()) {
    return "--auth is required: anonymous lets everyone in, tokens:FILE only those it names, jwt those who bring a "
           "signed token";
  }
  if (auth == "jwt") {
    return settings.jwt_keys.empty() ? "--auth jwt needs a --jwt-key to check tokens with" : Problem();
  }
  if (!jwt_flag.empty()) return jwt_flag + " needs --auth jwt";
  if (auth == "anonymous") return {};
  if (auth.compare(0, tokens.size(), tokens) != 0 || auth.size() == tokens.size()) {
    return "--auth must be anonymous, tokens:FILE or jwt, not \"" + auth + "\"";
  }
  settings.tokens_file = auth.substr(tokens.size());
  return {};
}

/// What each flag alone cannot know.
std::vector<std::string> problems_together(const Settings& settings) {
  std::vector<std::string> found;
  for (const std::string& problem : muster::problems(settings.options)) {
    std::string line = by_flag(problem);
    // A field of every kind of room is wrong once, not once for each kind.
    if (std::find(found.begin(), found.end(), line) == found.end()) found.push_back(std::move(line));
  }
  if (settings.server.tls_certificate_file.empty() != settings.server.tls_key_file.empty()) {
    found.emplace_back("--tls-cert and --tls-key go together");
  }
  const auto& server = settings.server;
  const auto needs = [&found](bool given, const std::string& flag, const std::string& other) {
    if (given) found.push_back(flag + " needs " + other);
  };
  const bool plain = server.tls_certificate_file.empty();
  needs(plain && server.tls_min_version != TlsVersion::tls_1_2, "--tls-min-version", "--tls-cert");
  needs(plain && !server.tls_ciphers.empty(), "--tls-ciphers", "--tls-cert");
  needs(plain && !server.tls_ciphersuites.empty(), "--tls-ciphersuites", "--tls-cert");
  needs(plain && !server.tls_client_ca_file.empty(), "--tls-client-ca", "--tls-cert");
  needs(settings.has_client_cert_flag && server.tls_client_ca_file.empty(), "--tls-client-cert", "--tls-client-ca");
  if (!server.tls_ciphers.empty() && server.tls_min_version == TlsVersion::tls_1_3) {
    found.emplace_back("--tls-ciphers are those of TLS 1.2, which --tls-min-version excludes");
  }
  if (settings.behind_proxy != settings.has_public_name) {
    found.emplace_back(
        "--behind-proxy ADDRESS and --public-name HOST go together: who is believed, and which site it is");
  }
  if (settings.server.proxy_protocol && settings.options.trusted_proxies.empty()) {
    found.emplace_back("--proxy-protocol needs --behind-proxy or --trusted-proxy: whose headers are read");
  }
  if (settings.server.http_timeout.count() == 0) found.emplace_back("--http-timeout must be above 0");
  if (settings.bots == 0) return found;
  const auto leaves_no_place = [&](const std::string& flag, std::size_t limit) {
    if (limit != 0 && settings.bots >= limit) {
      found.push_back("--bots " + std::to_string(settings.bots) + " leaves no place for people: " + flag + " is " +
                      std::to_string(limit));
    }
  };
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_:.-";
  if (settings.bot_room.find_first_not_of(letters) != std::string::npos ||
      settings.bot_room.size() > settings.options.room_name_bytes) {
    found.emplace_back("--bot-room must be at most --room-name-bytes of letters, digits and _ : . -");
  }
  if (!settings.anonymous()) found.emplace_back("--bots needs --auth anonymous: a bot has no token");
  leaves_no_place("--room-capacity", settings.options.room_options(settings.bot_room).room_capacity);
  leaves_no_place("--max-connections", settings.options.max_connections);
  return found;
}

/// One line, whatever a library put into its message.
std::string error_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return "muster_server: " + text + "\n";
}

}  // namespace

std::variant<Settings, Stop> read_flags(std::vector<std::string> arguments) {
  Settings settings;
  std::string auth;
  std::string jwt_flag;
  std::vector<std::string> rooms_by_prefix;

  CLI::App app(description, "muster_server");
  app.footer(footer);
  app.formatter(std::make_shared<Layout>());
  app.allow_extras();  // told below, by the first of them
  app.set_version_flag("--version", std::to_string(MUSTER_VERSION_MAJOR) + "." + std::to_string(MUSTER_VERSION_MINOR) +
                                        "." + std::to_string(MUSTER_VERSION_PATCH));
  FlagSet flags(app);
  add_server_flags(flags, settings, auth);
  add_jwt_flags(flags, settings, jwt_flag);
  for (const auto& group : option_flags()) {
    flags.group(group.title);
    for (const auto& flag : group.flags) flags.field(flag, settings.options);
  }
  flags.group("Rooms");
  for (const auto& flag : room_flags()) flags.field(flag, settings.options.room);
  const Read keep = [&rooms_by_prefix](const std::string& text) {
    rooms_by_prefix.push_back(text);
    return Problem();
  };
  flags.value("rooms-by-prefix", "SETTINGS",
              "for names that begin so: PREFIX=FLAG=VALUE,... of these flags; repeatable", "", keep, true);

  try {
    std::reverse(arguments.begin(), arguments.end());
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    return Stop{0, app.help()};
  } catch (const CLI::CallForVersion& version) {
    return Stop{0, std::string(version.what()) + "\n"};
  } catch (const CLI::ParseError& error) {
    return Stop{exit_usage, error_line(error.what())};
  }

  if (const auto unknown = app.remaining(); !unknown.empty()) {
    const auto flag = std::find_if(unknown.begin(), unknown.end(), [](const auto& text) { return text[0] == '-'; });
    return Stop{exit_usage,
                error_line("unknown argument " + (flag == unknown.end() ? unknown.front() : *flag) + "; see --help")};
  }
  if (const Problem problem = read_auth(auth, jwt_flag, settings); !problem.empty()) {
    return Stop{exit_usage, error_line(problem)};
  }
  for (const std::string& text : rooms_by_prefix) {
    if (const Problem problem = read_rooms_by_prefix(settings.options, text); !problem.empty()) {
      return Stop{exit_usage, error_line("--rooms-by-prefix " + problem)};
    }
  }
  std::string lines;
  for (const std::string& problem : problems_together(settings)) lines += error_line(problem);
  if (!lines.empty()) return Stop{exit_usage, lines};
  return settings;
}

}  // namespace muster_server
