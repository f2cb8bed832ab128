// Social: the events of a social application as commands and messages of muster.
//
// | event                         | comes when                          | travels as                                      |
// |-------------------------------|-------------------------------------|-------------------------------------------------|
// | MessageSent                   | `message {to, text}`                | queued: kept until the recipient acknowledges   |
// | MessageSent                   | `announce {text}`, by staff         | to everyone who is connected                    |
// | MessageRead                   | `read {from, id}`                   | queued                                          |
// | TypingStarted, TypingStopped  | `typing {to, typing}`               | latest of each typist, in the recipient's inbox |
// | PaymentReceived               | `pay {to, amount}` (no bank here)   | queued                                          |
// | PostLiked                     | `like {author, post}`               | queued                                          |
// | users_online, users_offline   | first device, last device           | PresenceScope::all                              |
// | Error                         | a command that cannot be understood | the command's reply                             |
//
// `to` is a user or a list of users. Queued events come as `direct` with a `queue_id`; `ack {queue_id}` takes them out of
// the queue. A user's inbox is the room "inbox:<user>", which that user's devices join. Who types should be forgotten by
// clients some seconds after the last TypingStarted: the typist may be gone.
#pragma once

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <muster/muster.hpp>
#include <string>
#include <utility>
#include <vector>

class Social {
 public:
  static constexpr std::size_t recipients_max = 100;

  /// Registers the commands: before the first connection. Both must be there for as long as commands come.
  explicit Social(muster::IConnectionManager& manager) : manager_(manager) {
    serve("message", &Social::message);
    serve("announce", &Social::announce);
    serve("read", &Social::read);
    serve("typing", &Social::typing);
    serve("pay", &Social::pay);
    serve("like", &Social::like);
  }
  Social(const Social&) = delete;  // the handlers know this one
  Social& operator=(const Social&) = delete;

  /// Everyone hears who comes and goes.
  [[nodiscard]] static muster::Options options() {
    muster::Options options;
    options.presence_scope = muster::PresenceScope::all;
    return options;
  }

  /// One joins one's own inbox only, publishes through the commands only, and announces as staff only.
  [[nodiscard]] static muster::Permission may(const muster::Access& access) {
    using muster::Action;
    const auto& who = *access.identity;
    const bool staff = std::find(who.roles.begin(), who.roles.end(), "staff") != who.roles.end();
    if (access.action == Action::join && access.target != "inbox:" + who.user) {
      return muster::Permission::deny("This is not your inbox");
    }
    if (access.action == Action::publish || access.action == Action::send) {
      return muster::Permission::deny("Use the commands: message, read, typing, pay, like");
    }
    if (access.action == Action::custom && access.target == "announce" && !staff) {
      return muster::Permission::deny("Only staff may announce");
    }
    return muster::Permission::allow();
  }

 private:
  using Fields = rapidjson::Document;

  /// One event under construction.
  class Event {
   public:
    explicit Event(const char* name) : writer_(text_) {
      writer_.StartObject();
      add("event", name);
    }
    Event& add(const char* name, const std::string& value) {
      writer_.Key(name);
      writer_.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
      return *this;
    }
    Event& add(const char* name, std::uint64_t value) {
      writer_.Key(name);
      writer_.Uint64(value);
      return *this;
    }
    [[nodiscard]] muster::Payload payload() {
      writer_.EndObject();
      return muster::json({text_.GetString(), text_.GetSize()});
    }

   private:
    rapidjson::StringBuffer text_;
    rapidjson::Writer<rapidjson::StringBuffer> writer_;
  };

  using Command = void (Social::*)(muster::Connection&, const Fields&);
  void serve(const char* type, Command command) {
    manager_.on(type, [this, command](muster::Connection& who, const muster::Payload& payload) {
      Fields fields;  // valid JSON: the protocol has seen to that
      fields.Parse<rapidjson::kParseIterativeFlag>(payload.view().data(), payload.view().size());
      if (fields.IsObject()) return (this->*command)(who, fields);
      refuse(who, "the payload must be an object");
    });
  }

  void message(muster::Connection& who, const Fields& fields) {
    const auto recipients = texts(fields, "to");
    const std::string said = text(fields, "text");
    if (recipients.empty()) return refuse(who, "to must name a user, or up to 100");
    if (said.empty()) return refuse(who, "text must be a text");
    const std::uint64_t id = ++last_message_;
    const auto event = Event("MessageSent").add("id", id).add("from", who.identity().user).add("text", said).payload();
    for (const auto& recipient : recipients) keep_for(who, recipient, event);
    who.reply(muster::json("{\"id\":" + std::to_string(id) + "}"));
  }
  void announce(muster::Connection& who, const Fields& fields) {
    const std::string said = text(fields, "text");
    if (said.empty()) return refuse(who, "text must be a text");
    (void)manager_.send_to_all(Event("MessageSent").add("from", who.identity().user).add("text", said).payload());
  }
  void read(muster::Connection& who, const Fields& fields) {
    const std::string author = text(fields, "from");
    const std::uint64_t id = number(fields, "id");
    if (author.empty() || id == 0) return refuse(who, "from must name a user, and id a message");
    keep_for(who, author, Event("MessageRead").add("id", id).add("by", who.identity().user).payload());
  }
  void typing(muster::Connection& who, const Fields& fields) {
    const std::string reader = text(fields, "to");
    const auto state = fields.FindMember("typing");
    const std::string typist = who.identity().user;
    if (reader.empty() || reader == typist) return refuse(who, "to must name another user");
    if (state == fields.MemberEnd() || !state->value.IsBool()) return refuse(who, "typing must be true or false");
    Event event(state->value.GetBool() ? "TypingStarted" : "TypingStopped");
    // In the reader's inbox are the reader's devices alone, so no device of the typist hears of it.
    manager_.publish({who.identity().tenant, "inbox:" + reader}, event.add("by", typist).payload(),
                     muster::Delivery::latest("typing:" + typist));
  }
  void pay(muster::Connection& who, const Fields& fields) {
    const std::string payee = text(fields, "to");
    const std::uint64_t amount = number(fields, "amount");
    if (payee.empty() || amount == 0) return refuse(who, "to must name a user, and amount be a whole number above 0");
    keep_for(who, payee, Event("PaymentReceived").add("from", who.identity().user).add("amount", amount).payload());
  }
  void like(muster::Connection& who, const Fields& fields) {
    const std::string author = text(fields, "author");
    const std::string post = text(fields, "post");
    if (author.empty() || post.empty()) return refuse(who, "author must name a user, and post a post");
    keep_for(who, author, Event("PostLiked").add("post", post).add("by", who.identity().user).payload());
  }

  /// For a user of the same tenant, online or not.
  void keep_for(const muster::Connection& from, const std::string& user, const muster::Payload& event) {
    (void)manager_.send_to_user({from.identity().tenant, user}, event, muster::Delivery::queued());
  }
  static void refuse(muster::Connection& who, const char* message) {
    who.reply(Event("Error").add("code", "invalid_message").add("message", message).payload());
  }

  /// Empty or 0: not there, or of another kind.
  [[nodiscard]] static std::string text(const Fields& fields, const char* name) {
    const auto found = fields.FindMember(name);
    if (found == fields.MemberEnd() || !found->value.IsString()) return {};
    return {found->value.GetString(), found->value.GetStringLength()};
  }
  [[nodiscard]] static std::uint64_t number(const Fields& fields, const char* name) {
    const auto found = fields.FindMember(name);
    return found == fields.MemberEnd() || !found->value.IsUint64() ? 0 : found->value.GetUint64();
  }
  /// A text, or a list of texts, each once; empty when there is anything else in it, or too much.
  [[nodiscard]] static std::vector<std::string> texts(const Fields& fields, const char* name) {
    const auto found = fields.FindMember(name);
    if (found == fields.MemberEnd()) return {};
    if (found->value.IsString()) {
      const std::string one = text(fields, name);
      return one.empty() ? std::vector<std::string>{} : std::vector<std::string>{one};
    }
    if (!found->value.IsArray() || found->value.Size() > recipients_max) return {};
    std::vector<std::string> all;
    for (const auto& entry : found->value.GetArray()) {
      if (!entry.IsString() || entry.GetStringLength() == 0) return {};
      all.emplace_back(entry.GetString(), entry.GetStringLength());
    }
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

  muster::IConnectionManager& manager_;
  std::atomic<std::uint64_t> last_message_{0};
};
