// What every RoomLog promises, as checks that any implementation can be run through.
//
// An implementation derives a SeamFixture<RoomLog> that owns an empty log, and its test file says:
//
//   TEST_CASE("MyLog is a room log", "[contract][log]") {
//     muster::test::room_log_contract([] { return std::make_unique<MyFixture>(); });
//   }
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "contract/questions.hpp"
#include "muster/room_log.hpp"

namespace muster::test {

using RoomLogFixture = SeamFixture<RoomLog>;
using MakeRoomLogFixture = std::function<std::unique_ptr<RoomLogFixture>()>;

inline void room_log_contract(const MakeRoomLogFixture& make) {
  auto fixture = make();
  RoomLog& log = fixture->seam();
  const RoomKey doc{"acme", "doc:1"};
  const RoomKey other{"acme", "doc:2"};
  const RoomKey namesake{"umbrella", "doc:1"};
  using Strings = std::vector<std::string>;
  constexpr std::size_t all = 1024 * 1024;

  const auto append = [&](const RoomKey& room, const std::string& update) {
    return ask<Result<LogSize>>(*fixture, [&](auto done) { log.append(room, binary(update), done); });
  };
  const auto offset_of = [&](const RoomKey& room, const std::string& update) {
    const auto appended = append(room, update);
    REQUIRE(appended);
    return appended.value().last_offset;
  };
  const auto read = [&](const RoomKey& room, std::uint64_t after, std::size_t bytes) {
    const auto part = ask<Result<LogPart>>(*fixture, [&](auto done) { log.read(room, after, bytes, done); });
    REQUIRE(part);
    return part.value();
  };
  const auto updates = [&](const RoomKey& room, std::uint64_t after = 0) {
    Strings said;
    std::uint64_t last = after;
    for (const LogUpdate& update : read(room, after, all).updates) {
      CHECK(update.offset > last);
      CHECK(update.data.kind() == PayloadKind::binary);
      last = update.offset;
      said.emplace_back(update.data.view());
    }
    return said;
  };
  const auto replace = [&](const RoomKey& room, std::uint64_t through, const std::string& sum) {
    return ask<Result<LogSize>>(*fixture, [&](auto done) { log.replace(room, through, binary(sum), done); });
  };
  const auto erase = [&](const RoomKey& room) {
    return ask<Result<void>>(*fixture, [&](auto done) { log.erase(room, done); });
  };

  SECTION("updates are read in the order they were appended, whatever their bytes are") {
    const std::string zeros("\0\xff\0", 3);
    (void)offset_of(doc, "a");
    (void)offset_of(doc, zeros);
    (void)offset_of(doc, "");
    CHECK(updates(doc) == Strings{"a", zeros, ""});
  }

  SECTION("a room has its own log, by tenant and name") {
    (void)offset_of(doc, "a");
    (void)offset_of(namesake, "b");
    CHECK(updates(doc) == Strings{"a"});
    CHECK(updates(namesake) == Strings{"b"});
    CHECK(updates(other).empty());
  }

  SECTION("who appends is told what the log then holds") {
    const auto first = append(doc, "abc");
    const auto second = append(doc, "de");
    REQUIRE(first);
    REQUIRE(second);
    CHECK(first.value().last_offset > 0);
    CHECK(second.value().last_offset > first.value().last_offset);
    CHECK(second.value().updates == 2);
    CHECK(second.value().bytes == 5);
  }

  SECTION("who reads on is given what lies behind") {
    const std::uint64_t first = offset_of(doc, "a");
    (void)offset_of(other, "x");
    const std::uint64_t second = offset_of(doc, "b");
    CHECK(updates(doc, first) == Strings{"b"});
    CHECK(updates(doc, second).empty());
    CHECK(updates(doc, second + 100).empty());
  }

  SECTION("a part of a log has no more bytes than wanted, but one update at least, and says whether there is more") {
    for (const char* update : {"aaaa", "bbbb", "cccc"}) (void)offset_of(doc, update);
    std::uint64_t after = 0;
    Strings sizes;
    for (bool more = true; more;) {
      const LogPart part = read(doc, after, 8);
      REQUIRE_FALSE(part.updates.empty());
      sizes.push_back(std::to_string(part.updates.size()));
      after = part.updates.back().offset;
      more = part.more;
    }
    CHECK(sizes == Strings{"2", "1"});
    const LogPart one = read(doc, 0, 1);
    CHECK(one.updates.size() == 1);
    CHECK(one.more);
    CHECK_FALSE(read(doc, after, 1).more);
    (void)offset_of(other, "aaaa");
    (void)offset_of(other, "");
    CHECK(read(other, 0, 1).updates.size() == 1);  // not even one without bytes behind it
  }

  SECTION("a sum takes the place of what it says, and what lies behind stays") {
    (void)offset_of(doc, "a");
    const std::uint64_t second = offset_of(doc, "b");
    const std::uint64_t third = offset_of(doc, "c");
    const auto size = replace(doc, second, "ab");
    REQUIRE(size);
    CHECK(size.value().last_offset == third);
    CHECK(size.value().updates == 2);
    CHECK(size.value().bytes == 3);
    CHECK(updates(doc) == Strings{"ab", "c"});
    CHECK(updates(doc, second - 1) == Strings{"ab", "c"});  // had a part of it: is given the sum
    CHECK(updates(doc, second) == Strings{"c"});
    REQUIRE(replace(doc, third, "abc"));
    CHECK(updates(doc) == Strings{"abc"});
    CHECK(offset_of(doc, "d") > third);
  }

  SECTION("a sum is refused, and nothing is changed, where there is no update at its offset") {
    const std::uint64_t first = offset_of(doc, "a");
    const std::uint64_t second = offset_of(doc, "b");
    const auto is_refused = [&](const RoomKey& room, std::uint64_t through) {
      const auto answer = replace(room, through, "sum");
      return !answer && answer.error().code == errc::not_found && !answer.error().message.empty();
    };
    CHECK(is_refused(other, first));
    CHECK(is_refused(doc, second + 1));
    CHECK(is_refused(doc, 0));
    CHECK(updates(doc) == Strings{"a", "b"});
    REQUIRE(replace(doc, second, "ab"));
    CHECK(is_refused(doc, first));  // a slower one, which had seen less
    CHECK(updates(doc) == Strings{"ab"});
  }

  SECTION("what is appended after a log was erased lies behind every offset before") {
    const std::uint64_t before = offset_of(doc, "a");
    REQUIRE(erase(doc));
    CHECK(updates(doc).empty());
    CHECK_FALSE(replace(doc, before, "sum"));
    CHECK(offset_of(doc, "b") > before);
    CHECK(updates(doc, before) == Strings{"b"});
    CHECK(erase(other));  // there is none
  }

  SECTION("of what several threads append, each update is there, in each thread's order") {
    constexpr std::size_t threads = 4, each = 100;
    std::vector<std::thread> writers;
    std::vector<Question<Result<LogSize>>> questions(threads * each);
    for (std::size_t t = 0; t < threads; ++t) {
      writers.emplace_back([&, t] {
        for (std::size_t i = 0; i < each; ++i) {
          log.append(doc, binary(std::to_string(t) + ":" + std::to_string(i)), questions[t * each + i].reply());
        }
      });
    }
    for (std::thread& writer : writers) writer.join();
    for (auto& question : questions) REQUIRE(fixture->run_until([&question] { return question.answers() == 1; }));
    std::vector<std::size_t> next(threads);
    for (const std::string& said : updates(doc)) {
      const std::size_t t = static_cast<std::size_t>(said.front() - '0');
      CHECK(said.substr(2) == std::to_string(next[t]++));
    }
    CHECK(next == std::vector<std::size_t>(threads, each));
  }

  SECTION("without its back end it answers `unavailable`") {
    if (!fixture->fail(true)) return;
    const auto answer = append(doc, "a");
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == errc::unavailable);
    (void)fixture->fail(false);
    (void)offset_of(doc, "b");
    CHECK(updates(doc) == Strings{"b"});
  }
}

}  // namespace muster::test
