#include "bots.hpp"

#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <muster/transport.hpp>
#include <string_view>
#include <utility>

namespace muster_server {
namespace {

using namespace std::chrono_literals;
constexpr auto step = 66ms;

struct Looks {
  std::string_view name;
  std::string_view color;
};
constexpr std::array<Looks, 12> looks{{{"Ada", "#6e56cf"},
                                       {"Alan", "#2f6fde"},
                                       {"Grace", "#0f8577"},
                                       {"Edsger", "#3a8a2e"},
                                       {"Barbara", "#b86e00"},
                                       {"Donald", "#cf4a1c"},
                                       {"Katherine", "#d6336c"},
                                       {"Dennis", "#9c3fb4"},
                                       {"Hedy", "#0b7a9b"},
                                       {"Claude", "#7a6a00"},
                                       {"Radia", "#c2255c"},
                                       {"Ken", "#495057"}}};

/// One bot: the far end of its own connection, which throws away what it is sent.
class Bot final : public muster::Transport, public std::enable_shared_from_this<Bot> {
 public:
  Bot(std::shared_ptr<muster::IConnectionManager> manager, std::shared_ptr<muster::Executor> executor,
      std::shared_ptr<muster::Observer> log, std::string room, std::size_t number)
      : manager_(std::move(manager)),
        executor_(std::move(executor)),
        log_(std::move(log)),
        room_(std::move(room)),
        number_(number),
        name_(looks[number % looks.size()].name) {
    if (number >= looks.size()) name_ += " " + std::to_string(1 + number / looks.size());
  }

  void connect() {
    const auto self = shared_from_this();
    manager_->open({}, self, executor_, [self](muster::Decision decision) {
      if (!decision.accepted) return self->say("was refused: " + decision.error.message, muster::LogLevel::warning);
      self->connection_ = std::move(decision.connection);
      // Not before the core has said connection_ack, which it does once this returns.
      (void)self->executor_->post([self] {
        self->command("join", "");
        self->move();
      });
    });
  }

  muster::WriteResult write(const muster::Span*, std::size_t) override { return muster::WriteResult::done; }
  void close(std::uint16_t code, std::string_view text) override {
    // That the server stops is said once, not by each bot.
    const bool is_going_away = code == muster::describe(muster::CloseReason::going_away).code;
    say("was closed: " + std::to_string(code) + " " + std::string(text),
        is_going_away ? muster::LogLevel::debug : muster::LogLevel::warning);
    abort();
  }
  void abort() override {
    if (!connection_) return;
    (void)executor_->post([manager = manager_, connection = std::move(connection_)] {
      manager->closed(*connection, muster::CloseReason::normal);
    });
    connection_ = nullptr;
  }
  void pause_reading(bool) override {}

 private:
  void say(const std::string& what, muster::LogLevel level) { log_->log(level, "bot " + name_ + " " + what); }

  /// `members` is what the payload has beside the room. No name here needs escaping.
  void command(std::string_view type, std::string_view members) {
    if (!connection_) return;
    std::string message = "{\"type\":\"";
    message.append(type).append("\",\"payload\":{\"room\":\"").append(room_).append("\"").append(members).append("}}");
    // Receiving may close, which gives connection_ away.
    const auto connection = connection_;
    manager_->received(*connection, muster::FrameKind::text, message);
  }

  /// A Lissajous figure, each bot its own, around the middle of the canvas.
  void move() {
    if (!connection_) return;
    const double n = static_cast<double>(number_);
    const double seconds = std::chrono::duration<double>(executor_->now().time_since_epoch()).count();
    const double x = 0.5 + 0.42 * std::sin(seconds * (0.31 + 0.045 * std::fmod(n, 7)) + n * 2.4);
    const double y = 0.5 + 0.38 * std::sin(seconds * (0.23 + 0.055 * std::fmod(n, 5)) + n * 1.7);
    std::array<char, 64> place{};
    std::snprintf(place.data(), place.size(), "\"x\":%.4f,\"y\":%.4f", x, y);
    command("awareness_update", ",\"client\":\"" + to_string(connection_->id()) +
                                    "\",\"clock\":" + std::to_string(++clock_) + ",\"state\":{\"name\":\"" + name_ +
                                    "\",\"color\":\"" + std::string(looks[number_ % looks.size()].color) + "\"," +
                                    place.data() + ",\"bot\":true}");
    (void)executor_->schedule(executor_->now() + step, [self = shared_from_this()] { self->move(); });
  }

  const std::shared_ptr<muster::IConnectionManager> manager_;
  const std::shared_ptr<muster::Executor> executor_;
  const std::shared_ptr<muster::Observer> log_;
  const std::string room_;
  const std::size_t number_;
  std::string name_;
  std::shared_ptr<muster::Connection> connection_;
  std::uint64_t clock_ = 0;
};

}  // namespace

void start_bots(const std::shared_ptr<muster::IConnectionManager>& manager,
                const std::shared_ptr<muster::Executor>& executor, const std::shared_ptr<muster::Observer>& log,
                const std::string& room, std::size_t count) {
  for (std::size_t number = 0; number < count; ++number) {
    auto bot = std::make_shared<Bot>(manager, executor, log, room, number);
    (void)executor->post([bot = std::move(bot)] { bot->connect(); });
  }
}

}  // namespace muster_server
