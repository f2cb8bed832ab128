// MemoryRoomLog keeps the promises of a RoomLog, and its own bounds.
#include "contract/room_log_contract.hpp"
#include "muster/memory/memory_room_log.hpp"

using namespace muster;

namespace {

class Fixture final : public test::RoomLogFixture {
 public:
  RoomLog& seam() override { return log_; }

 private:
  MemoryRoomLog log_;
};

Result<LogSize> append(MemoryRoomLog& log, const RoomKey& room, std::size_t bytes) {
  return test::ask_now<Result<LogSize>>([&](auto done) { log.append(room, binary(std::string(bytes, 'x')), done); });
}
Result<LogSize> replace(MemoryRoomLog& log, const RoomKey& room, std::uint64_t through, std::size_t bytes) {
  return test::ask_now<Result<LogSize>>(
      [&](auto done) { log.replace(room, through, binary(std::string(bytes, 'x')), done); });
}
bool fails_with(const Result<LogSize>& result, errc code) { return !result && result.error().code == code; }

const RoomKey doc{"acme", "doc:1"};
const RoomKey other{"acme", "doc:2"};

}  // namespace

TEST_CASE("MemoryRoomLog is a room log", "[contract][log]") {
  test::room_log_contract([] { return std::make_unique<Fixture>(); });
}

TEST_CASE("a full room log is too large until its updates are replaced by their sum", "[log]") {
  MemoryRoomLog log({1000, 0});
  REQUIRE(append(log, doc, 400));
  const auto second = append(log, doc, 400);
  REQUIRE(second);
  CHECK(log.bytes() == 928);
  CHECK(fails_with(append(log, doc, 9), errc::too_large));
  CHECK(append(log, other, 900));
  CHECK(fails_with(append(log, other, 2000), errc::too_large));
  CHECK(fails_with(replace(log, doc, second.value().last_offset, 937), errc::too_large));
  CHECK(log.bytes() == 928 + 964);
  REQUIRE(replace(log, doc, second.value().last_offset, 500));
  CHECK(log.bytes() == 564 + 964);
  CHECK(append(log, doc, 300));
}

TEST_CASE("room logs are unavailable when all of them hold what they may, and give back what is erased", "[log]") {
  MemoryRoomLog log({0, 1000});
  const auto first = append(log, doc, 500);
  REQUIRE(first);
  CHECK(fails_with(append(log, other, 400), errc::unavailable));
  CHECK(log.size() == 1);
  CHECK(fails_with(replace(log, doc, first.value().last_offset, 937), errc::unavailable));
  CHECK(replace(log, doc, first.value().last_offset, 936));
  CHECK(log.bytes() == 1000);
  (void)test::ask_now<Result<void>>([&](auto done) { log.erase(doc, done); });
  CHECK(log.size() == 0);
  CHECK(log.bytes() == 0);
  CHECK(append(log, other, 400));
}
