// /metrics: the text that Prometheus reads.
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "server/metrics_text.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::ContainsSubstring;

TEST_CASE("the text has HELP and TYPE before the lines of each metric, each once", "[metrics]") {
  const std::string text = muster_server::metrics_text({}, true);
  REQUIRE(text.back() == '\n');
  const std::regex sample(R"re((muster_[a-z_]+)(\{[a-z]+="[A-Za-z0-9_.]+"\})? ([0-9]+))re");
  std::set<std::string> started;
  std::set<std::string> samples;
  std::string current;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    std::smatch match;
    if (line.rfind("# HELP ", 0) == 0) {
      current = line.substr(7, line.find(' ', 7) - 7);
      CHECK(started.insert(current).second);
      std::getline(lines, line);
      const bool counts = current.size() > 6 && current.compare(current.size() - 6, 6, "_total") == 0;
      CHECK(line == "# TYPE " + current + (counts ? " counter" : " gauge"));
    } else {
      REQUIRE(std::regex_match(line, match, sample));
      CHECK(match[1] == current);
      CHECK(samples.insert(match[1].str() + match[2].str()).second);
    }
  }
  CHECK(samples.size() > 40);
}

TEST_CASE("each value stands under its name", "[metrics]") {
  muster::Metrics metrics;
  metrics.connections = 3;
  metrics.rooms = 2;
  metrics.users = 4;
  metrics.connections_total = 18446744073709551615U;
  metrics.messages_in = 7;
  metrics.refused_per_ip = 5;
  metrics.closed[static_cast<std::size_t>(muster::CloseReason::slow_consumer)] = 6;
  const std::string text = "\n" + muster_server::metrics_text(metrics, false);
  for (const char* line :
       {"\nmuster_connections 3\n", "\nmuster_rooms 2\n", "\nmuster_users 4\n",
        "\nmuster_connections_total 18446744073709551615\n", "\nmuster_messages_in_total 7\n",
        "\nmuster_refused_total{reason=\"per_ip\"} 5\n", "\nmuster_closed_total{reason=\"slow_consumer\"} 6\n",
        "\nmuster_closed_total{reason=\"normal\"} 0\n", "\nmuster_ready 0\n"}) {
    CHECK_THAT(text, ContainsSubstring(line));
  }
}
