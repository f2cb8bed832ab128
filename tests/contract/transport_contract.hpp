// What every Transport and its adapter promise, as checks that any implementation can be run through.
//
// An implementation derives a TransportFixture, and its test file says:
//
//   TEST_CASE("MyTransport is a transport", "[contract][transport]") {
//     muster::test::transport_contract([](auto manager) { return std::make_unique<MyFixture>(manager); });
//   }
//
// Each promise is a section with a fixture of its own. The core is played by a RecordingManager, so that what is
// tested is the adapter alone; and it does what the core may do: it overwrites the bytes of a write as soon as the
// transport has said that it is through with them.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "contract/transport_fixture.hpp"
#include "support/catch.hpp"

namespace muster::test {

inline void transport_contract(const MakeTransportFixture& make) {
  using Kind = FrameKind;
  using Messages = std::vector<RecordingManager::Message>;
  Options options;
  options.close_timeout = std::chrono::milliseconds(500);
  const auto manager = std::make_shared<RecordingManager>(options);
  Writer writer(*manager);
  std::size_t streamed = 0;
  const auto fixture = make(manager);
  manager->on_executor = [adapter = fixture.get()] { return adapter->on_executor(); };
  manager->on_writable = [&writer] { writer.forget(); };

  // A task on the connection's executor, run now.
  const auto run = [&](const std::function<void()>& task) {
    std::atomic<bool> ran{false};
    REQUIRE(manager->executor()->post([&] {
      task();
      ran = true;
    }));
    REQUIRE(fixture->run_until([&ran] { return ran.load(); }));
  };
  const auto run_until = [&](const std::function<bool()>& done) { return fixture->run_until(done); };
  const auto refused = [] {
    return RecordingManager::refused(CloseReason::auth_failed, {errc::auth_failed, "The token is not valid", {}});
  };
  const auto is_closed = [&] { return !manager->closings().empty(); };
  const auto peer_has_all = [&] { return fixture->peer_received().size() >= writer.expected().size(); };
  const auto connect = [&] {
    fixture->connect();
    REQUIRE(run_until([&] { return manager->count() == 1; }));
    run([] {});
  };
  // One batch, once the transport is through with the one before.
  const auto write = [&](std::size_t frames, std::size_t size) {
    REQUIRE(run_until([&] { return manager->writables() == writer.pendings(); }));
    run([&] { CHECK(writer.write(frames, size) != WriteResult::closed); });
  };
  const auto close = [&](std::uint16_t code, const std::string& words) {
    run([&] { (void)manager->call_transport([&](Transport& transport) { transport.close(code, words); }); });
  };
  const auto abort = [&] {
    run([&] { (void)manager->call_transport([](Transport& transport) { transport.abort(); }); });
  };
  const auto pause = [&](bool stop) {
    run([&] { (void)manager->call_transport([stop](Transport& transport) { transport.pause_reading(stop); }); });
  };
  // Writes until a batch is pending and stays so; the transport of a peer that does not read must say so before 64 MiB.
  // A transport that writes in a later turn may say pending before, and then writable.
  std::size_t through = 0;
  const auto fill = [&] {
    for (int i = 0; i < 1024; ++i) {
      bool waiting = false;
      run([&] {
        if (writer.pendings() == manager->writables()) (void)writer.write(1, 64 * 1024);
        waiting = writer.pendings() != manager->writables();
      });
      if (!waiting) continue;
      for (int turn = 0; turn < 10; ++turn) run([] {});
      if (writer.pendings() != manager->writables()) break;
    }
    through = manager->writables();
    REQUIRE(writer.last() == WriteResult::pending);
    REQUIRE(through + 1 == writer.pendings());
  };

  SECTION("a peer that was accepted is open") {
    connect();
    CHECK(manager->count() == 1);
    CHECK_FALSE(is_closed());
    CHECK_FALSE(fixture->peer_is_gone());
  }

  SECTION("a peer that is refused is let go, and its place given back") {
    manager->decide = [&](const OpenRequest&) { return refused(); };
    fixture->connect();
    CHECK(run_until([&] { return fixture->peer_is_gone(); }));
    CHECK(run_until([&] { return manager->reserved() == 0; }));
    CHECK(manager->count() == 1);
    CHECK(manager->closings().empty());
    CHECK(fixture->peer_received().empty());
  }

  SECTION("the answer to an opening may come later") {
    manager->hold = true;
    connect();
    run([&] { manager->answer(0, RecordingManager::accepted()); });
    run([&] { CHECK(writer.write(1, 10) == WriteResult::done); });
    CHECK(run_until(peer_has_all));
    CHECK(fixture->peer_received() == writer.expected());
  }

  SECTION("a late refusal lets the peer go") {
    manager->hold = true;
    connect();
    run([&] { manager->answer(0, refused()); });
    CHECK(run_until([&] { return fixture->peer_is_gone(); }));
    CHECK(manager->closings().empty());
  }

  SECTION("an opening whose peer goes before the answer is cancelled") {
    manager->hold = true;
    connect();
    fixture->peer_break();
    CHECK(run_until([&] { return manager->cancelled() == 1; }));
    CHECK(manager->closings().empty());
    CHECK(manager->reserved() == 0);
  }

  SECTION("what is written arrives, span by span, in order") {
    connect();
    write(3, 5);
    write(1, 0);
    write(2, 70'000);
    write(1, 1);
    CHECK(run_until(peer_has_all));
    CHECK(fixture->peer_received() == writer.expected());
  }

  SECTION("a batch may have more spans than a system call takes") {
    connect();
    write(5000, 20);
    CHECK(run_until(peer_has_all));
    CHECK(fixture->peer_received() == writer.expected());
  }

  SECTION("several batches in one turn arrive in order") {
    connect();
    run([&] {
      for (int i = 0; i < 20; ++i) CHECK(writer.write(1, 100) == WriteResult::done);
    });
    CHECK(run_until(peer_has_all));
    CHECK(fixture->peer_received() == writer.expected());
    CHECK(manager->writables() == 0);
  }

  SECTION("a batch for a peer that does not read is pending, and writable follows once it does") {
    connect();
    fixture->peer_stall();
    fill();
    for (int i = 0; i < 50; ++i) run([] {});
    CHECK(manager->writables() == through);
    fixture->peer_resume();
    CHECK(run_until([&] { return manager->writables() == through + 1; }));
    write(1, 10);
    CHECK(run_until(peer_has_all));
    CHECK(fixture->peer_received() == writer.expected());
  }

  SECTION("a stream written from writable arrives whole and in order") {
    connect();
    const auto write_on = [&] {
      while (streamed < 256 && writer.write(2, 16 * 1024) == WriteResult::done) ++streamed;
      if (writer.last() == WriteResult::pending) ++streamed;
    };
    manager->on_writable = [&] {
      writer.forget();
      write_on();
    };
    fixture->peer_stall();
    fill();
    fixture->peer_resume();
    CHECK(run_until([&] {
      bool all = false;
      run([&] { all = streamed >= 256 && manager->writables() == writer.pendings(); });
      return all;
    }));
    CHECK(run_until(peer_has_all));
    CHECK(fixture->peer_received() == writer.expected());
  }

  SECTION("close sends code and text, and closed follows") {
    connect();
    write(2, 100);
    close(4003, "Permission denied");
    CHECK(run_until(is_closed));
    CHECK(run_until([&] { return fixture->peer_closing() && fixture->peer_is_gone(); }));
    CHECK(fixture->peer_received() == writer.expected());
    CHECK(fixture->peer_closing()->code == 4003);
    CHECK(fixture->peer_closing()->text == "Permission denied");
  }

  SECTION("close takes a text of 123 bytes") {
    connect();
    close(1008, std::string(123, 'x'));
    CHECK(run_until([&] { return is_closed() && fixture->peer_closing(); }));
    CHECK(fixture->peer_closing()->text == std::string(123, 'x'));
  }

  SECTION("close lets the batch in flight arrive first") {
    connect();
    fixture->peer_stall();
    fill();
    close(1001, "Server is going away");
    fixture->peer_resume();
    CHECK(run_until([&] { return is_closed() && fixture->peer_closing(); }));
    CHECK(fixture->peer_received() == writer.expected());
    CHECK(fixture->peer_closing()->code == 1001);
  }

  SECTION("close does not wait for ever for a peer that does not answer") {
    connect();
    fixture->peer_stall();
    close(1001, "Server is going away");
    CHECK(run_until(is_closed));
  }

  SECTION("close gives up a batch that the peer does not read") {
    connect();
    fixture->peer_stall();
    fill();
    close(4008, "Too slow");
    CHECK(run_until(is_closed));
  }

  SECTION("abort ends at once, and closed follows") {
    connect();
    abort();
    CHECK(run_until(is_closed));
    CHECK(run_until([&] { return fixture->peer_is_gone(); }));
    CHECK_FALSE(fixture->peer_closing());
  }

  SECTION("abort drops the batch in flight") {
    connect();
    fixture->peer_stall();
    fill();
    abort();
    CHECK(run_until(is_closed));
    CHECK(manager->writables() == through);
    run([&] { writer.forget(); });
    fixture->peer_resume();
    CHECK(run_until([&] { return fixture->peer_is_gone(); }));
    const std::string got = fixture->peer_received();
    CHECK(got == writer.expected().substr(0, got.size()));
  }

  SECTION("abort may follow close") {
    connect();
    fixture->peer_stall();
    run([&] {
      (void)manager->call_transport([](Transport& transport) { transport.close(1001, "Server is going away"); });
      (void)manager->call_transport([](Transport& transport) { transport.abort(); });
    });
    CHECK(run_until(is_closed));
  }

  SECTION("a close by the peer is told as it was meant") {
    connect();
    SECTION("1000: normal") {
      fixture->peer_close(1000);
      CHECK(run_until(is_closed));
      CHECK(manager->closings() == std::vector<CloseReason>{CloseReason::normal});
    }
    SECTION("another code: going_away") {
      fixture->peer_close(1001);
      CHECK(run_until(is_closed));
      CHECK(manager->closings() == std::vector<CloseReason>{CloseReason::going_away});
    }
    SECTION("none: lost") {
      fixture->peer_break();
      CHECK(run_until(is_closed));
      CHECK(manager->closings() == std::vector<CloseReason>{CloseReason::lost});
    }
  }

  SECTION("what a peer sent before its close is received before closed") {
    connect();
    fixture->peer_send(Kind::text, "last words");
    fixture->peer_close(1000);
    CHECK(run_until(is_closed));
    CHECK(manager->all_messages() == Messages{{Kind::text, "last words"}});
  }

  SECTION("writing into a broken pipe is answered closed, and told once") {
    connect();
    fixture->peer_break();
    CHECK(run_until([&] {
      if (is_closed()) return true;
      run([&] {
        if (writer.pendings() == manager->writables()) (void)writer.write(1, 1000);
      });
      return false;
    }));
    CHECK((manager->closings() == std::vector<CloseReason>{CloseReason::lost}));
  }

  SECTION("a pipe that breaks with a batch in flight is told as closed, never as writable") {
    connect();
    fixture->peer_stall();
    fill();
    fixture->peer_break();
    CHECK(run_until(is_closed));
    CHECK(manager->writables() == through);
  }

  SECTION("messages are received whole, in order, as the kind they were sent") {
    connect();
    const std::string large(60'000, 'z');
    const std::string every_byte = [] {
      std::string bytes;
      for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
      return bytes;
    }();
    fixture->peer_send(Kind::text, "one");
    fixture->peer_send(Kind::binary, every_byte);
    fixture->peer_send(Kind::text, "");
    fixture->peer_send(Kind::text, large);
    fixture->peer_send(Kind::binary, "five");
    CHECK(run_until([&] { return manager->all_messages().size() >= 5; }));
    CHECK((manager->all_messages() == Messages{{Kind::text, "one"},
                                               {Kind::binary, every_byte},
                                               {Kind::text, ""},
                                               {Kind::text, large},
                                               {Kind::binary, "five"}}));
  }

  SECTION("pings and pongs are handed over, and answered by nobody else") {
    connect();
    fixture->peer_send(Kind::ping, "are you there");
    fixture->peer_send(Kind::pong, "");
    fixture->peer_send(Kind::text, "done");
    CHECK(run_until([&] { return manager->all_messages().size() >= 3; }));
    CHECK((manager->all_messages() == Messages{{Kind::ping, "are you there"}, {Kind::pong, ""}, {Kind::text, "done"}}));
    for (int i = 0; i < 50; ++i) run([] {});
    CHECK(fixture->peer_received().empty());
  }

  SECTION("the core may write, pause and close while it receives") {
    connect();
    manager->on_received = [&](Connection&, FrameKind, std::string_view bytes) {
      (void)manager->call_transport([](Transport& transport) { transport.pause_reading(true); });
      (void)writer.write(1, bytes.size());
      (void)manager->call_transport([](Transport& transport) { transport.pause_reading(false); });
      if (bytes == "stop") {
        (void)manager->call_transport([](Transport& transport) { transport.close(1000, "Closed"); });
      }
    };
    for (int i = 0; i < 10; ++i) fixture->peer_send(Kind::text, "hello");
    fixture->peer_send(Kind::text, "stop");
    CHECK(run_until([&] { return is_closed() && fixture->peer_closing(); }));
    CHECK(manager->all_messages().size() == 11);
    CHECK(fixture->peer_received() == writer.expected());
  }

  SECTION("the core may abort while it receives") {
    connect();
    manager->on_received = [&](Connection&, FrameKind, std::string_view) {
      (void)manager->call_transport([](Transport& transport) { transport.abort(); });
    };
    fixture->peer_send(Kind::text, "one");
    CHECK(run_until(is_closed));
  }

  SECTION("while reading is paused what arrives is bounded, and then nothing is missing") {
    connect();
    fixture->peer_send(Kind::text, "first");
    REQUIRE(run_until([&] { return manager->all_messages().size() == 1; }));
    pause(true);
    for (int i = 0; i < 100; ++i) fixture->peer_send(Kind::binary, std::string(16 * 1024, static_cast<char>(i)));
    for (int i = 0; i < 200; ++i) run([] {});
    CHECK(manager->all_messages().size() < 50);
    pause(true);  // again changes nothing
    pause(false);
    CHECK(run_until([&] { return manager->all_messages().size() >= 101; }));
    const auto messages = manager->all_messages();
    REQUIRE(messages.size() == 101);
    for (std::size_t i = 0; i < 100; ++i) {
      REQUIRE(messages[i + 1].bytes == std::string(16 * 1024, static_cast<char>(i)));
    }
  }

  SECTION("a core that pauses after each message gets all of them in order") {
    connect();
    manager->on_received = [&](Connection&, FrameKind, std::string_view) {
      (void)manager->call_transport([](Transport& transport) { transport.pause_reading(true); });
    };
    for (int i = 0; i < 100; ++i) fixture->peer_send(Kind::text, std::to_string(i));
    CHECK(run_until([&] {
      pause(false);
      return manager->all_messages().size() >= 100;
    }));
    const auto messages = manager->all_messages();
    REQUIRE(messages.size() == 100);
    for (std::size_t i = 0; i < 100; ++i) REQUIRE(messages[i].bytes == std::to_string(i));
  }

  SECTION("close works while reading is paused") {
    connect();
    pause(true);
    close(1001, "Server is going away");
    CHECK(run_until([&] { return is_closed() && fixture->peer_closing(); }));
  }

  // However it went: once it is over, everything was told once, on the executor, and nothing is held.
  if (const auto connection = manager->connection().lock(); connection && !is_closed()) {
    manager->on_received = nullptr;
    abort();
    CHECK(run_until(is_closed));
  }
  if (manager->executor()) {
    for (int i = 0; i < 50; ++i) run([] {});
  }
  CHECK(manager->closings().size() <= 1);
  CHECK(manager->writables() <= writer.pendings());
  CHECK(manager->faults() == std::vector<std::string>{});
  CHECK(run_until([&] { return manager->connection().expired(); }));
  CHECK(run_until([&] { return manager->reserved() == 0; }));  // that of a refusal goes with its socket
}

}  // namespace muster::test
