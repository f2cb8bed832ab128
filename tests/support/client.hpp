// Client: one peer that speaks muster.v1.json over a MemoryTransport and remembers what it was told.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/connection_manager.hpp"
#include "muster/testing/memory_transport.hpp"
#include "support/frames.hpp"
#include "support/room_view.hpp"
#include "support/schedule.hpp"

namespace muster::test {

using Texts = std::vector<std::string>;

/// A handle: copies are the same client. Commands are sent at once and arrive when the executors run; each has an id of
/// its own, so that its answer can be asked for.
class Client {
 public:
  Client(std::string name, std::shared_ptr<SimExecutor> executor, std::size_t node = 0)
      : state_(std::make_shared<State>(std::move(name), std::move(executor), node)) {}

  // Commands.

  const Client& join(std::string_view room) const { return say("join", R"({"room":)" + quoted(room) + "}"); }
  const Client& leave(std::string_view room) const { return say("leave", R"({"room":)" + quoted(room) + "}"); }
  /// The aliases of join and leave.
  const Client& subscribe(std::string_view topic) const {
    return say("subscribe", R"({"topic":)" + quoted(topic) + "}");
  }
  const Client& unsubscribe(std::string_view topic) const {
    return say("unsubscribe", R"({"topic":)" + quoted(topic) + "}");
  }
  const Client& publish(std::string_view room, std::string_view data, std::string_view more = "") const {
    return say("publish", R"({"room":)" + quoted(room) + R"(,"data":)" + std::string(data) + std::string(more) + "}");
  }
  const Client& publish_echo(std::string_view room, std::string_view data) const {
    return publish(room, data, R"(,"echo":true)");
  }
  const Client& publish_latest(std::string_view room, std::string_view data, std::string_view key) const {
    return publish(room, data, R"(,"delivery":{"latest":)" + quoted(key) + "}");
  }
  /// `state`: a JSON object, or null.
  const Client& aware(std::string_view room, std::string_view state, std::uint64_t clock,
                      std::string_view client = "") const {
    std::string payload =
        R"({"room":)" + quoted(room) + R"(,"state":)" + std::string(state) + R"(,"clock":)" + std::to_string(clock);
    if (!client.empty()) payload += R"(,"client":)" + quoted(client);
    return say("awareness_update", payload + "}");
  }
  const Client& authenticate(std::string_view token) const {
    return say("authenticate", R"({"token":)" + quoted(token) + "}");
  }
  /// Takes up the session of `before` with these rooms, from where it was.
  const Client& resume_session(const Client& before, const Texts& rooms, std::string_view auth = "") const {
    std::vector<std::pair<std::string, Position>> from;
    for (const auto& room : rooms) {
      const auto& stays = before.view(room).stays;
      from.emplace_back(room, stays.empty() ? Position{} : Position{stays.back().epoch, stays.back().known});
    }
    return resume_session(before.token(), from, auth);
  }
  const Client& resume_session(const std::string& token, const std::vector<std::pair<std::string, Position>>& rooms,
                               std::string_view auth = "") const {
    std::string payload = R"({"token":)" + quoted(token);
    if (!auth.empty()) payload += R"(,"auth":)" + quoted(auth);
    payload += R"(,"rooms":{)";
    const char* separator = "";
    for (const auto& [room, at] : rooms) {
      read();
      state_->rooms[room].resumes_at = at;
      payload += separator + quoted(room) + R"(:{"epoch":)" + std::to_string(at.epoch) + R"(,"seq":)" +
                 std::to_string(at.seq) + "}";
      separator = ",";
    }
    return say("resume", payload + "}}");
  }
  /// What became of each room of the last resume: "" when it was not told.
  [[nodiscard]] std::string resumed(const std::string& room) const {
    const auto told = last("resumed");
    if (!told) return {};
    const auto rooms = told->payload().FindMember("rooms");
    return rooms == told->payload().MemberEnd() ? std::string() : Told::text(rooms->value, room.c_str());
  }
  [[nodiscard]] std::string token() const {
    const auto ack = last("connection_ack");
    return ack ? ack->text("resume_token") : std::string();
  }
  /// A command with this payload and an id; several times when asked to, each with its own.
  const Client& say(std::string_view type, std::string_view payload, int times = 1) const {
    for (; times > 0; --times) {
      ++state_->last_command;
      raw(R"({"type":)" + quoted(type) + R"(,"id":)" + last_id() + R"(,"payload":)" + std::string(payload) + "}");
    }
    return *this;
  }
  /// A text frame as it is.
  const Client& raw(std::string text) const {
    pipe().receive(std::move(text));
    return *this;
  }
  const Client& binary(std::string bytes) const {
    pipe().receive(std::move(bytes), FrameKind::binary);
    return *this;
  }
  const Client& pong() const {
    pipe().receive({}, FrameKind::pong);
    return *this;
  }
  const Client& hang_up(CloseReason cause = CloseReason::normal) const {
    pipe().hang_up(cause);
    return *this;
  }
  const Client& vanish() const {
    pipe().vanish();
    return *this;
  }
  const Client& stall() const {
    pipe().stall();
    return *this;
  }
  const Client& resume() const {
    pipe().resume();
    return *this;
  }

  // What it is.

  [[nodiscard]] const std::string& name() const { return state_->name; }
  [[nodiscard]] MemoryTransport& pipe() const { return *state_->pipe; }
  [[nodiscard]] const std::shared_ptr<MemoryTransport>& shared_pipe() const { return state_->pipe; }
  [[nodiscard]] const std::shared_ptr<SimExecutor>& executor() const { return state_->executor; }
  /// Which manager it has dialled.
  [[nodiscard]] std::size_t node() const { return state_->node; }
  [[nodiscard]] ConnectionId id() const { return state_->id; }
  void set_id(ConnectionId id) const { state_->id = id; }
  /// How often its opening was answered.
  [[nodiscard]] std::size_t answers() const { return state_->answers; }
  void count_answer() const { ++state_->answers; }
  [[nodiscard]] const std::string& last_id() const {
    state_->last_id = std::to_string(state_->last_command);
    return state_->last_id;
  }

  // What it was told.

  /// Every message so far.
  [[nodiscard]] const std::vector<Told>& log() const {
    read();
    return state_->log;
  }
  [[nodiscard]] Texts types() const {
    Texts types;
    for (const Told& told : log()) types.push_back(told.type());
    return types;
  }
  [[nodiscard]] std::vector<Told> all(std::string_view type) const {
    std::vector<Told> found;
    for (const Told& told : log()) {
      if (told.type() == type) found.push_back(told);
    }
    return found;
  }
  [[nodiscard]] std::size_t count(std::string_view type) const { return all(type).size(); }
  [[nodiscard]] std::optional<Told> last(std::string_view type) const {
    auto found = all(type);
    return found.empty() ? std::nullopt : std::optional<Told>(found.back());
  }
  /// The answer to the last command, if it came.
  [[nodiscard]] std::optional<Told> reply() const {
    for (const Told& told : log()) {
      if (told.reply_to() == last_id()) return told;
    }
    return std::nullopt;
  }
  /// The code of the last error, or "".
  [[nodiscard]] std::string error() const {
    const auto told = last("error");
    return told ? told->text("code") : std::string();
  }
  /// What was published to it in a room, in the order it came, over all its stays.
  [[nodiscard]] Texts messages(const std::string& room) const {
    Texts data;
    for (const auto& stay : view(room).stays) {
      for (const auto& message : stay.messages) data.push_back(message.data);
    }
    return data;
  }
  [[nodiscard]] std::vector<std::uint64_t> seqs(const std::string& room) const {
    std::vector<std::uint64_t> seqs;
    for (const auto& stay : view(room).stays) {
      for (const auto& message : stay.messages) seqs.push_back(message.seq);
    }
    return seqs;
  }
  /// The users it sees in a room, sorted, one for each connection.
  [[nodiscard]] Texts members(const std::string& room) const {
    Texts users;
    for (const auto& member : view(room).members) users.push_back(member.second);
    std::sort(users.begin(), users.end());
    return users;
  }
  /// What it sees of the members in a room that show something, sorted: "ann {"colour":"red"}".
  [[nodiscard]] Texts profiles(const std::string& room) const {
    Texts shown;
    for (const auto& [id, profile] : view(room).profiles) {
      if (view(room).members.count(id) != 0) shown.push_back(view(room).members.at(id) + " " + profile);
    }
    std::sort(shown.begin(), shown.end());
    return shown;
  }
  /// Client id -> state, as it sees them.
  [[nodiscard]] std::map<std::string, std::string> awareness(const std::string& room) const {
    std::map<std::string, std::string> states;
    for (const auto& [client, state] : view(room).awareness) states[client] = state.state;
    return states;
  }
  [[nodiscard]] const RoomView& view(const std::string& room) const {
    read();
    return state_->rooms[room];
  }
  [[nodiscard]] const std::map<std::string, RoomView>& rooms() const {
    read();
    return state_->rooms;
  }
  /// Everything it was told that it should not have been.
  [[nodiscard]] Texts wrong() const {
    read();
    Texts all = state_->wrong;
    for (const auto& [room, view] : state_->rooms) {
      for (const auto& what : view.wrong) all.push_back(room + ": " + what);
    }
    return all;
  }
  [[nodiscard]] std::size_t pings() const {
    read();
    return state_->pings;
  }
  /// What the pong frames carried.
  [[nodiscard]] Texts pongs() const {
    read();
    return state_->pongs;
  }

  // How it ended.

  [[nodiscard]] bool is_open() const { return pipe().connection() != nullptr; }
  /// The close code the server sent; 0: none.
  [[nodiscard]] std::uint16_t close_code() const {
    const auto closing = pipe().closing();
    return closing ? closing->code : std::uint16_t{0};
  }
  [[nodiscard]] std::string close_text() const {
    const auto closing = pipe().closing();
    return closing ? closing->text : std::string();
  }

 private:
  struct State {
    State(std::string who, std::shared_ptr<SimExecutor> on, std::size_t at)
        : name(std::move(who)), executor(std::move(on)), node(at), pipe(std::make_shared<MemoryTransport>(executor)) {}
    std::string name;
    std::shared_ptr<SimExecutor> executor;
    std::size_t node;
    std::shared_ptr<MemoryTransport> pipe;
    ConnectionId id;
    std::size_t answers = 0;
    std::uint64_t last_command = 0;
    std::string last_id;
    FrameReader reader;
    std::vector<Told> log;
    std::map<std::string, RoomView> rooms;
    Texts wrong;
    std::size_t pings = 0;
    Texts pongs;
  };

  void read() const {
    State& state = *state_;
    std::vector<Frame> frames;
    state.reader.feed(state.pipe->take_written(), frames);
    for (const Frame& frame : frames) {
      if (frame.kind == FrameKind::ping) ++state.pings;
      if (frame.kind == FrameKind::pong) state.pongs.push_back(frame.payload);
      if (frame.kind != FrameKind::text) continue;
      Told told(frame.payload);
      if (!told.valid()) {
        state.wrong.push_back("not a message: " + frame.payload);
        continue;
      }
      if (told.has("room")) state.rooms[told.text("room")].tell(told);
      if (told.has("success")) read_alias(told.text("message"));
      state.log.push_back(std::move(told));
    }
  }

  /// The acknowledgement of `subscribe` or `unsubscribe` names its topic in its text alone.
  void read_alias(const std::string& message) const {
    const std::string_view in = "Subscribed to ";
    const std::string_view out = "Unsubscribed from ";
    if (message.compare(0, in.size(), in) == 0) state_->rooms[message.substr(in.size())].subscribed();
    if (message.compare(0, out.size(), out) == 0) state_->rooms[message.substr(out.size())].unsubscribed();
  }

  std::shared_ptr<State> state_;
};

}  // namespace muster::test
