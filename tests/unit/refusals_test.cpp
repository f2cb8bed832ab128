// Refusals: each counted by its reason, and logged once for its reason and address in a window.
#include <algorithm>
#include <string>
#include <vector>

#include "muster/auth/allow_all.hpp"
#include "muster/auth/allow_anonymous.hpp"
#include "muster/core/base/log_window.hpp"
#include "muster/muster.hpp"
#include "muster/protocols/json_protocol.hpp"
#include "muster/testing/manual_executor.hpp"
#include "muster/testing/memory_transport.hpp"
#include "support/catch.hpp"

namespace muster::test {
namespace {

using namespace std::chrono_literals;

class Lines final : public Observer {
 public:
  void log(LogLevel level, std::string_view message) override {
    CHECK(level == LogLevel::info);
    lines.emplace_back(message);
  }
  std::vector<std::string> lines;
};

struct Refusing {
  std::shared_ptr<Lines> log = std::make_shared<Lines>();
  std::shared_ptr<IConnectionManager> manager = [this] {
    Components components;
    components.protocols = {std::make_shared<JsonProtocol>()};
    components.observer = log;
    return make_connection_manager({}, std::make_shared<AllowAnonymous>(), std::make_shared<AllowAll>(),
                                   std::move(components));
  }();
  TimePoint now{1h};

  void refuse(RefusedFor reason, const RemoteAddress& address, const std::string& what = "because") {
    manager->refused(reason, address, what, now);
  }
  std::vector<std::string> said() { return std::exchange(log->lines, {}); }
};

const auto here = RemoteAddress::v4(10, 0, 0, 1);
const auto there = RemoteAddress::v4(10, 0, 0, 2);

}  // namespace

TEST_CASE("a refusal is counted each time, and logged once for each reason and address in a window", "[refusals]") {
  Refusing r;
  for (int i = 0; i < 3; ++i) r.refuse(RefusedFor::host, here, "the Host is not known");
  r.refuse(RefusedFor::origin, here);
  r.refuse(RefusedFor::host, there);
  r.refuse(RefusedFor::request, {});
  CHECK(r.said() == std::vector<std::string>{"refused 10.0.0.1 (host): the Host is not known",
                                             "refused 10.0.0.1 (origin): because", "refused 10.0.0.2 (host): because",
                                             "refused a peer (request): because"});
  r.now += 59s;
  r.refuse(RefusedFor::host, here);
  CHECK(r.said().empty());
  r.now += 1s;
  r.refuse(RefusedFor::host, here);
  CHECK(r.said().size() == 1);
  const Metrics metrics = r.manager->metrics();
  CHECK(metrics.refused_host == 6);
  CHECK(metrics.refused_origin == 1);
  CHECK(metrics.refused_request == 1);
  CHECK(metrics.refused_path == 0);
}

TEST_CASE("a limit's line names its option, and what to do for a proxy", "[refusals]") {
  Refusing r;
  r.refuse(RefusedFor::capacity, here);
  r.refuse(RefusedFor::per_ip, here);
  r.refuse(RefusedFor::rate, here);
  const auto lines = r.said();
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].find("max_connections") != std::string::npos);
  for (int i : {1, 2}) CHECK(lines[static_cast<std::size_t>(i)].find("trusted_proxies") != std::string::npos);
}

TEST_CASE("whoever is refused from many addresses gets few lines, and how many are left out is said", "[refusals]") {
  Refusing r;
  for (unsigned i = 0; i < 1000; ++i) {
    r.refuse(RefusedFor::rate,
             RemoteAddress::v4(10, 1, static_cast<std::uint8_t>(i >> 8U), static_cast<std::uint8_t>(i & 0xffU)));
  }
  CHECK(r.said().size() == core::LogWindow<int>::most_lines);
  CHECK(r.manager->metrics().refused_rate == 1000);
  r.now += 60s;
  r.refuse(RefusedFor::rate, here);
  const auto lines = r.said();
  REQUIRE(lines.size() == 2);
  CHECK(lines[0] == "800 refusals of the last minute have no line of their own");
}

TEST_CASE("a place that is refused is no refusal until somebody is turned away for it", "[refusals]") {
  Refusing r;
  Options options;
  std::vector<Reservation> places;
  for (std::size_t i = 0; i <= options.max_connections_per_ip; ++i) places.push_back(r.manager->reserve(here, r.now));
  CHECK_FALSE(places.back());
  CHECK(places.back().refused_for() == RefusedFor::per_ip);
  CHECK(r.manager->metrics().refused_per_ip == 0);
  CHECK(r.said().empty());
}

TEST_CASE("what connects, is delivered and goes is logged nowhere", "[refusals]") {
  Refusing r;
  const auto executor = std::make_shared<ManualExecutor>();
  std::vector<std::shared_ptr<MemoryTransport>> pipes;
  for (int i = 0; i < 3; ++i) {
    pipes.push_back(std::make_shared<MemoryTransport>(executor));
    REQUIRE(pipes.back()->open(r.manager, {}));
    pipes.back()->receive(R"({"type":"join","payload":{"room":"r"}})");
  }
  executor->run_ready();
  for (int i = 0; i < 50; ++i) pipes[0]->receive(R"({"type":"publish","payload":{"room":"r","data":1}})");
  executor->run_ready();
  CHECK(r.manager->metrics().deliveries == 100);
  for (const auto& pipe : pipes) pipe->hang_up(CloseReason::lost);
  executor->advance(10min);
  CHECK(r.manager->metrics().connections == 0);
  CHECK(r.said().empty());
}

}  // namespace muster::test
