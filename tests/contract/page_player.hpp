// Plays an example of a protocol's page on a whole muster: sends what clients send there, and compares what they get.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <regex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "contract/protocol_page.hpp"
#include "support/catch.hpp"
#include "support/sim.hpp"

namespace muster::test {

/// What the page says of one line that is not so.
class Wrong : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

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
      } else if (said[1] == "allow_profile") {
        options.allow_profile = said[2] == "true";
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
      {"the server serves the type \"(\\w+)\", says (.*), then answers (.*)",
       [this](const std::smatch& m) {
         sim_->manager().on(m[1],
                            [so_far = m[2].str(), answer = m[3].str()](Connection&, const Payload&, Responder respond) {
                              respond.progress(json(so_far));
                              respond(json(answer));
                            });
       }},
      {"the server serves the type \"(\\w+)\", and refuses with (\\w+) (.*)",
       [this](const std::smatch& m) {
         sim_->manager().on(m[1], [name = m[2].str(), details = m[3].str()](Connection&, const Payload&) {
           throw Error{errc::permission_denied, "Not yet", {}, name, json(details)};
         });
       }},
      {"the server puts (\\w+) into (\\S+)",
       [this](const std::smatch& m) { sim_->manager().join(who(m[1]).client.id(), m[2]); }},
      {"the server takes (\\w+) out of (\\S+)",
       [this](const std::smatch& m) { sim_->manager().leave(who(m[1]).client.id(), m[2]); }},
      {"the server asks (\\w+) \"(\\w+)\" (.*)",
       [this](const std::smatch& m) { sim_->manager().request(who(m[1]).client.id(), m[2], json(m[3]), 5s, nullptr); }},
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

}  // namespace muster::test
