// The page of muster.v1.json is true: its examples are played as they stand there, and its tables are the code's.
#include <map>
#include <regex>
#include <set>
#include <string>
#include <variant>

#include "contract/page_player.hpp"
#include "contract/protocol_page.hpp"
#include "contract/protocol_samples.hpp"
#include "muster/protocols/json_protocol/names.ipp"
#include "support/catch.hpp"

using namespace muster;
using namespace muster::test;

namespace {

Names commands_of_the_code() {
  const auto& types = muster::detail::json_protocol::type_names;
  return {types.begin(), types.end()};
}

/// Each event's type, and the members that its payload may have.
std::map<std::string, Names> events_of_the_code() {
  const JsonProtocol protocol;
  std::vector<Command> alias;
  (void)protocol.decode(FrameKind::text, R"({"type":"subscribe","payload":{"topic":"r"}})", DecodeLimits{}, alias);
  const EventSamples samples("ann");
  std::set<std::size_t> kinds;
  std::map<std::string, Names> events;
  for (const Event& event : samples.events()) {
    kinds.insert(event.index());
    for (const bool by_alias : {false, true}) {
      const Correlation* const correlation = by_alias ? &alias.front().correlation : nullptr;
      std::string frame;
      if (!protocol.encode(event, correlation, WallTime(), frame)) continue;
      const Told told(frame);
      Names& members = events[told.type()];
      for (const auto& member : told.payload().GetObject()) members.insert(member.name.GetString());
    }
  }
  CHECK(kinds.size() == Event::kinds);
  for (const char* type : {"ack", "pong", "progress"}) events[type].erase("a");  // the samples' application data
  return events;
}

std::string word_of(CloseAdvice advice) {
  switch (advice) {
    case CloseAdvice::stop:
      return "stop";
    case CloseAdvice::reconnect:
      return "reconnect";
    case CloseAdvice::reconnect_later:
      return "reconnect later";
    case CloseAdvice::authenticate:
      return "authenticate";
    case CloseAdvice::new_token:
      return "new token";
    case CloseAdvice::resume:
      return "resume";
    case CloseAdvice::as_told:
      return "as told";
  }
  return {};
}

std::string with_commas(std::size_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}
std::string words_for(std::size_t number) { return number == 0 ? "none" : with_commas(number); }
std::string words_for(std::chrono::milliseconds time) {
  const auto count = time.count();
  if (count % 3'600'000 == 0) return with_commas(static_cast<std::size_t>(count / 3'600'000)) + " h";
  if (count % 60'000 == 0 && count > 60'000) return with_commas(static_cast<std::size_t>(count / 60'000)) + " min";
  if (count % 1000 == 0) return with_commas(static_cast<std::size_t>(count / 1000)) + " s";
  return with_commas(static_cast<std::size_t>(count)) + " ms";
}
std::string bytes(std::size_t number) {
  if (number % (1024 * 1024) == 0) return std::to_string(number / (1024 * 1024)) + " MiB";
  return number % 1024 == 0 ? std::to_string(number / 1024) + " KiB" : words_for(number);
}

/// How the page writes the default of an option; empty: none that it may name.
std::string default_of(const std::string& option) {
  const Options o;
  const RoomOptions& r = o.room;
#define MUSTER_AS(words, of, name) \
  { #name, words(of.name) }
  static const std::map<std::string, std::string> defaults{
      MUSTER_AS(bytes, o, max_message_bytes),
      MUSTER_AS(words_for, o, message_rate),
      MUSTER_AS(bytes, o, byte_rate),
      MUSTER_AS(words_for, o, frame_rate),
      MUSTER_AS(words_for, o, rate_patience),
      MUSTER_AS(words_for, o, rate_limited_max),
      MUSTER_AS(words_for, o, invalid_messages_max),
      MUSTER_AS(words_for, o, json_nesting),
      MUSTER_AS(words_for, o, waiting_commands),
      MUSTER_AS(words_for, o, auth_timeout),
      MUSTER_AS(bytes, o, pre_auth_bytes),
      MUSTER_AS(words_for, o, pre_auth_messages),
      MUSTER_AS(words_for, o, handshake_timeout),
      MUSTER_AS(bytes, o, handshake_bytes),
      MUSTER_AS(words_for, o, rooms_per_connection),
      MUSTER_AS(words_for, o, rooms_created_per_minute),
      MUSTER_AS(words_for, r, room_capacity),
      MUSTER_AS(words_for, o, room_name_bytes),
      MUSTER_AS(bytes, o, awareness_state_bytes),
      MUSTER_AS(bytes, o, profile_bytes),
      MUSTER_AS(words_for, o, awareness_per_connection),
      MUSTER_AS(words_for, r, awareness_entries),
      MUSTER_AS(words_for, r, awareness_interval),
      MUSTER_AS(words_for, r, presence_list_max),
      MUSTER_AS(words_for, r, latest_bytes_per_second),
      MUSTER_AS(words_for, o, presence_grace),
      MUSTER_AS(words_for, o, resume_window),
      MUSTER_AS(words_for, r, history_messages),
      MUSTER_AS(bytes, r, history_bytes),
      MUSTER_AS(words_for, r, history_age),
      MUSTER_AS(words_for, o, idempotency_key_bytes),
      MUSTER_AS(words_for, o, idempotency_keys),
      MUSTER_AS(words_for, o, idempotency_age),
      MUSTER_AS(words_for, o, offline_messages),
      MUSTER_AS(bytes, o, offline_bytes),
      MUSTER_AS(words_for, o, offline_age),
      MUSTER_AS(bytes, o, unsent_soft_bytes),
      MUSTER_AS(bytes, o, unsent_hard_bytes),
      MUSTER_AS(words_for, o, unsent_age),
      MUSTER_AS(words_for, o, heartbeat),
      MUSTER_AS(words_for, o, pong_timeout),
      MUSTER_AS(words_for, o, close_timeout),
      MUSTER_AS(words_for, o, reauth_lead),
      MUSTER_AS(words_for, o, reauth_grace),
      MUSTER_AS(words_for, o, max_connections),
      MUSTER_AS(words_for, o, max_connections_per_ip),
      MUSTER_AS(words_for, o, connect_rate_per_ip),
      MUSTER_AS(words_for, o, connect_rate_window),
      MUSTER_AS(words_for, o, max_connections_per_user),
  };
#undef MUSTER_AS
  const auto found = defaults.find(option);
  return found == defaults.end() ? std::string() : found->second;
}

struct Shown {
  /// Frames of clients by their type, a word in capitals being 1.
  std::multimap<std::string, std::string> sent;
  /// The types of the server's whose frame stands there.
  Names told;
};
Shown shown_by(const Page& page) {
  Shown shown;
  std::smatch said;
  static const std::regex type("\\{\"type\":\"(\\w+)\".*");
  for (const Example& example : page.examples) {
    for (const Line& line : example) {
      if (!std::regex_match(line.text, said, spoken)) continue;
      const bool by_client = said[2] == ">";
      const std::string frame = by_client ? std::regex_replace(said[3].str(), placeholder, "1") : said[3].str();
      if (!std::regex_match(frame, said, type)) continue;
      by_client ? (void)shown.sent.emplace(said[1], frame) : (void)shown.told.insert(said[1]);
    }
  }
  return shown;
}

}  // namespace

TEST_CASE("each example of the page of muster.v1.json is what happens", "[contract][protocol][json][page]") {
  const Page page(MUSTER_PROTOCOL_PAGE);
  CHECK(page.examples.size() >= 10);
  for (const Example& example : page.examples) {
    try {
      Player player(example);
    } catch (const Wrong& wrong) {
      FAIL_CHECK(MUSTER_PROTOCOL_PAGE << ", " << wrong.what());
    }
  }
}

TEST_CASE("the page of muster.v1.json has every command, and no other", "[contract][protocol][json][page]") {
  const Page page(MUSTER_PROTOCOL_PAGE);
  const auto rows = page.table("Commands", 4);
  const Names code = commands_of_the_code();
  CHECK(difference(column(rows, 0), code) == "");
  for (const auto& type : column(rows, 0)) CHECK(JsonProtocol().serves(type));
  Names members;
  for (const Row& row : rows) members.merge(names_in(row[1]));
  const auto& known = muster::detail::json_protocol::member_names;
  CHECK(difference(members, {known.begin(), known.end()}) == "");
  Names bounded;
  for (const Row& row : page.table("Commands", 2)) bounded.merge(names_in(row[0]));
  CHECK(difference(bounded, members) == "");
  Names sent;
  for (const auto& frame : shown_by(page).sent) sent.insert(frame.first);
  CHECK(missing(code, sent) == "");
}

TEST_CASE("the page of muster.v1.json says what a command needs, and whether it is always answered",
          "[contract][protocol][json][page]") {
  const Page page(MUSTER_PROTOCOL_PAGE);
  const JsonProtocol protocol;
  const auto decoded = [&protocol](const std::string& frame) {
    std::vector<Command> commands;
    CHECK_FALSE(protocol.decode(FrameKind::text, frame, DecodeLimits{}, commands).has_value());
    return commands.at(0);
  };
  const auto is_valid = [&](const std::string& frame) {
    return !std::holds_alternative<command::Invalid>(decoded(frame).body);
  };
  const auto sent = shown_by(page).sent;
  for (const Row& row : page.table("Commands", 4)) {
    const std::string type = name_in(row[0]);
    INFO(type);
    const bool always = row[2].find(", always") != std::string::npos;
    CHECK(decoded(R"({"type":")" + type + R"("})").correlation.reply == always);
    const std::size_t one_of_those_before = row[1].find(", one of them");
    for (auto [frame, end] = sent.equal_range(type); frame != end; ++frame) {
      if (!is_valid(frame->second)) continue;  // an example of that
      rapidjson::Document whole;
      whole.Parse(frame->second.c_str());
      REQUIRE_FALSE(whole.HasParseError());
      for (const std::string& member : names_in(row[1])) {
        rapidjson::Document less;
        less.CopyFrom(whole, less.GetAllocator());
        if (!less.HasMember("payload") || !less["payload"].RemoveMember(member.c_str())) continue;
        INFO(frame->second << " without " << member);
        const std::size_t optional = row[1].find("`" + member + "?`");
        const bool one_of_them = one_of_those_before != std::string::npos && optional < one_of_those_before;
        CHECK(is_valid(compact(less)) == (optional != std::string::npos && !one_of_them));
      }
    }
  }
}

TEST_CASE("the page of muster.v1.json has every event with its members, and no other",
          "[contract][protocol][json][page]") {
  const Page page(MUSTER_PROTOCOL_PAGE);
  const auto rows = page.table("Events", 3);
  const auto code = events_of_the_code();
  Names types;
  for (const auto& event : code) types.insert(event.first);
  CHECK(difference(column(rows, 0), types) == "");
  for (const Row& row : rows) {
    const auto event = code.find(name_in(row[0]));
    if (event == code.end()) continue;
    INFO(event->first);
    CHECK(difference(names_in(row[1]), event->second) == "");
  }
  CHECK(missing(types, shown_by(page).told) == "");
}

TEST_CASE("the page of muster.v1.json has every error code, and no other", "[contract][protocol][json][page]") {
  Names code;
  for (int value = 1; value <= static_cast<int>(errc::internal); ++value) {
    code.insert(std::string(to_string(static_cast<errc>(value))));
  }
  const Page page(MUSTER_PROTOCOL_PAGE);
  CHECK(difference(column(page.table("Errors", 3), 0), code) == "");
  Names of_commands;
  for (const Row& row : page.table("Commands", 4)) of_commands.merge(names_in(row[3]));
  of_commands.erase("join");  // "as `join`"
  CHECK(missing(of_commands, code) == "");
}

TEST_CASE("the page of muster.v1.json has every close reason as the code has it", "[contract][protocol][json][page]") {
  const Page page(MUSTER_PROTOCOL_PAGE);
  const auto rows = page.table("Close codes", 5);
  Names says;
  for (const Row& row : rows) says.insert(row[0] + " " + row[1] + " HTTP " + row[2] + ": " + row[3]);
  const JsonProtocol protocol;
  Names code;
  Names statuses;
  Names advice;
  for (const CloseReasonEntry& entry : close_reasons) {
    code.insert(std::to_string(protocol.close_code(entry.reason)) + " `" + std::string(entry.name) + "` HTTP " +
                std::to_string(entry.http_status) + ": " + word_of(entry.advice));
    const bool before_messages = entry.reason != CloseReason::message_too_big;
    if (before_messages) statuses.insert(std::to_string(entry.http_status));
    advice.insert(word_of(entry.advice));
  }
  CHECK(difference(says, code) == "");
  CHECK(rows.size() == close_reason_count);
  Names advised;
  for (const Row& row : page.table("Close codes", 2)) advised.insert(row[0]);
  CHECK(difference(advised, advice) == "");
  Names answered;
  for (const Row& row : page.table("Connecting", 3)) answered.insert(row[0]);
  CHECK(missing(statuses, answered) == "");
}

TEST_CASE("the page of muster.v1.json has the protocol's name and path, and the defaults of the limits",
          "[contract][protocol][json][page]") {
  const Page page(MUSTER_PROTOCOL_PAGE);
  const JsonProtocol protocol;
  CHECK(page.text.find("the subprotocol `" + std::string(protocol.name()) + "`") != std::string::npos);
  CHECK(page.text.find("the path `" + std::string(protocol.path()) + "`") != std::string::npos);
  const auto rows = page.table("Limits", 3);
  CHECK(rows.size() >= 40);
  for (const Row& row : rows) {
    const std::string option = name_in(row[0]);
    const std::string expected = default_of(option);
    INFO(option << " is " << expected << ", and the page says: " << row[1]);
    CHECK_FALSE(expected.empty());
    const std::string next = row[1].substr(std::min(expected.size(), row[1].size()), 1);
    CHECK((row[1].rfind(expected, 0) == 0 && (next.empty() || next == " " || next == ",")));
  }
}
