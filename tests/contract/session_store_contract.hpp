// What every SessionStore promises, as checks that any implementation can be run through.
//
// An implementation derives a SeamFixture<SessionStore> that owns an empty store, and its test file says:
//
//   TEST_CASE("MyStore is a session store", "[contract][session]") {
//     muster::test::session_store_contract([] { return std::make_unique<MyFixture>(); });
//   }
//
// Times are far from zero and go forward, so that a store with a clock of its own shows.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "contract/questions.hpp"
#include "muster/session_store.hpp"

namespace muster::test {

using SessionStoreFixture = SeamFixture<SessionStore>;
using MakeSessionStoreFixture = std::function<std::unique_ptr<SessionStoreFixture>()>;

inline void session_store_contract(const MakeSessionStoreFixture& make) {
  using std::chrono::minutes;
  using std::chrono::seconds;
  auto fixture = make();
  SessionStore& store = fixture->seam();
  const TimePoint now = TimePoint{} + std::chrono::hours(1000);
  const UserKey ann{"acme", "ann"};
  const UserKey bob{"acme", "bob"};
  constexpr ConnectionId laptop(101), watch(102), phone(103), desk(104), tablet(105), bobs(106);  // sessions

  const auto save = [&](const std::string& hash, Session session, TimePoint at, TimePoint expires) {
    return ask<Result<void>>(*fixture, [&](auto done) { store.save(hash, std::move(session), at, expires, done); });
  };
  const auto take = [&](const std::string& hash, const UserKey& user, std::uint64_t connection, TimePoint at) {
    return ask<Result<Session>>(*fixture,
                                [&](auto done) { store.take(hash, user, ConnectionId(connection), at, done); });
  };
  const auto fails_with = [](const auto& result, errc code) { return !result && result.error().code == code; };
  const auto session = [](ConnectionId id, const UserKey& user, std::uint64_t generation) {
    return Session{id, user, generation, ConnectionId(7), {"canvas:1", "chat:2"}};
  };
  const auto enqueue = [&](const UserKey& user, const std::string& bytes, QueueLimits limits, TimePoint at) {
    return ask<Result<Queued>>(*fixture, [&](auto done) { store.enqueue(user, {0, json(bytes)}, limits, at, done); });
  };
  const auto acknowledge_by = [&](const QueueReader& reader, std::uint64_t id) {
    return ask<Result<void>>(*fixture, [&](auto done) { store.acknowledge(reader, id, done); });
  };
  const auto acknowledge = [&](const UserKey& user, std::uint64_t id) { return acknowledge_by({user}, id); };
  const auto pending_for = [&](const QueueReader& reader, std::uint64_t after, TimePoint at) {
    const auto answer =
        ask<Result<std::vector<QueuedMessage>>>(*fixture, [&](auto done) { store.pending(reader, after, at, done); });
    REQUIRE(answer);
    std::vector<std::string> payloads;
    std::uint64_t last = after;
    for (const QueuedMessage& message : answer.value()) {
      CHECK(message.queue_id > last);
      last = message.queue_id;
      payloads.emplace_back(message.payload.view());
    }
    return payloads;
  };
  const auto pending = [&](const UserKey& user, std::uint64_t after, TimePoint at) {
    return pending_for({user}, after, at);
  };
  using Strings = std::vector<std::string>;

  SECTION("a session is taken as it was saved, at the next generation, by the connection that takes it") {
    REQUIRE(save("h1", session(laptop, ann, 4), now, now + minutes(5)));
    const auto taken = take("h1", ann, 9, now + minutes(1));
    REQUIRE(taken);
    CHECK(taken.value().id == laptop);
    CHECK(taken.value().user == ann);
    CHECK(taken.value().generation == 5);
    CHECK(taken.value().connection == ConnectionId(9));
    CHECK(taken.value().rooms == Strings{"canvas:1", "chat:2"});
  }

  SECTION("a token is good once") {
    REQUIRE(save("h1", session(laptop, ann, 1), now, now + minutes(5)));
    REQUIRE(take("h1", ann, 9, now));
    CHECK(fails_with(take("h1", ann, 10, now), errc::resume_failed));
  }

  SECTION("an unknown token is refused") { CHECK(fails_with(take("nobody's", ann, 9, now), errc::resume_failed)); }

  SECTION("another user's token is refused, and stays good for its owner") {
    REQUIRE(save("h1", session(laptop, ann, 1), now, now + minutes(5)));
    CHECK(fails_with(take("h1", bob, 9, now), errc::resume_failed));
    CHECK(fails_with(take("h1", UserKey{"globex", "ann"}, 9, now), errc::resume_failed));
    CHECK(take("h1", ann, 9, now));
  }

  SECTION("a session is good until it expires, by the time that comes with the call") {
    REQUIRE(save("h1", session(laptop, ann, 1), now, now + minutes(5)));
    REQUIRE(save("h2", session(watch, ann, 1), now, now + minutes(5)));
    CHECK(take("h1", ann, 9, now + minutes(5) - seconds(1)));
    CHECK(fails_with(take("h2", ann, 9, now + minutes(5)), errc::resume_failed));
  }

  SECTION("saving again replaces what was there") {
    REQUIRE(save("h1", session(laptop, ann, 1), now, now + minutes(1)));
    Session later = session(laptop, ann, 1);
    later.rooms = {"only:this"};
    REQUIRE(save("h1", later, now, now + minutes(5)));
    const auto taken = take("h1", ann, 9, now + minutes(4));
    REQUIRE(taken);
    CHECK(taken.value().rooms == Strings{"only:this"});
  }

  SECTION("a session that was taken can be saved under a new token, and the generation goes on") {
    REQUIRE(save("h1", session(laptop, ann, 1), now, now + minutes(5)));
    const auto first = take("h1", ann, 9, now);
    REQUIRE(first);
    REQUIRE(save("h2", first.value(), now, now + minutes(5)));
    const auto second = take("h2", ann, 10, now);
    REQUIRE(second);
    CHECK(second.value().generation == 3);
  }

  SECTION("a writer of an older generation has lost the session and changes nothing") {
    REQUIRE(save("h1", session(laptop, ann, 1), now, now + minutes(5)));
    REQUIRE(take("h1", ann, 9, now));
    CHECK(fails_with(save("h1", session(laptop, ann, 1), now, now + minutes(5)), errc::resume_failed));
    CHECK(fails_with(save("h2", session(laptop, ann, 1), now, now + minutes(5)), errc::resume_failed));
    CHECK(fails_with(take("h1", ann, 10, now), errc::resume_failed));
    CHECK(fails_with(take("h2", ann, 10, now), errc::resume_failed));
    CHECK(save("h1", session(laptop, ann, 2), now, now + minutes(5)));
  }

  SECTION("a writer that calls it another user's has lost it too") {
    REQUIRE(save("h1", session(laptop, ann, 1), now, now + minutes(5)));
    CHECK(fails_with(save("h2", session(laptop, bob, 2), now, now + minutes(5)), errc::resume_failed));
    CHECK(fails_with(take("h2", bob, 10, now), errc::resume_failed));
    CHECK(take("h1", ann, 9, now));
  }

  SECTION("a session may have two tokens: each lasts its own time, and who takes one spends both") {
    REQUIRE(save("h1", session(laptop, ann, 1), now, now + minutes(5)));
    REQUIRE(save("h2", session(laptop, ann, 1), now, now + minutes(1)));
    SECTION("the shorter one first") {
      REQUIRE(take("h2", ann, 9, now));
      CHECK(fails_with(take("h1", ann, 10, now), errc::resume_failed));
    }
    SECTION("the longer one when the other has expired") {
      CHECK(fails_with(take("h2", ann, 9, now + minutes(2)), errc::resume_failed));
      CHECK(take("h1", ann, 9, now + minutes(2)));
    }
  }

  SECTION("a forgotten session cannot be taken") {
    REQUIRE(save("h1", session(laptop, ann, 1), now, now + minutes(5)));
    REQUIRE(save("h2", session(watch, ann, 1), now, now + minutes(5)));
    CHECK(ask<Result<void>>(*fixture, [&](auto done) { store.forget("h1", done); }));
    CHECK(ask<Result<void>>(*fixture, [&](auto done) { store.forget("nobody's", done); }));
    CHECK(fails_with(take("h1", ann, 9, now), errc::resume_failed));
    CHECK(take("h2", ann, 9, now));
  }

  SECTION("of several takers at once one succeeds") {
    for (int round = 0; round < 50; ++round) {
      const std::string hash = "h" + std::to_string(round);
      REQUIRE(
          save(hash, session(ConnectionId(1000 + static_cast<std::uint64_t>(round)), ann, 1), now, now + minutes(5)));
      std::vector<Question<Result<Session>>> takers(3);
      std::vector<std::thread> threads;
      for (std::size_t i = 0; i < takers.size(); ++i) {
        threads.emplace_back([&, i] { store.take(hash, ann, ConnectionId(i + 1), now, takers[i].reply()); });
      }
      for (auto& thread : threads) thread.join();
      int taken = 0;
      for (const auto& taker : takers) {
        REQUIRE(fixture->run_until([&] { return taker.answers() != 0; }));
        if (taker.answer()) {
          ++taken;
        } else {
          CHECK(taker.answer().error().code == errc::resume_failed);
        }
      }
      CHECK(taken == 1);
    }
  }

  SECTION("a queue keeps what is put into it, in order, for its user alone") {
    CHECK(pending(ann, 0, now).empty());
    REQUIRE(enqueue(ann, "1", {}, now));
    REQUIRE(enqueue(bob, "other", {}, now));
    REQUIRE(enqueue(ann, "2", {}, now));
    REQUIRE(enqueue(UserKey{"globex", "ann"}, "elsewhere", {}, now));
    CHECK(pending(ann, 0, now) == Strings{"1", "2"});
    CHECK(pending(ann, 0, now) == Strings{"1", "2"});
    CHECK(pending(bob, 0, now) == Strings{"other"});
  }

  SECTION("acknowledging removes a message and those before it") {
    std::vector<std::uint64_t> ids;
    for (const char* bytes : {"1", "2", "3"}) {
      const auto queued = enqueue(ann, bytes, {}, now);
      REQUIRE(queued);
      CHECK(queued.value().dropped == 0);
      if (!ids.empty()) CHECK(queued.value().queue_id > ids.back());
      ids.push_back(queued.value().queue_id);
    }
    CHECK(pending(ann, ids[0], now) == Strings{"2", "3"});
    CHECK(pending(ann, ids[2], now).empty());
    CHECK(acknowledge(bob, ids[2]));
    CHECK(acknowledge(ann, ids[1]));
    CHECK(pending(ann, 0, now) == Strings{"3"});
    CHECK(acknowledge(ann, ids[1]));
    CHECK(acknowledge(ann, ids[2]));
    CHECK(pending(ann, 0, now).empty());
    SECTION("and ids grow on, so that a cursor does not miss what comes later") {
      const auto queued = enqueue(ann, "4", {}, now);
      REQUIRE(queued);
      CHECK(queued.value().queue_id > ids[2]);
      CHECK(pending(ann, ids[2], now) == Strings{"4"});
    }
  }

  SECTION("a message waits for every session of its user") {
    const QueueReader by_phone{ann, phone};
    const QueueReader at_desk{ann, desk};
    REQUIRE(save("h1", session(phone, ann, 1), now, TimePoint::max()));
    REQUIRE(save("h2", session(desk, ann, 1), now, now + minutes(5)));
    REQUIRE(save("h3", session(bobs, bob, 1), now, now + minutes(5)));
    std::vector<std::uint64_t> ids;
    for (const char* bytes : {"1", "2", "3"}) ids.push_back(enqueue(ann, bytes, {}, now).value().queue_id);
    REQUIRE(acknowledge_by(by_phone, ids[1]));
    CHECK(pending_for(by_phone, 0, now) == Strings{"3"});
    CHECK(pending_for(at_desk, 0, now) == Strings{"1", "2", "3"});
    CHECK(pending_for(at_desk, ids[0], now) == Strings{"2", "3"});
    SECTION("who comes new, or has no session, begins where its user is") {
      REQUIRE(save("h4", session(tablet, ann, 1), now, now + minutes(5)));
      CHECK(pending_for({ann, tablet}, 0, now) == Strings{"3"});
      CHECK(pending(ann, 0, now) == Strings{"3"});
      CHECK(pending_for({ann, bobs}, 0, now) == Strings{"3"});
      CHECK(pending_for({bob, phone}, 0, now).empty());
    }
    SECTION("the cursor outlives connections: taken, saved anew") {
      const auto taken = take("h2", ann, 9, now);
      REQUIRE(taken);
      CHECK(pending_for(at_desk, 0, now) == Strings{"1", "2", "3"});
      REQUIRE(save("h4", taken.value(), now, now + minutes(5)));
      REQUIRE(acknowledge_by(at_desk, ids[0]));
      CHECK(pending_for(at_desk, 0, now) == Strings{"2", "3"});
      REQUIRE(acknowledge_by(at_desk, ids[2]));
      CHECK(pending_for(by_phone, 0, now) == Strings{"3"});
    }
    SECTION("an old acknowledgement takes nothing back") {
      REQUIRE(acknowledge_by(by_phone, ids[0]));
      CHECK(pending_for(by_phone, 0, now) == Strings{"3"});
    }
    SECTION("what is acknowledged ahead of its time is not lost") {
      REQUIRE(acknowledge_by(by_phone, ids[2] + 1000));
      REQUIRE(enqueue(ann, "4", {}, now));
      CHECK(pending_for(by_phone, 0, now) == Strings{"4"});
    }
  }

  SECTION("beyond its number of messages a queue drops the oldest, and says how many") {
    QueueLimits three;
    three.messages = 3;
    for (const char* bytes : {"1", "2", "3"}) REQUIRE(enqueue(ann, bytes, three, now).value().dropped == 0);
    CHECK(enqueue(ann, "4", three, now).value().dropped == 1);
    CHECK(pending(ann, 0, now) == Strings{"2", "3", "4"});
  }

  SECTION("beyond its bytes a queue drops the oldest, as many as it takes") {
    QueueLimits ten;
    ten.bytes = 10;
    REQUIRE(enqueue(ann, "aaaa", ten, now).value().dropped == 0);
    REQUIRE(enqueue(ann, "bb", ten, now).value().dropped == 0);
    REQUIRE(enqueue(ann, "cccc", ten, now).value().dropped == 0);
    CHECK(enqueue(ann, "ddddd", ten, now).value().dropped == 2);
    CHECK(pending(ann, 0, now) == Strings{"cccc", "ddddd"});
    SECTION("and refuses what is larger than all of it, dropping nothing") {
      CHECK(fails_with(enqueue(ann, "12345678901", ten, now), errc::too_large));
      CHECK(pending(ann, 0, now) == Strings{"cccc", "ddddd"});
      CHECK(enqueue(ann, "1234567890", ten, now).value().dropped == 2);
    }
  }

  SECTION("messages wait as long as their age allows") {
    QueueLimits hour;
    hour.age = std::chrono::hours(1);
    REQUIRE(enqueue(ann, "1", hour, now));
    REQUIRE(enqueue(ann, "2", hour, now + minutes(30)));
    CHECK(pending(ann, 0, now + minutes(59)) == Strings{"1", "2"});
    CHECK(pending(ann, 0, now + minutes(60)) == Strings{"2"});
    CHECK(pending(ann, 0, now + minutes(90)).empty());
    QueueLimits for_ever;
    for_ever.age = std::chrono::milliseconds::max();
    REQUIRE(enqueue(ann, "3", for_ever, now + minutes(100)));
    CHECK(pending(ann, 0, now + std::chrono::hours(100'000)) == Strings{"3"});
  }

  SECTION("several threads fill one queue, and every message is there once") {
    constexpr std::size_t threads = 3;
    constexpr std::size_t each = 100;
    QueueLimits roomy;
    roomy.messages = threads * each;
    std::vector<Question<Result<Queued>>> questions(threads * each);
    std::vector<std::thread> filling;
    for (std::size_t t = 0; t < threads; ++t) {
      filling.emplace_back([&, t] {
        for (std::size_t i = 0; i < each; ++i) {
          store.enqueue(ann, {0, json(std::to_string(t))}, roomy, now, questions[t * each + i].reply());
        }
      });
    }
    for (auto& thread : filling) thread.join();
    for (const auto& question : questions) {
      REQUIRE(fixture->run_until([&] { return question.answers() != 0; }));
      REQUIRE(question.answer());
      CHECK(question.answer().value().dropped == 0);
    }
    CHECK(pending(ann, 0, now).size() == threads * each);
  }

  SECTION("a back end that cannot be reached is unavailable, and nothing is half done") {
    REQUIRE(save("h1", session(laptop, ann, 1), now, now + minutes(5)));
    REQUIRE(enqueue(ann, "1", {}, now));
    if (fixture->fail(true)) {
      CHECK(fails_with(take("h1", ann, 9, now), errc::unavailable));
      CHECK(fails_with(save("h2", session(watch, ann, 1), now, now + minutes(5)), errc::unavailable));
      CHECK(fails_with(enqueue(ann, "2", {}, now), errc::unavailable));
      CHECK(fails_with(ask<Result<void>>(*fixture, [&](auto done) { store.forget("h1", done); }), errc::unavailable));
      REQUIRE(fixture->fail(false));
      CHECK(fails_with(take("h2", ann, 9, now), errc::resume_failed));
    }
    CHECK(take("h1", ann, 9, now));
    CHECK(pending(ann, 0, now) == Strings{"1"});
  }

  SECTION("a store that goes before it has answered holds nobody") {
    const auto held = std::make_shared<int>(0);
    store.take("h1", ann, ConnectionId(9), now, Reply<Result<Session>>([held](const auto&) {}));
    store.pending({ann}, 0, now, Reply<Result<std::vector<QueuedMessage>>>([held](const auto&) {}));
    fixture.reset();
    CHECK(held.use_count() == 1);
  }
}

}  // namespace muster::test
