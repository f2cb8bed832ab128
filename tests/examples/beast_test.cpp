// muster on the port of a Boost.Beast server: as adopt_test.cpp, and after other requests of the same connection.
#include "own_port.hpp"

TEST_CASE("beast serves its path on Beast's port, and Beast's own stays", "[beast]") {
  muster::test::check_own_port(MUSTER_BEAST);
}

TEST_CASE("beast hands over a connection that has asked for pages before", "[beast]") {
  muster::test::Process beast({MUSTER_BEAST, "0"});
  const muster::test::Socket bob(beast.port());
  bob.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n" +
            muster::test::upgrade_in_a_hurry());  // all in one
  const std::string heard = muster::test::read_until(bob, "room_joined");
  CHECK(heard.rfind("HTTP/1.1 200 OK", 0) == 0);
  CHECK_THAT(heard, muster::test::ContainsSubstring("own page\nHTTP/1.1 200 OK") &&
                        muster::test::ContainsSubstring("own page\nHTTP/1.1 101 "));
}
