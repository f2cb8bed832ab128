// What the system is let keep for a peer that reads slowly or not at all.

#include "websocketpp/certificate.hpp"
#include "websocketpp/fixture.hpp"

using namespace muster;
using test::Fixture;
using test::RawClient;

namespace {

/// A peer that reads nothing, and has been written to until that waits; how much that took.
struct Stalled {
  explicit Stalled(muster::websocketpp::ListenerOptions options, bool tls = false)
      : f({}, std::move(options)), client(f.open({}, tls, 4096)) {
    client.stall(true);
    WriteResult result = WriteResult::done;
    while (result == WriteResult::done && taken < 16'000'000) {
      result = f.manager->write(0, std::string(batch, 'x'));
      taken += batch;
    }
    REQUIRE(result == WriteResult::pending);
    f.settle();
  }

  static constexpr std::size_t batch = 16'000;
  Fixture f;
  RawClient& client;
  std::size_t taken = 0;
};

}  // namespace

TEST_CASE("the system keeps little for a peer that does not read, and it is told", "[websocketpp][unsent]") {
  const test::Certificate certificate;
  const bool tls = GENERATE(false, true);
  muster::websocketpp::ListenerOptions options;
  if (tls) {
    options.tls_certificate_file = certificate.certificate_file;
    options.tls_key_file = certificate.key_file;
  }
  Stalled stalled(options, tls);
  CHECK(stalled.taken < 200'000);
  const auto unsent = stalled.f.seen()->transport->unsent();
  REQUIRE(unsent);
  CHECK(*unsent > 0);
  CHECK(*unsent < options.unsent_low_water_bytes + 64 * 1024 + Stalled::batch);
  // And nothing once the peer has all.
  stalled.client.stall(false);
  CHECK(stalled.f.until([&] { return stalled.f.seen()->writables == 1; }));
  CHECK(stalled.f.seen()->transport->unsent() == 0U);
}

TEST_CASE("without a low water mark the system keeps what it likes", "[websocketpp][unsent]") {
  muster::websocketpp::ListenerOptions options;
  options.unsent_low_water_bytes = 0;
  Stalled stalled(options);
  CHECK(stalled.taken > 200'000);
  CHECK(stalled.f.seen()->transport->unsent() > 200'000U);
}
