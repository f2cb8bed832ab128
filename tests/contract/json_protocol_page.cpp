// The page of muster.v1.json is true: its examples are played as they stand there, and its tables are the code's.
#include <algorithm>
#include <cctype>
#include <deque>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "contract/protocol_samples.hpp"
#include "support/catch.hpp"
#include "support/sim.hpp"

using namespace muster;
using namespace muster::test;

namespace {

using Names = std::set<std::string>;

// ---- The page. ----

/// A line of an example, with those that continue it.
struct Line {
  std::size_t number = 0;
  std::string text;
};
using Example = std::vector<Line>;
using Row = std::vector<std::string>;

class Page {
 public:
  Page() {
    std::ifstream file(MUSTER_PROTOCOL_PAGE);
    std::string heading;
    Example* example = nullptr;
    std::string fence;
    std::string line;
    for (std::size_t number = 1; std::getline(file, line); ++number) {
      if (line.rfind("```", 0) == 0) {
        fence = fence.empty() ? line : std::string();
        example = fence == "```frames" ? &examples.emplace_back() : nullptr;
      } else if (!fence.empty()) {
        if (example == nullptr || line.empty()) continue;
        if (line.front() == ' ') {
          example->back().text += line.substr(line.find_first_not_of(' '));
        } else {
          example->push_back({number, line});
        }
      } else if (line.rfind("## ", 0) == 0) {
        heading = line.substr(3);
      } else if (line.rfind("| ", 0) == 0) {
        rows_[heading].push_back(cells(line));
      } else {
        text += line + " ";
      }
    }
  }

  /// The rows below a heading whose table has this many columns, without the one of titles.
  [[nodiscard]] std::vector<Row> table(const std::string& heading, std::size_t columns) const {
    std::vector<Row> found;
    const auto rows = rows_.find(heading);
    if (rows == rows_.end()) return found;
    for (const Row& row : rows->second) {
      if (row.size() == columns) found.push_back(row);
    }
    if (!found.empty()) found.erase(found.begin());
    return found;
  }

  std::vector<Example> examples;
  /// What stands outside of tables and blocks, in one line.
  std::string text;

 private:
  static Row cells(const std::string& line) {
    Row row;
    std::istringstream in(line.substr(1));
    for (std::string cell; std::getline(in, cell, '|');) {
      const std::size_t begin = std::min(cell.find_first_not_of(' '), cell.size());
      row.push_back(cell.substr(begin, cell.find_last_not_of(' ') + 1 - begin));
    }
    return row;
  }
  std::map<std::string, std::vector<Row>> rows_;
};

/// The words that the code spans of a cell begin with.
Names names_in(const std::string& cell) {
  static const std::regex span("`([a-z_]+)[^`]*`");
  Names names;
  for (auto at = std::sregex_iterator(cell.begin(), cell.end(), span); at != std::sregex_iterator(); ++at) {
    names.insert((*at)[1]);
  }
  return names;
}
std::string name_in(const std::string& cell) {
  const Names names = names_in(cell);
  return names.size() == 1 ? *names.begin() : "not one name: " + cell;
}
/// Of a column, each once.
Names column(const std::vector<Row>& rows, std::size_t which) {
  Names names;
  for (const Row& row : rows) {
    if (!names.insert(name_in(row[which])).second) names.insert("twice: " + row[which]);
  }
  return names;
}

/// Which of `wanted` are not there, for a failure to show.
std::string missing(const Names& wanted, const Names& there) {
  std::string all;
  for (const std::string& name : wanted) all += there.count(name) == 0 ? " " + name : "";
  return all;
}
/// What one side has and the other has not.
std::string difference(const Names& page, const Names& code) {
  const std::string lacking = missing(code, page);
  const std::string beyond = missing(page, code);
  return (lacking.empty() ? "" : "the page lacks" + lacking + ". ") +
         (beyond.empty() ? "" : "only the page has" + beyond + ".");
}

// ---- The code. ----

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
  CHECK(kinds.size() == std::variant_size_v<Event>);
  for (const char* type : {"ack", "pong"}) events[type].erase("a");  // the samples' application data
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
      MUSTER_AS(words_for, o, awareness_per_connection),
      MUSTER_AS(words_for, r, awareness_entries),
      MUSTER_AS(words_for, r, awareness_interval),
      MUSTER_AS(words_for, r, presence_list_max),
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

// ---- The player. ----

/// What the page says of one line that is not so.
class Wrong : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A whole value, or a whole string.
const std::regex placeholder("\\b[A-Z][A-Z0-9_]*[A-Z0-9](?=[\",}])");
const std::regex spoken("(\\w+) ([<>]) (.*)");

class Player {
 public:
  explicit Player(const Example& example) {
    Options options;
    static const std::regex option("the server's options: (\\w+) = (\\w+)");
    std::smatch said;
    for (const Line& line : example) {
      if (!std::regex_match(line.text, said, option)) continue;
      if (said[1] == "allow_send") {
        options.allow_send = said[2] == "true";
      } else if (said[1] == "history_messages") {
        options.room.history_messages = std::stoul(said[2]);
      } else {
        throw Wrong("line " + std::to_string(line.number) + ": the test cannot set " + said[1].str());
      }
    }
    sim_ = std::make_unique<Sim>(options);
    sim_->authenticator->decide = [this](const Credentials& credentials) { return decide(credentials.token); };
    for (const Line& line : example) play(line);
    at_ = "at the end of the example";
    settle();
    for (auto& [name, client] : clients_) end_of(name, client);
  }

 private:
  struct Reader {
    explicit Reader(Client of) : client(std::move(of)) {}
    Client client;
    FrameReader frames;
    std::deque<std::string> inbox;
    bool told_close = false;
    bool gone = false;
  };

  [[noreturn]] void fail(const std::string& what) const { throw Wrong(at_ + ": " + what); }

  Authentication decide(const std::string& token) const {
    const std::size_t end = token.find("-token");
    if (end == std::string::npos) return reject();
    Identity identity;
    identity.user = token.substr(0, end);
    identity.tenant = "acme";
    const auto ends = ends_.find(token);
    if (ends != ends_.end()) identity.expires_at = ends->second;
    return accept(std::move(identity));
  }

  void play(const Line& line) {
    at_ = "line " + std::to_string(line.number);
    std::smatch said;
    if (std::regex_match(line.text, said, spoken)) {
      Reader& reader = who(said[1]);
      said[2] == ">" ? send(reader, said[3]) : expect(reader, said[3]);
      return;
    }
    for (const auto& [pattern, act] : acts_) {
      if (!std::regex_match(line.text, said, std::regex(pattern))) continue;
      act(said);
      sim_->run();
      return;
    }
    fail("the test does not know what to do with: " + line.text);
  }

  Reader& who(const std::string& name) {
    const auto found = clients_.find(name);
    if (found == clients_.end()) fail(name + " has not connected");
    return found->second;
  }

  void connect(const std::string& name, Dial how) {
    const auto before = clients_.find(name);
    if (before != clients_.end()) {
      end_of(name, before->second);
      clients_.erase(before);
    }
    clients_.emplace(name, Reader(sim_->connect(name, std::move(how))));
  }

  void send(Reader& reader, std::string frame) {
    for (const auto& [word, value] : known_) frame = std::regex_replace(frame, std::regex("\\b" + word + "\\b"), value);
    std::smatch left;
    if (std::regex_search(frame, left, placeholder)) fail("nothing has said what " + left.str() + " is");
    reader.client.raw(frame);
    sim_->run();
  }

  void read() {
    for (auto& [name, reader] : clients_) {
      std::vector<Frame> frames;
      reader.frames.feed(reader.client.pipe().take_written(), frames);
      for (Frame& frame : frames) {
        if (frame.kind == FrameKind::ping) reader.client.pong();
        if (frame.kind == FrameKind::text) reader.inbox.push_back(std::move(frame.payload));
      }
    }
  }
  /// What is batched has been told.
  void settle() {
    sim_->advance(RoomOptions().awareness_interval);
    read();
  }

  void expect(Reader& reader, const std::string& what) {
    read();
    static const std::regex close("close (\\d+) \"(.*)\"");
    static const std::regex shown_elsewhere("(\\w+) \xe2\x80\xa6");
    std::smatch said;
    const bool closes = std::regex_match(what, said, close);
    const auto closing = [&] { return reader.client.pipe().closing(); };
    if (closes ? !closing() : reader.inbox.empty()) settle();
    if (closes) {
      if (!reader.inbox.empty()) fail("before the close came " + reader.inbox.front());
      if (!closing()) fail("there was no close");
      const std::string got = "close " + std::to_string(closing()->code) + " \"" + closing()->text + "\"";
      if (got != what) fail("it was " + got);
      reader.told_close = true;
      return;
    }
    if (reader.inbox.empty()) fail("nothing came");
    const std::string got = reader.inbox.front();
    reader.inbox.pop_front();
    if (std::regex_match(what, said, shown_elsewhere)) {
      if (Told(got).type() != said[1]) fail("what came was " + got);
    } else {
      match(what, got);
    }
  }

  /// The frame is what the page says, and tells what the words in capitals are.
  void match(const std::string& page, const std::string& got) {
    static const std::regex special(R"([.^$|()\[\]{}*+?\\])");
    std::vector<std::string> fresh;
    std::string pattern;
    auto from = page.begin();
    const auto literal = [&](auto end) { pattern += std::regex_replace(std::string(from, end), special, R"(\$&)"); };
    for (auto at = std::sregex_iterator(page.begin(), page.end(), placeholder); at != std::sregex_iterator(); ++at) {
      literal((*at)[0].first);
      from = (*at)[0].second;
      const std::string word = at->str();
      const auto known = known_.find(word);
      const auto again = std::find(fresh.begin(), fresh.end(), word);
      if (known != known_.end()) {
        pattern += known->second;
      } else if (again != fresh.end()) {
        pattern += "\\" + std::to_string(again - fresh.begin() + 1);
      } else if (word == "TIME") {
        pattern += "[0-9]+";
      } else {
        pattern += "([0-9a-f]+)";
        fresh.push_back(word);
      }
    }
    literal(page.end());
    std::smatch found;
    if (!std::regex_match(got, found, std::regex(pattern)))
      fail("the page says\n  " + page + "\nand what came was\n  " + got);
    for (std::size_t i = 0; i < fresh.size(); ++i) known_[fresh[i]] = found[i + 1];
  }

  void end_of(const std::string& name, const Reader& reader) const {
    if (!reader.inbox.empty()) fail(name + " also got " + reader.inbox.front());
    const auto closing = reader.client.pipe().closing();
    if (closing && !reader.told_close && !reader.gone) fail(name + " was closed with " + std::to_string(closing->code));
  }

  using Act = std::function<void(const std::smatch&)>;
  const std::vector<std::pair<std::string, Act>> acts_{
      {"the server's options: .*", [](const std::smatch&) {}},
      {"(\\w+) connects(?: again,)? with the token \"([^\"]*)\"",
       [this](const std::smatch& m) { connect(m[1], Dial().with(m[2])); }},
      {"(\\w+) connects(?: again,)? without a token", [this](const std::smatch& m) { connect(m[1], Dial().silent()); }},
      {"(\\w+) connects again, with the token \"([^\"]*)\" and \\?resume=(\\w+)",
       [this](const std::smatch& m) {
         connect(m[1], Dial().with(m[2]).back_for(parse_connection_id(known_.at(m[3]))));
       }},
      {"(\\w+)'s connection is lost",
       [this](const std::smatch& m) {
         who(m[1]).gone = true;
         who(m[1]).client.hang_up(CloseReason::lost);
       }},
      {"(\\w+) closes with 1000",
       [this](const std::smatch& m) {
         who(m[1]).gone = true;
         who(m[1]).client.hang_up(CloseReason::normal);
       }},
      {"(\\d+) s pass", [this](const std::smatch& m) { pass(std::stoul(m[1])); }},
      {"the token \"([^\"]*)\" is good for (\\d+) s",
       [this](const std::smatch& m) {
         ends_[m[1]] = sim_->schedule.executors[0]->wall_now() + std::chrono::seconds(std::stoul(m[2]));
       }},
      {"the server serves the type \"(\\w+)\", and answers (.*)",
       [this](const std::smatch& m) {
         sim_->manager().on(
             m[1], [answer = m[2].str()](Connection& connection, const Payload&) { connection.reply(json(answer)); });
       }},
      {"the server publishes (.*) to (\\S+)",
       [this](const std::smatch& m) {
         sim_->manager().publish({"acme", m[2]}, json(m[1]));
       }},
      {"the server sends (\\w+) (.*)",
       [this](const std::smatch& m) {
         (void)sim_->manager().send_to_user({"acme", m[1]}, json(m[2]));
       }},
      {"the server kicks (\\w+): \"(.*)\"",
       [this](const std::smatch& m) { CHECK(sim_->manager().kick(who(m[1]).client.id(), m[2], false)); }},
      {"the server revokes (\\w+)",
       [this](const std::smatch& m) {
         CHECK(sim_->manager().revoke(UserKey{"acme", m[1]}) == 1);
       }},
      {"the server drains", [this](const std::smatch&) { sim_->manager().drain(5s, 5s, nullptr); }},
  };

  /// Second by second, as clients answer pings.
  void pass(unsigned long seconds) {
    for (; seconds > 0; --seconds) {
      sim_->advance(1s);
      read();
    }
    sim_->run();
  }

  std::map<std::string, WallTime> ends_;
  std::unique_ptr<Sim> sim_;
  std::map<std::string, Reader> clients_;
  std::map<std::string, std::string> known_;
  std::string at_;
};

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
  const Page page;
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
  const Page page;
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
  const Page page;
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
    const bool one_of_them = row[1].find("one of them") != std::string::npos;
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
        const bool may_be_absent = row[1].find("`" + member + "?`") != std::string::npos;
        CHECK(is_valid(compact(less)) == (may_be_absent && !one_of_them));
      }
    }
  }
}

TEST_CASE("the page of muster.v1.json has every event with its members, and no other",
          "[contract][protocol][json][page]") {
  const Page page;
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
  const Page page;
  CHECK(difference(column(page.table("Errors", 3), 0), code) == "");
  Names of_commands;
  for (const Row& row : page.table("Commands", 4)) of_commands.merge(names_in(row[3]));
  of_commands.erase("join");  // "as `join`"
  CHECK(missing(of_commands, code) == "");
}

TEST_CASE("the page of muster.v1.json has every close reason as the code has it", "[contract][protocol][json][page]") {
  const Page page;
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
  const Page page;
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
