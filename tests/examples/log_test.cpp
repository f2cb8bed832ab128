// The log of muster_server.
#include "server/log.hpp"

#include <unistd.h>

#include <array>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::ContainsSubstring;
using muster::test::EndsWith;

namespace {

/// What `write` leaves on standard error, read through a pipe.
template <class Write>
std::vector<std::string> lines_of(Write write) {
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  const int saved = dup(STDERR_FILENO);
  dup2(ends[1], STDERR_FILENO);
  close(ends[1]);
  write();
  dup2(saved, STDERR_FILENO);
  close(saved);
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = read(ends[0], buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  close(ends[0]);
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST_CASE("a line has its time and level, and only levels asked for are written", "[log]") {
  const auto lines = lines_of([] {
    muster_server::StderrLog log(muster::LogLevel::warning);
    log.log(muster::LogLevel::info, "too low");
    log.log(muster::LogLevel::warning, "first");
    log.log(muster::LogLevel::error, "second");
  });
  REQUIRE(lines.size() == 2);
  CHECK(std::regex_match(lines[0], std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning: first)")));
  CHECK_THAT(lines[1], EndsWith(" error: second"));
}

TEST_CASE("a message cannot make a line of its own", "[log]") {
  const auto lines = lines_of([] {
    muster_server::StderrLog log(muster::LogLevel::debug);
    log.log(muster::LogLevel::info, "a\r\n2026 error: forged\x1b[31m");
  });
  REQUIRE(lines.size() == 1);
  CHECK_THAT(lines[0], EndsWith("info: a??2026 error: forged?[31m"));
}

TEST_CASE("a standard error that nobody reads costs lines, not memory or time", "[log]") {
  // A pipe takes 64 KiB, so the writer stands until the test reads: here, once it closes.
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  const int saved = dup(STDERR_FILENO);
  dup2(ends[1], STDERR_FILENO);
  close(ends[1]);
  std::string text;
  std::thread reader;
  {
    muster_server::StderrLog log(muster::LogLevel::debug);
    for (int i = 0; i < 5000; ++i) log.log(muster::LogLevel::info, std::string(200, 'x'));
    reader = std::thread([&] {
      std::array<char, 4096> buffer{};
      for (ssize_t n = 0; (n = read(ends[0], buffer.data(), buffer.size())) > 0;) {
        text.append(buffer.data(), static_cast<std::size_t>(n));
      }
    });
  }
  dup2(saved, STDERR_FILENO);
  close(saved);
  reader.join();
  close(ends[0]);
  CHECK_THAT(text, ContainsSubstring(" lines were dropped here"));
}
