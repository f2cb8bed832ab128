// Who comes back is not kept out by what it left behind.
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

bool came_back(const Client& client) { return client.is_open() && client.resumed("r") == "recovered"; }

TEST_CASE("a user at its limit comes back in the place of its ghost", "[limits][ghosts]") {
  Options options;
  options.max_connections_per_user = 1;
  options.user_limit_policy = GENERATE(UserLimitPolicy::reject_new, UserLimitPolicy::close_oldest);
  CheckedSim sim(options, 2);
  const auto bob = sim.member("bob", "r");
  const auto ann = sim.member("ann", "r");
  ann.stall();  // its network is gone, and nobody knows
  const auto executor = GENERATE(std::size_t{0}, std::size_t{1});
  auto dial = Dial().on(executor);
  SECTION("naming its session") {
    const auto again = sim.connect("ann", dial.back_for(ann.id()));
    again.resume_session(ann, {"r"});
    sim.run();
    CHECK(came_back(again));
    const auto third = sim.connect("ann", dial.back_for(ann.id()));  // by the id it keeps
    third.resume_session(again, {"r"});
    sim.run();
    CHECK(came_back(third));
  }
  SECTION("with its credentials in the resume") {
    const auto again = sim.connect("ann", dial.silent());
    again.resume_session(ann, {"r"}, "ann");
    sim.run();
    CHECK(came_back(again));
  }
  CHECK(sim.manager().connection_count() == 2);
  sim.advance(1s);
  CHECK(bob.rooms().at("r").lefts.empty());  // the others saw nothing of it
}

TEST_CASE("a full server, and a full address, let in who comes back for a connection that is there",
          "[limits][ghosts]") {
  Options options;
  const bool by_address = GENERATE(false, true);
  (by_address ? options.max_connections_per_ip : options.max_connections) = 2;
  CheckedSim sim(options, 2);
  auto here = Dial().from(RemoteAddress::v4(10, 0, 0, 1));
  const auto bob = sim.connect("bob", here);
  const auto ann = sim.connect("ann", here);
  bob.join("r");
  ann.join("r");
  sim.run();
  ann.stall();
  CHECK_FALSE(sim.connect("ann", here).is_open());
  const bool by_message = GENERATE(false, true);
  auto back = here;
  back.on(1).back_for(ann.id());
  if (by_message) back.silent();
  const auto again = sim.connect("ann", back);
  again.resume_session(ann, {"r"}, by_message ? "ann" : "");
  sim.run();
  CHECK(came_back(again));
  CHECK(sim.manager().metrics().reserved == 2);
  CHECK_FALSE(sim.connect("carl", here).is_open());
  bob.hang_up();
  again.hang_up();
  sim.run();
  CHECK(sim.connect("carl", here).is_open());
  CHECK(sim.connect("dan", here).is_open());
}

TEST_CASE("a place is lent to who proves to be its owner, and to one at a time", "[limits][ghosts]") {
  Options options;
  options.max_connections = 2;
  CheckedSim sim(options);
  const auto ann = sim.member("ann", "r");
  const auto bob = sim.connect("bob");
  const auto eve = sim.connect("eve", Dial().back_for(ann.id()));
  CHECK_FALSE(eve.is_open());
  REQUIRE(eve.pipe().answer());
  CHECK(describe(eve.pipe().answer()->reason).http_status == 503);
  CHECK_FALSE(sim.connect("eve", Dial().of("other").with("ann@other").back_for(ann.id())).is_open());
  CHECK_FALSE(sim.connect("eve", Dial().back_for(ConnectionId(12345))).is_open());
  const auto silent = sim.connect("?", Dial().silent().back_for(ann.id()));
  CHECK(silent.is_open());
  CHECK_FALSE(sim.connect("?", Dial().silent().back_for(ann.id())).is_open());
  CHECK(sim.manager().metrics().reserved == 3);
  sim.advance(options.auth_timeout + 1s);
  CHECK_FALSE(silent.is_open());
  CHECK(sim.manager().metrics().reserved == 2);
  CHECK(ann.is_open());
  CHECK(bob.is_open());
  const auto other = sim.connect("?", Dial().silent().back_for(ann.id()));
  other.authenticate("eve");
  sim.run();
  CHECK_FALSE(other.is_open());
  CHECK(ann.is_open());
}

TEST_CASE("who names a session and takes up none has ended its old connection all the same", "[limits][ghosts]") {
  Options options;
  options.max_connections_per_user = 1;
  CheckedSim sim(options);
  const auto ann = sim.member("ann", "r");
  const auto again = sim.connect("ann", Dial().back_for(ann.id()));
  again.join("r");
  sim.run();
  CHECK(again.is_open());
  CHECK_FALSE(ann.is_open());
  CHECK_FALSE(sim.connect("ann").is_open());
}

TEST_CASE("a resume that fails was a connection too many", "[limits][ghosts]") {
  Options options;
  options.max_connections_per_user = 1;
  options.user_limit_policy = GENERATE(UserLimitPolicy::reject_new, UserLimitPolicy::close_oldest);
  const bool newest_goes = options.user_limit_policy == UserLimitPolicy::reject_new;
  CheckedSim sim(options);
  const auto lost = sim.member("ann", "r");
  lost.hang_up(CloseReason::lost);
  const auto ann = sim.member("ann", "r");
  const auto way = GENERATE(0, 1, 2);
  const auto again = sim.connect("ann", Dial().silent());
  if (way == 0) again.resume_session("nobody's", {}, "ann");
  if (way == 1) sim.sessions->answer = Answer::unavailable();
  if (way == 1) again.resume_session(ann, {"r"}, "ann");
  if (way == 2) again.resume_session(lost, {"r"}, "ann");  // it has no connection to yield
  sim.run();
  sim.sessions->answer = Answer::now();
  CHECK(again.is_open() == !newest_goes);
  CHECK(ann.is_open() == newest_goes);
  if (newest_goes) CHECK(again.close_code() == 1008);
}

TEST_CASE("who is on trial yields to nobody, and nobody gets its place", "[limits][ghosts]") {
  Options options;
  options.max_connections_per_user = 1;
  options.user_limit_policy = UserLimitPolicy::close_oldest;
  CheckedSim sim(options);
  const auto ann = sim.member("ann", "r");
  sim.sessions->answer = Answer::never();
  const auto trial = sim.connect("ann", Dial().silent());
  trial.resume_session(ann, {"r"}, "ann");
  sim.run();
  sim.sessions->answer = Answer::now();
  const auto second = sim.connect("ann");
  const auto third = sim.connect("ann");
  CHECK_FALSE(ann.is_open());
  CHECK_FALSE(second.is_open());
  CHECK(third.is_open());
  REQUIRE(trial.is_open());
  SECTION("it goes") {
    trial.hang_up();
    sim.run();
    CHECK(third.is_open());
  }
  SECTION("its resume fails") {
    sim.advance(2 * options.answer_timeout + 1s);
    CHECK(trial.is_open());
    CHECK_FALSE(third.is_open());
  }
  CHECK(sim.manager().connection_count({"", "ann"}) == 1);
  const auto next = sim.connect("ann");
  CHECK(next.is_open());
  CHECK(sim.manager().connection_count({"", "ann"}) == 1);
}

TEST_CASE("a full room has a seat for who comes back to it", "[limits][ghosts]") {
  Options options;
  options.room.room_capacity = 1;
  CheckedSim sim(options, 2);
  const auto ann = sim.member("ann", "r");
  ann.stall();
  const auto again = sim.resume_session(ann, {"r"}, Dial().on(1));
  CHECK(came_back(again));
  CHECK(sim.member("bob", "r").error() == "room_full");
}

}  // namespace
}  // namespace muster::test
