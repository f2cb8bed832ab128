// Document sync, 1 of 3: documents are rooms that clients subscribe to.
//
// | requirement | test |
// | --- | --- |
// | documents as rooms | a document is a room: it exists while somebody is subscribed |
// | subscribe, unsubscribe | subscribe and unsubscribe take a topic and are answered in their words |
// | subscribe is idempotent | subscribing twice is subscribing once |
// | join and subscribe are one thing | who joined and who subscribed are in one document |
// | a refused subscription | a document one may not read is refused, and nothing else changes |
// | what am I subscribed to | a client is told its own subscriptions |
// | lookup by document | subscribers are found by document |
// | lookup by user | connections are found by user, with their documents |
// | broadcast with exclude | an edit reaches every subscriber but its author |
// | broadcast with exclude, from the server | the server's broadcast reaches every subscriber but the excluded |
// | edits in one order | concurrent edits reach everyone in one order |
// | awareness per document | awareness belongs to one document |
// | max connections | connections beyond the maximum are refused, and a place is reused |
// | close_all | close_all closes every connection, and says how many |
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

RoomKey document(std::string name) { return {"", std::move(name)}; }

Texts users(const std::vector<ConnectionInfo>& connections) {
  Texts users;
  for (const auto& connection : connections) users.push_back(connection.user);
  std::sort(users.begin(), users.end());
  return users;
}

TEST_CASE("a document is a room: it exists while somebody is subscribed", "[acceptance][document_sync]") {
  CheckedSim sim;
  CHECK(sim.manager().room_count() == 0);
  const auto ann = sim.connect("ann");
  ann.subscribe("doc:1").subscribe("doc:2");
  sim.run();
  CHECK(sim.manager().room_count() == 2);
  CHECK(sim.manager().room(document("doc:1"))->size() == 1);
  CHECK(sim.manager().find(ann.id())->status == ConnectionStatus::in_room);
  ann.unsubscribe("doc:1").unsubscribe("doc:2");
  sim.run();
  CHECK(sim.manager().room_count() == 0);
  CHECK(sim.manager().find(ann.id())->status == ConnectionStatus::connected);
}

TEST_CASE("subscribe and unsubscribe take a topic and are answered in their words", "[acceptance][document_sync]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.subscribe("doc:1");
  sim.run();
  REQUIRE(ann.reply());
  CHECK(ann.reply()->type() == "ack");
  CHECK(compact(ann.reply()->payload()) == R"({"success":true,"message":"Subscribed to doc:1"})");
  CHECK(ann.types() == Texts{"connection_ack", "ack", "awareness_state"});
  ann.unsubscribe("doc:1");
  sim.run();
  REQUIRE(ann.reply());
  CHECK(compact(ann.reply()->payload()) == R"({"success":true,"message":"Unsubscribed from doc:1"})");
  ann.say("subscribe", R"({"room":"doc:1"})");  // the member of join
  sim.run();
  CHECK(ann.error() == "invalid_message");
  CHECK(ann.last("error")->text("message") == "subscribe: 'topic' is missing");
  ann.subscribe("doc/1");
  sim.run();
  CHECK(ann.error() == "invalid_room");
  CHECK(ann.is_open());
}

TEST_CASE("subscribing twice is subscribing once", "[acceptance][document_sync]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.subscribe("doc:1").subscribe("doc:1");
  bob.subscribe("doc:1");
  sim.run();
  CHECK(ann.reply()->text("message") == "Subscribed to doc:1");
  CHECK(sim.manager().room(document("doc:1"))->size() == 2);
  CHECK(sim.told("joined ann doc:1") == 1);
  bob.publish("doc:1", "1");
  sim.run();
  CHECK(ann.messages("doc:1") == Texts{"1"});
  ann.unsubscribe("doc:1").unsubscribe("doc:1");
  sim.run();
  CHECK(ann.reply()->text("message") == "Unsubscribed from doc:1");
  CHECK(sim.told("left ann doc:1") == 1);
}

TEST_CASE("who joined and who subscribed are in one document", "[acceptance][document_sync]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  ann.subscribe("doc:1");
  bob.join("doc:1");
  sim.run();
  ann.publish("doc:1", "1");
  bob.publish("doc:1", "2");
  sim.run();
  CHECK(bob.members("doc:1") == Texts{"ann", "bob"});
  CHECK(ann.messages("doc:1") == Texts{"2"});
  CHECK(bob.messages("doc:1") == Texts{"1"});
}

TEST_CASE("a document one may not read is refused, and nothing else changes", "[acceptance][document_sync]") {
  CheckedSim sim;
  sim.authorizer->decide = [](const Access& access) {
    return access.target == "doc:secret" ? Permission::deny() : Permission::allow();
  };
  const auto ann = sim.connect("ann");
  ann.subscribe("doc:1").subscribe("doc:secret");
  sim.run();
  CHECK(ann.error() == "permission_denied");
  CHECK(ann.is_open());
  CHECK(sim.manager().find(ann.id())->rooms == Texts{"doc:1"});
  CHECK(sim.manager().room_count() == 1);
}

TEST_CASE("a client is told its own subscriptions", "[acceptance][document_sync]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  ann.subscribe("doc:1").subscribe("doc:2").unsubscribe("doc:1").subscribe("doc:3").say("list_subscriptions", "{}");
  sim.run();
  REQUIRE(ann.reply());
  CHECK(ann.reply()->value("subscriptions") == R"(["doc:2","doc:3"])");
}

TEST_CASE("subscribers are found by document", "[acceptance][document_sync]") {
  CheckedSim sim({}, 2);
  const auto ann = sim.connect("ann", Dial().on(0));
  const auto bob = sim.connect("bob", Dial().on(1));
  const auto tablet = sim.connect("ann", Dial().on(1));
  const auto elsewhere = sim.connect("cat", Dial().of("acme"));
  ann.subscribe("doc:1").subscribe("doc:2");
  bob.subscribe("doc:2");
  tablet.subscribe("doc:2");
  elsewhere.subscribe("doc:2");
  sim.run();
  auto& manager = sim.manager();
  CHECK(users(manager.connections_in(document("doc:1"))) == Texts{"ann"});
  CHECK(users(manager.connections_in(document("doc:2"))) == Texts{"ann", "ann", "bob"});
  CHECK(users(manager.connections_in({"acme", "doc:2"})) == Texts{"cat"});
  CHECK(manager.connections_in(document("doc:3")).empty());
  ann.unsubscribe("doc:2");
  bob.hang_up();
  sim.run();
  CHECK(users(manager.connections_in(document("doc:2"))) == Texts{"ann"});
  CHECK(manager.connections_in(document("doc:2")).front().id == tablet.id());
}

TEST_CASE("connections are found by user, with their documents", "[acceptance][document_sync]") {
  CheckedSim sim({}, 2);
  const auto phone = sim.connect("ann", Dial().on(0));
  const auto laptop = sim.connect("ann", Dial().on(1));
  sim.connect("bob");
  phone.subscribe("doc:1");
  laptop.subscribe("doc:1").subscribe("doc:2");
  sim.run();
  std::map<ConnectionId, Texts> documents;
  for (const auto& connection : sim.manager().connections_of({"", "ann"})) documents[connection.id] = connection.rooms;
  CHECK(documents == std::map<ConnectionId, Texts>{{phone.id(), {"doc:1"}}, {laptop.id(), {"doc:1", "doc:2"}}});
  CHECK(sim.manager().connection_count({"", "ann"}) == 2);
  CHECK(sim.manager().connections_of({"", "cat"}).empty());
  phone.hang_up();
  sim.run();
  REQUIRE(sim.manager().connections_of({"", "ann"}).size() == 1);
  CHECK(sim.manager().connections_of({"", "ann"}).front().id == laptop.id());
}

TEST_CASE("an edit reaches every subscriber but its author", "[acceptance][document_sync]") {
  CheckedSim sim({}, 2);
  const auto ann = sim.connect("ann", Dial().on(0));
  const auto bob = sim.connect("bob", Dial().on(1));
  const auto tablet = sim.connect("ann", Dial().on(1));
  const auto other = sim.connect("cat");
  for (const auto& client : {ann, bob, tablet}) client.subscribe("doc:1");
  other.subscribe("doc:2");
  sim.run();
  ann.publish("doc:1", R"({"insert":"hello"})");
  sim.run();
  CHECK(ann.reply()->type() == "ack");
  CHECK(ann.reply()->number("seq") == 1);
  CHECK(ann.messages("doc:1").empty());
  CHECK(bob.messages("doc:1") == Texts{R"({"insert":"hello"})"});
  CHECK(tablet.messages("doc:1") == Texts{R"({"insert":"hello"})"});  // the author's other device is no author
  CHECK(other.count("message") == 0);
  other.publish("doc:1", "1");  // nobody edits what they are not subscribed to
  sim.run();
  CHECK(other.error() == "not_in_room");
  CHECK(bob.messages("doc:1").size() == 1);
}

TEST_CASE("the server's broadcast reaches every subscriber but the excluded", "[acceptance][document_sync]") {
  CheckedSim sim({}, 2);
  std::vector<Client> clients;
  for (std::size_t i = 0; i < 6; ++i) clients.push_back(sim.connect("u" + std::to_string(i), Dial().on(i % 2)));
  for (const auto& client : clients) client.subscribe("doc:1");
  sim.run();
  std::optional<std::size_t> reached;
  sim.manager().publish(document("doc:1"), json("1"), Delivery::reliable(), clients[3].id(),
                        [&reached](const Result<Published>& done) { reached = done.value().reached; });
  sim.manager().publish(document("doc:1"), json("2"));
  sim.run();
  CHECK(reached == std::size_t{5});
  for (std::size_t i = 0; i < clients.size(); ++i) {
    CHECK(clients[i].messages("doc:1") == (i == 3 ? Texts{"2"} : Texts{"1", "2"}));
  }
}

TEST_CASE("concurrent edits reach everyone in one order", "[acceptance][document_sync]") {
  CheckedSim sim({}, 3);
  const auto reader = sim.connect("reader");
  const auto other = sim.connect("other", Dial().on(2));
  std::vector<Client> writers;
  for (std::size_t i = 0; i < 3; ++i) writers.push_back(sim.connect("w" + std::to_string(i), Dial().on(i)));
  for (const auto& client : {reader, other}) client.subscribe("doc:1");
  for (const auto& writer : writers) writer.subscribe("doc:1");
  sim.run();
  for (int edit = 0; edit < 20; ++edit) {
    for (const auto& writer : writers) writer.publish("doc:1", quoted(writer.name() + "." + std::to_string(edit)));
  }
  sim.run();
  CHECK(reader.messages("doc:1").size() == 60);
  CHECK(reader.messages("doc:1") == other.messages("doc:1"));
  CHECK(reader.seqs("doc:1").front() == 1);
  CHECK(reader.seqs("doc:1").back() == 60);
}

TEST_CASE("awareness belongs to one document", "[acceptance][document_sync]") {
  CheckedSim sim;
  const auto ann = sim.connect("ann");
  const auto bob = sim.connect("bob");
  for (const auto& client : {ann, bob}) client.subscribe("doc:1").subscribe("doc:2");
  ann.aware("doc:1", R"({"cursor":7})", 1, "ann").aware("doc:2", R"({"cursor":9})", 1, "ann");
  sim.advance(1s);
  CHECK(bob.awareness("doc:1") == States{{"ann", R"({"cursor":7})"}});
  CHECK(bob.awareness("doc:2") == States{{"ann", R"({"cursor":9})"}});
  ann.unsubscribe("doc:1");
  sim.advance(1s);
  CHECK(bob.awareness("doc:1").empty());
  CHECK(bob.awareness("doc:2") == States{{"ann", R"({"cursor":9})"}});
}

TEST_CASE("connections beyond the maximum are refused, and a place is reused", "[acceptance][document_sync]") {
  Options options;
  options.max_connections = 10;
  CheckedSim sim(options, 2);
  for (std::size_t i = 0; i < 14; ++i) sim.dial("u" + std::to_string(i), Dial().on(i % 2));
  sim.run();
  const auto open = [&sim] {
    return std::count_if(sim.clients.begin(), sim.clients.end(), [](const Client& c) { return c.is_open(); });
  };
  CHECK(open() == 10);
  CHECK(sim.manager().connection_count() == 10);
  CHECK(sim.manager().is_full());
  for (const auto& client : sim.clients) {
    if (client.is_open()) continue;
    REQUIRE(client.pipe().answer());
    CHECK(describe(client.pipe().answer()->reason).http_status == 503);
    CHECK(client.pipe().answer()->error.retry_after > 0ms);
  }
  std::find_if(sim.clients.begin(), sim.clients.end(), [](const Client& c) { return c.is_open(); })->hang_up();
  sim.run();
  CHECK_FALSE(sim.manager().is_full());
  CHECK(sim.connect("next").is_open());
  CHECK_FALSE(sim.connect("one too many").is_open());
}

TEST_CASE("close_all closes every connection, and says how many", "[acceptance][document_sync]") {
  CheckedSim sim({}, 2);
  for (std::size_t i = 0; i < 8; ++i) {
    sim.connect("u" + std::to_string(i), Dial().on(i % 2)).subscribe("doc:1").aware("doc:1", "{}", 1);
  }
  sim.connect("pending", Dial().silent());
  sim.advance(1s);
  std::optional<std::size_t> closed;
  sim.manager().close_all(CloseReason::going_away, "Maintenance", [&closed](std::size_t count) { closed = count; });
  sim.run();
  CHECK(closed == std::size_t{9});
  for (const auto& client : sim.clients) {
    CHECK(client.close_code() == 1001);
    CHECK(client.close_text() == "Maintenance");
  }
  CHECK(sim.is_empty());
  CHECK(sim.manager().room_count() == 0);
  CHECK(sim.connect("late").is_open());  // it is not a shutdown
}

}  // namespace
}  // namespace muster::test
