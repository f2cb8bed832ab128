// muster beside a pool of threads: work is done there, and answered.
#include <csignal>
#include <string>

#include "process.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::Process;

TEST_CASE("pool answers from its own threads while the connection goes on", "[pool]") {
  Process pool({MUSTER_POOL, "0"});
  Client ann(pool.port());
  ann.receive("connection_ack");
  for (int i = 0; i < 50; ++i) ann.send(R"({"type":"factors","payload":{"of":1001}})");
  ann.send(R"({"type":"ping","id":1,"payload":{}})");
  for (int i = 0; i < 50; ++i) {
    CHECK_THAT(ann.receive(R"("number":1001)"), ContainsSubstring(R"("factors":[7,11,13])"));
  }
  pool.signal(SIGTERM);
  CHECK(ann.close_code() == 1001);
  const auto ended = pool.wait();
  CHECK(ended.exit_code == 0);
  CHECK(ended.err.empty());
}
