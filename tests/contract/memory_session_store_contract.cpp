// MemorySessionStore keeps the promises of a SessionStore, however late its answers come; and its own bounds.
#include "contract/session_store_contract.hpp"
#include "muster/core/base/sha256.hpp"
#include "muster/memory/memory_session_store.hpp"
#include "support/delayed.hpp"

using namespace muster;

namespace {

class Prompt final : public test::SessionStoreFixture {
 public:
  SessionStore& seam() override { return store_; }

 private:
  MemorySessionStore store_;
};

/// Answers wait, and come when the asker waits for them: in another thread, or the last one first.
class Late final : public test::SessionStoreFixture {
 public:
  explicit Late(bool backwards) : backwards_(backwards) { gate_->hold(); }
  SessionStore& seam() override { return store_; }
  bool run_until(const std::function<bool()>& done) override {
    while (!done()) {
      if ((backwards_ ? gate_->release_backwards() : gate_->release_elsewhere()) == 0) return false;
    }
    return true;
  }
  bool fail(bool fails) override {
    gate_->fail(fails);
    return true;
  }
  ~Late() override { gate_->drop(); }

 private:
  const bool backwards_;
  const std::shared_ptr<test::Gate> gate_ = std::make_shared<test::Gate>();
  test::DelayedSessionStore store_{std::make_shared<MemorySessionStore>(), gate_};
};

Result<void> save(MemorySessionStore& store, const std::string& hash, ConnectionId id, TimePoint at,
                  TimePoint expires) {
  return test::ask_now<Result<void>>([&](auto done) {
    store.save(hash, Session{id, {"acme", "ann"}, 1, {}, {}}, at, expires, done);
  });
}
Result<Queued> enqueue(MemorySessionStore& store, const UserKey& user, std::size_t size, TimePoint at) {
  return test::ask_now<Result<Queued>>([&](auto done) {
    store.enqueue(user, {0, text(std::string(size, 'x'))}, QueueLimits{}, at, done);
  });
}
const TimePoint start = TimePoint{} + std::chrono::hours(1000);

}  // namespace

TEST_CASE("MemorySessionStore is a session store", "[contract][session]") {
  test::session_store_contract([] { return std::make_unique<Prompt>(); });
}
TEST_CASE("MemorySessionStore that answers late and from another thread is a session store", "[contract][session]") {
  test::session_store_contract([] { return std::make_unique<Late>(false); });
}
TEST_CASE("MemorySessionStore whose answers come in another order is a session store", "[contract][session]") {
  test::session_store_contract([] { return std::make_unique<Late>(true); });
}

TEST_CASE("MemorySessionStore refuses sessions beyond its bound, after dropping what expired", "[session][limits]") {
  MemorySessionLimits limits;
  limits.sessions = 2;
  MemorySessionStore store(limits);
  REQUIRE(save(store, "h1", ConnectionId(1), start, start + std::chrono::minutes(1)));
  REQUIRE(save(store, "h2", ConnectionId(2), start, start + std::chrono::minutes(5)));
  const auto refused = save(store, "h3", ConnectionId(3), start, start + std::chrono::minutes(5));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::unavailable);
  CHECK(save(store, "h2", ConnectionId(2), start, start + std::chrono::minutes(5)));
  CHECK(save(store, "h3", ConnectionId(3), start + std::chrono::minutes(1), start + std::chrono::minutes(5)));
  CHECK(store.session_count() == 2);
}

TEST_CASE("MemorySessionStore counts sessions that were taken until they expire", "[session][limits]") {
  MemorySessionLimits limits;
  limits.sessions = 1;
  MemorySessionStore store(limits);
  REQUIRE(save(store, "h1", ConnectionId(1), start, start + std::chrono::minutes(1)));
  REQUIRE(test::ask_now<Result<Session>>([&](auto done) {
    store.take("h1", {"acme", "ann"}, ConnectionId(1), start, done);
  }));
  CHECK_FALSE(save(store, "h2", ConnectionId(2), start, start + std::chrono::minutes(1)));
  CHECK(save(store, "h2", ConnectionId(2), start + std::chrono::minutes(1), start + std::chrono::minutes(2)));
}

TEST_CASE("MemorySessionStore tells any two token hashes apart", "[session]") {
  const std::string digits = core::to_hex(core::sha256("a token"));
  std::vector<std::string> hashes{digits, digits.substr(1), digits + "0", "", "a token", "A token"};
  hashes.push_back(core::to_hex(core::sha256("")));
  for (std::size_t i = 0; i < digits.size(); i += 7) {
    std::string other = digits;
    other[i] = other[i] == '0' ? '1' : '0';
    hashes.push_back(other);
    other[i] = "ABFGag/:`"[i / 7 % 9];
    if (other != digits) hashes.push_back(other);
  }
  // As long as a digest, and none: two that differ in nothing but what is no digit.
  hashes.emplace_back(digits.size(), 'g');
  hashes.emplace_back(digits.size(), 'h');
  MemorySessionStore store;
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    REQUIRE(save(store, hashes[i], ConnectionId(i + 1), start, start + std::chrono::minutes(1)));
  }
  CHECK(store.session_count() == hashes.size());
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    const auto taken = test::ask_now<Result<Session>>([&](auto done) {
      store.take(hashes[i], {"acme", "ann"}, ConnectionId(99), start, done);
    });
    REQUIRE(taken);
    CHECK(taken.value().id == ConnectionId(i + 1));
  }
}

TEST_CASE("MemorySessionStore bounds the bytes of all queues, and of each tenant's", "[session][limits]") {
  MemorySessionLimits limits;
  limits.queued_bytes = 3 * 1128;
  limits.queued_bytes_per_tenant = 2 * 1128;
  MemorySessionStore store(limits);
  REQUIRE(enqueue(store, {"acme", "ann"}, 1000, start));
  REQUIRE(enqueue(store, {"acme", "bob"}, 1000, start + std::chrono::hours(1)));
  const auto refused = enqueue(store, {"acme", "eve"}, 0, start + std::chrono::hours(1));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::unavailable);
  REQUIRE(enqueue(store, {"globex", "zoe"}, 1000, start + std::chrono::hours(1)));
  CHECK_FALSE(enqueue(store, {"globex", "zoe"}, 1000, start + std::chrono::hours(1)));
  CHECK(store.queued_count() == 3);
  SECTION("what was acknowledged gives its place back") {
    REQUIRE(test::ask_now<Result<void>>([&](auto done) { store.acknowledge({{"acme", "bob"}}, 1000, done); }));
    CHECK(store.queued_count() == 2);
    CHECK(enqueue(store, {"globex", "zoe"}, 1000, start + std::chrono::hours(1)));
  }
  SECTION("what is acknowledged ends with the last session that lacks it") {
    constexpr ConnectionId phone(7);
    REQUIRE(save(store, "hash of phone", phone, start, start + std::chrono::minutes(1)));
    const auto acknowledge = [&](ConnectionId session) {
      return test::ask_now<Result<void>>([&](auto done) { store.acknowledge({{"acme", "ann"}, session}, 1000, done); });
    };
    REQUIRE(acknowledge({}));
    CHECK(store.queued_count() == 3);
    const auto way = GENERATE(0, 1, 2, 3);
    if (way == 0) REQUIRE(acknowledge(phone));
    if (way == 1) REQUIRE(test::ask_now<Result<void>>([&](auto done) { store.forget("hash of phone", done); }));
    if (way == 2)
      REQUIRE(test::ask_now<Result<std::size_t>>([&](auto done) { store.revoke({"acme", "ann", {}}, done); }));
    if (way == 3) CHECK(enqueue(store, {"globex", "eve"}, 0, start + std::chrono::minutes(1)));  // it has expired
    CHECK(store.queued_count() == (way == 3 ? 3 : 2));
  }
  SECTION("so does what has expired, whoever it was for") {
    CHECK(enqueue(store, {"globex", "zoe"}, 1000, start + std::chrono::hours(24)));
    CHECK(store.queued_count() == 3);
  }
}
