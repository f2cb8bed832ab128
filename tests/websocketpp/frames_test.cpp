// Frames in both directions, slow and hostile peers, and every way a connection ends.
#include "websocketpp/fixture.hpp"

using namespace muster;
using test::Fixture;
using test::RawClient;

namespace {

std::string frames(FrameKind kind, std::string_view payload) {
  std::string out;
  WebSocketFormat{}.append(kind, payload, out);
  return out;
}

}  // namespace

TEST_CASE("messages of every length form come through in both directions", "[websocketpp][frames]") {
  Options options;
  options.max_message_bytes = 200'000;
  Fixture f(options);
  f.manager->echo = true;
  RawClient& client = f.open();
  for (const int length : {0, 1, 125, 126, 127, 511, 512, 513, 65'535, 65'536, 150'000, 200'000}) {
    const auto size = static_cast<std::size_t>(length);
    std::string payload(size, ' ');
    for (std::size_t i = 0; i < size; ++i) payload[i] = static_cast<char>('a' + i % 23);
    client.send(size % 2 == 0 ? test::text_frame(payload) : test::binary_frame(payload));
    const auto frame = f.frame(client);
    REQUIRE(frame);
    CHECK(frame->first == (size % 2 == 0 ? 0x81U : 0x82U));
    CHECK(frame->payload == payload);
  }
}

TEST_CASE("a message may be cut at every byte", "[websocketpp][frames]") {
  Fixture f;
  f.manager->echo = true;
  RawClient& client = f.open();
  const std::string message = test::text_frame("caf\xc3\xa9 " + std::string(130, 'x'));
  for (std::size_t cut = 1; cut < message.size(); ++cut) {
    client.send(message.substr(0, cut));
    for (int i = 0; i < 3; ++i) f.io.poll();
    client.send(message.substr(cut));
    const auto frame = f.frame(client);
    REQUIRE(frame);
    CHECK(frame->payload.size() == 136);
  }
}

TEST_CASE("fragments are one message, and control frames may come between them", "[websocketpp][frames]") {
  Fixture f;
  RawClient& client = f.open();
  client.send(test::masked_frame(0x01, "one "));
  client.send(test::masked_frame(0x89, "ping"));
  client.send(test::masked_frame(0x00, "two "));
  client.send(test::masked_frame(0x00, ""));
  client.send(test::masked_frame(0x80, "three"));
  CHECK(f.until([&] { return f.manager->messages() == 2; }));
  CHECK(f.manager->message(0) == "ping");
  CHECK(f.manager->message(1) == "one two three");
  CHECK(f.seen()->fragments == 3);  // what ended no message is told, so that it counts as a frame
  f.settle();
  CHECK(client.in.empty());  // pongs are the core's
}

TEST_CASE("a character may be cut by fragments, but not by the end of the message", "[websocketpp][frames]") {
  Fixture f;
  RawClient& client = f.open();
  client.send(test::masked_frame(0x01, "\xf0\x9f"));
  client.send(test::masked_frame(0x80, "\x98\x80"));
  CHECK(f.until([&] { return f.manager->messages() == 1; }));
  client.send(test::masked_frame(0x01, "abc\xf0\x9f"));
  client.send(test::masked_frame(0x80, "\x98"));
  const auto frame = f.frame(client);
  REQUIRE(frame);
  CHECK(frame->code() == 1007);
  CHECK(f.manager->messages() == 1);
}

TEST_CASE("what breaks the protocol is closed with the reason's code", "[websocketpp][frames]") {
  struct Case {
    const char* what;
    std::string bytes;
    CloseReason reason;
  };
  std::string unmasked = "\x81\x05hello";
  const Case cases[] = {
      {"too big", test::text_frame(std::string(1001, 'x')), CloseReason::message_too_big},
      {"too big, said by the header alone", std::string("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14),
       CloseReason::message_too_big},
      {"too big in fragments",
       test::masked_frame(0x02, std::string(600, 'x')) + test::masked_frame(0x80, std::string(600, 'x')),
       CloseReason::message_too_big},
      {"not UTF-8", test::text_frame("\xff\xfe"), CloseReason::invalid_utf8},
      {"cut UTF-8", test::text_frame("abc\xe2\x82"), CloseReason::invalid_utf8},
      {"a surrogate", test::text_frame("\xed\xa0\x80"), CloseReason::invalid_utf8},
      {"unmasked", unmasked, CloseReason::protocol_error},
      {"reserved bits", test::masked_frame(0xc1, "x"), CloseReason::protocol_error},
      {"an opcode nobody knows", test::masked_frame(0x83, "x"), CloseReason::protocol_error},
      {"a continuation of nothing", test::masked_frame(0x80, "x"), CloseReason::protocol_error},
      {"a message within a message", test::masked_frame(0x01, "x") + test::text_frame("y"),
       CloseReason::protocol_error},
      {"a ping in fragments", test::masked_frame(0x09, "x"), CloseReason::protocol_error},
      {"a long ping", test::masked_frame(0x89, std::string(126, 'x')), CloseReason::protocol_error},
      {"a length not minimal", std::string("\x81\xfe\0\x05\0\0\0\0hello", 13), CloseReason::protocol_error},
  };
  Options options;
  options.max_message_bytes = 1000;
  for (const Case& c : cases) {
    INFO(c.what);
    Fixture f(options);
    RawClient& client = f.open();
    client.send(c.bytes + test::text_frame("after"));
    const auto frame = f.frame(client);
    REQUIRE(frame);
    CHECK(frame->first == 0x88);
    CHECK(frame->code() == describe(c.reason).code);
    CHECK(f.manager->failures() == std::vector<CloseReason>{c.reason});
    CHECK(f.manager->messages() == 0);
    client.send(test::close_frame(frame->code()));
    CHECK(f.until([&] { return client.ended(); }));
    CHECK_FALSE(client.was_reset());
    client.cut();
    CHECK(f.until([&] { return f.manager->closings().size() == 1; }));
    CHECK(f.manager->closings() == std::vector<CloseReason>{c.reason});
    CHECK(f.manager->reserved() == 0);
  }
}

TEST_CASE("the reason of a close survives what the peer still sends", "[websocketpp][frames]") {
  Options options;
  options.max_message_bytes = 1000;
  Fixture f(options);
  RawClient& client = f.open();
  client.stall(true);
  client.send(test::text_frame(std::string(2'000'000, 'x')));
  CHECK(f.until([&] { return client.all_sent(); }));
  client.stall(false);
  const auto frame = f.frame(client);
  REQUIRE(frame);
  CHECK(frame->code() == 1009);
  client.end_sending();
  CHECK(f.until([&] { return client.ended(); }));
  CHECK_FALSE(client.was_reset());
}

TEST_CASE("a peer's close is answered with its code and told as its cause", "[websocketpp][frames]") {
  struct Case {
    std::string frame;
    std::uint16_t answer;
    CloseReason cause;
  };
  const Case cases[] = {
      {test::close_frame(1000, "bye"), 1000, CloseReason::normal},
      {test::close_frame(1001), 1001, CloseReason::going_away},
      {test::close_frame(1002), 1002, CloseReason::going_away},
      {test::close_frame(4321), 4321, CloseReason::going_away},
      {test::masked_frame(0x88, ""), 1000, CloseReason::normal},
      {test::masked_frame(0x88, "x"), 1002, CloseReason::protocol_error},
      {test::close_frame(1005), 1002, CloseReason::protocol_error},
      {test::close_frame(1006), 1002, CloseReason::protocol_error},
      {test::close_frame(999), 1002, CloseReason::protocol_error},
      {test::close_frame(1000, "\xff"), 1007, CloseReason::invalid_utf8},
  };
  for (const Case& c : cases) {
    INFO(c.answer << " " << to_string(c.cause));
    Fixture f;
    RawClient& client = f.open();
    client.send(test::text_frame("last") + c.frame + test::text_frame("never"));
    const auto frame = f.frame(client);
    REQUIRE(frame);
    CHECK(frame->first == 0x88);
    CHECK(frame->code() == c.answer);
    const std::string said = frame->payload.substr(2);
    CHECK((said.empty() || said == "bye" || said == "Invalid close code" ||
           said == describe(c.cause).text));  // nothing that is not UTF-8
    CHECK(f.until([&] { return client.ended(); }));
    client.cut();
    CHECK(f.until([&] { return f.manager->closings().size() == 1; }));
    CHECK(f.manager->closings() == std::vector<CloseReason>{c.cause});
    CHECK(f.manager->messages() == 1);
  }
}

TEST_CASE("the core's close goes out, and ends with the peer's answer", "[websocketpp][frames]") {
  Fixture f;
  RawClient& client = f.open();
  for (const std::uint16_t code : {std::uint16_t{1000}, std::uint16_t{1001}, std::uint16_t{1008}, std::uint16_t{1011},
                                   std::uint16_t{1013}, std::uint16_t{4001}}) {
    INFO(code);
    RawClient& one = f.open();
    const std::size_t i = f.manager->count() - 1;
    f.seen(i)->transport->close(code, "because");
    one.send(test::text_frame("not heard any more"));
    const auto frame = f.frame(one);
    REQUIRE(frame);
    CHECK(frame->code() == code);
    CHECK(frame->payload.substr(2) == "because");
    one.send(test::close_frame(code));
    CHECK(f.until([&] { return one.ended(); }));
    one.cut();
    CHECK(f.until([&] { return f.manager->closings(i).size() == 1; }));
    CHECK(f.manager->messages(i) == 0);
  }
  CHECK_FALSE(client.ended());
  CHECK(f.manager->reserved() == 1);
}

TEST_CASE("a long text is cut between characters", "[websocketpp][frames]") {
  Fixture f;
  RawClient& client = f.open();
  f.seen()->transport->close(4000, std::string(122, 'x') + "\xc3\xa9");
  const auto frame = f.frame(client);
  REQUIRE(frame);
  CHECK(frame->payload.substr(2) == std::string(122, 'x'));
}

TEST_CASE("a peer that does not answer the close is cut after close_timeout", "[websocketpp][frames]") {
  Options options;
  options.close_timeout = std::chrono::milliseconds(100);
  Fixture f(options);
  (void)f.open();
  const auto start = std::chrono::steady_clock::now();
  f.seen()->transport->close(1000, "");
  CHECK(f.until([&] { return f.manager->closings().size() == 1; }));
  CHECK(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(100));
  CHECK(f.manager->reserved() == 0);
}

TEST_CASE("after a close nothing is written", "[websocketpp][frames]") {
  Fixture f;
  RawClient& client = f.open();
  f.seen()->transport->close(1000, "");
  CHECK(f.manager->write(0, frames(FrameKind::text, "late")) == WriteResult::closed);
  CHECK(f.frame(client)->opcode() == 8);
  f.settle();
  CHECK(client.in.empty());
}

TEST_CASE("writes to a slow reader are pending once, and every byte arrives in order", "[websocketpp][frames]") {
  for (const bool tls : {false}) {
    Fixture f;
    RawClient& client = f.open({}, tls, 4096);
    client.stall(true);
    std::string expected;
    std::size_t batches = 0;
    WriteResult result = WriteResult::done;
    while (result == WriteResult::done) {
      std::string batch = frames(FrameKind::binary, std::string(60'000, static_cast<char>('a' + batches++ % 26)));
      expected += batch;
      result = f.manager->write(0, std::move(batch), 5);
      REQUIRE(batches < 1000);
    }
    CHECK(result == WriteResult::pending);
    f.settle();
    CHECK(f.seen()->writables == 0);
    client.stall(false);
    CHECK(f.until([&] { return client.in.size() == expected.size(); }));
    CHECK(client.in == expected);
    CHECK(f.until([&] { return f.seen()->writables == 1; }));
    client.in.clear();
    CHECK(f.manager->write(0, frames(FrameKind::text, "on")) == WriteResult::done);
    CHECK(f.frame(client)->payload == "on");
  }
}

TEST_CASE("a close frame of websocketpp's never splits a batch in flight", "[websocketpp][frames]") {
  Fixture f;
  RawClient& client = f.open({}, false, 4096);
  client.stall(true);
  std::string expected;
  for (WriteResult result = WriteResult::done; result == WriteResult::done;) {
    std::string batch = frames(FrameKind::binary, std::string(500'000, 'b'));
    expected += batch;
    result = f.manager->write(0, std::move(batch));
  }
  client.send(test::close_frame(1000));
  f.settle();
  client.stall(false);
  std::string close = "\x88\x02";
  close += "\x03\xe8";
  CHECK(f.until([&] { return client.ended(); }));
  CHECK(client.in.size() == expected.size() + close.size());
  CHECK(client.in == expected + close);
  CHECK(f.until([&] { return f.manager->closings() == std::vector<CloseReason>{CloseReason::normal}; }));
}

TEST_CASE("a batch given up at the deadline of a close is referenced no more", "[websocketpp][frames]") {
  Options options;
  options.close_timeout = std::chrono::milliseconds(50);
  Fixture f(options);
  RawClient& client = f.open({}, false, 4096);
  client.stall(true);
  while (f.manager->write(0, frames(FrameKind::binary, std::string(500'000, 'b'))) == WriteResult::done) {
  }
  f.seen()->transport->close(4008, "Too slow");
  CHECK(f.until([&] { return f.manager->closings().size() == 1; }));
  f.seen()->batch = {};  // the sanitizers watch
  client.stall(false);
  CHECK(f.until([&] { return client.ended(); }));
}

TEST_CASE("who is closed for a fault has close_timeout to take what is on its way, however it takes it",
          "[websocketpp][frames]") {
  Options options;
  options.close_timeout = std::chrono::milliseconds(200);
  Fixture f(options);
  RawClient& client = f.open({}, false, 4096);
  client.stall(true);
  while (f.manager->write(0, frames(FrameKind::binary, std::string(500'000, 'b'))) == WriteResult::done) {
  }
  client.send(test::masked_frame(0x83, "x"));
  REQUIRE(f.until([&] { return f.manager->failures().size() == 1; }));
  client.stall(false);
  client.pump();
  client.stall(true);
  CHECK(f.until([&] { return f.manager->closings().size() == 1; }, std::chrono::seconds(5)));
}

TEST_CASE("a peer that says goodbye and goes is heard although it cannot be written to", "[websocketpp][frames]") {
  Fixture f;
  RawClient& client = f.open();
  client.send(test::text_frame("last") + test::close_frame(1000));
  client.cut();
  WriteResult result = WriteResult::done;
  for (int i = 0; i < 1000 && result == WriteResult::done; ++i)
    result = f.manager->write(0, frames(FrameKind::text, "x"));
  CHECK(f.until([&] { return f.manager->closings().size() == 1; }));
  CHECK(f.manager->closings() == std::vector<CloseReason>{CloseReason::normal});
  CHECK(f.manager->message(0) == "last");
}

TEST_CASE("while reading is paused nothing is lost, and what is held is bounded", "[websocketpp][frames]") {
  Fixture f;
  f.manager->on_received = [&](Connection&, FrameKind, std::string_view bytes) {
    if (bytes == "0") f.seen()->transport->pause_reading(true);
  };
  RawClient& client = f.open();
  std::string all;
  for (int i = 0; i < 20'000; ++i) all += test::text_frame(std::to_string(i));
  client.send(all);
  CHECK(f.until([&] { return f.manager->messages() != 0; }));
  f.settle();
  const std::size_t first = f.manager->messages();
  CHECK(first < 100);  // the slice that was being parsed
  f.settle();
  CHECK(f.manager->messages() == first);
  f.seen()->transport->pause_reading(false);
  CHECK(f.until([&] { return f.manager->messages() == 20'000; }));
  for (std::size_t i = 0; i < 20'000; ++i) REQUIRE(f.manager->message(i) == std::to_string(i));
}

TEST_CASE("what the core does inside received is safe", "[websocketpp][frames]") {
  Fixture f;
  RawClient& client = f.open();
  const std::string burst = test::text_frame("one") + test::text_frame("two") + test::text_frame("three");
  SECTION("abort") {
    f.manager->on_received = [&](Connection&, FrameKind, std::string_view) { f.seen()->transport->abort(); };
    client.send(burst);
    CHECK(f.until([&] { return f.manager->closings().size() == 1; }));
    CHECK(f.manager->messages() == 1);
  }
  SECTION("close") {
    f.manager->on_received = [&](Connection&, FrameKind, std::string_view) {
      f.seen()->transport->close(4004, "Kicked");
    };
    client.send(burst);
    CHECK(f.frame(client)->code() == 4004);
    client.send(test::close_frame(4004));
    CHECK(f.until([&] { return f.manager->closings().size() == 1; }));
    CHECK(f.manager->messages() == 1);
  }
  SECTION("close, then abort") {
    f.manager->on_received = [&](Connection&, FrameKind, std::string_view) {
      f.seen()->transport->close(4004, "Kicked");
      f.seen()->transport->abort();
      f.seen()->transport->abort();
    };
    client.send(burst);
    CHECK(f.until([&] { return f.manager->closings().size() == 1; }));
  }
  SECTION("a throw, although it must not") {
    f.manager->on_received = [&](Connection&, FrameKind, std::string_view) { throw std::runtime_error("boom"); };
    client.send(burst);
    CHECK(f.frame(client)->code() == 1011);
    CHECK(f.manager->failures() == std::vector<CloseReason>{CloseReason::internal_error});
  }
  f.settle();
  CHECK(f.manager->closings().size() <= 1);
}

TEST_CASE("connections that come and go in every way leave nothing behind", "[websocketpp][frames]") {
  const std::size_t before = test::open_descriptors();
  {
    Fixture f;
    for (int i = 0; i < 60; ++i) {
      RawClient& client = f.connect();
      if (i % 6 == 0) {
        client.cut();
        continue;
      }
      client.send(RawClient::upgrade_request());
      if (i % 6 == 1) {
        client.cut();
        continue;
      }
      REQUIRE(f.status(client) == 101);
      const std::size_t id = f.manager->count() - 1;
      if (i % 6 == 2) client.cut();
      if (i % 6 == 3) client.reset();
      if (i % 6 == 4) client.send(test::close_frame(1000));
      if (i % 6 == 5) f.seen(id)->transport->abort();
    }
    CHECK(f.until([&] { return f.manager->reserved() == 0; }));
    for (const auto& client : f.clients) client->cut();
    f.settle();
    CHECK(test::open_descriptors() <= before + 5);  // epoll, its timer and interrupter, ours, the listener
    for (std::size_t i = 0; i < f.manager->count(); ++i) CHECK(f.manager->closings(i).size() <= 1);
  }
  CHECK(test::open_descriptors() == before);
}

TEST_CASE("an io_context that ends takes its connections with it", "[websocketpp][frames]") {
  const std::size_t before = test::open_descriptors();
  auto manager = std::make_shared<test::RecordingManager>();
  {
    Fixture f;
    f.manager = manager;
    for (int i = 0; i < 5; ++i) (void)f.open();
    RawClient& reading = f.connect();
    reading.send("GET ");
    f.settle();
    CHECK(manager->reserved() == 6);
  }
  const auto seen = manager->with([](auto& all) { return all.at(0); });
  CHECK(seen->transport->write(nullptr, 0) == WriteResult::closed);
  seen->transport->close(1001, "");
  seen->transport->pause_reading(false);
  seen->transport->abort();
  CHECK_FALSE(seen->executor->post([] {}));
  CHECK(manager->reserved() == 5);  // what the core holds is the core's
  CHECK(test::open_descriptors() == before);
}
