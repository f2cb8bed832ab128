// Responder: handlers that answer after they have returned, once, with a result, an error, or not at all.
#include <optional>
#include <utility>
#include <vector>

#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

/// A handler that keeps what it is to answer with.
struct Kept {
  RespondingHandler handler() {
    return [this](Connection&, const Payload& payload, Responder respond) {
      asked.emplace_back(payload.view());
      responders.push_back(std::move(respond));
    };
  }
  std::vector<Responder> responders;
  Texts asked;
};

/// The results and errors that were told, in order: "7 1" answers the command 7 with 1.
Texts answers(const Client& client) {
  Texts all;
  for (const auto& told : client.log()) {
    if (told.type() == "ack") all.push_back(told.reply_to() + " " + told.value("result"));
    if (told.type() == "error") all.push_back(told.reply_to() + " " + told.text("code"));
    if (told.type() == "progress") all.push_back(told.reply_to() + " so far " + told.value("done"));
  }
  return all;
}

const HandlerOptions beside{false, {}};

TEST_CASE("a handler answers when it can, and the connection's commands wait for it or not, as it says",
          "[responder]") {
  CheckedSim sim;
  Kept kept;
  const bool in_order = GENERATE(true, false);
  sim.manager().on("move", kept.handler(), HandlerOptions{in_order, {}});
  const auto ann = sim.connect("ann");
  ann.raw(R"({"type":"move","id":1,"payload":{"to":"e4"}})")
      .raw(R"({"type":"move","id":2})")
      .raw(R"({"type":"ping","id":3})");
  sim.run();
  CHECK(ann.count("pong") == (in_order ? 0 : 1));
  REQUIRE(kept.responders.size() == (in_order ? 1 : 2));
  CHECK(kept.asked.front() == R"({"to":"e4"})");
  if (!in_order) {
    kept.responders[1](json("2"));
    sim.run();
    CHECK(answers(ann) == Texts{"2 2"});
  }
  kept.responders[0](json("1"));
  sim.run();
  if (in_order) {
    REQUIRE(kept.responders.size() == 2);
    kept.responders[1](json("2"));
    sim.run();
    CHECK(answers(ann) == Texts{"1 1", "2 2"});
    CHECK(ann.count("pong") == 1);
  } else {
    CHECK(answers(ann) == Texts{"2 2", "1 1"});
  }
}

TEST_CASE("a command is answered once: by the first answer, or by its deadline", "[responder]") {
  CheckedSim sim;
  Kept kept;
  const bool in_order = GENERATE(true, false);
  sim.manager().on("move", kept.handler(), HandlerOptions{in_order, 300ms});
  const auto ann = sim.connect("ann");
  ann.raw(R"({"type":"move","id":1})");
  sim.run();
  SECTION("the deadline") {
    sim.advance(299ms);
    CHECK(answers(ann).empty());
    sim.advance(2ms);
    CHECK(answers(ann) == Texts{"1 unavailable"});
    kept.responders[0].progress(json(R"({"done":1})"));
    kept.responders[0](json("1"));
    kept.responders.clear();
    sim.run();
    CHECK(answers(ann) == Texts{"1 unavailable"});
  }
  SECTION("the first answer") {
    kept.responders[0](json("1"));
    kept.responders[0](json("2"));
    kept.responders[0].progress(json(R"({"done":1})"));
    kept.responders.clear();
    sim.advance(1s);
    CHECK(answers(ann) == Texts{"1 1"});
  }
  SECTION("it is let go of") {
    kept.responders.clear();
    sim.advance(1s);
    CHECK(answers(ann) == Texts{"1 internal"});
  }
  SECTION("another takes its place") {
    std::vector<Responder> other = std::move(kept.responders);
    other[0] = Responder(nullptr);
    sim.advance(1s);
    CHECK(answers(ann) == Texts{"1 internal"});
  }
  ann.raw(R"({"type":"ping","id":9})");
  sim.run();
  CHECK(ann.count("pong") == 1);
  CHECK(ann.is_open());
}

TEST_CASE("progress comes before the answer, and to who asked for one", "[responder]") {
  CheckedSim sim;
  Kept kept;
  sim.manager().on("render", kept.handler(), beside);
  sim.manager().on("at once", [](Connection&, const Payload&, Responder respond) {
    respond.progress(json(R"({"done":1})"));
    respond(json("5"));
  });
  const auto ann = sim.connect("ann");
  ann.raw(R"({"type":"render","id":1})").raw(R"({"type":"render"})");
  sim.run();
  for (Responder& respond : kept.responders) {
    respond.progress(json(R"({"done":1})"));
    respond.progress(json(R"({"done":2})"));
    respond(json("3"));
    respond.progress(json(R"({"done":4})"));
  }
  sim.run();
  CHECK(answers(ann) == Texts{"1 so far 1", "1 so far 2", "1 3", " 3"});
  ann.raw(R"({"type":"at once","id":4})");
  sim.run();
  CHECK(answers(ann).size() == 6);
  CHECK(ann.log().back().value("result") == "5");
}

TEST_CASE("an error has the program's own name and details, whether it is thrown or given", "[responder]") {
  CheckedSim sim;
  Kept kept;
  const Error error{errc::permission_denied, "Bob moves first", 2s, "not_your_turn", json(R"({"turn":"bob"})")};
  sim.manager().on("thrown", [&](Connection&, const Payload&) { throw Error(error); });
  sim.manager().on("thrown later", [&](Connection&, const Payload&, Responder) { throw Error(error); });
  sim.manager().on("given", [&](Connection&, const Payload&, Responder respond) { respond(error); });
  sim.manager().on("given later", kept.handler());
  const auto ann = sim.connect("ann");
  for (const char* type : {"thrown", "thrown later", "given", "given later"}) {
    ann.say(type, "{}");
    sim.run();
  }
  kept.responders[0](error);
  sim.run();
  CHECK(ann.count("error") == 4);
  for (const auto& told : ann.all("error")) {
    CHECK(told.text("code") == "not_your_turn");
    CHECK(told.text("message") == "Bob moves first");
    CHECK(told.number("retry_after_ms") == 2000);
    CHECK(told.value("details") == R"({"turn":"bob"})");
  }
  CHECK(ann.is_open());
  CHECK(sim.manager().metrics().callback_failures == 0);
}

TEST_CASE("a handler that throws anything else is closed, as ever", "[responder]") {
  CheckedSim sim;
  const bool in_order = GENERATE(true, false);
  sim.manager().on(
      "move", [](Connection&, const Payload&, Responder) { throw std::runtime_error("no board"); },
      HandlerOptions{in_order, {}});
  const auto ann = sim.connect("ann");
  ann.raw(R"({"type":"move","id":1})");
  sim.run();
  CHECK(ann.close_code() == 1011);
  CHECK(sim.manager().metrics().callback_failures == 1);
}

TEST_CASE("answers to who is gone, or of a manager that is gone, do nothing", "[responder]") {
  Kept kept;
  {
    CheckedSim sim;
    sim.manager().on("move", kept.handler());
    sim.manager().on("beside", kept.handler(), beside);
    const auto ann = sim.connect("ann");
    const auto bob = sim.connect("bob");
    ann.raw(R"({"type":"move","id":1})");
    bob.raw(R"({"type":"beside","id":1})").raw(R"({"type":"move","id":2})");
    sim.run();
    REQUIRE(kept.responders.size() == 3);
    ann.hang_up();
    sim.run();
    kept.responders[0](json("1"));
    sim.run();
    CHECK(answers(ann).empty());
  }
  for (Responder& respond : kept.responders) respond(json("1"));
}

TEST_CASE("of one connection as many may be under way as may wait", "[responder]") {
  Options options;
  options.waiting_commands = 3;
  CheckedSim sim(options);
  Kept kept;
  sim.manager().on("move", kept.handler(), beside);
  const auto ann = sim.connect("ann");
  for (int i = 1; i <= 4; ++i) ann.raw(R"({"type":"move","id":)" + std::to_string(i) + "}");
  sim.run();
  CHECK(answers(ann) == Texts{"4 too_many"});
  kept.responders[1](json("2"));
  sim.run();
  ann.raw(R"({"type":"move","id":5})");
  sim.run();
  CHECK(kept.responders.size() == 4);
  CHECK(answers(ann) == Texts{"4 too_many", "2 2"});
}

}  // namespace
}  // namespace muster::test
