// muster on the port of a plain Asio program: it starts, serves, leaves the program what is its own, and stops.
#include "own_port.hpp"

TEST_CASE("adopt serves its path on the program's port, and the program's own stays", "[adopt]") {
  muster::test::check_own_port(MUSTER_ADOPT);
}
