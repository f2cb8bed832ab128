// Document sync: documents are rooms, editors edit, readers read, and who opens a document gets it as it is by then.
//
//   documents [port]     then, for instance: npx wscat -c ws://127.0.0.1:8080/ws -H "Authorization: Bearer ann-secret"
//   > {"type":"subscribe","id":1,"payload":{"topic":"doc:1"}}
//   > {"type":"edit","id":2,"payload":{"document":"doc:1","insert":"hello"}}

#include <rapidjson/document.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <muster/auth/callback_authenticator.hpp>
#include <muster/auth/static_token_authenticator.hpp>
#include <muster/muster.hpp>
#include <muster/protocols/json_protocol.hpp>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve.hpp"

/// The program's own part: what was done to each document, and how many connections have it open. muster tells it who
/// comes and goes; when the last one goes, it would be the time to store the document.
class Documents {
 public:
  /// Everything so far, as one JSON list. The edits carry their number, so that nobody needs to count one twice that is
  /// both in here and on its way.
  std::string open(const std::string& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Document& document = documents_[name];
    ++document.connections;
    std::string edits;
    for (const auto& edit : document.edits) edits += (edits.empty() ? "" : ",") + edit;
    return "{\"document\":\"" + name + "\",\"edits\":[" + edits + "]}";
  }
  /// The edit as everyone gets it.
  std::string append(const std::string& name, std::string_view edit) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto& edits = documents_[name].edits;
    edits.push_back("{\"number\":" + std::to_string(edits.size() + 1) + ",\"edit\":" + std::string(edit) + "}");
    return edits.back();
  }
  void close(const std::string& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Document& document = documents_[name];
    if (--document.connections != 0) return;
    std::printf("%s is closed, with %zu edits\n", name.c_str(), document.edits.size());
    std::fflush(stdout);
    if (document.edits.empty()) documents_.erase(name);  // a name that somebody tried is no document
  }

 private:
  struct Document {
    std::vector<std::string> edits;
    std::size_t connections = 0;
  };
  std::mutex mutex_;  // hooks and handlers run on each connection's own loop
  std::map<std::string, Document> documents_;
};

/// The default protocol for clients that know the close codes 1000, 1001, 1008 and 1011 only: who is refused is told
/// 1008. A client chooses it by its subprotocol.
class FewCodes final : public muster::Protocol {
 public:
  std::string_view name() const noexcept override { return json_.name(); }
  std::string_view path() const noexcept override { return json_.path(); }
  std::optional<muster::CloseReason> decode(muster::FrameKind kind, std::string_view message,
                                            const muster::DecodeLimits& limits,
                                            std::vector<muster::Command>& commands) const override {
    return json_.decode(kind, message, limits, commands);
  }
  std::optional<muster::FrameKind> encode(const muster::Event& event, const muster::Correlation* correlation,
                                          muster::WallTime now, std::string& out) const override {
    return json_.encode(event, correlation, now, out);
  }
  std::uint16_t close_code(muster::CloseReason reason) const noexcept override {
    using muster::CloseReason;
    const bool refused = reason == CloseReason::auth_required || reason == CloseReason::auth_failed ||
                         reason == CloseReason::permission_denied || reason == CloseReason::revoked;
    return refused ? 1008 : json_.close_code(reason);
  }

 private:
  const muster::JsonProtocol json_{{"documents.v1.json", "/ws", {}}};
};

/// The member "document" of an edit; empty when there is none.
std::string document_of(std::string_view edit) {
  rapidjson::Document json;  // muster has checked that it is JSON, and how deep it is
  json.Parse(edit.data(), edit.size());
  const bool named = json.IsObject() && json.HasMember("document") && json["document"].IsString();
  return named ? json["document"].GetString() : std::string();
}

int main(int argc, char** argv) {
  // Ann and Bob edit, Eve reads; and what is no document is nobody's.
  auto authenticator = std::make_shared<muster::StaticTokenAuthenticator>(
      muster::StaticTokenAuthenticator::Tokens{{"ann-secret", {"ann", "", {"editor"}, {}}},
                                               {"bob-secret", {"bob", "", {"editor"}, {}}},
                                               {"eve-secret", {"eve", "", {}, {}}}});
  auto authorizer = muster::callback_authorizer([](const muster::Access& access, auto done) {
    const auto& roles = access.identity->roles;
    const bool editor = std::find(roles.begin(), roles.end(), "editor") != roles.end();
    switch (access.action) {
      case muster::Action::join:
        return done(access.target.rfind("doc:", 0) == 0 ? muster::Permission::allow()
                                                        : muster::Permission::deny("There are only documents here"));
      case muster::Action::custom:
        return done(editor ? muster::Permission::allow() : muster::Permission::deny("You may only read"));
      case muster::Action::publish:  // an edit goes through the program, which numbers it
      case muster::Action::send:
        return done(muster::Permission::deny("Use edit"));
      default:  // cursors, and who is here
        return done(muster::Permission::allow());
    }
  });
  muster::Options options;
  options.close_on_permission_denied = true;
  muster::Components components;
  components.protocols = {std::make_shared<muster::JsonProtocol>(), std::make_shared<FewCodes>()};
  auto manager = muster::make_connection_manager(options, authenticator, authorizer, components);

  Documents documents;
  manager->on_joined([&](muster::Connection& who, const muster::RoomKey& document, const muster::Joining&) {
    who.send(muster::json(documents.open(document.name)));
  });
  manager->on_left([&](muster::Connection&, const muster::RoomKey& document, const muster::Leaving&) {
    documents.close(document.name);
  });
  manager->on("edit", [&](muster::Connection& author, const muster::Payload& edit) {
    const std::string document = document_of(edit.view());
    const auto open = author.rooms();
    if (std::find(open.begin(), open.end(), document) == open.end()) {
      author.reply(muster::json(R"({"error":"subscribe to the document that \"document\" names"})"));
      return;
    }
    const std::string numbered = documents.append(document, edit.view());
    author.publish(document, muster::json(numbered));  // to everyone but the author, who learns the number:
    author.reply(muster::json(numbered));
  });

  return serve(manager, argc, argv);  // at its end every document is closed
}
