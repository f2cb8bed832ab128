// /metrics: the text that Prometheus reads.
#include <chrono>
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
  const std::regex sample(R"re((muster_[a-z_]+)(\{[a-z]+="[A-Za-z0-9_.+]+"\})? ([0-9]+))re");
  const std::regex of_histogram("_(bucket|sum|count)$");
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
      const auto ends_in = [&](const std::string& end) {
        return current.size() > end.size() && current.compare(current.size() - end.size(), end.size(), end) == 0;
      };
      CHECK(line == "# TYPE " + current +
                        (ends_in("_total")     ? " counter"
                         : ends_in("_seconds") ? " histogram"
                                               : " gauge"));
    } else {
      REQUIRE(std::regex_match(line, match, sample));
      const bool histogram = current.size() > 8 && current.compare(current.size() - 8, 8, "_seconds") == 0;
      CHECK((histogram ? std::regex_replace(match[1].str(), of_histogram, "") : match[1].str()) == current);
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

TEST_CASE("a histogram has its buckets one in another, in seconds, its sum and its count", "[metrics]") {
  using namespace std::chrono_literals;
  muster::Metrics metrics;
  metrics.handler_time.counts.front() = 5;
  metrics.handler_time.counts[1] = 2;
  metrics.handler_time.counts.back() = 1;
  metrics.handler_time.sum = 12s + 34567ns;
  const std::string text = "\n" + muster_server::metrics_text(metrics, true);
  for (const char* line :
       {"\n# TYPE muster_handler_seconds histogram\nmuster_handler_seconds_bucket{le=\"0.00001\"} 5\n",
        "\nmuster_handler_seconds_bucket{le=\"0.00002\"} 7\nmuster_handler_seconds_bucket{le=\"0.00005\"} 7\n",
        "\nmuster_handler_seconds_bucket{le=\"1\"} 7\n", "\nmuster_handler_seconds_bucket{le=\"10\"} 7\n",
        "\nmuster_handler_seconds_bucket{le=\"+Inf\"} 8\nmuster_handler_seconds_sum 12.000034567\n",
        "\nmuster_handler_seconds_count 8\n", "\nmuster_loop_lag_seconds_sum 0\n"}) {
    CHECK_THAT(text, ContainsSubstring(line));
  }
}
