// A port that is taken: every example says so in one line, and ends.
#include <string>

#include "process.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::ContainsSubstring;
using muster::test::Ended;
using muster::test::EndsWith;
using muster::test::Process;

TEST_CASE("a port that is taken is told in one line", "[examples]") {
  const std::string example = GENERATE(as<std::string>(), MUSTER_CHAT, MUSTER_EMBED, MUSTER_ATTACH, MUSTER_DOCUMENTS,
                                       MUSTER_ROUTER, MUSTER_DEVICES, MUSTER_SOCIAL, MUSTER_SERVER);
  INFO(example);
  Process first({MUSTER_CHAT, "0"});
  const std::string port = std::to_string(first.port());
  const bool has_flags = example == MUSTER_SERVER;
  const Ended second =
      has_flags ? Process({example, "--auth", "anonymous", "--port", port}).wait() : Process({example, port}).wait();
  CHECK(second.exit_code == (has_flags ? 2 : 1));
  CHECK(second.out.empty());
  CHECK_THAT(second.err,
             ContainsSubstring("cannot listen on 127.0.0.1:" + port) && EndsWith("Address already in use\n"));
  CHECK(second.err.find('\n') == second.err.size() - 1);
}
