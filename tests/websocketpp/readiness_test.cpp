// Readiness on socket pairs: who is told what, how often, and that nobody makes a loop spin.
#include "muster/transports/websocketpp/readiness.ipp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <functional>
#include <string>
#include <utility>

#include "support/catch.hpp"

namespace muster::test {
namespace {

using websocketpp::detail::Readiness;

/// One end of a pair is watched; the other is the test's.
struct Watched final : Readiness::Waiter {
  explicit Watched(Readiness& by) : readiness(by) {
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    REQUIRE(want(0));
  }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;
  ~Watched() {
    remove();
    for (const int end : pair) {
      if (end >= 0) (void)::close(end);
    }
  }
  [[nodiscard]] bool want(Readiness::Events events) { return readiness.want(pair[0], watch, *this, events); }
  void remove() { readiness.remove(pair[0], watch, *this); }
  void on_ready(std::uint32_t happened) override {
    const auto events = Readiness::told(watch, happened);
    if ((events & Readiness::readable) != 0) told += 'r';
    if ((events & Readiness::writable) != 0) told += 'w';
    if (then) then();
    readiness.settle(pair[0], watch, *this, happened, events);
  }
  void say(std::size_t bytes = 1) { REQUIRE(::write(pair[1], std::string(bytes, 'x').data(), bytes) > 0); }
  void hang_up() { (void)::close(std::exchange(pair[1], -1)); }

  Readiness& readiness;
  Readiness::Watch watch;
  int pair[2] = {-1, -1};
  std::string told;
  std::function<void()> then;
};

/// Whether Asio would be woken.
bool stirs(Readiness& readiness) {
  pollfd wait{readiness.descriptor().native_handle(), POLLIN, 0};
  return ::poll(&wait, 1, 0) == 1;
}

TEST_CASE("who waits for a socket is told once, and again when it waits again", "[readiness]") {
  asio::io_context io;
  Readiness readiness(io);
  Watched one(readiness);
  REQUIRE(one.want(Readiness::readable));
  CHECK_FALSE(stirs(readiness));
  one.say();
  CHECK(stirs(readiness));
  readiness.tell();
  CHECK(one.told == "r");
  readiness.tell();
  CHECK(one.told == "r");
  REQUIRE(one.want(Readiness::readable));  // what is there was not read
  readiness.tell();
  CHECK(one.told == "rr");
  REQUIRE(one.want(Readiness::writable));
  readiness.tell();
  CHECK(one.told == "rrw");
}

TEST_CASE("what nobody wants wakes nobody a second time", "[readiness]") {
  asio::io_context io;
  Readiness readiness(io);
  Watched one(readiness);
  one.say();
  readiness.tell();
  CHECK_FALSE(stirs(readiness));
  REQUIRE(one.want(Readiness::writable));
  readiness.tell();
  CHECK(one.told == "w");
  CHECK_FALSE(stirs(readiness));  // it can be written still
  one.hang_up();                  // which cannot be left unasked
  CHECK(stirs(readiness));
  readiness.tell();
  CHECK_FALSE(stirs(readiness));
  CHECK(readiness.empty());
  REQUIRE(one.want(Readiness::readable));
  readiness.tell();
  CHECK(one.told == "wr");
}

TEST_CASE("of one that is removed nothing is told, also while others are", "[readiness]") {
  asio::io_context io;
  Readiness readiness(io);
  Watched one(readiness);
  Watched two(readiness);
  for (Watched* each : {&one, &two}) {
    REQUIRE(each->want(Readiness::readable));
    each->say();
  }
  one.then = [&] { two.remove(); };
  two.then = [&] { one.remove(); };
  readiness.tell();
  CHECK(one.told.size() + two.told.size() == 1);
  one.remove();
  two.remove();
  CHECK(readiness.empty());
  CHECK_FALSE(stirs(readiness));
}

}  // namespace
}  // namespace muster::test
