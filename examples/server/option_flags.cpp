#include "option_flags.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <map>
#include <utility>

namespace muster_server {
namespace {

using muster::Options;
using muster::RoomOptions;
using std::chrono::milliseconds;

constexpr Names<muster::AuthMode, 3> auth_modes{{{"upgrade_or_message", muster::AuthMode::upgrade_or_message},
                                                 {"upgrade_only", muster::AuthMode::upgrade_only},
                                                 {"message_only", muster::AuthMode::message_only}}};
constexpr Names<muster::RefuseWith, 2> refusals{
    {{"http_status", muster::RefuseWith::http_status}, {"close_code", muster::RefuseWith::close_code}}};
constexpr Names<muster::CapacityCounts, 2> capacity_counts{
    {{"users", muster::CapacityCounts::users}, {"connections", muster::CapacityCounts::connections}}};
constexpr Names<muster::UserLimitPolicy, 2> user_limit_policies{
    {{"reject_new", muster::UserLimitPolicy::reject_new}, {"close_oldest", muster::UserLimitPolicy::close_oldest}}};
constexpr Names<muster::RoomNames, 2> room_names{
    {{"ascii", muster::RoomNames::ascii}, {"unicode", muster::RoomNames::unicode}}};
constexpr Names<muster::PresenceScope, 4> presence_scopes{{{"shared_rooms", muster::PresenceScope::shared_rooms},
                                                           {"tenant", muster::PresenceScope::tenant},
                                                           {"all", muster::PresenceScope::all},
                                                           {"none", muster::PresenceScope::none}}};

template <class Owner, class Value, class Read, class Show>
Flag<Owner> single(std::string name, Value Owner::*field, std::string value_name, std::string help, Read read,
                   Show show) {
  return {std::move(name), std::move(value_name), std::move(help),
          [field, read](Owner& owner, const std::string& text) { return read(text, owner.*field); },
          [field, show](const Owner& owner) { return show(owner.*field); }};
}

template <class Owner>
Flag<Owner> count(std::string name, std::size_t Owner::*field, std::string help) {
  return single(std::move(name), field, "COUNT", std::move(help), read_count,
                [](std::size_t value) { return std::to_string(value); });
}

template <class Owner>
Flag<Owner> size(std::string name, std::size_t Owner::*field, std::string help) {
  return single(std::move(name), field, "SIZE", std::move(help), read_size, show_size);
}

template <class Owner>
Flag<Owner> duration(std::string name, milliseconds Owner::*field, std::string help) {
  return single(std::move(name), field, "DURATION", std::move(help), read_duration, show_duration);
}

template <class Owner, class Value, std::size_t names_count>
Flag<Owner> choice(std::string name, Value Owner::*field, const Names<Value, names_count>& names, std::string help) {
  for (const auto& entry : names) help.append(&entry == names.data() ? ": " : ", ").append(entry.first);
  return single(
      std::move(name), field, "NAME", std::move(help),
      [&names](const std::string& text, Value& value) { return read_choice(text, names, value); },
      [&names](Value value) { return show_choice(value, names); });
}

Flag<Options> text(std::string name, std::string Options::*field, std::string value_name, std::string help) {
  return single(
      std::move(name), field, std::move(value_name), std::move(help),
      [](const std::string& given, std::string& value) {
        value = given;
        return Problem();
      },
      [](const std::string& value) { return value; });
}

Flag<Options> list(std::string name, std::vector<std::string> Options::*field, std::string value_name,
                   std::string help) {
  Flag<Options> flag{std::move(name), std::move(value_name), std::move(help) + "; repeatable",
                     [field](Options& options, const std::string& given) {
                       if (given.empty()) return Problem("must not be empty");
                       (options.*field).push_back(given);
                       return Problem();
                     },
                     [](const Options&) { return std::string(); }};
  flag.takes = Flag<Options>::Takes::several_values;
  return flag;
}

Flag<Options> toggle(std::string name, bool Options::*field, std::string help) {
  Flag<Options> flag{std::move(name),
                     {},
                     std::move(help),
                     [field](Options& options, const std::string& given) {
                       if (given != "true" && given != "false") return Problem("takes no value but true or false");
                       options.*field = given == "true";
                       return Problem();
                     },
                     [](const Options&) { return std::string(); }};
  flag.takes = Flag<Options>::Takes::nothing;
  return flag;
}

}  // namespace

const std::vector<FlagGroup<Options>>& option_flags() {
  static const std::vector<FlagGroup<Options>> groups{
      {"Admission (COUNT 0: no limit)",
       {count("max-connections", &Options::max_connections, "connections in all; beyond: 503"),
        count("max-connections-per-ip", &Options::max_connections_per_ip, "from one IPv4 address or IPv6 /64"),
        count("connect-rate-per-ip", &Options::connect_rate_per_ip, "new ones from one address in a window"),
        duration("connect-rate-window", &Options::connect_rate_window, "length of that window"),
        count("max-connections-per-user", &Options::max_connections_per_user, "of one user"),
        choice("user-limit-policy", &Options::user_limit_policy, user_limit_policies, "who yields at that limit"),
        list("trusted-proxy", &Options::trusted_proxies, "ADDRESS", "or a network: its X-Forwarded-For is believed"),
        list("allowed-origin", &Options::allowed_origins, "HOST", "its pages may connect; \"*\": every page"),
        list("allowed-host", &Options::allowed_hosts, "HOST", "a Host header that is answered"),
        duration("handshake-timeout", &Options::handshake_timeout, "from accept to the whole request"),
        size("handshake-bytes", &Options::handshake_bytes, "header of a request")}},
      {"Identity",
       {choice("auth-mode", &Options::auth_mode, auth_modes, "token at"),
        choice("refuse-with", &Options::refuse_with, refusals, "how a refused upgrade is told"),
        duration("auth-timeout", &Options::auth_timeout, "for the first message; traffic does not extend it"),
        duration("answer-timeout", &Options::answer_timeout, "for an authenticator or authorizer to answer"),
        text("auth-cookie", &Options::auth_cookie, "NAME", "cookie that carries a token"),
        list("credential-header", &Options::credential_headers, "NAME", "shown to the authenticator"),
        list("credential-cookie", &Options::credential_cookies, "NAME", "shown to the authenticator"),
        toggle("auth-query", &Options::auth_query, "take a token from the query; it ends up in logs"),
        duration("reauth-lead", &Options::reauth_lead, "warning before a token expires"),
        duration("reauth-grace", &Options::reauth_grace, "time for a new token after that"),
        toggle("close-on-permission-denied", &Options::close_on_permission_denied, "a refusal also closes"),
        count("permissions-kept", &Options::permissions_kept,
              "for a connection, of the authorizer's that hold; 0: none"),
        size("pre-auth-bytes", &Options::pre_auth_bytes, "before authentication; beyond: 1008"),
        count("pre-auth-messages", &Options::pre_auth_messages, "before authentication; beyond: 1008")}},
      {"Budgets of one connection (0: no limit)",
       {size("max-message-bytes", &Options::max_message_bytes, "of one message; beyond: 1009"),
        count("message-rate", &Options::message_rate, "messages a second; the burst is twice that"),
        size("byte-rate", &Options::byte_rate, "bytes a second; the burst is twice that"),
        count("frame-rate", &Options::frame_rate, "frames a second, fragments and pings included"),
        duration("rate-patience", &Options::rate_patience, "beyond a rate, then refused; until then slowed down"),
        count("rate-limited-max", &Options::rate_limited_max, "refusals in a row; beyond: 1008"),
        count("invalid-messages-max", &Options::invalid_messages_max, "in a row; beyond: 1008"),
        count("rooms-per-connection", &Options::rooms_per_connection, "joined at once"),
        count("rooms-created-per-minute", &Options::rooms_created_per_minute, "by one connection"),
        count("awareness-per-connection", &Options::awareness_per_connection, "awareness entries"),
        size("awareness-state-bytes", &Options::awareness_state_bytes, "of one awareness state"),
        size("room-name-bytes", &Options::room_name_bytes, "of a room's name"),
        choice("room-names", &Options::room_names, room_names, "which characters they may have"),
        count("json-nesting", &Options::json_nesting, "depth of a message"),
        count("waiting-commands", &Options::waiting_commands, "behind one that waits; beyond twice that: 1008"),
        toggle("allow-send", &Options::allow_send, "clients may send to users"),
        size("profile-bytes", &Options::profile_bytes, "of what others are shown of a connection"),
        toggle("allow-profile", &Options::allow_profile, "clients may change their own profile")}},
      {"Slow peers",
       {size("unsent-soft-bytes", &Options::unsent_soft_bytes, "beyond: fed from history"),
        size("unsent-hard-bytes", &Options::unsent_hard_bytes, "beyond: closed 4008"),
        duration("unsent-age", &Options::unsent_age, "older: closed 4008")}},
      {"Budgets of all together (0: no limit)",
       {size("total-bytes", &Options::total_bytes, "history, keys, unsent frames"),
        size("tenant-bytes", &Options::tenant_bytes, "history and keys of one tenant")}},
      {"Liveness",
       {duration("heartbeat", &Options::heartbeat, "between pings; 0: none"),
        duration("pong-timeout", &Options::pong_timeout, "silence after a ping; then closed 4009"),
        duration("sweep-interval", &Options::sweep_interval, "between sweeps"),
        duration("close-timeout", &Options::close_timeout, "for a peer to answer a close frame")}},
      {"Presence and awareness",
       {choice("presence-scope", &Options::presence_scope, presence_scopes, "who is told of users"),
        duration("presence-grace", &Options::presence_grace, "before a lost connection is told"),
        duration("awareness-ttl", &Options::awareness_ttl, "unrefreshed states go; 0: they stay")}},
      {"Sessions",
       {duration("resume-window", &Options::resume_window, "a lost connection may resume"),
        count("offline-messages", &Options::offline_messages, "queued for one user"),
        size("offline-bytes", &Options::offline_bytes, "queued for one user"),
        duration("offline-age", &Options::offline_age, "of a queued message"),
        count("idempotency-keys", &Options::idempotency_keys, "remembered for a room"),
        size("idempotency-key-bytes", &Options::idempotency_key_bytes, "of one key"),
        duration("idempotency-age", &Options::idempotency_age, "a key is remembered")}},
      {"Deploys",
       {duration("drain-deadline", &Options::drain_deadline, "to close everyone"),
        duration("reconnect-window", &Options::reconnect_window, "when to return, told to who is refused")}},
      {"Fan-out", {count("fan-out-slice", &Options::fan_out_slice, "members served before other work")}},
  };
  return groups;
}

const std::vector<Flag<RoomOptions>>& room_flags() {
  static const std::vector<Flag<RoomOptions>> flags{
      count("room-capacity", &RoomOptions::room_capacity, "members; 0: no limit"),
      choice("capacity-counts", &RoomOptions::capacity_counts, capacity_counts, "what counts as one"),
      count("history-messages", &RoomOptions::history_messages, "kept; 0: none"),
      size("history-bytes", &RoomOptions::history_bytes, "kept; 0: none"),
      duration("history-age", &RoomOptions::history_age, "kept; 0: none"),
      count("awareness-entries", &RoomOptions::awareness_entries, "0: no limit"),
      duration("awareness-interval", &RoomOptions::awareness_interval, "changes within it travel together"),
      count("presence-list-max", &RoomOptions::presence_list_max, "members; above: only counts are told"),
      size("latest-bytes-per-second", &RoomOptions::latest_bytes_per_second, "of state, to each member; 0: no bound"),
  };
  return flags;
}

Problem read_rooms_by_prefix(Options& options, std::string_view given) {
  const std::size_t equals = given.find('=');
  if (equals == 0 || equals == std::string_view::npos) return "must be PREFIX=FLAG=VALUE,...";
  const std::string prefix(given.substr(0, equals));
  RoomOptions room = options.room;
  std::string_view rest = given.substr(equals + 1);
  for (bool more = true; more;) {
    const std::string_view setting = rest.substr(0, rest.find(','));
    more = setting.size() < rest.size();
    rest.remove_prefix(setting.size() + (more ? 1 : 0));
    const std::size_t separator = std::min(setting.find('='), setting.size());
    const std::string_view name = setting.substr(0, separator);
    const auto flag = std::find_if(room_flags().begin(), room_flags().end(),
                                   [name](const Flag<RoomOptions>& one) { return one.name == name; });
    if (flag == room_flags().end()) return "has no flag of rooms called \"" + std::string(name) + "\"";
    if (separator == setting.size()) return std::string(name) + " needs a value: " + std::string(name) + "=VALUE";
    const Problem problem = flag->read(room, std::string(setting.substr(separator + 1)));
    if (!problem.empty()) return std::string(name) + " " + problem;
  }
  if (!options.rooms_by_prefix.emplace(prefix, room).second) return "names \"" + prefix + "\" twice";
  return {};
}

std::string by_flag(std::string_view sentence) {
  static const std::map<std::string, std::string> flags_by_field = [] {
    std::map<std::string, std::string> flags;
    const auto add = [&flags](std::string field, const std::string& flag) {
      std::replace(field.begin(), field.end(), '-', '_');
      flags.emplace(std::move(field), "--" + flag);
    };
    for (const auto& group : option_flags()) {
      for (const auto& flag : group.flags) {
        const bool is_list = flag.takes == Flag<Options>::Takes::several_values;
        const bool ends_in_y = flag.name.back() == 'y';
        add(!is_list    ? flag.name
            : ends_in_y ? flag.name.substr(0, flag.name.size() - 1) + "ies"
                        : flag.name + "s",
            flag.name);
      }
    }
    for (const auto& flag : room_flags()) add(flag.name, flag.name);
    for (const char* flag : {"tls-ciphers", "tls-ciphersuites"}) add(flag, flag);  // which OpenSSL alone can judge
    return flags;
  }();
  std::string line;
  bool is_quoted = false;
  while (!sentence.empty()) {
    if (sentence.front() == '"') is_quoted = !is_quoted;
    const bool is_between = is_quoted || sentence.front() == ' ' || sentence.front() == '"' || sentence.front() == '(';
    const std::string_view word = sentence.substr(0, is_between ? 1 : sentence.find_first_of(" \""));
    // What stands with a slash, a dot or a dash in it is a path, however much of it is called as a field is.
    const std::size_t size = word.find_last_not_of(".,:;)") + 1;
    const auto flag = flags_by_field.find(std::string(word.substr(0, size)));
    line.append(flag == flags_by_field.end() ? word.substr(0, size) : flag->second).append(word.substr(size));
    sentence.remove_prefix(word.size());
  }
  return line;
}

}  // namespace muster_server
