// "Admission and limits", the rows about who comes in: at the limit, one beyond, and after the window.
#include <set>

#include "muster/core/registry/address_table.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

bool refused(const Client& client, int http_status) {
  const auto answer = client.pipe().answer();
  return answer && !answer->accepted && describe(answer->reason).http_status == http_status;
}

RemoteAddress v6(std::array<std::uint8_t, 16> bytes) {
  RemoteAddress address;
  address.bytes = bytes;
  address.text = "v6";
  return address;
}

TEST_CASE("max_connections: the last place is given, the next upgrade is refused 503 with Retry-After",
          "[limits][admission]") {
  Options options;
  options.max_connections = 3;
  CheckedSim sim(options);
  std::vector<Client> in;
  for (int i = 0; i < 3; ++i) in.push_back(sim.connect("in" + std::to_string(i)));
  for (const Client& client : in) CHECK(client.is_open());
  const auto out = sim.connect("out");
  CHECK(refused(out, 503));
  CHECK(out.pipe().answer()->error.retry_after > 0ms);
  CHECK(sim.manager().metrics().reserved == 3);
  in[0].hang_up();
  sim.run();
  CHECK(sim.connect("again").is_open());
  CHECK(refused(sim.connect("more"), 503));
}

TEST_CASE("max_connections: who is refused is told a time of its own to come again", "[limits][admission]") {
  Options options;
  options.max_connections = 1;
  CheckedSim sim(options);
  const auto in = sim.connect("in");
  std::set<std::chrono::milliseconds> times;
  for (int i = 0; i < 50; ++i) {
    const auto out = sim.connect("out" + std::to_string(i));
    REQUIRE(refused(out, 503));
    times.insert(out.pipe().answer()->error.retry_after);
  }
  CHECK(times.size() > 25);
  CHECK(*times.rbegin() <= options.reconnect_window);
}

TEST_CASE("max_connections: a place is reserved at accept, before anybody says who they are", "[limits][admission]") {
  Options options;
  options.max_connections = 2;
  CheckedSim sim(options);
  {
    const Reservation first = sim.manager().reserve({}, sim.now());
    const Reservation second = sim.manager().reserve({}, sim.now());
    CHECK(first);
    CHECK(second);
    const Reservation third = sim.manager().reserve({}, sim.now());
    CHECK_FALSE(third);
    CHECK(third.refusal() == CloseReason::over_capacity);
    CHECK(refused(sim.connect("ann"), 503));
  }
  CHECK(sim.connect("ann").is_open());
}

TEST_CASE("max_connections_per_ip: as many as the limit, the next 429, and again when one has gone",
          "[limits][admission]") {
  Options options;
  options.max_connections_per_ip = 2;
  options.connect_rate_per_ip = 0;
  CheckedSim sim(options);
  const auto here = RemoteAddress::v4(10, 0, 0, 1);
  const auto first = sim.connect("a", Dial().from(here));
  CHECK(sim.connect("b", Dial().from(here)).is_open());
  CHECK(refused(sim.connect("c", Dial().from(here)), 429));
  CHECK(sim.connect("d", Dial().from(RemoteAddress::v4(10, 0, 0, 2))).is_open());
  first.hang_up();
  sim.run();
  CHECK(sim.connect("e", Dial().from(here)).is_open());
  CHECK(sim.manager().metrics().refused_per_ip == 1);
}

TEST_CASE("an address that begins with zeros is an address, and none is none", "[limits][admission]") {
  Options options;
  options.max_connections_per_ip = 2;
  options.connect_rate_per_ip = 3;
  CheckedSim sim(options);
  const auto loopback = v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});  // ::1
  std::vector<Client> in;
  for (int i = 0; i < 5; ++i) in.push_back(sim.connect("here" + std::to_string(i), Dial().from(loopback)));
  CHECK(std::count_if(in.begin(), in.end(), [](const Client& one) { return one.is_open(); }) == 2);
  CHECK(refused(in.back(), 429));
  in.front().hang_up();
  sim.run();
  CHECK(sim.connect("third", Dial().from(loopback)).is_open());
  in[1].hang_up();
  sim.run();
  CHECK(refused(sim.connect("fourth", Dial().from(loopback)), 429));  // by the rate
  for (int i = 0; i < 5; ++i) CHECK(sim.connect("nowhere" + std::to_string(i)).is_open());
}

TEST_CASE("connects per IP: 2 per 60 s, the third refused 429 with Retry-After, allowed again after expiry",
          "[limits][admission]") {
  Options options;
  options.connect_rate_per_ip = 2;
  options.connect_rate_window = 60s;
  options.heartbeat = 0s;
  CheckedSim sim(options);
  const auto dial = Dial().from(RemoteAddress::v4(10, 0, 0, 1));
  CHECK(sim.connect("a", dial).is_open());
  sim.advance(20s);
  CHECK(sim.connect("b", dial).is_open());
  for (int i = 0; i < 5; ++i) {  // refused attempts are not counted
    const auto third = sim.connect("c", dial);
    CHECK(refused(third, 429));
    CHECK(third.pipe().answer()->error.retry_after == 40s);
  }
  sim.advance(39s);
  CHECK(refused(sim.connect("d", dial), 429));
  sim.advance(1s);  // the first has left the window, the second has not
  CHECK(sim.connect("e", dial).is_open());
  CHECK(refused(sim.connect("f", dial), 429));
  sim.advance(20s);
  CHECK(sim.connect("g", dial).is_open());
  CHECK(sim.manager().metrics().refused_rate == 7);
}

TEST_CASE("connects per IP: a v4-mapped address is the v4 one, an IPv6 host is its /64", "[limits][admission]") {
  Options options;
  options.connect_rate_per_ip = 1;
  CheckedSim sim(options);
  const auto v4 = RemoteAddress::v4(192, 0, 2, 7);
  CHECK(v4.bytes[10] == 0xff);  // held as mapped
  CHECK(sim.connect("a", Dial().from(v4)).is_open());
  CHECK(refused(sim.connect("b", Dial().from(v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7}))), 429));
  CHECK(sim.connect("c", Dial().from(v6({0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 1}))).is_open());
  CHECK(refused(sim.connect("d", Dial().from(v6({0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 2, 3, 4, 5}))), 429));
  CHECK(sim.connect("e", Dial().from(v6({0x20, 1, 0xd, 0xb8, 0, 0, 0, 2, 1}))).is_open());
}

core::AddressTable::Bytes numbered(std::uint32_t i) {
  core::AddressTable::Bytes made{0x20, 1};
  for (std::size_t b = 0; b < 4; ++b) made[2 + b] = static_cast<std::uint8_t>(i >> (8 * b));
  return made;
}

TEST_CASE("connects per IP: expired entries are pruned, and the table is bounded", "[limits][admission]") {
  Options options;
  options.connect_rate_window = 60s;
  options.connect_rate_per_ip = 2;
  core::AddressTable table(3000);  // a thousand hosts of networks of their own
  const TimePoint start{};
  for (std::uint32_t i = 0; i < 50'000; ++i) REQUIRE(table.count_connect(numbered(i), options, start + 1s) == 0ms);
  CHECK(table.size() == 3000);
  // Whoever comes has not to wait for the others; who is remembered is counted on.
  CHECK(table.count_connect(numbered(70'000), options, start + 2s) == 0ms);
  CHECK(table.count_connect(numbered(49'999), options, start + 2s) == 0ms);
  CHECK(table.count_connect(numbered(49'999), options, start + 2s) == 59s);
  CHECK(table.size() == 3000);
  table.prune(options, start + 62s);
  table.prune(options, start + 62s);
  table.prune(options, start + 62s);
  CHECK(table.size() == 0);
}

TEST_CASE("connects per IP: a full table takes no longer for whoever comes", "[limits][admission]") {
  Options options;
  options.connect_rate_per_ip = 2;
  core::AddressTable table;
  // Milliseconds for each, as of a table that is searched, would be more than a test may take.
  for (std::uint32_t i = 0; i < 200'000; ++i)
    REQUIRE(table.count_connect(numbered(i), options, TimePoint{} + 1s) == 0ms);
  CHECK(table.size() < 200'000);
}

TEST_CASE("connects per IP: an address with a socket is not forgotten", "[limits][admission]") {
  Options options;
  options.max_connections_per_ip = 1;
  core::AddressTable table(3);
  REQUIRE(table.take_place(numbered(1), options));
  for (std::uint32_t i = 2; i < 100; ++i) REQUIRE(table.count_connect(numbered(i), options, TimePoint{} + 1s) == 0ms);
  CHECK_FALSE(table.take_place(numbered(1), options));
  table.release(numbered(1), options);
  CHECK(table.take_place(numbered(1), options));
  table.release(numbered(1), options);
}

TEST_CASE("connects per IP: what no limit counts is not remembered", "[limits][admission]") {
  Options options;
  options.max_connections_per_ip = options.connect_rate_per_ip = 0;
  core::AddressTable table;
  REQUIRE(table.take_place(numbered(1), options));
  REQUIRE(table.count_connect(numbered(1), options, TimePoint{} + 1s) == 0ms);
  CHECK(table.size() == 0);
  table.release(numbered(1), options);
}

TEST_CASE("connects per IP: a /56 may have 4 times, a /48 16 times what a /64 may", "[limits][admission]") {
  Options options;
  options.max_connections_per_ip = 2;
  options.connect_rate_per_ip = 2;
  core::AddressTable table;
  const auto host = [](std::uint8_t net56, std::uint8_t net64) {
    return core::AddressTable::Bytes{0x20, 1, 0xd, 0xb8, 0, 1, net56, net64};
  };
  std::size_t connects = 0;
  std::size_t places = 0;
  for (std::uint8_t net64 = 0; net64 < 20; ++net64) {
    for (int i = 0; i < 3; ++i) {
      connects += table.count_connect(host(0, net64), options, TimePoint{} + 1s) == 0ms ? 1 : 0;
      places += table.take_place(host(0, net64), options) ? 1 : 0;
    }
  }
  CHECK(connects == 8);
  CHECK(places == 8);
  for (std::uint8_t net56 = 1; net56 < 20; ++net56) {
    for (std::uint8_t net64 = 0; net64 < 8; ++net64) {
      connects += table.count_connect(host(net56, net64), options, TimePoint{} + 1s) == 0ms ? 1 : 0;
      places += table.take_place(host(net56, net64), options) ? 1 : 0;
    }
  }
  CHECK(connects == 32);
  CHECK(places == 32);
}

TEST_CASE("connects per IP: who resumes is not counted, so that an office comes back at once", "[limits][admission]") {
  Options options;
  options.connect_rate_per_ip = 3;
  options.connect_rate_window = 10min;
  options.heartbeat = 0s;
  CheckedSim sim(options);
  const auto dial = Dial().from(RemoteAddress::v4(10, 0, 0, 1));
  std::vector<Client> office;
  for (int i = 0; i < 3; ++i) office.push_back(sim.connect("u" + std::to_string(i), dial));
  sim.advance(11min);
  for (int round = 0; round < 4; ++round) {  // twelve comebacks in a window for three
    for (auto& one : office) {
      one.hang_up(CloseReason::lost);
      sim.run();
      one = sim.resume_session(one, {}, dial);
      REQUIRE(one.last("resumed"));
    }
  }
  for (int i = 0; i < 3; ++i) CHECK(sim.connect("new" + std::to_string(i), dial).is_open());
  CHECK(refused(sim.connect("more", dial), 429));
}

TEST_CASE("max_connections_per_user: as many as the limit, then reject_new", "[limits][admission]") {
  Options options;
  options.max_connections_per_user = 2;
  CheckedSim sim(options);
  const auto first = sim.connect("ann");
  CHECK(sim.connect("ann").is_open());
  CHECK(refused(sim.connect("ann"), 429));
  CHECK(sim.connect("ann", Dial().of("elsewhere")).is_open());
  first.hang_up();
  sim.run();
  CHECK(sim.connect("ann").is_open());
}

TEST_CASE("a pre-auth flood: pre_auth_messages and pre_auth_bytes pass, one more closes 1008", "[limits][admission]") {
  Options options;
  const bool by_bytes = GENERATE(false, true);
  options.pre_auth_messages = by_bytes ? 100 : 3;
  options.pre_auth_bytes = by_bytes ? 300 : 100'000;
  CheckedSim sim(options);
  const auto ann = sim.connect("ann", Dial().silent());
  sim.authenticator->answer = Answer::never();  // so that what follows the first waits
  const std::string token = std::string(60, 't');
  for (int i = 0; i < 3; ++i) ann.authenticate(token).raw("");
  sim.run();
  CHECK(ann.close_code() == 1008);
  const auto bob = sim.connect("bob", Dial().silent());
  bob.authenticate(token);
  sim.run();
  CHECK(bob.close_code() == 0);
}

TEST_CASE("a limit of 0 is no limit for who comes in", "[limits][admission]") {
  Options options;
  options.max_connections = options.max_connections_per_ip = options.connect_rate_per_ip = 0;
  options.heartbeat = 0s;
  CheckedSim sim(options);
  const auto here = Dial().from(RemoteAddress::v4(10, 0, 0, 1));
  for (int i = 0; i < 200; ++i) sim.dial("c" + std::to_string(i), here);
  sim.run();
  CHECK(sim.manager().connection_count() == 200);
}

TEST_CASE("connects per IP: who finds no place is not counted, who brings a bad token is", "[limits][admission]") {
  Options options;
  options.connect_rate_per_ip = 2;
  options.max_connections_per_ip = 1;
  CheckedSim sim(options);
  sim.authenticator->decide = [](const Credentials& offered) {
    return offered.token == "bad" ? reject() : accept(offered.token);
  };
  const auto dial = Dial().from(RemoteAddress::v4(10, 0, 0, 1));
  const auto in = sim.connect("in", dial);
  for (int i = 0; i < 5; ++i) CHECK(refused(sim.connect("out", dial), 429));
  CHECK(sim.manager().metrics().refused_per_ip == 5);
  in.hang_up(CloseReason::normal);
  sim.advance(1s);
  CHECK(refused(sim.connect("bad", dial), 401));
  CHECK(refused(sim.connect("good", dial), 429));
  CHECK(sim.manager().metrics().refused_rate == 1);
}

}  // namespace
}  // namespace muster::test
