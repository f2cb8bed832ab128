// The queue of one connection: what goes first, and how old its oldest byte is.
#include "muster/core/loop/outbox.hpp"

#include "support/catch.hpp"

namespace muster::test {
namespace {

using namespace std::chrono_literals;
using core::BlockPtr;
using core::Handed;
using core::Outbox;

/// Takes nothing at once; what it was given is in `batch`.
class SlowPipe final : public Transport {
 public:
  WriteResult write(const Span* spans, std::size_t count) override {
    batch.clear();
    for (std::size_t i = 0; i < count; ++i) batch.append(spans[i].data, spans[i].size);
    return answer;
  }
  void close(std::uint16_t, std::string_view) override {}
  void abort() override {}
  void pause_reading(bool) override {}
  std::string batch;
  WriteResult answer = WriteResult::pending;
};

struct Queue {
  void add(std::string bytes, TimePoint::duration at) {
    const auto block = BlockPtr::make();
    block->bytes = std::move(bytes);
    outbox.append(block, 0, block->bytes.size(), TimePoint(at));
  }
  std::string write() {
    Handed handed;
    (void)outbox.write(pipe, lent, handed);
    return pipe.batch;
  }
  [[nodiscard]] TimePoint::duration since() const { return outbox.waiting_since().time_since_epoch(); }
  Outbox outbox;
  SlowPipe pipe;
  Outbox::Lent lent;
};

TEST_CASE("the age of the oldest unsent byte is that of the batch in flight, then of what is first behind it",
          "[outbox]") {
  Queue queue;
  const std::string piece(200 * 1024, 'x');
  queue.add(piece, 1s);
  queue.add(piece, 2s);
  queue.add(piece, 3s);
  queue.add(piece, 4s);
  CHECK(queue.write().size() == 2 * piece.size());
  CHECK(queue.since() == 1s);
  queue.add(piece, 9s);
  (void)queue.outbox.flight_done();
  CHECK(queue.since() == 3s);  // a peer that reads steadily does not grow old, however long its queue
  CHECK(queue.write().size() == 2 * piece.size());
  CHECK(queue.since() == 3s);
  (void)queue.outbox.flight_done();
  CHECK(queue.since() == 9s);
}

TEST_CASE("control goes before data at the next frame boundary, and its age counts", "[outbox]") {
  Queue queue;
  queue.add("first", 1s);
  CHECK(queue.write() == "first");
  queue.add("data", 3s);
  queue.outbox.append_control("ping", TimePoint(2s));
  queue.outbox.append_pong("old pong", TimePoint(4s));
  queue.outbox.append_pong("pong", TimePoint(5s));
  CHECK(queue.outbox.unsent() == std::string("firstdatapingpong").size());
  (void)queue.outbox.flight_done();
  CHECK(queue.since() == 2s);
  CHECK(queue.write() == "pingpongdata");
  (void)queue.outbox.flight_done();
  CHECK(queue.outbox.unsent() == 0);
}

TEST_CASE("every ping is answered while the pipe takes the answers", "[outbox]") {
  Queue queue;
  queue.outbox.append_pong("one", TimePoint(1s));
  queue.outbox.append_pong("two", TimePoint(2s));
  CHECK(queue.outbox.unsent() == 6);
  CHECK(queue.since() == 1s);
  CHECK(queue.write() == "onetwo");
  (void)queue.outbox.flight_done();
  CHECK(queue.outbox.unsent() == 0);
}

TEST_CASE("what a broken pipe did not take still counts, and tells since when it waits", "[outbox]") {
  Queue queue;
  queue.add("first", 1s);
  queue.pipe.answer = WriteResult::closed;
  (void)queue.write();
  CHECK_FALSE(queue.outbox.in_flight());
  CHECK_FALSE(queue.outbox.has_queued());
  CHECK(queue.outbox.unsent() == 5);
  CHECK(queue.since() == 1s);
}

TEST_CASE("a block handed over at once is in flight as any batch, or done, or lost", "[outbox]") {
  Queue queue;
  const auto block = BlockPtr::make();
  block->bytes = "block";
  REQUIRE(queue.outbox.idle());
  const auto answer = GENERATE(WriteResult::pending, WriteResult::done, WriteResult::closed);
  queue.pipe.answer = answer;
  CHECK(queue.outbox.write_at_once(queue.pipe, block, TimePoint(1s), queue.lent) == answer);
  CHECK(queue.pipe.batch == "block");
  CHECK(queue.outbox.unsent() == (answer == WriteResult::done ? 0 : 5));
  CHECK(queue.outbox.in_flight() == (answer == WriteResult::pending));
  CHECK_FALSE(queue.outbox.has_queued());
  if (answer != WriteResult::pending) return;
  CHECK_FALSE(queue.outbox.idle());
  CHECK(block->references == 2);  // the pipe still reads it
  queue.add("next", 2s);
  CHECK(queue.since() == 1s);
  CHECK(queue.outbox.flight_done() == 5);
  CHECK(block->references == 1);
  CHECK(queue.since() == 2s);
  CHECK(queue.outbox.unsent() == 4);
}

TEST_CASE("discarding keeps what is in flight and nothing else", "[outbox]") {
  Queue queue;
  queue.add("first", 1s);
  (void)queue.write();
  queue.add("data", 2s);
  queue.outbox.append_control("ping", TimePoint(2s));
  queue.outbox.discard();
  CHECK(queue.outbox.in_flight());
  CHECK_FALSE(queue.outbox.has_queued());
  CHECK(queue.outbox.unsent() == 5);
  CHECK(queue.outbox.flight_done() == 5);
  CHECK(queue.outbox.unsent() == 0);
}

}  // namespace
}  // namespace muster::test
