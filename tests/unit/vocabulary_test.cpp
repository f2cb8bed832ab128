// The vocabulary: values, errors, close reasons, frames and replies.
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "muster/authorizer.hpp"
#include "muster/close_reason.hpp"
#include "muster/error.hpp"
#include "muster/message.hpp"
#include "muster/reply.hpp"
#include "muster/types.hpp"
#include "muster/wire_format.hpp"
#include "support/catch.hpp"

using namespace muster;

TEST_CASE("Connection ids compare, print and hash", "[types]") {
  CHECK_FALSE(ConnectionId());
  CHECK(ConnectionId(1));
  CHECK(ConnectionId(1) == ConnectionId(1));
  CHECK(ConnectionId(1) != ConnectionId(2));
  CHECK(ConnectionId(1) < ConnectionId(2));
  CHECK(to_string(ConnectionId(0)) == "0000000000000000");
  CHECK(to_string(ConnectionId(0x0123456789abcdefULL)) == "0123456789abcdef");
  CHECK(to_string(ConnectionId(~0ULL)) == "ffffffffffffffff");
  std::unordered_set<ConnectionId> ids;
  std::set<std::size_t> hashes;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    ids.insert(ConnectionId(i));
    hashes.insert(std::hash<ConnectionId>{}(ConnectionId(i)) % 4096);
  }
  CHECK(ids.size() == 1000);
  CHECK(hashes.size() > 700);
}

TEMPLATE_TEST_CASE("Keys are equal when tenant and name are, and order by tenant first", "[types]", UserKey, RoomKey) {
  using Key = TestType;
  CHECK(Key{"a", "b"} == Key{"a", "b"});
  CHECK(Key{"a", "b"} != Key{"a", "c"});
  CHECK(Key{"a", "b"} != Key{"c", "b"});
  CHECK(Key{"ab", "c"} != Key{"a", "bc"});
  CHECK(Key{"a", "z"} < Key{"b", "a"});
  CHECK(Key{"a", "a"} < Key{"a", "b"});
  CHECK_FALSE(Key{"a", "a"} < Key{"a", "a"});
  const std::hash<Key> hash;
  CHECK(hash(Key{"a", "b"}) == hash(Key{"a", "b"}));
  CHECK(hash(Key{"a", "b"}) != hash(Key{"b", "a"}));
  std::unordered_set<Key> keys{{"a", "b"}, {"b", "a"}, {"a", "b"}, {"", ""}};
  CHECK(keys.size() == 3);
}

TEST_CASE("Positions and members compare by all they have", "[types]") {
  CHECK(Position{1, 2} == Position{1, 2});
  CHECK(Position{1, 2} != Position{1, 3});
  CHECK(Position{1, 2} != Position{2, 2});
  CHECK(Member{ConnectionId(1), "ann"} == Member{ConnectionId(1), "ann"});
  CHECK_FALSE(Member{ConnectionId(1), "ann"} == Member{ConnectionId(2), "ann"});
  CHECK_FALSE(Member{ConnectionId(1), "ann"} == Member{ConnectionId(1), "bob"});
}

TEST_CASE("An IPv4 address is held as v4-mapped", "[types]") {
  const RemoteAddress address = RemoteAddress::v4(192, 0, 2, 10);
  CHECK(address.text == "192.0.2.10");
  CHECK(address.bytes == std::array<std::uint8_t, 16>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 10});
}

TEST_CASE("States, actions and reasons have the names they have on the wire", "[types]") {
  CHECK(to_string(ConnectionStatus::connecting) == "connecting");
  CHECK(to_string(ConnectionStatus::in_room) == "in_room");
  CHECK(to_string(ConnectionStatus::disconnected) == "disconnected");
  CHECK(to_string(ConnectionStatus::rejected) == "rejected");
  CHECK(to_string(Action::join) == "join");
  CHECK(to_string(Action::custom) == "custom");
}

TEST_CASE("Payloads share their bytes, and an empty one is empty", "[message]") {
  const Payload none;
  CHECK(none.empty());
  CHECK(none.view().empty());
  CHECK(none.kind() == PayloadKind::json);
  const Payload one = binary(std::string("\0\xff", 2));
  const Payload copy = one;
  CHECK(copy.view() == std::string_view("\0\xff", 2));
  CHECK(copy.view().data() == one.view().data());
  CHECK(copy.kind() == PayloadKind::binary);
  CHECK(json("1").kind() == PayloadKind::json);
  CHECK(text("1").kind() == PayloadKind::text);
  CHECK(text("").empty());
}

TEST_CASE("Deliveries say what they are", "[message]") {
  CHECK(Delivery().kind() == Delivery::Kind::reliable);
  CHECK(Delivery::reliable().kind() == Delivery::Kind::reliable);
  CHECK(Delivery::queued().kind() == Delivery::Kind::queued);
  CHECK(Delivery::latest("cursor").kind() == Delivery::Kind::latest);
  CHECK(Delivery::latest("cursor").key() == "cursor");
}

TEST_CASE("Every error code has its name, and no other's", "[error]") {
  std::set<std::string> names;
  for (int i = static_cast<int>(errc::auth_required); i <= static_cast<int>(errc::internal); ++i) {
    const auto code = static_cast<errc>(i);
    CHECK_FALSE(to_string(code).empty());
    names.emplace(to_string(code));
    const std::error_code error = code;
    CHECK(error);
    CHECK(error.message() == to_string(code));
    CHECK(error.category() == error_category());
    CHECK(std::string(error.category().name()) == "muster");
  }
  CHECK(names.size() == 18);
  CHECK(to_string(errc::auth_required) == "auth_required");
  CHECK(to_string(errc::room_full) == "room_full");
  CHECK(to_string(errc::not_owner) == "not_owner");
  CHECK(to_string(errc::internal) == "internal");
}

TEST_CASE("Error codes meet the conditions callers test", "[error]") {
  const auto meets = [](condition wanted) {
    std::vector<std::string> names;
    for (int i = static_cast<int>(errc::auth_required); i <= static_cast<int>(errc::internal); ++i) {
      if (make_error_code(static_cast<errc>(i)) == wanted) names.emplace_back(to_string(static_cast<errc>(i)));
    }
    return names;
  };
  using Names = std::vector<std::string>;
  CHECK(meets(condition::refused) == Names{"auth_required", "auth_failed", "permission_denied", "not_owner"});
  CHECK(meets(condition::invalid) ==
        Names{"invalid_message", "unknown_message", "invalid_room", "not_in_room", "not_found"});
  CHECK(meets(condition::limit) == Names{"room_full", "too_many_rooms", "too_many", "too_large", "rate_limited"});
  CHECK(meets(condition::try_again_later) == Names{"rate_limited", "unavailable", "internal"});
  CHECK(std::make_error_code(std::errc::timed_out) != condition::try_again_later);
  CHECK(make_error_code(errc::internal) != std::errc::timed_out);
  CHECK(std::error_condition(condition::limit).message() == "limit");
  CHECK(std::error_condition(condition::try_again_later).message() == "try again later");
}

TEST_CASE("A Result holds a value or the error in its place", "[error]") {
  const Result<int> good = 7;
  REQUIRE(good);
  CHECK(good.value() == 7);
  const Result<int> bad = Error{errc::room_full, "The room is full", std::chrono::milliseconds(50)};
  REQUIRE_FALSE(bad);
  CHECK(bad.error().code == errc::room_full);
  CHECK(bad.error().error_code() == condition::limit);
  CHECK(bad.error().retry_after == std::chrono::milliseconds(50));
  Result<std::unique_ptr<int>> owner = std::make_unique<int>(3);
  REQUIRE(owner);
  CHECK(*std::move(owner.value()) == 3);
}

TEST_CASE("A Result is copied, moved and assigned as what it holds", "[error]") {
  STATIC_REQUIRE(std::is_copy_constructible_v<Result<std::string>>);
  STATIC_REQUIRE(std::is_copy_assignable_v<Result<std::string>>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<Result<std::unique_ptr<int>>>);
  STATIC_REQUIRE(std::is_nothrow_move_assignable_v<Result<std::unique_ptr<int>>>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Result<std::unique_ptr<int>>>);
  STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<Result<std::unique_ptr<int>>>);

  const std::string words = "longer than what a string keeps in itself";
  const Result<std::string> good = words;
  const Result<std::string> bad = Error{errc::not_found, words, {}};
  Result<std::string> result = good;
  CHECK(result.value() == words);
  result = bad;
  REQUIRE_FALSE(result);
  CHECK(result.error().message == words);
  const Result<std::string> same = result;
  CHECK(same.error().message == words);
  result = good;
  const Result<std::string> moved = std::move(result);
  CHECK(moved.value() == words);
  result = Error{errc::not_found, words, {}};
  CHECK(result.error().message == words);
  auto& itself = result;
  result = std::move(itself);
  CHECK(result.error().message == words);
  CHECK_THROWS(result.value());
  CHECK_THROWS(good.error());
}

TEST_CASE("A Result whose value did not move holds nothing", "[error]") {
  struct Stubborn {
    Stubborn() = default;
    Stubborn(const Stubborn&) = default;
    Stubborn(Stubborn&& other) : moves(other.moves - 1) {
      if (moves < 0) throw std::runtime_error("It does not move");
    }
    Stubborn& operator=(const Stubborn&) = default;
    ~Stubborn() = default;
    int moves = 3;
  };
  STATIC_REQUIRE_FALSE(std::is_nothrow_move_constructible_v<Result<Stubborn>>);
  Result<Stubborn> from = Stubborn();
  from.value().moves = 0;
  Result<Stubborn> to = Error{errc::not_found, "Nothing yet", {}};
  CHECK_THROWS_AS(to = std::move(from), std::runtime_error);
  CHECK_FALSE(to);
  to = Error{errc::not_found, "Still nothing", {}};
  CHECK(to.error().message == "Still nothing");
}

TEST_CASE("A Result of nothing is done, or the error in its place", "[error]") {
  CHECK(Result<void>());
  Result<void> result = {};
  CHECK(result);
  result = Error{errc::unavailable, "The store does not answer", {}};
  REQUIRE_FALSE(result);
  CHECK(result.error().code == errc::unavailable);
  const Result<void> same = result;
  CHECK(same.error().message == "The store does not answer");
  result = {};
  CHECK(result);
  Reply<Result<void>>([&result](Result<void> answer) { result = std::move(answer); })(same.error());
  CHECK_FALSE(result);
}

TEST_CASE("Every close reason describes itself, in words a close frame takes", "[close_reason]") {
  std::set<std::string> names;
  for (std::size_t i = 0; i < close_reason_count; ++i) {
    const auto reason = static_cast<CloseReason>(i);
    const CloseReasonEntry& row = describe(reason);
    CHECK(row.reason == reason);
    CHECK(to_string(reason) == row.name);
    CHECK_FALSE(row.name.empty());
    CHECK_FALSE(row.text.empty());
    CHECK(row.text.size() <= 123);
    CHECK(row.http_status >= 400);
    CHECK(row.http_status < 600);
    names.emplace(row.name);
  }
  CHECK(names.size() == close_reason_count);
  CHECK(close_reasons.size() == close_reason_count);
  CHECK(static_cast<std::size_t>(CloseReason::lost) + 1 == close_reason_count);
}

TEST_CASE("Close reasons have the codes, statuses and advice that clients are told", "[close_reason]") {
  struct Row {
    CloseReason reason;
    int code;
    int status;
    CloseAdvice advice;
  };
  using Advice = CloseAdvice;
  const Row documented[] = {
      {CloseReason::normal, 1000, 400, Advice::stop},
      {CloseReason::going_away, 1001, 503, Advice::reconnect_later},
      {CloseReason::protocol_error, 1002, 400, Advice::stop},
      {CloseReason::unsupported_data, 1003, 400, Advice::stop},
      {CloseReason::lost, 1006, 400, Advice::resume},
      {CloseReason::invalid_utf8, 1007, 400, Advice::stop},
      {CloseReason::policy, 1008, 429, Advice::reconnect_later},
      {CloseReason::rate_limited, 1008, 429, Advice::reconnect_later},
      {CloseReason::message_too_big, 1009, 413, Advice::stop},
      {CloseReason::internal_error, 1011, 500, Advice::reconnect},
      {CloseReason::over_capacity, 1013, 503, Advice::reconnect_later},
      {CloseReason::auth_required, 4001, 401, Advice::authenticate},
      {CloseReason::auth_failed, 4002, 401, Advice::new_token},
      {CloseReason::permission_denied, 4003, 403, Advice::stop},
      {CloseReason::revoked, 4003, 403, Advice::stop},
      {CloseReason::kicked, 4004, 403, Advice::as_told},
      {CloseReason::replaced, 4005, 403, Advice::stop},
      {CloseReason::slow_consumer, 4008, 503, Advice::resume},
      {CloseReason::heartbeat_timeout, 4009, 503, Advice::resume},
  };
  CHECK(std::size(documented) == close_reason_count);
  for (const Row& row : documented) {
    INFO(to_string(row.reason));
    CHECK(describe(row.reason).code == row.code);
    CHECK(describe(row.reason).http_status == row.status);
    CHECK(describe(row.reason).advice == row.advice);
  }
}

TEST_CASE("Frames have the header that their length needs", "[wire_format]") {
  const WebSocketFormat format;
  struct Expected {
    std::size_t length;
    std::string header;
  };
  const Expected cases[] = {
      {0, std::string("\x00", 1)},
      {1, std::string("\x01", 1)},
      {125, std::string("\x7d", 1)},
      {126, std::string("\x7e\x00\x7e", 3)},
      {65535, std::string("\x7e\xff\xff", 3)},
      {65536, std::string("\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 9)},
  };
  const std::pair<FrameKind, char> kinds[] = {
      {FrameKind::text, '\x81'}, {FrameKind::binary, '\x82'}, {FrameKind::ping, '\x89'}, {FrameKind::pong, '\x8a'}};
  for (const auto& [length, header] : cases) {
    for (const auto& [kind, first] : kinds) {
      const std::string payload(length, 'p');
      std::string out = "before";
      format.append(kind, payload, out);
      CHECK((out == "before" + std::string(1, first) + header + payload));
    }
  }
  CHECK(format.key() != 0);
  CHECK(WebSocketFormat().key() == format.key());
}

TEST_CASE("The first answer of a reply counts, and no other", "[reply]") {
  std::vector<int> got;
  const Reply<int> reply([&got](int answer) { got.push_back(answer); });
  const Reply<int> copy = reply;
  copy(1);
  reply(2);
  copy(3);
  CHECK(got == std::vector<int>{1});
}

TEST_CASE("Of several threads that answer one is heard", "[reply]") {
  for (int round = 0; round < 100; ++round) {
    std::atomic<int> heard{0};
    std::atomic<int> started{0};
    const Reply<int> reply([&heard](int) { ++heard; });
    std::vector<std::thread> answering;
    for (int t = 0; t < 3; ++t) {
      answering.emplace_back([&started, reply, t] {
        for (++started; started < 3;) std::this_thread::yield();
        reply(t);
      });
    }
    for (auto& thread : answering) thread.join();
    CHECK(heard == 1);
  }
}

TEST_CASE("A reply that nobody calls lets go of its receiver when the last copy goes", "[reply]") {
  const auto held = std::make_shared<int>(0);
  {
    const Reply<int> reply([held](int) {});
    const Reply<int> copy = reply;
    CHECK(held.use_count() == 2);
  }
  CHECK(held.use_count() == 1);
}

TEST_CASE("A reply that was called lets go of its receiver at once, and may be called from it", "[reply]") {
  const auto held = std::make_shared<int>(0);
  std::unique_ptr<Reply<int>> reply;
  reply = std::make_unique<Reply<int>>([held, &reply](int) { (*reply)(2); });
  (*reply)(1);
  CHECK(held.use_count() == 1);
}

TEST_CASE("Answers that only move get there", "[reply]") {
  int got = 0;
  const Reply<std::unique_ptr<int>> reply([&got](std::unique_ptr<int> answer) { got = *answer; });
  reply(std::make_unique<int>(4));
  CHECK(got == 4);
}
