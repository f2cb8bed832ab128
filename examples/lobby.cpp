// A game's back end: players wait in the lobby, and the server seats them in games, whose state is its own. Twenty times a
// second each game tells where its ships are. Who may play is asked of a database that takes its time; a referee puts
// people out; what was played is kept in a room's history.
//
//   lobby [port]    then, for instance: npx wscat -c ws://127.0.0.1:8080/ws -H "Authorization: Bearer ann-secret"
//   > {"type":"play","id":1,"payload":{"game":"blue"}}      room_joined game:blue by the server, then its states
//   > {"type":"steer","payload":{"x":1,"y":-0.5}}
//   > {"type":"games","id":2}                               who plays where
//   > {"type":"back","id":3}                                to the lobby; eve-secret may not play, max-secret may put out

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <any>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/thread_pool.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <muster/auth/callback_authenticator.hpp>
#include <muster/auth/static_token_authenticator.hpp>
#include <muster/muster.hpp>
#include <muster/protocols/json_protocol.hpp>
#include <string>
#include <tuple>
#include <utility>

#include "serve.hpp"

namespace {

using muster::Connection;
using muster::Error;
using muster::Payload;
using Json = rapidjson::Writer<rapidjson::StringBuffer>;

const std::string games = "game:";  // what the names of their rooms begin with

/// What the program knows of a user: part of its identity.
struct Account {
  std::string name;
  bool referee = false;
};
/// Kept with each connection, and with its session when that comes back.
struct Player {
  double x = 0, y = 0;  ///< where its ship was last
};
struct Ship {
  std::string user;
  double x = 0, y = 0, dx = 0, dy = 0;
};
/// Kept with each game's room. This server has one loop, so that nobody else is at it at the same time.
struct Game {
  std::map<muster::ConnectionId, Ship> ships;
  std::uint64_t tick = 0;
  bool crowded = false;  ///< half of its players do not keep up: every other tick is told
};

template <class Write>
Payload object(Write write) {
  rapidjson::StringBuffer text;
  Json json(text);
  json.StartObject();
  write(json);
  json.EndObject();
  return muster::json({text.GetString(), text.GetSize()});
}
void member(Json& json, const char* name, const std::string& value) {
  json.Key(name);
  json.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
}

/// A member of what a client has sent, which is valid JSON by now.
class Sent {
 public:
  explicit Sent(const Payload& payload) { document_.Parse(payload.view().data(), payload.view().size()); }
  [[nodiscard]] std::string text(const char* name) const {
    const auto found = find(name);
    return found != nullptr && found->IsString() ? found->GetString() : std::string();
  }
  [[nodiscard]] double number(const char* name) const {
    const auto found = find(name);
    return found != nullptr && found->IsNumber() ? std::clamp(found->GetDouble(), -1.0, 1.0) : 0.0;
  }

 private:
  [[nodiscard]] const rapidjson::Value* find(const char* name) const {
    if (!document_.IsObject()) return nullptr;
    const auto found = document_.FindMember(name);
    return found == document_.MemberEnd() ? nullptr : &found->value;
  }
  rapidjson::Document document_;
};

/// Answers later, in a thread of its own, as a database does.
class Database {
 public:
  template <class Done>
  void may_play(std::string user, Done done) {
    asio::post(pool_, [user = std::move(user), done = std::move(done)]() mutable { done(user != "eve"); });
  }

 private:
  asio::thread_pool pool_{1};
};

class Lobby {
 public:
  explicit Lobby(muster::IConnectionManager& manager) : manager_(manager) {
    manager.on_connected([](Connection& player) { player.join("lobby"); });
    manager.on_room_opened([this](const muster::RoomKey& room) { opened(room); });
    manager.on_joined([this](Connection& player, const muster::RoomKey& room, const muster::Joining& joining) {
      if (!is_game(room)) return;
      Ship ship;
      ship.user = player.identity().user;
      if (joining.returns) std::tie(ship.x, ship.y) = std::pair(player.data<Player>().x, player.data<Player>().y);
      game(room.name)->ships[player.id()] = ship;
    });
    // Also of who is lost and may come back: that is another connection then, with the same data.
    manager.on_left([this](Connection& player, const muster::RoomKey& room, const muster::Leaving&) {
      const auto there = is_game(room) ? game(room.name) : nullptr;
      if (!there) return;
      const Ship& ship = there->ships[player.id()];
      player.data<Player>() = {ship.x, ship.y};
      there->ships.erase(player.id());
    });
    manager.on_room_emptied([this](const muster::RoomKey& room) { played(room); });
    manager.on_slow([](Connection& player, const muster::Slow& slow) {
      std::printf("%s does not keep up: %zu bytes\n", player.identity().user.c_str(), slow.unsent_bytes);
    });
    manager.on("play", [this](Connection& player, const Payload& asked, muster::Responder respond) {
      play(player, Sent(asked).text("game"), std::move(respond));
    });
    manager.on("back", [this](Connection& player, const Payload&) {
      const std::string from = game_of(player);
      if (from.empty()) throw Error{muster::errc::not_in_room, "You are in the lobby", {}, "not_playing"};
      manager_.move(player.id(), from, "lobby");
    });
    manager.on("steer", [this](Connection& player, const Payload& sent) {
      const auto there = game(game_of(player));
      if (!there) throw Error{muster::errc::not_in_room, "Play first", {}, "not_playing"};
      Ship& ship = there->ships[player.id()];
      std::tie(ship.dx, ship.dy) = std::pair(Sent(sent).number("x"), Sent(sent).number("y"));
    });
    manager.on("games", [this](Connection& who, const Payload&) { who.reply(list()); });
    manager.on("put_out", [this](Connection& who, const Payload& asked) {
      if (!std::any_cast<Account>(&who.identity().account)->referee) {
        throw Error{muster::errc::permission_denied, "Only a referee puts people out", {}, "no_referee"};
      }
      for (const auto& one : manager_.connections_of({"", Sent(asked).text("user")})) {
        manager_.kick(one.id, "The referee has put you out", false);
      }
    });
  }

  /// One step of every game.
  void tick() {
    for (const muster::RoomInfo& room : manager_.rooms("", games, "", 1000)) {
      const auto there = game(room.key.name);
      if (!there) continue;  // it has a past, and no players
      ++there->tick;
      for (auto& [id, ship] : there->ships) {
        ship.x += ship.dx;
        ship.y += ship.dy;
      }
      if (there->crowded && there->tick % 2 != 0) continue;
      // State, not news: who is slow gets the newest only.
      manager_.publish(room.key, state(*there), muster::Delivery::latest("state"), {},
                       [there](const muster::Result<muster::Published>& told) {
                         if (told) there->crowded = 2 * told.value().behind > told.value().reached;
                       });
    }
  }

 private:
  static bool is_game(const muster::RoomKey& room) { return room.name.compare(0, games.size(), games) == 0; }
  /// Empty: none.
  static std::string game_of(const Connection& player) {
    for (const std::string& room : player.rooms()) {
      if (room.compare(0, games.size(), games) == 0) return room;
    }
    return {};
  }
  /// Null: nobody plays it.
  std::shared_ptr<Game> game(const std::string& room) { return manager_.room({"", room})->data<Game>(); }

  void opened(const muster::RoomKey& key) {
    if (!is_game(key)) return;
    const auto room = manager_.room(key);
    muster::RoomOptions options = room->options();
    options.room_capacity = 2;  // players
    options.history_messages = 0;
    room->set_options(options);
  }
  void played(const muster::RoomKey& key) {
    if (!is_game(key)) return;
    manager_.publish({"", "results"}, object([&](Json& json) {
                       member(json, "game", key.name.substr(games.size()));
                       json.Key("ticks");
                       json.Uint64(game(key.name)->tick);
                     }));
  }

  void play(Connection& player, const std::string& name, muster::Responder respond) {
    if (name.empty()) throw Error{muster::errc::invalid_message, "play needs the name of a game", {}, "no_name"};
    const std::string from = game_of(player).empty() ? "lobby" : game_of(player);
    // What is answered later has no Connection any more: its id is enough.
    auto answer = std::make_shared<muster::Responder>(std::move(respond));
    database_.may_play(player.identity().user, [this, id = player.id(), from, to = games + name, answer](bool may) {
      if (!may) return (*answer)(Error{muster::errc::permission_denied, "You may not play today", {}, "banned"});
      manager_.move(id, from, to, {}, [answer](const muster::Result<void>& moved) {
        if (moved) return (*answer)(muster::json("{}"));
        Error error = moved.error();
        if (error.code == muster::errc::room_full) error.name = "game_full";
        (*answer)(std::move(error));
      });
    });
  }

  Payload list() {
    return object([&](Json& json) {
      for (const muster::RoomInfo& room : manager_.rooms("", games, "", 1000)) {
        json.Key(room.key.name.c_str() + games.size());
        json.Uint64(room.members);
      }
    });
  }
  static Payload state(const Game& game) {
    return object([&](Json& json) {
      json.Key("tick");
      json.Uint64(game.tick);
      json.Key("ships");
      json.StartArray();
      for (const auto& [id, ship] : game.ships) {
        json.StartObject();
        member(json, "user", ship.user);
        json.Key("x");
        json.Double(ship.x);
        json.Key("y");
        json.Double(ship.y);
        json.EndObject();
      }
      json.EndArray();
    });
  }

  muster::IConnectionManager& manager_;
  Database database_;
};

void every_50_ms(asio::steady_timer& timer, Lobby& lobby) {
  timer.expires_after(std::chrono::milliseconds(50));
  timer.async_wait([&](const asio::error_code& ended) {
    if (ended) return;
    lobby.tick();
    every_50_ms(timer, lobby);
  });
}

muster::Identity known(const std::string& user, const std::string& name, bool referee = false) {
  muster::Identity identity;
  identity.user = user;
  identity.account = Account{name, referee};
  identity.profile = object([&](Json& json) { member(json, "name", name); });
  return identity;
}

/// Clients may do all but go into games by themselves.
std::shared_ptr<muster::Authorizer> rules() {
  return muster::callback_authorizer([](const muster::Access& access, const muster::Reply<muster::Permission>& done) {
    const bool a_game = access.action == muster::Action::join && access.target.compare(0, games.size(), games) == 0;
    done(a_game ? muster::Permission::deny("Ask to play: the server seats you") : muster::Permission::allow());
  });
}

}  // namespace

int main(int argc, char** argv) {
  muster::Options options;
  options.rooms_by_prefix["lobby"] = options.room;
  options.rooms_by_prefix["lobby"].room_capacity = 0;  // everybody waits there
  const auto users = std::make_shared<muster::StaticTokenAuthenticator>(
      muster::StaticTokenAuthenticator::Tokens{{"ann-secret", known("ann", "Ann")},
                                               {"bob-secret", known("bob", "Bob")},
                                               {"cat-secret", known("cat", "Cat")},
                                               {"eve-secret", known("eve", "Eve")},
                                               {"max-secret", known("max", "Max", true)}});
  muster::Components components;
  components.protocols = {std::make_shared<muster::JsonProtocol>()};
  auto manager = muster::make_connection_manager(options, users, rules(), components);
  Lobby lobby(*manager);
  return serve(manager, argc, argv, [&lobby](muster::websocketpp::Server& server) {
    const auto timer = std::make_shared<asio::steady_timer>(server.context());
    every_50_ms(*timer, lobby);
    return timer;
  });
}
