// What a social application needs of its events. (What it needs of delivery: social_delivery_test.cpp.)
//
// | requirement                                    | test                                                             |
// |------------------------------------------------|------------------------------------------------------------------|
// | MessageSent                                    | MessageSent reaches every device of the recipient                |
// | MessageRead                                    | MessageRead reaches the author                                   |
// | TypingStarted, TypingStopped: never to typist  | typing is told to the reader, never to the typist                |
// | TypingStarted, TypingStopped: latest per user  | of typing a slow reader gets the latest of each typist           |
// | PaymentReceived                                | PaymentReceived reaches the payee                                |
// | PostLiked                                      | PostLiked reaches the author                                     |
// | Error                                          | Error answers what cannot be understood, and nothing is sent     |
// | UserOnline to everyone, with the first device  | a user comes online with the first device, and everyone is told  |
// | UserOffline, with the last device, at once     | a user goes offline with the last device, at once on logout      |
// | UserOffline, after the grace                   | a user whose connection is lost goes offline after the grace     |
// | nobody is told of a short loss                 | a user who is back within the grace never went                   |
// | send to a user, to a list, to all              | a message goes to one user, to a list of users, or to all        |
// | connection count and online users              | connections are counted, and users who are online listed         |
#include "social_sim.hpp"

namespace muster::test {
namespace {

TEST_CASE("MessageSent reaches every device of the recipient", "[acceptance]") {
  SocialSim sim;
  const auto ann = sim.enter("ann");
  const auto phone = sim.enter("bob");
  const auto laptop = sim.enter("bob");
  const auto cat = sim.enter("cat");
  ann.say("message", R"({"to":"bob","text":"say \"hi\" \u00e9"})");
  sim.run();
  REQUIRE(ann.reply());
  CHECK(ann.reply()->number("id") == 1);
  const Texts expected{"{\"event\":\"MessageSent\",\"id\":1,\"from\":\"ann\",\"text\":\"say \\\"hi\\\" \xc3\xa9\"}"};
  CHECK(events(phone) == expected);
  CHECK(events(laptop) == expected);
  CHECK(events(ann).empty());
  CHECK(events(cat).empty());
}

TEST_CASE("MessageRead reaches the author", "[acceptance]") {
  SocialSim sim;
  const auto ann = sim.enter("ann");
  const auto bob = sim.enter("bob");
  ann.say("message", R"({"to":"bob","text":"hello"})");
  sim.run();
  bob.say("read", R"({"from":"ann","id":1})");
  sim.run();
  CHECK(events(ann) == Texts{R"({"event":"MessageRead","id":1,"by":"bob"})"});
  CHECK(bob.reply()->type() == "ack");
}

TEST_CASE("typing is told to the reader, never to the typist", "[acceptance]") {
  SocialSim sim({Social::options()}, 2);
  const auto phone = sim.enter("ann", Dial().on(0));
  const auto laptop = sim.enter("ann", Dial().on(1));
  const auto bob = sim.enter("bob");
  const auto cat = sim.enter("cat", Dial().on(1));
  phone.say("typing", R"({"to":"bob","typing":true})");
  sim.run();
  CHECK(events(bob) == Texts{R"({"event":"TypingStarted","by":"ann"})"});
  phone.say("typing", R"({"to":"bob","typing":false})");
  sim.run();
  CHECK(events(bob) == Texts{R"({"event":"TypingStarted","by":"ann"})", R"({"event":"TypingStopped","by":"ann"})"});
  for (const auto& other : {phone, laptop, cat}) CHECK(events(other).empty());
  phone.say("typing", R"({"to":"ann","typing":true})");  // not even by asking for it
  sim.run();
  CHECK(phone.reply()->text("event") == "Error");
  phone.say("typing", R"({"to":"nobody","typing":true})");  // nobody is there: nothing is kept for later
  sim.run();
  CHECK(events(sim.enter("nobody")).empty());
}

TEST_CASE("of typing a slow reader gets the latest of each typist", "[acceptance]") {
  Options options = Social::options();
  options.unsent_soft_bytes = 400;
  options.message_rate = options.frame_rate = 0;
  SocialSim sim(options);
  const auto ann = sim.enter("ann");
  const auto cat = sim.enter("cat");
  const auto bob = sim.enter("bob");
  sim.advance(1s);
  bob.stall();
  for (int i = 0; i < 50; ++i) {
    ann.say("typing", R"({"to":"bob","typing":true})");
    sim.run();
    ann.say("typing", R"({"to":"bob","typing":false})");
    sim.run();
  }
  cat.say("typing", R"({"to":"bob","typing":true})");
  sim.run();
  bob.resume();
  sim.run();
  std::map<std::string, std::string> newest;
  for (const Told& told : bob.all("message")) {
    const std::string event = told.value("data");
    newest[event.find("\"ann\"") != std::string::npos ? "ann" : "cat"] = event;
  }
  CHECK(newest == std::map<std::string, std::string>{{"ann", R"({"event":"TypingStopped","by":"ann"})"},
                                                     {"cat", R"({"event":"TypingStarted","by":"cat"})"}});
  CHECK(events(bob).size() <= 8);  // of 101
  CHECK(bob.is_open());
}

TEST_CASE("PaymentReceived reaches the payee", "[acceptance]") {
  SocialSim sim;
  const auto ann = sim.enter("ann");
  const auto bob = sim.enter("bob");
  ann.say("pay", R"({"to":"bob","amount":1250})");
  sim.run();
  CHECK(events(bob) == Texts{R"({"event":"PaymentReceived","from":"ann","amount":1250})"});
  CHECK(events(ann).empty());
}

TEST_CASE("PostLiked reaches the author", "[acceptance]") {
  SocialSim sim;
  const auto ann = sim.enter("ann");
  const auto bob = sim.enter("bob");
  ann.say("like", R"({"author":"bob","post":"p7"})");
  sim.run();
  CHECK(events(bob) == Texts{R"({"event":"PostLiked","post":"p7","by":"ann"})"});
}

TEST_CASE("Error answers what cannot be understood, and nothing is sent", "[acceptance]") {
  using Command = std::pair<const char*, const char*>;
  const auto command =
      GENERATE(Command{"message", "{}"}, Command{"message", R"({"to":"bob"})"},
               Command{"message", R"({"to":7,"text":"x"})"}, Command{"message", R"({"to":["bob",7],"text":"x"})"},
               Command{"message", R"({"to":[],"text":"x"})"}, Command{"message", R"({"to":"","text":"x"})"},
               Command{"message", R"({"to":"bob","text":""})"}, Command{"read", R"({"from":"bob"})"},
               Command{"read", R"({"from":"bob","id":-1})"}, Command{"typing", R"({"to":"bob","typing":"yes"})"},
               Command{"pay", R"({"to":"bob","amount":0})"}, Command{"pay", R"({"to":"bob","amount":-5})"},
               Command{"pay", R"({"to":"bob","amount":1.5})"}, Command{"like", R"({"author":"bob"})"});
  CAPTURE(command.first, command.second);
  SocialSim sim;
  const auto ann = sim.enter("ann");
  const auto bob = sim.enter("bob");
  ann.say(command.first, command.second);
  sim.run();
  REQUIRE(ann.reply());
  CHECK(ann.reply()->text("event") == "Error");
  CHECK_FALSE(ann.reply()->text("message").empty());
  CHECK(ann.is_open());
  CHECK(events(bob).empty());
  CHECK(sim.sessions->behind.queued_count() == 0);

  std::string many = R"("u0")";
  for (int i = 1; i <= 100; ++i) many += ",\"u" + std::to_string(i) + '"';
  ann.say("message", R"({"text":"x","to":[)" + many + "]}");  // too many
  ann.raw(R"({"type":"message","payload":[]})");              // the protocol's own errors
  ann.join("inbox:bob");
  sim.run();
  CHECK(ann.last("ack")->text("event") == "Error");
  CHECK(ann.count("error") == 2);
  CHECK(ann.error() == "permission_denied");
  CHECK(sim.sessions->behind.queued_count() == 0);
}

TEST_CASE("a user comes online with the first device, and everyone is told", "[acceptance]") {
  SocialSim sim({Social::options()}, 2);
  const auto bob = sim.enter("bob");
  sim.advance(1s);
  const auto elsewhere = sim.enter("cat", Dial().of("elsewhere").on(1));
  sim.advance(1s);
  sim.enter("ann");
  sim.advance(1s);
  CHECK(told_users(bob, "users_online") == Texts{"cat", "ann"});
  CHECK(told_users(elsewhere, "users_online") == Texts{"ann"});
  sim.enter("ann", Dial().on(1));  // one more device is no news
  sim.advance(1s);
  CHECK(told_users(bob, "users_online") == Texts{"cat", "ann"});
}

TEST_CASE("a user goes offline with the last device, at once on logout", "[acceptance]") {
  SocialSim sim(without_heartbeat());
  const auto bob = sim.enter("bob");
  const auto phone = sim.enter("ann");
  const auto laptop = sim.enter("ann");
  sim.advance(1s);
  phone.hang_up();
  sim.advance(30s);
  CHECK(told_users(bob, "users_offline").empty());
  laptop.hang_up();
  sim.advance(100ms);
  CHECK(told_users(bob, "users_offline") == Texts{"ann"});
  CHECK_FALSE(sim.manager().is_online({"", "ann"}));
}

TEST_CASE("a user whose connection is lost goes offline after the grace", "[acceptance]") {
  SocialSim sim(without_heartbeat());
  const auto bob = sim.enter("bob");
  const auto ann = sim.enter("ann");
  sim.advance(1s);
  ann.hang_up(CloseReason::lost);
  sim.advance(9900ms);
  CHECK(told_users(bob, "users_offline").empty());
  CHECK(sim.manager().is_online({"", "ann"}));
  sim.advance(200ms);
  CHECK(told_users(bob, "users_offline") == Texts{"ann"});
  CHECK_FALSE(sim.manager().is_online({"", "ann"}));
}

TEST_CASE("a user who is back within the grace never went", "[acceptance]") {
  const bool resumes = GENERATE(true, false);
  SocialSim sim(without_heartbeat());
  const auto bob = sim.enter("bob");
  const auto ann = sim.enter("ann");
  sim.advance(1s);
  ann.hang_up(CloseReason::lost);
  sim.advance(5s);
  const auto again = sim.connect("ann");
  if (resumes) again.resume_session(ann, {"inbox:ann"});
  sim.advance(30s);
  CHECK(told_users(bob, "users_offline").empty());
  CHECK(told_users(bob, "users_online") == Texts{"ann"});
  if (resumes) CHECK(again.resumed("inbox:ann") == "recovered");
}

TEST_CASE("a message goes to one user, to a list of users, or to all", "[acceptance]") {
  SocialSim sim({Social::options()}, 2);
  const auto ann = sim.enter("ann");
  const auto bob = sim.enter("bob", Dial().on(1));
  const auto cat = sim.enter("cat");
  const auto dan = sim.enter("dan", Dial().on(1));
  const auto staff = sim.enter("staff");
  ann.say("message", R"({"to":"bob","text":"1"})");
  ann.say("message", R"({"to":["bob","cat","bob","nobody"],"text":"2"})");
  ann.say("announce", R"({"text":"ann may not"})");
  sim.run();
  CHECK(ann.reply()->text("code") == "permission_denied");
  staff.say("announce", R"({"text":"3"})");
  sim.run();
  const auto sent = [](const std::string& text, const std::string& id, const std::string& from) {
    return R"({"event":"MessageSent",)" + (id.empty() ? "" : "\"id\":" + id + ",") + R"("from":")" + from +
           R"(","text":")" + text + "\"}";
  };
  const std::string to_all = sent("3", "", "staff");
  CHECK(events(bob) == Texts{sent("1", "1", "ann"), sent("2", "2", "ann"), to_all});  // named twice, told once
  CHECK(events(cat) == Texts{sent("2", "2", "ann"), to_all});
  CHECK(events(dan) == Texts{to_all});
  CHECK(events(ann) == Texts{to_all});
}

TEST_CASE("connections are counted, and users who are online listed", "[acceptance]") {
  SocialSim sim;
  auto& manager = sim.manager();
  sim.enter("ann");
  const auto bob = sim.enter("bob");
  sim.enter("bob");
  sim.enter("cat", Dial().of("elsewhere"));
  CHECK(manager.connection_count() == 4);
  CHECK(manager.online_users("") == Texts{"ann", "bob"});
  CHECK(manager.online_users("elsewhere") == Texts{"cat"});
  CHECK(manager.metrics().users == 3);
  bob.say("presence_query", R"({"users":["ann","bob","cat"]})");
  sim.run();
  CHECK(bob.reply()->value("users") ==
        R"([{"user":"ann","online":true,"connections":1},{"user":"bob","online":true,"connections":2},)"
        R"({"user":"cat","online":false,"connections":0}])");
  bob.hang_up();
  sim.run();
  CHECK(manager.connection_count() == 3);
  CHECK(manager.online_users("") == Texts{"ann", "bob"});
}

}  // namespace
}  // namespace muster::test
