// What a command router must do: let in who is known, and answer every command, right or wrong. (Limits, closing and
// handlers of one's own: command_router_limits_test.cpp.)
//
// | requirement                                     | test                                                             |
// |-------------------------------------------------|------------------------------------------------------------------|
// | authenticate by the first message, with timeout | authentication times out                                         |
// | auth_result names the user                      | auth_result carries the user_id                                  |
// | wrong first message                             | a wrong first message is refused                                 |
// | missing token                                   | a missing token is refused                                       |
// | wrong token                                     | a wrong token is refused                                         |
// | closed during authentication                    | a connection closed during authentication leaves nothing         |
// | subscribe, unsubscribe                          | subscribe and unsubscribe are acknowledged, and mean what they say |
// | list_subscriptions                              | list_subscriptions lists what is subscribed                      |
// | ping                                            | ping is answered with pong                                       |
// | unknown type                                    | an unknown type is an error, and the connection stays            |
// | missing topic                                   | a missing topic is an error, and the connection stays            |
// | malformed JSON                                  | malformed JSON is an error, and the connection stays             |
// | reply_to                                        | every command with an id gets one reply that names it            |
// | replies in order                                | replies come in the order of the commands                        |
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("authentication times out", "[acceptance]") {
  Options options;
  options.auth_timeout = 3s;
  CheckedSim sim(options);
  const auto silent = sim.connect("silent", Dial().silent());
  const auto busy = sim.connect("busy", Dial().silent());
  const auto known = sim.connect("known", Dial().silent());
  known.authenticate("ann");
  for (int i = 0; i < 29; ++i) {
    sim.advance(100ms);
    busy.pong();  // traffic does not buy time
  }
  CHECK(silent.is_open());
  CHECK(busy.is_open());
  sim.advance(100ms);
  for (const auto& late : {silent, busy}) {
    CHECK(late.close_code() == 4001);
    CHECK(late.close_text() == "Authentication timeout");
  }
  CHECK(known.is_open());
  CHECK(sim.manager().pending_count() == 0);
  CHECK(sim.manager().metrics().reserved == 1);
}

TEST_CASE("auth_result carries the user_id", "[acceptance]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann", Dial().silent());
  CHECK(sim.manager().connection_count() == 0);
  ann.authenticate("ann@acme");
  sim.run();
  CHECK(ann.types() == Texts{"auth_result", "connection_ack"});
  REQUIRE(ann.reply());
  CHECK(ann.reply()->type() == "auth_result");
  CHECK(ann.reply()->value("authenticated") == "true");
  CHECK(ann.reply()->text("user_id") == "ann");
  CHECK(ann.reply()->text("tenant") == "acme");
  CHECK(ann.last("connection_ack")->text("user_id") == "ann");
  CHECK(sim.manager().find(ann.id())->user == "ann");
}

TEST_CASE("a wrong first message is refused", "[acceptance]") {
  const char* const first =
      GENERATE(R"({"type":"subscribe","id":1,"payload":{"topic":"news"}})", R"({"type":"ping","id":1})",
               R"({"type":"no_such_type","id":1})", "no json at all");
  CheckedSim sim;
  const auto eve = sim.connect("eve", Dial().silent());
  eve.raw(first).authenticate("eve");  // too late then
  sim.run();
  CHECK(eve.error() == "auth_required");
  CHECK(eve.close_code() == 4001);
  CHECK(eve.count("auth_result") == 0);
  CHECK(sim.authenticator->asked == 0);
  CHECK(sim.is_empty());
}

TEST_CASE("a missing token is refused", "[acceptance]") {
  const char* const payload =
      GENERATE("{}", R"({"token":""})", R"({"token":null})", R"({"token":7})", R"({"user":"ann","password":"guess"})");
  CheckedSim sim;
  const auto eve = sim.connect("eve", Dial().silent());
  eve.say("authenticate", payload);
  sim.run();
  CHECK(eve.error() == "auth_required");
  CHECK(eve.close_code() == 4001);
  CHECK(sim.authenticator->asked == 0);
  CHECK(sim.is_empty());
}

TEST_CASE("a wrong token is refused", "[acceptance]") {
  CheckedSim sim;
  const auto eve = sim.connect("eve", Dial().silent());
  eve.authenticate("bad");
  sim.run();
  REQUIRE(eve.reply());
  CHECK(eve.reply()->type() == "auth_result");
  CHECK(eve.reply()->value("authenticated") == "false");
  CHECK_FALSE(eve.reply()->text("error").empty());
  CHECK(eve.reply()->text("user_id").empty());
  CHECK(eve.close_code() == 4002);
  CHECK(sim.is_empty());
}

TEST_CASE("a connection closed during authentication leaves nothing", "[acceptance]") {
  CheckedSim sim;
  sim.authenticator->answer = Answer::never();
  const auto by_upgrade = sim.connect("ann");
  const auto by_message = sim.connect("bob", Dial().silent());
  by_message.authenticate("bob");
  sim.run();
  CHECK(sim.authenticator->asked == 2);
  CHECK(sim.manager().pending_count() == 2);
  const auto how = GENERATE(CloseReason::normal, CloseReason::going_away, CloseReason::lost);
  for (const auto& client : {by_upgrade, by_message}) client.hang_up(how);
  sim.run();
  CHECK(sim.is_empty());
  sim.authenticator->withheld.release();  // the answer comes, and is nobody's
  sim.run();
  CHECK(sim.is_empty());
  CHECK(sim.story().empty());
  CHECK(by_message.log().empty());
}

TEST_CASE("subscribe and unsubscribe are acknowledged, and mean what they say", "[acceptance]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  bob.join("news");
  ann.say("subscribe", R"({"topic":"news"})");
  sim.run();
  REQUIRE(ann.reply());
  CHECK(ann.reply()->type() == "ack");
  CHECK(ann.reply()->value("success") == "true");
  CHECK(ann.reply()->text("message") == "Subscribed to news");
  bob.publish("news", "1");
  sim.run();
  CHECK(ann.messages("news") == Texts{"1"});

  ann.say("subscribe", R"({"topic":"news"})");  // again: the same place
  sim.run();
  CHECK(ann.reply()->value("success") == "true");
  CHECK(sim.manager().room({"", "news"})->size() == 2);

  ann.say("unsubscribe", R"({"topic":"news"})");
  sim.run();
  CHECK(ann.reply()->type() == "ack");
  bob.publish("news", "2");
  sim.run();
  CHECK(ann.messages("news") == Texts{"1"});
  CHECK(sim.manager().room({"", "news"})->size() == 1);
  ann.say("unsubscribe", R"({"topic":"news"})");  // again: as before
  sim.run();
  CHECK(ann.reply()->type() == "ack");
}

TEST_CASE("list_subscriptions lists what is subscribed", "[acceptance]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto listed = [&] {
    ann.say("list_subscriptions", "{}");
    sim.run();
    const auto reply = ann.reply();
    return reply && reply->type() == "subscriptions" ? reply->value("subscriptions") : "none told";
  };
  CHECK(listed() == "[]");
  ann.say("subscribe", R"({"topic":"news"})").say("subscribe", R"({"topic":"sport"})");
  CHECK(listed() == R"(["news","sport"])");
  ann.say("unsubscribe", R"({"topic":"news"})");
  CHECK(listed() == R"(["sport"])");
}

TEST_CASE("ping is answered with pong", "[acceptance]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.say("ping", R"({"sent":12})");
  sim.run();
  REQUIRE(ann.reply());
  CHECK(ann.reply()->type() == "pong");
  CHECK(ann.reply()->number("sent") == 12);
  ann.raw(R"({"type":"ping"})");  // without an id or a payload, too
  sim.run();
  CHECK(ann.count("pong") == 2);
}

TEST_CASE("an unknown type is an error, and the connection stays", "[acceptance]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  for (int i = 0; i < 30; ++i) ann.say("dance", "{}");  // ever so often
  sim.run();
  REQUIRE(ann.reply());
  CHECK(ann.reply()->type() == "error");
  CHECK(ann.reply()->text("code") == "unknown_message");
  CHECK(ann.reply()->text("message").find("dance") != std::string::npos);
  CHECK(ann.count("error") == 30);
  CHECK(ann.is_open());
  ann.say("ping", "{}");
  sim.run();
  CHECK(ann.reply()->type() == "pong");
}

TEST_CASE("a missing topic is an error, and the connection stays", "[acceptance]") {
  const char* const type = GENERATE("subscribe", "unsubscribe");
  const char* const payload = GENERATE("{}", R"({"topic":7})", R"({"topic":null})", R"({"subject":"news"})");
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.say(type, payload);
  sim.run();
  REQUIRE(ann.reply());
  CHECK(ann.reply()->text("code") == "invalid_message");
  CHECK(ann.reply()->text("message").find("topic") != std::string::npos);
  ann.say(type, R"({"topic":"news"})");
  sim.run();
  CHECK(ann.reply()->type() == "ack");
  CHECK(ann.is_open());
}

TEST_CASE("malformed JSON is an error, and the connection stays", "[acceptance]") {
  const char* const text =
      GENERATE("", "{", "nonsense", "[]", "7", R"({"type":"ping")", R"({"type":7})", R"({"payload":{}})",
               R"({"type":"ping","type":"ping"})", R"({"type":"ping","payload":[]})", R"({"type":"ping","id":{}})",
               R"({"type":"ping"} {"type":"ping"})", "{\"type\":\"\xff\"}");
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.raw(text);
  sim.run();
  CHECK(ann.error() == "invalid_message");
  CHECK_FALSE(ann.last("error")->text("message").empty());
  CHECK(ann.is_open());
  ann.say("ping", "{}");
  sim.run();
  CHECK(ann.count("pong") == 1);
}

TEST_CASE("every command with an id gets one reply that names it", "[acceptance]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const Texts ids{"1", R"("two")", "-3", "9007199254740993", R"("\u00e9")"};
  const Texts commands{R"("type":"ping")",
                       R"("type":"subscribe","payload":{"topic":"a"})",
                       R"("type":"list_subscriptions")",
                       R"("type":"publish","payload":{"room":"a","data":1})",
                       R"("type":"session_info")",
                       R"("type":"unsubscribe","payload":{"topic":"a"})",
                       R"("type":"dance")",
                       R"("type":"subscribe")"};
  for (const auto& id : ids) {
    for (const auto& command : commands) {
      const auto before = ann.log().size();
      ann.raw("{" + command + R"(,"id":)" + id + "}");
      sim.run();
      Texts replies;
      for (std::size_t i = before; i < ann.log().size(); ++i) {
        if (!ann.log()[i].reply_to().empty()) replies.push_back(ann.log()[i].reply_to());
      }
      CAPTURE(command);
      CHECK(replies == Texts{compact(rapidjson::Document().Parse(id.c_str()))});
    }
  }
}

TEST_CASE("replies come in the order of the commands", "[acceptance]") {
  CheckedSim sim;
  // Those whom the authorizer keeps waiting hold back those behind them.
  sim.authorizer->script = [](const Access& access) {
    return access.target == "slow" ? Answer::later(100ms) : Answer::now();
  };
  const auto ann = sim.connect("ann");
  for (int i = 0; i < 10; ++i) ann.say("subscribe", i % 3 == 0 ? R"({"topic":"slow"})" : R"({"topic":"quick"})");
  ann.say("ping", "{}");
  sim.advance(1s);
  Texts order;
  for (const Told& told : ann.log()) {
    if (!told.reply_to().empty()) order.push_back(told.reply_to());
  }
  CHECK(order == Texts{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"});
}

}  // namespace
}  // namespace muster::test
