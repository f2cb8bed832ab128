// Protocols with state per connection, names in their paths, and heartbeats of their own.
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "muster/auth/allow_all.hpp"
#include "muster/auth/allow_anonymous.hpp"
#include "support/checked_sim.hpp"
#include "support/document_protocol.hpp"
#include "support/frames.hpp"

namespace muster::test {
namespace {

using Catch::Matchers::Contains;

Setup with_documents(DocumentProtocol::Form form = {}, Options options = {}) {
  Setup setup;
  setup.options = std::move(options);
  setup.protocols = {std::make_shared<DocumentProtocol>(std::move(form))};
  return setup;
}

/// A peer that speaks what DocumentProtocol does.
class Editor {
 public:
  Editor(Sim& sim, std::string path, std::vector<std::string> subprotocols = {}, std::string query = {})
      : sim_(sim), pipe_(std::make_shared<MemoryTransport>(sim.schedule.executors[0])) {
    OpenRequest request;
    request.path = std::move(path);
    request.query = std::move(query);
    request.token = "ann";
    request.token_source = TokenSource::authorization_header;
    request.subprotocols = std::move(subprotocols);
    pipe_->open(sim.shared_manager(), std::move(request),
                [this](const Decision& decision) { chosen_ = decision.subprotocol; });
    sim.run();
  }

  Editor& say(std::string message, FrameKind kind = FrameKind::binary) {
    pipe_->receive(std::move(message), kind);
    sim_.run();
    return *this;
  }
  /// What it was told since this was last asked; pings are "ping".
  Texts told() {
    std::vector<Frame> frames;
    reader_.feed(pipe_->take_written(), frames);
    Texts texts;
    for (Frame& frame : frames) {
      texts.push_back(frame.kind == FrameKind::ping ? std::string("ping") : std::move(frame.payload));
    }
    return texts;
  }
  /// The token of its session, which it is told first.
  std::string token() {
    const Texts first = told();
    REQUIRE(first.size() == 1);
    REQUIRE(first[0].rfind("token ", 0) == 0);
    return first[0].substr(6);
  }
  [[nodiscard]] bool is_open() const { return pipe_->connection() != nullptr; }
  [[nodiscard]] bool is_refused() const { return pipe_->answer() && !pipe_->answer()->accepted; }
  [[nodiscard]] std::uint16_t close_code() const {
    const auto closing = pipe_->closing();
    return closing ? closing->code : std::uint16_t{0};
  }
  /// The subprotocol that was named to it.
  [[nodiscard]] const std::string& chosen() const { return chosen_; }
  [[nodiscard]] MemoryTransport& pipe() const { return *pipe_; }

 private:
  Sim& sim_;
  const std::shared_ptr<MemoryTransport> pipe_;
  FrameReader reader_;
  std::string chosen_;
};

TEST_CASE("a conversation publishes to the room of its path, in frames that name none", "[conversations]") {
  CheckedSim sim(with_documents());
  Editor ann(sim, "/doc/plan");
  Editor bob(sim, "/doc/plan");
  Editor eve(sim, "/doc/other");
  for (Editor* each : {&ann, &bob, &eve}) (void)each->token();
  bob.say("hello");
  eve.say("elsewhere");
  (void)bob.told();
  ann.say("one").say("echo two");
  CHECK(ann.told() == Texts{"joined plan", "echo two"});  // who gets an echo is the protocol's to say
  CHECK(bob.told() == Texts{"one", "echo two"});
  CHECK(eve.told() == Texts{"joined other"});
}

TEST_CASE("two protocols meet in one room", "[conversations]") {
  CheckedSim sim(with_documents());
  const auto ann = sim.member("ann", "plan");
  Editor bob(sim, "/doc/plan");
  (void)bob.token();
  bob.say("hello");
  ann.publish("plan", "1");
  sim.run();
  CHECK(bob.told() == Texts{"joined plan", "1"});
  CHECK(ann.messages("plan").size() == 1);
}

TEST_CASE("a room's name is percent-decoded, and what cannot be one is refused as from anybody", "[conversations]") {
  Options options;
  options.room_names = RoomNames::unicode;
  CheckedSim sim(with_documents({}, options));
  Editor cafe(sim, "/doc/caf%C3%A9%2f1");
  (void)cafe.token();
  CHECK(cafe.say("x").told() == Texts{"joined caf\xc3\xa9/1"});
  for (const std::string& hostile : Texts{"%00", "%ff", "%0a", "%e2%80%a8", std::string(5000, 'a')}) {
    INFO(hostile);
    Editor eve(sim, "/doc/" + hostile);
    (void)eve.token();
    eve.say("x");
    const Texts told = eve.told();
    REQUIRE_FALSE(told.empty());
    CHECK_THAT(told.front(), Contains("error "));
    CHECK(eve.is_open());
  }
  CHECK(sim.manager().metrics().rooms == 1);
}

TEST_CASE("a path that is no protocol's is refused, and one that only looks like it", "[conversations]") {
  CheckedSim sim(with_documents());
  for (const char* path :
       {"/doc", "/doc/", "/doc//", "/doc/a/b", "/document/a", "/doc/%", "/doc/%4", "/doc/%zz", "", "/"}) {
    INFO(path);
    Editor lost(sim, path);
    REQUIRE(lost.is_refused());
    CHECK(lost.pipe().answer()->error.code == errc::not_found);
  }
  CHECK(sim.manager().metrics().reserved == 0);
}

TEST_CASE("of two protocols that share a path the subprotocol decides, else the first", "[conversations]") {
  Setup setup;
  DocumentProtocol::Form second{"second", "/doc/{id}", {}};
  DocumentProtocol::Form fixed{"fixed", "/doc/list", {}};
  setup.protocols = {std::make_shared<DocumentProtocol>(), std::make_shared<DocumentProtocol>(second),
                     std::make_shared<DocumentProtocol>(fixed)};
  CheckedSim sim(setup);
  Editor first_registered(sim, "/doc/plan");
  CHECK(first_registered.chosen().empty());
  (void)first_registered.token();
  CHECK(first_registered.say("x").told() == Texts{"joined plan"});

  Editor chosen(sim, "/doc/plan", {"nobody's", "second"});
  CHECK(chosen.chosen() == "second");
  (void)chosen.token();
  // Its path has no name "room", so that it has none: names are those of the protocol that was chosen.
  CHECK_THAT(chosen.say("x").told().front(), Contains("error "));

  CHECK(Editor(sim, "/doc/list", {"fixed", "second"}).chosen() == "fixed");
  CHECK(Editor(sim, "/doc/plan", {"fixed", "second"}).chosen() == "second");
  CHECK(Editor(sim, "/ws", {"second"}).chosen().empty());
}

TEST_CASE("paths that cannot be meant, and protocols that nobody could choose, are refused by name",
          "[conversations]") {
  const auto make = [](std::vector<DocumentProtocol::Form> forms) {
    Components components;
    for (auto& form : forms) components.protocols.push_back(std::make_shared<DocumentProtocol>(std::move(form)));
    return make_connection_manager({}, std::make_shared<AllowAnonymous>(), std::make_shared<AllowAll>(),
                                   std::move(components));
  };
  CHECK_THROWS_WITH(make({{"doc", "doc/{room}", {}}}), Contains("doc: the path \"doc/{room}\" must begin with /"));
  CHECK_THROWS_WITH(make({{"doc", "/a{room}", {}}}), Contains("doc: in the path \"/a{room}\" braces must be around"));
  CHECK_THROWS_WITH(make({{"doc", "/doc/{room}", {}}, {"doc", "/doc/{id}", {}}}),
                    Contains("two protocols are called doc at /doc/{id}: only the first would ever be chosen"));
  CHECK_THROWS_WITH(make({{"doc", "/doc/{room}", {}}, {"doc", "/doc/list", {}}}),
                    Contains("two protocols are called doc at /doc/list"));
  CHECK_NOTHROW(make({{"doc", "/doc/list", {}}, {"doc", "/doc/{room}", {}}}));
  CHECK_NOTHROW(make({{"doc", "/doc/{room}", {}}, {"text", "/doc/{room}", {}}}));
}

TEST_CASE("the authenticator is shown the path that the peer came to", "[conversations]") {
  CheckedSim sim(with_documents());
  Editor ann(sim, "/doc/a%2Fb", {}, "x=1");
  CHECK(sim.authenticator->last.path == "/doc/a%2Fb");
  CHECK(sim.authenticator->last.query == "x=1");
  CHECK(sim.authenticator->last.origin.empty());
  (void)sim.connect("bob");
  CHECK(sim.authenticator->last.path == "/ws");
  CHECK(sim.authenticator->last.query.empty());
}

TEST_CASE("a session that resumes goes on with the conversation of its new connection", "[conversations][resume]") {
  CheckedSim sim(with_documents());
  Editor ann(sim, "/doc/plan");
  const std::string token = ann.token();
  ann.say("one");
  ann.pipe().hang_up(CloseReason::lost);
  sim.run();
  Editor again(sim, "/doc/plan");
  (void)again.told();
  again.say("resume " + token);
  (void)again.told();
  Editor bob(sim, "/doc/plan");
  (void)bob.token();
  bob.say("hello");
  CHECK(again.told() == Texts{"hello"});
  again.say("two");  // joins no second time: it knows that it has resumed
  CHECK(again.told() == Texts());
  CHECK(bob.told() == Texts{"joined plan", "two"});
}

// What a conversation may do wrong.

TEST_CASE("a conversation that finds a fault closes with its reason", "[conversations]") {
  CheckedSim sim(with_documents());
  Editor ann(sim, "/doc/plan");
  Editor bob(sim, "/doc/plan");
  (void)bob.token();
  bob.say("hello");
  ann.pipe().receive("text");
  ann.say("and more");  // nobody reads that
  CHECK(ann.close_code() == 1003);
  CHECK(bob.told() == Texts{"joined plan"});
}

TEST_CASE("a conversation that throws costs its connection and nothing else", "[conversations]") {
  CheckedSim sim(with_documents());
  Editor ann(sim, "/doc/plan");
  Editor bob(sim, "/doc/plan");
  SECTION("while it decodes") {
    ann.say("throw an exception");
    CHECK(ann.close_code() == 1011);
  }
  SECTION("when it begins") {
    Editor eve(sim, "/doc/plan", {}, "throw");
    REQUIRE(eve.is_refused());
    CHECK(eve.pipe().answer()->reason == CloseReason::internal_error);
  }
  CHECK(sim.manager().metrics().callback_failures == 1);
  (void)bob.token();
  CHECK(bob.say("x").told() == Texts{"joined plan"});
}

/// Tells how many of its conversations there are.
class CountedProtocol final : public Protocol {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "counted"; }
  [[nodiscard]] std::string_view path() const noexcept override { return "/counted"; }
  [[nodiscard]] std::unique_ptr<Conversation> converse(const PathMatch&) const override {
    return std::make_unique<Counted>(count);
  }
  [[nodiscard]] std::optional<FrameKind> encode(const Event&, const Correlation*, WallTime,
                                                std::string&) const override {
    return std::nullopt;
  }
  const std::shared_ptr<int> count = std::make_shared<int>(0);

 private:
  class Counted final : public Conversation {
   public:
    explicit Counted(std::shared_ptr<int> count) : count_(std::move(count)) { ++*count_; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() override { --*count_; }
    [[nodiscard]] std::optional<CloseReason> decode(FrameKind, std::string_view, const DecodeLimits&,
                                                    std::vector<Command>&) override {
      return CloseReason::policy;
    }

   private:
    const std::shared_ptr<int> count_;
  };
};

TEST_CASE("a conversation ends on its executor with the socket, whoever holds the connection", "[conversations]") {
  const auto protocol = std::make_shared<CountedProtocol>();
  Setup setup;
  setup.protocols = {protocol};
  CheckedSim sim(setup);
  SECTION("of one that was let in") {
    Editor ann(sim, "/counted");
    CHECK(*protocol->count == 1);
    const std::shared_ptr<Connection> held = ann.pipe().connection();
    const bool by_fault = GENERATE(false, true);
    if (by_fault) {
      ann.say("x");
      sim.advance(10s);  // its close is not answered
    } else {
      ann.pipe().hang_up();
      sim.run();
    }
    CHECK(*protocol->count == 0);
    CHECK(held.use_count() == 1);
  }
  SECTION("of one whose executor has stopped") {
    Setup two = setup;
    two.executors = 2;
    CheckedSim other(two);
    Editor ann(other, "/counted");
    (void)other.connect("bob", Dial().on(1));
    REQUIRE(*protocol->count == 1);
    const std::shared_ptr<Connection> held = ann.pipe().connection();
    other.schedule.executors[0]->loop().stop();
    other.manager().sweep_now(nullptr);
    other.advance(1s);
    CHECK(*protocol->count == 0);
    ann.pipe().let_go();
  }
  SECTION("of one that was refused") {
    sim.authenticator->answer = Answer::unavailable();
    Editor ann(sim, "/counted");
    CHECK(ann.is_refused());
    CHECK(*protocol->count == 0);
  }
  SECTION("none is begun for who finds no place") {
    sim.manager().shutdown(nullptr);
    Editor ann(sim, "/counted");
    CHECK(ann.is_refused());
    CHECK(*protocol->count == 0);
  }
}

// Heartbeats.

DocumentProtocol::Form beating(HeartbeatStyle style) {
  DocumentProtocol::Form form;
  form.heartbeat = style;
  return form;
}

TEST_CASE("a heartbeat that is a message is answered by any, and goes on for a day", "[conversations][liveness]") {
  CheckedSim sim(with_documents(beating(HeartbeatStyle::message)));
  Editor ann(sim, "/doc/plan");
  (void)ann.token();
  std::size_t answered = 0;
  for (int second = 0; second < 24 * 3600; second += 5) {
    sim.advance(5s);
    for (const std::string& told : ann.told()) {
      REQUIRE(told == "alive?");  // and no ping
      ann.say(++answered % 2 == 0 ? "alive" : "hello");
      (void)ann.told();
    }
  }
  CHECK(ann.is_open());
  CHECK(answered >= 2 * 60 * 24 - 2);
  CHECK(answered <= 2 * 60 * 24 + 1);
}

TEST_CASE("who does not answer a heartbeat that is a message is cut", "[conversations][liveness]") {
  CheckedSim sim(with_documents(beating(HeartbeatStyle::message), without_sessions()));
  Editor ann(sim, "/doc/plan");
  (void)ann.token();
  sim.advance(30s);
  CHECK(ann.told() == Texts{"alive?"});
  CHECK(ann.is_open());
  sim.advance(10s);
  CHECK_FALSE(ann.is_open());
  CHECK(sim.told("disconnected ann heartbeat_timeout") == 1);
}

TEST_CASE("where the client's word is the heartbeat it is asked nothing, and lives while it speaks",
          "[conversations][liveness]") {
  CheckedSim sim(with_documents(beating(HeartbeatStyle::client)));
  Editor ann(sim, "/doc/plan");
  (void)ann.token();
  for (int i = 0; i < 2000; ++i) {
    sim.advance(39s);
    ann.say("alive");
  }
  CHECK(ann.is_open());
  CHECK(ann.told().empty());
}

TEST_CASE("where the client's word is the heartbeat, silence for both times ends it", "[conversations][liveness]") {
  CheckedSim sim(with_documents(beating(HeartbeatStyle::client), without_sessions()));
  Editor ann(sim, "/doc/plan");
  (void)ann.token();
  sim.advance(20s);
  ann.say("alive");
  sim.advance(39s);
  CHECK(ann.is_open());
  sim.advance(2s);
  CHECK_FALSE(ann.is_open());
  CHECK(ann.told().empty());
  CHECK(sim.told("disconnected ann heartbeat_timeout") == 1);
}

TEST_CASE("a client whose words are not read is not taken for silent, whoever speaks first",
          "[conversations][liveness]") {
  Options options;
  options.answer_timeout = 3min;
  CheckedSim sim(with_documents(beating(HeartbeatStyle::client), options));
  Editor ann(sim, "/doc/plan");
  (void)ann.token();
  sim.authorizer->answer = Answer::never();
  ann.say("hello").say("alive");  // and behind it nothing is read
  REQUIRE(ann.pipe().is_reading_paused());
  sim.advance(2min);
  CHECK(ann.is_open());
}

TEST_CASE("a client that takes what is sent is not taken for silent, whoever speaks first",
          "[conversations][liveness]") {
  Options options;
  options.heartbeat = 5s;
  options.pong_timeout = 2s;
  options.unsent_age = 1h;
  CheckedSim sim(with_documents(beating(HeartbeatStyle::client), options));
  Editor ann(sim, "/doc/plan");
  (void)ann.token();
  std::size_t held = 50'000;
  ann.pipe().system_holds(held);
  ann.pipe().stall();
  ann.say("echo hello");
  for (int second = 0; second < 30; ++second) {
    sim.advance(1s);
    ann.pipe().system_holds(held -= 1000);
  }
  CHECK(ann.is_open());
  sim.advance(15s);  // takes no more
  CHECK_FALSE(ann.is_open());
}

TEST_CASE("heartbeat 0 switches each of them off", "[conversations][liveness]") {
  Options options;
  options.heartbeat = 0s;
  const auto style = GENERATE(HeartbeatStyle::ping, HeartbeatStyle::message, HeartbeatStyle::client);
  CheckedSim sim(with_documents(beating(style), options));
  Editor ann(sim, "/doc/plan");
  (void)ann.token();
  sim.advance(24h);
  CHECK(ann.is_open());
  CHECK(ann.told().empty());
}

}  // namespace
}  // namespace muster::test
